"""What a reproduction of the amnn paper is asked for, and the experiments that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.images import extractors
from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment
from jaxtag.recipes import SIZES, resolve
from jaxtag.reproduce import paper
from jaxtag.reproduce.amnn_paper import NAMES, TABLE_7

IMAGES = ("inception_v3", "resnet50", "vgg16", "vgg16_places")  # image features that the paper's systems read
TEXTS = tuple(TABLE_7)  # fixed word vectors
SHUFFLES = {"once": "shuffled", "each_time": "shuffled_each_time"}
ENCODERS = {"svm": "amnn", "neighbour_voting": "amnn_image"}  # whose features these systems read
# Of every network at size tiny: few steps, short posts, and large features read as they are needed, few at a time.
TINY = {
    "training.epochs": 3, "training.patience": 0, "evaluation.batch": 64, "data.length": 16, "data.words": 600,
    "data.resident_mib": 64,
}  # fmt: skip
TINY_DIM, TINY_BATCH = 32, 32  # of word vectors, and at most


@dataclass(frozen=True)
class Row:
    """A system as a table has it.

    Attributes:
      system: its recipe's name.
      images: the image features that it reads, of `IMAGES`.
      vectors: the fixed word vectors that it reads, of `TEXTS`; or none.
      recurrent: whether a recurrent layer reads those.
      shuffled: whether it learns a post's hashtags in a shuffled order.
    """

    system: str
    images: tuple[str, ...] = ()
    vectors: str = ""
    recurrent: bool = True
    shuffled: bool = False

    @property
    def key(self) -> str:
        """What the paper's numbers call it: AMNN with its image features."""
        own = self.images if self.system in ("amnn", "amnn_image") else ()
        return " ".join([self.system, *own])


@dataclass(frozen=True, kw_only=True)
class Work(paper.Asked):
    """What a reproduction is asked for.

    Attributes:
      data: the datasets' folders, by the paper's names.
      split: of every dataset, by which its posts are counted; a dataset's default where it is empty.
      splits: of the datasets, on which systems are run.
      seeds: runs of each row that is not the same at any seed.
      extractors: names of the image features that stand for those of `IMAGES`, where they are others.
      files: of fixed word vectors, by `TEXTS`.
      dim: numbers of word vectors where they are trained.
      shuffle: of Tables VIII and IX: each post's hashtags `once`, or `each_time` that it is seen.
    """

    data: Mapping[str, Path]
    split: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    seeds: int = 1
    extractors: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    dim: int = 300
    shuffle: str = "once"

    @cached_property
    def datasets(self) -> Mapping[str, Dataset]:
        """The datasets by the paper's names, opened."""
        return {name: open_dataset(path) for name, path in self.data.items()}

    def features(self, row: Row) -> tuple[str, ...]:
        """Names of the image features that a row reads."""
        return tuple(self.extractors.get(name, name) for name in row.images)

    def experiment(self, row: Row, given: Mapping[str, Any]) -> Experiment:
        """A row's recipe with what it reads, what it is `given`, and what the user says; an encoder's likewise."""
        recipe, own = f"amnn/{row.system}", self._of(row.system)
        fields = self._network(row) | dict(given)
        if resolve(recipe, self.size, own).encoder:
            fields = {f"encoder.{k}": v for k, v in (fields | self._of(ENCODERS[row.system])).items()}
        return resolve(recipe, self.size, fields | own)

    def _network(self, row: Row) -> dict[str, Any]:
        """What a row's network is told beside its recipe."""
        given: dict[str, Any] = {}
        if self.size == "tiny":
            batch = resolve(f"amnn/{ENCODERS.get(row.system, row.system)}", "tiny").training.batch
            given = TINY | {"training.batch": min(batch, TINY_BATCH)}
        if row.images:
            given["data.extractor"] = ",".join(self.features(row))
        if row.shuffled:
            given["data.hashtag_order"] = SHUFFLES[self.shuffle]
        if row.vectors:
            given |= {"model.trainable": False, "model.text_recurrent": row.recurrent}
        return given

    def _of(self, name: str) -> dict[str, Any]:
        return dict((self.overrides or {}).get(name, {}))


def work_of(
    data: Mapping[str, Path],
    out: Path,
    size: str = "paper",
    overrides: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Work:
    """The work of a command: `changed` are fields of `Work`, None where they are not given.

    Args:
      data, out, size: as `Work` has them.
      overrides: dotted, a recipe's name first: `amnn.training.epochs`.
      changed: such as `seeds=3`.

    Raises:
      JaxtagError: there is no such size or name, a number is not possible, or no dataset has features of a name.
    """
    if size not in SIZES:
        raise JaxtagError(f"no size {size!r}", nearest(size, SIZES))
    given: dict[str, Any] = {k: v for k, v in changed.items() if v is not None}
    if size == "tiny":
        given.setdefault("dim", TINY_DIM)
    work = Work(data=data, out=out, size=size, overrides=paper.grouped(overrides), **given)
    _check_names(work)
    for name in ("seeds", "dim"):
        if getattr(work, name) < 1:
            raise JaxtagError(f"{name} is {getattr(work, name)}; it must be 1 or more")
    return work


def _check_names(work: Work) -> None:
    for what, given, known in (
        ("dataset", work.data, NAMES), ("image features", work.extractors, IMAGES),
        ("fixed word vectors", work.files, TEXTS), ("order of hashtags", [work.shuffle], SHUFFLES),
    ):  # fmt: skip
        for name in given:
            if name not in known:
                raise JaxtagError(f"the amnn paper has no {what} {name!r}", nearest(name, known))
    if not work.data:
        raise JaxtagError("no dataset of the amnn paper is given", "--data mm_ins=DIR")
    for kind, file in work.files.items():
        if not file.is_file():
            raise JaxtagError(f"no file {file} of {kind} vectors", f"--pretrained {kind}=FILE")
    there = {name for dataset in work.datasets.values() for name in extractors(dataset)}
    for role, name in work.extractors.items():
        if name not in there:
            said = "none of the datasets has image features"
            raise JaxtagError(f"{said} {name!r} to stand for {role}", nearest(name, there))


def check_overrides(work: Work) -> None:
    """Refuse overrides of what is no recipe, or of what the rows decide.

    Raises:
      JaxtagError: naming the nearest recipe, or the option that is meant.
    """
    paper.check_overrides("amnn", work.overrides)
    for name, fields in (work.overrides or {}).items():
        for key in fields:
            if key.startswith("encoder."):
                inner = f"--{ENCODERS.get(name, name)}.{key.removeprefix('encoder.')}"
                raise JaxtagError(f"--{name}.{key} is of an encoder, which is a row of its own", inner)
            if key == "data.extractor":
                raise JaxtagError(f"--{name}.{key} would be of every row", "--extractor resnet50=NAME")
