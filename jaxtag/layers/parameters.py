"""Parameters with logical axes, so that the mesh's rules can place them; and the dense layer made of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.packing import Packing, by_word

CONSTANTS = "constants"  # the collection of what a model is given, such as word vectors


def glorot(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> jax.Array:
    """Parameter `name` of `shape`, Glorot uniform at first, with a logical axis a dimension."""
    init = nn.with_logical_partitioning(nn.initializers.glorot_uniform(), axes)
    value: Any = module.param(name, init, shape)  # linen declares the box, and gives what is in it
    return value


def normal(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...], scale: float) -> jax.Array:
    """Parameter `name` of `shape`, normally distributed with standard deviation `scale` at first."""
    init = nn.with_logical_partitioning(nn.initializers.normal(scale), axes)
    value: Any = module.param(name, init, shape)
    return value


def uniform(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...], limit: float) -> jax.Array:
    """Parameter `name` of `shape`, evenly distributed in −limit … limit at first."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    value: Any = module.param(name, nn.with_logical_partitioning(init, axes), shape)
    return value


def drawn(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...], spread: float) -> jax.Array:
    """Parameter `name` of `shape`: `normal` with standard deviation `spread` at first, `glorot` where that is 0."""
    return normal(module, name, shape, axes, spread) if spread else glorot(module, name, shape, axes)


def same(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...], start: float) -> jax.Array:
    """Parameter `name` of `shape`, every value `start` at first."""
    value: Any = module.param(name, nn.with_logical_partitioning(nn.initializers.constant(start), axes), shape)
    return value


def constants(module: nn.Module, name: str, width: int, axis: str, start: float) -> jax.Array:
    """Parameter `name` of `width` values, all `start` at first."""
    return same(module, name, (width,), (axis,), start)


def zeros(module: nn.Module, name: str, width: int, axis: str) -> jax.Array:
    """Parameter `name` of `width` values, zeros at first."""
    return constants(module, name, width, axis, 0.0)


def never_learned(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> jax.Array:
    """An array of `shape` that the model is given and that does not learn, of the collection `CONSTANTS`."""
    value: Any = module.variable(
        CONSTANTS, name, nn.with_logical_partitioning(nn.initializers.zeros, axes), None, shape
    ).value
    return value


def affine(parameters: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """x W + b of `parameters` W `[e, n]` and b `[n]`, `[..., e]` to `[..., n]`."""
    return x @ parameters[0] + parameters[1]


class Dense(nn.Module):
    """x W + b with W `[e, width]`, split by rule along what it gives, or along what it takes.

    Attributes:
      width: of what it gives.
      spread: standard deviation of W at first; 0 draws it by Glorot.
      narrows: whether W is split along what it takes, which the layer before gave split: devices then exchange
        what this one gives, and not what it takes, which in a feed-forward layer is wider.
      biased: whether there is a b.
    """

    width: int
    spread: float = 0.0
    narrows: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, packed: Packing | None = None) -> jax.Array:
        """`[..., e]` to `[..., width]`; with `packed`, rows `[N, e]`, of which those that have words are computed."""
        axes = ("hidden", "embed") if self.narrows else ("embed", "hidden")
        kernel = drawn(self, "kernel", (x.shape[-1], self.width), axes, self.spread)
        if not self.biased:
            return by_word(lambda kernel, x: x @ kernel, kernel, x, packed)
        return by_word(affine, (kernel, zeros(self, "bias", self.width, axes[1])), x, packed)
