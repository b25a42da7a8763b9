"""Optimizers as optax transformations whose rates are arguments, not constants.

An optimizer is `init(params) -> opt_state` and `update(gradients, opt_state, params, numbers) ->
(updates, opt_state)`, where `numbers` has traced learning_rate, weight_decay and l2. A gradient is an array, or a
`RowGradient` for a large table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxtag.experiment import Training
from jaxtag.training.row_gradients import added, dense, map_gradients, norm, scaled

PERIOD = 128  # steps after which Adam's averages are rescaled: by then first ones are divided by 0.9¹²⁸, 1.4e-6


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


class Averages(NamedTuple):
    """What `averages` keeps: after k steps since they were last rescaled, m is b1ᵏ·first and v is b2ᵏ·second.

    Attributes:
      count: steps taken.
      first, second: the averages of the gradient and of its square, a leaf a parameter, undecayed.
    """

    count: jax.Array
    first: Any
    second: Any


def averages(b1: float, b2: float, eps: float, corrected: bool, period: int = PERIOD) -> optax.GradientTransformation:
    """m ← b1·m + (1−b1)·g, v ← b2·v + (1−b2)·g², u = m / (√v + eps); `corrected`: of m/(1−b1ᵗ) and v/(1−b2ᵗ).

    Adam, of gradients that may be a `RowGradient`. Nothing decays at each step: gradients are added by the weight
    (1−b1)/b1ᵏ that makes up for it, and every `period` steps what is kept is multiplied by b1ᵏ. So a step reads and
    writes a large table, and of its averages, which it reads, writes the rows of the batch alone: it moves half of what
    it would if they decayed. The numbers are Adam's but for rounding.

    Args:
      b1, b2: how much of m and v a step keeps.
      eps: added to the root.
      corrected: for starting at zeros.
      period: steps; 1 where a step is given a part of the averages and leaves the others as they are.
    """

    def init(params: Any) -> Averages:
        return Averages(jnp.int32(0), *(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

    powers = [np.float64(b) ** np.arange(1, period + 1) for b in (b1, b2)]

    def rescale(_: Any, kept: tuple[Any, Any]) -> tuple[Any, Any]:
        return tuple(jax.tree.map(lambda x, by=by: float(by[-1]) * x, tree) for by, tree in zip(powers, kept))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Averages]:
        due = (state.count % period == 0).astype(jnp.int32)
        kept = state.first, state.second
        # A loop of no or one turn is done in place, where a branch would copy.
        first, second = rescale(0, kept) if period == 1 else lax.fori_loop(0, due, rescale, kept)
        count = state.count + 1
        by1, by2 = (jnp.asarray(by, jnp.float32)[state.count % period] for by in powers)
        first = map_gradients(lambda g, m: added(m, g, lambda g: (1 - b1) / by1 * g), updates, first)
        second = map_gradients(lambda g, v: added(v, g, lambda g: (1 - b2) / by2 * g**2), updates, second)
        if corrected:  # 1 − bᵗ without cancelling: 1 − 0.999 in float32 is off by 1e-5
            by1, by2 = (-by / jnp.expm1(count * math.log(b)) for by, b in ((by1, b1), (by2, b2)))
        moves = jax.tree.map(lambda m, v: by1 * m / (jnp.sqrt(by2 * v) + eps), first, second)
        return moves, Averages(count, first, second)

    return optax.GradientTransformation(init, update)


def clipped(limit: float) -> optax.GradientTransformation:
    """g ← g·min(1, limit / ‖g‖), the norm over all parameters; 0 clips nothing."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        found = norm(updates)
        return scaled(updates, jnp.where(found < limit, 1, limit / found)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update) if limit else optax.identity()


# The rule by name; `lazy_adam` is Adam's rule on the rows that `jaxtag.training.rows` hands it.
SCALINGS: dict[str, Callable[[Training], optax.GradientTransformation]] = {
    "sgd": lambda training: optax.identity(),
    "adam": lambda training: averages(0.9, 0.999, 1e-8, corrected=True),
    "lazy_adam": lambda training: averages(0.9, 0.999, 1e-8, corrected=True, period=1),
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
