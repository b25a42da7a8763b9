"""Our side of a measurement: training's own dispatches, on columns that are resident, streamed, or not read at all."""

import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.bench import work
from jaxtag.bench.machine import peak_mib
from jaxtag.bench.posts import Posts
from jaxtag.building import build
from jaxtag.data.batches import Batch, Resident, Source, Streamed, resident
from jaxtag.experiment import Experiment
from jaxtag.layers.parameters import CONSTANTS
from jaxtag.parallel.compiling import caching
from jaxtag.parallel.mesh import check_batch, make_mesh, replicated
from jaxtag.plan import peaks
from jaxtag.plan.workload import sizes_of
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step

FETCHES = 64  # batches that are fetched alone, to see how long that takes


class Held(Streamed):
    """A few batches that lie on the device from the start, again and again: what a step takes that reads nothing."""

    def __init__(self, source: Any, mesh: Any, rows: np.ndarray, seed: int, batch: int):
        """As of `Streamed`."""
        super().__init__(source, mesh, rows, seed, batch)
        self._held = super().feed(0, self.steps)

    def feed(self, step: int, steps: int) -> Any:
        """Always the same."""
        return self._held


class Ours:
    """A run at full speed: many steps a dispatch, the state donated, one dispatch ahead of what is waited for."""

    def __init__(self, experiment: Experiment, posts: Posts, read: str = "", again: bool = True):
        """Compile, and run a step.

        Args:
          experiment: what is trained.
          posts: on what.
          read: `resident`, `streamed` or `held`; by default as data.placement says.
          again: whether to compile again from disk, to see how long that takes.

        Raises:
          JaxtagError: the mesh does not fit the devices or the batch.
        """
        started = time.perf_counter()
        self._experiment, self._posts, self._mesh = experiment, posts, make_mesh(experiment.parallel)
        check_batch("training.batch", experiment.training.batch, self._mesh)
        system, rule = build(experiment, sizes_of(experiment, posts.workload)), optimizer(experiment.training)
        abstract = abstract_state(system, rule, self._mesh)
        size = experiment.training.batch
        self._source = _source(experiment, posts, self._mesh, read or experiment.data.placement)
        numbers = numbers_of(experiment, posts.rows, posts.hashtags, system.sizes.hashtags)
        self._put = replicated(self._mesh)
        self._numbers = jax.device_put(numbers, self._put)
        step = make_train_step(system, rule, self._mesh)
        self._state = _with_constants(create(system, rule, abstract, experiment.training.seed, self._mesh))
        self._at, self.fed_seconds = 0, 0.0  # the latter: spent on making feeds
        given = self._state, self._numbers, self._source.feed(0, 1), jax.device_put(np.int32(1), self._put)
        make = lambda: make_dispatch(step, self._source, size, abstract, self._mesh).lower(*given)  # noqa: E731
        built = time.perf_counter()
        self._dispatch, times = _compiled(make, again)
        self.steps(1)
        self.described: dict[str, Any] = {
            "parameters": sum(int(np.prod(x.shape)) for x in jax.tree.leaves(abstract["params"])),
            "start_seconds": round(built - started, 2), "device": f"{jax.device_count()} x {_kind()}",
            "version": f"jax {jax.__version__}", "mesh": {axis: int(n) for axis, n in self._mesh.shape.items()},
            "placement": type(self._source).__name__.lower(),
        } | times  # fmt: skip

    def steps(self, count: int) -> None:
        """Run `count` steps and wait for them; no more than the source has of them a dispatch."""
        before: Any = None
        sums: Any = None
        while count:
            now = min(count, self._source.steps)
            began = time.perf_counter()
            feed = self._source.feed(self._at, now)
            self.fed_seconds += time.perf_counter() - began
            self._state, sums = self._dispatch(
                self._state, self._numbers, feed, jax.device_put(np.int32(now), self._put)
            )
            if before is not None:
                jax.block_until_ready(before)
            before, count, self._at = sums, count - now, self._at + now
        loss = np.asarray(sums["loss"])
        if not np.isfinite(loss).all():
            raise FloatingPointError("the loss is not finite")

    def detail(self) -> dict[str, Any]:
        """What a step asks for, beside how fast it is.

        Returns:
          `flops` of a step (`jaxtag.bench.work.flops_of_step`) and the `useful_share` of them, at `mean_lengths`;
          `peak` (`jaxtag.plan.peaks.peak`); `precision`; `fetch_ms`, how long a batch takes to be fetched by itself,
          None where the host does that; `bytes_accessed` by a step, and `temporary_mib` of the program on a device, as
          the compiler has them.
        """
        experiment, workload = self._experiment, self._posts.workload
        asked = work.flops_of_step(experiment, workload)
        means = work.mean_lengths(self._posts, experiment.training.objective == "sequence")
        analysis, memory = self._dispatch.cost_analysis(), self._dispatch.memory_analysis()
        analysis = analysis[0] if isinstance(analysis, list) else analysis
        return {
            "flops": asked, "useful_share": work.useful_share(experiment, workload, means, asked),
            "mean_lengths": {name: round(value, 2) for name, value in means.items()}, "peak": peaks.peak(),
            "precision": experiment.training.precision, "fetch_ms": self._fetch_ms(),
            "bytes_accessed": int((analysis or {}).get("bytes accessed", 0)) or None,
            "temporary_mib": memory and memory.temp_size_in_bytes / 2**20,
        }  # fmt: skip

    def memory_mib(self) -> float:
        """The most memory that was in use: of a device that tells, of the process on a CPU."""
        told = jax.local_devices()[0].memory_stats() or {}
        return told["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in told else peak_mib()

    def _fetch_ms(self) -> float | None:
        """Milliseconds that one batch takes to be fetched and read through, and nothing else."""
        if not isinstance(self._source, Resident):
            return None
        source, size, steps = self._source, self._experiment.training.batch, min(FETCHES, self._source.steps)

        def fetched(feed: Any, numbers: Any, first: jax.Array) -> jax.Array:
            def body(i: jax.Array, total: jax.Array) -> jax.Array:
                batch: Batch = source.fetch(feed, numbers, first + i, i, size)
                return total + sum(x.astype(jnp.float32).sum() for x in jax.tree.leaves(batch))

            return jax.lax.fori_loop(0, steps, body, jnp.float32(0))

        program, times = jax.jit(fetched), []
        for turn in range(4):  # the first compiles
            began = time.perf_counter()
            jax.block_until_ready(program(source.feed(turn * steps, steps), self._numbers, jnp.int32(turn * steps)))
            times.append(time.perf_counter() - began)
        return 1e3 * min(times[1:]) / steps


def _source(experiment: Experiment, posts: Posts, mesh: Any, read: str) -> Source:
    if read == "resident" or (read == "auto" and resident(posts.reading, experiment)[1]):
        return Resident(posts.reading, mesh)
    read = read.replace("auto", "streamed")
    kinds = {"streamed": Streamed, "held": Held}
    return kinds[read](posts.reading, mesh, posts.rows, experiment.training.seed, experiment.training.batch)


def _kind() -> str:
    return jax.devices()[0].device_kind


def _compiled(lower: Any, again: bool) -> tuple[Any, dict[str, float | None]]:
    """What `lower` gives, compiled, and the seconds of that.

    Returns:
      The program; `trace_seconds` in Python, `compile_seconds`, and `kept_seconds`: compiling again, when what was
      compiled is kept on disk; None where it is not (`jaxtag.parallel.compiling.keep_compiled`), or not `again`.
    """
    with tempfile.TemporaryDirectory() as folder, caching(folder) as kept:
        program, traced, compiled = _timed(lower)
        found = {"trace_seconds": traced, "compile_seconds": compiled, "kept_seconds": None}
        if kept and again:
            jax.clear_caches()  # so that it is read from disk
            found["kept_seconds"] = _timed(lower)[2]
    return program, found


def _timed(lower: Any) -> tuple[Any, float, float]:
    """What `lower` gives, compiled, and the seconds of tracing and of compiling."""
    began = time.perf_counter()
    lowered = lower()
    traced = time.perf_counter()
    program = lowered.compile()
    return program, round(traced - began, 3), round(time.perf_counter() - traced, 3)


def _with_constants(state: Any) -> Any:
    """The state with numbers of no meaning in place of what a run is given, such as word vectors."""
    draw, constants = np.random.default_rng(0), state["collections"].get(CONSTANTS, {})
    made = {
        name: jax.device_put(draw.normal(size=x.shape).astype(np.float32), x.sharding) for name, x in constants.items()
    }
    return {**state, "collections": {**state["collections"], **({CONSTANTS: made} if made else {})}}
