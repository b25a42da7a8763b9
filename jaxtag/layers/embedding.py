"""Word tables and the hashtag head: the two large tables of a model."""

import flax.linen as nn
import jax
import jax.numpy as jnp


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
        init = nn.with_logical_partitioning(nn.initializers.glorot_uniform(), ("words", "embed"))
        table = self.param("table", init, (self.words, self.width))
        if not self.trainable:
            table = jax.lax.stop_gradient(table)
        mask = tokens != 0
        return jnp.where(mask[..., None], jnp.take(table, tokens, axis=0), 0), mask


class SoftmaxHead(nn.Module):
    """Scores over hashtags: h W + b, which is also query [h; 1] against the table [Wᵀ b].

    Attributes:
      hashtags: columns of W, rounded up by the caller to fit every mesh.
    """

    hashtags: int
    width: int

    def setup(self) -> None:
        """Declare W `[width, hashtags]` and b `[hashtags]`."""
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros_init()
        self.kernel = self.param("kernel", nn.with_logical_partitioning(glorot, ("embed", "hashtags")),
                                 (self.width, self.hashtags))
        self.bias = self.param("bias", nn.with_logical_partitioning(zeros, ("hashtags",)), (self.hashtags,))

    def __call__(self, features: jax.Array) -> jax.Array:
        """Features `[B, width]` to logits `[B, hashtags]`."""
        return features @ self.kernel + self.bias

    def query(self, features: jax.Array) -> jax.Array:
        """`[B, width + 1]`: what `table` is multiplied with."""
        return jnp.concatenate([features, jnp.ones((*features.shape[:-1], 1), features.dtype)], -1)

    def table(self, labels: jax.Array) -> jax.Array:
        """`[len(labels), width + 1]`: a row for each label."""
        return jnp.concatenate([self.kernel.T, self.bias[:, None]], 1)[labels]
