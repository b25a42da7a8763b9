"""Observed (word, hashtag) pairs as one flat, sparse table, and posts' scores from it.

A word meets few of all hashtags, so what is counted of pairs is kept for those that occur: the pairs of word w are
`offsets[w] … offsets[w + 1] − 1`, `hashtags [P]` has their labels, rising within a word, and `values [P, K]` what is
known of them. Scoring walks the pairs of a batch's words in blocks of `BLOCK`, so its work is the number of those.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BLOCK = 1 << 15  # pairs looked at at a time


def observed(words: np.ndarray, labels: np.ndarray, vocabulary: int, hashtags: int) -> tuple[np.ndarray, np.ndarray]:
    """The table of the pairs that occur.

    Args:
      words, labels: of each occurrence `[n]`, of a word id below `vocabulary` with a label below `hashtags`.
      vocabulary, hashtags: how many there are.

    Returns:
      `offsets [vocabulary + 1]` and `hashtags [P]`, int32.

    Raises:
      ValueError: there are 2**31 pairs or more.
    """
    keys = np.unique(words.astype(np.int64) * hashtags + labels)
    if len(keys) >= 2**31:
        raise ValueError(f"{len(keys)} pairs")
    offsets = np.searchsorted(keys, np.arange(vocabulary + 1, dtype=np.int64) * hashtags)
    return offsets.astype(np.int32), (keys % hashtags).astype(np.int32)


def places(offsets: np.ndarray, hashtags: np.ndarray, words: np.ndarray, labels: np.ndarray, known: int) -> np.ndarray:
    """Where the pairs of `words [n]` and `labels [n]` are in the table, int32; they must be in it.

    Args:
      offsets, hashtags: the table.
      words, labels: of the pairs.
      known: how many hashtags there are.
    """
    keys = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets)) * known + hashtags
    return np.searchsorted(keys, words.astype(np.int64) * known + labels).astype(np.int32)


def scores(
    tokens: jax.Array, weights: jax.Array, offsets: jax.Array, hashtags: jax.Array, values: jax.Array, known: int
) -> jax.Array:
    """Σ over a post's words n and the pairs p of word n of weights[n] · values[p], added to the pair's hashtag.

    Args:
      tokens: word ids, int32 `[B, T]`; padding's and unknown words have no pairs.
      weights: of each word `[B, T, K]`.
      offsets, hashtags, values: the table; values are `[P, K]`.
      known: L, how many hashtags there are.

    Returns:
      `[B, L]` float32.
    """
    posts, length = tokens.shape
    offsets, hashtags, values = (jnp.asarray(x) for x in (offsets, hashtags, values))
    words, weights = tokens.reshape(-1), weights.reshape(posts * length, -1)
    ends = jnp.cumsum(offsets[words + 1] - offsets[words])
    starts = ends - (offsets[words + 1] - offsets[words])

    def add(block: jax.Array, found: jax.Array) -> jax.Array:
        place = block * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)
        word = jnp.minimum(jnp.searchsorted(ends, place, side="right"), posts * length - 1)
        pair = jnp.where(place < ends[-1], offsets[words[word]] + place - starts[word], 0)
        value = (weights[word] * values[pair]).sum(-1)
        return found.at[word // length, hashtags[pair]].add(jnp.where(place < ends[-1], value, 0))

    return lax.fori_loop(0, -(-ends[-1] // BLOCK), add, jnp.zeros((posts, known), jnp.float32))
