"""hmemn2n/cnn_attention: convolutions over a post, and a channel of its trigger words (Gong & Zhang 2016; SYSTEMS 4.5).

The paper is known here from a digest; what it leaves open was decided so:

- Local channel: a word's score is s_i = tanh(M¹ * w + b), one filter of `window` words about it. Words with
  s_i ≥ η = δ·min s + (1 − δ)·max s, over the post's own words, are triggers: ≥, so that a post whose scores are all
  equal has some. The triggers' vectors are summed, and z = tanh(W z' + b) of that sum.
- Global channel: tanh filters of several windows, each one's greatest value over the words.
- The channels, of different sizes, are brought to one size; the convolution over the two is then a dense layer of both
  side by side, with tanh; dropout; softmax.
- A threshold has no derivative, and its scorer would never learn. `gate` says what is done.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.convolution import ConvolutionBank
from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import Dense

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector, and of both channels.
      trainable: whether word vectors learn.
      window: words that the triggers' filter sees.
      delta: δ; at 0 only the words of greatest score are triggers, at 1 all.
      gate: a word's weight: `straight_through`, 1 or 0, with the derivative of s_i − η for triggers; `hard`, the same
        without a derivative, so that the filter keeps its first values; `relu`, ReLU(s_i − η).
      windows, filters: of the global channel; `filters` of each window.
      dropout: rate before the softmax.
    """

    embedding: int = 300
    trainable: bool = True
    window: int = 5
    delta: float = 0.8
    gate: Literal["straight_through", "hard", "relu"] = "straight_through"
    windows: tuple[int, ...] = (1, 2, 3)
    filters: int = 100
    dropout: float = 0.2


class Model(nn.Module):
    """Words to scores over hashtags; `features` is both channels combined."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.scorer = ConvolutionBank((s.window,), 1, "tanh", "none")
        self.bank = ConvolutionBank(s.windows, s.filters, "tanh")
        self.local, self.all, self.both = Dense(s.embedding), Dense(s.embedding), Dense(s.embedding)
        self.head = SoftmaxHead(self.hashtags, s.embedding)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to `[B, embedding]`; dropout at `rate` when there are keys `[B]`."""
        x, mask = self.word_table(batch["tokens"])
        local = jnp.tanh(self.local(jnp.einsum("bt,btd->bd", self._gates(x, mask), x)))
        both = jnp.concatenate([self.all(self.bank(x, mask)), local], -1)
        return dropout(jnp.tanh(self.both(both)), rate, keys)

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: Batch) -> Batch:
        """Of `tokens`, what part of the local channel a word is: its weight among all `[B, 1, T]`."""
        gates = self._gates(*self.word_table(batch["tokens"]))
        total = gates.sum(-1, keepdims=True)
        return {"tokens": (gates / jnp.where(total > 0, total, 1))[:, None]}

    def _gates(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """The weight of each word in the local channel `[B, T]`, 0 of padding."""
        return trigger_gates(self.scorer(x, mask)[..., 0], mask, self.settings.delta, self.settings.gate)


def trigger_gates(score: jax.Array, mask: jax.Array, delta: float, gate: str) -> jax.Array:
    """Weights of words by their scores: `score [B, T]` and `mask [B, T]` of real words to `[B, T]`."""
    some = mask.any(-1, keepdims=True)
    low = jnp.where(some, jnp.where(mask, score, jnp.inf).min(-1, keepdims=True), 0)
    high = jnp.where(some, jnp.where(mask, score, -jnp.inf).max(-1, keepdims=True), 0)
    # Whatever rounding does, the word of greatest score passes.
    threshold = jnp.minimum(delta * low + (1 - delta) * high, high)
    over = jnp.where(mask, score - threshold, -1)
    if gate == "relu":
        return nn.relu(over)
    kept = (over >= 0).astype(score.dtype)
    if gate == "hard":
        return jax.lax.stop_gradient(kept)
    return kept + kept * (over - jax.lax.stop_gradient(over))
