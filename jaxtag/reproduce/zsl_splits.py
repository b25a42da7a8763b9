"""The zsl paper's splits and word vectors, made by `jaxtag-prep` in the dataset's own folder.

Splits and vectors belong to a dataset, and are made by the command that makes them for everybody, as a user would type
it: a reproduction has no splits of its own kind, `jaxtag data show` shows and audits them, and what is there is used.
Their names begin with `zsl`. Where jaxtag-prep's libraries are absent, make them elsewhere, by the commands shown.

    zsl-fold-0 …                stratified folds (Table 2)
    zsl-40-10-0 …               40 seen and 10 unseen hashtags, by seed (Table 3)
    zsl-40-10-0-few …           the same with a few posts of each unseen hashtag in training
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.files import read_json
from jaxtag.reproduce.commands import Absent, prepare, prepare_all
from jaxtag.reproduce.zsl_paper import FOLDS, SHOTS, TABLE_3, VECTORS

SHARES = tuple(unseen / (seen + unseen) for seen, unseen in TABLE_3)  # of the hashtags that are unseen
KINDS = ("zero-shot", "few-shot")
LEAST = 8  # hashtags, of which at least two are seen and two unseen at every share


@dataclass(frozen=True)
class Protocol:
    """How the splits are made.

    Attributes:
      top, min_posts, cap: hashtags kept, posts that each must have and has at most (0: all of them).
      folds, seeds: how many folds, and how many splits of each number of unseen hashtags.
      dim: numbers of a word vector; the comparison beside it has twice as many.
      epochs: of training them.
      settings: of the word vectors, the first in Table 2 too; the paper's are transductive.
      kinds: of Table 3's splits, from `KINDS`.
      file: of pretrained word vectors, compared with our own; None leaves them out.
      compared: the supervised system that section 7.4 compares word vectors by.
      activations: the systems whose activation it searches.
    """

    top: int = 50
    min_posts: int = 200
    cap: int = 0
    folds: int = FOLDS
    seeds: int = 5
    dim: int = VECTORS
    epochs: int = 5
    settings: tuple[str, ...] = ("transductive", "inductive")
    kinds: tuple[str, ...] = KINDS
    file: Path | None = None
    compared: str = "rnn"
    activations: tuple[str, ...] = ("rnn", "cnn")

    @property
    def prefix(self) -> str:
        """What the splits' names begin with: other rules have other names."""
        changed = {"top": self.top, "min": self.min_posts, "cap": self.cap, "of": self.folds}
        usual = {"top": 50, "min": 200, "cap": 0, "of": FOLDS}
        return "-".join(["zsl", *(f"{name}{value}" for name, value in changed.items() if value != usual[name])])


# At size tiny most of the time is compiling, so what takes long to compile is in Table 2 alone.
PROTOCOLS = {
    "paper": Protocol(),
    "tiny": Protocol(
        top=10, min_posts=20, folds=2, seeds=2, dim=32, epochs=2, settings=("transductive",), compared="ann",
        activations=("cnn",),
    ),
}  # fmt: skip


def rule(protocol: Protocol) -> list[Any]:
    """The options of every split: posts with exactly one of the most used hashtags."""
    chosen = ["--top", protocol.top, "--min-hashtag-posts", protocol.min_posts, "--per-post", "one"]
    return [*chosen, *(["--cap", protocol.cap] if protocol.cap else [])]


def folds(data: Path, protocol: Protocol) -> tuple[str, list[Split]]:
    """The folds' name without their number, and the folds.

    Raises:
      Absent: the dataset has too few posts or hashtags for them.
    """
    name = f"{protocol.prefix}-fold"
    names = [f"{name}-{i}" for i in range(protocol.folds)]
    if not all(_there(data, wanted) for wanted in names):
        prepare("split", "--data", data, "--name", name, "--folds", protocol.folds, *rule(protocol))
    dataset = open_dataset(data)
    return name, [dataset.split(wanted) for wanted in names]


def sizes(hashtags: int) -> list[tuple[int, int]]:
    """How many of so many hashtags are seen and unseen, at the paper's three shares: 40/10, 30/20, 25/25 of 50.

    Raises:
      Absent: there are too few.
    """
    if hashtags < LEAST:
        raise Absent(f"{hashtags} hashtags have posts enough; at least {LEAST} are needed for seen and unseen ones")
    return [(hashtags - round(share * hashtags), round(share * hashtags)) for share in SHARES]


def unseen(
    data: Path, protocol: Protocol, sizes: Sequence[tuple[int, int]], kinds: Sequence[str] = KINDS
) -> dict[tuple[int, str], tuple[str, list[Split]]]:
    """The splits with unseen hashtags, a seed each.

    Args:
      data: dataset folder.
      protocol: their rule.
      sizes: how many hashtags are seen and unseen.
      kinds: `zero-shot`, and `few-shot`, a few posts of each unseen hashtag in training.

    Returns:
      By number of unseen hashtags and kind, the splits' name without the seed, and the splits.

    Raises:
      Absent: they cannot be made.
    """
    commands, names = [], {}
    for seen, held in sizes:
        for kind in kinds:
            few = kind == "few-shot"
            stem, end = f"{protocol.prefix}-{seen}-{held}", "-few" if few else ""
            names[held, kind] = (stem + end, [f"{stem}-{seed}{end}" for seed in range(protocol.seeds)])
            for seed, name in enumerate(names[held, kind][1]):
                shots = ["--shots", f"{SHOTS[0]}-{SHOTS[1]}"] if few else []
                chosen = ["--name", name, "--unseen", held, "--seed", seed, *rule(protocol), *shots]
                commands += [] if _there(data, name) else [["split", "--data", data, *chosen]]
    prepare_all(commands)
    dataset = open_dataset(data)
    return {key: (stem, [dataset.split(name) for name in each]) for key, (stem, each) in names.items()}


def vectors(dataset: Dataset, splits: Sequence[Split], setting: str, dim: int, protocol: Protocol) -> str:
    """The name of the splits' word vectors of this setting and width; they are trained where they are not there.

    Raises:
      Absent: they cannot be.
    """
    name = f"{setting}-{dim}"
    training = ["--name", name, "--setting", setting, "--dim", dim, "--epochs", protocol.epochs]
    prepare_all([_command(dataset, split, *training) for split in splits if not _fitting(split, name)])
    return name


def given_vectors(dataset: Dataset, splits: Sequence[Split], file: Path) -> tuple[str, int]:
    """The name and width of the splits' word vectors from `file`.

    Raises:
      Absent: the file cannot be used.
    """
    name = f"pretrained-{file.name.split('.')[0]}"
    prepare_all([_command(dataset, s, "--name", name, "--file", file) for s in splits if not _fitting(s, name)])
    return name, splits[0].vectors_info(name)["dim"]


def _command(dataset: Dataset, split: Split, *options: Any) -> list[Any]:
    return ["vectors", "--data", dataset.path, "--split", split.name, *options]


def _there(data: Path, name: str) -> bool:
    return (data / "splits" / name / "split.json").is_file()


def _fitting(split: Split, name: str) -> bool:
    """Whether the split has word vectors of this name, made for it."""
    path = split.path / "vectors" / name / "vectors.json"
    return path.is_file() and read_json(path, "description of word vectors").get("split") == split.fingerprint


def vectors_there(split: Split, protocol: Protocol) -> list[str]:
    """Names of the split's own word vectors of the protocol's width, if they are there."""
    names = [f"{setting}-{protocol.dim}" for setting in protocol.settings]
    return [name for name in names if _fitting(split, name)]
