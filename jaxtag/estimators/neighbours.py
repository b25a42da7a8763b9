"""Exact nearest neighbours: blocked matrix products with a running list of the k best, in float32.

    nearness(q, x) = 2 qᵀx − xᵀx      of `l2`: |q|² less the squared distance, which ranks as the distance does
    nearness(q, x) = qᵀx / |x|        of `cosine`: |q| times the cosine; 0 for a row of zeros

The k nearest are those of a full stable sort of the nearness: of equal ones the smaller row first. They are found
in two steps that a CPU does fast: of a block's rows in runs of `group`, the k runs with the greatest nearness hold the
k best, and only those are looked through. Memory is that of a block's products, however many rows and queries there
are.

`nearest` is traceable, for rows that lie on the devices (on a CPU those are the mapped file itself); `search` streams
rows of any number from a mapped file. Both split the rows over the devices of a mesh and merge what each found.
"""

import math
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtag.parallel.mesh import AXES, replicated
from jaxtag.progress import progress

ROWS = 8192  # of a block
QUERIES = 4096  # of a block of `search`: their products with a block of rows take 128 MiB
PLAIN = 1024  # as many numbers are looked through at once
RECALL = 0.95  # that the approximate mode aims at

Distance = Literal["l2", "cosine"]
Found = tuple[jax.Array, jax.Array]


def nearest(
    queries: jax.Array, rows: jax.Array, k: int, distance: Distance = "l2", *, count: jax.Array | int | None = None,
    own: jax.Array | None = None, mesh: Mesh | None = None, block: int = ROWS, approximate: bool = False,
) -> Found:  # fmt: skip
    """The k rows nearest to each query; traceable.

    Args:
      queries: `[B, p]`, finite.
      rows: `[n, p]`, finite, of any floating type; from `spread` where there is a mesh.
      k: how many.
      distance: `l2` or `cosine`.
      count: how many rows there are, where `spread` added some; None is all.
      own: the row that each query is, int32 `[B]`, and which is not its neighbour; −1 is none.
      mesh: over which the rows are split; None where they are not.
      block: rows at a time.
      approximate: whether an accelerator that can may miss some (a TPU, of which about 1 in 20); elsewhere exact.

    Returns:
      Rows `[B, k]` int32, nearest first, and their nearness `[B, k]` float32; −1 and −inf behind the last row.
    """
    known = jnp.asarray(len(rows) if count is None else count, jnp.int32)
    own = jnp.full(len(queries), -1, jnp.int32) if own is None else own
    queries, over = queries.astype(jnp.float32), partial(_over, k, distance, block, approximate)
    if mesh is None or mesh.size == 1:
        return over(queries, rows, jnp.int32(0), known, own)

    def part(queries: jax.Array, rows: jax.Array, count: jax.Array, own: jax.Array) -> Found:
        found = over(queries, rows, lax.axis_index(AXES).astype(jnp.int32) * len(rows), count, own)
        places, near = (lax.all_gather(x, AXES, axis=1, tiled=True) for x in found)
        return _taken(places, near, k)

    whole = PartitionSpec()
    split = jax.shard_map(
        part, mesh=mesh, in_specs=(whole, PartitionSpec(AXES), whole, whole), out_specs=whole, check_vma=False
    )
    return split(queries, rows, known, own)


def search(
    queries: np.ndarray, rows: np.ndarray, k: int, distance: Distance = "l2", *, exclude_self: bool = False,
    mesh: Mesh | None = None, block: int = ROWS, at_once: int = QUERIES, approximate: bool = False, what: str = "",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The k rows nearest to each query, both on the host or in mapped files, which are read block by block.

    Args:
      queries: `[m, p]`, finite.
      rows, k, distance, block, approximate: as of `nearest`.
      exclude_self: whether query i is row i, which is not its neighbour.
      mesh: whose devices share each block of rows; None is one device.
      at_once: queries at a time.
      what: named beside a progress bar; empty shows none.

    Returns:
      As of `nearest`, `[m, k]`.
    """
    shards = mesh.size if mesh else 1
    block = -(-min(block, len(rows)) // shards) * shards
    step, finish = _steps(k, distance, approximate, mesh)
    by_rows, whole = (NamedSharding(mesh, PartitionSpec(AXES)), replicated(mesh)) if mesh else (None, None)
    at_once, count = min(at_once, len(queries)), np.int32(len(rows))
    found = []
    for start in progress(range(0, len(queries), at_once), what) if what else range(0, len(queries), at_once):
        asked = jax.device_put(_filled(queries[start : start + at_once], at_once).astype(np.float32), whole)
        own = np.full(at_once, -1, np.int32)
        if exclude_self:
            own = np.arange(start, start + at_once, dtype=np.int32)
        best = (
            jax.device_put(np.full((shards, at_once, k), -1, np.int32), by_rows),
            jax.device_put(np.full((shards, at_once, k), -np.inf, np.float32), by_rows),
        )
        for first in range(0, len(rows), block):
            part = jax.device_put(_filled(rows[first : first + block], block), by_rows)
            best = step(best, asked, part, np.int32(first), count, own)
        found.append(jax.device_get(finish(best)))
    places, near = (np.concatenate(parts)[: len(queries)] for parts in zip(*found))
    return places, near


def spread(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """`rows [n, p]`, perhaps a mapped file, split evenly over every device of `mesh`; rows of zeros make them even.

    On a CPU nothing is copied, but for the last device's part.
    """
    each = -(-len(rows) // mesh.size)
    where = NamedSharding(mesh, PartitionSpec(AXES))
    if mesh.size == 1:
        return jax.device_put(rows, where)

    def part(index: Any) -> np.ndarray:
        start = index[0].start or 0
        return _filled(rows[start : start + each], each)

    return jax.make_array_from_callback((each * mesh.size, *rows.shape[1:]), where, part)


def k_greatest(scores: jax.Array, k: int) -> Found:
    """Places `[B, k]` and values of the k greatest of `scores [B, n]`, k ≤ n; of equal ones the first."""
    posts, n = scores.shape
    group = 1 << max(0, round(math.log2(n / k) / 2))
    if n <= PLAIN or group * k * 2 > n:
        return _top(scores, k)
    if n % group:
        scores = jnp.pad(scores, ((0, 0), (0, -n % group)), constant_values=-jnp.inf)
    # Whatever is among the k greatest is in one of the k runs whose greatest is greatest: a number outside them has k
    # before it, one in each. Runs taken in their order keep equal numbers in theirs.
    runs = scores.reshape(posts, -1, group)
    chosen = jnp.sort(_top(runs.max(-1), k)[0], axis=1)
    inside = jnp.take_along_axis(runs, chosen[..., None], 1).reshape(posts, -1)
    places = (chosen[..., None] * group + jnp.arange(group, dtype=jnp.int32)).reshape(posts, -1)
    return _taken(places, inside, k)


def _top(scores: jax.Array, k: int) -> Found:
    """`k_greatest`, looking through all."""
    # `lax.top_k` orders −0 below 0, which are equal.
    values, places = lax.top_k(jnp.where(scores == 0, 0.0, scores), k)
    return places, values


def _taken(places: jax.Array, near: jax.Array, k: int) -> Found:
    """The k greatest of `near [B, n]` and their `places [B, n]`; of equal ones the first."""
    at, near = _top(near, k)
    return jnp.take_along_axis(places, at, 1), near


def nearness(queries: jax.Array, rows: jax.Array, distance: Distance) -> jax.Array:
    """`[B, n]` float32, of queries `[B, p]` float32 and rows `[n, p]`."""
    rows = rows.astype(jnp.float32)
    products = lax.dot_general(queries, rows, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    squares = (rows * rows).sum(1)
    return 2 * products - squares if distance == "l2" else products / jnp.where(squares > 0, jnp.sqrt(squares), 1)


def _merged(
    best: Found, k: int, distance: Distance, approximate: bool, queries: jax.Array, rows: jax.Array,
    place: jax.Array, real: jax.Array, own: jax.Array,
) -> Found:  # fmt: skip
    """`best` and the k best of one block of rows, whose numbers are `place [n]`, and which are `real [n]`, together."""
    near = nearness(queries, rows, distance)
    near = jnp.where(real & (place != own[:, None]), near, -jnp.inf)
    most = min(k, near.shape[1])

    def close(near: jax.Array) -> Found:
        values, places = lax.approx_max_k(near, most, recall_target=RECALL)
        return places.astype(jnp.int32), values

    exact = partial(k_greatest, k=most)
    at, values = lax.platform_dependent(near, tpu=close, default=exact) if approximate else exact(near)
    places = jnp.where(values > -jnp.inf, place[at], -1)
    return _taken(jnp.concatenate([best[0], places], 1), jnp.concatenate([best[1], values], 1), k)


def _over(
    k: int, distance: Distance, block: int, approximate: bool, queries: jax.Array, rows: jax.Array,
    first: jax.Array, count: jax.Array, own: jax.Array,
) -> Found:  # fmt: skip
    """`nearest` on one device, whose rows begin with the one numbered `first`."""
    block = min(block, len(rows))

    def merge(number: jax.Array, best: Found) -> Found:
        # The last block begins early enough to be whole, and its rows that an earlier one had are left out.
        start = jnp.minimum(number * block, len(rows) - block)
        local = start + jnp.arange(block, dtype=jnp.int32)
        part = lax.dynamic_slice_in_dim(rows, start, block)
        real = (local >= number * block) & (first + local < count)
        return _merged(best, k, distance, approximate, queries, part, first + local, real, own)

    none = (jnp.full((len(queries), k), -1, jnp.int32), jnp.full((len(queries), k), -jnp.inf))
    return lax.fori_loop(0, -(-len(rows) // block), merge, none)


@lru_cache(maxsize=8)
def _steps(k: int, distance: Distance, approximate: bool, mesh: Mesh | None) -> tuple[Any, Any]:
    """A block of rows merged into each device's best `[devices, B, k]`; and the best of all devices."""

    def add(best: Found, queries: jax.Array, rows: jax.Array, first: Any, count: Any, own: jax.Array) -> Found:
        if mesh:
            first = first + lax.axis_index(AXES).astype(jnp.int32) * len(rows)
        place = first + jnp.arange(len(rows), dtype=jnp.int32)
        mine = best[0][0], best[1][0]
        places, near = _merged(mine, k, distance, approximate, queries, rows, place, place < count, own)
        return places[None], near[None]

    def finish(best: Found) -> Found:
        places, near = (jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1) for x in best)
        near, places = lax.sort((-near, jnp.where(places < 0, jnp.iinfo(jnp.int32).max, places)), num_keys=2)
        near, places = -near[:, :k], places[:, :k]
        return jnp.where(near > -jnp.inf, places, -1), jnp.where(near == 0, 0.0, near)

    if mesh:
        split, whole = PartitionSpec(AXES), PartitionSpec()
        specs = ((split, split), whole, split, whole, whole, whole)
        add = jax.shard_map(add, mesh=mesh, in_specs=specs, out_specs=(split, split), check_vma=False)
    return jax.jit(add, donate_argnums=0), jax.jit(finish)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """`rows [n, …]` with zeros behind them, `count` in all; as they are where they are as many."""
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])
