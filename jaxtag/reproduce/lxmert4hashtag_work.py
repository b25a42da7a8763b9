"""What a reproduction of the lxmert4hashtag paper is asked for, and the experiments that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment
from jaxtag.recipes import SIZES, resolve
from jaxtag.reproduce import paper
from jaxtag.reproduce.lxmert4hashtag_paper import IMAGES

PAPER = "lxmert4hashtag"
ROLES = tuple(dict.fromkeys(IMAGES.values()))
TOPICS = {"paper": 100, "tiny": 10}  # of tab_lstm, by size
VECTORS = {"paper": "fasttext", "tiny": "skipgram"}  # how tweet_embedding's are trained, by size
TINY_DIM = 32
# Of every network at size tiny: few steps, short posts, and large features read as they are needed.
TINY = {"training.epochs": 3, "training.patience": 0, "data.length": 16, "data.resident_mib": 64}


@dataclass(frozen=True, kw_only=True)
class Work(paper.Work):
    """What a reproduction is asked for.

    Attributes:
      split: of the dataset.
      seeds: runs of each row.
      extractors: names of the image features that stand for those of `ROLES`, where they are others.
      dim: numbers of tweet_embedding's word vectors, trained on the split's training posts.
      file: of word vectors instead.
    """

    split: str = ""
    seeds: int = 1
    extractors: Mapping[str, str] = field(default_factory=dict)
    dim: int = 300
    file: Path | None = None

    def features(self, name: str) -> str:
        """The name of the image features that the recipe `name` reads; empty where it reads none."""
        role = IMAGES.get(name, "")
        return self.extractors.get(role, role)

    def experiment(self, name: str, given: Mapping[str, Any]) -> Experiment:
        """The recipe `name` with what it reads, what it is `given`, and what the user says."""
        tiny = TINY if self.size == "tiny" else {}
        image = {"data.extractor": self.features(name)} if self.features(name) else {}
        own = (self.overrides or {}).get(name, {})
        return resolve(f"{PAPER}/{name}", self.size, tiny | image | dict(given) | dict(own))


def work_of(
    data: Path, out: Path, size: str = "paper", overrides: Mapping[str, Any] | None = None, **changed: Any
) -> Work:
    """The work of a command: `changed` are fields of `Work`, None where they are not given.

    Args:
      data, out, size: as `Work` has them.
      overrides: dotted, a recipe's name first: `lxmert.training.epochs`.
      changed: such as `seeds=3`.

    Raises:
      JaxtagError: there is no such size or name of image features, or a number is not possible.
    """
    if size not in SIZES:
        raise JaxtagError(f"no size {size!r}", nearest(size, SIZES))
    given: dict[str, Any] = {k: v for k, v in changed.items() if v is not None}
    if size == "tiny":
        given.setdefault("dim", TINY_DIM)
    work = Work(data=data, out=out, size=size, overrides=paper.grouped(overrides), **given)
    for name in ("seeds", "dim"):
        if getattr(work, name) < 1:
            raise JaxtagError(f"{name} is {getattr(work, name)}; it must be 1 or more")
    for role in work.extractors:
        if role not in ROLES:
            raise JaxtagError(f"no system reads image features {role!r}", nearest(role, ROLES))
    return work
