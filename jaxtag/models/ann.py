"""zsl/ann: the mean of a post's word vectors, one hidden layer, softmax (SYSTEMS 1.4)."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import Dense
from jaxtag.layers.pooling import pool


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      pool: how words become one vector: their `mean`, or `flatten`, the first `length` side by side; the paper
        does not say.
      length: words that `flatten` takes; what a post has beyond them is not seen.
      hidden: width of the hidden layer, whose activation is tanh.
      dropout: rate after it.
    """

    embedding: int = 150
    trainable: bool = True
    pool: Literal["mean", "flatten"] = "mean"
    length: int = 40
    hidden: int = 1024
    dropout: float = 0.5


class Model(nn.Module):
    """Words to scores over hashtags; `features` is the hidden layer."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.hidden = Dense(s.hidden)
        self.head = SoftmaxHead(self.hashtags, s.hidden)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, hidden]`; dropout at `rate` when there are keys `[B]`."""
        pooled = pool(*self.word_table(batch["tokens"]), self.settings.pool, self.settings.length)
        return dropout(jnp.tanh(self.hidden(pooled)), rate, keys)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
