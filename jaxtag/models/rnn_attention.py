"""zsl/rnn_attention: a GRU over words, attention over its states, softmax (SYSTEMS 1.7)."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.attention import AdditiveAttention
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.recurrent import GRU


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      width: of the GRU's state and of the attention's hidden layer.
      activation: of the GRU's candidate; the paper's search chose relu.
      attention: `softmax` over the words, or `sigmoid`, one independent weight a word.
      dropout: rate on the word vectors and on the pooled state.
    """

    embedding: int = 150
    trainable: bool = True
    width: int = 1024
    activation: Literal["relu", "tanh"] = "relu"
    attention: Literal["softmax", "sigmoid"] = "softmax"
    dropout: float = 0.5


class Model(nn.Module):
    """Words to scores over hashtags; `features` is the pooled state."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.gru = GRU(s.width, s.activation)
        self.attention = AdditiveAttention(s.width, s.attention)
        self.head = SoftmaxHead(self.hashtags, s.width)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, width]`; dropout at `rate` when there are keys `[B]`."""
        before, after = split(keys, 2)
        return dropout(self._attended(batch, rate, before)[0], rate, after)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Of `tokens`, the weight of the state at each word `[B, 1, T]`."""
        return {"tokens": self._attended(batch, jnp.float32(0), None)[1][:, None]}

    def _attended(
        self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """The pooled state `[B, width]`, and the weights `[B, T]`."""
        x, mask = self.word_table(batch["tokens"])
        states, _ = self.gru(dropout(x, rate, keys), mask)
        return self.attention(states, mask)
