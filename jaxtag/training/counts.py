"""Counts of words in posts, and their hashtags, as sparse matrices on the host: what is fitted to counts is given.

Posts are read as batches are, so that a word that a batch would crop is not counted either.
"""

from typing import Any

import numpy as np

from jaxtag.data.batches import Reading
from jaxtag.data.posts import FIRST_WORD
from jaxtag.progress import progress

AT_ONCE = 4096  # posts read at a time


def counts(reading: Reading, rows: np.ndarray, names: tuple[str, ...]) -> tuple[dict[str, Any], Any]:
    """Of the posts `rows [n]`, how often each has each word, and which hashtags it has.

    Args:
      reading: of the posts.
      rows: of the dataset.
      names: of columns of words; those of `history` are of all the earlier posts together.

    Returns:
      By name, `[n, words]` float64 CSR, by word id, padding and unknown words left out; and `[n, L]`, ones.
    """
    vocabulary = int(reading.word_ids.max(initial=FIRST_WORD)) + 1
    found: dict[str, list[Any]] = {name: [] for name in (*names, "hashtags")}
    for first in progress(range(0, len(rows), AT_ONCE), "counting words"):
        batch = reading.gather(rows[first : first + AT_ONCE])
        for name in names:
            found[name].append(_sparse(batch[name], FIRST_WORD, vocabulary))
        gold = _sparse(batch["hashtags"], 0, len(reading.targets))
        gold.data[:] = 1
        found["hashtags"].append(gold)
    stacked = {name: _stacked(parts) for name, parts in found.items()}
    return {name: stacked[name] for name in names}, stacked["hashtags"]


def gold(reading: Reading, rows: np.ndarray) -> Any:
    """Which hashtags the posts `rows [n]` have: `[n, L]` float64 CSR of ones."""
    return counts(reading, rows, ())[1]


def _sparse(values: np.ndarray, first: int, columns: int) -> Any:
    """How often each row of `values [n, …]` has each id from `first` on."""
    from scipy.sparse import csr_array

    flat = values.reshape(len(values), -1)
    row, place = np.nonzero(flat >= first)
    made = csr_array((np.ones(len(row)), (row, flat[row, place])), shape=(len(flat), columns))
    made.sum_duplicates()
    return made


def _stacked(parts: list[Any]) -> Any:
    from scipy.sparse import vstack

    return vstack(parts, format="csr")
