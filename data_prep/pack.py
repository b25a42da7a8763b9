"""Packing: flat records to columns: counted, with histories."""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged
from jaxtag.data.posts import FIRST_WORD
from jaxtag.data.text import Cleaning
from jaxtag.data.vocabulary import RESERVED, Vocabulary

from .flat import Flat, rows_of

NOBODY = "<unknown>"  # the author of posts that name none; id 0


@dataclass(frozen=True)
class Packed:
    """What a dataset folder holds: columns by name, texts, and vocabularies."""

    columns: dict[str, np.ndarray | Ragged]
    text: Ragged
    length: np.ndarray
    words: Vocabulary
    hashtags: Vocabulary
    authors: Vocabulary


def pack(flat: Flat, left: np.ndarray, cleaning: Cleaning, history_length: int, has: Iterable[str]) -> Packed:
    """Columns and vocabularies of the posts that are left.

    Args:
      flat: all records.
      left: which of them to keep, bool `[n]`.
      cleaning: says which words are no tokens.
      history_length: M, how many earlier posts of its author a post remembers.
      has: which of author, time and image the source has.
    """
    has = set(has)
    if not left.all():
        flat = rows_of(flat, np.flatnonzero(left))
    plain = flat.plain
    tokens, words = _vocabulary(flat.words, flat.word_names, cleaning.drops(flat.word_names), RESERVED)
    hashtags, hashtag_names = _vocabulary(flat.hashtags, flat.hashtag_names, set(), ())
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


def _vocabulary(
    column: Ragged, names: list[str], dropped: Set[str], reserved: tuple[str, ...]
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
