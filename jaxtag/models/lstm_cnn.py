"""lxmert4hashtag/lstm_cnn: an LSTM's last state and an image's features, side by side (SYSTEMS 3.7).

A baseline of the lxmert4hashtag paper, which says no more than that both are projected to one width and put together:
last state → a linear layer; `vector`, VGG-16's 4096 numbers → a linear layer; the two side by side → dropout →
hashtags. As the paper takes the task to be one of many labels, each hashtag has a probability of its own; one softmax
over all of them, as its other baselines have, is `--training.objective pairs`.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import Dense
from jaxtag.layers.recurrent import LSTM


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      width: of the LSTM's state.
      joint: of what text and image are each projected to.
      dropout: rate before the hashtags.
    """

    embedding: int = 300
    trainable: bool = True
    width: int = 300
    joint: int = 300
    dropout: float = 0.5


class Model(nn.Module):
    """Words and an image's features to scores over hashtags; `features` is the two projections side by side.

    What a post has not, words or an image, is zeros there.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.lstm = LSTM(s.width)
        self.text, self.image = Dense(s.joint), Dense(s.joint)
        self.head = SoftmaxHead(self.hashtags, 2 * s.joint)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, vector `[B, D]` and cells `[B]` to `[B, 2 joint]`; dropout where there are keys `[B]`."""
        x, mask = self.word_table(batch["tokens"])
        _, last = self.lstm(x, mask)
        text = jnp.where(mask.any(axis=1, keepdims=True), self.text(last), 0)
        image = jnp.where(batch["cells"][:, None] > 0, self.image(batch["vector"]), 0)
        return dropout(jnp.concatenate([text, image], 1), rate, keys)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, vector `[B, D]` and cells `[B]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))
