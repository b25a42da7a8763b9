"""Ranking: from a batch to the k best of a list of candidates, on the device, in float32.

However many candidates there are, their table is scored block by block with a running list of the best, so that
neither all scores nor a copy of the table is ever held. A table split over devices by its rows (`spread`) is ranked
where it lies: each device finds its own k best, and those are merged.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtag.parallel.mesh import AXES
from jaxtag.systems import System

BLOCK_NUMBERS = 1 << 21  # of the table in a block: 8 MiB, which a CPU's cache holds
BLOCK_SCORES = 1 << 24  # of a batch over a block: 64 MiB


def candidate_table(system: System, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
    """The candidates' rows `[C, d]`, computed once for any number of `rank` calls; of other outputs, their `labels`."""
    return system.table(params, collections, labels) if system.entry.output == "table" else labels


@partial(jax.named_call, name="rank")
def rank(system: System, params: Any, collections: Any, batch: dict[str, Any], table: jax.Array, k: int) -> tuple:
    """The k best candidates of every post, best first.

    Args:
      system: that ranks.
      params, collections: its variables.
      batch: posts.
      table: from `candidate_table`, `[C, d]` or `[C]`.
      k: how many, at most C.

    Returns:
      Positions in the candidates `[B, k]` int32 and their scores `[B, k]` float32. Equal scores keep the
      candidates' order. Of the output `decode` they are in the order in which they are said, with log-probabilities;
      −1 and −inf where a list ends early.
    """
    if system.entry.output == "decode":
        return _said(system, params, collections, batch, table, k)
    if system.entry.output == "scores":
        return _of_scores(system.scores(params, collections, batch)[:, table], k)
    return top_k(system.query(params, collections, batch), table, k)


def _said(system: Any, params: Any, collections: Any, batch: dict[str, Any], labels: jax.Array, k: int) -> tuple:
    """What a system of the output `decode` says among the candidates `labels [C]`, as of `rank`."""
    allowed = jnp.zeros(system.sizes.hashtags, bool).at[labels].set(True)
    position = jnp.full(len(allowed), -1, jnp.int32).at[labels].set(jnp.arange(len(labels), dtype=jnp.int32))
    found, logs = system.decode(params, collections, batch, k, allowed)
    return jnp.where(found < 0, -1, position[found]), logs


def _of_scores(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The best of candidates' scores `[B, C]`, as of `rank`."""
    return _best(jnp.broadcast_to(jnp.arange(scores.shape[1], dtype=jnp.int32), scores.shape), scores, k)


def recommend(
    system: System, params: Any, collections: Any, batch: dict[str, Any], table: jax.Array, k: int,
    mesh: Mesh | None = None, count: int | None = None,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """As `rank`, with what the system `gives` beside each candidate: its score, or its probability.

    The probability is among all candidates, or where the objective makes them independent the hashtag's own; of the
    output `decode`, given the hashtags said before it.

    Args:
      system, params, collections, batch, k: as of `rank`.
      table: from `candidate_table`, or from `spread` where there is a mesh.
      mesh, count: as of `top_k`.
    """
    if system.entry.output == "decode":
        positions, logs = _said(system, params, collections, batch, table, k)
        return positions, jnp.exp(logs)
    if system.entry.output == "scores":
        every = system.scores(params, collections, batch)[:, table]
        positions, best = _of_scores(every, k)
    else:
        query = system.query(params, collections, batch)
        positions, best = top_k(query, table, k, mesh=mesh, count=count)
        every = query @ table[:count].T
    if system.entry.gives == "score":
        return positions, best
    if system.entry.learned == "steps" and system.objective.independent:
        return positions, jax.nn.sigmoid(best)
    return positions, jnp.exp(best - jax.nn.logsumexp(every, axis=1, keepdims=True))


def spread(table: jax.Array, mesh: Mesh) -> jax.Array:
    """`table [C, d]` as float32, its rows split evenly over every device of `mesh`, zeros added to make them even.

    Labels `[C]`, of a system of the output `scores` or `decode`, stay as they are.
    """
    if table.ndim == 1:
        return table
    rows = -(-len(table) // mesh.size) * mesh.size
    padded = jnp.pad(jnp.asarray(table, jnp.float32), ((0, rows - len(table)), (0, 0)))
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(AXES)))


def top_k(
    query: jax.Array, table: jax.Array, k: int, block: int = 0, mesh: Mesh | None = None, count: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The k greatest products of each row of `query [B, d]` with rows of `table [C, d]`, block by block.

    They are those of a full stable sort: of equal products the one with the smaller position comes first. Where a post
    has several queries, a row's greatest product with them is its product.

    Args:
      query: `[B, d]`, or `[B, c, d]` of c queries a post; finite.
      table: `[C, d]`, finite; from `spread` where there is a mesh.
      k: how many, at most C.
      block: rows of the table scored at a time; 0 chooses by `BLOCK_NUMBERS` and `BLOCK_SCORES`.
      mesh: over which the table's rows are split; None where they are not.
      count: how many rows are candidates, C, where `spread` added some; None is all.

    Returns:
      Positions `[B, k]` int32 and products `[B, k]` float32, greatest first.

    Raises:
      ValueError: k is not within 1…C.
    """
    count = len(table) if count is None else count
    if not 1 <= k <= count:
        raise ValueError(f"the {k} best of {count} candidates")
    query, table = query.astype(jnp.float32), table.astype(jnp.float32)
    if query.ndim == 3:  # what is among the k greatest by the greatest product is so by the query that gives it
        positions, scores = top_k(query.reshape(-1, query.shape[-1]), table, k, block, mesh, count)
        return _merged(positions.reshape(len(query), -1), scores.reshape(len(query), -1), k)
    if mesh is None:
        return _top_k(query, table, k, block, jnp.int32(count))
    local = len(table) // mesh.size

    def part(query: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        first = lax.axis_index(AXES).astype(jnp.int32) * local
        positions, scores = _top_k(query, rows, min(k, local), block, count - first)
        positions, scores = (lax.all_gather(x, AXES, axis=1, tiled=True) for x in (positions + first, scores))
        return _best(positions, scores, k)

    whole = PartitionSpec()
    split = jax.shard_map(part, mesh=mesh, in_specs=(whole, PartitionSpec(AXES)), out_specs=whole, check_vma=False)
    return split(query, table)


def _top_k(query: jax.Array, table: jax.Array, k: int, block: int, count: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`top_k` on one device, of the first `count` rows: where those are fewer than k, −inf is the last scores."""
    block = block or max(min(BLOCK_NUMBERS // table.shape[1], BLOCK_SCORES // len(query)), 1)
    block = min(block, len(table))
    blocks = -(-len(table) // block)

    def scored(number: jax.Array | int) -> tuple[jax.Array, jax.Array]:
        place, products = _products(query, table, number, block)
        products = jnp.where(place < count, products, -jnp.inf)
        return _best(jnp.broadcast_to(place, products.shape), products, min(k, block))

    if blocks == 1:
        return scored(0)

    def merge(number: jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        positions, scores = (jnp.concatenate(pair, 1) for pair in zip(best, scored(number)))
        return _best(positions, scores, k)

    none = (jnp.full((len(query), k), -1, jnp.int32), jnp.full((len(query), k), -jnp.inf))
    return lax.fori_loop(0, blocks, merge, none)


def above(
    query: jax.Array, table: jax.Array, least: float, gold: jax.Array, block: int = 0
) -> tuple[jax.Array, jax.Array]:
    """How many rows of `table [C, d]` have a product of `least` or more with each row of `query [B, d]`, by blocks.

    Args:
      query, table: as of `top_k`.
      least: the product.
      gold: rows of the table that are right `[B, G]` int32, −1 padded.
      block: rows of the table at a time; 0 chooses.

    Returns:
      Their number, and how many of them are right, `[B]` int32.
    """
    query, table = query.astype(jnp.float32), table.astype(jnp.float32)
    block = min(block or max(min(BLOCK_NUMBERS // table.shape[1], BLOCK_SCORES // len(query)), 1), len(table))

    def counted(number: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, products = _products(query, table, number, block)
        high = products >= least
        start = place[0]
        inside = (gold >= jnp.maximum(number * block, start)) & (gold < start + block)
        right = inside & jnp.take_along_axis(high, jnp.clip(gold - start, 0, block - 1), 1)
        return found[0] + high.sum(1, dtype=jnp.int32), found[1] + right.sum(1, dtype=jnp.int32)

    none = (jnp.zeros(len(query), jnp.int32),) * 2
    return lax.fori_loop(0, -(-len(table) // block), counted, none)


def _products(query: jax.Array, table: jax.Array, number: jax.Array | int, block: int) -> tuple[jax.Array, jax.Array]:
    """A block of the table: its rows' places `[block]`, and the products with them `[B, block]`.

    The last block begins early enough to be whole, and rows of it that an earlier one had are −inf.
    """
    start = jnp.minimum(number * block, len(table) - block)
    place = start + jnp.arange(block, dtype=jnp.int32)
    rows = lax.dynamic_slice_in_dim(table, start, block)
    products = lax.dot_general(query, rows, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return place, jnp.where(place >= number * block, products, -jnp.inf)


def _merged(positions: jax.Array, scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k best, each once, of lists of `positions [B, n]` with `scores [B, n]`; of equal ones the first position."""
    negative, positions = lax.sort((-scores, positions), num_keys=2)
    earlier = (positions[:, :, None] == positions[:, None]) & jnp.tri(positions.shape[1], k=-1, dtype=bool)
    return _best(positions, jnp.where(earlier.any(2), -jnp.inf, -negative), k)


def _best(positions: jax.Array, scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k greatest of `scores [B, n]` and their `positions [B, n]`; of equal ones the first."""
    # `lax.top_k` orders −0 below 0, which are equal.
    scores, order = lax.top_k(jnp.where(scores == 0, 0.0, scores), k)
    return jnp.take_along_axis(positions, order, 1), scores
