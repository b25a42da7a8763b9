"""Word vectors of a split, by gensim's word2vec, in two named settings that are never mixed.

    inductive      texts of the corpus but those of the split's validation and test posts; no hashtag in them
    transductive   every text, its hashtags in their places as `#x`, as the papers do; gives hashtags vectors too

The words are those that systems read: a stop word that is no token has no vector and is in no window.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.files import new_folder, seal, write_json

from .progress import Bar
from .workers import ordered

FORMAT = 1
TEXTS = 2_000  # cleaned at a time
_SENTENCES = "sentences.txt"
Setting = Literal["inductive", "transductive"]


@dataclass(frozen=True)
class Training:
    """How vectors are trained.

    Attributes:
      setting: which texts, and whether hashtags are in them.
      model: 'skipgram' or 'cbow'.
      dim: numbers of a vector.
      window: words on each side.
      epochs: times through the texts.
      min_count: occurrences below which a word gets no vector of its own; the default lets every word have one that
        a split knows by default.
      negative: words drawn as counter-examples for each word.
      seed: of everything random.
    """

    setting: Setting = "inductive"
    model: Literal["skipgram", "cbow"] = "skipgram"
    dim: int = 150
    window: int = 5
    epochs: int = 5
    min_count: int = 2
    negative: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "window", "epochs", "min_count", "negative"):
            if getattr(self, name) < 1:
                raise JaxtagError(f"--{name.replace('_', '-')} {getattr(self, name)} is below 1")
        if self.seed < 0:
            raise JaxtagError(f"--seed {self.seed} is below 0")


def make(data: Path, split_name: str, training: Training, workers: int = 1) -> dict[str, Any]:
    """Train word vectors for a split; earlier ones of that setting are replaced.

    Args:
      data: dataset folder.
      split_name: of the split; '' is its default one.
      training: how.
      workers: gensim's threads; only with 1 do two runs give the same bytes.

    Returns:
      vectors.json.

    Raises:
      JaxtagError: no such dataset or split, or no word is frequent enough.
    """
    dataset = open_dataset(data)
    split = dataset.split(split_name)
    folder = split.path / "vectors" / training.setting
    folder.parent.mkdir(exist_ok=True)
    with new_folder(folder) as side:
        if training.setting == "inductive":
            texts: Iterable[list[str]] = Tokens(dataset, _outside(dataset, split))
        else:
            texts = _with_hashtags(dataset, side / _SENTENCES, workers)
        found = _train(texts, training, workers)
        (side / _SENTENCES).unlink(missing_ok=True)
        names = [dataset.words.entries[i] for i in split.words]
        table, missing = _table(names, found, training)
        np.save(side / "words.npy", table)
        info = {"format": FORMAT, "dataset": dataset.fingerprint, "split": split.fingerprint} | asdict(training)
        info |= {"workers": workers, "words": len(names), "words_without": len(missing), "trained": len(found)}
        if training.setting == "transductive":
            names = ["#" + dataset.hashtags.entries[i] for i in split.candidates]
            info["hashtags"] = len(names)
            info["hashtags_without"] = [name[1:] for name in names if name not in found]
            table = [found.get(name, np.zeros(training.dim)) for name in names]
            np.save(side / "hashtags.npy", np.array(table, np.float32).reshape(-1, training.dim))
        info["files"] = seal(side)
        write_json(side / "vectors.json", info)
    return info


@dataclass(frozen=True)
class Tokens:
    """The stored words of `rows` of a dataset, text by text, again and again."""

    dataset: Dataset
    rows: np.ndarray

    def __iter__(self) -> Iterator[list[str]]:
        column, entries = self.dataset.column("tokens"), self.dataset.words.entries
        for row in self.rows:
            yield [entries[i] for i in column[row].tolist()]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Lines:
    """The words of each line of a file, again and again."""

    path: Path
    lines: int

    def __iter__(self) -> Iterator[list[str]]:
        with open(self.path, encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.split()

    def __len__(self) -> int:
        return self.lines


def _outside(dataset: Dataset, split: Split) -> np.ndarray:
    """Every row but those of validation and test."""
    outside = np.ones(dataset.rows, bool)
    outside[split.validation] = False
    outside[split.test] = False
    return np.flatnonzero(outside)


def _with_hashtags(dataset: Dataset, path: Path, workers: int) -> Lines:
    """Every text, cleaned again with its hashtags left in, as lines of a file."""
    cleaning = Cleaning.from_json(dataset.info["settings"]["cleaning"])
    starts = range(0, dataset.rows, TEXTS)
    texts = (dataset.text(np.arange(start, min(start + TEXTS, dataset.rows))) for start in starts)
    with open(path, "w", encoding="utf-8") as file, Bar("cleaning, hashtags left in", len(starts)) as bar:
        for batch in bar.over(ordered(partial(_lines, cleaning), texts, workers), lambda _: 1):
            file.write(batch)
    return Lines(path, dataset.rows)


def _lines(cleaning: Cleaning, texts: list[str]) -> str:
    cleaner = Cleaner(cleaning)
    return "".join(" ".join(cleaner.with_hashtags(text)) + "\n" for text in texts)


@dataclass
class _Shown:
    """Texts with a progress bar for each time through them."""

    texts: Any
    rounds: list[str]

    def __iter__(self) -> Iterator[list[str]]:
        with Bar(self.rounds.pop(0), len(self.texts)) as bar:
            yield from bar.over(self.texts, lambda _: 1)


def _train(texts: Any, training: Training, workers: int) -> dict[str, np.ndarray]:
    """Vectors of every word of `texts` that is frequent enough.

    Raises:
      JaxtagError: none is.
    """
    from gensim.models import Word2Vec

    rounds = ["counting words", *(f"epoch {i} of {training.epochs}" for i in range(1, training.epochs + 1))]
    try:
        model = Word2Vec(
            _Shown(texts, rounds),
            vector_size=training.dim,
            window=training.window,
            epochs=training.epochs,
            min_count=training.min_count,
            negative=training.negative,
            sg=int(training.model == "skipgram"),
            seed=training.seed,
            workers=workers,
            hashfxn=_hash,
        )
    except RuntimeError as error:
        raise JaxtagError(f"no word vectors: {error}", "lower --min-count, or give more posts") from None
    names: list[str] = model.wv.index_to_key  # type: ignore[assignment]
    return dict(zip(names, model.wv.vectors))


def _hash(word: str) -> int:
    """A hash of a word that is the same in every process; Python's own is not."""
    return zlib.crc32(word.encode())


def _table(names: list[str], found: dict[str, np.ndarray], training: Training) -> tuple[np.ndarray, list[str]]:
    """A row `[dim]` for each name, and the names without a vector: those get small seeded random rows."""
    rng = np.random.default_rng(training.seed)
    table = rng.uniform(-0.5 / training.dim, 0.5 / training.dim, (len(names), training.dim)).astype(np.float32)
    missing = []
    for row, name in enumerate(names):
        if name in found:
            table[row] = found[name]
        else:
            missing.append(name)
    return table, missing
