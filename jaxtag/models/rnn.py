"""zsl/rnn: two GRUs over words, the second one's last state, softmax (SYSTEMS 1.6)."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax

from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.recurrent import GRU


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      width: of both GRUs' states.
      activation: of the GRUs' candidates; the paper's search chose relu.
      dropout: rate on the word vectors and on the last state.
    """

    embedding: int = 150
    trainable: bool = True
    width: int = 1024
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.5


class Model(nn.Module):
    """Words to scores over hashtags; `features`, the last state, is what zero-shot methods start from."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.first = GRU(s.width, s.activation)
        self.second = GRU(s.width, s.activation)
        self.head = SoftmaxHead(self.hashtags, s.width)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, width]`; dropout at `rate` when there are keys `[B]`."""
        before, after = split(keys, 2)
        x, mask = self.word_table(batch["tokens"])
        states, _ = self.first(dropout(x, rate, before), mask)
        _, last = self.second(states, mask)
        return dropout(last, rate, after)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
