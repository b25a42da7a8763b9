"""Checkpoints: the state and what the loop remembers, saved atomically in the background by Orbax."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxtag.errors import JaxtagError
from jaxtag.files import check_seal, read_json, seal, write_json

FORMAT = 1
SEALS = "seals.json"  # checksums of every checkpoint's files: Orbax itself does not notice a flipped byte
NO_METRIC = -1.0  # of a checkpoint between evaluations: never the best


def _rank(metrics: dict[str, float]) -> Any:
    """By the metric; of equal ones the first is the best, as `jaxtag.training.memory` has it."""
    return metrics["metric"], -metrics.get("step", 0)


class Checkpoints:
    """The `checkpoints/` folder of a run: the two newest, and the best by the validation metric."""

    def __init__(self, folder: Path):
        """Open or make `folder`; what a killed save left there is removed."""
        policy = preservation_policy.AnyPreservationPolicy(
            [preservation_policy.LatestN(2), preservation_policy.BestN(get_metric_fn=_rank, n=1)]
        )
        # Without best_fn, Orbax would call the newest the best, whatever the policy keeps.
        options = ocp.CheckpointManagerOptions(best_fn=_rank, preservation_policy=policy, cleanup_tmp_directories=True)
        self._folder = folder
        self._sealed: dict[str, Any] = read_json(folder / SEALS, "list of seals") if (folder / SEALS).exists() else {}
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, step: int, state: Any, memory: dict[str, Any], metric: float | None) -> None:
        """Save `state` and `memory` (JSON values) as of `step`; returns once the device's copy is taken.

        Args:
          step: steps done.
          state: the pytree.
          memory: what the loop needs to go on as if never interrupted.
          metric: the validation metric at this step, None between evaluations.
        """
        if step in self._manager.all_steps():
            return
        self.wait()
        items = {"state": ocp.args.StandardSave(state), "memory": ocp.args.JsonSave(memory | {"format": FORMAT})}
        metrics = {"metric": NO_METRIC if metric is None else float(metric), "step": step}
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def newest(self) -> int | None:
        """Step of the newest whole checkpoint, None where there is none."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Step of the checkpoint to evaluate: the best by the validation metric, as the run remembers it.

        The newest, of a run that was not evaluated yet. (Asked, Orbax names the newest where it does not know metrics.)
        """
        newest = self.newest()
        if newest is None:
            return None
        try:
            found = self._manager.restore(newest, args=ocp.args.Composite(memory=ocp.args.JsonRestore()))
        except (ValueError, KeyError, OSError, TypeError):
            return newest  # which says, once restored, what is wrong with it
        best = found["memory"].get("best_step")
        return best if best in self._manager.all_steps() else newest

    def restore(self, step: int, abstract: Any) -> tuple[Any, dict[str, Any]]:
        """The state, laid out as `abstract` says on whatever mesh it names, and the memory of `step`.

        Raises:
          JaxtagError: the checkpoint is damaged, of another format, or does not fit `abstract`.
        """
        damaged = f"delete {self._folder / str(step)} to go on from the checkpoint before it"
        check_seal(self._folder / str(step), self._sealed.get(str(step), {}), damaged)
        items = {"state": ocp.args.StandardRestore(abstract), "memory": ocp.args.JsonRestore()}
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, OSError, TypeError) as error:
            reason = str(error).strip().split("\n")[0][:200]
            raise JaxtagError(f"checkpoint {self._folder / str(step)} cannot be read: {reason}", damaged) from error
        if found["memory"].get("format") != FORMAT:
            raise JaxtagError(
                f"checkpoint {self._folder / str(step)} has format {found['memory'].get('format')}, "
                f"this jaxtag reads format {FORMAT}",
                "train again with this version",
            )
        return found["state"], found["memory"]

    def wait(self) -> None:
        """Return once every save begun is on disk and sealed."""
        self._manager.wait_until_finished()
        steps = {str(step) for step in self._manager.all_steps()}
        if steps != set(self._sealed):
            self._sealed = {s: self._sealed.get(s) or seal(self._folder / s) for s in sorted(steps, key=int)}
            write_json(self._folder / SEALS, self._sealed)

    def close(self) -> None:
        """Finish what was begun, and let go of the folder."""
        self.wait()
        self._manager.close()
