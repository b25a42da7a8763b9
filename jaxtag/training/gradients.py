"""Gradients of a batch's summed loss: in one piece or in parts, in float32 or in bfloat16."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.experiment import Training
from jaxtag.systems import System

# (params, collections, batch, numbers, key) -> (loss, (weight, collections)), all summed over posts …
Total = Callable[[Any, Any, Any, Any, jax.Array], tuple[jax.Array, tuple[jax.Array, Any]]]
# … and with the gradient of the summed loss: ((loss, (weight, collections)), gradient)
Gradient = Callable[[Any, Any, Any, Any, jax.Array], tuple[tuple[jax.Array, tuple[jax.Array, Any]], Any]]


def gradient_of(system: System, training: Training) -> Gradient:
    """The gradient of `system`'s summed loss over a batch, with the options that `training` names."""

    def total(params: Any, collections: Any, batch: Any, numbers: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        loss, weight, collections = system.loss(params, collections, batch, numbers, key)
        return loss.sum(), (weight.sum(), collections)

    chosen = in_bfloat16(total) if training.precision == "bfloat16" else total
    gradient = jax.value_and_grad(chosen, has_aux=True)
    return in_parts(gradient, training.accumulate) if training.accumulate > 1 else gradient


def in_bfloat16(total: Total) -> Total:
    """`total` computed in bfloat16: parameters and inputs are cast, so gradients come back in float32.

    Collections, such as running means, stay in their own precision; objectives cast logits to float32.
    """

    def low(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

    def cast(params: Any, collections: Any, batch: Any, numbers: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        loss, (weight, found) = total(low(params), collections, low(batch), numbers, key)
        return loss, (weight, jax.tree.map(lambda new, old: new.astype(old.dtype), found, collections))

    return cast


def in_parts(gradient: Gradient, parts: int) -> Gradient:
    """`gradient` of a batch taken in `parts`, one after the other, and summed: equal to the whole's, dropout aside.

    Part j has every `parts`-th post, from j, so that each device keeps its own posts. Each draws its own dropout.
    """

    def summed(params: Any, collections: Any, batch: Any, numbers: Any, key: jax.Array) -> Any:
        def one(carry: tuple[Any, Any], given: tuple[jax.Array, Any]) -> tuple[tuple[Any, Any], None]:
            sums, collections = carry
            part = jax.random.fold_in(key, given[0])
            (loss, (weight, collections)), grads = gradient(params, collections, given[1], numbers, part)
            return (jax.tree.map(jnp.add, sums, (loss, weight, grads)), collections), None

        split = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), batch)
        start = (jnp.float32(0), jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
        ((loss, weight, grads), collections), _ = lax.scan(one, (start, collections), (jnp.arange(parts), split))
        return (loss, (weight, collections)), grads

    return summed
