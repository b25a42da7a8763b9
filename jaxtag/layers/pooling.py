"""Pooling over time: a sequence of states into one vector, in which padding has no part."""

import jax
import jax.numpy as jnp

POOLS = ("mean", "first", "max", "flatten")


def pool(states: jax.Array, mask: jax.Array, how: str, length: int = 0) -> jax.Array:
    """States `[B, T, d]` and mask `[B, T]` to `[B, pooled_width(how, d, length)]`; a post without words is zeros.

    Args:
      states: of the words.
      mask: of real words.
      how: `mean`, `max`: over the real words; `first`: the first word's; `flatten`: those of the first `length`
        words side by side, zeros where there is none.
      length: of `flatten`.
    """
    if how == "max":
        top = jnp.where(mask[..., None], states, -jnp.inf).max(axis=1)
        return jnp.where(mask.any(axis=1)[:, None], top, 0)
    states = jnp.where(mask[..., None], states, 0)
    if how == "mean":
        return states.sum(axis=1) / jnp.maximum(mask.sum(axis=1), 1)[:, None].astype(states.dtype)
    if how == "first":
        return states[:, 0]
    states = states[:, :length]
    states = jnp.pad(states, ((0, 0), (0, length - states.shape[1]), (0, 0)))
    return states.reshape(len(states), -1)


def pooled_width(how: str, width: int, length: int) -> int:
    """Values that `pool` gives a post, from states of `width`."""
    return length * width if how == "flatten" else width
