"""Vectors that are compared by their directions, and the pairs of them that an objective compares within a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Compared(NamedTuple):
    """P pairs of ways to see each post of a batch, rows of length one; what is not real is for nobody to read.

    Attributes:
      left, right: the two of each pair `[P, B, d]` float32.
      left_real, right_real: which posts have them `[P, B]` bool.
      margin: by how much a post's own two are to be more alike than either is like another post's.
      hardest: whether the most alike of the other posts counts alone, not all of them.
      others: whether posts with the very same hashtags are not told apart.
    """

    left: jax.Array
    right: jax.Array
    left_real: jax.Array
    right_real: jax.Array
    margin: float
    hardest: bool
    others: bool


def unit(x: jax.Array) -> jax.Array:
    """`x [..., d]` divided by its length, float32; zeros stay zeros, and no gradient goes through them."""
    x = x.astype(jnp.float32)
    square = (x * x).sum(-1, keepdims=True)
    return jnp.where(square > 0, x * jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
