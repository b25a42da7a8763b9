"""How long a step takes on chips that are not there: arithmetic on what they can do, and nothing measured.

A chip computes, moves numbers to and from its memory, starts one piece of work after another, and talks to others. A
step takes at least as long as the longest of these, at the better of two efficiencies, and at most as long as the
longest of the first three and then the talking, at the worse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtag.plan.collectives import Collective
from jaxtag.plan.topologies import Topology

# Assumed, to be fitted on hardware: (worse, better).
PEAK = (0.3, 0.6)  # of a chip's peak in matrix products
MEMORY = (0.6, 0.9)  # of its memory's rate
LINKS = (0.6, 0.9)  # of its links' and its network's
START = {"tpu": (1e-6, 2e-7), "gpu": (5e-6, 2e-6)}  # seconds until the next piece of work runs
HOP = {"tpu": (5e-6, 1e-6), "gpu": (3e-5, 1e-5)}  # seconds that a collective takes however few its bytes
FAR = (1e-4, 3e-5)  # the same of one between slices
WRAPS = {2: 16, 3: 4}  # an axis of a torus is closed to a ring where it has a multiple of so many chips


@dataclass(frozen=True)
class Work:
    """What a device does in a step.

    Attributes:
      flops: operations of matrix products.
      memory_bytes: that must go to or from its memory.
      pieces: of work, started one after the other.
      collectives: of the step, `times` as often as they happen in it.
      precision: of the products, as `training.precision`.
    """

    flops: float
    memory_bytes: float
    pieces: float
    collectives: Sequence[Collective]
    precision: str


def estimate(machine: Topology, devices: Iterable[Any], work: Work) -> dict[str, Any]:
    """Seconds of a step.

    Args:
      machine: where.
      devices: its devices, as a mesh has them one after the other: collectives name their places.
      work: of the step.

    Returns:
      `seconds`: `low` and `high`; `parts`: `compute`, `memory`, `starts` and `talk`, `[at most, at least]` seconds of
      each; `mfu`: `low` and `high`, operations of products as a share of the peak of training.precision.
    """
    chip = machine.chip
    peak = chip.peak.flops(work.precision)
    ends, devices = (0, 1), list(devices)
    parts = {
        "compute": [work.flops / peak / PEAK[i] for i in ends],
        "memory": [work.memory_bytes / chip.peak.bandwidth / MEMORY[i] for i in ends],
        "starts": [work.pieces * START[chip.kind][i] for i in ends],
        "talk": [sum(c.times * talk(machine, devices, c, i) for c in work.collectives) for i in ends],
    }
    busy = [max(parts[name][i] for name in ("compute", "memory", "starts")) for i in ends]
    seconds = {"low": max(busy[1], parts["talk"][1]), "high": busy[0] + parts["talk"][0]}
    mfu = {"low": work.flops / peak / seconds["high"], "high": work.flops / peak / seconds["low"]}
    return {"seconds": seconds, "parts": parts, "mfu": mfu}


def talk(machine: Topology, devices: Sequence[Any], one: Collective, end: int) -> float:
    """Seconds of a collective, once; `end` 0 is the worse of what is assumed, 1 the better."""
    chip = machine.chip
    if one.kind == "between slices":
        return FAR[end] + one.wire_bytes / chip.network / LINKS[end]
    members = [devices[i] for i in one.group if i < len(devices)]
    hop = HOP[chip.kind][end]
    if chip.kind == "tpu":
        return hop + one.wire_bytes / (chip.links * _share_of_links(machine, members)) / LINKS[end]
    hosts = len({device.process_index for device in members}) or 1
    near = len(members) / hosts
    if hosts == 1:
        return hop + one.wire_bytes / chip.links / LINKS[end]
    # Within hosts first, so that between hosts every GPU sends the part that it has summed, through its own card.
    scale = one.wire_bytes * len(members) / max(1, len(members) - 1)
    inside, between = scale * (near - 1) / near, scale * (hosts - 1) / hosts / near
    return 2 * hop + (inside / chip.links + between / chip.network) / LINKS[end]


def _share_of_links(machine: Topology, members: Sequence[Any]) -> float:
    """The share of a TPU's links that a group uses: those of the axes it lies along, half where these are no ring."""
    axes = machine.chip.axes
    share = 0.0
    for axis in range(axes):
        reach = len({device.coords[axis] for device in members})
        if reach > 1:
            closed = reach == machine.shape[axis] and reach % WRAPS[axes] == 0
            share += (1.0 if closed else 0.5) / axes
    return share or 0.5 / axes


def assumptions(machine: Topology, precision: str) -> list[str]:
    """What `estimate` takes for granted, a sentence each; of two numbers the first gives the longer time."""
    chip = machine.chip
    percent = lambda pair: f"{pair[0]:.0%} to {pair[1]:.0%}"  # noqa: E731
    micro = lambda pair: f"{pair[0] * 1e6:g} to {pair[1] * 1e6:g} microseconds"  # noqa: E731
    peak = chip.peak.flops(precision)
    way = "bfloat16" if precision == "bfloat16" or chip.kind == "tpu" else "TF32"
    said = [
        "nothing was run: public figures of the chip, and efficiencies that are assumed",
        f"matrix products reach {percent(PEAK)} of {peak / 1e12:g} TFLOP/s ({way}; operations are counted here, each "
        "device has an equal part of them)",
        f"memory gives {percent(MEMORY)} of {chip.peak.bandwidth / 1e9:g} GB/s; what must move: parameters and "
        "optimizer, gradients, and what the backward pass keeps, each written once and read once",
        f"a piece of work starts every {micro(START[chip.kind])}, one after the other",
        "low: talking hides behind the rest; high: it follows it",
        "batches arrive in time: reading and sending them to the device hides behind the step",
    ]
    if machine.count > 1:
        said.append(f"links and network reach {percent(LINKS)} of their rate; a collective takes at least "
                    f"{micro(HOP[chip.kind])}")  # fmt: skip
    if chip.kind == "tpu" and machine.count > 1:
        said.append(f"{chip.links / 1e9:g} GB/s leave a chip over all its links; a group uses those of the axes of the "
                    f"torus it lies along, half of them where an axis is no ring (rings: multiples of "
                    f"{WRAPS[chip.axes]} chips)")  # fmt: skip
    if machine.slices > 1:
        said.append(f"{chip.network / 1e9:g} GB/s a chip between slices, at least {micro(FAR)} each time")
    if chip.kind == "gpu" and machine.count > 1:
        said.append(f"{chip.links / 1e9:g} GB/s leave a GPU to those of its host, {chip.network / 1e9:g} GB/s to other "
                    "hosts; collectives go within hosts first")  # fmt: skip
    return said
