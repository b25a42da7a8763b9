"""Co-attention network: what the words say guides where the image is looked at, and that which words count.

Zhang et al. (IJCAI 2017), a baseline of the amnn and lxmert4hashtag papers (SYSTEMS 3.5). Cells of VGG-16's last
pooling v_I = tanh(W i), an LSTM's states v_T; then in each layer

    p_I = softmax(w · tanh([W_v v_I ; W_g g_T])),  ṽ_I = Σ p_I v_I
    p_T = softmax(w · tanh([W_g g_I ; W_v v_T])),  ṽ_T = Σ p_T v_T

Guides are in the first layer the mean of v_T, and ṽ_I; in the layers after it what the one before has summed up,
q_T, and then q_I: q += ṽ. The post is q_T + q_I.

As printed, W_g g is *beside* W_v v and brings the same to the score of every cell, or word, so that the softmax over
them takes it out: the two attentions do not guide each other. `guide="sum"` adds the two instead, tanh(W_v v + W_g g),
and they do.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.attention import masked_softmax
from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.parameters import glorot, zeros
from jaxtag.layers.pooling import pool
from jaxtag.layers.recurrent import LSTM


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      width: d, of the LSTM's state and of a cell's projection.
      attention: k, of each of the two projections that a score is made of.
      layers: of co-attention; the amnn paper says two.
      guide: how the guide enters a score: `concat`, beside what it guides, as the paper prints it; `sum`.
      dropout: rate before the hashtags.
    """

    embedding: int = 200
    trainable: bool = True
    width: int = 200
    attention: int = 100
    layers: int = 2
    guide: Literal["concat", "sum"] = "concat"
    dropout: float = 0.5


class Guided(nn.Module):
    """Attention under a guide: p = softmax(w · tanh([W_v v ; W_g g]) + b), Σ p v.

    Attributes:
      width: k.
      guide: `concat`, or `sum`: w · tanh(W_v v + W_g g).
    """

    width: int
    guide: str = "concat"

    @nn.compact
    def __call__(self, values: jax.Array, mask: jax.Array, guide: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Values `[B, T, d]`, mask `[B, T]`, guide `[B, e]` to the pooled `[B, d]` and the weights `[B, T]`.

        Where nothing is real both are zeros.
        """
        k, both = self.width, self.guide == "concat"
        own = values @ glorot(self, "own", (values.shape[-1], k), ("embed", "hidden"))
        other = (guide @ glorot(self, "guide", (guide.shape[-1], k), ("embed", "hidden")))[:, None]
        score = glorot(self, "score", (2 * k if both else k, 1), ("embed", "scalar"))
        if both:  # the product of the two halves, without laying the guide beside every value
            scores = jnp.tanh(own) @ score[:k] + jnp.tanh(other) @ score[k:]
        else:
            scores = jnp.tanh(own + other) @ score
        weights = masked_softmax(scores[..., 0] + zeros(self, "bias", 1, "scalar"), mask)
        return jnp.einsum("bt,btd->bd", weights, values), weights


class Model(nn.Module):
    """Words and cells of the image to scores over hashtags; `features` is q_T + q_I.

    A post without an image is read by its words alone: its image weighs nothing and guides nothing. One without words
    is read by its image.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.lstm = LSTM(s.width)
        self.cells = Projection(s.width)
        self.visual = [Guided(s.attention, s.guide) for _ in range(s.layers)]
        self.textual = [Guided(s.attention, s.guide) for _ in range(s.layers)]
        self.head = SoftmaxHead(self.hashtags, s.width)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, grid `[B, G, D]` and cells `[B]` to `[B, width]`; dropout where there are keys `[B]`."""
        return dropout(self._attended(batch)[0], rate, keys)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, grid `[B, G, D]` and cells `[B]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Of `tokens`, the weight of each word in each layer `[B, layers, T]`."""
        return {"tokens": jnp.stack(self._attended(batch)[1], 1)}

    def _attended(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        """q_T + q_I `[B, width]`, and the words' weights `[B, T]` of every layer."""
        x, said = self.word_table(batch["tokens"])
        states, _ = self.lstm(x, said)
        states = jnp.where(said[..., None], states, 0)
        seen = jnp.arange(batch["grid"].shape[1]) < batch["cells"][:, None]
        cells = self.cells(batch["grid"])  # which weigh nothing where none is seen
        text, image, weights = pool(states, said, "mean"), None, []
        for layer, (visual, textual) in enumerate(zip(self.visual, self.textual)):
            looked, _ = visual(cells, seen, text)
            image = looked if image is None else image + looked
            read, weight = textual(states, said, image)
            text = text + read if layer else read
            weights.append(weight)
        assert image is not None
        return text + image, weights


class Projection(nn.Module):
    """tanh(W i) of each cell, without a bias.

    Attributes:
      width: of what it gives.
    """

    width: int

    @nn.compact
    def __call__(self, grid: jax.Array) -> jax.Array:
        """`[B, G, D]` to `[B, G, width]`."""
        return jnp.tanh(grid @ glorot(self, "kernel", (grid.shape[-1], self.width), ("embed", "hidden")))
