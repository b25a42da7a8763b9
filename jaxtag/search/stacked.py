"""Programs of many runs of one shape: those of one run (`jaxtag.training.programs`) over a stack of states.

A stack has a place for each member. A member is told how many steps it takes, and one that takes none is not changed;
so each goes at its own pace, and stops alone. Over several devices each has places of its own: a member lies on one
device, and its batch is never split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtag import ranking
from jaxtag.data.batches import Resident
from jaxtag.evaluation import metrics
from jaxtag.evaluation.evaluate import evaluated_by
from jaxtag.experiment import Evaluation
from jaxtag.systems import System
from jaxtag.training.optimizers import optimizer
from jaxtag.training.programs import KEPT, Shape
from jaxtag.training.step import make_train_step, many_steps
from jaxtag.training.validation import validation_sums_of

Way = Literal["in turn", "together"]
AXIS = "members"


def way_of(platform: str) -> Way:
    """How members are computed on a device: `in turn` (`lax.map`) on a CPU, elsewhere `together` (`vmap`)."""
    return "in turn" if platform == "cpu" else "together"


def mesh_of(devices: Any) -> Mesh:
    """The devices in a row, each for members of its own."""
    return Mesh(np.asarray(devices), (AXIS,))


def by_member(mesh: Mesh) -> NamedSharding:
    """Members spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


@dataclass(frozen=True)
class Judged:
    """What a program of evaluations is made of beside a shape.

    Attributes:
      hashtags: how many there are, all of them candidates.
      k, ks, least, threshold: as of `jaxtag.evaluation.evaluate.evaluated_by`.
    """

    hashtags: int
    k: int
    ks: tuple[int, ...]
    least: int
    threshold: float


def judged_by(evaluation: Evaluation, hashtags: int) -> Judged:
    """How `evaluation` judges rankings of so many hashtags."""
    k = min(max(evaluation.k), hashtags)
    ks = tuple(c for c in evaluation.k if c <= k)
    return Judged(hashtags, k, ks, evaluation.min_predictions, evaluation.threshold)


@dataclass(frozen=True)
class Stacked:
    """The compiled functions of a population; every argument but `feeds` has an axis of members first.

    Attributes:
      dispatch: `(feeds, states, numbers, which, steps) -> (states, sums)`: each member's own `steps`; the states are
        donated.
      judge: `(feeds, states, numbers, which, rows [n, C, B], parts) -> (sums, losses)`: of the posts in the first
        `parts` of a member's `rows`, −1 for none, what `jaxtag.evaluation.metrics.finish` makes metrics of, and loss
        and weight of each part `[n, C]`.
      keep: `(best, states, better) -> best`: the states of those that are better; `best` is donated.
      pick: `(states, place) -> state`.
      take: `(states, places) -> states`.
    """

    dispatch: Callable[..., Any]
    judge: Callable[..., Any]
    keep: Callable[..., Any]
    pick: Callable[..., Any]
    take: Callable[..., Any]


@lru_cache(maxsize=KEPT)
def programs_of(shape: Shape, judged: Judged, several: bool, way: Way, mesh: Mesh) -> Stacked:
    """The programs of populations of a shape, compiled for each size of one.

    Args:
      shape: of every member, on a mesh of one device.
      judged: how all are evaluated.
      several: whether `feeds` are stacked, and `which` says whose feed is whose; else there is one feed.
      way, mesh: how and where.
    """
    assert isinstance(shape.source, Resident)
    system, training, source = shape.system, shape.experiment.training, shape.source.without_posts(placed=False)
    steps_of = many_steps(make_train_step(system, optimizer(training)), source, training.batch)

    def feed_of(feeds: Any, which: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[which], feeds) if several else feeds

    def dispatch(feeds: Any, state: Any, numbers: Any, which: jax.Array, steps: jax.Array) -> Any:
        return steps_of(state, numbers, feed_of(feeds, which), steps)

    judged_by_one = _judge(system, source, judged)

    def judge(feeds: Any, state: Any, numbers: Any, which: jax.Array, rows: jax.Array, parts: jax.Array) -> Any:
        return judged_by_one(feed_of(feeds, which), state, numbers, rows, parts)

    def keep(best: Any, states: Any, better: jax.Array) -> Any:
        chosen = lambda old, new: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)  # noqa: E731
        return jax.tree.map(chosen, best, states)

    def pick(states: Any, places: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[places], states)

    whole, split = NamedSharding(mesh, PartitionSpec()), by_member(mesh)
    return Stacked(
        jax.jit(_mapped(dispatch, way, mesh), donate_argnums=1),
        jax.jit(_mapped(judge, way, mesh)),
        jax.jit(keep, donate_argnums=0),
        jax.jit(pick, out_shardings=whole),
        jax.jit(pick, out_shardings=split),
    )


def _judge(system: System, source: Resident, judged: Judged) -> Callable[..., Any]:
    """`judge(columns, state, numbers, rows, parts)` of one member, as of `Stacked`."""
    evaluate = evaluated_by(system, source, judged.k, judged.ks, judged.least)
    loss_of = validation_sums_of(system, source)

    def judge(columns: Any, state: Any, numbers: Any, rows: jax.Array, parts: jax.Array) -> Any:
        variables = (state["params"], state["collections"])
        labels = jnp.arange(judged.hashtags)
        table = ranking.candidate_table(system, *variables, labels)

        def one(part: jax.Array) -> Any:
            feed, valid = (columns, part), part >= 0
            return evaluate(state, table, labels, feed, valid)[0], loss_of(variables, numbers, feed, valid)

        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, rows[0])[0])
        losses = (jnp.zeros(len(rows)), jnp.zeros(len(rows)))

        def add(i: jax.Array, carry: Any) -> Any:
            sums, loss = one(rows[i])
            return metrics.add(carry[0], sums), jax.tree.map(lambda x, y: x.at[i].set(y), carry[1], loss)

        return lax.fori_loop(0, parts, add, (zero, losses))

    return judge


def _mapped(f: Callable[..., Any], way: Way, mesh: Mesh) -> Callable[..., Any]:
    """`f(shared, *own)` of every member, what is its `own` stacked; members are spread over the devices of `mesh`."""

    @wraps(f)
    def each(shared: Any, *own: Any) -> Any:
        if way == "together":
            return jax.vmap(lambda *one: f(shared, *one))(*own)
        return lax.map(lambda one: f(shared, *one), own)

    @wraps(f)
    def spread(shared: Any, *own: Any) -> Any:
        whole, split = PartitionSpec(), PartitionSpec(AXIS)
        specs = (whole, *(split for _ in own))
        return jax.shard_map(each, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(shared, *own)

    return each if mesh.size == 1 else spread
