"""amnn/nic: Neural Image Captioning on hashtags (Vinyals et al. 2015; SYSTEMS 2.6).

The pooled features of an image are projected and added to the start symbol, the first input of an LSTM; the hashtags
follow, and an end token. Recommending says hashtags until the end, a hashtag perhaps again, and what is left without
repetitions is the list: it may be short.
"""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.parameters import Dense
from jaxtag.layers.recurrent import LSTM
from jaxtag.layers.sequences import HashtagTable, Packed, Scores, computed, told

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      width: of the LSTM's state.
      hashtag_embedding: of a hashtag's vector, and of the image's projection.
      most: hashtags of a post that are learned from at most, the first ones, and that are said.
      end: whether an end token is learned, and ends a list.
      repeats: whether a hashtag may be said again, and is then left out of the list.
      beam: lists that recommending keeps; 1 is greedy. The original has 20.
      lists: what recommending gives: hashtags as they are `said`, or by probability as the `first` one.
      dropout: rate on the image's projection and on hashtags' vectors.
    """

    width: int = 128
    hashtag_embedding: int = 128
    most: int = 30
    end: bool = True
    repeats: bool = True
    beam: int = 1
    lists: Literal["said", "first"] = "said"
    dropout: float = 0.5


class Model(nn.Module):
    """An image to scores of its hashtags, step by step; `features` is its projection, 0 where there is no image."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.image = Dense(s.hashtag_embedding)
        self.table = HashtagTable(self.hashtags, s.hashtag_embedding, start=True)
        self.lstm = LSTM(s.width)
        self.scores = Scores(self.hashtags, s.width, s.end)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """vector `[B, D]` and cells `[B]` to `[B, hashtag_embedding]`; dropout at `rate` when there are keys `[B]`."""
        return jnp.where(batch["cells"][:, None] > 0, dropout(self.image(batch["vector"]), rate, keys), 0)

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array | Packed:
        """A batch and its hashtags `[B, H]` to logits `[B, S, hashtags + 1]`, the end token's last.

        Step t's are of what comes after the first t hashtags; `Packed` where padding is left out.
        """
        s, (own, more) = self.settings, split(keys, 2)
        labels = told(batch["hashtags"], s.most, s.end)
        x = dropout(self.table(labels), rate, more)
        none = jnp.full(len(labels), -1)
        x = jnp.concatenate([(self.table(none) + self.features(batch, rate, own))[:, None], x], 1)
        steps = computed(batch["hashtags"], x.shape[1], self.hashtags if s.end else None)
        return self.scores.of_steps(self.lstm(x, steps)[0], steps)

    def start(self, batch: Batch) -> tuple[Any, Any]:
        """The state before the first step, and what every step has of the post (`jaxtag.layers.decoding`)."""
        image = self.features(batch, jnp.float32(0), None)
        none = jnp.zeros((len(image), self.settings.width), image.dtype)
        return (none, none), image

    def step(self, carry: Any, fixed: Any, previous: jax.Array) -> tuple[Any, jax.Array]:
        """A step after the hashtags `previous [B]`, −1 at first, to the state after it and its logits."""
        x = self.table(previous) + jnp.where(previous[:, None] < 0, fixed, 0)
        carry = self.lstm(x, None, carry)
        return carry, self.scores(carry[0])
