"""Packing: records to columns, by the records alone: sorted, without duplicates, counted, with histories.

Everything is flat arrays: a Python list of lists of a million posts would take gigabytes.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged
from jaxtag.data.posts import FIRST_WORD
from jaxtag.data.vocabulary import RESERVED, Vocabulary

from .records import Record

NOBODY = "<unknown>"  # the author of posts that name none; id 0
_PLAIN = ("ordinal", "time", "image", "length")
_ROWS = 1 << 16  # rows whose flat values are moved at a time


@dataclass
class Flat:
    """Records as flat arrays, in source order: `[n]` each, texts as bytes with offsets, words as ids.

    Attributes:
      plain: ordinal, time, image, length, author (ids into `authors`), and key: 64 bits of the digest of the
        normalised text, 0 for an empty one.
      text: UTF-8 bytes of the source texts.
      words, hashtags: ids into `word_names` and `hashtag_names`.
      word_names, hashtag_names, authors: in the order met; authors[0] is ''.
    """

    plain: dict[str, np.ndarray]
    text: Ragged
    words: Ragged
    hashtags: Ragged
    word_names: list[str]
    hashtag_names: list[str]
    authors: list[str]


@dataclass(frozen=True)
class Packed:
    """What a dataset folder holds: columns by name, texts, and vocabularies."""

    columns: dict[str, np.ndarray | Ragged]
    text: Ragged
    length: np.ndarray
    words: Vocabulary
    hashtags: Vocabulary
    authors: Vocabulary


class _Names(dict[bytes, int]):
    """Names to the numbers of their first meeting."""

    def __missing__(self, name: bytes) -> int:
        self[name] = number = len(self)
        return number

    def in_order(self) -> list[str]:
        return [name.decode() for name in self]


def flatten(batches: Iterable[list[Record]]) -> Flat:
    """Records in any order to flat arrays in order of their ordinals."""
    plain = {name: array("q") for name in (*_PLAIN, "author", "key")}
    text, texts = bytearray(), array("q", [0])
    words, word_ends = array("i"), array("q", [0])
    hashtags, hashtag_ends = array("i"), array("q", [0])
    word_names, hashtag_names, authors = _Names(), _Names(), _Names({b"": 0})
    for batch in batches:
        for name in _PLAIN:
            plain[name].extend(map(attrgetter(name), batch))
        plain["author"].extend([authors[record.author] for record in batch])
        plain["key"].extend([_digest(record.words) for record in batch])
        for record in batch:
            text += record.text
            texts.append(len(text))
            words.extend(map(word_names.__getitem__, record.words.split()))
            word_ends.append(len(words))
            hashtags.extend(map(hashtag_names.__getitem__, record.hashtags))
            hashtag_ends.append(len(hashtags))
    flat = Flat(
        {name: np.frombuffer(values, np.int64) for name, values in plain.items()},
        Ragged(np.frombuffer(text, np.uint8), np.frombuffer(texts, np.int64)),
        Ragged(np.frombuffer(words, np.int32), np.frombuffer(word_ends, np.int64)),
        Ragged(np.frombuffer(hashtags, np.int32), np.frombuffer(hashtag_ends, np.int64)),
        word_names.in_order(),
        hashtag_names.in_order(),
        authors.in_order(),
    )
    ordinal = flat.plain["ordinal"]
    return flat if (np.diff(ordinal) > 0).all() else _rows(flat, np.argsort(ordinal, kind="stable"))


def distinct(key: np.ndarray) -> np.ndarray:
    """Rows to keep, sorted: the first of each key; every row whose key is 0 (an empty text)."""
    _, first = np.unique(key, return_index=True)
    return np.union1d(first, np.flatnonzero(key == 0))


def pack(flat: Flat, stop_words: Iterable[str], history_length: int, has: Iterable[str]) -> Packed:
    """Columns and vocabularies of the distinct posts.

    Args:
      flat: all records.
      stop_words: words that are no tokens.
      history_length: M, how many earlier posts of its author a post remembers.
      has: which of author, time and image the source has.
    """
    has = set(has)
    rows = distinct(flat.plain["key"])
    if len(rows) < len(flat.plain["key"]):
        flat = _rows(flat, rows)
    plain = flat.plain
    tokens, words = _vocabulary(flat.words, flat.word_names, frozenset(stop_words), RESERVED)
    hashtags, hashtag_names = _vocabulary(flat.hashtags, flat.hashtag_names, frozenset(), ())
    author, authors = _authors(plain["author"], flat.authors)
    found: dict[str, np.ndarray | Ragged] = {"ordinal": plain["ordinal"], "tokens": tokens, "hashtags": hashtags}
    if "author" in has:
        found["author"] = author
    if "time" in has:
        found["time"] = plain["time"]
    if {"author", "time"} <= has:
        found["history"] = histories(author, plain["time"], history_length)
    if "image" in has:
        found["image"] = plain["image"]
    return Packed(found, flat.text, plain["length"].astype(np.int32), words, hashtag_names, authors)


def histories(author: np.ndarray, time: np.ndarray, length: int) -> np.ndarray:
    """Each post's author's `length` latest posts with a strictly earlier time, newest first.

    Of posts of one time the later row is the newer one. An unknown author (0) has no history.

    Args:
      author, time: `[n]` of posts in source order.
      length: M.

    Returns:
      Row numbers `[n, M]` int32; −1 where there are fewer.
    """
    order = np.lexsort((time, author))  # stable: rows of one author and time stay in order
    author, time = author[order], time[order]
    place = np.arange(len(order))
    new_author = np.ones(len(order), bool)
    new_author[1:] = author[1:] != author[:-1]
    new_time = new_author.copy()
    new_time[1:] |= time[1:] != time[:-1]
    first_of_author = np.maximum.accumulate(np.where(new_author, place, 0))
    first_of_time = np.maximum.accumulate(np.where(new_time, place, 0))
    out = np.full((len(order), length), -1, np.int32)
    for back in range(length):
        earlier = first_of_time - 1 - back
        some = (earlier >= first_of_author) & (author != 0)
        out[order[some], back] = order[earlier[some]]
    return out


def take(column: Ragged, rows: np.ndarray) -> Ragged:
    """`rows` of a ragged column, as one."""
    lengths = column.lengths(rows)
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = np.empty(offsets[-1], column.values.dtype)
    for start in range(0, len(rows), _ROWS):  # one index of everything would be eight times the text
        stop = min(start + _ROWS, len(rows))
        base = offsets[start]
        shift = np.repeat(column.offsets[rows[start:stop]] - (offsets[start:stop] - base), lengths[start:stop])
        values[base : offsets[stop]] = column.values[shift + np.arange(offsets[stop] - base)]
    return Ragged(values, offsets)


def folders(packed: Packed) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """The names of a dataset's folders, and what fills each."""
    yield "columns", lambda folder: _write_columns(folder, packed)
    yield "text", lambda folder: _write_text(folder, packed)
    yield "vocabulary", lambda folder: _write_vocabularies(folder, packed)


def _write_columns(folder: Path, packed: Packed) -> None:
    for name, column in packed.columns.items():
        if isinstance(column, Ragged):
            columns.write(folder, name, column.values, column.offsets)
        else:
            columns.write(folder, name, column)


def _write_text(folder: Path, packed: Packed) -> None:
    np.save(folder / "bytes.npy", packed.text.values)
    np.save(folder / "offsets.npy", packed.text.offsets)
    np.save(folder / "length.npy", packed.length)


def _write_vocabularies(folder: Path, packed: Packed) -> None:
    packed.words.save(folder / "words.txt")
    packed.hashtags.save(folder / "hashtags.txt")
    packed.authors.save(folder / "authors.txt")


def _digest(words: bytes) -> int:
    if not words:
        return 0
    value = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little", signed=True)
    return value or 1


def _rows(flat: Flat, rows: np.ndarray) -> Flat:
    plain = {name: values[rows] for name, values in flat.plain.items()}
    text, words, hashtags = take(flat.text, rows), take(flat.words, rows), take(flat.hashtags, rows)
    return replace(flat, plain=plain, text=text, words=words, hashtags=hashtags)


def _vocabulary(
    column: Ragged, names: list[str], dropped: frozenset[str], reserved: tuple[str, ...]
) -> tuple[Ragged, Vocabulary]:
    """A column of numbers of first meeting to one of ids of a vocabulary: most used first, ties by code point.

    Words in `dropped` leave the column, words that no post has leave the vocabulary.
    """
    counts = np.bincount(column.values, minlength=len(names))
    kept = [i for i, name in enumerate(names) if counts[i] and name not in dropped]
    kept.sort(key=lambda i: (-counts[i], names[i]))
    ids = np.full(len(names), -1, np.int32)
    ids[kept] = np.arange(len(reserved), len(reserved) + len(kept), dtype=np.int32)
    values, offsets = ids[column.values], column.offsets
    if dropped:
        stays = np.concatenate([[0], np.cumsum(values >= 0)])
        values, offsets = values[values >= 0], stays[offsets]
    entries = (*reserved, *(names[i] for i in kept))
    return Ragged(values, offsets), Vocabulary(entries, (*[0] * len(reserved), *(int(counts[i]) for i in kept)))


def _authors(author: np.ndarray, names: list[str]) -> tuple[np.ndarray, Vocabulary]:
    """Author ids, most posts first, ties in order of code points; 0 is nobody."""
    counts = np.bincount(author, minlength=len(names))
    kept = sorted((i for i in range(1, len(names)) if counts[i]), key=lambda i: (-counts[i], names[i]))
    ids = np.zeros(len(names), np.int32)
    ids[kept] = np.arange(1, len(kept) + 1)
    entries = (NOBODY, *(names[i] for i in kept))
    return ids[author], Vocabulary(entries, (int(counts[0]), *(int(counts[i]) for i in kept)))


assert len(RESERVED) == FIRST_WORD
