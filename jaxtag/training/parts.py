"""A batch computed in parts: in turn, to save memory, or sorted by length, to save arithmetic on padding.

Posts are short: of the 40 words that a batch has room for, real posts use 12 on average, and the rest is arithmetic on
padding. Sorted, most parts are short, and are computed at their own lengths. The model is not told: it sees smaller,
shorter batches, and as padding changes nothing and dropout is each post's own, the sums are those of the whole batch.
Which posts share a part depends on the batch alone, not on the mesh. On one CPU device, layers that step through time
leave padding out by themselves (`jaxtag.layers.packing`), and one part is enough.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from jaxtag.layers.packing import padding_left_out
from jaxtag.parallel.mesh import by_batch

# (params, collections, batch, numbers, keys [B]) -> ((loss, (weight, collections)), gradient), summed over posts
Gradient = Callable[[Any, Any, Any, Any, jax.Array], tuple[tuple[jax.Array, tuple[jax.Array, Any]], Any]]

SHORTEST = 8


def in_turn(gradient: Gradient, parts: int) -> Gradient:
    """`gradient` of a batch taken in `parts`, one after the other, and summed: equal to the whole's.

    Part j has every `parts`-th post, from j, so that each device keeps its own posts.
    """

    def summed(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> Any:
        def one(carry: tuple[Any, Any], given: tuple[Any, jax.Array]) -> tuple[tuple[Any, Any], None]:
            sums, collections = carry
            (loss, (weight, collections)), grads = gradient(params, collections, given[0], numbers, given[1])
            return (jax.tree.map(jnp.add, sums, (loss, weight, grads)), collections), None

        split = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), (batch, keys))
        start = (jnp.float32(0), jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
        ((loss, weight, grads), collections), _ = lax.scan(one, (start, collections), split)
        return (loss, (weight, collections)), grads

    return summed


def lengths_up_to(longest: int) -> list[int]:
    """The lengths that parts are computed at, a program for each: 8, 12, 16, 24, 32, 48, … and `longest`."""
    found, length = [], SHORTEST
    while length < longest:
        found += [length, length * 3 // 2]
        length *= 2
    return [*(n for n in found if n < longest), longest]


def by_length(gradient: Gradient, parts: int, columns: tuple[str, ...], mesh: Mesh | None) -> Gradient:
    """`gradient` of a batch in `parts`, sorted by length.

    Args:
      gradient: of any batch.
      parts: equal ones; of one part alone, nothing is cut or sorted.
      columns: of the batch, right-padded with 0 along their last axis; they are cut alike.
      mesh: which a part is spread over.
    """

    def summed(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> Any:
        if parts == 1:
            with padding_left_out(packs(mesh)):
                return gradient(params, collections, batch, numbers, keys)
        split, most = _sorted(batch, keys, parts, columns)
        if mesh is not None:
            split = lax.with_sharding_constraint(split, by_batch(mesh, leading=1))

        def cut_at(length: int) -> Any:
            def one(j: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
                sums, collections = carry
                part, own = jax.tree.map(lambda x: x[j], split)
                part |= {name: part[name][..., :length] for name in columns}
                with padding_left_out(packs(mesh)):
                    (loss, (weight, collections)), grads = gradient(params, collections, part, numbers, own)
                return jax.tree.map(jnp.add, sums, (loss, weight, grads)), collections

            return one

        carry = (jnp.float32(0), jnp.float32(0), jax.tree.map(jnp.zeros_like, params)), collections
        done = jnp.int32(0)
        longest = max(batch[name].shape[-1] for name in columns)
        for length in lengths_up_to(longest):
            # Parts rise in length, so those of one length are neighbours: a loop over them needs no branch.
            upto = (most <= length).sum()
            carry = lax.fori_loop(done, upto, cut_at(length), carry)
            done = upto
        (loss, weight, grads), collections = carry
        return (loss, (weight, collections)), grads

    return summed


def packs(mesh: Mesh | None) -> bool:
    """Whether padding is left out inside a program: each post must be whole on a device, and small products cheap."""
    devices = jax.devices()[:1] if mesh is None else mesh.devices.flat
    return len(devices) == 1 and devices[0].platform == "cpu"


def _sorted(
    batch: dict[str, jax.Array], keys: jax.Array, parts: int, columns: tuple[str, ...]
) -> tuple[tuple[dict[str, jax.Array], jax.Array], jax.Array]:
    """The batch and its keys as `[parts, B / parts, …]` in rising length, and the longest post of each part."""
    used = []
    for name in columns:
        x = batch[name]
        place = jnp.where(x != 0, jnp.arange(1, x.shape[-1] + 1), 0)
        used.append(place.reshape(len(x), -1).max(axis=1))
    length = jnp.stack(used).max(axis=0)
    order = jnp.argsort(length, stable=True)
    split = jax.tree.map(lambda x: x[order].reshape(parts, -1, *x.shape[1:]), (batch, keys))
    return split, length[order].reshape(parts, -1).max(axis=1)
