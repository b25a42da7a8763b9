"""Training any run: by gradient, in sweeps, or fitted, perhaps to an encoder that is trained by gradient first."""

from pathlib import Path
from typing import Any

from jaxtag.data.unseen import check_apart
from jaxtag.fitted import FittedSystem
from jaxtag.layers.parameters import CONSTANTS
from jaxtag.parallel.mesh import put
from jaxtag.runs import Bound, begun
from jaxtag.training import loop
from jaxtag.training.alike import check_system
from jaxtag.training.encoders import train_encoder
from jaxtag.training.fitting import check_fitting, fit
from jaxtag.training.restored import restore_best
from jaxtag.training.starting import start_of
from jaxtag.training.trainable import check_candidates, check_training
from jaxtag.training.vectors import usable_vectors
from jaxtag.zero_shot import BRANCH, Joint


def train(run: Path, recipe: str, bound: Bound) -> dict[str, Any]:
    """Train `bound` in the folder `run`, or what is left to do of it.

    Args:
      run: the run folder.
      recipe: the recipe's name, kept in experiment.json.
      bound: from `jaxtag.runs.bind`.

    Returns:
      A summary: `run`, `steps`, `best_step`, `seconds` and `parameters`; of a gradient system its best validation
      metric by name too, of a fitted one what was `chosen`.

    Raises:
      JaxtagError: as `check`, or the folder is another run's or in use, or numbers are not finite.
      Preempted: SIGTERM or SIGINT came; everything is saved.
    """
    check(bound)
    if isinstance(bound.system, FittedSystem):
        return fit(run, recipe, bound)
    if isinstance(bound.system, Joint):
        return _train_joint(run, recipe, bound, bound.system)
    return loop.train(run, recipe, bound, start_of(bound))


def check(bound: Bound) -> None:
    """Refuse to train what cannot be trained.

    Raises:
      JaxtagError: as `check_system` of `jaxtag.training.alike`, `check_training` and `check_candidates` of
        `jaxtag.training.trainable`, and as `jaxtag.training.fitting.check_fitting`.
    """
    check_system(bound.system)
    if isinstance(bound.system, FittedSystem):
        check_fitting(bound)
        return
    check_candidates(bound)
    check_apart(bound.dataset, bound.split)
    if isinstance(bound.system, Joint):
        check_fitting(bound)
    check_training(bound)


def _train_joint(run: Path, recipe: str, bound: Bound, system: Joint) -> dict[str, Any]:
    """DEM's encoder and branch together; in the mode `finetune` from the encoder's best state, trained first."""
    with begun(run, recipe, bound):
        if system.classifies:
            train_encoder(run, bound)

    def start(state: Any) -> Any:
        sharding = bound.abstract["collections"][CONSTANTS]["hashtags"].sharding
        constants = {"hashtags": put(usable_vectors(bound), sharding)}
        params = state["params"]
        if system.classifies and bound.encoder:
            params = {**restore_best(run / "encoder", bound.encoder)["params"], BRANCH: params[BRANCH]}
        return {**state, "params": params, "collections": {**state["collections"], CONSTANTS: constants}}

    return loop.train(run, recipe, bound, start)
