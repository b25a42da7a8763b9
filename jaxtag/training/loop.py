"""The trainer: dispatches of steps, with evaluations, checkpoints and signals between them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag.data.batches import Source
from jaxtag.errors import Diverged, JaxtagError, Preempted
from jaxtag.evaluation.evaluate import Evaluator
from jaxtag.fitted import Sampled
from jaxtag.parallel import distributed, watchdog
from jaxtag.runs import Bound, begun, open_posts, parameters
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.learners import BySteps, BySweeps, Learner
from jaxtag.training.logs import Log, Silent, say
from jaxtag.training.memory import Memory
from jaxtag.training.signals import signals
from jaxtag.training.trainable import check_training, cropped, few_others
from jaxtag.training.validation import Loss

_watch: ContextVar[Callable[[int, dict[str, float]], None] | None] = ContextVar("watch", default=None)


def train(run: Path, recipe: str, bound: Bound, start: Callable[[Any], Any] = lambda state: state) -> dict[str, Any]:
    """Train `bound`, by gradient or in sweeps, in the folder `run`, from its newest checkpoint where it has one.

    Args:
      run: the run folder.
      recipe: the recipe's name, kept in experiment.json.
      bound: from `jaxtag.runs.bind`.
      start: of the state before the first step, to the one that is started from.

    Returns:
      `{"run", "steps", "best_step", "<metric>", "seconds", "parameters"}` with the best validation metric.

    Raises:
      JaxtagError: the folder is another run's or in use, or the loss is not finite; the message names the step.
      Preempted: SIGTERM or SIGINT came; everything is saved.
    """
    check_training(bound)
    vectors = initial_vectors(bound)
    source = open_posts(bound, say)
    with begun(run, recipe, bound), watchdog.watching(doing="before the first step"):
        trainer = Trainer(run, bound, source, vectors, start)
        try:
            return trainer.run()
        finally:
            trainer.close()


@contextmanager
def watched(watch: Callable[[int, dict[str, float]], None]) -> Iterator[None]:
    """While open, `watch(step, metrics)` hears of every evaluation, once it is saved; what it raises ends the run."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def initial_vectors(bound: Bound) -> np.ndarray | None:
    """The word vectors that the word table starts from, where the experiment names some.

    Raises:
      JaxtagError: the split has none of that name, or they have another width than the table.
    """
    name = bound.experiment.network.data.vectors
    if not name:
        return None
    vectors = np.asarray(bound.split.vectors(name))
    width = bound.abstract["params"]["word_table"]["table"].shape[1]
    if vectors.shape[1] != width:
        raise JaxtagError(
            f"word vectors {name!r} have width {vectors.shape[1]}, model.embedding is {width}",
            f"--model.embedding {vectors.shape[1]}",
        )
    return vectors


class Trainer:
    """One run under way; `run` is the loop, the rest are its parts, in the order they happen."""

    def __init__(
        self,
        run: Path,
        bound: Bound,
        source: Source,
        vectors: np.ndarray | None,
        start: Callable[[Any], Any] = lambda state: state,
    ):
        """Restore the newest checkpoint of `run`, or make the first state; of a gradient system from `vectors`."""
        training, self._bound = bound.experiment.training, bound
        self._path, self._training = run, training
        self._learner: Learner
        if isinstance(bound.system, Sampled):
            self._learner = BySweeps(bound, source)
        else:
            self._learner = BySteps(bound, source, vectors, start)
        self._per_epoch, self._total = self._learner.per_epoch, self._learner.total
        self._every = training.evaluate_every or self._per_epoch
        say(
            f"{parameters(bound):,} parameters; {len(bound.split.train):,} posts, "
            f"{len(bound.split.hashtags)} hashtags; {self._per_epoch} steps an epoch; mesh {dict(bound.mesh.shape)}"
        )
        for said in filter(None, (cropped(bound), few_others(bound))):
            say(said)
        self._evaluator = Evaluator(bound, source, bound.split.hashtags)
        self._loss = Loss(self._learner.loss, source, bound.experiment.evaluation.batch, bound.mesh)
        self._checkpoints = Checkpoints(run / "checkpoints")
        self._memory, self._state = self._begin()
        self._lower()
        self._log = Log(run, self._step, self._total, training.tensorboard) if distributed.leads() else Silent()
        self._pending: tuple[int, int, Any] | None = None  # first step, steps, what the dispatch in flight tells
        self._clock = self._saved = time.perf_counter()
        self._pace = 1  # steps a dispatch, set by the measured speed
        self._idle = True  # nothing was done since this start
        self._ended = False  # on every process alike

    def run(self) -> dict[str, Any]:
        """Train to the end, or until stopped early or asked to stop."""
        stop = threading.Event()
        with signals(stop, lambda: self._idle), jax.transfer_guard("disallow"):
            self._clock = time.perf_counter()
            while not self._memory.finished:
                self._launch(self._steps())
                self._idle = False
                self._checkpoints.check()
                stopping = distributed.stopping(stop.is_set())
                if self._step % self._every == 0 or self._step == self._total:
                    self._evaluate()
                elif stopping or distributed.lead("saving", self._due()):
                    self._save(None)
                if stopping and not self._memory.finished:
                    self._checkpoints.wait()
                    self._ended = True
                    raise Preempted(f"stopped at step {self._step}, saved; the same command goes on from there")
        self._ended = True
        return self._summary()

    def close(self) -> None:
        """Finish saving, and close the log; one process of several cannot finish saving alone."""
        try:
            if self._ended or distributed.count() == 1:
                self._checkpoints.close()
        finally:
            self._log.close()

    def _begin(self) -> tuple[Memory, Any]:
        self._step = 0
        if saved := self._checkpoints.resume(self._bound.abstract):
            self._step, state, memory = saved
            memory.pop("format")
            say(f"going on from step {self._step}")
            return Memory(**memory).ended(self._step, self._total, self._training), state
        return Memory(), self._learner.first()

    def _lower(self) -> None:
        """Train on at the rate that the schedule `plateau` has come to."""
        if self._memory.drops:
            self._learner.lower(self._memory.learning_rate(self._training))

    def _steps(self) -> int:
        """How many steps the next dispatch has: to the next evaluation or checkpoint at most."""
        marks = [self._every, *filter(None, [self._training.checkpoint_steps])]
        steps = min(self._pace, self._learner.most, self._total - self._step, *(m - self._step % m for m in marks))
        return distributed.lead("steps", steps)  # the clock that sets the pace is each process's own

    def _due(self) -> bool:
        """Whether a checkpoint is, by time or by steps."""
        late = time.perf_counter() - self._saved > 60 * self._training.checkpoint_minutes
        return late or bool(self._training.checkpoint_steps) and self._step % self._training.checkpoint_steps == 0

    def _launch(self, steps: int) -> None:
        """Start a dispatch, then look at the one before it: the device never waits for the host."""
        self._state, sums = self._learner.dispatch(self._state, self._step, steps)
        self._look()
        self._pending = (self._step, steps, sums)
        self._step += steps

    def _look(self) -> None:
        """Log the dispatch in flight once it is done, and set the pace of the next.

        Raises:
          Diverged: a loss in it is not finite.
        """
        if self._pending is None:
            return
        first, steps, sums = self._pending
        self._pending = None
        jax.block_until_ready(sums)
        watchdog.tell(f"at step {first + steps} of {self._total}")
        now = time.perf_counter()
        seconds, self._clock = max(now - self._clock, 1e-9), now
        row, bad = self._learner.told(sums, first, steps, seconds)
        if bad is not None:
            kept = self._checkpoints.newest()
            raise Diverged(
                f"the loss is not finite at step {bad}; "
                + (f"the checkpoint of step {kept} is kept" if kept else "nothing was saved yet"),
                "lower training.learning_rate or training.clip",
            )
        self._pace = max(1, min(2 * steps, round(steps * self._training.dispatch_seconds / seconds)))
        self._memory = replace(self._memory, seconds=self._memory.seconds + seconds)
        at = {"kind": "train", "step": first + steps, "epoch": (first + steps) / self._per_epoch}
        self._log.write(at | row | {"seconds": self._memory.seconds}, show=self._learner.shown)

    def _evaluate(self) -> None:
        """Evaluate on the validation part, decide whether to go on, save."""
        self._look()
        name = self._bound.experiment.evaluation.metric
        rows = self._bound.split.part("validation")
        found = self._evaluator(self._state, rows).metrics
        loss = self._loss(self._state, self._learner.numbers, rows)
        watchdog.tell(f"at step {self._step} of {self._total}")
        found, loss = distributed.lead("validation", (found, loss))  # hosts of another kind may round otherwise
        value, before = found[name], self._memory
        self._memory = m = before.judged(value, self._step, self._total, self._training)
        if m.drops > before.drops:
            self._lower()
        row = {"kind": "validation", "step": self._step, "epoch": self._step / self._per_epoch, **found, "loss": loss}
        self._log.write(row, show=(name,))
        say(
            f"step {self._step}, epoch {self._step / self._per_epoch:.2f}: validation {name} {value:.4f}"
            + (f", best {m.best:.4f} at step {m.best_step}" if m.worse else ", the best so far")
            + (f"; learning rate {m.learning_rate(self._training):.3g} from here" if m.drops > before.drops else "")
        )
        self._save(value)
        if watch := _watch.get():
            watch(self._step, found)
        self._clock = time.perf_counter()

    def _save(self, metric: float | None) -> None:
        self._look()
        with jax.transfer_guard("allow"):  # Orbax copies the state to the host
            self._checkpoints.save(self._step, self._state, dict(self._memory.__dict__), metric)
        self._saved = self._clock = time.perf_counter()

    def _summary(self) -> dict[str, Any]:
        self._checkpoints.wait()
        m = self._memory
        return {
            "run": str(self._path),
            "steps": self._step,
            "best_step": m.best_step,
            self._bound.experiment.evaluation.metric: m.best,
            "seconds": round(m.seconds, 2),
            "parameters": parameters(self._bound),
        }
