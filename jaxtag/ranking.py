"""Ranking: from a batch to the k best of a list of candidates, on the device, in float32."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.systems import System

BLOCK = 65_536  # candidates scored at a time; bounds the memory of a ranking over millions


def candidate_table(system: System, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
    """The candidates' rows `[C, d]`, computed once for any number of `rank` calls."""
    return system.table(params, collections, labels)


@partial(jax.named_call, name="rank")
def rank(system: System, params: Any, collections: Any, batch: dict[str, Any], table: jax.Array, k: int) -> tuple:
    """The k best candidates of every post, best first.

    Args:
      system: that ranks.
      params, collections: its variables.
      batch: posts.
      table: from `candidate_table`, `[C, d]`.
      k: how many, at most C.

    Returns:
      Positions in the candidates `[B, k]` int32 and their scores `[B, k]` float32. Equal scores keep the
      candidates' order.
    """
    return top_k(system.query(params, collections, batch), table, k)


def top_k(query: jax.Array, table: jax.Array, k: int, block: int = BLOCK) -> tuple[jax.Array, jax.Array]:
    """The k greatest products of each row of `query [B, d]` with rows of `table [C, d]`, block by block.

    Returns:
      Positions `[B, k]` int32 and products `[B, k]` float32, greatest first.
    """
    query, table = query.astype(jnp.float32), table.astype(jnp.float32)
    if len(table) <= block:
        scores, positions = lax.top_k(query @ table.T, k)
        return positions, scores
    blocks = -(-len(table) // block)
    padded = jnp.pad(table, ((0, blocks * block - len(table)), (0, 0))).reshape(blocks, block, -1)

    def merge(best: tuple[jax.Array, jax.Array], part: tuple[jax.Array, jax.Array]) -> tuple:
        start, rows = part
        place = start + jnp.arange(block, dtype=jnp.int32)
        scores = jnp.where(place < len(table), query @ rows.T, -jnp.inf)
        found, at = lax.top_k(scores, min(k, block))
        positions = jnp.concatenate([best[0], place[at]], 1)
        scores, order = lax.top_k(jnp.concatenate([best[1], found], 1), k)
        return (jnp.take_along_axis(positions, order, 1), scores), None

    start = (jnp.full((len(query), k), -1, jnp.int32), jnp.full((len(query), k), -jnp.inf))
    (positions, scores), _ = lax.scan(merge, start, (jnp.arange(blocks, dtype=jnp.int32) * block, padded))
    return positions, scores
