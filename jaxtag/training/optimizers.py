"""Optimizers as optax transformations whose rates are arguments, not constants.

An optimizer is `init(params) -> opt_state` and `update(gradients, opt_state, params, numbers) ->
(updates, opt_state)`, where `numbers` has traced learning_rate, weight_decay and l2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxtag.experiment import Training


@dataclass(frozen=True)
class Optimizer:
    """The two functions of an optimizer.

    Attributes:
      init: opt_state of params.
      update: updates and opt_state of gradients, opt_state, params and numbers.
      training: the settings it was made of; the step's own options are among them.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, dict[str, Any]], tuple[Any, Any]]
    training: Training


def bert_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6) -> optax.GradientTransformation:
    """Adam without bias correction: m ← b1·m + (1−b1)·g, v ← b2·v + (1−b2)·g², u = m / (√v + eps) (SYSTEMS 3.3)."""

    def init(params: Any) -> Any:
        return {"mu": jax.tree.map(jnp.zeros_like, params), "nu": jax.tree.map(jnp.zeros_like, params)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["mu"], updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["nu"], updates)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu), {"mu": mu, "nu": nu}

    return optax.GradientTransformation(init, update)


def _adam(training: Training) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


# The rule by name; `lazy_adam` is Adam's rule on the rows that `jaxtag.training.rows` hands it.
SCALINGS: dict[str, Callable[[Training], optax.GradientTransformation]] = {
    "sgd": lambda training: optax.identity(),
    "adam": _adam,
    "lazy_adam": _adam,
    "adagrad": lambda training: optax.scale_by_rss(training.accumulator, eps=1e-10),
    "bert_adam": lambda training: bert_adam(),
}


def optimizer(training: Training) -> Optimizer:
    """The optimizer that `training` names.

    The update of a parameter θ with gradient g: g ← g + l2·θ; g ← g·min(1, clip / ‖g‖) over all
    parameters; u ← the named rule of g; θ ← θ − learning_rate·(u + weight_decay·θ). The rules:

    - `sgd`: u = g.
    - `adam`: u = m̂ / (√v̂ + 1e-8), bias-corrected averages with 0.9 and 0.999 (Kingma & Ba 2015).
    - `lazy_adam`: the same, but a step leaves the averages of the table rows that its batch does not touch
      as they are, where Adam lets them decay and moves those rows by what is left of them. The correction
      counts all steps. So it learns other numbers than `adam`; it is for tables too large for that.
    - `adagrad`: s ← s + g², u = g / √(s + 1e-10), s from `training.accumulator`; 0 where s is (Duchi et al. 2011).
    - `bert_adam`: u = m / (√v + 1e-6), averages without correction (`bert_adam`).

    Weight decay and l2 reach every parameter; of a table with `training.rows`, the rows that the batch touches.
    """
    clip = optax.clip_by_global_norm(training.clip) if training.clip else optax.identity()
    inner = optax.chain(clip, SCALINGS[training.optimizer](training))

    def update(gradients: Any, opt_state: Any, params: Any, numbers: dict[str, Any]) -> tuple[Any, Any]:
        gradients = jax.tree.map(lambda g, p: g + numbers["l2"] * p, gradients, params)
        scaled, opt_state = inner.update(gradients, opt_state, params)
        updates = jax.tree.map(
            lambda u, p: -numbers["learning_rate"] * (u + numbers["weight_decay"] * p), scaled, params
        )
        return updates, opt_state

    return Optimizer(inner.init, update, training)
