"""Attention that pools a sequence into one vector."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.parameters import Dense, glorot


def masked_softmax(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the last axis where `mask` holds; a row without any real place is all zeros.

    Args:
      scores: `[..., T]`.
      mask: `[..., T]` bool.

    Returns:
      `[..., T]`, non-negative, summing to 1 over real places.
    """
    scores = jnp.where(mask, scores, -jnp.inf)
    top = jnp.max(scores, axis=-1, keepdims=True)
    weights = jnp.where(mask, jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0)), 0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


class AdditiveAttention(nn.Module):
    """Pools states by e_t = vᵀ tanh(W h_t + b), α = masked softmax(e), Σ_t α_t h_t (SYSTEMS 1.7).

    Attributes:
      width: rows of W.
      form: `softmax`, or `sigmoid`: independent weights σ(e_t) in 0 … 1, summed as they are.
    """

    width: int
    form: str = "softmax"

    @nn.compact
    def __call__(self, states: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States `[B, T, d]` and mask `[B, T]` to the pooled `[B, d]` and the weights `[B, T]`."""
        hidden = Dense(self.width, name="hidden")(states)
        v = glorot(self, "v", (self.width, 1), ("hidden", "scalar"))
        scores = (jnp.tanh(hidden) @ v)[..., 0]
        weights = nn.sigmoid(scores) * mask if self.form == "sigmoid" else masked_softmax(scores, mask)
        return jnp.einsum("bt,btd->bd", weights, states), weights
