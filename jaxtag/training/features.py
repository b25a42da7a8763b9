"""What a fitted system reads of posts, batch by batch on the mesh: as sums, or as rows on the host."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data.batches import Source
from jaxtag.estimators.moments import Moments, accumulate, finish, start
from jaxtag.estimators.standard import centred
from jaxtag.fitted import FittedSystem
from jaxtag.parallel.mesh import replicated
from jaxtag.progress import progress
from jaxtag.runs import Bound
from jaxtag.training.programs import KEPT, Shape, shape_of

Params = dict[str, Any]


class Features:
    """Reads what `system` reads of posts, by `params` and `collections`; compiled once, for any number of posts."""

    def __init__(self, bound: Bound, source: Source, system: FittedSystem, params: Params, collections: Any):
        """Read posts from `source`, `evaluation.batch` at a time; `system` is that of `bound`, or has its inputs."""
        self._source, self._size, self._put = source, bound.experiment.evaluation.batch, replicated(bound.mesh)
        self._variables: tuple[Params, Any] = (params, collections)
        self._named = bound.system.sizes.named
        inner = str(system.encoder.sizes) if system.encoder else ""
        self._read, self._add, self._start = _programs(_Key(shape_of(bound, source), inner, system))

    def moments(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        what: str,
        centre: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Moments:
        """Sums over the posts `rows [n]` of those of their hashtags that are `labels [m]`, numbered in that order.

        Args:
          rows: of the dataset.
          labels: positions among the split's `named` hashtags.
          what: names what is read, in an error.
          centre: μ `[p]`, about which it is brought to length one first (`jaxtag.estimators.standard`); or None.
          weights: of each label's pairs `[m]`; or None.

        Raises:
          JaxtagError: no post has such a hashtag, or what is read of one is not finite.
        """
        places = np.full(self._named, -1, np.int32)
        places[labels] = np.arange(len(labels), dtype=np.int32)
        own = [None if x is None else jax.device_put(x.astype(np.float32), self._put) for x in (centre, weights)]
        sums, places = None, jax.device_put(places, self._put)
        for feed, valid in self._batches(rows, "fitting"):
            if sums is None:
                given = centred(self._read(self._variables, feed)[0], own[0])
                sums = self._start(given, valid, len(labels))
            sums = self._add(sums, self._variables, places, feed, valid, *own)
        assert sums is not None  # a part of a split has posts
        return finish(sums, what, weights)

    def rows(self, rows: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
        """What is read of each of the posts `rows [n]`, float32 `[n, p]`, on the host; `centre` as of `moments`."""
        read = np.concatenate(list(self.each(rows)))
        return np.asarray(centred(jnp.asarray(read), None if centre is None else jnp.asarray(centre, jnp.float32)))

    def each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """What is read of the posts `rows [n]`, a batch at a time, on the host."""
        left = len(rows)
        for feed, _ in self._batches(rows, "reading"):
            read = jax.device_get(self._read(self._variables, feed)[0])[:left]
            yield read
            left -= len(read)

    def _batches(self, rows: np.ndarray, what: str) -> Iterator[tuple[Any, jax.Array]]:
        padded = np.full(-(-len(rows) // self._size) * self._size, -1, np.int32)
        padded[: len(rows)] = rows
        for part in progress(padded.reshape(-1, self._size), what):
            yield self._source.feed_rows(part), jax.device_put(part >= 0, self._put)


@dataclass(frozen=True)
class _Key:
    """What the programs depend on: the run's shape, and the sizes of the encoder that is read."""

    shape: Shape
    encoder: str
    system: FittedSystem = field(compare=False)


@lru_cache(maxsize=KEPT)
def _programs(key: _Key) -> tuple[Any, Any, Any]:
    """What is read of a batch, a batch added to sums, and the first sums."""
    source, system, mesh = key.shape.source, key.system, key.shape.mesh
    put = replicated(mesh)

    def read(variables: Any, feed: Any) -> tuple[jax.Array, jax.Array]:
        batch, (params, collections) = source.fetch_rows(feed), variables
        return system.read(params, collections, batch), batch["hashtags"]

    def add(
        sums: Any, variables: Any, places: jax.Array, feed: Any, valid: jax.Array, centre: Any, weights: Any
    ) -> Any:
        given, labels = read(variables, feed)
        return accumulate(sums, centred(given, centre), _placed(places, labels), valid, mesh, weights)

    return (
        jax.jit(read, out_shardings=put),
        jax.jit(add, donate_argnums=0, out_shardings=put),
        jax.jit(start, static_argnums=2, out_shardings=put),
    )


def _placed(places: jax.Array, labels: jax.Array) -> jax.Array:
    """`labels [B, H]`, padded with −1, by the table `places`."""
    return jnp.where(labels < 0, -1, places[jnp.maximum(labels, 0)])
