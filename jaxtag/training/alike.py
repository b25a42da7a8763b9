"""What the processes of one command must have alike before they begin, and what they cannot do together."""

from pathlib import Path

from jaxtag import experiment as experiments
from jaxtag.data.dataset import Dataset, Split
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.parallel import distributed
from jaxtag.systems import System


def check_run(run: Path, experiment: Experiment, dataset: Dataset, split: Split) -> None:
    """Refuse processes that differ in one of these.

    Raises:
      JaxtagError: naming the difference.
    """
    fields = experiments.fields_of(experiment)
    named = {"the run's folder": str(run), "the experiment": fields}
    distributed.agree(named | {"the dataset": dataset.fingerprint, "the split": split.fingerprint})


def check_system(system: System) -> None:
    """Refuse several processes to a system that is fitted or learned in sweeps, which is one process's work.

    Raises:
      JaxtagError: saying so.
    """
    if distributed.count() > 1 and system.entry.learned != "steps":
        raise JaxtagError(
            f"system {system.entry.name} is not learned by gradient, and works in one process; there are "
            f"{distributed.count()}",
            "start it once, on any number of devices of one host",
        )
