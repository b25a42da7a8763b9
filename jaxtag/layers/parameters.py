"""Parameters with logical axes, so that the mesh's rules can place them; and the dense layer made of them."""

from typing import Any

import flax.linen as nn
import jax

from jaxtag.layers.packing import Packing, by_word


def glorot(module: nn.Module, name: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> jax.Array:
    """Parameter `name` of `shape`, Glorot uniform at first, with a logical axis a dimension."""
    init = nn.with_logical_partitioning(nn.initializers.glorot_uniform(), axes)
    value: Any = module.param(name, init, shape)  # linen declares the box, and gives what is in it
    return value


def constants(module: nn.Module, name: str, width: int, axis: str, start: float) -> jax.Array:
    """Parameter `name` of `width` values, all `start` at first."""
    init = nn.with_logical_partitioning(nn.initializers.constant(start), (axis,))
    value: Any = module.param(name, init, (width,))
    return value


def zeros(module: nn.Module, name: str, width: int, axis: str) -> jax.Array:
    """Parameter `name` of `width` values, zeros at first."""
    return constants(module, name, width, axis, 0.0)


def affine(parameters: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """x W + b of `parameters` W `[e, n]` and b `[n]`, `[..., e]` to `[..., n]`."""
    return x @ parameters[0] + parameters[1]


class Dense(nn.Module):
    """x W + b with W `[e, width]`, split by rule along what it gives.

    Attributes:
      width: of what it gives.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, packed: Packing | None = None) -> jax.Array:
        """`[..., e]` to `[..., width]`; with `packed`, rows `[N, e]`, of which those that have words are computed."""
        kernel = glorot(self, "kernel", (x.shape[-1], self.width), ("embed", "hidden"))
        return by_word(affine, (kernel, zeros(self, "bias", self.width, "hidden")), x, packed)
