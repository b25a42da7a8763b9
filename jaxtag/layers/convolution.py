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
      windows: words a filter sees; the centre of an even number is the later of the two in the middle.
      filters: per window size.
      activation: applied before the pooling.
      pool: `max`, each filter's greatest value, `flatten` (`jaxtag.layers.pooling`), or `none`: each word has its own.
      length: words that `flatten` takes.
    """

    windows: tuple[int, ...]
    filters: int
    activation: str = "softplus"
    pool: str = "max"
    length: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Words `[B, T, e]`, zero where padded, and mask `[B, T]` to `[B, len(windows) · pooled_width]`.

        Unpooled, `[B, T, len(windows) · filters]`, of which those of padding are for nobody to read.
        """
        act = ACTIVATIONS[self.activation]
        if self.pool == "none":
            return act(jnp.concatenate(self._maps(x), axis=-1))
        if self.pool != "max":
            pooled = [pool(act(m), mask, self.pool, self.length) for m in self._maps(x)]
            return jnp.concatenate(pooled, axis=-1)
        # Every activation rises, so that the greatest value may be found before it: less to compute it of.
        pooled = jnp.concatenate([pool(m, mask, "max") for m in self._maps(x)], axis=-1)
        return jnp.where(mask.any(axis=1)[:, None], act(pooled), 0)

    def _maps(self, x: jax.Array) -> list[jax.Array]:
        """The filters of each window size at every word, `[B, T, filters]`.

        One matrix product of every word with the kernels of every place in every window, whose results are moved to the
        windows' centres and added. XLA's CPU convolution runs 15 times slower inside a loop, which is where many steps
        a dispatch put it; products of unfolded windows copy each word once a place.
        """
        (batch, length, width), kernels, biases = x.shape, [], []
        for window in self.windows:
            shape, axis = (window, width, self.filters), "hidden" if self.filters > 1 else "scalar"
            kernels.append(glorot(self, f"kernel_{window}", shape, ("window", "embed", axis)))
            biases.append(zeros(self, f"bias_{window}", self.filters, axis))
        flat = jnp.concatenate([jnp.moveaxis(k, 0, 1).reshape(width, -1) for k in kernels], axis=1)
        products, maps, start = (x.reshape(-1, width) @ flat).reshape(batch, length, -1), [], 0
        for window, bias in zip(self.windows, biases):
            own = products[..., start : start + window * self.filters].reshape(batch, length, window, self.filters)
            own = jnp.pad(own, ((0, 0), (window // 2, window // 2), (0, 0), (0, 0)))
            maps.append(sum((own[:, i : i + length, i] for i in range(window)), bias))
            start += window * self.filters
        return maps
