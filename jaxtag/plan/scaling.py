"""Weak scaling: how much longer a step takes on more chips when every chip keeps its posts."""

from dataclasses import replace
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.plan import ahead, plan
from jaxtag.plan.topologies import HOST, Topology, sizes
from jaxtag.plan.workload import Workload
from jaxtag.progress import progress


def machines_up_to(machine: Topology) -> list[Topology]:
    """The smallest machine of the same chips, of GPUs one host too, of slices one too, and `machine`."""
    chip = machine.chip
    shapes = [(1, 1), (1, min(HOST, machine.shape[1]))] if chip.kind == "gpu" else sizes(chip)[:1]
    found = [Topology(chip, shape) for shape in dict.fromkeys([*shapes, machine.shape])]
    return found if machine.slices == 1 else [*found, machine]


def weak_scaling(experiment: Experiment, workload: Workload, machine: Topology, effort: float | None) -> dict[str, Any]:
    """A step of `training.batch` posts a chip on ever more chips, compiled for each.

    Returns:
      `batch_per_chip`; `machines`, a row each: `name`, `chips`, `batch`, `seconds`, `talk` (seconds of collectives, at
      most and at least), `wire_bytes`, `mfu`, and `efficiency`: the seconds of a chip that has nobody to talk to over
      its own, both at the worse of what is assumed and both at the better; and `assumptions`, of the last.

    Raises:
      JaxtagError: a step does not fit a chip.
    """
    each = experiment.training.batch
    rows, said = [], []
    for one in progress(machines_up_to(machine), "machines"):
        chosen = replace(experiment, training=replace(experiment.training, batch=each * one.count))
        found = plan.describe(chosen, workload, ahead.absent_devices(one, effort), one)
        if "estimate" not in found or not found["fits"]["fits"]:
            raise JaxtagError(f"a step of {each} posts a chip does not fit {one.name}: {found['fits']['said']}",
                              "give a smaller training.batch, which is a chip's here")  # fmt: skip
        estimate = found["estimate"]
        seconds, said = estimate["seconds"], estimate["assumptions"]
        parts = estimate["parts"]
        alone = [max(parts[name][end] for name in parts if name != "talk") for end in (0, 1)]
        ratios = [alone[0] / seconds["high"], alone[1] / seconds["low"]]
        rows.append({
            "name": one.name, "chips": one.count, "batch": each * one.count, "seconds": seconds,
            "talk": estimate["parts"]["talk"], "wire_bytes": estimate["wire_bytes"], "mfu": estimate["mfu"],
            "parts": estimate["parts"], "bytes": found["bytes_per_device"]["compiled"].get("total", 0),
            "efficiency": {"low": min(ratios), "high": max(ratios)},
        })  # fmt: skip
    return {"batch_per_chip": each, "machines": rows, "assumptions": said}
