"""Batch normalisation: values of a layer by their mean and variance over a whole batch of posts."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.parameters import constants, zeros

STATISTICS = "statistics"  # the collection of running means and variances


class BatchNorm(nn.Module):
    """γ (x − μ) / √(σ² + ε) + β (Ioffe & Szegedy 2015): in training by the batch's μ and σ², otherwise by running ones.

    Means are over the posts that count, on whatever devices they are: padding, and posts without what is normalised,
    have no part. Running statistics move by 1 − momentum to those of each batch; one in which no post counts leaves
    them. σ² is the mean of squares, not divided by n − 1.

    Attributes:
      momentum: of the running statistics; 0.99 is that of Keras.
      epsilon: ε; 0.001 is that of Keras.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array, counts: jax.Array, training: bool) -> jax.Array:
        """Values `[B, d]` and which posts count `[B]` bool to `[B, d]`; the others' are for nobody to read."""
        width = x.shape[-1]
        scale, bias = constants(self, "scale", width, "hidden", 1.0), zeros(self, "bias", width, "hidden")
        mean = self.variable(STATISTICS, "mean", jnp.zeros, width)
        variance = self.variable(STATISTICS, "variance", jnp.ones, width)
        given, x = x.dtype, x.astype(jnp.float32)
        by = mean.value, variance.value
        if training:
            by = moments(x, counts)
            if not self.is_initializing():
                moved = jnp.where(counts.any(), 1 - self.momentum, 0.0)
                mean.value += moved * (by[0] - mean.value)
                variance.value += moved * (by[1] - variance.value)
        x = (x - by[0]) * jax.lax.rsqrt(by[1] + self.epsilon)
        return (x * scale + bias).astype(given)


def moments(x: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance `[d]` of the rows of `x [B, d]` that count; zeros where none does."""
    weight = counts[:, None].astype(x.dtype)
    number = jnp.maximum(weight.sum(), 1)
    mean = jnp.where(counts[:, None], x, 0).sum(axis=0) / number
    apart = jnp.where(counts[:, None], x - mean, 0)
    return mean, (apart * apart).sum(axis=0) / number
