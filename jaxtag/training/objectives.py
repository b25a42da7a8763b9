"""Objectives: a loss and a weight per post. The step sums both and divides once, by the global weight.

Because nothing is averaged on the way, splitting a batch over devices, hosts or accumulation steps
changes nothing but the order of additions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Objective:
    """What training minimises.

    Attributes:
      loss: of logits, labels, allowed hashtags and smoothing to a loss and a weight per post.
      couples: a post's loss depends on the other posts of its batch, so that the batch cannot be divided.
    """

    loss: Loss
    couples: bool = False

    def __call__(
        self, logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Loss `[B]` and weight `[B]`."""
        return self.loss(logits, labels, allowed, smoothing)


def log_probabilities(logits: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-softmax of `logits [B, L]` over the hashtags that `allowed [L]` holds; −inf elsewhere."""
    return jax.nn.log_softmax(jnp.where(allowed, logits, -jnp.inf), axis=-1)


def pairs(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy over (post, hashtag) pairs: −Σ_{l∈G} log p_l, weight |G| (SYSTEMS 6, `ce_multi`).

    Args:
      logits: `[B, L]`.
      labels: `[B, H]` int32, −1 padded; those that are not allowed do not count.
      allowed: `[L]` bool.
      smoothing: share of each pair's target spread evenly over the allowed hashtags.

    Returns:
      Loss `[B]` and weight `[B]`, float32.
    """
    logp = log_probabilities(logits.astype(jnp.float32), allowed)
    known = jnp.maximum(labels, 0)
    real = (labels >= 0) & allowed[known]
    gold = jnp.where(real, jnp.take_along_axis(logp, known, axis=1), 0).sum(axis=1)
    weight = real.sum(axis=1).astype(jnp.float32)
    even = jnp.where(allowed, logp, 0).sum(axis=1) / allowed.sum()
    return -(1 - smoothing) * gold - smoothing * weight * even, weight


def single(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Categorical cross-entropy of each post's first hashtag, weight 1 (SYSTEMS 1.3); arguments as `pairs`."""
    return pairs(logits, labels[:, :1], allowed, smoothing)


OBJECTIVES: dict[str, Objective] = {"pairs": Objective(pairs), "single": Objective(single)}
