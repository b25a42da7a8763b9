"""What the loop runs: a system's steps, by gradient or as sweeps, compiled, and what they tell."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxtag.data import order
from jaxtag.data.batches import Source
from jaxtag.estimators import gibbs
from jaxtag.experiment import Training
from jaxtag.fitted import Sampled
from jaxtag.parallel.mesh import put, replicated
from jaxtag.runs import Bound
from jaxtag.training.ahead import Ahead, feed_of
from jaxtag.training.corpus import block_of, corpus_of, start
from jaxtag.training.programs import padded, programs_of, shape_of
from jaxtag.training.schedules import total_steps
from jaxtag.training.state import State, key_of, numbers_of
from jaxtag.training.step import SUMS
from jaxtag.training.validation import make_sums

SWEEPS = 2  # stream of random numbers, beside those of `jaxtag.training.state`
MOST_SWEEPS = 64  # that one dispatch takes


class Learner(Protocol):
    """What the loop asks of a system that it trains.

    Attributes:
      per_epoch, total: steps of an epoch, and in all.
      most: steps that one dispatch may take.
      numbers: beside the state, on the device.
      loss: sums of the validation loss (`jaxtag.training.validation.make_sums`).
      shown: which of a row's values stand behind the progress bar.
    """

    per_epoch: int
    total: int
    most: int
    numbers: Any
    loss: Callable[..., Any]
    shown: tuple[str, ...]

    def first(self) -> State:
        """The state before the first step."""
        ...

    def dispatch(self, state: State, step: int, steps: int) -> tuple[State, Any]:
        """`steps` steps from `step`; the state, and what they tell."""
        ...

    def told(self, sums: Any, step: int, steps: int, seconds: float) -> tuple[dict[str, Any], int | None]:
        """A row of metrics.jsonl from what `steps` steps from `step` told; and the first step not finite, if any."""
        ...

    def lower(self, rate: float) -> None:
        """Train on at this learning rate."""
        ...


class BySteps:
    """A gradient system's learner."""

    shown: tuple[str, ...] = ("loss", "posts_per_second")

    def __init__(self, bound: Bound, source: Source, vectors: np.ndarray | None, start: Callable[[Any], Any]):
        """Steps on posts from `source`, from the first state that `vectors` give, and `start` of it."""
        self._training, self._put = bound.experiment.training, replicated(bound.mesh)
        self._vectors, self._start, self._source = vectors, start, source
        self.per_epoch = order.steps_per_epoch(len(bound.split.train), self._training.batch)
        self.total = total_steps(self._training, len(bound.split.train))
        self.most = source.steps
        self._programs = programs_of(shape_of(bound, source))
        self.loss = self._programs.loss
        table = bound.system.sizes.hashtags
        numbers = numbers_of(bound.experiment, bound.split.train, len(bound.split.hashtags), table)
        self.numbers = put(numbers | {"rows": padded(numbers["rows"])}, self._put)
        self._bound = bound
        self._ahead: Ahead | None = None

    def first(self) -> State:
        """As of `Learner`; the steps are compiled meanwhile."""
        given = self._bound.abstract, self.numbers, feed_of(self._bound, self._source)
        self._ahead = Ahead(self._programs.dispatch, *given, jax.ShapeDtypeStruct((), np.int32, sharding=self._put))
        return self._start(self._programs.create(self._training.seed, self._vectors))

    def dispatch(self, state: State, step: int, steps: int) -> tuple[State, Any]:
        """As of `Learner`."""
        if self._ahead:
            self._ahead.wait()
        feed = self._source.feed(step, steps)
        return self._programs.dispatch(state, self.numbers, feed, put(np.int32(steps), self._put))

    def told(self, sums: Any, step: int, steps: int, seconds: float) -> tuple[dict[str, Any], int | None]:
        """As of `Learner`."""
        return told(self._training, sums, step, steps, seconds)

    def lower(self, rate: float) -> None:
        """As of `Learner`."""
        self.numbers = self.numbers | {"learning_rate": put(np.float32(rate), self._put)}


def told(training: Training, sums: Any, step: int, steps: int, seconds: float) -> tuple[dict[str, Any], int | None]:
    """What `steps` steps of a gradient system from `step` told, as of `Learner.told`."""
    loss, weight, norm, rates, rows = (np.asarray(jax.device_get(sums[k]))[:steps] for k in SUMS)
    bad = ~(np.isfinite(loss) & np.isfinite(norm))
    row = {
        "loss": float(loss.sum() / weight.sum()),
        "gradient_norm": float(norm.mean()),
        "learning_rate": float(f"{rates[-1]:.7g}"),  # as it is written: a float32 has no more digits
        "posts_per_second": steps * training.batch / seconds,
    }
    if rows.any():  # row-sparse tables: the most rows a step touched, and the steps that touched too many
        row |= {"rows": int(rows.max()), "overflowed": int((rows > training.rows).sum())}
    return row, step + int(bad.argmax()) if bad.any() else None


class BySweeps:
    """The learner of a system learned in sweeps: a step is a sweep over the training posts, and an epoch."""

    shown: tuple[str, ...] = ("loss", "moved", "posts_per_second")
    per_epoch, most = 1, MOST_SWEEPS

    def __init__(self, bound: Bound, source: Source):
        """Sweeps over the training posts of `bound`; validation posts come from `source`."""
        system = bound.system
        assert isinstance(system, Sampled)
        training, whole = bound.experiment.training, replicated(bound.mesh)
        self.total = training.steps or max(1, round(training.epochs))
        self.loss = make_sums(system, source, bound.mesh)
        self.numbers = put({"seed": np.uint32(training.seed)}, whole)
        corpus = corpus_of(system, bound.experiment, bound.reading, bound.split.train)
        self._count, self._put = int((corpus.rows >= 0).sum()), whole
        self._posts = put(corpus.posts, whole)
        shardings = jax.tree.map(lambda x: x.sharding, bound.abstract)
        self._first = jax.jit(
            lambda posts, constants, seed: start(system, corpus, posts, constants, seed), out_shardings=shardings
        )
        self._constants = put(corpus.constants, whole)
        self._dispatch = _sweeps(system, block_of(bound.experiment, corpus), shardings, whole)

    def first(self) -> State:
        """As of `Learner`."""
        return self._first(self._posts, self._constants, self.numbers["seed"])

    def dispatch(self, state: State, step: int, steps: int) -> tuple[State, Any]:
        """As of `Learner`."""
        return self._dispatch(state, self.numbers, self._posts, put(np.int32(steps), self._put))

    def told(self, sums: Any, step: int, steps: int, seconds: float) -> tuple[dict[str, Any], int | None]:
        """As of `Learner`."""
        loss, weight, moved, topical, words = (np.asarray(jax.device_get(sums[k]))[:steps] for k in gibbs.TOLD)
        bad = ~np.isfinite(loss)
        row = {
            "loss": float(loss.sum() / weight.sum()),
            "moved": float(moved.mean() / self._count),  # share of posts that changed their topic
            "topical": float(topical.sum() / words.sum()),  # share of words
            "posts_per_second": steps * self._count / seconds,
        }
        return row, step + int(bad.argmax()) if bad.any() else None

    def lower(self, rate: float) -> None:
        """Sweeps have no learning rate."""


def _sweeps(system: Sampled, block: int, shardings: Any, put: Any) -> Any:
    """`dispatch(state, numbers, posts, steps) -> (state, told)`: up to `MOST_SWEEPS` sweeps; the state is donated."""
    settings = system.settings

    def dispatch(state: State, numbers: Any, posts: Any, steps: jax.Array) -> tuple[State, Any]:
        def body(i: jax.Array, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, told = carry
            key = key_of(numbers["seed"], SWEEPS, state["step"])
            chain, more = gibbs.sweep(settings, state["opt_state"], posts, key, block)
            after = state["step"] >= jnp.maximum(settings.burn_in, 1)
            params = gibbs.kept(state["params"], chain["counts"], after)
            state = state | {"step": state["step"] + 1, "params": params, "opt_state": chain}
            return state, {name: told[name].at[i].set(more[name]) for name in gibbs.TOLD}

        return lax.fori_loop(0, steps, body, (state, {name: jnp.zeros(MOST_SWEEPS) for name in gibbs.TOLD}))

    return jax.jit(dispatch, donate_argnums=0, in_shardings=(shardings, put, put, put), out_shardings=(shardings, put))
