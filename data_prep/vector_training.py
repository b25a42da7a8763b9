"""Training word vectors by gensim's word2vec and fastText: the settings, the texts as streams, the run."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxtag.data.dataset import Dataset
from jaxtag.data.hashtags import Subwords, WordTable
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError

from .progress import Bar
from .workers import ordered

TEXTS = 2_000  # cleaned at a time
ROWS = 10_000  # rows of tokens turned to words at a time
SUBWORDS = {"min_n": 3, "max_n": 6, "bucket": 200_000}  # fastText's n-grams, in a tenth of its buckets
Setting = Literal["inductive", "transductive"]


@dataclass(frozen=True)
class Training:
    """How vectors are trained.

    Attributes:
      setting: which texts, and whether hashtags are in them.
      model: 'skipgram' or 'cbow' of word2vec; or 'fasttext', skipgram over words and their character n-grams.
      dim: numbers of a vector.
      window: words on each side.
      epochs: times through the texts.
      min_count: occurrences below which a word gets no vector of its own; the default lets every word have one that
        a split knows by default.
      negative: words drawn as counter-examples for each word.
      seed: of everything random.
    """

    setting: Setting = "inductive"
    model: Literal["skipgram", "cbow", "fasttext"] = "skipgram"
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


@dataclass(frozen=True)
class Tokens:
    """The stored words of `rows` of a dataset, text by text, again and again."""

    dataset: Dataset
    rows: np.ndarray

    def __iter__(self) -> Iterator[list[str]]:
        column, entries = self.dataset.column("tokens"), self.dataset.words.entries
        for start in range(0, len(self.rows), ROWS):
            rows = self.rows[start : start + ROWS]
            for first, end in zip(column.offsets[rows].tolist(), column.offsets[rows + 1].tolist()):
                yield [entries[i] for i in column.values[first:end].tolist()]

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


def with_hashtags(dataset: Dataset, path: Path, workers: int) -> Lines:
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


def train(texts: Any, training: Training, workers: int) -> WordTable:
    """Vectors, input and output ones, of every word of `texts` that is frequent enough.

    Raises:
      JaxtagError: none is.
    """
    from gensim.models import FastText, Word2Vec

    rounds = ["counting words", *(f"epoch {i} of {training.epochs}" for i in range(1, training.epochs + 1))]
    fasttext = training.model == "fasttext"
    more: dict[str, Any] = SUBWORDS if fasttext else {}
    try:
        model: Any = (FastText if fasttext else Word2Vec)(
            _Shown(texts, rounds),
            vector_size=training.dim,
            window=training.window,
            epochs=training.epochs,
            min_count=training.min_count,
            negative=training.negative,
            sg=int(training.model != "cbow"),
            seed=training.seed,
            workers=workers,
            hashfxn=_hash,
            **more,
        )
    except RuntimeError as error:
        raise JaxtagError(f"no word vectors: {error}", "lower --min-count, or give more posts") from None
    names: list[str] = model.wv.index_to_key
    subwords = Subwords(model.wv.vectors_ngrams, SUBWORDS["min_n"], SUBWORDS["max_n"]) if fasttext else None
    return WordTable(tuple(names), model.wv.vectors, subwords, model.syn1neg)


def _hash(word: str) -> int:
    """A hash of a word that is the same in every process; Python's own is not."""
    return zlib.crc32(word.encode())
