"""Dropout whose rate is an argument, so that runs that differ only in it share a program.

Every post has a key of its own, so that what is dropped of it does not depend on which posts are computed with it, on
which device, nor on how much padding it has: the words of `[B, T, d]` are drawn in order. Attention weights
`[B, heads, T, S]`, which have padding along two axes, are drawn in order at each place of the first.
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


def places(keys: jax.Array | None, *shape: int) -> jax.Array | None:
    """Keys `[B, *shape]` made of `keys [B]`: a place's depends on where it is, not on how many places there are."""

    def of(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        if not shape:
            return key
        found = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(shape[0], dtype=jnp.uint32))
        return jax.vmap(lambda key: of(key, shape[1:]))(found)

    return None if keys is None else jax.vmap(lambda key: of(key, shape))(keys)


def dropout(x: jax.Array, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
    """Zero each value with probability `rate` and scale the rest by 1 / (1 − rate).

    Args:
      x: `[B, …, d]`.
      rate: scalar in 0 … 1, taken to the nearest 1 / 65,536; traced or not (linen's own dropout needs it at tracing
        time).
      keys: a post's each `[B]`, or of `places` along more of x's first axes; None, when not training, returns `x`.
    """
    if keys is None:
        return x
    *shape, width = x.shape[keys.ndim :]

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.bits(key, (*shape, -(-width // 2)), jnp.uint32) if not key.ndim else jax.vmap(draw)(key)

    draws = draw(keys)
    halves = lax.bitcast_convert_type(draws, jnp.uint16).reshape(*draws.shape[:-1], -1)[..., :width]
    below = jnp.round(rate * STEPS)
    return jnp.where(halves.astype(jnp.float32) >= below, x * (STEPS / (STEPS - below)), 0).astype(x.dtype)
