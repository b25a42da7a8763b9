"""Optimizers as optax transformations whose rates are arguments, not constants.

An optimizer is `init(params) -> opt_state` and `update(gradients, opt_state, params, numbers) ->
(updates, opt_state)`, where `numbers` has traced learning_rate, weight_decay and l2. A gradient is an array, or a
`RowGradient` for a large table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxtag.experiment import Training
from jaxtag.training.row_gradients import average, dense, map_gradients, norm, scaled


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


def averages(b1: float, b2: float, eps: float, corrected: bool) -> optax.GradientTransformation:
    """m ← b1·m + (1−b1)·g, v ← b2·v + (1−b2)·g², u = m / (√v + eps); `corrected`: of m/(1−b1ᵗ) and v/(1−b2ᵗ).

    optax's Adam on gradients that may be a `RowGradient`: a large table's averages decay and take up the rows in place,
    so that a step on the CPU reads and writes the table and its averages, and no gradient of their size.
    """

    def init(params: Any) -> optax.ScaleByAdamState:
        mu, nu = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.int32(0), mu, nu)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        mu = map_gradients(lambda g, m: average(m, g, b1), updates, state.mu)
        nu = map_gradients(lambda g, v: average(v, g, b2, 2), updates, state.nu)
        count = optax.safe_increment(state.count)
        m, v = mu, nu
        if corrected:
            m, v = optax.tree.bias_correction(mu, b1, count), optax.tree.bias_correction(nu, b2, count)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), m, v), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def clipped(limit: float) -> optax.GradientTransformation:
    """g ← g·min(1, limit / ‖g‖), the norm over all parameters; 0 clips nothing."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        found = norm(updates)
        return scaled(updates, jnp.where(found < limit, 1, limit / found)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update) if limit else optax.identity()


def _adam(training: Training) -> optax.GradientTransformation:
    return averages(0.9, 0.999, 1e-8, corrected=True)


# The rule by name; `lazy_adam` is Adam's rule on the rows that `jaxtag.training.rows` hands it.
SCALINGS: dict[str, Callable[[Training], optax.GradientTransformation]] = {
    "sgd": lambda training: optax.identity(),
    "adam": _adam,
    "lazy_adam": _adam,
    "adagrad": lambda training: optax.scale_by_rss(training.accumulator, eps=1e-10),
    "bert_adam": lambda training: averages(0.9, 0.999, 1e-6, corrected=False),
}
ROW_GRADIENTS = ("adam", "lazy_adam", "bert_adam")  # those that take a `RowGradient` as it is


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
    - `bert_adam`: u = m / (√v + 1e-6), averages without correction (SYSTEMS 3.3).

    An l2 of 0 in `training` is left out of the program: `numbers` gives its size where it is in. It makes gradients of
    large tables dense, and costs three more passes over them.

    Weight decay and l2 reach every parameter; of a table with `training.rows`, the rows that the batch touches.
    """
    inner = optax.chain(clipped(training.clip), SCALINGS[training.optimizer](training))
    by_rows = training.optimizer in ROW_GRADIENTS and not training.l2

    def update(gradients: Any, opt_state: Any, params: Any, numbers: dict[str, Any]) -> tuple[Any, Any]:
        if not by_rows:
            gradients = map_gradients(dense, gradients, params)
        if training.l2:
            gradients = jax.tree.map(lambda g, p: g + numbers["l2"] * p, gradients, params)
        moves, opt_state = inner.update(gradients, opt_state, params)
        updates = jax.tree.map(
            lambda u, p: -numbers["learning_rate"] * (u + numbers["weight_decay"] * p), moves, params
        )
        return updates, opt_state

    return Optimizer(inner.init, update, training)
