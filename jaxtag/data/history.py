"""History: the words of an author's latest earlier posts, `history [B, M, N]` of a batch.

The column holds row numbers, newest first; their words are those of `tokens`. A history post's hashtags are not among
them: cleaning took them out of every text, and nothing here reads the hashtags' column.
"""

from typing import Any

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import Dataset
from jaxtag.data.posts import HISTORY, round_up
from jaxtag.errors import JaxtagError


def earlier_posts(dataset: Dataset, posts: int, rows: np.ndarray) -> np.ndarray:
    """Row numbers of every post's `posts` latest strictly earlier ones of its author `[rows, posts]`, −1 none.

    Args:
      dataset: that has them.
      posts: M.
      rows: of the posts that are read, whose entries are held against authors and times.

    Raises:
      JaxtagError: the dataset has no such column (the message gives the command that adds it), remembers fewer, an
        entry is no earlier post of the author, or hashtags stand among the words.
    """
    column = dataset.column(HISTORY)
    if posts > column.shape[1]:
        raise JaxtagError(
            f"data.history is {posts}, {dataset.path} remembers {column.shape[1]} earlier posts",
            f"--data.history {column.shape[1]}, or prepare it again with --history {posts}",
        )
    if wrong := not_earlier(dataset, column[:, :posts], rows):
        raise JaxtagError(
            f"{wrong} entries of the history of {dataset.path} are no earlier posts of their author",
            "prepare the dataset again",
        )
    if hashtag := next((word for word in dataset.words.entries if word.startswith("#")), None):
        raise JaxtagError(f"{dataset.path} has the hashtag {hashtag} among its words", "prepare the dataset again")
    return column[:, :posts]


def not_earlier(dataset: Dataset, history: np.ndarray, rows: np.ndarray) -> int:
    """How many entries of `history [all rows, M]` at `rows` are of another or no author, or not strictly earlier."""
    author, time = dataset.column("author"), dataset.column("time")
    found, mine, now = history[rows], author[rows][:, None], time[rows][:, None]
    known = np.maximum(found, 0)
    fine = (author[known] == mine) & (mine != 0) & (time[known] < now)
    return int(((found >= 0) & ~fine).sum())


def posts_of(earlier: Any, rows: Any, xp: Any) -> Any:
    """The entries of `earlier [rows, M]` for the posts `rows [B]`, `[B, M]`; none for a row of −1.

    `xp` is numpy or jax.numpy.
    """
    return xp.where(rows[:, None] < 0, -1, earlier[xp.maximum(rows, 0)])


def history_words(earlier: np.ndarray, tokens: Ragged) -> np.ndarray:
    """How many words each of the posts `earlier [n, M]` has, 0 for −1; `[n, M]`."""
    return np.where(earlier < 0, 0, tokens.lengths(np.maximum(earlier, 0).reshape(-1)).reshape(earlier.shape))


def packed_words(words: np.ndarray) -> int:
    """Room for a post's history in bins (`jaxtag.layers.bags`), of `words [n, M]`: nearly every batch has less."""
    return round_up(int(1.1 * words.sum(1).mean() + 4), 4) if len(words) else 0
