"""zsl/cnn: convolutions over words, two hidden layers, softmax (SYSTEMS 1.5)."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax

from jaxtag.layers.convolution import ConvolutionBank
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import Dense


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      windows, filters: of the convolutions; `filters` of each window.
      activation: of the convolutions.
      pool: over time, each filter's greatest value (`max`), or `flatten`, the values at the first `length` words.
      length: words that `flatten` takes.
      hidden: widths of the layers between the filters and the hashtags.
      dropout: rate after each hidden layer.
    """

    embedding: int = 150
    trainable: bool = True
    windows: tuple[int, ...] = (3, 5, 7)
    filters: int = 32
    activation: str = "softplus"
    pool: Literal["max", "flatten"] = "max"
    length: int = 40
    hidden: tuple[int, ...] = (1024, 256)
    dropout: float = 0.5


class Model(nn.Module):
    """Words to scores over hashtags; `features` is the last hidden layer."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.bank = ConvolutionBank(s.windows, s.filters, s.activation, s.pool, s.length)
        self.layers = [Dense(width) for width in s.hidden]
        self.head = SoftmaxHead(self.hashtags, s.hidden[-1])

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, hidden[-1]]`; dropout at `rate` when there are keys `[B]`."""
        x = self.bank(*self.word_table(batch["tokens"]))
        for layer, own in zip(self.layers, split(keys, len(self.layers)), strict=True):
            x = dropout(nn.relu(layer(x)), rate, own)
        return x

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
