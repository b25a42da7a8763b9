"""What the loop remembers and decides between dispatches: the best so far, early stopping, the plateau schedule."""

from dataclasses import dataclass, replace

from jaxtag.experiment import Training


@dataclass(frozen=True)
class Memory:
    """What the loop remembers from one checkpoint to the next, so that a resumed run goes on the same way.

    Attributes:
      best, best_step: the best validation metric, and when it was seen.
      worse: evaluations since then.
      seconds: spent training, over all starts.
      finished: nothing is left to do.
      stale: evaluations since the best, or since the schedule `plateau` last lowered the learning rate.
      drops: how often it has lowered it.
    """

    best: float = -1.0
    best_step: int = 0
    worse: int = 0
    seconds: float = 0.0
    finished: bool = False
    stale: int = 0
    drops: int = 0

    def judged(self, value: float, step: int, total: int, training: Training) -> "Memory":
        """The memory after an evaluation at `step` of `total` gave `value`."""
        if value > self.best:
            found = replace(self, best=value, best_step=step, worse=0, stale=0)
        else:
            found = replace(self, worse=self.worse + 1, stale=self.stale + 1)
        if training.schedule == "plateau" and found.stale >= training.plateau_patience:
            found = replace(found, stale=0, drops=found.drops + 1)
        return found.ended(step, total, training)

    def ended(self, step: int, total: int, training: Training) -> "Memory":
        """The same, finished if nothing is left to do: a run given again may be longer, or have more patience."""
        early = bool(training.patience) and self.worse >= training.patience
        return replace(self, finished=early or step >= total)

    def learning_rate(self, training: Training) -> float:
        """The learning rate that the schedule starts from: `training.learning_rate`, lowered `drops` times."""
        return training.learning_rate * training.plateau_factor**self.drops
