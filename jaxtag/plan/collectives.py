"""Collectives of a compiled program, read off its text: kind, how often, and how many bytes.

Counted once a kind and channel however many computations repeat it (a TPU's asynchronous fusions repeat one four to six
times), and times the rounds of the loops around it.
"""

import re
from dataclasses import dataclass
from typing import Any

from jaxtag.plan import hlo

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "between slices")
_SCATTER = "all-reduce-scatter"  # a TPU's name of a fusion of an all-reduce and of the slice that a device keeps of it


@dataclass(frozen=True)
class Collective:
    """Devices talking to each other.

    Attributes:
      kind: of `KINDS`; `between slices` is an all-reduce over the network that joins slices of TPUs.
      per, times: how often (`jaxtag.plan.hlo.Instruction`).
      bytes: of the result on one device, once.
      wire_bytes: that one device sends, once.
      group: devices that take part together, by their places in the mesh; of slices, as many numbers as slices.
    """

    kind: str
    per: str
    times: float
    bytes: int
    wire_bytes: int
    group: tuple[int, ...]


def find(program: str, devices: int) -> list[Collective]:
    """What devices say to each other in `program`, the text of a compiled program for so many `devices`."""
    found, seen = [], set()
    for line in hlo.instructions(program):
        kind, shape = _kind(line), line.shape
        if not kind:
            continue
        channel = re.search(r"channel_id=(\d+)", line.line)
        if channel and (kind, channel[1]) in seen:
            continue
        seen |= {(kind, channel[1])} if channel else set()
        size, group = hlo.shape_bytes(_result(line)), hlo.group_of(line.line, devices)
        if kind == "between slices":
            target = re.search(r'_xla_megascale_target="\{([\d,]*)\}', line.line)
            group = tuple(range(len(target[1].split(",")))) if target else (0, 1)
            size = hlo.shape_bytes(hlo.elements(shape)[0])
        elif kind == "reduce-scatter" and line.operation == "all-reduce":
            size //= len(group)
        found.append(Collective(kind, line.per, line.times, size, round(size * _share(kind, len(group))), group))
    return found


def collectives(program: str, devices: int) -> list[dict[str, Any]]:
    """`find`'s collectives added up.

    Args:
      program: text of a compiled program.
      devices: how many it is for.

    Returns:
      A row for each kind, place and size of group: `kind`, `per` (`step`, `round` of a loop in it that the data ends,
      or `dispatch`), `among` (devices of a group), `count`, `bytes` of the results on one device, and `wire_bytes` that
      one device sends, by a ring: 2 (g − 1) / g of an all-reduce among g devices, (g − 1) / g of what an all-gather
      gives, a reduce-scatter takes and an all-to-all holds, all of a permute.
    """
    return table(find(program, devices))


def table(found: list[Collective]) -> list[dict[str, Any]]:
    """The rows of `collectives`."""
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for one in found:
        among = len(one.group)
        row = {"kind": one.kind, "per": one.per, "among": among, "count": 0, "bytes": 0, "wire_bytes": 0}
        row = rows.setdefault((one.per, one.kind, among), row)
        row["count"] += round(one.times)
        row["bytes"] += round(one.times * one.bytes)
        row["wire_bytes"] += round(one.times * one.wire_bytes)
    return sorted(rows.values(), key=lambda r: (hlo.PER.index(r["per"]), KINDS.index(r["kind"]), r["among"]))


def _kind(line: hlo.Instruction) -> str:
    """What kind of collective a line is; empty of others, and of the half of a pair that waits."""
    kind = line.operation.removesuffix("-start")
    if kind == "all-reduce" and line.fused and line.computation.startswith(_SCATTER):
        return "reduce-scatter"
    if line.operation == "send" and "_xla_megascale_transfer_type" in line.line:
        return "between slices"
    return kind if kind in KINDS else ""


def _result(line: hlo.Instruction) -> str:
    """The type of what a collective gives; of an asynchronous start's `(ins, outs, …)` the outs."""
    parts = hlo.elements(line.shape)
    if not line.operation.endswith("-start") or line.operation == "all-reduce-start" or len(parts) < 2:
        return line.shape
    return parts[1]


def _share(kind: str, group: int) -> float:
    """What a device sends, as a share of the result."""
    if kind == "collective-permute":
        return 1.0
    part = (group - 1) / max(1, group)
    return {"all-reduce": 2 * part, "reduce-scatter": part * group, "between slices": 2 * part}.get(kind, part)
