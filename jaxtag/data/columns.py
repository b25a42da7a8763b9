"""The column store: flat .npy files read through memory maps, ragged columns as values and offsets.

A column `c` is `c.npy` (`[rows]` or `[rows, width]`), or for a ragged one `c.values.npy` (`[total]`)
and `c.offsets.npy` (`[rows + 1]`, int64): row i holds values[offsets[i]:offsets[i + 1]].
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxtag.arrays import open_npy
from jaxtag.data.posts import COLUMNS
from jaxtag.errors import JaxtagError


@dataclass(frozen=True)
class Ragged:
    """A ragged column: `values [total]` and `offsets [rows + 1]`, as memory maps or arrays."""

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def lengths(self, rows: np.ndarray | None = None) -> np.ndarray:
        """How many values each of `rows` (all of them by default) has, int64."""
        if rows is None:
            return np.diff(self.offsets)
        return self.offsets[rows + 1] - self.offsets[rows]


def write(folder: Path, name: str, values: np.ndarray, offsets: np.ndarray | None = None) -> None:
    """Write one column below `folder`, in the dtype that `jaxtag.data.posts` gives it.

    Raises:
      ValueError: the column is ragged and has no offsets, or the other way round (a bug in the caller).
    """
    column = COLUMNS[name]
    if column.ragged != (offsets is not None):
        raise ValueError(f"column {name}: ragged is {column.ragged}, offsets given is {offsets is not None}")
    values = np.ascontiguousarray(values, dtype=column.dtype)
    if offsets is None:
        np.save(folder / f"{name}.npy", values)
    else:
        np.save(folder / f"{name}.values.npy", values)
        np.save(folder / f"{name}.offsets.npy", np.ascontiguousarray(offsets, dtype=np.int64))


def cut(column: Ragged, most: int) -> Ragged:
    """The column with `most` values of every post at most; of those that are cut the last one stays the last."""
    lengths = column.lengths()
    if lengths.max(initial=0) <= most:
        return column
    short = np.minimum(lengths, most)
    offsets = np.concatenate([[0], np.cumsum(short)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], short)
    values = column.values[np.repeat(column.offsets[:-1], short) + place]
    long = lengths > most
    values[offsets[1:][long] - 1] = column.values[column.offsets[1:][long] - 1]
    return Ragged(values, offsets)


def ragged(lists: Iterable[Iterable[int]], dtype: str = "int32") -> Ragged:
    """Lists of numbers as one ragged column (for tests and small data)."""
    parts = [np.asarray(list(x), dtype=dtype) for x in lists]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(p) for p in parts], out=offsets[1:])
    return Ragged(np.concatenate([*parts, np.zeros(0, dtype)]).astype(dtype), offsets)


def shuffled(column: Ragged, seed: int = 0) -> Ragged:
    """Each row's values in another order, drawn by `seed`."""
    rows = np.repeat(np.arange(len(column)), column.lengths())
    drawn = np.random.default_rng(seed).random(len(rows))
    return Ragged(np.asarray(column.values)[np.lexsort((drawn, rows))], column.offsets)


def load(path: Path) -> np.ndarray:
    """The array at `path` (.npy), memory-mapped; nothing is unpickled.

    Raises:
      JaxtagError: it is absent, truncated or not an array.
    """
    try:
        return open_npy(path)
    except FileNotFoundError:
        raise JaxtagError(f"{path} is missing", "prepare the dataset again") from None
    except (ValueError, OSError) as error:
        raise JaxtagError(f"{path} is truncated or corrupt ({error})", "prepare the dataset again") from None


def read(folder: Path, name: str) -> np.ndarray | Ragged:
    """Column `name` below `folder`, memory-mapped.

    Raises:
      JaxtagError: it is absent, truncated, of another dtype, or its offsets do not fit its values.
    """
    column = COLUMNS[name]
    if not column.ragged:
        array = load(folder / f"{name}.npy")
        _check_dtype(folder / f"{name}.npy", array, column.dtype)
        return array
    values, offsets = load(folder / f"{name}.values.npy"), load(folder / f"{name}.offsets.npy")
    _check_dtype(folder / f"{name}.values.npy", values, column.dtype)
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
        raise JaxtagError(
            f"{folder / name}.offsets.npy does not fit its {len(values)} values", "prepare the dataset again"
        )
    return Ragged(values, offsets)


def gather(column: Ragged, rows: np.ndarray, length: int, padding: int) -> np.ndarray:
    """Rows of a ragged column as a padded matrix, on the host.

    Args:
      column: the column.
      rows: row numbers, any shape; −1 gives a row of padding.
      length: how many values of each row to read; longer rows are cropped at the end.
      padding: what fills shorter rows.

    Returns:
      `[*rows.shape, length]`, of the column's dtype.
    """
    flat = rows.reshape(-1)
    known = np.maximum(flat, 0)
    start = column.offsets[known]
    size = np.where(flat < 0, 0, column.offsets[known + 1] - start)
    taken = _windows(column.values, start, length)
    outside = np.arange(length) >= size[:, None]
    if padding == 0:
        taken *= ~outside  # half the time of what follows
    else:
        taken[outside] = padding
    return taken.reshape(*rows.shape, length)


def _windows(values: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """`values[start : start + length]` for each start, copied row by row; what lies past the end is anything."""
    last = len(values) - length
    if last < 0:
        values, last = np.pad(values, (0, -last)), 0
    width = values.itemsize
    windows = np.lib.stride_tricks.as_strided(values, (last + 1, length), (width, width), writeable=False)
    taken = windows[np.minimum(start, last)]
    for late in np.flatnonzero(start > last):
        rest = values[start[late] :]
        taken[late, : len(rest)] = rest
    return taken


def _check_dtype(path: Path, array: np.ndarray, dtype: str) -> None:
    if array.dtype != np.dtype(dtype):
        raise JaxtagError(f"{path} holds {array.dtype} where {dtype} belongs", "prepare the dataset again")


def positions_in(hashtags: Ragged, targets: np.ndarray, known: int) -> Ragged:
    """A hashtags column as positions in `targets`; hashtags that are not among them are left out.

    Args:
      hashtags: dataset hashtag ids.
      targets: dataset hashtag ids.
      known: how many hashtags the dataset has.
    """
    table = np.full(known, -1, np.int32)
    table[targets] = np.arange(len(targets), dtype=np.int32)
    values = table[hashtags.values]
    before = np.concatenate([[0], np.cumsum(values >= 0)])
    return Ragged(values[values >= 0], before[hashtags.offsets])
