"""What is asked of a recommender: a text, and of systems that read history its author, or the author's earlier posts.

A text is cleaned as the dataset's posts were. An author's earlier posts are the latest that the dataset has, or texts
that come with the request; an author whom it does not know has none, as a new author has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxtag.data import vocabulary
from jaxtag.data.dataset import Dataset
from jaxtag.data.posts import HISTORY, PAD
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.runs import Bound


@dataclass(frozen=True)
class Request:
    """A post to recommend hashtags for.

    Attributes:
      text: of it.
      author: their name in the dataset; empty for nobody.
      history: texts of their earlier posts, the latest first; None takes those that the dataset has of the author.
    """

    text: str
    author: str = ""
    history: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Post:
    """A post's text, and its words in the order in which they are read."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """What was read for a request: the post, and earlier ones, the latest first."""

    post: Post
    earlier: tuple[Post, ...]


class Reader:
    """Makes batches of requests, as a run reads posts."""

    def __init__(self, bound: Bound):
        """Read as the run `bound` does."""
        self._dataset, self._reading = bound.dataset, bound.reading
        self._cleaner = Cleaner(Cleaning.from_json(bound.dataset.info["settings"]["cleaning"]))

    def __call__(self, requests: Sequence[Request], rows: int) -> tuple[dict[str, np.ndarray], list[Read]]:
        """The batch of `requests`, padded to `rows` posts, and what it holds of each."""
        reading, reads = self._reading, [self._read(request) for request in requests]
        batch: dict[str, np.ndarray] = {"tokens": np.full((rows, reading.lengths["tokens"]), PAD, np.int32)}
        if HISTORY in reading.lengths:
            batch[HISTORY] = np.full((rows, reading.posts, reading.lengths[HISTORY]), PAD, np.int32)
        for row, read in enumerate(reads):
            self._fill(batch["tokens"][row], read.post)
            for place, post in enumerate(read.earlier):
                self._fill(batch[HISTORY][row, place], post)
        return {name: reading.word_ids[ids] for name, ids in batch.items()}, reads

    @property
    def reads_history(self) -> bool:
        """Whether authors and their earlier posts make a difference."""
        return HISTORY in self._reading.lengths

    def knows(self, author: str) -> bool:
        """Whether the dataset has posts of `author`."""
        return self.reads_history and author in self._authors

    def _read(self, request: Request) -> Read:
        earlier: tuple[Post, ...] = ()
        if self.reads_history and request.history is not None:
            earlier = tuple(map(self._clean, request.history[: self._reading.posts]))
        elif self.reads_history and request.author:
            earlier = tuple(stored(self._dataset, self._latest(request.author)))
        return Read(self._clean(request.text), earlier)

    def _clean(self, text: str) -> Post:
        return Post(text, self._cleaner(text).words)

    def _fill(self, row: np.ndarray, post: Post) -> None:
        ids = self._dataset.words.encode(post.words[: len(row)])
        row[: len(ids)] = ids

    @cached_property
    def _authors(self) -> dict[str, int]:
        names = vocabulary.load(self._dataset.path / "vocabulary" / "authors.txt").entries
        return {name: number for number, name in enumerate(names) if number}

    @cached_property
    def _by_author(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows by author and time, of posts of one time the later row last; and the authors in that order."""
        author = np.asarray(self._dataset.column("author"))
        order = np.lexsort((np.asarray(self._dataset.column("time")), author))
        return order, author[order]

    def _latest(self, author: str) -> np.ndarray:
        """Rows of the author's latest posts, the latest first."""
        order, authors = self._by_author
        start, end = np.searchsorted(authors, [(number := self._authors.get(author, -1)), number + 1])
        return order[start:end][::-1][: self._reading.posts]


def stored(dataset: Dataset, rows: np.ndarray) -> list[Post]:
    """The posts `rows` of a dataset."""
    words, tokens = dataset.words.entries, dataset.column("tokens")
    return [Post(text, tuple(words[t] for t in tokens[row])) for row, text in zip(rows, dataset.text(rows))]


def parse(number: int, line: bytes) -> tuple[dict[str, Any], Request | None]:
    """What line `number` of a stream asks for: its own fields, and the request; or its `error`, and None."""
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        return {"error": f"line {number} is not JSON: {error}"}, None
    if isinstance(record, str):
        record = {"text": record}
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return {"error": f'line {number} is not {{"text": "..."}}'}, None
    author, history = record.get("author"), record.get("history")
    if not isinstance(author, str | int | None) or isinstance(author, bool):
        return {"error": f'line {number}: "author" is not a name'}, None
    if history is not None and not (isinstance(history, list) and all(isinstance(text, str) for text in history)):
        return {"error": f'line {number}: "history" is not a list of texts, the latest first'}, None
    name = "" if author is None else str(author)
    return record, Request(record["text"], name, None if history is None else tuple(history))
