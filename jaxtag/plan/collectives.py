"""Collectives of a compiled program, read off its text: kind, how often, and how many bytes.

Counted once a channel however many computations repeat it, and times the rounds of the loops around it. The loop over
the steps of a dispatch is the one whose number of rounds the program does not know: what is inside belongs to a step,
what is outside to a dispatch.
"""

import re
from collections.abc import Iterator
from math import prod
from typing import Any

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s64": 8, "u64": 8, "f64": 8}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = (.*?) ([\w-]+)\(")
_SHAPE = re.compile(r"\b([a-z]\w*?\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_ROUNDS = re.compile(r'known_trip_count[^\d]*(\d+)')  # fmt: skip


def collectives(program: str, devices: int) -> list[dict[str, Any]]:
    """What devices say to each other in `program`.

    Args:
      program: text of a compiled program.
      devices: how many it is for.

    Returns:
      A row for each kind and place: `kind`, `per` (`step` or `dispatch`), `count`, `bytes` of the results on one
      device, and `wire_bytes` that one device sends, by a ring: 2 (g − 1) / g of an all-reduce among g devices,
      (g − 1) / g of what an all-gather gives, a reduce-scatter takes and an all-to-all holds, all of a permute.
    """
    computations, entry = _computations(program)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    seen: set[str] = set()
    for kind, line, shape, times, per in _walk(computations, entry, 1, "dispatch"):
        channel = re.search(r"channel_id=(\d+)", line)
        if channel and channel[1] in seen:
            continue
        seen |= {channel[1]} if channel else set()
        size, group = _bytes(shape, kind), _group(line, devices)
        row = rows.setdefault((per, kind), {"kind": kind, "per": per, "count": 0, "bytes": 0, "wire_bytes": 0})
        row["count"] += times
        row["bytes"] += times * size
        row["wire_bytes"] += times * round(size * _share(kind.removesuffix("-start"), group))
    return sorted(rows.values(), key=lambda row: (row["per"] != "step", KINDS.index(row["kind"])))


def _walk(
    computations: dict[str, list[str]], name: str, times: int, per: str
) -> Iterator[tuple[str, str, str, int, str]]:
    """Every collective reached from a computation: kind, line, result's type, how often, and per what."""
    for line in computations.get(name, ()):
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        shape, operation = found.groups()
        kind = operation.removesuffix("-start")
        if kind in KINDS:
            yield kind, line, shape, times, per
            continue
        rounds = _ROUNDS.search(line)
        inside = "step" if operation == "while" and not rounds else per
        often = times * (int(rounds[1]) if rounds else 1)
        called = _CALLED.findall(line) + [
            part.strip().lstrip("%") for group in _BRANCHES.findall(line) for part in group.split(",")
        ]
        for other in called:
            yield from _walk(computations, other, often, inside)


def _computations(program: str) -> tuple[dict[str, list[str]], str]:
    """Lines of every computation by its name, and the name of the entry."""
    found: dict[str, list[str]] = {}
    entry, current = "", ""
    for line in program.split("\n"):
        if start := _COMPUTATION.match(line):
            current = start[2]
            found[current] = []
            entry = current if start[1] else entry
        elif line.startswith("}"):
            current = ""
        elif current:
            found[current].append(line)
    return found, entry


def _bytes(shape: str, kind: str) -> int:
    """Bytes of a result's type; of an asynchronous start's `((ins), (outs))` the outs."""
    sizes = [BYTES.get(t, 4) * prod(int(d) for d in dims.split(",") if d) for t, dims in _SHAPE.findall(shape)]
    return sum(sizes[len(sizes) // 2 :]) if shape.startswith("((") else sum(sizes)


def _group(line: str, devices: int) -> int:
    """Devices of a group, from any of the three ways in which a program names them."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return max(1, len([d for d in listed[1].split(",") if d]))
    if short := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(short[2])
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{([^}]*)\}", line):
        axes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        return prod(axes.get(name, 1) for name in re.findall(r"'(\w+)'", mesh[2]))
    return devices


def _share(kind: str, group: int) -> float:
    """What a device sends, as a share of the result."""
    if kind == "collective-permute":
        return 1.0
    part = (group - 1) / group
    return {"all-reduce": 2 * part, "reduce-scatter": part * group}.get(kind, part)
