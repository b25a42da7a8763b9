"""The gradient of a large table kept as the rows that a batch touches; it is zero elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowGradient:
    """A table's gradient `[V, d]`, zero but for some rows.

    Attributes:
      rows: `[C]` int32 in rising order, all different; those from V on stand for none.
      values: the gradient at these rows `[C, d]`, zero where there is none.
    """

    rows: jax.Array
    values: jax.Array

    def added_to(self, table: jax.Array, change: Callable[[jax.Array], jax.Array] = lambda values: values) -> jax.Array:
        """`table` `[V, d]`, with `change(values)` added at the rows; in place where the compiler may."""
        at = table.at[self.rows]
        return at.add(change(self.values), mode="drop", unique_indices=True, indices_are_sorted=True)


def map_gradients(change: Callable[..., Any], gradients: Any, *rest: Any) -> Any:
    """`change(gradient, …)` at every parameter; a gradient is an array or a `RowGradient`."""
    return jax.tree.map(change, gradients, *rest, is_leaf=_is_rows)


def scaled(gradients: Any, factor: jax.Array) -> Any:
    """Every gradient times `factor`."""
    return map_gradients(lambda g: RowGradient(g.rows, factor * g.values) if _is_rows(g) else factor * g, gradients)


def norm(gradients: Any) -> jax.Array:
    """The Euclidean norm over all parameters."""
    return optax.global_norm(map_gradients(lambda g: g.values if _is_rows(g) else g, gradients))


def dense(gradient: Any, parameter: jax.Array) -> jax.Array:
    """The gradient of `parameter` as an array of its shape."""
    return gradient.added_to(jnp.zeros_like(parameter)) if _is_rows(gradient) else gradient


def added(total: jax.Array, gradient: Any, change: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """`total` + `change(gradient)`; of a `RowGradient` its rows alone, in place where the compiler may."""
    return gradient.added_to(total, change) if _is_rows(gradient) else total + change(gradient)


def _is_rows(x: Any) -> bool:
    return isinstance(x, RowGradient)
