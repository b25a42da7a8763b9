"""zsl/transformer: the encoder of Vaswani et al. (2017) over words, softmax (SYSTEMS 1.8)."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax

from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import Dense
from jaxtag.layers.pooling import pool, pooled_width
from jaxtag.layers.transformer import TransformerStack, sinusoids


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector, projected to `width`.
      trainable: whether word vectors learn.
      layers, width, heads, inner: of the encoder; `inner` is the feed-forward layers' width.
      remat: whether a layer's inner values are computed again for the gradient, which saves memory.
      unroll: whether the program has every layer written out, which runs faster and compiles longer than a loop.
      pool: how states become one vector: their `mean`, the `first` word's, or `flatten`, those of the first
        `length` words side by side; the paper does not say.
      length: words that `flatten` takes.
      dropout: rate on the encoder's input and on what every sub-layer gives.
    """

    embedding: int = 150
    trainable: bool = True
    layers: int = 6
    width: int = 512
    heads: int = 8
    inner: int = 2048
    remat: bool = False
    unroll: bool = False
    pool: Literal["mean", "first", "flatten"] = "mean"
    length: int = 40
    dropout: float = 0.1


class Model(nn.Module):
    """Words to scores over hashtags; `features` is the pooled state."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.projection = Dense(s.width)
        self.encoder = TransformerStack(s.layers, s.width, s.heads, s.inner, remat=s.remat, unroll=s.unroll)
        self.head = SoftmaxHead(self.hashtags, pooled_width(s.pool, s.width, s.length))

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, width]`, or `[B, length · width]`; dropout at `rate` when there are keys `[B]`."""
        s = self.settings
        before, within = split(keys, 2)
        vectors, mask = self.word_table(batch["tokens"])
        x = self.projection(vectors) * s.width**0.5 + sinusoids(vectors.shape[1], s.width).astype(vectors.dtype)
        states = self.encoder(dropout(x, rate, before), mask, rate, within)
        return pool(states, mask, s.pool, s.length)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
