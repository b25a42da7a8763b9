"""lxmert4hashtag/tab_lstm: an LSTM over words, attention guided by the post's topics, softmax (SYSTEMS 3.6).

Li et al. (COLING 2016), a baseline of the lxmert4hashtag paper. A batch has `topics [B, K]`, the proportions θ that
latent Dirichlet allocation, fitted to the training posts beforehand, gives a post (`jaxtag-prep topics`):

    g_j = vᵀ tanh(W θ + U h_j),  a = softmax(g),  Σ a_j h_j

without biases; v is zeros at first, so that the attention starts as a mean of the states. Gibbs sampling fits the
topics of the original, variational inference these.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax

from jaxtag.layers.attention import AdditiveAttention
from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.recurrent import LSTM


@dataclass(frozen=True)
class Settings:
    """Sizes of the network; how many topics there are is the dataset's.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      width: d, of the LSTM's state and of the attention's hidden layer.
      dropout: rate before the hashtags.
    """

    embedding: int = 300
    trainable: bool = True
    width: int = 300
    dropout: float = 0.75


class Model(nn.Module):
    """Words and topics to scores over hashtags; `features` is the pooled state.

    A post without words is ranked by the head's bias, how much each hashtag is used.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.word_table = WordTable(self.words, s.embedding, s.trainable)
        self.lstm = LSTM(s.width)
        self.attention = AdditiveAttention(s.width, plain=True)
        self.head = SoftmaxHead(self.hashtags, s.width)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` and topics `[B, K]` to `[B, width]`; dropout at `rate` when there are keys `[B]`."""
        return dropout(self._attended(batch)[0], rate, keys)

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]` and topics `[B, K]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Of `tokens`, the weight of the state at each word `[B, 1, T]`."""
        return {"tokens": self._attended(batch)[1][:, None]}

    def _attended(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """The pooled state `[B, width]`, and the weights `[B, T]`."""
        x, mask = self.word_table(batch["tokens"])
        states, _ = self.lstm(x, mask)
        return self.attention(states, mask, batch["topics"])
