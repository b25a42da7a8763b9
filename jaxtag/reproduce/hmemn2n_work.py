"""What a reproduction of the hmemn2n paper is asked for, and the experiments that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment
from jaxtag.recipes import SIZES, resolve
from jaxtag.reproduce import paper
from jaxtag.reproduce.hmemn2n_paper import TABLE_3, USUAL

# Of every network at size tiny: few steps, and whole tables, which take less to compile.
TINY = {
    "training.epochs": 3, "training.patience": 0, "training.rows": 0, "data.length": 16, "data.history_length": 16,
}  # fmt: skip
TINY_DIMENSIONS = {50: 8, 300: 32}  # what stands for the paper's numbers of a word vector; others are left out
TINY_HOPS = 3  # at most


@dataclass(frozen=True, kw_only=True)
class Work(paper.Work):
    """What a reproduction is asked for.

    Attributes:
      split: of the dataset.
      seeds: runs of each row that is not the same at any seed.
      dim: numbers of a word vector of the SVMs, trained by CBOW on the split's training posts.
      file: of word vectors instead, such as the paper's, of news.
    """

    split: str = ""
    seeds: int = 1
    dim: int = 300
    file: Path | None = None

    def experiment(self, name: str, given: Mapping[str, Any]) -> Experiment:
        """The recipe `name` with what it is `given`, and what the user says."""
        experiment = resolve(f"hmemn2n/{name}", self.size)
        tiny: dict[str, Any] = {}
        if self.size == "tiny":
            network = experiment.training.optimizer == "adagrad"
            tiny = {k: v for k, v in TINY.items() if network or not k.startswith("training.")}
        return resolve(f"hmemn2n/{name}", self.size, tiny | dict(given) | dict((self.overrides or {}).get(name, {})))

    def grid(self) -> dict[tuple[str, int, int], tuple[str, int, int]]:
        """The rows of Table 3: the paper's system, dimensions and hops, and ours."""
        if self.size == "paper":
            return {row: row for row in TABLE_3}
        ours = {r: (r[0], TINY_DIMENSIONS.get(r[1], 0), r[2]) for r in TABLE_3}
        return {row: mine for row, mine in ours.items() if mine[1] and mine[2] <= TINY_HOPS}

    @property
    def usual(self) -> tuple[int, int]:
        """Dimensions and hops of Table 2."""
        return (TINY_DIMENSIONS[USUAL[0]], USUAL[1]) if self.size == "tiny" else USUAL


def work_of(
    data: Path, out: Path, size: str = "paper", overrides: Mapping[str, Any] | None = None, **changed: Any
) -> Work:
    """The work of a command: `changed` are fields of `Work`, None where they are not given.

    Args:
      data, out, size: as `Work` has them.
      overrides: dotted, a recipe's name first: `hmemn2n.training.epochs`.
      changed: such as `seeds=3`.

    Raises:
      JaxtagError: there is no such size, or a number is not possible.
    """
    if size not in SIZES:
        raise JaxtagError(f"no size {size!r}", nearest(size, SIZES))
    given: dict[str, Any] = {k: v for k, v in changed.items() if v is not None}
    if size == "tiny":
        given.setdefault("dim", TINY_DIMENSIONS[300])
    work = Work(data=data, out=out, size=size, overrides=paper.grouped(overrides), **given)
    for name in ("seeds", "dim"):
        if getattr(work, name) < 1:
            raise JaxtagError(f"{name} is {getattr(work, name)}; it must be 1 or more")
    return work
