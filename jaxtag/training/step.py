"""The training step, and many of them in one dispatch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh

from jaxtag.data.batches import Source
from jaxtag.parallel.mesh import replicated
from jaxtag.systems import System
from jaxtag.training.optimizers import Optimizer
from jaxtag.training.state import DROPOUT, State, key_of

Step = Callable[[State, dict[str, Any], dict[str, Any]], tuple[State, dict[str, jax.Array]]]


def make_train_step(system: System, optimizer: Optimizer) -> Step:
    """`train_step(state, numbers, batch) -> (state, sums)`: one update, from sums divided once.

    `sums` has `loss` and `weight`, summed over the whole batch, and `gradient_norm`, before clipping.
    """

    def total(params: Any, collections: Any, batch: Any, numbers: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        loss, weight, collections = system.loss(params, collections, batch, numbers, key)
        return loss.sum(), (weight.sum(), collections)

    def train_step(state: State, numbers: dict[str, Any], batch: dict[str, Any]) -> tuple[State, dict[str, jax.Array]]:
        key = key_of(numbers["seed"], DROPOUT, state["step"])
        params, opt_state = state["params"], state["opt_state"]
        gradient = jax.value_and_grad(total, has_aux=True)
        (loss, (weight, collections)), grads = gradient(params, state["collections"], batch, numbers, key)
        grads = jax.tree.map(lambda g: g / jnp.maximum(weight, 1), grads)
        updates, opt_state = optimizer.update(grads, opt_state, params, numbers)
        params = optax.apply_updates(params, updates)
        sums = {"loss": loss, "weight": weight, "gradient_norm": optax.global_norm(grads)}
        return {"step": state["step"] + 1, "params": params, "collections": collections, "opt_state": opt_state}, sums

    return train_step


def make_dispatch(step: Step, source: Source, batch: int, abstract: State, mesh: Mesh) -> Any:
    """`dispatch(state, numbers, feed, steps) -> (state, sums)`: up to `source.steps` steps, compiled once.

    The number of steps is traced, so chunks of any lengths give the same bits from one compilation.
    `sums` holds each step's sums, `[source.steps]`; those past `steps` are zeros. The state is donated.
    """

    def dispatch(state: State, numbers: dict[str, Any], feed: Any, steps: jax.Array) -> tuple[State, Any]:
        def body(i: jax.Array, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, kept = carry
            state, sums = step(state, numbers, source.fetch(feed, numbers, state["step"], i, batch))
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), kept, sums)

        kept = {name: jnp.zeros(source.steps) for name in ("loss", "weight", "gradient_norm")}
        return lax.fori_loop(0, steps, body, (state, kept))

    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    same = replicated(mesh)
    return jax.jit(
        dispatch,
        donate_argnums=0,
        in_shardings=(shardings, same, source.feed_shardings(), same),
        out_shardings=(shardings, same),
    )
