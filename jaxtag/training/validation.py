"""The mean loss over posts that are not trained on: what the training loss is compared with."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.data.batches import Source
from jaxtag.parallel.mesh import put, replicated
from jaxtag.systems import System


def validation_sums_of(system: System, source: Source) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """`sums(variables, numbers, feed, valid)`: loss and weight of the posts of a feed that are `valid`; traceable.

    Args:
      system: whose objective; without dropout, in float32, with the training's smoothing.
      source: that fetches the feed.
    """

    def validation_sums(variables: Any, numbers: Any, feed: Any, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, collections = variables
        loss, weight, _ = system.loss(params, collections, source.fetch_rows(feed), numbers, None)
        return jnp.where(valid, loss, 0).sum(), jnp.where(valid, weight, 0).sum()

    return validation_sums


def make_sums(system: System, source: Source, mesh: Mesh) -> Callable[..., Any]:
    """`validation_sums_of`, jitted, on `mesh`."""
    return jax.jit(validation_sums_of(system, source), out_shardings=replicated(mesh))


class Loss:
    """The objective of one run: summed losses divided once by summed weights, as in training."""

    def __init__(self, sums: Callable[..., Any], source: Source, size: int, mesh: Mesh):
        """Read posts from `source`, whose hashtags are labels, `size` at a time; `sums` is from `make_sums`."""
        self._sums, self._source, self._size = sums, source, size
        self._put = replicated(mesh)

    def __call__(self, state: Any, numbers: dict[str, Any], rows: np.ndarray) -> float:
        """The mean loss of `state` over the posts `rows [n]`; NaN where none has a hashtag."""
        variables = (state["params"], state["collections"])
        padded = np.full(-(-len(rows) // self._size) * self._size, -1, np.int32)
        padded[: len(rows)] = rows
        parts = []
        for part in padded.reshape(-1, self._size):
            valid = put(part >= 0, self._put)
            parts.append(self._sums(variables, numbers, self._source.feed_rows(part), valid))
        loss, weight = np.asarray(jax.device_get(parts), np.float64).sum(axis=0)
        return float(loss / weight) if weight else float("nan")
