"""Attention: pooling a sequence into one vector, and between sequences in several heads."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.dropout import dropout, places
from jaxtag.layers.packing import by_word, pack, packing_or_none, unpack
from jaxtag.layers.parameters import Dense, drawn, glorot, same, zeros


def masked_softmax(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the last axis where `mask` holds; a row without any real place is all zeros.

    Args:
      scores: `[..., T]`.
      mask: `[..., T]` bool.

    Returns:
      `[..., T]`, non-negative, summing to 1 over real places; computed in float32.
    """
    given, scores = scores.dtype, jnp.where(mask, scores.astype(jnp.float32), -jnp.inf)
    top = jnp.max(scores, axis=-1, keepdims=True)
    weights = jnp.where(mask, jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0)), 0)
    total = weights.sum(axis=-1, keepdims=True)
    return (weights / jnp.where(total > 0, total, 1)).astype(given)


class AdditiveAttention(nn.Module):
    """Pools states by scores e_t, α = masked softmax(e), Σ_t α_t h_t (SYSTEMS 1.7, 6).

    Attributes:
      width: rows of W; 0 for `tanh_scalar`, which has none.
      form: `softmax`, or `sigmoid`: independent weights σ(e_t) in 0 … 1, summed as they are.
      score: `v_tanh`: e_t = vᵀ tanh(W h_t + b), plus U q inside where there is a query q;
        `tanh_scalar`: e_t = tanh(vᵀ h_t + b), with no query.
      plain: of `v_tanh`, whether there is no b, and v is zeros at first: the weights start out equal.
    """

    width: int
    form: str = "softmax"
    score: str = "v_tanh"
    plain: bool = False

    @nn.compact
    def __call__(
        self, states: jax.Array, mask: jax.Array, query: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """States `[B, T, d]`, mask `[B, T]`, query `[B, e]` to the pooled `[B, d]` and the weights `[B, T]`."""
        if self.score == "tanh_scalar":
            v = glorot(self, "v", (states.shape[-1], 1), ("embed", "scalar"))
            scores = jnp.tanh((states @ v)[..., 0] + zeros(self, "bias", 1, "scalar"))
        else:
            packed = packing_or_none(mask)
            dense = Dense(self.width, biased=not self.plain, name="hidden")
            hidden = dense(states if packed is None else pack(states, packed), packed)
            if query is not None:
                u = glorot(self, "query", (query.shape[-1], self.width), ("embed", "hidden"))
                asked = jnp.broadcast_to((query @ u)[:, None], (*mask.shape, self.width))
                hidden = hidden + (asked if packed is None else pack(asked, packed))
            shape, axes = (self.width, 1), ("hidden", "scalar")
            v = same(self, "v", shape, axes, 0.0) if self.plain else glorot(self, "v", shape, axes)
            scores = by_word(lambda v, hidden: jnp.tanh(hidden) @ v, v, hidden, packed)
            scores = (scores if packed is None else unpack(scores, packed))[..., 0]
        weights = nn.sigmoid(scores) * mask if self.form == "sigmoid" else masked_softmax(scores, mask)
        return jnp.einsum("bt,btd->bd", weights, states), weights


class MultiHeadAttention(nn.Module):
    """softmax(Q Kᵀ / √(d/h) + mask) V in h heads, side by side, then W_o (Vaswani et al. 2017, 3.2.2; SYSTEMS 3.2).

    Attributes:
      width: d, of queries, keys, values and of what it gives.
      heads: h, which divides d.
      drop_weights: whether dropout falls on the attention weights, as in BERT; the original has none there.
      spread: of the kernels, as `Dense`.
    """

    width: int
    heads: int
    drop_weights: bool = False
    spread: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        context: jax.Array | None,
        mask: jax.Array,
        rate: jax.Array,
        keys: jax.Array | None,
        weigh: bool = False,
    ) -> jax.Array:
        """From `x [B, T, d]` to `context [B, S, e]`, by default `x` itself, where `mask [B, S]` holds: `[B, T, d]`.

        With `weigh`, the weights instead, means over the heads `[B, T, S]`; zeros where nothing of the context is real.
        """
        names = ("query", "key", "value")
        inputs = {"query": x.shape[-1]} | dict.fromkeys(names[1:], (x if context is None else context).shape[-1])
        axes = ("embed", "hidden")
        w = {n: drawn(self, f"{n}_kernel", (inputs[n], self.width), axes, self.spread) for n in names}
        b = {n: zeros(self, f"{n}_bias", self.width, "hidden") for n in names}

        def project(x: jax.Array, *of: str) -> list[jax.Array]:
            """Several projections as one product, `[B, T, heads, d / heads]` each."""
            # Stacked along an axis of their own, kernels that are split over devices stay where they are.
            made = jnp.tensordot(x, jnp.stack([w[n] for n in of], 1), 1) + jnp.stack([b[n] for n in of])
            return [made[:, :, i].reshape(*x.shape[:2], self.heads, -1) for i in range(len(of))]

        if context is None:
            q, k, v = project(x, *names)
        else:
            (q,), (k, v) = project(x, "query"), project(context, "key", "value")
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (self.width // self.heads) ** -0.5
        scores = scores.astype(jnp.float32) + jnp.where(mask, 0, -1e9)[:, None, None]
        weights = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
        if weigh:
            return weights.mean(1) * mask[:, None]
        if self.drop_weights:
            weights = dropout(weights, rate, places(keys, *weights.shape[1:3]))
        joined = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
        return Dense(self.width, self.spread, narrows=True, name="output")(joined)
