"""The untrained comparison: the mean of a post's word vectors against the hashtag's, by cosine.

With `centre` or `z_norm` it has means and covariances of the training posts, and still reads no hashtag of theirs.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from jaxtag.estimators.vectors import unit


@dataclass(frozen=True)
class Settings:
    """The comparison's settings.

    Attributes:
      vectors: name of the split's word vectors, of posts' words and of hashtags.
      hashtag_vectors: which of the word vectors' two trainings hashtags have: `in`, `out`, or `sum`, of both
        (`jaxtag.data.hashtags`).
      missing: what becomes of hashtags without a vector: `refuse`, or `last`: ranked last.
      words: of a post, whose vectors are averaged: the `split`'s, or `all` words that have one.
      centre: whether features are brought to length one about their mean over the training posts.
      z_norm: whether every hashtag's scores are brought to mean 0 and variance 1 over the training posts (both:
        `jaxtag.estimators.standard`).
    """

    vectors: str = "inductive"
    hashtag_vectors: Literal["in", "out", "sum"] = "in"
    missing: Literal["refuse", "last"] = "refuse"
    words: Literal["split", "all"] = "split"
    centre: bool = False
    z_norm: bool = False


def mean_vectors(tokens: jax.Array, words: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean vector of the words of each post that count.

    Args:
      tokens: word ids, int32 `[B, T]`.
      words: a vector for each id `[V, d]`.
      counted: ids that count, bool `[V]`: not padding, nor words that have no vector of their own.

    Returns:
      `[B, d]` float32; zeros for a post of which no word counts.
    """
    return summed_vectors(tokens, words, counted) / jnp.maximum(counted[tokens].sum(1, keepdims=True), 1)


def summed_vectors(tokens: jax.Array, words: jax.Array, counted: jax.Array) -> jax.Array:
    """The sum of the vectors of the words of each post that count; arguments and outcome as of `mean_vectors`."""
    return jnp.where(counted[tokens][..., None], words[tokens], 0).astype(jnp.float32).sum(1)


def query(tokens: jax.Array, words: jax.Array, counted: jax.Array) -> jax.Array:
    """Posts to rows `[B, d]` of length one; arguments as `mean_vectors`."""
    return unit(mean_vectors(tokens, words, counted))


def table(vectors: jax.Array) -> jax.Array:
    """Hashtags' vectors `[C, d]` to rows of length one."""
    return unit(vectors)
