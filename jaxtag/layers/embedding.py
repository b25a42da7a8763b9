"""Word tables and the hashtag head: the two large tables of a model."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.parameters import drawn, glorot, zeros


class WordTable(nn.Module):
    """Rows of word vectors; the row of padding reads as zeros.

    Attributes:
      words: rows, the reserved two included.
      width: of a vector.
      trainable: whether the table learns; a frozen one gets no gradient.
    """

    words: int
    width: int
    trainable: bool = True

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Word ids `[..., T]` to vectors `[..., T, width]` and the mask of real words `[..., T]`."""
        table = glorot(self, "table", (self.words, self.width), ("words", "embed"))
        if not self.trainable:
            table = jax.lax.stop_gradient(table)
        mask = tokens != 0
        # Ids are never out of range: `clip` spares a mask as large as what is read.
        return jnp.where(mask[..., None], jnp.take(table, tokens, axis=0, mode="clip"), 0), mask


class SoftmaxHead(nn.Module):
    """Scores over hashtags: h W + b, which is also query [h; 1] against the table [Wᵀ b].

    Attributes:
      hashtags: columns of W, rounded up by the caller to fit every mesh.
      width: of the features h.
      biased: whether there is a b; without one, query and table are h and Wᵀ.
      spread: standard deviation of W at first; 0 draws it by Glorot.
    """

    hashtags: int
    width: int
    biased: bool = True
    spread: float = 0.0

    def setup(self) -> None:
        """Declare W `[width, hashtags]` and b `[hashtags]`."""
        self.kernel = drawn(self, "kernel", (self.width, self.hashtags), ("embed", "hashtags"), self.spread)
        self.bias = zeros(self, "bias", self.hashtags, "hashtags") if self.biased else None

    def __call__(self, features: jax.Array) -> jax.Array:
        """Features `[B, width]` to logits `[B, hashtags]`."""
        scores = features @ self.kernel
        return scores if self.bias is None else scores + self.bias

    def query(self, features: jax.Array) -> jax.Array:
        """`[B, width + 1]`, or `[B, width]`: what `table` is multiplied with."""
        if self.bias is None:
            return features
        return jnp.concatenate([features, jnp.ones((*features.shape[:-1], 1), features.dtype)], -1)

    def table(self, labels: jax.Array) -> jax.Array:
        """`[len(labels), width + 1]`, or `[len(labels), width]`: a row for each label."""
        if self.bias is None:
            return self.kernel.T[labels]
        return jnp.concatenate([self.kernel.T, self.bias[:, None]], 1)[labels]
