"""What is asked of a recommender: a text, an image of systems that read images, and of those that read history its
author, or the author's earlier posts.

A text is cleaned as the dataset's posts were, an image goes through what made the features of the dataset's images. An
author's earlier posts are the latest that the dataset has, or texts
that come with the request; an author whom it does not know has none, as a new author has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import new_images, vocabulary
from jaxtag.data.columns import cut as shortened
from jaxtag.data.columns import gather, ragged
from jaxtag.data.dataset import Dataset
from jaxtag.data.new_images import NewImages
from jaxtag.data.pictures import BadImage
from jaxtag.data.posts import HISTORY, PAD, TOPICS, WORDPIECES
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.data.topics import open_topics
from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.runs import Bound


@dataclass(frozen=True)
class Request:
    """A post to recommend hashtags for.

    Attributes:
      text: of it.
      author: their name in the dataset; empty for nobody.
      history: texts of their earlier posts, the latest first; None takes those that the dataset has of the author.
      image: the file of its image, an image that can be decoded; empty for none.
    """

    text: str
    author: str = ""
    history: tuple[str, ...] | None = None
    image: bytes = b""


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
        self._cleaner = Cleaner(Cleaning.from_json(bound.dataset.info["settings"].get("cleaning")))
        images = bound.reading.images
        self._images = NewImages(bound.dataset, images) if images else None
        self._pieces = open_wordpieces(bound.dataset) if WORDPIECES in bound.reading.lengths else None
        self._topics = open_topics(bound.split.path / TOPICS) if bound.reading.many_topics else None

    def __call__(self, requests: Sequence[Request], rows: int) -> tuple[dict[str, np.ndarray], list[Read]]:
        """The batch of `requests`, padded to `rows` posts, and what it holds of each."""
        reading, reads = self._reading, [self._read(request) for request in requests]
        batch: dict[str, np.ndarray] = {}
        if "tokens" in reading.lengths:
            batch["tokens"] = np.full((rows, reading.lengths["tokens"]), PAD, np.int32)
        if HISTORY in reading.lengths:
            batch[HISTORY] = np.full((rows, reading.posts, reading.lengths[HISTORY]), PAD, np.int32)
        for row, read in enumerate(reads):
            if "tokens" in batch:
                self._fill(batch["tokens"][row], read.post)
            for place, post in enumerate(read.earlier):
                self._fill(batch[HISTORY][row, place], post)
        batch = {name: reading.word_ids[ids] for name, ids in batch.items()}
        if self._pieces:
            cut = ragged(self._pieces([request.text for request in requests]))
            at = np.where(np.arange(rows) < len(requests), np.arange(rows), -1)
            length = reading.lengths[WORDPIECES]
            batch[WORDPIECES] = gather(shortened(cut, length), at, length, PAD)
        if self._topics:
            batch[TOPICS] = np.zeros((rows, self._topics.count), np.float32)
            words = ragged(self._dataset.words.encode(read.post.words) for read in reads)
            batch[TOPICS][: len(reads)] = self._topics.proportions(words)
        return batch | (self._images([r.image for r in requests], rows) if self._images else {}), reads

    @property
    def reads_text(self) -> bool:
        """Whether words make a difference."""
        return "tokens" in self._reading.lengths or self._pieces is not None

    @property
    def reads_images(self) -> bool:
        """Whether an image makes a difference."""
        return self._images is not None

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


def parse(number: int, line: bytes, reader: Reader) -> tuple[dict[str, Any], Request | None]:
    """What line `number` of a stream asks for: its own fields, and the request; or its `error`, and None."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # a number of more digits than Python reads is a ValueError
        return {"error": f"line {number} is not JSON: {error}"}, None
    if isinstance(record, str):
        record = {"text": record}
    if not isinstance(record, dict):
        return {"error": f"line {number} is not {_form(reader)}"}, None
    image = record.get("image") if reader.reads_images else None
    if not isinstance(image, str | None):
        return {"error": f'line {number}: "image" is not the name of a file'}, None
    needs = "text" if not image or "text" in record else "image"
    if not isinstance(record.get(needs), str) or not (image or reader.reads_text):
        return {"error": f"line {number} is not {_form(reader)}"}, None
    try:
        file = new_images.read(Path(image)) if image else b""
    except BadImage as error:
        return {"error": f"line {number}: image {image}: {error}"}, None
    author, history = record.get("author"), record.get("history")
    if not isinstance(author, str | int | None) or isinstance(author, bool):
        return {"error": f'line {number}: "author" is not a name'}, None
    if history is not None and not (isinstance(history, list) and all(isinstance(text, str) for text in history)):
        return {"error": f'line {number}: "history" is not a list of texts, the latest first'}, None
    name = "" if author is None else str(author)
    return record, Request(record.get("text", ""), name, None if history is None else tuple(history), file)


def _form(reader: Reader) -> str:
    """What a line is to be."""
    if not reader.reads_images:
        return '{"text": "..."}'
    return '{"text": "...", "image": "FILE"}, or one of them' if reader.reads_text else '{"image": "FILE"}'
