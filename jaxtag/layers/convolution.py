"""Convolutions over words."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.parameters import glorot, zeros
from jaxtag.layers.pooling import pool
from jaxtag.layers.recurrent import ACTIVATIONS


class ConvolutionBank(nn.Module):
    """Filters of several window sizes, each pooled over time (Kim 2014; SYSTEMS 1.5).

    A window counts where its centre is a real word; what lies outside the post reads as zeros, so that
    posts shorter than a window have one too and padding changes nothing.

    Attributes:
      windows: words a filter sees; odd, so that each has a centre.
      filters: per window size.
      activation: applied before the pooling.
      pool: `max`, each filter's greatest value, or `flatten` (`jaxtag.layers.pooling`).
      length: words that `flatten` takes.
    """

    windows: tuple[int, ...]
    filters: int
    activation: str = "softplus"
    pool: str = "max"
    length: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Words `[B, T, e]`, zero where padded, and mask `[B, T]` to `[B, len(windows) · pooled_width]`."""
        act = ACTIVATIONS[self.activation]
        maps = (act(self._maps(x, window)) for window in self.windows)
        return jnp.concatenate([pool(m, mask, self.pool, self.length) for m in maps], axis=-1)

    def _maps(self, x: jax.Array, window: int) -> jax.Array:
        """The filters of one window size at every word, `[B, T, filters]`.

        As one matrix product of unfolded windows: XLA's CPU convolution runs 15 times slower inside a loop,
        which is where many steps a dispatch put it.
        """
        width, length = x.shape[-1], x.shape[1]
        kernel = glorot(self, f"kernel_{window}", (window, width, self.filters), ("window", "embed", "hidden"))
        bias = zeros(self, f"bias_{window}", self.filters, "hidden")
        wide = jnp.pad(x, ((0, 0), (window // 2, window // 2), (0, 0)))
        unfolded = jnp.concatenate([wide[:, i : i + length] for i in range(window)], axis=-1)
        return unfolded @ kernel.reshape(window * width, self.filters) + bias
