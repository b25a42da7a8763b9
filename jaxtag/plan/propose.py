"""The mesh for a machine: every one that divides by a cheap rule, the promising few compiled, the fastest that fits."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import BATCH, make_mesh
from jaxtag.plan import flops, machines, memory, plan, roofline, wire
from jaxtag.plan.topologies import Topology
from jaxtag.plan.workload import Prepared, Workload, prepare
from jaxtag.progress import progress

COMPILED = 3  # meshes, of those that the rule finds fastest
MOST_TENSOR = 8  # devices that a layer is split over: more talk in every layer


def meshes(devices: int) -> Iterator[dict[str, int]]:
    """Sizes of data, fsdp and tensor whose product is `devices`, the most of data first."""
    divisors = [n for n in range(devices, 0, -1) if devices % n == 0]
    for data in divisors:
        for fsdp in divisors:
            tensor, rest = divmod(devices, data * fsdp)
            if not rest and 1 <= tensor <= MOST_TENSOR:
                yield {"data": data, "fsdp": fsdp, "tensor": tensor}


def propose(
    experiment: Experiment, workload: Workload, devices: Sequence[Any], machine: Topology, tries: int = COMPILED
) -> dict[str, Any]:
    """The fastest mesh that fits, by our own estimate.

    Returns:
      `topology`, `batch`, `meshes` (a row for each that divides: `mesh`, `guess` by the cheap rule, `compiled` of the
      few that were, with `bytes` and `seconds`, and what is `said` of it), `refused` (how many do not divide, and why
      the first of them does not), `best` (None where none fits) and `assumptions`.

    Raises:
      JaxtagError: no mesh divides.
    """
    rows, refused = _guessed(experiment, workload, devices, machine)
    if not rows:
        raise JaxtagError(f"no mesh of {len(devices)} devices divides: {refused['first']}",
                          "choose another training.batch, or machine")  # fmt: skip
    usable = machine.chip.memory
    promising = sorted(rows, key=lambda row: (row["guess"]["bytes"] > usable, _middle(row["guess"]["seconds"])))
    for number, row in enumerate(progress(promising[: 2 * tries], "compiling")):
        if number >= tries and any(row["compiled"].get("fits") for row in rows):
            break  # where none of the first fits, as many more are compiled
        found = _compiled(experiment, workload, devices, machine, row["mesh"])
        row["compiled"], row["said"] = found, "" if found["fits"] else "does not fit"
    fitting = [row for row in rows if row["compiled"].get("fits")]
    best = min(fitting, key=lambda row: _middle(row["compiled"]["seconds"]))["mesh"] if fitting else None
    about = {"name": machine.name, "chip": machine.chip.title, "chips": machine.count, "usable": usable}
    return {
        "topology": about, "batch": experiment.training.batch, "meshes": rows, "refused": refused, "best": best,
        "assumptions": roofline.assumptions(machine, experiment.training.precision),
    }  # fmt: skip


def _compiled(
    experiment: Experiment, workload: Workload, devices: Sequence[Any], machine: Topology, mesh: dict[str, int]
) -> dict[str, Any]:
    """What compiling says of a mesh."""
    chosen = replace(experiment, parallel=replace(experiment.parallel, **mesh))
    found = plan.describe(chosen, workload, devices, machine)
    estimate = found.get("estimate", {})
    return {
        "fits": found["fits"]["fits"],
        "bytes": found["bytes_per_device"]["compiled"].get("total", 0),
        "wire_bytes": estimate.get("wire_bytes", 0),
        "seconds": estimate.get("seconds", {}),
    }


def _middle(seconds: dict[str, float]) -> float:
    return (seconds["low"] + seconds["high"]) / 2


def _guessed(
    experiment: Experiment, workload: Workload, devices: Sequence[Any], machine: Topology
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for every mesh that divides, and how many do not. What no mesh changes is found once."""
    rows, refused = [], {}
    known: dict[str, Any] = {}
    for sizes in progress(list(meshes(len(devices))), "meshes"):
        chosen = replace(experiment, parallel=replace(experiment.parallel, **sizes))
        try:
            prepared = prepare(chosen, workload, make_mesh(chosen.parallel, devices))
        except JaxtagError as error:
            refused = {"meshes": refused.get("meshes", 0) + 1, "first": refused.get("first") or str(error)}
            continue
        known = known or _known(prepared)
        guess = _guess(prepared, machine, known)
        rows.append({"mesh": sizes, "guess": guess, "compiled": {}, "said": ""})
    return rows, refused


def _known(prepared: Prepared) -> dict[str, Any]:
    """What is the same on every mesh: operations, the activations of the whole batch, the parameters that are read."""
    state, numbers = prepared.arguments[:2]
    guess = memory.estimate(prepared)
    return {
        "products": flops.count(prepared.step, state, numbers, prepared.batch)["products"],
        "activations": guess["activations"] * _spread(prepared),
        "columns": guess["columns"],
        "streamed": guess["columns"] * _spread(prepared),
        "used": wire.read_by_the_loss(prepared),
    }


def _spread(prepared: Prepared) -> int:
    return prepared.mesh.shape[BATCH[0]] * prepared.mesh.shape[BATCH[1]]


def _guess(prepared: Prepared, machine: Topology, known: dict[str, Any]) -> dict[str, Any]:
    """Bytes, talk and seconds of a mesh, nothing compiled. What the tensor axis saves of activations is left out."""
    abstract, activations = prepared.abstract, known["activations"] // _spread(prepared)
    parameters = memory.tree_bytes(abstract["params"])
    own = {
        "parameters": parameters, "gradients": parameters, "activations": activations,
        "optimizer": memory.tree_bytes(abstract["opt_state"]) + memory.tree_bytes(abstract["collections"]),
    }  # fmt: skip
    columns = known["columns"] if prepared.placement == "resident" else known["streamed"] // _spread(prepared)
    talk = wire.predicted(prepared, True, activations, known["used"])
    work = roofline.Work(
        known["products"] / machine.count, machines.must_move(own), 0, talk, prepared.experiment.training.precision
    )
    seconds = roofline.estimate(machine, prepared.mesh.devices.flat, work)["seconds"]
    sent = sum(round(one.wire_bytes) for one in talk)
    return {"bytes": sum(own.values()) + columns, "wire_bytes": sent, "seconds": seconds}
