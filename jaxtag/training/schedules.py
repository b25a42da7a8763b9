"""Schedules: the share of the learning rate that a step takes, a pure function of the step and of two numbers.

`plateau` is `constant` here: the loop lowers the learning rate itself, between dispatches (`jaxtag.training.memory`).
So is `drop`, whose fall `rate` takes from two numbers of its own.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxtag.data import order
from jaxtag.experiment import Training


def total_steps(training: Training, posts: int) -> int:
    """Steps of a whole run on `posts` training posts: `training.steps`, or else those of `training.epochs`."""
    return training.steps or max(1, round(training.epochs * order.steps_per_epoch(posts, training.batch)))


def warmup_steps(training: Training, posts: int) -> float:
    """Steps of warm-up, fractions kept: `training.warmup`, below 1 as a share of all steps."""
    return training.warmup if training.warmup >= 1 else training.warmup * total_steps(training, posts)


def drop_step(training: Training, posts: int) -> float:
    """Steps of `training.drop_after` epochs."""
    return training.drop_after * order.steps_per_epoch(posts, training.batch)


def constant(step: jax.Array, warmup: jax.Array, total: jax.Array) -> jax.Array:
    """min(1, s / warmup) at step s, from 0: the first step of a warm-up moves nothing."""
    return jnp.where(warmup > 0, jnp.minimum(step / jnp.maximum(warmup, 1e-6), 1), 1)


def linear(step: jax.Array, warmup: jax.Array, total: jax.Array) -> jax.Array:
    """s / warmup, then (total − s) / (total − warmup), down to 0; s is read before it moves, as in BERT."""
    after = jnp.maximum(total - step, 0) / jnp.maximum(total - warmup, 1e-6)
    return jnp.where(step < warmup, step / jnp.maximum(warmup, 1e-6), after)


def noam(step: jax.Array, warmup: jax.Array, total: jax.Array) -> jax.Array:
    """min(√(warmup / s), s / warmup), s from 1: 1 at the end of the warm-up (Vaswani et al. 2017; SYSTEMS 1.8).

    That paper's rate, d^−½ · min(s^−½, s · warmup^−1½), is this with a learning_rate of (d · warmup)^−½, the
    peak: 7.0e-4 for d = 512 and 4,000 steps.
    """
    s = step + 1
    return jnp.minimum(jnp.sqrt(warmup / s), s / warmup)


SCHEDULES: dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "constant": constant,
    "linear": linear,
    "noam": noam,
    "plateau": constant,
    "drop": constant,
}


def rate(training: Training, numbers: dict[str, jax.Array], step: jax.Array) -> jax.Array:
    """The learning rate at `step`, steps done before it; float32, traceable."""
    step = step.astype(jnp.float32)
    share = SCHEDULES[training.schedule](step, numbers["warmup"], numbers["total"])
    if training.schedule == "drop":
        share = share * jnp.where(step < numbers["drop"], 1, numbers["drop_factor"])
    return numbers["learning_rate"] * share
