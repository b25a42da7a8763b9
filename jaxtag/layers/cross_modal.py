"""Text and an image's objects: how each becomes vectors, and layers in which they read each other (SYSTEMS 3.2)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.parameters import Dense, drawn
from jaxtag.layers.transformer import AttentionBlock, FeedForward, LayerNorm, over_layers

TYPES = 2  # kinds of words that BERT tells apart; posts have one
Pair = tuple[jax.Array, jax.Array]


class TextEmbedding(nn.Module):
    """dropout(LN(word + place + type)), as BERT's.

    The rows of index 0 of the three tables get no gradient, as in the released code: the padding's, and with it the
    first place's and the only type's.

    Attributes:
      words: rows of the word table; 0 is padding.
      places: longest text, in words.
      width: of a vector.
      eps: of the normalisation.
      spread: standard deviation of the tables at first.
    """

    words: int
    places: int
    width: int
    eps: float
    spread: float

    @nn.compact
    def __call__(self, ids: jax.Array, rate: jax.Array, keys: jax.Array | None) -> Pair:
        """Word ids `[B, T]` to `[B, T, width]` and the mask of real words `[B, T]`.

        Raises:
          ValueError: T is more than `places`.
        """
        if ids.shape[1] > self.places:
            raise ValueError(f"texts of {ids.shape[1]} words, places for {self.places}")
        words = drawn(self, "words", (self.words, self.width), ("words", "embed"), self.spread)
        places = drawn(self, "places", (self.places, self.width), ("words", "embed"), self.spread)
        types = drawn(self, "types", (TYPES, self.width), ("types", "embed"), self.spread)
        fixed = jax.lax.stop_gradient
        mask = ids != 0
        x = jnp.where(mask[..., None], jnp.take(words, ids, axis=0, mode="clip"), fixed(words[0]))
        x = x + jnp.concatenate([fixed(places[:1]), places[1 : ids.shape[1]]]) + fixed(types[0])
        return dropout(LayerNorm(self.eps, name="norm")(x), rate, keys), mask


class ObjectEmbedding(nn.Module):
    """dropout((LN(W_F f + b_F) + LN(W_P p + b_P)) / 2) of an object's features f and its box p; their order is nothing.

    Attributes:
      width: of a vector.
      eps: of the normalisations.
      spread: standard deviation of W_F and W_P at first.
    """

    width: int
    eps: float
    spread: float

    @nn.compact
    def __call__(
        self, features: jax.Array, boxes: jax.Array, mask: jax.Array, rate: jax.Array, keys: jax.Array | None
    ) -> jax.Array:
        """Features `[B, R, F]`, boxes `[B, R, 4]` in 0 … 1 and the mask of real objects `[B, R]` to `[B, R, width]`.

        What stands in the place of a missing object is not read.
        """
        made = []
        for name, given in (("features", features), ("boxes", boxes)):
            given = jnp.where(mask[..., None], given, 0).astype(boxes.dtype)
            projected = Dense(self.width, self.spread, name=name)(given)
            made.append(LayerNorm(self.eps, name=f"{name}_norm")(projected))
        return dropout((made[0] + made[1]) / 2, rate, keys)


class CrossModalLayer(nn.Module):
    """Words and objects read each other, then each their own kind, then a feed-forward layer each.

    Reading each other is one attention, with one set of parameters for both directions, and both directions read what
    the layer was given: ĥ = LN(h + att(h, v)), v̂ = LN(v + att(v, h)).

    Attributes:
      width, heads, inner, activation, eps, drop_weights, spread: as `jaxtag.layers.transformer.TransformerLayer`.
    """

    width: int
    heads: int
    inner: int
    activation: str
    eps: float
    drop_weights: bool
    spread: float

    def setup(self) -> None:
        """Declare the blocks."""
        block = partial(AttentionBlock, self.width, self.heads, self.eps, self.drop_weights, self.spread)
        forward = partial(FeedForward, self.inner, self.activation, self.eps, self.spread)
        self.cross_attention = block()
        self.language_attention, self.vision_attention = block(), block()
        self.language_forward, self.vision_forward = forward(), forward()

    def __call__(
        self, language: jax.Array, vision: jax.Array, masks: Pair, rate: jax.Array, keys: jax.Array | None
    ) -> Pair:
        """Words `[B, T, d]`, objects `[B, R, d]` and their masks `[B, T]`, `[B, R]` to both anew."""
        k, (words, objects) = split(keys, 6), masks
        h = self.cross_attention(language, vision, objects, rate, k[0])
        v = self.cross_attention(vision, language, words, rate, k[1])
        h = self.language_attention(h, None, words, rate, k[2])
        v = self.vision_attention(v, None, objects, rate, k[3])
        return self.language_forward(h, rate, k[4]), self.vision_forward(v, rate, k[5])

    def first(
        self, language: jax.Array, vision: jax.Array, masks: Pair, rate: jax.Array, keys: jax.Array | None
    ) -> jax.Array:
        """The first word `[B, 1, d]` as `__call__` has it; what it does not depend on is not computed."""
        k, (words, objects) = split(keys, 6), masks
        h = self.cross_attention(language, vision, objects, rate, k[0])
        h = self.language_attention(h[:, :1], h, words, rate, k[2])
        return self.language_forward(h, rate, k[4])

    def looked(self, language: jax.Array, vision: jax.Array, objects: jax.Array) -> jax.Array:
        """How much the first word reads of each object, `[B, R]`, a mean over the heads."""
        return self.cross_attention(language[:, :1], vision, objects, jnp.float32(0), None, weigh=True)[:, 0]


class CrossModalStack(nn.Module):
    """`CrossModalLayer`s, one after the other; the last has parameters of its own, the others a leading axis of layers.

    A head that reads the first word needs little of the last layer, so it stands beside the loop over the others.

    Attributes:
      layers: how many, at least one.
      width, heads, inner, activation, eps, drop_weights, spread: of each.
      remat, unroll: as `jaxtag.layers.transformer.TransformerStack`, of all but the last.
    """

    layers: int
    width: int
    heads: int
    inner: int
    activation: str
    eps: float
    drop_weights: bool
    spread: float
    remat: bool = False
    unroll: bool = False

    @nn.compact
    def __call__(
        self,
        language: jax.Array,
        vision: jax.Array,
        masks: Pair,
        rate: jax.Array,
        keys: jax.Array | None,
        whole: bool = True,
        looked: bool = False,
    ) -> Any:
        """As `CrossModalLayer`; without `whole`, of words the first alone `[B, 1, d]`, of objects nothing new.

        With `looked`, how much the first word reads of each object in the last layer instead, `[B, R]`.
        """
        sizes = (self.width, self.heads, self.inner, self.activation, self.eps, self.drop_weights, self.spread)
        streams: Any = split(keys, self.layers)

        def one(layer: Any, pair: Pair, keys: jax.Array | None) -> tuple[Pair, None]:
            return layer(*pair, masks, rate, keys), None

        if self.layers > 1:
            scanned = over_layers(one, self.layers - 1, self.remat, self.unroll)
            layer = CrossModalLayer(*sizes, name="layers")
            (language, vision), _ = scanned(layer, (language, vision), None if keys is None else streams[:-1])
        last = CrossModalLayer(*sizes, name="last")
        if looked:
            return last.looked(language, vision, masks[1])
        if whole or self.is_initializing():  # which declares all parameters
            return last(language, vision, masks, rate, streams[-1])
        return last.first(language, vision, masks, rate, streams[-1]), vision
