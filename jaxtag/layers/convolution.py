"""Convolutions over words."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.recurrent import ACTIVATIONS


class ConvolutionBank(nn.Module):
    """Filters of several window sizes, each followed by its greatest value over time (Kim 2014; SYSTEMS 1.5).

    A window counts where its centre is a real word; what lies outside the post reads as zeros, so that
    posts shorter than a window have one too and padding changes nothing.

    Attributes:
      windows: words a filter sees, odd.
      filters: per window size.
      activation: applied before the maximum.
    """

    windows: tuple[int, ...]
    filters: int
    activation: str = "softplus"

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Words `[B, T, e]`, zero where padded, and mask `[B, T]` to `[B, len(windows) · filters]`."""
        pooled = []
        for window in self.windows:
            maps = nn.Conv(
                self.filters, (window,), padding="SAME", name=f"window_{window}",
                kernel_init=nn.with_logical_partitioning(nn.initializers.glorot_uniform(), ("window", "embed", "hidden")),
                bias_init=nn.with_logical_partitioning(nn.initializers.zeros_init(), ("hidden",)),
            )(x)
            maps = jnp.where(mask[..., None], ACTIVATIONS[self.activation](maps), -jnp.inf)
            best = maps.max(axis=1)
            pooled.append(jnp.where(mask.any(axis=1)[:, None], best, 0))
        return jnp.concatenate(pooled, axis=-1)
