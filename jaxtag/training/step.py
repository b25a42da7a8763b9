"""The training step, and many of them in one dispatch."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from jaxtag.data.batches import Source
from jaxtag.parallel.mesh import replicated
from jaxtag.systems import System
from jaxtag.training.gradients import gradient_of
from jaxtag.training.optimizers import Optimizer
from jaxtag.training.row_gradients import norm, scaled
from jaxtag.training.rows import Step, by_rows
from jaxtag.training.schedules import rate
from jaxtag.training.state import DROPOUT, State, key_of, keys_of

SUMS = ("loss", "weight", "gradient_norm", "learning_rate", "rows")  # what a step tells


def make_train_step(system: System, optimizer: Optimizer, mesh: Mesh | None = None) -> Step:
    """`train_step(state, numbers, batch) -> (state, sums)`: one update, from sums divided once.

    `sums` has `loss` and `weight`, summed over the whole batch, `gradient_norm`, before clipping,
    `learning_rate`, and `rows`, how many rows the batch touched of its most touched table, 0 where all
    are dense. What `optimizer.training` says of accumulation, precision and rows is wrapped around it.

    Args:
      system, optimizer: that learn.
      mesh: where; None leaves the layout of what `training.rows` gathers to the compiler.
    """

    def sized(system: System) -> Step:
        gradient = gradient_of(system, optimizer.training, mesh)

        def train_step(state: State, numbers: dict[str, Any], batch: dict[str, Any]) -> tuple[State, dict[str, Any]]:
            posts = len(jax.tree.leaves(batch)[0])
            keys = keys_of(key_of(numbers["seed"], DROPOUT, state["step"]), posts)
            params, opt_state = state["params"], state["opt_state"]
            (loss, (weight, collections)), grads = gradient(params, state["collections"], batch, numbers, keys)
            grads = scaled(grads, 1 / jnp.maximum(weight, 1))
            now = numbers | {"learning_rate": rate(optimizer.training, numbers, state["step"])}
            updates, opt_state = optimizer.update(grads, opt_state, params, now)
            params = optax.apply_updates(params, updates)
            step = state["step"] + 1
            told = (loss, weight, norm(grads), now["learning_rate"], jnp.float32(0))
            state = {"step": step, "params": params, "collections": collections, "opt_state": opt_state}
            return state, dict(zip(SUMS, told))

        return train_step

    return by_rows(system, sized, optimizer.training, mesh)


def many_steps(step: Step, source: Source, batch: int) -> Any:
    """`dispatch(state, numbers, feed, steps) -> (state, sums)`: up to `source.steps` steps; traceable.

    The number of steps is traced, so chunks of any lengths give the same bits from one compilation.
    `sums` holds each step's sums, `[source.steps]`; those past `steps` are zeros.
    """

    def dispatch(state: State, numbers: dict[str, Any], feed: Any, steps: jax.Array) -> tuple[State, Any]:
        def body(i: jax.Array, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, kept = carry
            state, sums = step(state, numbers, source.fetch(feed, numbers, state["step"], i, batch))
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), kept, sums)

        kept = {name: jnp.zeros(source.steps) for name in SUMS}
        return lax.fori_loop(0, steps, body, (state, kept))

    return dispatch


def make_dispatch(step: Step, source: Source, batch: int, abstract: State, mesh: Mesh) -> Any:
    """`many_steps` of a state that lies as `abstract` says on `mesh`, compiled once; the state is donated."""
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    same = replicated(mesh)
    return jax.jit(
        many_steps(step, source, batch),
        donate_argnums=0,
        in_shardings=(shardings, same, source.feed_shardings(), same),
        out_shardings=(shardings, same),
    )
