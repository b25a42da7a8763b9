"""Dropout whose rate is an argument, so that runs that differ only in it share a program.

Every post has a key of its own, so that what is dropped of it does not depend on which posts are computed with it, on
which device, nor on how much padding it has: the words of `[B, T, d]` are drawn in order.
"""

import jax
import jax.numpy as jnp
from jax import lax

STEPS = 1 << 16  # of a rate: a draw of a 32 bit word decides two values


def split(keys: jax.Array | None, number: int) -> jax.Array | tuple[None, ...]:
    """`number` rows of keys `[number, B]` made of `keys [B]`; as many None of None."""
    if keys is None:
        return (None,) * number
    return jax.vmap(lambda key: jax.random.split(key, number), out_axes=1)(keys)


def dropout(x: jax.Array, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
    """Zero each value with probability `rate` and scale the rest by 1 / (1 − rate).

    Args:
      x: `[B, …, d]`.
      rate: scalar in 0 … 1, taken to the nearest 1 / 65,536; traced or not (linen's own dropout needs it at tracing
        time).
      keys: a post's each `[B]`; None, when not training, returns `x`.
    """
    if keys is None:
        return x
    *shape, width = x.shape[1:]
    draws = jax.vmap(lambda key: jax.random.bits(key, (*shape, -(-width // 2)), jnp.uint32))(keys)
    halves = lax.bitcast_convert_type(draws, jnp.uint16).reshape(*draws.shape[:-1], -1)[..., :width]
    below = jnp.round(rate * STEPS)
    return jnp.where(halves.astype(jnp.float32) >= below, x * (STEPS / (STEPS - below)), 0).astype(x.dtype)
