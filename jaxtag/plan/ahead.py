"""Devices that are not there, to compile for: TPUs by libtpu, GPUs by the CUDA plugin. Nothing can be run on them.

Neither needs a chip, a driver or a network. Called before JAX has started its devices, which are then the CPU's.
"""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import jax

from jaxtag.errors import JaxtagError
from jaxtag.plan.chips import gpu_target
from jaxtag.plan.topologies import Topology

# Two processes may use libtpu to compile at the same time, and none looks for a TPU or its metadata.
QUIET = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost", "TF_CPP_MIN_LOG_LEVEL": "3",
}  # fmt: skip
PLUGINS = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")


def missing(kind: str) -> str:
    """The extra to install before machines of `kind` can be compiled for; empty where nothing is missing."""
    if kind == "tpu":
        return "" if importlib.util.find_spec("libtpu") else "tpu"
    return "" if any(map(_there, PLUGINS)) else "plan-gpu"


def absent_devices(machine: Topology, effort: float | None = None) -> Sequence[Any]:
    """The devices of a machine that is not there, in the order in which a mesh takes them.

    Args:
      machine: which.
      effort: of the compiler, −1 … 1; −1 compiles in a third of the time, collectives the same, memory within 3 %.

    Raises:
      JaxtagError: what compiles for such machines is not installed, or does not know this one.
    """
    chip = machine.chip
    if extra := missing(chip.kind):
        what = "libtpu" if chip.kind == "tpu" else "JAX's CUDA plugin"
        raise JaxtagError(f"--topology {machine.name} is compiled by {what}, which is not installed",
                          f"pip install 'jaxtag[{extra}]'")  # fmt: skip
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")  # a GPU or TPU that is there is left to whoever uses it
    jax.config.update("jax_enable_compilation_cache", False)  # what is compiled for others cannot be read back
    if effort is not None:
        jax.config.update("jax_exec_time_optimization_effort", effort)
    from jax.experimental import topologies

    try:
        if chip.kind == "gpu":
            name = f"1x{machine.shape[0]}x{machine.shape[1]}"
            return topologies.get_topology_desc(platform="cuda", target_config=gpu_target(chip), topology=name).devices
        host = (1, 1, 1) if machine.count == machine.slices else (2, 2, 1)
        settings: dict[str, Any] = {"chips_per_host_bounds": host, "num_slices": machine.slices}
        if chip.name == "v4":
            settings["chip_config_name"] = "megacore"  # one device of a chip's two cores, as Cloud TPU has it
        name = f"{chip.name}:{'x'.join(map(str, machine.shape))}"
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **settings).devices
    except Exception as error:  # the plugins raise what they like
        said = str(error).split("\n")[0][:200]
        raise JaxtagError(f"--topology {machine.name}: the compiler does not take it ({said})") from error


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
