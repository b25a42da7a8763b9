"""Streaming sums of posts' features: what a method in closed form needs of any number of posts.

On the device, in float32 at the highest precision: sums of x − c, for a fixed shift c near the mean, and of their
products; the rounding of every addition is kept and added up beside them, so that a million posts are as exact as one
batch. On the host, in float64: the same sums about any other point, such as zero (X Xᵀ) or the mean (covariances), in
closed form.

A (post, hashtag) pair counts once, a post with g hashtags g times; or by a weight that its hashtag has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxtag.errors import JaxtagError
from jaxtag.parallel.mesh import BATCH


class Pair(NamedTuple):
    """A running sum and what its additions rounded away, each of one shape."""

    total: jax.Array
    rest: jax.Array


class Sums(NamedTuple):
    """What has been added up on the device; a pytree.

    Attributes:
      shift: c `[p]`.
      gram: Σ (x − c)(x − c)ᵀ `[p, p]`.
      by_hashtag: Σ (x − c) over the pairs of each hashtag `[n, p]`, unweighted.
      counts: pairs of each hashtag, int32 `[n]`.
      bad: posts that have a feature which is NaN or infinite, int32.
    """

    shift: jax.Array
    gram: Pair
    by_hashtag: Pair
    counts: jax.Array
    bad: jax.Array


def start(features: jax.Array, valid: jax.Array, hashtags: int) -> Sums:
    """Empty sums over `hashtags` labels, shifted by the mean of a first batch `[B, p]`, whose padding is not `valid`.

    The batch itself is not added.
    """
    features = jnp.where(valid[:, None] & jnp.isfinite(features), features, 0).astype(jnp.float32)
    shift = features.sum(0) / jnp.maximum(valid.sum(), 1)
    width = len(shift)
    gram, by_hashtag = (Pair(*jnp.zeros((2, rows, width), jnp.float32)) for rows in (width, hashtags))
    return Sums(shift, gram, by_hashtag, jnp.zeros(hashtags, jnp.int32), jnp.int32(0))


def accumulate(
    sums: Sums,
    features: jax.Array,
    labels: jax.Array,
    valid: jax.Array,
    mesh: Mesh | None = None,
    weights: jax.Array | None = None,
) -> Sums:
    """Add a batch.

    Args:
      sums: from `start`, or this.
      features: `[B, p]`.
      labels: of the posts' hashtags, each once, int32 `[B, H]`; those outside 0…n − 1 are padding.
      valid: posts to count, bool `[B]`.
      mesh: whose batch axes the posts are spread over; None for one device.
      weights: of each hashtag's pairs `[n]`, the same for all batches; None weighs them 1. Only `gram` needs them here:
        `finish` is given them too.

    Returns:
      The sums, on every device. Jit it with `sums` donated.
    """

    batch: Callable[..., tuple] = partial(_batch_sums, hashtags=len(sums.counts))
    if mesh is not None:
        posts, whole, local = PartitionSpec(BATCH), PartitionSpec(), batch
        batch = jax.shard_map(
            lambda *part: lax.psum(local(*part), BATCH),
            mesh=mesh,
            in_specs=(whole, posts, posts, posts, whole),
            out_specs=whole,
        )
    gram, by_hashtag, counts, bad = batch(sums.shift, features, labels, valid, weights)
    return Sums(
        sums.shift,
        _add(sums.gram, gram),
        _add(sums.by_hashtag, by_hashtag),
        sums.counts + counts,
        sums.bad + bad,
    )


def _batch_sums(
    shift: jax.Array, features: jax.Array, labels: jax.Array, valid: jax.Array, weights: Any, hashtags: int
) -> tuple:
    """What a batch adds to `gram`, `by_hashtag`, `counts` and `bad`."""
    real = (labels >= 0) & (labels < hashtags) & valid[:, None]
    known = real.any(1)
    bad = known & ~jnp.isfinite(features).all(1)
    x = jnp.where(known[:, None], features.astype(jnp.float32) - shift, 0)
    weighted = x
    if weights is not None:
        weighted = x * jnp.where(real, weights[jnp.clip(labels, 0, hashtags - 1)], 0).sum(1, keepdims=True)
    elif labels.shape[1] > 1:  # one hashtag each: the weight is 1, or x is 0
        weighted = x * real.sum(1, keepdims=True, dtype=jnp.int32)
    gram = lax.dot_general(weighted, x, (((0,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)
    place = jnp.where(real, labels, hashtags)  # one past the end is dropped
    by_hashtag = jnp.zeros((hashtags, x.shape[1]), jnp.float32)
    for column in place.T:  # few; a sum by hashtag, not a product with ones, whose cost grows with the hashtags
        by_hashtag += jax.ops.segment_sum(x, column, hashtags)
    counts = jnp.zeros(hashtags, jnp.int32).at[place].add(1, mode="drop")
    return gram, by_hashtag, counts, bad.sum(dtype=jnp.int32)


def _add(pair: Pair, new: jax.Array) -> Pair:
    """The sum, and exactly what it rounded away (Knuth's two-sum)."""
    total = pair.total + new
    taken = total - pair.total
    return Pair(total, pair.rest + ((pair.total - (total - taken)) + (new - taken)))


@dataclass(frozen=True)
class Moments:
    """Sums of features on the host, float64.

    Attributes:
      shift: the point c that they are about `[p]`.
      gram: Σ (x − c)(x − c)ᵀ over pairs `[p, p]`.
      by_hashtag: Σ (x − c) over the pairs of each hashtag `[n, p]`.
      counts: pairs of each hashtag, int64 `[n]`; where hashtags have weights, times those, float64.
    """

    shift: np.ndarray
    gram: np.ndarray
    by_hashtag: np.ndarray
    counts: np.ndarray

    @property
    def pairs(self) -> float:
        """How many (post, hashtag) pairs, or their weights' sum."""
        return self.counts.sum()

    @property
    def mean(self) -> np.ndarray:
        """Of the features over pairs `[p]`."""
        return self.shift + self.by_hashtag.sum(0) / self.pairs

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviations of the features over pairs `[p]`; 1 for a feature that never changes."""
        second = np.diagonal(self.gram) / self.pairs
        variance = second - (self.by_hashtag.sum(0) / self.pairs) ** 2
        # Of a constant feature, the shift's own rounding is all there is of `second`.
        return np.sqrt(np.where(variance > 1e-6 * second, variance, 1))

    @property
    def covariance(self) -> np.ndarray:
        """Of the features over pairs `[p, p]`; divided by their number."""
        total = self.by_hashtag.sum(0) / self.pairs
        return self.gram / self.pairs - np.outer(total, total)

    @property
    def means(self) -> np.ndarray:
        """Of the features over the pairs of each hashtag `[n, p]`; NaN for a hashtag without any."""
        with np.errstate(invalid="ignore"):
            return self.shift + self.by_hashtag / self.counts[:, None]

    def about(self, point: np.ndarray) -> "Moments":
        """The same sums about another point `[p]`: of x − c + δ, with δ = c − point."""
        delta, total = self.shift - point, self.by_hashtag.sum(0)
        cross = np.outer(total, delta)
        gram = self.gram + cross + cross.T + self.pairs * np.outer(delta, delta)
        return Moments(np.asarray(point), gram, self.by_hashtag + np.outer(self.counts, delta), self.counts)

    def __add__(self, other: "Moments") -> "Moments":
        """Of both sets of posts, about the first's point."""
        same = other.about(self.shift)
        return Moments(self.shift, self.gram + same.gram, self.by_hashtag + same.by_hashtag, self.counts + same.counts)

    def only(self, labels: np.ndarray) -> "Moments":
        """With the hashtags `labels` alone, in that order, where the posts have no others.

        Raises:
          ValueError: another hashtag has posts, which are in `gram` too.
        """
        if self.counts[labels].sum() != self.counts.sum():
            raise ValueError("posts of other hashtags are among the sums")
        return Moments(self.shift, self.gram, self.by_hashtag[labels], self.counts[labels])


def finish(sums: Sums, what: str = "the features", weights: np.ndarray | None = None) -> Moments:
    """The sums on the host.

    Args:
      sums: from `accumulate`.
      what: names the features in an error.
      weights: of each hashtag's pairs `[n]`, as `accumulate` had them.

    Raises:
      JaxtagError: some are NaN or infinite, too large to be squared, or no post was counted.
    """
    host = jax.device_get(sums)
    bad, pairs = int(host.bad), int(host.counts.sum(dtype=np.int64))
    if bad:
        raise JaxtagError(
            f"{what} of {bad} posts are NaN or infinite", "choose features that are finite for every post"
        )
    if not pairs:
        raise JaxtagError(f"no post with a seen hashtag has {what}", "choose hashtags that have posts to learn from")
    shift, gram, by_hashtag = (
        np.sum([np.asarray(x, np.float64) for x in parts], 0) for parts in ([host.shift], host.gram, host.by_hashtag)
    )
    if not (np.isfinite(gram).all() and np.isfinite(by_hashtag).all()):
        raise JaxtagError(f"{what} are too large for sums of their squares in float32", "scale them down")
    counts = host.counts.astype(np.int64)
    if weights is not None:
        weights = np.asarray(weights, np.float64)
        by_hashtag, counts = by_hashtag * weights[:, None], counts * weights
    return Moments(shift, gram, by_hashtag, counts)
