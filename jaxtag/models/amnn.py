"""amnn/amnn: attention-based multimodal neural network, which says hashtags one after the other (SYSTEMS 2.3).

Image: an LSTM over the cells of a grid, row by row, and attention over its states, X_f. Text: an LSTM in each direction
over word vectors and attention over their states, T_f. What a GRU is told first is a projection of [X_f; T_f], and then
one hashtag after the other; its states give p(H_t | post, H_1 … H_{t−1}), and the loss is −Σ_t log p(H_t | …).

Where the paper contradicts itself or leaves something open, the reading is that of SYSTEMS 2.3: time steps of the image
are the cells of its grid (`image_steps="repeat"`: the pooled vector again and again, which is eq. (1)-(5) word for
word), and what was said is the next input when recommending too (`feedback="off"`: the paper's literal prediction).

`compat="repo"` is what the authors' code computes. The first input is a start symbol, and X_f + T_f is added to every
input; T_f is what attention gives of the sum of both directions, through a ReLU layer. The softmax of their image
attention is over an axis of size 1, so that all its weights are 1: what is left of it is the sum of the projected
pooled vector over most + 2 steps, and their LSTM, which reaches no output, is left out. Not reproduced: that
recommending has one such step where training has most + 2; that in every batch but the first one post's inputs stay
zeros; that padding, on the left, is read as words, and the attention has a bias for each place.
"""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.attention import AdditiveAttention
from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import WordTable
from jaxtag.layers.packing import padding_left_out
from jaxtag.layers.parameters import Dense
from jaxtag.layers.pooling import pool
from jaxtag.layers.recurrent import GRU, LSTM
from jaxtag.layers.sequences import HashtagTable, Packed, Scores, computed, told

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Settings:
    """What is read, and sizes of the network.

    Attributes:
      modality: what is read of a post: `both`, its `image` or its `text`.
      compat: `paper`, or `repo`: what the authors' code computes, above.
      image_steps: of the image's LSTM: the cells of a `grid`, or `repeat`, the pooled vector `most` times.
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      text_recurrent: whether LSTMs and attention read the words; if not, T_f is the mean of their vectors.
      width: d, of the GRU, of the image's LSTM and of both directions of the text's together.
      hashtag_embedding: of a hashtag's vector, and of the post's projection.
      most: hashtags of a post that are learned from at most, the first ones.
      end: whether an end token is learned, and ends a list.
      feedback: what steps after the first are told when recommending: `on`, the hashtag said before; `off`, nothing;
        `encoder`, the post again.
      beam: lists that recommending keeps; 1 is greedy.
      lists: what recommending gives: hashtags as they are `said`, or by probability as the `first` one.
      dropout: rate on hashtags' vectors.
    """

    modality: Literal["both", "image", "text"] = "both"
    compat: Literal["paper", "repo"] = "paper"
    image_steps: Literal["grid", "repeat"] = "grid"
    embedding: int = 300
    trainable: bool = True
    text_recurrent: bool = True
    width: int = 256
    hashtag_embedding: int = 128
    most: int = 30
    end: bool = False
    feedback: Literal["on", "off", "encoder"] = "on"
    beam: int = 1
    lists: Literal["said", "first"] = "said"
    dropout: float = 0.5

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of a post."""
        image = "grid" if self.compat == "paper" and self.image_steps == "grid" else "vector"
        return {"both": ("tokens", image), "image": (image,), "text": ("tokens",)}[self.modality]

    @property
    def repeats(self) -> bool:
        """Whether a hashtag may be said again."""
        return False


class Model(nn.Module):
    """A post to scores of its hashtags, step by step; `features` is what the GRU is told of it.

    A post without an image has X_f = 0, and one without words T_f = 0: their terms are left out.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s, repo = self.settings, self.settings.compat == "repo"
        if s.modality != "image":
            self.word_table = WordTable(self.words, s.embedding, s.trainable)
            if s.text_recurrent:
                self.ahead = LSTM(s.width // 2)
                self.back = LSTM(s.width // 2, reverse=True)
                self.text_attention = AdditiveAttention(0, score="tanh_scalar")
            if repo:
                self.said = Dense(s.hashtag_embedding)
        if s.modality != "text" and repo:
            self.pooled = Dense(s.hashtag_embedding)
        elif s.modality != "text":
            self.image_lstm = LSTM(s.width)
            self.image_attention = AdditiveAttention(s.width)
        if not repo:
            self.merged = Dense(s.hashtag_embedding)
        self.table = HashtagTable(self.hashtags, s.hashtag_embedding, start=repo)
        self.gru = GRU(s.width)
        self.scores = Scores(self.hashtags, s.width, s.end)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """x_all: [X_f; T_f], or the one that is read, projected `[B, hashtag_embedding]`."""
        found = []
        if self.settings.modality != "text":
            found.append(self.image_features(batch, rate, keys))
        if self.settings.modality != "image":
            found.append(self.text_features(batch, rate, keys))
        return sum(found[1:], found[0]) if self.settings.compat == "repo" else self.merged(jnp.concatenate(found, -1))

    def image_features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """X_f `[B, width]` of grid `[B, G, D]`, or vector `[B, D]`, and cells `[B]`; with `repo` `[B, embedding]`."""
        s, cells = self.settings, batch["cells"][:, None]
        if s.compat == "repo":
            return jnp.where(cells > 0, (s.most + 2) * self.pooled(batch["vector"]), 0)
        if s.image_steps == "grid":
            x = batch["grid"]
            seen = jnp.arange(x.shape[1]) < cells
        else:
            vector = batch["vector"]
            x = jnp.broadcast_to(vector[:, None], (len(vector), s.most, vector.shape[1]))
            seen = jnp.broadcast_to(cells > 0, x.shape[:2])
        with padding_left_out(False):  # grids are whole: there is nothing to leave out
            states, _ = self.image_lstm(x, seen)
            return self.image_attention(states, seen)[0]

    def text_features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """T_f of tokens `[B, T]`: `[B, width]`, or what a word vector or `repo` has."""
        return self._read(batch)[0]

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array | Packed:
        """A batch and its hashtags `[B, H]` to logits `[B, S, hashtags]`, one more where there is an end token.

        Step t's are of what comes after the first t hashtags; `Packed` where padding is left out. Dropout at `rate`
        when there are keys `[B]`.
        """
        s, post = self.settings, self.features(batch, rate, None)
        labels = told(batch["hashtags"], s.most, s.end)
        if s.compat == "repo":
            before = jnp.pad(labels, ((0, 0), (1, 0)), constant_values=-1)
            x = dropout(self.table(before), rate, keys) + post[:, None]
        else:
            x = jnp.concatenate([post[:, None], dropout(self.table(labels), rate, keys)], 1)
        steps = computed(batch["hashtags"], x.shape[1], self.hashtags if s.end else None)
        return self.scores.of_steps(self.gru(x, steps)[0], steps)

    def start(self, batch: Batch) -> tuple[Any, Any]:
        """The state before the first step, and what every step has of the post (`jaxtag.layers.decoding`)."""
        post = self.features(batch, jnp.float32(0), None)
        return (jnp.zeros((len(post), self.settings.width), post.dtype),), post

    def step(self, carry: Any, fixed: Any, previous: jax.Array) -> tuple[Any, jax.Array]:
        """A step after the hashtags `previous [B]`, −1 at first, to the state after it and its logits."""
        s, first = self.settings, previous[:, None] < 0
        if s.compat == "repo":
            x = self.table(previous) + fixed
        else:
            x = jnp.where(first, fixed, self.table(previous))
        if s.feedback != "on":
            x = jnp.where(first, x, fixed if s.feedback == "encoder" else 0)
        carry = self.gru(x, None, carry)
        return carry, self.scores(carry[0])

    def explain(self, batch: Batch) -> Batch:
        """Of `tokens`, the weight of the states at each word `[B, 1, T]`; nothing where no words are read."""
        return {} if self.settings.modality == "image" else {"tokens": self._read(batch)[1][:, None]}

    def _read(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """T_f, and each word's weight in it `[B, T]`."""
        s = self.settings
        x, mask = self.word_table(batch["tokens"])
        if s.text_recurrent:
            directions = [lstm(x, mask)[0] for lstm in (self.ahead, self.back)]
            states = sum(directions[1:], directions[0]) if s.compat == "repo" else jnp.concatenate(directions, -1)
            found, weights = self.text_attention(states, mask)
        else:
            found, weights = pool(x, mask, "mean"), mask / jnp.maximum(mask.sum(1, keepdims=True), 1)
        if s.compat == "repo":
            found = jnp.where(mask.any(1, keepdims=True), nn.relu(self.said(found)), 0)
        return found, weights
