"""Records as flat arrays, and rows of them: a Python list of lists of a million posts would take gigabytes."""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from jaxtag.data.columns import Ragged

from .records import Record

_PLAIN = ("ordinal", "time", "image", "length", "verdict")
_ROWS = 1 << 16  # rows whose flat values are moved at a time


@dataclass
class Flat:
    """Records as flat arrays, in source order: `[n]` each, texts as bytes with offsets, words as ids.

    Attributes:
      plain: ordinal, time, image, length, verdict, author (ids into `authors`), and id and key: 64 bits of the
        digests of the id and of the normalised text, 0 for an empty one.
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


class _Names(dict[bytes, int]):
    """Names to the numbers of their first meeting."""

    def __missing__(self, name: bytes) -> int:
        self[name] = number = len(self)
        return number

    def in_order(self) -> list[str]:
        return [name.decode() for name in self]


def flatten(batches: Iterable[list[Record]]) -> Flat:
    """Records in any order to flat arrays in order of their ordinals."""
    plain = {name: array("q") for name in (*_PLAIN, "author", "id", "key")}
    text, texts = bytearray(), array("q", [0])
    words, word_ends = array("i"), array("q", [0])
    hashtags, hashtag_ends = array("i"), array("q", [0])
    word_names, hashtag_names, authors = _Names(), _Names(), _Names({b"": 0})
    for batch in batches:
        for name in _PLAIN:
            plain[name].extend(map(attrgetter(name), batch))
        plain["author"].extend([authors[record.author] for record in batch])
        plain["id"].extend([_digest(record.id) for record in batch])
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
    return flat if (np.diff(ordinal) > 0).all() else rows_of(flat, np.argsort(ordinal, kind="stable"))


def rows_of(flat: Flat, rows: np.ndarray) -> Flat:
    """The rows `rows` of all that there is."""
    plain = {name: values[rows] for name, values in flat.plain.items()}
    text, words, hashtags = take(flat.text, rows), take(flat.words, rows), take(flat.hashtags, rows)
    return replace(flat, plain=plain, text=text, words=words, hashtags=hashtags)


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


def _digest(text: bytes) -> int:
    if not text:
        return 0
    value = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)
    return value or 1
