"""Dropout whose rate is an argument, so that runs that differ only in it share a program."""

import jax
import jax.numpy as jnp


def dropout(x: jax.Array, rate: jax.Array, key: jax.Array | None) -> jax.Array:
    """Zero each value with probability `rate` and scale the rest by 1 / (1 − rate).

    Args:
      x: any shape.
      rate: scalar in 0 … 1, traced or not (linen's own dropout needs it at tracing time).
      key: of the random bits; None, when not training, returns `x`.
    """
    if key is None:
        return x
    kept = jax.random.uniform(key, x.shape) >= rate
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)
