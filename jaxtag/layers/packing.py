"""Arithmetic on the real words of a padded batch alone.

Sorted by length, rising, the posts that have a word at a step of time are the last ones. A `Packing` lays their words
one step after the other as the rows of one array, `[N, …]`. What is done to each word alone is done to blocks of rows,
in large products; what steps through time reads and writes a step's rows. Whatever has steps may be packed: words of
texts, hashtags that are said one after the other; each by its own lengths, and the batch itself is left as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

BLOCKS = (1024, 512, 256, 128, 64)  # rows that are computed at once: an array's, but for fewer than the last
_leaving_out: ContextVar[bool] = ContextVar("leaving_out", default=False)


@contextmanager
def padding_left_out(whole: bool = True) -> Iterator[None]:
    """While tracing inside, layers leave padding out of what they compute, where a batch is `whole` on one device."""
    token = _leaving_out.set(whole)
    try:
        yield
    finally:
        _leaving_out.reset(token)


def leaves_padding_out() -> bool:
    """Whether what is traced now leaves padding out."""
    return _leaving_out.get()


class Packing(NamedTuple):
    """Where the words of a batch `[B, T]` lie among `N` rows.

    Attributes:
      order: the posts by length, rising `[B]` int32.
      ranks: the place of each post in that order `[B]` int32.
      counts: rows of each step of time, those of the last posts in order, falling; the first step has one for every
        post `[T]` int32.
      starts: the first row of each step `[T]` int32.
      upto: steps whose rows are more than those of the next phase, `phases(B)`, `[phases + 1]` int32, the first is 0.
      places: b·T + t of each row's word, B·T for rows that have none `[N]` int32.
      rows: of every word, N for those that have none `[B, T]` int32.
    """

    order: jax.Array
    ranks: jax.Array
    counts: jax.Array
    starts: jax.Array
    upto: jax.Array
    places: jax.Array
    rows: jax.Array


def phases(batch: int) -> list[int]:
    """How many posts the steps of each phase are computed for, falling: all, seven eighths, … one eighth of them."""
    return sorted({batch * part // 8 or 1 for part in range(8, 0, -1)}, reverse=True)


def packing(mask: jax.Array) -> Packing:
    """The packing of a batch whose real words are `mask` `[B, T]`."""
    batch, steps = mask.shape
    lengths = jnp.where(mask, jnp.arange(1, steps + 1, dtype=jnp.int32), 0).max(axis=1)
    order = jnp.argsort(lengths).astype(jnp.int32)
    ranks = jnp.zeros(batch, jnp.int32).at[order].set(jnp.arange(batch, dtype=jnp.int32))
    # The first step has a row for every post, so that the rows of a phase never begin before the array.
    counts = (lengths[:, None] > jnp.arange(steps)).sum(axis=0, dtype=jnp.int32).at[0].set(batch)
    starts = jnp.cumsum(counts) - counts
    capacity = -(-mask.size // BLOCKS[-1]) * BLOCKS[-1]
    behind = ranks[:, None] - (batch - counts)  # of the step's first
    rows = jnp.where(behind >= 0, starts + behind, capacity)
    every = jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape)
    places = jnp.full(capacity, mask.size, jnp.int32).at[rows].set(every, mode="drop")
    fewer = jnp.array([*phases(batch)[1:], 0])
    upto = (counts[:, None] > fewer).sum(axis=0, dtype=jnp.int32)
    return Packing(order, ranks, counts, starts, jnp.concatenate([jnp.zeros(1, jnp.int32), upto]), places, rows)


def packing_or_none(mask: jax.Array) -> Packing | None:
    """The packing of `mask` `[B, T]` where padding is to be left out; None where it is not."""
    return packing(mask) if leaves_padding_out() else None


@jax.custom_vjp
def pack(x: jax.Array, packed: Packing) -> jax.Array:
    """`[B, T, e]` to rows `[N, e]`, zeros for those that have no word."""
    return x.reshape(-1, x.shape[-1]).at[packed.places].get(mode="fill", fill_value=0)


@jax.custom_vjp
def unpack(rows: jax.Array, packed: Packing) -> jax.Array:
    """Rows `[N, e]` to `[B, T, e]`, zeros for words that have no row."""
    return rows.at[packed.rows].get(mode="fill", fill_value=0)


# A gather's own derivative is a scatter; of these two, it is the other one.
pack.defvjp(lambda x, packed: (pack(x, packed), packed), lambda packed, g: (unpack(g, packed), None))
unpack.defvjp(lambda rows, packed: (unpack(rows, packed), packed), lambda packed, g: (pack(g, packed), None))


def by_word(f: Callable[[Any, jax.Array], jax.Array], params: Any, x: jax.Array, packed: Packing | None) -> jax.Array:
    """`f(params, x)` of what is done to each word alone.

    Args:
      f: of `[..., e]` to `[..., n]`, row by row.
      params: a pytree of arrays that it has beside x, to which its derivative goes too.
      x: words `[B, T, e]`; or with `packed` rows `[N, e]`, zeros where there is none.
      packed: to compute the rows alone; None computes all of `x`.
    """
    return f(params, x) if packed is None else _by_word(f, params, x, packed)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_word(f: Callable[[Any, jax.Array], jax.Array], params: Any, x: jax.Array, packed: Packing) -> jax.Array:
    def block(start: jax.Array, made: jax.Array, size: int) -> jax.Array:
        return lax.dynamic_update_slice(made, f(params, taken(x, start, size)), (start, 0))

    shape = jax.eval_shape(f, params, x)
    return over_blocks(packed, block, jnp.zeros(shape.shape, shape.dtype))


def _by_word_back(f: Callable[[Any, jax.Array], jax.Array], kept: Any, g: jax.Array) -> tuple[Any, jax.Array, None]:
    params, x, packed = kept

    def block(start: jax.Array, carry: tuple[Any, jax.Array], size: int) -> tuple[Any, jax.Array]:
        by_params, by_x = jax.vjp(f, params, taken(x, start, size))[1](taken(g, start, size))
        return jax.tree.map(jnp.add, carry[0], by_params), lax.dynamic_update_slice(carry[1], by_x, (start, 0))

    by_params, by_x = over_blocks(packed, block, (jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(x)))
    return by_params, by_x, None


_by_word.defvjp(lambda f, params, x, packed: (_by_word(f, params, x, packed), (params, x, packed)), _by_word_back)


def products(x: jax.Array, g: jax.Array, packed: Packing | None) -> jax.Array:
    """Σ xᵀ g over words `[T, B, …]`, or rows `[N, …]`, of e and n numbers, to `[e, n]`; g is zero where no word is."""
    if packed is None:
        return jnp.einsum("tbe,tbn->en", x, g)

    def block(start: jax.Array, sums: jax.Array, size: int) -> jax.Array:
        return sums + taken(x, start, size).T @ taken(g, start, size)

    return over_blocks(packed, block, jnp.zeros((x.shape[1], g.shape[1]), x.dtype))


def over_blocks(packed: Packing, block: Callable[[jax.Array, Any, int], Any], carry: Any) -> Any:
    """Fold `block(start, carry, size)` over blocks of rows that cover every word, and fewer than 64 rows besides."""
    left = -(-(packed.starts[-1] + packed.counts[-1]) // BLOCKS[-1]) * BLOCKS[-1]
    start = jnp.int32(0)
    for size in (size for size in BLOCKS if size <= len(packed.places)):

        def body(i: jax.Array, carry: Any, start: jax.Array = start, size: int = size) -> Any:
            return block(start + i * size, carry, size)

        carry = lax.fori_loop(0, left // size, body, carry)
        start, left = start + left // size * size, left % size
    return carry


def taken(x: jax.Array, start: jax.Array, size: int) -> jax.Array:
    """`size` rows of `x` from `start`."""
    return lax.dynamic_slice_in_dim(x, start, size)


def over_steps(
    packed: Packing,
    step: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    inputs: Any,
    reverse: bool,
) -> tuple[Any, Any]:
    """`lax.scan` over the steps of time that have words.

    Args:
      packed: where the words are.
      step: `(state, inputs) -> (state, outputs)` of any number of posts.
      state: arrays `[B, …]`; a post's stays as it is at steps where it has no row.
      inputs: arrays of rows `[N, …]`.
      reverse: from the last step to the first.

    Returns:
      The last state, of posts in the batch's own order, and outputs `[N, …]`, zeros for rows that have no word.
    """
    sizes = phases(batch := len(packed.rows))
    few = jax.tree.map(lambda x: x[:batch], inputs)
    told = jax.eval_shape(step, state, few)[1]
    made = jax.tree.map(lambda x: jnp.zeros((len(packed.places), *x.shape[1:]), x.dtype), told)
    carry = (jax.tree.map(lambda x: x[packed.order], state), made)
    found = list(enumerate(sizes))
    for i, size in reversed(found) if reverse else found:
        low, high = packed.upto[i], packed.upto[i + 1]

        def body(n: jax.Array, carry: Any, low: Any = low, high: Any = high, size: int = size) -> Any:
            return _one(packed, step, carry, inputs, high - 1 - n if reverse else low + n, size)

        carry = lax.fori_loop(0, high - low, body, carry)
    return jax.tree.map(lambda x: x[packed.ranks], carry[0]), carry[1]


def _one(packed: Packing, step: Any, carry: tuple[Any, Any], inputs: Any, t: jax.Array, size: int) -> tuple[Any, Any]:
    """A step of time for the last `size` posts: those that have a row are the last ones of these."""
    (state, made), batch = carry, len(packed.rows)
    start = packed.starts[t] + packed.counts[t] - size  # of rows, of which the first may be another step's
    own = (jnp.arange(size) >= size - packed.counts[t])[:, None]
    old = jax.tree.map(lambda x: x[batch - size :], state)
    new, out = step(old, jax.tree.map(lambda x: taken(x, start, size), inputs))

    def put(x: jax.Array, new: jax.Array, old: jax.Array, start: jax.Array | int) -> jax.Array:
        return lax.dynamic_update_slice_in_dim(x, jnp.where(own, new, old), start, 0)

    state = jax.tree.map(lambda x, n, o: put(x, n, o, batch - size), state, new, old)
    return state, jax.tree.map(lambda x, n: put(x, n, taken(x, start, size), start), made, out)
