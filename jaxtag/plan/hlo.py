"""The text of a compiled program: its instructions, how often each is done in a step, and which devices talk together.

Loops say their number of rounds, or, for a TPU, compare a counter with a constant. The loop over the steps of a
dispatch is one whose rounds the program does not know: what is inside belongs to a step, what is outside to a dispatch.
Another such loop inside it has a number of rounds that depends on the data: its instructions are counted for a round.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

PER = ("step", "round", "dispatch")
# Instructions that are no work of the device's.
FREE = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id",
    "while", "conditional", "call", "opt-barrier", "add-dependency", "copy-done", "send-done", "recv-done",
    "async-done", "all-reduce-done", "all-gather-done", "reduce-scatter-done", "all-to-all-done",
    "collective-permute-done",
}  # fmt: skip
_BYTES = {"pred": 1, "bf16": 2, "token": 0, "opaque": 0}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([\w-]+)\(")
_SHAPE = re.compile(r"\b([a-z]\w*?\d*\w*)\[([\d,]*)\]")
_BODIES = re.compile(r"(?:to_apply|body|true_computation|false_computation)=%?([\w.-]+)")
_FUSED = re.compile(r"calls=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%?([\w.-]+)")
_ROUNDS = re.compile(r"known_trip_count[^\d]*(\d+)")
_LESS = re.compile(r" compare\(%?([\w.-]+), %?([\w.-]+)\), direction=(LT|LE|GT|GE)")
_CONSTANT = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = [su]\d+\[\]\S* constant\((\d+)\)")
_IOTA = r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?"


@dataclass(frozen=True)
class Instruction:
    """A line of a program, and how often it is done.

    Attributes:
      operation, shape, line: the opcode, the type of the result, and all of the text.
      computation: in which it stands.
      times: in one `per`: of a step, of a round of a loop in it that the data ends, or of a dispatch.
      fused: whether it is a part of another instruction.
    """

    operation: str
    shape: str
    line: str
    computation: str
    times: int
    per: str
    fused: bool


def instructions(program: str) -> Iterator[Instruction]:
    """Every instruction that a program reaches from its entry, in the order in which it is reached."""
    computations, entry = _computations(program)
    yield from _walk(computations, entry, 1, "dispatch", False)


def _walk(computations: dict[str, list[str]], name: str, times: int, per: str, fused: bool) -> Iterator[Instruction]:
    for line in computations.get(name, ()):
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        _, shape, operation = found.groups()
        yield Instruction(operation, shape, line, name, times, per, fused)
        rounds, inside = times, per
        if operation == "while":
            known = _rounds(computations, line)
            rounds = times * (known or 1)
            inside = per if known else {"dispatch": "step"}.get(per, "round")
        called = [n.strip().lstrip("%") for group in _BRANCHES.findall(line) for n in group.split(",")]
        if operation in ("while", "conditional", "call"):
            called += _BODIES.findall(line)
        for other in called:
            yield from _walk(computations, other, rounds, inside, fused)
        for other in _FUSED.findall(line):
            yield from _walk(computations, other, times, per, True)


def _rounds(computations: dict[str, list[str]], line: str) -> int:
    """Rounds of a loop; 0 where the program does not know them."""
    if known := _ROUNDS.search(line):
        return int(known[1])
    condition = _CONDITION.search(line)
    lines = computations.get(condition[1], []) if condition else []
    lines = lines + [inner for outer in lines for name in _FUSED.findall(outer) for inner in computations.get(name, ())]
    constants = {found[1]: int(found[2]) for text in lines if (found := _CONSTANT.match(text))}
    compared = [found for text in lines if (found := _LESS.search(text))]
    if len(compared) != 1 or not constants:
        return 0
    left, right, direction = compared[0].groups()
    limit = constants.get(right if direction[0] == "L" else left)
    if (
        limit is None
        and len(constants) == 1
        and len(lines) > len(computations.get(condition[1] if condition else "", []))
    ):
        limit = next(iter(constants.values()))  # the comparison is fused, and knows the constant by another name
    return 0 if limit is None else limit + (direction[1] == "E")


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


def elements(shape: str) -> list[str]:
    """The types in a tuple's type, one level down: of `((f32[2]), f32[4])`, `(f32[2])` and `f32[4]`."""
    if not shape.startswith("("):
        return [shape]
    found, depth, start = [], 0, 1
    for i, letter in enumerate(shape):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 or (letter == "," and depth == 1):
            found.append(shape[start:i].strip())
            start = i + 1
        if depth == 0:
            break
    return found


def shape_bytes(shape: str) -> int:
    """Bytes of a type, a tuple's those of all its parts."""
    return sum(_item(t) * prod(int(d) for d in dims.split(",") if d) for t, dims in _SHAPE.findall(shape))


def _item(dtype: str) -> int:
    if dtype in _BYTES:
        return _BYTES[dtype]
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return max(1, int(bits[1]) // 8) if bits else 0


def group_of(line: str, devices: int) -> tuple[int, ...]:
    """The devices of a collective's first group, by their places in the mesh; all where none are named.

    Programs name groups in three ways: listed, `{{0,1},{2,3}}`; counted and turned, `[4,2]<=[2,4]T(1,0)`; and by the
    axes of a mesh, `mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}`.
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return tuple(int(d) for d in listed[1].split(",") if d)
    if counted := re.search(rf"replica_groups={_IOTA}", line):
        return tuple(int(d) for d in _turned(counted[2], counted[3]).reshape(_numbers(counted[1]))[0].reshape(-1))
    pattern = r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?\s*\{([^}]*)\}"
    if mesh := re.search(pattern, line):
        axes = [(name, int(size)) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])]
        ids = _turned(mesh[2], mesh[3]) if mesh[2] else np.arange(prod(size for _, size in axes))
        parts = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", mesh[4])
        return tuple(int(d) for d in _along(ids.reshape([size for _, size in axes]), [n for n, _ in axes], parts))
    return tuple(range(devices))


def _along(ids: np.ndarray, names: list[str], parts: list[tuple[str, str, str]]) -> np.ndarray:
    """The devices along axes of a mesh from its first one; a part `(axis, before, size)` is a factor of an axis."""
    where: list[Any] = [slice(0, 1)] * ids.ndim
    for name, before, size in parts:
        at = names.index(name)
        step = ids.shape[at] // (int(before) * int(size)) if before else 1
        where[at] = slice(0, step * int(size) if before else None, step)
    return ids[tuple(where)].reshape(-1)


def _turned(shape: str, order: str | None) -> np.ndarray:
    """0, 1, … laid out in `shape`, its axes put in another order."""
    ids = np.arange(prod(_numbers(shape))).reshape(_numbers(shape))
    return ids.transpose(_numbers(order)) if order else ids


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
