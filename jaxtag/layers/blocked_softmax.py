"""The cross-entropy of a softmax head over very many hashtags, without ever holding the scores of a whole batch.

The plain way holds `[B, L]` several times: scores, their exponentials, their gradient. For 1,024 posts and 100,000
hashtags that is 1.2 GB, three times the table itself. Here posts come in blocks: a block's scores `[posts, L]` are
computed once, their normaliser is taken, and then, a slice of hashtags after the other, their gradient is made and
multiplied at once with features and table. The table's gradient is added to in place. All of that happens on the way
forward, since the gradient of a sum is known before its value is; nothing is computed twice, and nothing but the
gradients is kept for the way back.

    loss_i = −(1 − s) Σ_{l∈G_i} log p_il − s |G_i| mean_l log p_il
    ∂loss_i / ∂score_il = |G_i| p_il − (1 − s) [l ∈ G_i] − s |G_i| / |allowed|
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec

WIDTH = 4096  # hashtags of a slice: `[posts, WIDTH]` and `[WIDTH, features]` stay near the processor's cache


@dataclass(frozen=True)
class Blocks:
    """How posts are taken.

    Attributes:
      posts: of a block.
      width: hashtags of a slice.
      mesh: over whose axes `axes` posts are spread, each device taking blocks of its own; None on one device.
      axes: of the mesh.
    """

    posts: int
    width: int = WIDTH
    mesh: Mesh | None = None
    axes: tuple[str, ...] = ()


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def summed_pairs(
    blocks: Blocks, x: jax.Array, kernel: jax.Array, bias: jax.Array, labels: jax.Array, allowed: jax.Array,
    smoothing: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """The sums over posts of what `jaxtag.training.objectives.pairs` gives of the scores x W + b.

    Args:
      blocks: how posts are taken.
      x: features `[B, d]`.
      kernel, bias: W `[d, L]` and b `[L]`.
      labels: `[B, H]` int32, −1 padded; those that are not allowed do not count.
      allowed: `[L]` bool.
      smoothing: share of each pair's target spread evenly over the allowed hashtags.

    Returns:
      Loss and weight, scalars; a gradient has the loss alone, towards x, W and b.
    """
    return _forward(blocks, x, kernel, bias, labels, allowed, smoothing)[0]


def _forward(blocks: Blocks, x: jax.Array, *rest: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Any]:
    if blocks.mesh is None:
        loss, weight, *grads = _local(blocks, x, *rest)
        return (loss, weight), tuple(grads)
    posts, whole = PartitionSpec(blocks.axes), PartitionSpec()

    def own(*given: jax.Array) -> Any:
        loss, weight, dx, dkernel, dbias = _local(blocks, *given)
        return (
            *(lax.psum(s, blocks.axes) for s in (loss, weight)),
            dx,
            *(lax.psum(s, blocks.axes) for s in (dkernel, dbias)),
        )

    spread = jax.shard_map(
        own, mesh=blocks.mesh, in_specs=(posts, whole, whole, posts, whole, whole),
        out_specs=(whole, whole, posts, whole, whole), check_vma=False,
    )  # fmt: skip
    loss, weight, *grads = spread(x, *rest)
    return (loss, weight), tuple(grads)


def _backward(blocks: Blocks, grads: Any, towards: tuple[jax.Array, jax.Array]) -> tuple:
    dx, dkernel, dbias = (towards[0].astype(g.dtype) * g for g in grads)
    return dx, dkernel, dbias, None, None, None


summed_pairs.defvjp(_forward, _backward)


def _local(
    blocks: Blocks, x: jax.Array, kernel: jax.Array, bias: jax.Array, labels: jax.Array, allowed: jax.Array,
    smoothing: jax.Array,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """Loss, weight, and gradients towards x, W and b, of the posts of one device."""
    posts, width = min(blocks.posts, len(x)), min(blocks.width, kernel.shape[1])
    short = -len(x) % posts  # posts without hashtags fill the last block: their weight is 0
    masked = jnp.where(allowed, bias.astype(jnp.float32), -jnp.inf)
    padded, known = jnp.pad(x, ((0, short), (0, 0))), jnp.pad(labels, ((0, short), (0, 0)), constant_values=-1)

    def block(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        loss, weight, dx, dkernel, dbias = carry
        own = lax.dynamic_slice_in_dim(padded, i * posts, posts)
        gold = lax.dynamic_slice_in_dim(known, i * posts, posts)
        real = (gold >= 0) & allowed[jnp.maximum(gold, 0)]
        products = jnp.matmul(own, kernel, preferred_element_type=jnp.float32)
        part = _Part(own, products, gold, real, kernel, masked, smoothing, width)
        total, even = part.normalised()
        reached = part.scores_of_gold() - total[:, None]
        loss = loss - (1 - smoothing) * jnp.where(real, reached, 0).sum() - smoothing * (part.count * even).sum()
        towards, dkernel, dbias = part.gradients(total, dkernel, dbias)
        dx = lax.dynamic_update_slice_in_dim(dx, towards.astype(dx.dtype), i * posts, 0)
        return loss, weight + part.count.sum(), dx, dkernel, dbias

    zero = jnp.float32(0)
    sums = (jnp.zeros(part.shape, jnp.float32) for part in (kernel, bias))
    start = (zero, zero, jnp.zeros_like(padded), *sums)
    loss, weight, dx, dkernel, dbias = lax.fori_loop(0, len(padded) // posts, block, start)
    return loss, weight, dx[: len(x)], dkernel.astype(kernel.dtype), dbias.astype(bias.dtype)


@dataclass(frozen=True)
class _Part:
    """A block of posts; all that is done with its products x W `[posts, L]` is done slice by slice."""

    x: jax.Array
    products: jax.Array
    gold: jax.Array
    real: jax.Array
    kernel: jax.Array
    masked: jax.Array  # the bias, −inf where a hashtag is not allowed
    smoothing: jax.Array
    width: int

    @property
    def count(self) -> jax.Array:
        """Pairs of each post."""
        return self.real.sum(axis=1).astype(jnp.float32)

    def scores_of_gold(self) -> jax.Array:
        """The scores of each post's own hashtags `[posts, H]`; of what is not real, something."""
        gold = jnp.maximum(self.gold, 0)
        return jnp.take_along_axis(self.products, gold, 1) + self.masked[gold]

    def normalised(self) -> tuple[jax.Array, jax.Array]:
        """log Σ_l exp(score_l), and the mean over allowed hashtags of log p_l: each `[posts]`."""

        def add(j: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            most, total, plain = carry
            _, scores = self._scores(j)
            higher = jnp.maximum(most, scores.max(axis=1))
            total = total * jnp.exp(most - higher) + jnp.exp(scores - higher[:, None]).sum(axis=1)
            return higher, total, plain + jnp.where(jnp.isfinite(scores), scores, 0).sum(axis=1)

        zeros = jnp.zeros(len(self.x), jnp.float32)
        start = (zeros + jnp.finfo(jnp.float32).min, zeros, zeros)
        most, total, plain = lax.fori_loop(0, self._slices, add, start)
        total = most + jnp.log(total)
        return total, plain / jnp.isfinite(self.masked).sum() - total

    def gradients(self, total: jax.Array, dkernel: jax.Array, dbias: jax.Array) -> tuple[jax.Array, ...]:
        """∂x of the block, and ∂W and ∂b with what the block adds; `total` is of `normalised`."""
        rows, pairs = jnp.arange(len(self.x))[:, None], self.count[:, None]
        evenly = self.smoothing / jnp.isfinite(self.masked).sum()

        def add(j: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            dx, dkernel, dbias = carry
            at, scores = self._scores(j)
            g = pairs * (jnp.exp(scores - total[:, None]) - evenly * jnp.isfinite(scores))
            here = self.real & (self.gold >= j * self.width) & (self.gold < at + self.width)
            place = jnp.where(here, self.gold - at, self.width)
            g = g.at[rows, place].add(self.smoothing - 1, mode="drop")
            low = g.astype(self.x.dtype)
            dx = dx + _product(low, self._cut(self.kernel, at), 1)
            dkernel = self._put(dkernel, _product(self.x, low, 0), at)
            return dx, dkernel, self._put(dbias, g.sum(axis=0), at)

        return lax.fori_loop(0, self._slices, add, (jnp.zeros(self.x.shape, jnp.float32), dkernel, dbias))

    @property
    def _slices(self) -> int:
        return -(-len(self.masked) // self.width)

    def _scores(self, j: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where slice j begins, and its scores; the last one overlaps the one before, and is −inf there."""
        at = jnp.minimum(j * self.width, len(self.masked) - self.width)
        scores = self._cut(self.products, at) + self._cut(self.masked, at)
        return at, jnp.where(at + jnp.arange(self.width) >= j * self.width, scores, -jnp.inf)

    def _cut(self, x: jax.Array, at: jax.Array) -> jax.Array:
        return lax.dynamic_slice_in_dim(x, at, self.width, x.ndim - 1)

    def _put(self, sums: jax.Array, more: jax.Array, at: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice_in_dim(sums, self._cut(sums, at) + more, at, sums.ndim - 1)


def _product(a: jax.Array, b: jax.Array, axis: int) -> jax.Array:
    """The sum over `axis` of both, in float32."""
    return lax.dot_general(a, b, (((axis,), (axis,)), ((), ())), preferred_element_type=jnp.float32)
