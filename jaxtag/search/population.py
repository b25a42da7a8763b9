"""A population: runs of one shape trained as one program, each stopping on its own, and ending as a run of its own.

FOLDER/members.json   the members' run folders: while it is there, they are this population's to finish
FOLDER/<places>/      checkpoints of newest and best states, a folder for each size that the population has had

Members are computed in turn inside the program on a CPU (`lax.map`), and are there the same runs done alone, bit for
bit. Elsewhere they are computed together (`vmap`), equal but for the order in which a product's terms are added.
Together, 4 members of zsl/rnn_attention at its size tiny took 4.8 times as long as in turn on a CPU: batched products
are slow there, and recurrent layers leave no padding out.

Together, a member that has stopped still takes its share of the arithmetic, so that once half of the places are idle,
those that go on are moved to half as many: a program for each power of two, compiled when it is needed. In turn an idle
place costs nothing. A member's batch is the same at any size.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxtag.errors import Preempted
from jaxtag.files import held, write_json
from jaxtag.progress import bar
from jaxtag.runs import begin, parameters
from jaxtag.search.members import Member, Progress, from_json, halved, leave, log_of, to_json
from jaxtag.search.places import NOBODY, Places
from jaxtag.search.stacked import Way
from jaxtag.training.learners import told
from jaxtag.training.logs import say
from jaxtag.training.signals import signals

MEMBERS = "members.json"


def train_population(
    folder: Path, recipe: str, members: Sequence[Member], places: int = 0, halving: bool = False, way: Way | None = None
) -> list[Progress]:
    """Train the members together, going on where the population in `folder` stopped; the caller removes `folder`.

    Args:
      folder: of the population.
      recipe: the recipe's name, kept in each run's experiment.json.
      members: of one shape, number of hashtags and evaluation.
      places: of the first program, at least as many as members: populations of one shape and of as many places share
        it. 0 is as many as members.
      halving: whether after 1, 2, 4, … evaluations only the better half of the points goes on.
      way: how members are computed; by default as is fastest on the devices there are.

    Returns:
      Where each member ended.

    Raises:
      JaxtagError: a member's folder is another run's or in use.
      Preempted: SIGTERM or SIGINT came; everything is saved.
    """
    with ExitStack() as stack:
        for m in members:
            m.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(m.folder))
            begin(m.folder, recipe, m.bound)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MEMBERS, [named(m.folder) for m in members])
        population = Population(members, Places(members, max(places, len(members)), folder, way), halving)
        try:
            return population.run()
        finally:
            population.close()


def named(run: Path) -> str:
    """What members.json calls a run folder of a search: the point's name and the fold's."""
    return f"{run.parent.name}/{run.name}"


class Population:
    """Runs under way together; `run` is the loop, the rest are its parts, in the order they happen."""

    def __init__(self, members: Sequence[Member], places: Places, halving: bool):
        """Go on from the newest checkpoint of `places`, or from the first states."""
        self._members, self._places, self._halving = members, places, halving
        self._training = members[0].training
        say(f"{len(members)} runs as one program, {places.way}; {parameters(members[0].bound):,} parameters each")
        if found := places.begin():
            self._count, memory = found
            self._progress = from_json(memory["progress"])
            self._goal, self._evaluations = memory["goals"], memory["evaluations"]
            self._left = set(memory["left"])
            say(f"going on from step {max(p.step for p in self._progress)}")
        else:
            self._count = self._evaluations = 0  # dispatches and evaluations done
            self._progress, self._left = [Progress() for _ in members], set[int]()
            self._goal = self._goals()
        places.tell(self._progress)
        self._logs = [log_of(m, p) for m, p in zip(members, self._progress)]
        self._pending: tuple[list[tuple[int, int, int, int]], Any] | None = None
        self._pace = 1
        self._clock = self._saved = time.perf_counter()
        self._saved_step = max(p.step for p in self._progress)

    def run(self) -> list[Progress]:
        """Train until every member has stopped, or until asked to stop."""
        stop = threading.Event()
        total = sum(m.total for m in self._members)
        with signals(stop), jax.transfer_guard("disallow"), bar("training", total) as shown:
            shown.update(sum(p.step for p in self._progress))
            self._clock = time.perf_counter()
            while self._going():
                shown.update(self._launch())
                if all(self._progress[i].step == self._goal[i] for i in self._going()):
                    self._evaluate()
                if self._going() and (self._due() or stop.is_set()):
                    self._save()
                if self._going() and stop.is_set():
                    raise Preempted("the population is stopped and saved; the same command goes on from there")
        self._leave([i for i in range(len(self._members)) if i not in self._left])
        return self._progress

    def close(self) -> None:
        """Finish saving, and close the logs."""
        self._places.close()
        for log in self._logs:
            log.close()

    def _going(self) -> list[int]:
        return [i for i, p in enumerate(self._progress) if p.going]

    def _goals(self) -> list[int]:
        """The step of each member's next evaluation."""
        return [min((p.step // m.every + 1) * m.every, m.total) for m, p in zip(self._members, self._progress)]

    def _launch(self) -> int:
        """Start a dispatch, then look at the one before it; the steps that all members take."""
        most = min(self._pace, self._places.most)
        begun = []
        for place, i in enumerate(self._places.members):
            if i != NOBODY and (p := self._progress[i]).going and p.step < self._goal[i]:
                begun.append((place, i, p.step, min(most, self._goal[i] - p.step)))
        if not begun:  # who was still on the way has diverged
            return 0
        steps = [0] * len(self._places.members)
        for place, _, _, many in begun:
            steps[place] = many
        sums = self._places.dispatch(steps)
        self._count += 1
        self._look()
        self._pending = (begun, sums)
        for _, i, first, many in begun:
            self._progress[i] = replace(self._progress[i], step=first + many)
        return sum(steps)

    def _look(self) -> None:
        """Log the dispatch in flight once it is done, set the pace of the next; who diverged in it stops."""
        if self._pending is None:
            return
        (begun, sums), self._pending = self._pending, None
        sums = jax.device_get(sums)
        now = time.perf_counter()
        seconds, self._clock = max(now - self._clock, 1e-9), now
        every = sum(many for *_, many in begun)
        for place, i, first, many in begun:
            if self._progress[i].going:
                own = {name: x[place] for name, x in sums.items()}
                self._progress[i] = self._logged(i, own, first, many, seconds * many / every)
        most = max(many for *_, many in begun)
        self._pace = max(1, min(2 * most, round(most * self._training.dispatch_seconds / seconds)))

    def _logged(self, i: int, sums: Any, first: int, steps: int, seconds: float) -> Progress:
        """The progress of a member after steps that told `sums`."""
        m, p = self._members[i], self._progress[i]
        row, bad = told(m.training, sums, first, steps, seconds)
        p = replace(p, memory=replace(p.memory, seconds=p.memory.seconds + seconds))
        if bad is None:
            at = {"kind": "train", "step": first + steps, "epoch": (first + steps) / m.epoch}
            self._logs[i].write(at | row | {"seconds": p.memory.seconds})
            return p
        kept = f"the best state, of step {p.memory.best_step}, is kept" if p.found else "nothing was evaluated yet"
        p = replace(p, failed=f"the loss is not finite at step {bad}; {kept}")
        say(f"{m.name} diverged and stops alone: {p.failed}")
        return p

    def _evaluate(self) -> None:
        """Evaluate all that go on, by one program, and decide who stops."""
        self._look()
        due = [(place, i) for place, i in enumerate(self._places.members) if i != NOBODY and self._progress[i].going]
        if not due:
            return
        better, before = [], list(self._progress)
        for (place, i), (found, loss) in zip(due, self._places.judge([place for place, _ in due])):
            m, p = self._members[i], self._progress[i].judged(found, self._members[i])
            self._progress[i] = p
            better += [place] if p.memory.best_step == p.step else []
            row = {"kind": "validation", "step": p.step, "epoch": p.step / m.epoch, **found, "loss": loss}
            self._logs[i].write(row)
        self._places.keep(better)
        self._evaluations += 1
        if self._halving and self._evaluations & (self._evaluations - 1) == 0:
            self._progress = halved(self._members, self._progress)
        self._say([i for _, i in due])
        lowered = any(p.memory.drops > old.memory.drops for p, old in zip(self._progress, before))
        if size := self._places.fewer(len(self._going())):
            self._leave([i for i in self._places.members if i != NOBODY and not self._progress[i].going])
            self._places.move(self._going(), size)
        if size or lowered:
            self._places.tell(self._progress)
        self._goal = self._goals()
        self._clock = time.perf_counter()

    def _say(self, due: Sequence[int]) -> None:
        best = max(range(len(self._members)), key=lambda i: self._progress[i].memory.best)
        steps = max(self._progress[i].step for i in due)
        memory, metric = self._progress[best].memory, self._members[best].bound.experiment.evaluation.metric
        say(
            f"evaluation {self._evaluations}, step {steps}: best validation {metric} {memory.best:.4f}, "
            f"{self._members[best].name}; {len(self._going())} of {len(self._members)} go on"
        )

    def _due(self) -> bool:
        """Whether a checkpoint is, by time or by the steps of who is furthest."""
        late = time.perf_counter() - self._saved > 60 * self._training.checkpoint_minutes
        steps = max(p.step for p in self._progress) - self._saved_step
        return late or bool(self._training.checkpoint_steps) and steps >= self._training.checkpoint_steps

    def _save(self) -> None:
        self._look()
        memory = {
            "progress": to_json(self._progress),
            "goals": self._goal,
            "evaluations": self._evaluations,
            "left": sorted(self._left),
        }
        self._places.save(self._count, memory)
        self._saved = self._clock = time.perf_counter()
        self._saved_step = max(p.step for p in self._progress)

    def _leave(self, members: Sequence[int]) -> None:
        """Write the run folders of `members`."""
        with jax.transfer_guard("allow"):
            opened = [leave(self._members[i], self._progress[i], i, self._places) for i in members]
            for checkpoints in opened:
                checkpoints.close()
        self._left.update(members)
