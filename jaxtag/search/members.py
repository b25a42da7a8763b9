"""The members of a population: what each is told, how far it is, and the run folder that it leaves.

A member ends as an ordinary run: experiment.json, metrics.jsonl, and its best and newest checkpoints, so that it is
evaluated, recommended with and trained on like one that was trained alone. Two checkpoints take about 0.15 s.
"""

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtag.data import order
from jaxtag.data.batches import Source
from jaxtag.experiment import Training
from jaxtag.runs import Bound, open_posts
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.logs import Log, say
from jaxtag.training.loop import initial_vectors
from jaxtag.training.memory import Memory
from jaxtag.training.programs import Shape, padded, programs_of, shape_of
from jaxtag.training.schedules import total_steps
from jaxtag.training.starting import start_of
from jaxtag.training.state import State, numbers_of


@dataclass(frozen=True)
class Member:
    """A run of a population.

    Attributes:
      point: its point's name; members of one point differ in their split.
      folder: of the run.
      bound: on one device; of the members of a population, the programs' shape is the same.
    """

    point: str
    folder: Path
    bound: Bound

    @property
    def name(self) -> str:
        """What lines call it."""
        return f"{self.point} on {self.bound.split.name}"

    @property
    def training(self) -> Training:
        """Its experiment's."""
        return self.bound.experiment.training

    @property
    def total(self) -> int:
        """Its steps in all."""
        return total_steps(self.training, len(self.bound.split.train))

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return order.steps_per_epoch(len(self.bound.split.train), self.training.batch)

    @property
    def every(self) -> int:
        """Steps from an evaluation to the next."""
        return self.training.evaluate_every or self.epoch


@dataclass(frozen=True)
class Progress:
    """How far a member is.

    Attributes:
      step: steps done.
      memory: as of a run alone; `seconds` are its share of the population's, by steps.
      at_best: the memory at the best step.
      found: the validation metrics at the best step.
      value: the metric at the last evaluation.
      failed: why it stopped, of a member whose loss is not finite.
      halved: the step at which halving left it behind, 0 where it did not.
    """

    step: int = 0
    memory: Memory = Memory()
    at_best: Memory = Memory()
    found: dict[str, float] = field(default_factory=dict)
    value: float = -1.0
    failed: str = ""
    halved: int = 0

    @property
    def going(self) -> bool:
        """Whether it trains on."""
        return not (self.memory.finished or self.failed or self.halved)

    def judged(self, found: dict[str, float], member: Member) -> "Progress":
        """The progress after an evaluation."""
        value = found[member.bound.experiment.evaluation.metric]
        memory = self.memory.judged(value, self.step, member.total, member.training)
        if memory.best_step != self.step:
            return replace(self, memory=memory, value=value)
        return replace(self, memory=memory, value=value, at_best=memory, found=found)


def to_json(progress: Sequence[Progress]) -> list[dict[str, Any]]:
    """Plain JSON values."""
    return [asdict(p) for p in progress]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Progress]:
    """What `to_json` was given."""
    found = []
    for row in rows:
        memories: dict[str, Any] = {name: Memory(**row[name]) for name in ("memory", "at_best")}
        found.append(Progress(**{**row, **memories}))
    return found


class Material:
    """What the members of a population share, and what each is told, stacked by place."""

    def __init__(self, members: Sequence[Member], mesh: Mesh):
        """Open the posts of the members' splits, on every device of `mesh`."""
        self._members, self._mesh = members, mesh
        names = list(dict.fromkeys(m.bound.split.name for m in members))
        firsts = {m.bound.split.name: m.bound for m in reversed(members)}
        sources = {name: open_posts(firsts[name], say if name == names[0] else lambda _: None) for name in names}
        self.shape = self._one_shape(sources)
        self.several, self.most = len(names) > 1, sources[names[0]].steps
        self.which = np.array([names.index(m.bound.split.name) for m in members], np.int32)
        feeds = [sources[name].feed(0, 1) for name in names]
        self.feeds = self._put(stacked(jax.device_get(feeds)) if self.several else feeds[0])
        self._numbers = self._told()

    def _one_shape(self, sources: dict[str, Source]) -> Shape:
        shapes = {shape_of(m.bound, sources[m.bound.split.name]) for m in self._members}
        assert len(shapes) == 1, "members of several shapes"
        return shapes.pop()

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def _told(self) -> list[dict[str, Any]]:
        found = []
        for m in self._members:
            split = m.bound.split
            numbers = numbers_of(m.bound.experiment, split.train, len(split.hashtags), m.bound.system.sizes.hashtags)
            found.append(numbers | {"rows": padded(numbers["rows"])})
        most = max(len(numbers["rows"]) for numbers in found)
        return [n | {"rows": np.pad(n["rows"], (0, most - len(n["rows"])))} for n in found]

    def numbers(self, places: Sequence[int], progress: Sequence[Progress]) -> Any:
        """The numbers of the members at `places`, at the learning rates that they have come to, on the host."""
        rates = {i: np.float32(progress[i].memory.learning_rate(self._members[i].training)) for i in set(places)}
        lowered = [self._numbers[i] | ({"learning_rate": rates[i]} if progress[i].memory.drops else {}) for i in places]
        return stacked(lowered)

    def validation(self, places: Sequence[int], size: int) -> np.ndarray:
        """Row numbers of the validation posts, `size` a part `[n, C, size]`, −1 where there are no more."""
        rows = [self._members[i].bound.split.part("validation") for i in places]
        parts = -(-max(map(len, rows)) // size)
        found = np.full((len(places), parts * size), -1, np.int32)
        for place, own in enumerate(rows):
            found[place, : len(own)] = own
        return found.reshape(len(places), parts, size)

    def first(self) -> list[State]:
        """The members' states before the first step, on the host; those that start alike are made once."""
        create, made = programs_of(self.shape).create, {}
        for m in self._members:
            if (key := (m.training.seed, m.bound.split.name)) not in made:
                state = create(m.training.seed, initial_vectors(m.bound))
                made[key] = jax.device_get(start_of(m.bound)(state))
        return [made[m.training.seed, m.bound.split.name] for m in self._members]


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of arrays as one with an axis of them; arrays of fewer values are padded with zeros."""

    def one(*arrays: Any) -> np.ndarray:
        most = max(np.size(x) for x in arrays)
        same = all(np.shape(x) == np.shape(arrays[0]) for x in arrays)
        return np.stack(arrays if same else [np.pad(x, (0, most - len(x))) for x in arrays])

    return jax.tree.map(one, *trees)


def log_of(member: Member, progress: Progress) -> Log:
    """Where a member's metrics are written."""
    return Log(member.folder, progress.step, member.total, member.training.tensorboard, bar=False)


def halved(members: Sequence[Member], progress: Sequence[Progress]) -> list[Progress]:
    """The progress after halving: of the points that go on the better half, by the mean of their best metrics, does."""
    best: dict[str, list[float]] = {}
    for m, p in zip(members, progress):
        best.setdefault(m.point, []).append(p.memory.best)
    going = dict.fromkeys(m.point for m, p in zip(members, progress) if p.going)
    order = sorted(going, key=lambda point: -statistics.fmean(best[point]))
    on = order[: -(-len(order) // 2)]
    return [replace(p, halved=p.step) if p.going and m.point not in on else p for m, p in zip(members, progress)]


class States(Protocol):
    """Where members' states are."""

    def best(self, member: int) -> State:
        """A member's best state, on the host."""
        ...

    def newest(self, member: int) -> State:
        """A member's newest state, on the host."""
        ...


def leave(member: Member, progress: Progress, number: int, states: States) -> Checkpoints:
    """Save the best and newest of `states` of the member of this `number` in its folder; the caller closes it.

    Of a member that failed, the best alone, where there is one.
    """
    folder = member.folder / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints, at = Checkpoints(folder), progress.at_best
    if progress.found:
        checkpoints.save(at.best_step, states.best(number), asdict(at), at.best)
    if not progress.failed and progress.step != at.best_step:
        checkpoints.save(progress.step, states.newest(number), asdict(progress.memory), progress.value)
    return checkpoints
