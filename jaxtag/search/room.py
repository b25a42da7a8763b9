"""How many members a population has room for."""

from collections.abc import Sequence
from pathlib import Path

import jax

from jaxtag.plan.memory import estimate, tree_bytes
from jaxtag.plan.workload import of_split, prepare
from jaxtag.runs import Bound
from jaxtag.search.members import Member
from jaxtag.search.stacked import way_of
from jaxtag.training.logs import say

MOST = 64  # members of a population, however small
SHARE = 0.5  # of the memory that is free, for a population


def divided(members: Sequence[Member], most: int) -> list[list[Member]]:
    """Members of one program in as few populations of about the same size as there is room for.

    Args:
      members: of one shape.
      most: members of a population; 0 is `MOST`.
    """
    most = most or MOST
    several = len({m.bound.split.name for m in members}) > 1
    each, free = bytes_of(members[0].bound, several), free_bytes()
    room = max(1, int(SHARE * free / each))
    parts = -(-len(members) // min(room, most))
    size = -(-len(members) // parts)
    if parts > 1:
        why = f"--population {most}"
        if room < most:
            why = f"{each / 2**20:,.1f} MiB each, {SHARE * free / 2**20:,.0f} MiB for a population"
        say(f"{len(members)} runs as {parts} populations of up to {size}: {why}")
    return [list(members[i : i + size]) for i in range(0, len(members), size)]


def bytes_of(bound: Bound, several: bool) -> int:
    """About how many bytes a member takes on a device: its newest and best states, twice while they are computed.

    Computed together, also its gradients and activations, and where there are `several` splits its columns.
    """
    states = 4 * tree_bytes(bound.abstract)
    if way_of(jax.devices()[0].platform) == "in turn":
        return states
    found = estimate(prepare(bound.experiment, of_split(bound.dataset, bound.split, bound.experiment), bound.mesh))
    return states + found["gradients"] + found["activations"] + several * found["columns"]


def free_bytes() -> int:
    """Bytes that are free on all devices together; of a CPU, what Linux says is available, elsewhere 4 GiB."""
    stats = [device.memory_stats() or {} for device in jax.devices()]
    if all("bytes_limit" in s for s in stats):
        return sum(s["bytes_limit"] - s["bytes_in_use"] for s in stats)
    try:
        lines = Path("/proc/meminfo").read_text().split("\n")
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 << 30
