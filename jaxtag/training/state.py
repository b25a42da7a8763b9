"""The state of a run, a plain pytree `{step, params, collections, opt_state}`, and the numbers beside it.

State holds no function and no key: what a step draws is folded from (seed, stream, step).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.data import order
from jaxtag.data.posts import FIRST_WORD
from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import replicated, state_shardings, unbox
from jaxtag.systems import System
from jaxtag.training.optimizers import Optimizer
from jaxtag.training.schedules import total_steps, warmup_steps

INITIAL, DROPOUT = 0, 1  # streams of random numbers
State = dict[str, Any]


def key_of(seed: Any, stream: int, step: Any = 0) -> jax.Array:
    """The key of a stream at a step. Threefry, because other kinds change their bits under vmap."""
    key = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(key, stream), step)


def numbers_of(experiment: Experiment, rows: np.ndarray, hashtags: int, table: int) -> dict[str, Any]:
    """What a step is told rather than compiled for, as host arrays; runs that differ only here share a program.

    Args:
      experiment: whose rates and seed they are.
      rows: row numbers of the training part.
      hashtags: how many of the head's columns are hashtags.
      table: columns of the head.
    """
    training = experiment.training
    rates = {name: np.float32(getattr(training, name)) for name in ("learning_rate", "weight_decay", "l2", "smoothing")}
    return rates | {
        "warmup": np.float32(warmup_steps(training, len(rows))),
        "total": np.float32(total_steps(training, len(rows))),
        "dropout": np.float32(getattr(experiment.model, "dropout", 0)),
        "seed": np.uint32(training.seed),
        "rows": rows.astype(np.int32),
        "order": order.rectangle(len(rows)),
        "allowed": np.arange(table) < hashtags,
    }


def _initial(system: System, optimizer: Optimizer, key: jax.Array) -> State:
    variables = dict(system.init(key))
    params = variables.pop("params")
    return {"step": jnp.int32(0), "params": params, "collections": variables, "opt_state": optimizer.init(params)}


def abstract_state(system: System, optimizer: Optimizer, mesh: Mesh) -> State:
    """Shape, type and sharding of every leaf of the state; nothing is computed.

    Raises:
      JaxtagError: a parameter that the mesh's rules do not place (`jaxtag.parallel.mesh`).
    """
    boxed = jax.eval_shape(lambda: _initial(system, optimizer, key_of(0, INITIAL)))
    shardings = state_shardings(boxed, mesh)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), unbox(boxed), shardings)


def create(
    system: System, optimizer: Optimizer, abstract: State, seed: int, mesh: Mesh, vectors: np.ndarray | None = None
) -> State:
    """The state before the first step, each device making its own part.

    Args:
      system, optimizer: as given to `abstract_state`, which gave `abstract`.
      abstract: where every leaf goes.
      seed: of the initial values.
      mesh: where they go.
      vectors: word vectors `[words, d]` that the word table's rows, from the first word on, start from.
    """

    def make(seed: jax.Array, vectors: jax.Array | None) -> State:
        state = unbox(_initial(system, optimizer, key_of(seed, INITIAL)))
        if vectors is not None:
            table = state["params"]["word_table"]["table"]
            rows = min(len(vectors), len(table) - FIRST_WORD)
            state["params"]["word_table"]["table"] = table.at[FIRST_WORD : FIRST_WORD + rows].set(vectors[:rows])
        return state

    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    given = jax.device_put((np.uint32(seed), vectors), replicated(mesh))
    return jax.jit(make, out_shardings=shardings)(*given)
