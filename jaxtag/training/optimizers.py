"""Optimizers as optax transformations whose rates are arguments, not constants.

An optimizer is `init(params) -> opt_state` and `update(gradients, opt_state, params, numbers) ->
(updates, opt_state)`, where `numbers` has traced learning_rate, weight_decay and l2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

from jaxtag.experiment import Training


@dataclass(frozen=True)
class Optimizer:
    """The two functions of an optimizer."""

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, dict[str, Any]], tuple[Any, Any]]


SCALINGS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "adam": lambda: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
}


def optimizer(training: Training) -> Optimizer:
    """The optimizer that `training` names.

    The update of a parameter θ with gradient g: g ← g + l2·θ; g ← g·min(1, clip / ‖g‖) over all
    parameters; u ← the named rule of g; θ ← θ − learning_rate·(u + weight_decay·θ).
    """
    clip = optax.clip_by_global_norm(training.clip) if training.clip else optax.identity()
    inner = optax.chain(clip, SCALINGS[training.optimizer]())

    def update(gradients: Any, opt_state: Any, params: Any, numbers: dict[str, Any]) -> tuple[Any, Any]:
        gradients = jax.tree.map(lambda g, p: g + numbers["l2"] * p, gradients, params)
        scaled, opt_state = inner.update(gradients, opt_state, params)
        updates = jax.tree.map(
            lambda u, p: -numbers["learning_rate"] * (u + numbers["weight_decay"] * p), scaled, params
        )
        return updates, opt_state

    return Optimizer(inner.init, update)
