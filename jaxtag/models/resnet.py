"""ResNet-50 in linen as keras.applications builds it, so that its weights load into it (He et al. 2016).

A convolution's stride is in the first, 1 x 1, layer of a bottleneck; every convolution has a bias; normalisation is by
statistics kept as they were loaded. Modules are called as Keras calls its layers.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.layers.normalization import STATISTICS
from jaxtag.layers.parameters import constants, zeros

EPSILON = 1.001e-5
MEANS = (103.939, 116.779, 123.68)  # of blue, green and red over ImageNet, in 0 … 255
DEPTHS = (3, 4, 6, 3)  # of ResNet-50
WIDTH = 64
WINDOWS = ("window", "window", "embed", "hidden")
Weights = Mapping[str, Mapping[str, np.ndarray]]


class Convolution(nn.Module):
    """A convolution with a bias, and the normalisation after it by fixed μ and σ²: γ (x W + b − μ) / √(σ² + ε) + β.

    Attributes:
      width: channels that it gives.
      window: places of a side.
      stride: of both sides.
      padding: zeros around, on every side.
    """

    width: int
    window: int = 1
    stride: int = 1
    padding: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, S, S, c]` to `[B, S', S', width]`."""
        shape = (self.window, self.window, x.shape[-1], self.width)
        init = nn.with_logical_partitioning(nn.initializers.he_normal(), WINDOWS)
        kernel: Any = self.param("kernel", init, shape)
        around = [(self.padding, self.padding)] * 2
        x = jax.lax.conv_general_dilated(
            x.astype(kernel.dtype),
            kernel,
            (self.stride, self.stride),
            around,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = x + zeros(self, "bias", self.width, "hidden")
        scale, shift = constants(self, "scale", self.width, "hidden", 1.0), zeros(self, "shift", self.width, "hidden")
        mean = self.variable(STATISTICS, "mean", jnp.zeros, self.width).value
        variance = self.variable(STATISTICS, "variance", jnp.ones, self.width).value
        by = scale * jax.lax.rsqrt(variance + EPSILON)
        return x * by.astype(x.dtype) + (shift - mean * by).astype(x.dtype)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside the input, which a 1 x 1 one makes as wide where it is not.

    Attributes:
      width: channels of the first two; the last has four times as many.
      stride: of the first.
      widens: whether the input goes through a convolution.
    """

    width: int
    stride: int = 1
    widens: bool = False

    def setup(self) -> None:
        """Declare the convolutions; their names are the ends of Keras' names."""
        if self.widens:
            self.beside = Convolution(4 * self.width, 1, self.stride)
        self.first = Convolution(self.width, 1, self.stride)
        self.second = Convolution(self.width, 3, padding=1)
        self.third = Convolution(4 * self.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, S, S, c]` to `[B, S', S', 4 width]`."""
        kept = self.beside(x) if self.widens else x
        return nn.relu(kept + self.third(nn.relu(self.second(nn.relu(self.first(x))))))


class ResNet(nn.Module):
    """Pixels to the last grid of a residual network.

    Attributes:
      depths: bottlenecks of each of the stages; each but the first halves the grid's sides and doubles the width.
      width: channels of the first stage's bottlenecks.
    """

    depths: tuple[int, ...] = DEPTHS
    width: int = WIDTH

    def setup(self) -> None:
        """Declare the stages."""
        self.stem = Convolution(self.width, 7, 2, 3)
        self.stages = [
            [Bottleneck(self.width << i, 2 if i and not j else 1, not j) for j in range(depth)]
            for i, depth in enumerate(self.depths)
        ]

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Pixels `[B, S, S, 3]` uint8, red first, to the grid `[B, S / 32, S / 32, 4 width 2^(stages − 1)]`."""
        x = nn.relu(self.stem(caffe(pixels)))
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = nn.max_pool(x, (3, 3), (2, 2))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x


def caffe(pixels: jax.Array) -> jax.Array:
    """Pixels in 0 … 255, red first, as the network takes them: blue first, less the means; float32."""
    return pixels[..., ::-1].astype(jnp.float32) - jnp.array(MEANS, jnp.float32)


def layers(depths: tuple[int, ...] = DEPTHS) -> dict[str, tuple[str, ...]]:
    """Where each of Keras' convolutions is among our modules, by Keras' name without `_conv` and `_bn`."""
    found: dict[str, tuple[str, ...]] = {"conv1": ("stem",)}
    for stage, depth in enumerate(depths):
        for block in range(depth):
            for number, part in enumerate(("beside", "first", "second", "third")):
                if number or not block:
                    found[f"conv{stage + 2}_block{block + 1}_{number}"] = (f"stages_{stage}_{block}", part)
    return found


def loaded(weights: Weights, depths: tuple[int, ...] = DEPTHS) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keras' weights, by layer and then by name, as the network's params and statistics.

    Raises:
      KeyError: a layer or a weight is not there.
    """
    params: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    for name, path in layers(depths).items():
        conv, norm = weights[f"{name}_conv"], weights[f"{name}_bn"]
        ours = {"kernel": conv["kernel"], "bias": conv["bias"], "scale": norm["gamma"], "shift": norm["beta"]}
        kept = {"mean": norm["moving_mean"], "variance": norm["moving_variance"]}
        for tree, leaves in ((params, ours), (statistics, kept)):
            for part in path[:-1]:
                tree = tree.setdefault(part, {})
            tree[path[-1]] = leaves
    return params, statistics
