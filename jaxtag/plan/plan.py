"""The plan of a training step: parameters and where they lie, operations, bytes, and collectives.

The step is compiled for the devices it is given and never run. `describe` is the one function that knows of all parts;
it asks nothing of the devices but to be a mesh's, so that devices which are not there can be planned for.
"""

import time
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import RULES, make_mesh
from jaxtag.plan import collectives, flops, machines, memory
from jaxtag.plan.topologies import Topology
from jaxtag.plan.workload import Prepared, Workload, prepare


def describe(
    experiment: Experiment, workload: Workload, devices: Sequence[Any], machine: Topology | None = None
) -> dict[str, Any]:
    """The plan of `experiment` at the shapes of `workload` on `devices`, as JSON values.

    Args:
      experiment, workload: what is planned.
      devices: to compile for.
      machine: whose devices these are, where they are not there.

    Returns:
      `system`, `devices`, `mesh`, `batch`, `workload`, `parameters` (how many), `leaves` (one row a parameter),
      `replicated` (what rules would split on another mesh), `flops` of a step, `bytes_per_device` (`estimate` and
      `compiled`), `collectives` and `seconds` that tracing and compiling took. Of a machine also `topology`, `fits`
      and, where it does, `estimate` (`jaxtag.plan.machines.judge`).

    Raises:
      JaxtagError: the mesh does not fit the devices, or a parameter or the batch the mesh.
    """
    mesh = make_mesh(experiment.parallel, devices)
    prepared = prepare(experiment, workload, mesh)
    started = time.perf_counter()
    lowered = prepared.dispatch.lower(*prepared.arguments)
    traced = time.perf_counter()
    program, refused = machines.compile_for(lowered, machine)
    done = time.perf_counter()
    leaves, found = _leaves(prepared), collectives.find(program.as_text(), len(devices)) if program else []
    plan = {
        "system": experiment.system,
        "devices": {
            "count": len(devices),
            "kind": devices[0].device_kind,
            "simulated": devices[0].platform == "cpu" and len(devices) > 1,
            "absent": machine is not None,
        },
        "mesh": {axis: int(size) for axis, size in mesh.shape.items()},
        "batch": experiment.training.batch,
        "workload": vars(workload) | {"placement": prepared.placement},
        "parameters": sum(row["numbers"] for row in leaves),
        "leaves": leaves,
        "replicated": _replicated(leaves, len(devices)),
        "flops": _flops(prepared, program, len(devices)),
        "bytes_per_device": {"estimate": memory.estimate(prepared), "compiled": memory.compiled(program)},
        "collectives": collectives.table(found),
        "seconds": {"trace": round(traced - started, 2), "compile": round(done - traced, 2)},
    }
    return plan | (machines.judge(machine, prepared, program, refused, plan, found) if machine else {})


def _leaves(prepared: Prepared) -> list[dict[str, Any]]:
    """A row for each parameter: what it is, how its axes are called and split, and its bytes on a device."""
    boxed = jax.eval_shape(lambda: prepared.system.init(jax.random.key(0)))["params"]
    is_box = lambda x: isinstance(x, nn.meta.AxisMetadata)  # noqa: E731
    boxes = jax.tree.leaves(boxed, is_leaf=is_box)
    rows = []
    for (path, leaf), box in zip(jax.tree_util.tree_leaves_with_path(prepared.abstract["params"]), boxes, strict=True):
        axes = list(getattr(box, "names", ())) or [None] * len(leaf.shape)
        spec = [list(np.atleast_1d(part)) if part else [] for part in leaf.sharding.spec]
        spec += [[]] * (len(leaf.shape) - len(spec))
        split = [[str(a) for a in part] for part in spec]
        meant = {axis for name in axes for axis in RULES.get(name or "", ())} - {a for part in split for a in part}
        rows.append({
            "parameter": jax.tree_util.keystr(path, simple=True, separator="/"), "shape": list(leaf.shape),
            "numbers": int(np.prod(leaf.shape)), "axes": axes, "mesh_axes": split, "would_split": sorted(meant),
            "bytes_per_device": memory.leaf_bytes(leaf),
        })  # fmt: skip
    return rows


def _replicated(leaves: list[dict[str, Any]], devices: int) -> dict[str, Any]:
    """Parameters that lie whole on every device of several, though a rule would split them on a wider mesh axis."""
    whole = [row for row in leaves if devices > 1 and row["would_split"] and not any(row["mesh_axes"])]
    return {
        "parameters": [row["parameter"] for row in whole],
        "bytes_per_device": sum(row["bytes_per_device"] for row in whole),
        "axes": sorted({axis for row in whole for axis in row["would_split"]}),
    }


def _flops(prepared: Prepared, program: Any, devices: int) -> dict[str, Any]:
    """Operations of a step by our count, over all devices and on each, and by the compiler's for one device."""
    state, numbers = prepared.arguments[:2]
    counted = flops.count(prepared.step, state, numbers, prepared.batch)
    analysis = program.cost_analysis() if program else None
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    total = sum(counted.values())
    return counted | {
        "step": total,
        "step_per_device": total // devices,
        "compiler_per_device": int(analysis["flops"]) if analysis and "flops" in analysis else None,
    }
