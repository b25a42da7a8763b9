"""Batch order as a pure function of seed and step: no shuffle buffer, no state.

Every epoch visits the rows in a new order, a permutation that can be evaluated at single places: an
alternating Feistel network over an a × b rectangle that covers 0 … n − 1, repeated on results outside
(Black & Rogaway 2002, cycle walking). Resuming is therefore one integer, and neither the number of
hosts nor the placement of the data changes the order. The same code runs under NumPy and under JAX.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROUNDS = 8  # alternating, four on either side


def rectangle(n: int) -> np.ndarray:
    """`[n, a, b]` uint32 with a·b ≥ n and a·b − n < b: what `place` needs to permute 0 … n − 1."""
    a = max(1, math.isqrt(max(n - 1, 0)) + 1)
    return np.array([n, a, -(-n // a)], np.uint32)


def _mix(x: Any, xp: Any) -> Any:
    """A bijective scramble of 32 bits (the finalizer of MurmurHash3)."""
    x = (x ^ (x >> xp.uint32(16))) * xp.uint32(0x85EBCA6B)
    x = (x ^ (x >> xp.uint32(13))) * xp.uint32(0xC2B2AE35)
    return x ^ (x >> xp.uint32(16))


def _permute(index: Any, key: Any, a: Any, b: Any, xp: Any) -> Any:
    """One pass of the network: a bijection of 0 … a·b − 1."""
    left, right = index // b, index % b
    for turn in range(ROUNDS):
        salt = _mix(key + xp.uint32(0x9E3779B9 * (turn + 1) & 0xFFFFFFFF), xp)
        if turn % 2:
            right = (right + _mix(left ^ salt, xp) % b) % b
        else:
            left = (left + _mix(right ^ salt, xp) % a) % a
    return left * b + right


def place(index: Any, seed: Any, epoch: Any, size: Any) -> jax.Array:
    """Where the permutation of (seed, epoch) sends `index`; traceable.

    Args:
      index: numbers in 0 … n − 1, any shape, uint32.
      seed: of the run, uint32.
      epoch: uint32.
      size: `rectangle(n)`.

    Returns:
      uint32 of index's shape; over all indices of an epoch, a permutation of 0 … n − 1.
    """
    n, a, b = size[0], size[1], size[2]
    key = _mix(_mix(jnp.uint32(seed), jnp) + jnp.uint32(epoch), jnp)

    def walk(x: jax.Array) -> jax.Array:
        return jnp.where(x < n, x, _permute(x, key, a, b, jnp))

    start = _permute(jnp.asarray(index, jnp.uint32), key, a, b, jnp)
    return lax.while_loop(lambda x: (x >= n).any(), walk, start)


def place_on_host(index: np.ndarray, seed: int, epoch: int, size: np.ndarray) -> np.ndarray:
    """`place` in NumPy: the same numbers, for batches gathered on the host."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**32 is meant
        n, a, b = size
        key = _mix(_mix(np.uint32(seed), np) + np.uint32(epoch), np)
        out = _permute(index.astype(np.uint32), key, a, b, np)
        while (outside := out >= n).any():
            out[outside] = _permute(out[outside], key, a, b, np)
    return out


def steps_per_epoch(n: int, batch: int) -> int:
    """Whole batches in an epoch; the remainder, other posts every epoch, is left out."""
    return n // batch


def rows_of_step(rows: jax.Array, size: jax.Array, seed: jax.Array, step: jax.Array, batch: int) -> jax.Array:
    """Row numbers of the batch of `step`, int32 `[batch]`; traceable.

    Args:
      rows: row numbers of the training part; the first `size[0]` of them count.
      size: `rectangle(n)`.
      seed: of the run.
      step: from 0.
      batch: posts a step, at most n.
    """
    steps = size[0] // jnp.uint32(batch)
    step = jnp.asarray(step, jnp.uint32)
    index = (step % steps) * jnp.uint32(batch) + jnp.arange(batch, dtype=jnp.uint32)
    return rows[place(index, seed, step // steps, size).astype(jnp.int32)]


def rows_of_step_on_host(rows: np.ndarray, seed: int, step: int, batch: int) -> np.ndarray:
    """`rows_of_step` in NumPy: the same row numbers."""
    steps = steps_per_epoch(len(rows), batch)
    index = (step % steps) * batch + np.arange(batch)
    return rows[place_on_host(index, seed, step // steps, rectangle(len(rows)))]
