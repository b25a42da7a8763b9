"""Names of machines: what people call a slice of TPUs or a cluster of GPUs, and what it is made of.

`v5e:16x16` is a torus of chips, `v5e-256` as many chips in the torus that is offered of them; `v5p-256` and `v4-256`
count TensorCores, of which a chip has two. `h200:8x8` is hosts x GPUs of a host, `h200-64` as many GPUs, 8 to a host.
"""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxtag.errors import JaxtagError
from jaxtag.plan.chips import CHIPS, Chip

Shape = tuple[int, ...]

FLAT: tuple[Shape, ...] = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
SMALL: tuple[Shape, ...] = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))
LARGEST: dict[str, Shape] = {"v4": (16, 16, 16), "v5p": (16, 16, 24)}  # of the tori made of cubes of 4 x 4 x 4
CORES = 2  # of a chip, where a name counts them
HOST = 8  # GPUs of a full host
MOST_HOSTS = 1024
OTHER_NAMES = {"v5litepod": "v5e", "v5lite": "v5e", "v5": "v5p"}


@dataclass(frozen=True)
class Topology:
    """A machine to plan for.

    Attributes:
      chip: of which it is made.
      shape: chips along each axis of the torus; of GPUs, hosts and GPUs of a host.
      slices: tori, joined by a network.
    """

    chip: Chip
    shape: Shape
    slices: int = 1

    @property
    def name(self) -> str:
        """Its one name, such as `v5e:16x16`; of several slices, `2 x v5e:16x16`."""
        return f"{self.slices} x " * (self.slices > 1) + f"{self.chip.name}:{_said(self.shape)}"

    @property
    def count(self) -> int:
        """How many chips there are."""
        return math.prod(self.shape) * self.slices


def topology(name: str, slices: int = 1) -> Topology:
    """The machine that `name` means.

    Raises:
      JaxtagError: the name is none, or there is no such size: the nearest ones are named.
    """
    found = re.fullmatch(r"\s*([a-z]+\d*[a-z]*)\s*(?:-\s*(\d{1,7})|[:=]\s*(\d{1,5}(?:x\d{1,5})*))\s*", name.lower())
    chip = CHIPS.get(OTHER_NAMES.get(found[1], found[1])) if found else None
    if found is None or chip is None:
        raise JaxtagError(
            f"--topology {name}: no machine that is known here",
            f"name a chip ({', '.join(CHIPS)}) and a size: v5e:16x16, v5p-256, h200:8x8 (hosts x GPUs)",
        )
    if slices < 1 or (slices > 1 and chip.kind == "gpu"):
        mend = "of GPUs, give all hosts: h200:16x8" if chip.kind == "gpu" else "it must be 1 or more"
        raise JaxtagError(f"--slices is {slices}", mend)
    given = tuple(int(n) for n in found[3].split("x")) if found[3] else ()
    number = int(found[2]) if found[2] else 0
    shape = (_gpus if chip.kind == "gpu" else _tpus)(name, chip, number, given)
    return Topology(chip, shape, slices)


def sizes(chip: Chip) -> list[Shape]:
    """Every torus that is offered of a TPU, fewest chips first; among equals the most even."""
    if chip.axes == 2:
        return list(FLAT)
    most = LARGEST[chip.name]
    cubes = itertools.combinations_with_replacement(range(4, max(most) + 1, 4), 3)
    fitting = (c for c in cubes if all(n <= m for n, m in zip(c, most)))
    return sorted([*SMALL, *fitting], key=lambda s: (math.prod(s), sum(s)))


def _tpus(name: str, chip: Chip, number: int, given: Shape) -> Shape:
    offered = sizes(chip)
    if given:
        for shape in offered:
            if sorted(shape) == sorted(given):
                return shape
        _refuse(name, chip, math.prod(given), [(math.prod(s), f"{chip.name}:{_said(s)}") for s in offered])
    cores = CORES if chip.axes == 3 else 1
    for shape in offered:
        if math.prod(shape) * cores == number:
            return shape
    _refuse(name, chip, number, [(math.prod(s) * cores, f"{chip.name}-{math.prod(s) * cores}") for s in offered])
    raise AssertionError


def _gpus(name: str, chip: Chip, number: int, given: Shape) -> Shape:
    if given:
        if len(given) == 2 and 1 <= given[0] <= MOST_HOSTS and 1 <= given[1] <= HOST:
            return given
        raise JaxtagError(
            f"--topology {name}: there is no such machine",
            f"give hosts x GPUs of a host, up to {MOST_HOSTS} x {HOST}, such as {chip.name}:8x8",
        )
    if 1 <= number <= HOST:
        return (1, number)
    if number and number % HOST == 0 and number // HOST <= MOST_HOSTS:
        return (number // HOST, HOST)
    full = [(n, f"{chip.name}-{n}") for n in (*range(1, HOST + 1), *range(HOST, HOST * MOST_HOSTS + 1, HOST))]
    _refuse(name, chip, number, full)
    raise AssertionError


def _refuse(name: str, chip: Chip, asked: int, offered: Iterable[tuple[int, str]]) -> None:
    """Say that there is no such size, and what the nearest below and above are."""
    known = sorted(set(offered))
    below, above = [n for n in known if n[0] <= asked], [n for n in known if n[0] > asked]
    if below and below[-1][0] == asked:  # the number is right, the shape is not
        near = [n for n in below if n[0] == asked]
    else:
        near = [*below[-1:], *above[:1]]
    counts = f" ({chip.name}-N counts TensorCores, {CORES} of a chip)" if chip.axes == 3 and "-" in name else ""
    raise JaxtagError(
        f"--topology {name}: there is no such size{counts}", f"the nearest: {' or '.join(n for _, n in near)}"
    )


def _said(shape: Shape) -> str:
    return "x".join(map(str, shape))
