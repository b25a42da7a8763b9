"""What a report says of the dataset: where its posts went, its hashtags, and posts with recommendations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.report import corpus, plots
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.runs import Predictions, Run
from jaxtag.report.tables import Strong

EXAMPLES = 6
RECOMMENDED = 3  # hashtags shown of each run
LONGEST = 280  # characters of a post that are shown


@dataclass(frozen=True)
class Data:
    """A dataset and split that are still there, or why they are not.

    Attributes:
      dataset, split: None where they cannot be read.
      absent: the reason, empty where they can.
    """

    dataset: Dataset | None
    split: Split | None
    absent: str = ""


def open_for(run: Run) -> Data:
    """The dataset and split that `run` was trained on, if they are where they were, and as they were."""
    path = Path(run.dataset["path"])
    if not path.is_dir():
        return Data(None, None, f"The dataset is no longer at {path}.")
    try:
        dataset = open_dataset(path)
        split = dataset.split(run.split["name"])
    except JaxtagError as error:
        return Data(None, None, f"The dataset cannot be read: {error}.")
    if (dataset.fingerprint, split.fingerprint) != run.group:
        return Data(None, None, f"The dataset at {path} has changed since.")
    return Data(dataset, split)


def overview(data: Data, out: Path, prefix: str, vectors: Sequence[str] = ()) -> list[Block]:
    """Funnel, statistics and pictures of the dataset.

    Args:
      data: the dataset and split.
      out: folder for the pictures.
      prefix: of their names.
      vectors: names of word vectors, of which the first that the split has gives the hashtags' places on the map.
    """
    blocks: list[Block] = [Heading("Dataset", 3)]
    if data.dataset is None or data.split is None:
        return [*blocks, Paragraph(f"{data.absent} Its statistics are left out.")]
    dataset, split = data.dataset, data.split
    counts = _uses(dataset, split.train, "hashtags", split.hashtags, len(dataset.hashtags))
    facts = {
        "posts": dataset.rows, "training posts": len(split.train), "validation posts": len(split.validation),
        "test posts": len(split.test), "hashtags of the split": len(split.hashtags),
        "hashtags that may be recommended": len(split.candidates), "words of the split": len(split.words),
        "hashtags of a training post": float(counts.sum() / max(len(split.train), 1)),
        "words of a post": float(dataset.column("tokens").lengths().mean()) if dataset.has("tokens") else None,
    }  # fmt: skip
    # The split's funnel begins with what the dataset's ends with.
    steps = [*dataset.info["funnel"], *split.info.get("funnel", [])[1:]]
    return [
        *blocks,
        Table([{"": name, "value": value} for name, value in facts.items()], ["", "value"]),
        Paragraph(
            "Where the posts went: how many were left after each step. Those that the split's "
            "steps leave out are still their authors' histories."
        ),
        Table(steps, ["step", "posts"]),
        *pictures(dataset, split, split.train, f"training posts of split {split.name}", out, prefix, vectors),
    ]


def pictures(
    dataset: Dataset, split: Split, rows: np.ndarray, what: str, out: Path, prefix: str, vectors: Sequence[str]
) -> list[Block]:
    """Posts of each hashtag, words as a cloud, and hashtags as a map of their vectors.

    Args:
      dataset, split: whose hashtags and words.
      rows: row numbers of the posts counted `[n]`.
      what: names them.
      out, prefix, vectors: as of `overview`.
    """
    names = [dataset.hashtags.entries[h] for h in split.hashtags]
    counts = _uses(dataset, rows, "hashtags", split.hashtags, len(dataset.hashtags))
    bars = plots.hashtag_bars(names, counts.tolist(), out / f"{prefix}hashtags.png")
    blocks: list[Block] = [Picture(bars, f"Hashtags and how many {what} have them.")]
    if dataset.has("tokens"):
        uses = _uses(dataset, rows, "tokens", split.words, len(dataset.words))
        words = [dataset.words.entries[w] for w in split.words]
        if cloud := corpus.word_cloud(words, uses.tolist(), out / f"{prefix}words.png"):
            said = f"The words used most in {what}, of {len(words):,}, without stop words."
            blocks.append(Picture(cloud, said))
    name, table = _hashtag_vectors(split, vectors)
    if table is None:
        how = f"jaxtag-prep vectors --data {dataset.path} --split {split.name}"
        return [*blocks, Paragraph(f"The split has no vectors of hashtags, so there is no map of them: {how}")]
    if drawn := corpus.hashtag_map(names, counts.tolist(), table[: len(names)], out / f"{prefix}hashtag-map.png"):
        said = (f"Hashtags by t-SNE of their {name} vectors: what stands together is used alike. Larger dots have more "
                "posts; names that would hide others are left out.")  # fmt: skip
        blocks.append(Picture(drawn, said))
    return blocks


def _hashtag_vectors(split: Split, wanted: Sequence[str]) -> tuple[str, np.ndarray | None]:
    """Vectors of the split's hashtags and their name: the first of `wanted` that has some, or any that has."""
    there = sorted((p.name for p in (split.path / "vectors").glob("*") if p.is_dir()), reverse=True)
    for name in dict.fromkeys([*(w for w in wanted if w in there), *there]):
        try:
            return name, np.asarray(split.hashtag_vectors(name))
        except JaxtagError:  # made without hashtags, or damaged
            continue
    return "", None


def _uses(dataset: Dataset, rows: np.ndarray, column: str, kept: np.ndarray, known: int) -> np.ndarray:
    """How often each of the dataset ids `kept [n]` occurs in the posts `rows`, `[n]`, of `known` ids in all."""
    ragged = dataset.column(column)
    lengths = ragged.lengths(rows)
    first = np.cumsum(lengths) - lengths
    used = ragged.values[np.arange(lengths.sum()) + np.repeat(ragged.offsets[rows] - first, lengths)]
    return np.bincount(used, minlength=known)[kept]


def examples(runs: list[Run], part: str, data: Data) -> list[Block]:
    """A few posts of the part, evenly spaced, with what each run recommends; right ones are bold.

    Raises:
      JaxtagError: the predictions name posts or hashtags that the dataset does not have.
    """
    blocks: list[Block] = [Heading(f"Posts of the {part} part and what is recommended", 3)]
    if data.dataset is None:
        return [*blocks, Paragraph(f"{data.absent} Example posts are left out.")]
    dataset = data.dataset
    saved = {run.name: run.evaluations[part].predictions for run in runs}
    for run in runs:
        _check(saved[run.name], dataset, run.path / f"predictions-{part}.npz")
    first = saved[runs[0].name]
    having = np.flatnonzero((first.gold >= 0).any(1))
    if not len(having):
        return [*blocks, Paragraph("No post of it has a hashtag that may be recommended.")]
    chosen = having[np.unique(np.linspace(0, len(having) - 1, EXAMPLES).astype(int))]
    place = {name: {int(row): i for i, row in enumerate(p.rows)} for name, p in saved.items()}
    rows = []
    for index in chosen:
        row = int(first.rows[index])
        text = dataset.text(np.array([row]))[0]
        gold = [int(h) for h in first.gold[index] if h >= 0]
        line = {
            "post": text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
            "its hashtags": _names(gold, dataset),
        }
        for name, predictions in saved.items():
            at = place[name].get(row)
            ranked = [] if at is None else [int(h) for h in predictions.ranked[at, :RECOMMENDED] if h >= 0]
            line[name] = _names(ranked, dataset, set(gold))
        rows.append(line)
    return [*blocks, Table(rows, list(rows[0]))]


def _names(hashtags: list[int], dataset: Dataset, right: set[int] | None = None) -> list[str]:
    names = [f"#{dataset.hashtags.entries[h]}" for h in hashtags]
    return [Strong(n) if right and h in right else n for n, h in zip(names, hashtags)]


def _check(saved: Predictions, dataset: Dataset, file: Path) -> None:
    for what, values, most in (
        ("post", saved.rows, dataset.rows),
        ("hashtag", saved.ranked, len(dataset.hashtags)),
        ("hashtag", saved.gold, len(dataset.hashtags)),
    ):
        if values.size and values.max() >= most:
            raise JaxtagError(f"{file} names {what} {values.max()}, the dataset has {most}", "evaluate the run again")
