"""The mean loss over posts that are not trained on: what the training loss is compared with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data.batches import Source
from jaxtag.parallel.mesh import replicated
from jaxtag.runs import Bound


class Loss:
    """The objective of one bound experiment, its summed losses divided once by its summed weights, as in training.

    Without dropout, in float32, with the training's smoothing; compiled once, for any number of posts.
    """

    def __init__(self, bound: Bound, source: Source):
        """Read posts from `source`, whose hashtags are labels, `evaluation.batch` at a time."""
        self._system, self._source, self._size = bound.system, source, bound.experiment.evaluation.batch
        self._put = replicated(bound.mesh)
        self._sums = jax.jit(self._validation_sums, out_shardings=self._put)

    def __call__(self, state: Any, numbers: dict[str, Any], rows: np.ndarray) -> float:
        """The mean loss of `state` over the posts `rows [n]`; NaN where none has a hashtag."""
        variables = (state["params"], state["collections"])
        padded = np.full(-(-len(rows) // self._size) * self._size, -1, np.int32)
        padded[: len(rows)] = rows
        parts = []
        for part in padded.reshape(-1, self._size):
            valid = jax.device_put(part >= 0, self._put)
            parts.append(self._sums(variables, numbers, self._source.feed_rows(part), valid))
        loss, weight = np.asarray(jax.device_get(parts), np.float64).sum(axis=0)
        return float(loss / weight) if weight else float("nan")

    def _validation_sums(
        self, variables: Any, numbers: Any, feed: Any, valid: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        params, collections = variables
        loss, weight, _ = self._system.loss(params, collections, self._source.fetch_rows(feed), numbers, None)
        return jnp.where(valid, loss, 0).sum(), jnp.where(valid, weight, 0).sum()
