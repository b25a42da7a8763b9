"""Gradients of a batch's summed loss: in one piece or in parts, in float32 or in bfloat16."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxtag.experiment import Training
from jaxtag.layers.blocked_softmax import Blocks, summed_pairs
from jaxtag.parallel.mesh import BATCH
from jaxtag.systems import System
from jaxtag.training import parts
from jaxtag.training.parts import Gradient
from jaxtag.training.rows import gradient_by_rows

# (params, collections, batch, numbers, keys [B]) -> (loss, (weight, collections)), all summed over posts
Total = Callable[[Any, Any, Any, Any, jax.Array], tuple[jax.Array, tuple[jax.Array, Any]]]


def gradient_of(system: System, training: Training, mesh: Mesh | None = None) -> Gradient:
    """The gradient of `system`'s summed loss over a batch, with the options that `training` names."""

    def sized(system: System) -> Gradient:
        gradient = _whole(system, training, mesh)
        if training.by_length:
            gradient = parts.by_length(gradient, training.by_length, system.entry.texts, mesh)
        return parts.in_turn(gradient, training.accumulate) if training.accumulate > 1 else gradient

    return gradient_by_rows(system, sized, mesh)


def _whole(system: System, training: Training, mesh: Mesh | None) -> Gradient:
    """The gradient of a batch in one piece."""
    if training.head_posts:
        summed = blocked(system, training, mesh)
        return jax.value_and_grad(in_bfloat16(summed) if training.precision == "bfloat16" else summed, has_aux=True)

    def total(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> tuple[jax.Array, Any]:
        loss, weight, collections = system.loss(params, collections, batch, numbers, keys)
        return loss.sum(), (weight.sum(), collections)

    chosen = in_bfloat16(total) if training.precision == "bfloat16" else total
    return jax.value_and_grad(chosen, has_aux=True)


def blocked(system: System, training: Training, mesh: Mesh | None) -> Total:
    """The summed loss of a system with a softmax head, whose scores are made for `training.head_posts` at a time."""
    spread = mesh if mesh is not None and mesh.size > 1 else None
    blocks = Blocks(training.head_posts, mesh=spread, axes=BATCH if spread else ())

    def total(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> tuple[jax.Array, Any]:
        x, collections = system.module.apply(
            {"params": params, **collections}, batch, numbers["dropout"], keys, mutable=list(collections),
            method="features",
        )  # fmt: skip
        labels, head = batch["hashtags"], params["head"]
        labels = labels[:, :1] if training.objective == "single" else labels
        bias = head.get("bias", jnp.zeros(head["kernel"].shape[1], jnp.float32))
        rest = labels, numbers["allowed"], numbers["smoothing"]
        found: Any = summed_pairs(blocks, x, head["kernel"], bias, *rest)
        return found[0], (found[1], collections)

    return total


def in_bfloat16(total: Total) -> Total:
    """`total` computed in bfloat16: parameters and inputs are cast, so gradients come back in float32.

    Collections, such as running means, stay in their own precision; objectives cast logits to float32.
    """

    def low(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

    def cast(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> tuple[jax.Array, Any]:
        loss, (weight, found) = total(low(params), collections, low(batch), numbers, keys)
        return loss, (weight, jax.tree.map(lambda new, old: new.astype(old.dtype), found, collections))

    return cast
