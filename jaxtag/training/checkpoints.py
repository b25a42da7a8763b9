"""Checkpoints: the state and what the loop remembers, saved atomically in the background by Orbax.

FOLDER/<step>/          a checkpoint; while it is saved it has another name
FOLDER/seals.json       checksums of every checkpoint's files
FOLDER/<step>.damaged/  one that training found damaged, and went on from an earlier one
"""

import shutil
import threading
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxtag.errors import JaxtagError
from jaxtag.files import write_json
from jaxtag.parallel import distributed
from jaxtag.training import seals
from jaxtag.training.logs import say
from jaxtag.training.orbax import ranked, reason, told_by_system

FORMAT = 2  # 1 had Adam's averages decayed
NO_METRIC = -1.0  # of a checkpoint between evaluations: never the best
OLD = "old"  # where checkpoints are renamed to before they are deleted: a killed deletion leaves no part of one


class Damaged(JaxtagError):
    """A checkpoint's files are not what was written."""


def _rank(metrics: dict[str, float]) -> Any:
    """By the metric; of equal ones the first is the best, as `jaxtag.training.memory` has it."""
    return metrics["metric"], -metrics.get("step", 0)


class Checkpoints:
    """The `checkpoints/` folder of a run: the two newest, and the best by the validation metric."""

    def __init__(self, folder: Path, reading: bool = False):
        """Open or make `folder`; what a killed save left there is removed.

        One that is opened for `reading` alone is left as it is: another process may be saving there.
        """
        policy = preservation_policy.AnyPreservationPolicy(
            [preservation_policy.LatestN(2), preservation_policy.BestN(get_metric_fn=_rank, n=1)]
        )
        # Without best_fn, Orbax would call the newest the best, whatever the policy keeps.
        options = ocp.CheckpointManagerOptions(
            best_fn=_rank, preservation_policy=policy, read_only=reading, create=not reading,
            save_interval_steps=0 if reading else 1, cleanup_tmp_directories=not reading,
            todelete_subdir=None if reading else OLD,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal_saved),
        )  # fmt: skip
        self._folder, self._reading, self._saving = folder, reading, 0
        self._sealed, self._held = seals.read(folder / seals.FILE), set[int]()
        self._lock = threading.Lock()  # of what is sealed: the thread that saves adds to it
        self._set_aside_unranked()
        try:
            with told_by_system(self._folder):
                self._manager = ocp.CheckpointManager(folder.resolve(), options=options)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            mend = "move the damaged one away, or put it back from a copy"
            raise JaxtagError(f"the checkpoints in {folder} cannot be opened: {reason(error)}", mend) from error
        self._writing = not reading and distributed.leads()
        if self._writing:
            shutil.rmtree(folder / OLD, ignore_errors=True)

    def save(self, step: int, state: Any, memory: dict[str, Any], metric: float | None) -> None:
        """Save `state` and `memory` (JSON values) as of `step`; returns once the device's copy is taken.

        Args:
          step: steps done.
          state: the pytree.
          memory: what the loop needs to go on as if never interrupted.
          metric: the validation metric at this step, None between evaluations.

        Raises:
          OSError: this checkpoint or the one before could not be written.
        """
        if step in self._manager.all_steps():
            return
        self.wait()
        items = {"state": ocp.args.StandardSave(state), "memory": ocp.args.JsonSave(memory | {"format": FORMAT})}
        metrics = {"metric": NO_METRIC if metric is None else float(metric), "step": step}
        self._saving = step
        with told_by_system(self._folder):
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def newest(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Step of the checkpoint to evaluate: the best by the validation metric, as the run remembers it.

        The newest, of a run that was not evaluated yet. (Asked, Orbax names the newest where it does not know metrics.)
        Where it is damaged, the newest that is not, and a line says so.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        damaged: dict[int, JaxtagError] = {}
        for step in steps:
            try:
                found = self._memory(step).get("best_step")
                for wanted in dict.fromkeys((found if found in steps else step, step)):
                    if wanted not in damaged and self._whole(wanted, damaged):
                        for error in damaged.values():
                            say(f"{error.message}: the checkpoint of step {wanted} is read instead")
                        return wanted
            except Damaged as error:
                damaged.setdefault(step, error)
        return steps[0] if steps else None  # which says, once restored, what is wrong with it

    def resume(self, abstract: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest checkpoint that is whole, as (step, state, memory); None where none was saved yet.

        Newer ones that are damaged are moved aside, and a line says so.

        Raises:
          JaxtagError: none is whole, or the newest is of another format or does not fit `abstract`.
        """
        seen = {f"the checkpoints of {self._folder}": sorted(self._manager.all_steps())}
        distributed.agree(seen, mend="the run's folder must lie where every process sees it")
        damaged: list[tuple[int, Damaged]] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, memory = self.restore(step, abstract)
            except Damaged as error:
                damaged.append((step, error))
                continue
            for bad, error in damaged:
                self._aside(bad)
                say(f"{error.message}: it is kept as {bad}.damaged, and the checkpoint of step {step} is used")
            return step, state, memory
        if damaged:
            mend = f"put {self._folder} back from a copy, or delete it to begin at the first step again"
            raise JaxtagError(f"no checkpoint is whole: {damaged[0][1].message}", mend)
        return None

    def restore(self, step: int, abstract: Any) -> tuple[Any, dict[str, Any]]:
        """The state, laid out as `abstract` says on whatever mesh it names, and the memory of `step`.

        Raises:
          Damaged: its files are not those that were written.
          JaxtagError: it is of another format, or does not fit `abstract`.
        """
        path, sealed = self._folder / str(step), str(step) in self._sealed
        self._check(step)
        restored = lambda **items: self._manager.restore(step, args=ocp.args.Composite(**items))  # noqa: E731
        try:
            memory: Any = restored(memory=ocp.args.JsonRestore())["memory"]
            self._check_format(path, memory)  # before the state, which may have other leaves in another version
            return restored(state=ocp.args.StandardRestore(abstract))["state"], memory
        except JaxtagError:
            raise
        except Exception as error:
            said = f"checkpoint {path} cannot be read: {reason(error)}"
            if not sealed:
                raise Damaged(said, f"delete {path}") from error
            raise JaxtagError(said, "train again with this version, in a new folder") from error

    def _check_format(self, path: Path, memory: Any) -> None:
        """Refuse what another version saved, or what is no memory."""
        if not isinstance(memory, dict):
            raise Damaged(f"checkpoint {path} cannot be read: its memory is no object", f"delete {path}")
        if (given := memory.get("format")) != FORMAT:
            raise JaxtagError(
                f"checkpoint {path} has format {given}, this jaxtag reads format {FORMAT}",
                "train again with this version, in a new folder",
            )

    def seal_of(self, step: int) -> dict[str, Any]:
        """Size and checksum of each file of the checkpoint of `step`, by name: what identifies it."""
        return self._sealed.get(str(step)) or seals.of(self._folder / str(step))

    def check(self) -> None:
        """Raise what went wrong in the background, if anything did.

        Raises:
          OSError: the checkpoint that is being saved could not be written.
        """
        with told_by_system(self._folder):
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Return once every save begun is on disk and sealed.

        Raises:
          OSError: one could not be written.
        """
        with told_by_system(self._folder):
            self._manager.wait_until_finished()
        if not self._writing:
            return
        shutil.rmtree(self._folder / OLD, ignore_errors=True)
        steps = {str(step) for step in self._manager.all_steps()}
        with self._lock:
            if steps != set(self._sealed):
                found = {s: self._sealed.get(s) or seals.of(self._folder / s) for s in sorted(steps, key=int)}
                self._write_seals(found)

    def close(self) -> None:
        """Finish what was begun, and let go of the folder."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def _seal_saved(self) -> None:
        """Seal the checkpoint that is being saved, in the thread that saves it, before it gets its name."""
        if not self._writing:
            return
        sides = self._folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
        with self._lock:
            self._write_seals(self._sealed | {str(self._saving): seals.of(side) for side in sides})

    def _write_seals(self, sealed: dict[str, Any]) -> None:
        write_json(self._folder / seals.FILE, sealed)
        self._sealed = sealed

    def _check(self, step: int, part: str = "") -> None:
        """Hold the files of a checkpoint, or those of a `part` of it, against their seal, once.

        Raises:
          Damaged: one is not as it was written.
        """
        if step in self._held:
            return
        sealed = {name: found for name, found in self._sealed.get(str(step), {}).items() if name.startswith(part)}
        path = self._folder / str(step)
        if wrong := distributed.led("a checkpoint's seal", lambda: seals.wrong(path, sealed)):
            raise Damaged(f"checkpoint {path} is damaged: {wrong}", f"delete {path}")
        if not part:
            self._held.add(step)

    def _whole(self, step: int, damaged: dict[int, JaxtagError]) -> bool:
        try:
            self._check(step)
        except Damaged as error:
            damaged[step] = error
        return step not in damaged

    def _memory(self, step: int) -> dict[str, Any]:
        """What the loop remembered at `step`.

        Raises:
          Damaged: it cannot be read.
        """
        path = self._folder / str(step)
        self._check(step, "memory/")
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(memory=ocp.args.JsonRestore()))["memory"]
        except Exception as error:
            raise Damaged(f"checkpoint {path} cannot be read: {reason(error)}", f"delete {path}") from error
        if not isinstance(found, dict):
            raise Damaged(f"checkpoint {path} cannot be read: its memory is no object", f"delete {path}")
        return found

    def _set_aside_unranked(self) -> None:
        """Move a checkpoint aside whose metric cannot be read: Orbax would open none of them.

        Raises:
          Damaged: there is one, and the folder is open for reading alone.
        """
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        for path in sorted(path for path in folders if path.name.isdecimal() and not ranked(path)):
            said = f"checkpoint {path} is damaged: its metric cannot be read"
            if self._reading:
                raise Damaged(said, f"delete {path}, or move it away")
            say(f"{said}: it is kept as {path.name}.damaged")
            self._rename(path)

    def _aside(self, step: int) -> None:
        self._rename(self._folder / str(step))
        self._manager.reload()

    def _rename(self, path: Path) -> None:
        aside, number = path.with_name(f"{path.name}.damaged"), 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.damaged-{number}")
        if distributed.leads():
            path.rename(aside)
        distributed.lead("a checkpoint moved aside", None)
