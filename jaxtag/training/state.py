"""The state of a run, a plain pytree `{step, params, collections, opt_state}`, and the numbers beside it.

State holds no function and no key: what a step draws is folded from (seed, stream, step).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.data import order
from jaxtag.data.posts import FIRST_WORD
from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import put, replicated, state_shardings, unbox
from jaxtag.systems import System
from jaxtag.training.optimizers import Optimizer
from jaxtag.training.schedules import drop_step, total_steps, warmup_steps

INITIAL, DROPOUT = 0, 1  # streams of random numbers
State = dict[str, Any]


def key_of(seed: Any, stream: int, step: Any = 0) -> jax.Array:
    """The key of a stream at a step. Threefry, because other kinds change their bits under vmap."""
    key = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(key, stream), step)


def keys_of(key: jax.Array, posts: int) -> jax.Array:
    """A key for each of a batch's posts `[posts]`."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(posts, dtype=jnp.uint32))


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
        "drop": np.float32(drop_step(training, len(rows))),
        "drop_factor": np.float32(training.plateau_factor),
        "dropout": np.float32(getattr(experiment.network.model, "dropout", 0)),
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


def make_create(system: System, optimizer: Optimizer, abstract: State, mesh: Mesh) -> Callable[..., State]:
    """`create(seed, vectors) -> state`: the state before the first step, each device making its own part.

    Its arguments are the seed of the initial values, and word vectors `[words, d]` that the rows of the word table,
    and of a model's other tables of words, start from, from the first word on, or None.

    Args:
      system, optimizer: as given to `abstract_state`, which gave `abstract`.
      abstract: where every leaf goes.
      mesh: where they go.
    """
    named = (path.partition("/")[0] for g in system.entry.indexed if g.size == "words" for path in g.tables)
    tables = {"word_table", *named}  # an encoder's is not among a zero-shot system's own

    def create(seed: jax.Array, vectors: tuple[jax.Array, jax.Array] | None) -> State:
        state = unbox(_initial(system, optimizer, key_of(seed, INITIAL)))
        if vectors is not None:
            for name in sorted(tables & set(state["params"])):
                table, (rows, many) = state["params"][name]["table"], vectors
                first = table[FIRST_WORD:]
                known = (jnp.arange(len(first)) < many).reshape(-1, *[1] * (table.ndim - 1))
                start = jnp.where(known, rows if table.ndim == 2 else rows[:, None], first)
                state["params"][name]["table"] = table.at[FIRST_WORD:].set(start)
        return state

    program = jax.jit(create, out_shardings=jax.tree.map(lambda x: x.sharding, abstract))

    def given(seed: int, vectors: np.ndarray | None = None) -> State:
        if vectors is None:
            return program(*put((np.uint32(seed), None), replicated(mesh)))
        size = len(abstract["params"]["word_table"]["table"]) - FIRST_WORD
        rows = np.zeros((size, vectors.shape[1]), np.float32)  # of the table's size: splits differ in their words
        rows[: len(vectors)] = vectors[:size]
        return program(*put((np.uint32(seed), (rows, np.int32(len(vectors)))), replicated(mesh)))

    return given


def create(
    system: System, optimizer: Optimizer, abstract: State, seed: int, mesh: Mesh, vectors: np.ndarray | None = None
) -> State:
    """The state before the first step; arguments as of `make_create` and of what it gives."""
    return make_create(system, optimizer, abstract, mesh)(seed, vectors)
