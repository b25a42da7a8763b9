"""The states of a population's members on the devices, by place: stepped, judged, kept, moved, saved and restored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag.data.posts import round_up
from jaxtag.evaluation import metrics
from jaxtag.search.members import Material, Member, Progress, stacked
from jaxtag.search.stacked import Way, by_member, judged_by, mesh_of, programs_of, way_of
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.state import State

NOBODY = -1


class Places:
    """Members' newest and best states; who is where, by number; `NOBODY` has no steps to take.

    Attributes:
      way: how members are computed.
      members: by place.
      most: steps that a dispatch may take.
    """

    def __init__(self, members: Sequence[Member], places: int, folder: Path, way: Way | None):
        """Make the programs of `members`, at `places` at first; checkpoints are in `folder`."""
        first = members[0].bound
        self._mesh, self._folder = mesh_of(jax.devices()), folder
        self._put = by_member(self._mesh)
        self.way: Way = way or way_of(jax.devices()[0].platform)
        self._material = Material(members, self._mesh)
        self.most = self._material.most
        self._size = first.experiment.evaluation.batch
        self._judged = judged_by(first.experiment.evaluation, len(first.split.hashtags))
        self._programs = programs_of(self._material.shape, self._judged, self._material.several, self.way, self._mesh)
        self.members = [*range(len(members)), *[NOBODY] * (round_up(places, self._mesh.size) - len(members))]
        self._checkpoints: Checkpoints | None = None

    def begin(self) -> tuple[int, dict[str, Any]] | None:
        """Restore the newest checkpoint, and return its number and what was saved with it; or make the first states."""
        for size in sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit()):
            checkpoints = Checkpoints(self._folder / str(size))
            lies = lambda x, n=size: jax.ShapeDtypeStruct((n, *x.shape), x.dtype, sharding=self._put)  # noqa: E731
            abstract = jax.tree.map(lies, self._material.shape.abstract)
            if (saved := checkpoints.resume({"states": abstract, "best": abstract})) is None:
                checkpoints.close()
                continue
            newest, found, memory = saved
            self._states, self._best, self._checkpoints = found["states"], found["best"], checkpoints
            self.members = memory["members"]
            return newest, memory
        first = self._material.first()
        host = stacked([first[i] for i in self._seated])
        # Arrays of their own: one is given away by every dispatch.
        self._states, self._best = (jax.device_put(jax.tree.map(np.array, host), self._put) for _ in range(2))
        return None

    @property
    def _seated(self) -> list[int]:
        """A member for each place, whoever it is where there is nobody."""
        return [max(i, 0) for i in self.members]

    def tell(self, progress: Sequence[Progress]) -> None:
        """Tell the members at their places their numbers, and which posts they are judged by."""
        self._numbers = jax.device_put(self._material.numbers(self._seated, progress), self._put)
        rows = self._material.validation(self._seated, self._size)
        self._parts = (rows >= 0).any(2).sum(1)
        self._rows, self._which = jax.device_put((rows, self._material.which[self._seated]), self._put)

    def dispatch(self, steps: Sequence[int]) -> Any:
        """Start the steps of each place; what they will tell, by place."""
        given = jax.device_put(np.array(steps, np.int32), self._put)
        arguments = (self._material.feeds, self._states, self._numbers, self._which, given)
        self._states, sums = self._programs.dispatch(*arguments)
        return sums

    def judge(self, due: Sequence[int]) -> list[tuple[dict[str, float], float]]:
        """The validation metrics and loss of the members at the places `due`."""
        parts = np.zeros(len(self.members), np.int32)
        parts[list(due)] = self._parts[list(due)]
        arguments = (self._states, self._numbers, self._which, self._rows, jax.device_put(parts, self._put))
        sums, losses = jax.device_get(self._programs.judge(self._material.feeds, *arguments))
        found = []
        for place in due:
            loss, weight = (x[place].astype(np.float64).sum() for x in losses)
            scores = metrics.finish({name: x[place] for name, x in sums.items()}, self._judged.ks)
            found.append((scores, float(loss / weight) if weight else float("nan")))
        return found

    def keep(self, better: Sequence[int]) -> None:
        """Keep the newest states of the places `better` as their best."""
        which = np.zeros(len(self.members), bool)
        which[list(better)] = True
        self._best = self._programs.keep(self._best, self._states, jax.device_put(which, self._put))

    def best(self, member: int) -> State:
        """A member's best state, on the host."""
        return self._pick(self._best, member)

    def newest(self, member: int) -> State:
        """A member's newest state, on the host."""
        return self._pick(self._states, member)

    def _pick(self, states: Any, member: int) -> State:
        place = np.int32(self.members.index(member))
        return jax.device_get(self._programs.pick(states, jax.device_put(place)))

    def fewer(self, going: int) -> int:
        """How many places so many members need, where that is fewer than there are; else 0."""
        size = round_up(1 << (going - 1).bit_length(), self._mesh.size) if going else len(self.members)
        return size if self.way == "together" and size < len(self.members) else 0

    def move(self, going: Sequence[int], size: int) -> None:
        """Go on with the members `going` alone, at `size` places; `tell` them again."""
        at = [self.members.index(i) for i in going]
        at = jax.device_put(np.array(at + at[:1] * (size - len(at)), np.int32))
        self._states, self._best = self._programs.take(self._states, at), self._programs.take(self._best, at)
        self.members = [*going, *[NOBODY] * (size - len(going))]
        self.close()
        self._checkpoints = None

    def save(self, number: int, memory: dict[str, Any]) -> None:
        """Save the states and `memory` (JSON values) as of dispatch `number`."""
        self._checkpoints = self._checkpoints or Checkpoints(self._folder / str(len(self.members)))
        with jax.transfer_guard("allow"):  # Orbax copies the states to the host
            states = {"states": self._states, "best": self._best}
            self._checkpoints.save(number, states, memory | {"members": self.members}, None)

    def close(self) -> None:
        """Finish saving."""
        if self._checkpoints:
            self._checkpoints.close()
