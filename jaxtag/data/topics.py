"""Topics of posts: latent Dirichlet allocation's variational inference, for stored and for new posts alike.

For a post with counts n_w, topic-word parameters lambda and prior alpha, with beta_kw = exp(E[log beta_kw]) under
lambda (Hoffman et al. 2010, eq. 5-7):

    theta_k = exp(psi(gamma_k) - psi(sum gamma))
    gamma_k = alpha_k + theta_k sum_w n_w beta_kw / (theta . beta_w)

again and again until gamma changes by less than `CHANGE` a topic on average. Proportions are gamma / sum gamma.
Every post starts at gamma_k = alpha_k + (words of the post) / K and is computed apart from its neighbours, so that
its proportions are the same bits in whatever block it stands. Other libraries start at random.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged
from jaxtag.documents import SEALED, described
from jaxtag.errors import JaxtagError
from jaxtag.files import check_seal

CHANGE = 1e-5
ROUNDS = 200  # at most
PAIRS = 4096  # pairs of post and word in a block: few enough for their rows to stay in the cache
TINY = float(np.finfo(np.float64).eps)  # added to probabilities of words, as gensim does


@dataclass(frozen=True)
class Topics:
    """A fitted model.

    Attributes:
      words: dataset word ids that it knows `[W]` int32.
      topic_word: lambda `[K, W]`.
      alpha: `[K]`.
    """

    words: np.ndarray
    topic_word: np.ndarray
    alpha: np.ndarray

    @property
    def count(self) -> int:
        """K, how many topics."""
        return len(self.alpha)

    @cached_property
    def word_topic(self) -> np.ndarray:
        """exp(E[log beta]) `[W, K]` float64."""
        from scipy.special import psi

        parameters = np.asarray(self.topic_word, np.float64)
        return np.ascontiguousarray(np.exp(psi(parameters) - psi(parameters.sum(1, keepdims=True))).T)

    def gamma(self, tokens: Ragged, change: float = CHANGE, rounds: int = ROUNDS) -> np.ndarray:
        """gamma `[n, K]` float64 of posts.

        Args:
          tokens: dataset word ids of each; those that are not among `words` say nothing.
          change: mean change of a topic's gamma at which a post is done.
          rounds: after which it is done all the same.
        """
        post, word, count = self._counts(tokens)
        sizes = np.bincount(post, minlength=len(tokens))
        ends = np.cumsum(sizes)
        out = np.empty((len(tokens), self.count))
        start = 0
        while start < len(tokens):
            first = ends[start] - sizes[start]
            stop = max(start + 1, int(np.searchsorted(ends, first + PAIRS, "right")))
            pairs = slice(first, ends[stop - 1])
            out[start:stop] = self._block(sizes[start:stop], word[pairs], count[pairs], change, rounds)
            start = stop
        return out

    def proportions(self, tokens: Ragged) -> np.ndarray:
        """Proportions `[n, K]` float16 of posts, as `splits/<split>/topics.npy` has them; alpha's for an empty post.

        Args:
          tokens: dataset word ids of each post.
        """
        gamma = self.gamma(tokens)
        return (gamma / gamma.sum(1, keepdims=True)).astype(np.float16)

    def _counts(self, tokens: Ragged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distinct known words of each post: post, position in `words`, times; by post, then by word."""
        known = np.full(max(int(self.words.max(initial=0)), int(tokens.values.max(initial=0))) + 1, -1, np.int64)
        known[self.words] = np.arange(len(self.words))
        word = known[tokens.values]
        post = np.repeat(np.arange(len(tokens)), tokens.lengths())[word >= 0]
        pairs, counts = np.unique(post * len(self.words) + word[word >= 0], return_counts=True)
        return pairs // len(self.words), pairs % len(self.words), counts.astype(np.float64)

    def _block(self, sizes: np.ndarray, word: np.ndarray, count: np.ndarray, change: float, rounds: int) -> np.ndarray:
        """gamma of some posts; what is added for one post is added in the same order whatever the others are."""
        from scipy.special import psi

        out = np.tile(self.alpha.astype(np.float64), (len(sizes), 1))
        at = np.flatnonzero(sizes)  # posts still moving
        if not len(at):
            return out
        sizes, beta = sizes[at], self.word_topic[word]
        gamma = self.alpha + (np.add.reduceat(count, np.cumsum(sizes) - sizes) / self.count)[:, None]
        for _ in range(rounds):
            starts = np.cumsum(sizes) - sizes
            theta = np.exp(psi(gamma) - psi(gamma.sum(1))[:, None])
            weight = count / (np.einsum("pk,pk->p", np.repeat(theta, sizes, axis=0), beta) + TINY)
            new = self.alpha + theta * np.add.reduceat(beta * weight[:, None], starts, axis=0)
            moving = np.abs(new - gamma).mean(1) >= change
            gamma = new
            if moving.all():
                continue
            out[at[~moving]] = gamma[~moving]
            at, gamma = at[moving], gamma[moving]
            pairs = np.repeat(moving, sizes)
            sizes, beta, count = sizes[moving], beta[pairs], count[pairs]
            if not len(at):
                break
        out[at] = gamma
        return out


def proportions_of(topics: Any, rows: Any, xp: Any) -> Any:
    """Of `topics [posts, K]`, those of `rows [B]`; a row of −1 has none. `xp` is numpy, or jax.numpy to trace."""
    return xp.where((rows < 0)[:, None], xp.zeros((), topics.dtype), topics[xp.maximum(rows, 0)])


def open_topics(folder: Path) -> Topics:
    """The model in `folder` (`splits/SPLIT/topics`).

    Raises:
      JaxtagError: there is none, or a file is damaged.
    """
    again = "make the topics again with jaxtag-prep topics"
    info = described(folder / "topics.json", "description of topics", {"files": SEALED}, again)
    check_seal(folder, info["files"], again)
    arrays = [np.array(columns.load(folder / f"{name}.npy")) for name in ("words", "topic_word", "alpha")]
    if arrays[1].shape != (len(arrays[2]), len(arrays[0])):
        raise JaxtagError(f"{folder} has files of different sizes", again)
    return Topics(*arrays)


def encode(texts: Sequence[str], encoder: Callable[[str], Sequence[int]]) -> Ragged:
    """Dataset word ids of texts, as one ragged column for `Topics.proportions`.

    Args:
      texts: source texts.
      encoder: from a source text to its word ids.
    """
    return columns.ragged(encoder(text) for text in texts)
