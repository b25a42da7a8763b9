"""fastText's own binary files of vectors: words, and a matrix of their rows and of their n-grams', memory-mapped."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.hashtags import Subwords, means
from jaxtag.errors import JaxtagError

from .progress import Bar

MAGIC = struct.pack("<i", 793712314)
VERSION = 12
LONGEST_GRAM = 100  # characters
BLOCK = 10_000  # rows moved at a time
_HEAD = struct.Struct("<12id")  # after the magic number and the version
_COUNTS = struct.Struct("<3i2q")


@dataclass(frozen=True)
class Model:
    """A file's contents.

    Attributes:
      words: in the file's order, as bytes.
      matrix: `[words + buckets, d]` float32, memory-mapped.
      shortest, longest: characters of an n-gram.
    """

    words: list[bytes]
    matrix: np.ndarray
    shortest: int
    longest: int

    @property
    def subwords(self) -> Subwords | None:
        """The rows of n-grams, where the model has any."""
        rows = self.matrix[len(self.words) :]
        return Subwords(rows, self.shortest, self.longest) if len(rows) and self.longest else None


def open_model(path: Path, file: Path) -> Model:
    """The model at `path`; errors name it `file`.

    Raises:
      JaxtagError: it is truncated, or of a kind that has no plain matrix.
    """
    cut = JaxtagError(f"{file} is truncated", "download it again")
    data: Any = np.memmap(path, np.uint8, "r")
    try:
        version = struct.unpack_from("<i", data, 4)[0]
        head = _HEAD.unpack_from(data, 8)
        size, _, labels, _, pruned = _COUNTS.unpack_from(data, 8 + _HEAD.size)
    except struct.error:
        raise cut from None
    if version != VERSION or labels:
        what = f"version {version}" if version != VERSION else "a supervised model"
        raise JaxtagError(f"{file} is {what}; only vectors of version {VERSION} are read", "give the .vec file")
    dim, shortest, longest = head[0], head[9], head[10]
    words, place = _words(data, 8 + _HEAD.size + _COUNTS.size, size)
    try:
        quantised, rows, width = struct.unpack_from("<?2q", data, place + 8 * max(pruned, 0))
    except (struct.error, OverflowError):
        raise cut from None
    if quantised or pruned > 0:
        raise JaxtagError(f"{file} is quantised", "give the .bin file that it was made from, or the .vec file")
    start = place + struct.calcsize("<?2q")
    if not (0 < size == len(words) and 0 < width == dim and size <= rows) or len(data) < start + 4 * rows * width:
        raise cut
    if rows > size and not 0 <= shortest <= longest <= LONGEST_GRAM:
        raise JaxtagError(f"{file} has n-grams of {shortest} to {longest} characters", "download it again")
    return Model(words, np.memmap(path, "<f4", "r", start, (rows, width)), shortest, longest)


def rows_of(model: Model, kept: dict[str, int]) -> Iterator[np.ndarray]:
    """Vectors of words, in blocks `[n, d]`: the mean of a word's own row and those of its n-grams.

    Args:
      model: the model.
      kept: word to its row.
    """
    subwords, items = model.subwords, list(kept.items())
    with Bar("reading words", len(items)) as bar:
        for start in range(0, len(items), BLOCK):
            block = items[start : start + BLOCK]
            ids = [[row] for _, row in block]
            if subwords is not None:
                for own, (word, _) in zip(ids, block):
                    own += [len(model.words) + bucket for bucket in subwords.buckets(word)]
            yield means(model.matrix, ids)
            bar.to(start + len(block))


def write_subwords(model: Model, path: Path) -> Subwords | None:
    """Copy the rows of n-grams to the .npy file at `path`, and open them there; None where there are none."""
    subwords = model.subwords
    if subwords is None:
        return None
    rows = np.lib.format.open_memmap(path, "w+", "<f4", subwords.rows.shape)
    for start in range(0, len(rows), BLOCK):
        rows[start : start + BLOCK] = subwords.rows[start : start + BLOCK]
    rows.flush()
    return Subwords(rows, subwords.shortest, subwords.longest)


def _words(data: np.ndarray, place: int, count: int) -> tuple[list[bytes], int]:
    """`count` words of a dictionary that begins at `place`, or as many as there are, and where it ends."""
    words: list[bytes] = []
    window, base = b"", place
    for _ in range(count):
        while (end := window.find(b"\0", place - base)) < 0 or end + 10 > len(window):
            more = data[base + len(window) : base + len(window) + (1 << 20)].tobytes()
            if not more or len(window) - (place - base) > (1 << 20):
                return words, place
            window, base = window[place - base :] + more, place
        words.append(window[place - base : end])
        place = base + end + 10  # the zero, the count (8 bytes), the kind of entry
    return words, place
