"""The untrained comparison: the mean of a post's word vectors against the hashtag's, by cosine."""

import jax
import jax.numpy as jnp

from jaxtag.estimators.vectors import unit


def mean_vectors(tokens: jax.Array, words: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean vector of the words of each post that count.

    Args:
      tokens: word ids, int32 `[B, T]`.
      words: a vector for each id `[V, d]`.
      counted: ids that count, bool `[V]`: not padding, nor words that have no vector of their own.

    Returns:
      `[B, d]` float32; zeros for a post of which no word counts.
    """
    mask = counted[tokens]
    total = jnp.where(mask[..., None], words[tokens], 0).astype(jnp.float32).sum(1)
    return total / jnp.maximum(mask.sum(1, keepdims=True), 1)


def query(tokens: jax.Array, words: jax.Array, counted: jax.Array) -> jax.Array:
    """Posts to rows `[B, d]` of length one; arguments as `mean_vectors`."""
    return unit(mean_vectors(tokens, words, counted))


def table(vectors: jax.Array) -> jax.Array:
    """Hashtags' vectors `[C, d]` to rows of length one."""
    return unit(vectors)
