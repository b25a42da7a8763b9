"""What a reproduction of the zsl paper is asked for, and the experiments that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtag.data.dataset import SETTINGS
from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment
from jaxtag.recipes import recipes, resolve
from jaxtag.reproduce import paper
from jaxtag.reproduce.zsl_splits import KINDS, PROTOCOLS, Protocol

# Of every network at size tiny: few epochs, and sizes that do not differ between splits, which then share their steps.
TINY = {
    "training.epochs": 3, "training.patience": 0, "training.by_length": 0, "data.words": 600, "data.length": 16,
    "parallel.multiple": 16,
}  # fmt: skip

# Of the zero-shot methods, by size: the paper's; or, at size tiny, one that compiles in a moment.
ENCODERS = {"paper": "zsl/rnn", "tiny": "zsl/ann"}


@dataclass(frozen=True, kw_only=True)
class Work(paper.Work):
    """What a reproduction is asked for.

    Attributes:
      protocol: of the splits.
      encoder: recipe of what the zero-shot methods start from.
    """

    protocol: Protocol
    encoder: str

    def of(self, recipe: str) -> dict[str, Any]:
        """The overrides of a recipe."""
        return dict((self.overrides or {}).get(recipe, {}))

    def network(self, recipe: str, vectors: str, dim: int) -> dict[str, Any]:
        """What a network is told beside its recipe: its word vectors, and what the user says."""
        tiny = TINY if self.size == "tiny" else {}
        given = {"training.objective": "single", "data.vectors": vectors, "model.embedding": dim}
        return tiny | given | self.of(recipe)

    def supervised(self, name: str, vectors: str, dim: int) -> Experiment:
        """A system of Table 2: posts with one hashtag."""
        return resolve(f"zsl/{name}", self.size, self.network(name, vectors, dim))

    def zero_shot(
        self, recipe: str, encoder: str | None, vectors: str, dim: int, fields: Mapping[str, Any]
    ) -> Experiment:
        """A method of Table 3 with its own `fields`; hashtags without a vector are ranked last."""
        given: dict[str, Any] = {"model.vectors": vectors, "model.missing": "last"} | dict(fields)
        if encoder == "":
            encoder = self.encoder
            inner = self.network(encoder.rpartition("/")[2], vectors, dim)
            given |= {f"encoder.{key}": value for key, value in inner.items()}
        elif self.size == "tiny":
            given |= {key: TINY[key] for key in ("data.length", "parallel.multiple")}
            given |= {"data.words": TINY["data.words"]} if "model.words" not in fields else {}
        return resolve(recipe, self.size, given | self.of(recipe.rpartition("/")[2]), encoder or "")


def check_overrides(work: Work) -> None:
    """Refuse overrides of what is not run.

    Raises:
      JaxtagError: naming the nearest recipe.
    """
    paper.check_overrides("zsl", work.overrides)
    for name, fields in (work.overrides or {}).items():
        for key in fields:
            if key.startswith("encoder."):
                encoder = work.encoder.rpartition("/")[2]
                raise JaxtagError(
                    f"--{name}.{key} would give one method an encoder of its own, and all share one",
                    f"--{encoder}.{key.removeprefix('encoder.')}",
                )


def work_of(
    data: Path, out: Path, size: str = "paper", encoder: str = "", overrides: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Work:  # fmt: skip
    """The work of a command: `changed` are fields of the protocol, None where they are not given.

    Args:
      data, out, size, encoder: as `Work` has them; without an encoder, that of `ENCODERS`.
      overrides: dotted, a recipe's name first: `rnn.model.width`.
      changed: such as `seeds=3`.

    Raises:
      JaxtagError: there is no such size or recipe, or a number is not possible.
    """
    if size not in PROTOCOLS:
        raise JaxtagError(f"no size {size!r}", nearest(size, PROTOCOLS))
    encoder = encoder or ENCODERS[size]
    if encoder not in recipes():
        raise JaxtagError(f"no recipe {encoder!r} to start from", nearest(encoder, recipes()))
    protocol = replace(PROTOCOLS[size], **{k: v for k, v in changed.items() if v is not None})
    for name, least in (("top", 1), ("min_posts", 1), ("cap", 0), ("folds", 2), ("seeds", 1), ("dim", 1)):
        if getattr(protocol, name) < least:
            raise JaxtagError(f"{name} is {getattr(protocol, name)}; it must be {least} or more")
    vectors = ("setting of word vectors", protocol.settings, SETTINGS)
    for what, given, known in (vectors, ("kind of splits", protocol.kinds, KINDS)):
        for name in given:
            if name not in known:
                raise JaxtagError(f"no {what} {name!r}", nearest(name, known))
    fields = paper.grouped(overrides)
    return Work(data=data, out=out, size=size, protocol=protocol, encoder=encoder, overrides=fields)
