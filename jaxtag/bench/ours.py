"""Our side of a measurement: training's own dispatches on resident columns."""

import time
from typing import Any

import jax
import numpy as np

from jaxtag.bench.posts import Posts
from jaxtag.data.batches import Resident
from jaxtag.experiment import Experiment
from jaxtag.layers.parameters import CONSTANTS
from jaxtag.parallel.mesh import make_mesh, replicated
from jaxtag.plan.workload import sizes_of
from jaxtag.systems import build
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step


class Ours:
    """A run at full speed: many steps a dispatch, the state donated, batches gathered inside the program."""

    def __init__(self, experiment: Experiment, posts: Posts):
        """Compile, and run a step; `described` says what came of it."""
        started = time.perf_counter()
        self._mesh = make_mesh(experiment.parallel)
        system, rule = build(experiment, sizes_of(experiment, posts.workload)), optimizer(experiment.training)
        abstract = abstract_state(system, rule, self._mesh)
        source = Resident(posts.reading, self._mesh)
        numbers = numbers_of(experiment, posts.rows, posts.hashtags, system.sizes.hashtags)
        self._numbers = jax.device_put(numbers, replicated(self._mesh))
        self._feed, self._most, self._pace = source.feed(0, 1), source.steps, 1
        step = make_train_step(system, rule, self._mesh)
        self._dispatch = make_dispatch(step, source, experiment.training.batch, abstract, self._mesh)
        self._state = _with_constants(create(system, rule, abstract, experiment.training.seed, self._mesh))
        built = time.perf_counter()
        self.steps(1)
        leaves = jax.tree.leaves(abstract["params"])
        self.described = {
            "parameters": sum(int(np.prod(x.shape)) for x in leaves),
            "start_seconds": round(built - started, 2),
            "compile_seconds": round(time.perf_counter() - built, 2),
            "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
            "version": f"jax {jax.__version__}",
        }

    def steps(self, count: int) -> None:
        """Run `count` steps and wait for them; no more than `source.steps` of them a dispatch."""
        sums: Any = None
        while count:
            now = min(count, self._most)
            given = jax.device_put(np.int32(now), replicated(self._mesh))
            self._state, sums = self._dispatch(self._state, self._numbers, self._feed, given)
            count -= now
        loss = np.asarray(sums["loss"])
        if not np.isfinite(loss).all():
            raise FloatingPointError("the loss is not finite")


def _with_constants(state: Any) -> Any:
    """The state with numbers of no meaning in place of what a run is given, such as word vectors."""
    draw, constants = np.random.default_rng(0), state["collections"].get(CONSTANTS, {})
    made = {
        name: jax.device_put(draw.normal(size=x.shape).astype(np.float32), x.sharding) for name, x in constants.items()
    }
    return {**state, "collections": {**state["collections"], **({CONSTANTS: made} if made else {})}}
