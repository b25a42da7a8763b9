"""Transformer layers with normalisation after each sub-layer, and a stack of them with stacked parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.layers.attention import MultiHeadAttention
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.parameters import Dense, constants, zeros

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "gelu": partial(nn.gelu, approximate=False),
}


def sinusoids(length: int, width: int) -> np.ndarray:
    """Positions `[length, width]`: PE(t, 2i) = sin(t / 10000^{2i / width}), PE(t, 2i + 1) its cosine."""
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, -1)[:, :width].astype(np.float32)


class LayerNorm(nn.Module):
    """(x − mean) / √(variance + eps) over the last axis, in float32, times a scale, plus a bias.

    Attributes:
      eps: under the root.
    """

    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., d]` to `[..., d]`."""
        scale = constants(self, "scale", x.shape[-1], "embed", 1.0)
        bias = zeros(self, "bias", x.shape[-1], "embed")
        wide = x.astype(jnp.float32)
        wide = wide - wide.mean(axis=-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.square(wide).mean(axis=-1, keepdims=True) + self.eps)
        return wide.astype(x.dtype) * scale + bias


class AttentionBlock(nn.Module):
    """LN(x + dropout(attention(x, context))): to itself or to another sequence; used twice, its weights are shared.

    Attributes:
      width, heads, drop_weights, spread: as `MultiHeadAttention`.
      eps: of the normalisation.
    """

    width: int
    heads: int
    eps: float = 1e-5
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
        """`x [B, T, d]`, `context [B, S, e]` or None for `x`, and the context's mask `[B, S]` to `[B, T, d]`.

        With `weigh`, the attention's weights `[B, T, S]` instead.
        """
        inner, outer = split(keys, 2)
        attention = MultiHeadAttention(self.width, self.heads, self.drop_weights, self.spread, name="attention")
        if weigh:
            return attention(x, context, mask, rate, None, weigh)
        return LayerNorm(self.eps, name="norm")(x + dropout(attention(x, context, mask, rate, inner), rate, outer))


class FeedForward(nn.Module):
    """LN(x + dropout(W_2 φ(W_1 x + b_1) + b_2)).

    Attributes:
      width: rows of W_1.
      activation: φ, of `ACTIVATIONS`.
      eps: of the normalisation.
      spread: of the kernels, as `Dense`.
    """

    width: int
    activation: str = "relu"
    eps: float = 1e-5
    spread: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """`[B, T, d]` to `[B, T, d]`."""
        hidden = ACTIVATIONS[self.activation](Dense(self.width, self.spread, name="wide")(x))
        narrow = Dense(x.shape[-1], self.spread, narrows=True, name="narrow")(hidden)
        return LayerNorm(self.eps, name="norm")(x + dropout(narrow, rate, keys))


class TransformerLayer(nn.Module):
    """Self-attention, then the feed-forward layer, each followed by its residual and normalisation.

    Attributes:
      width, heads, drop_weights: of the attention.
      inner: width of the feed-forward layer.
      activation: in it.
      eps: of the normalisations.
      spread: of all kernels, as `Dense`.
    """

    width: int
    heads: int
    inner: int
    activation: str = "relu"
    eps: float = 1e-5
    drop_weights: bool = False
    spread: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """`x [B, T, d]` and mask `[B, T]` to `[B, T, d]`; dropout at `rate` when there are keys `[B]`."""
        first, second = split(keys, 2)
        block = AttentionBlock(self.width, self.heads, self.eps, self.drop_weights, self.spread, name="self_attention")
        return FeedForward(self.inner, self.activation, self.eps, self.spread, name="feed_forward")(
            block(x, None, mask, rate, first), rate, second
        )


def over_layers(one: Callable[..., Any], layers: int, remat: bool, unroll: bool) -> Any:
    """`one(layer, carry, x) -> (carry, None)` over `layers` layers of one shape; arguments as `TransformerStack`'s."""
    return nn.scan(
        nn.remat(one, prevent_cse=False) if remat else one,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        length=layers,
        unroll=layers if unroll else 1,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )


class TransformerStack(nn.Module):
    """Layers of one shape, one after the other: parameters have a leading axis of layers.

    Attributes:
      layers: how many.
      width, heads, inner, activation, eps, drop_weights, spread: of each, as `TransformerLayer`.
      remat: whether a layer's inner values are computed again for the gradient instead of being kept.
      unroll: whether the program has each layer written out instead of a loop over them. Parameters are the same,
        and numbers, rounding aside. The loop copies each layer's weights out of the stack, forwards and backwards,
        which costs a short batch most; written out, the program takes longer to compile.
    """

    layers: int
    width: int
    heads: int
    inner: int
    activation: str = "relu"
    eps: float = 1e-5
    drop_weights: bool = False
    remat: bool = False
    unroll: bool = False
    spread: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """`x [B, T, d]` and mask `[B, T]` to `[B, T, d]`; dropout at `rate` when there are keys `[B]`."""
        streams = None if keys is None else split(keys, self.layers)
        layer = TransformerLayer(
            self.width, self.heads, self.inner, self.activation, self.eps, self.drop_weights, self.spread, name="layers"
        )

        def one(layer: Any, x: jax.Array, keys: jax.Array | None) -> tuple[jax.Array, None]:
            return layer(x, mask, rate, keys), None

        return over_layers(one, self.layers, self.remat, self.unroll)(layer, x, streams)[0]
