"""What a run learned, back from its folder: the state of its best checkpoint, or what a fitted run was fitted to.

RUN/checkpoints/          of a run that learns by steps, and of an encoder in RUN/encoder
RUN/fitted/fitted.npz     of a fitted run: what was learned, as arrays
RUN/fitted/rows.npy       of one that asks neighbours: the training posts' features
RUN/fitted/fitted.json    what was chosen, by which scores, and what it was all fitted to
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag import experiment as experiments
from jaxtag.arrays import open_npz
from jaxtag.documents import SEALED, versioned
from jaxtag.errors import JaxtagError
from jaxtag.estimators import neighbours
from jaxtag.files import check_seal, fingerprint
from jaxtag.fitted import FittedSystem
from jaxtag.parallel.mesh import replicated
from jaxtag.runs import FREE, Bound
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.state import State
from jaxtag.training.vectors import usable_vectors, word_vectors

FORMAT = 1
ROWS = "rows.npy"  # in RUN/fitted: training posts' features, which are read where they lie
_AGAIN = "give the train command again"


def restore_best(run: Path, bound: Bound) -> State:
    """The state at the run's best checkpoint; of a fitted run, its params and collections.

    Raises:
      JaxtagError: it has none yet, or it is damaged; of a fitted run, its encoder or word vectors changed since.
    """
    if isinstance(bound.system, FittedSystem):
        return _fitted(run, bound)
    checkpoints = Checkpoints(run / "checkpoints", reading=True)
    try:
        step = checkpoints.best()
        if step is None:
            raise JaxtagError(f"{run} has no checkpoint yet", "train it first")
        return checkpoints.restore(step, bound.abstract)[0]
    finally:
        checkpoints.close()


def given(encoder: Path, bound: Bound) -> tuple[dict[str, Any], Any]:
    """What a fitted system has before it is fitted: its params without `fitted`, and its collections.

    Args:
      encoder: run folder of the encoder; not read where there is none.
      bound: the system, whose `encoder` was trained there.

    Raises:
      JaxtagError: the encoder has no checkpoint yet.
    """
    host: dict[str, Any] = {"hashtags": usable_vectors(bound)} if bound.system.entry.zero_shot else {}
    params, collections = {}, {}
    if bound.encoder:
        state = restore_best(encoder, bound.encoder)
        params, collections = {"encoder": state["params"]}, state["collections"]
    elif bound.system.sizes.vectors:
        host |= word_vectors(bound, bound.experiment.model.vectors)
    return params | jax.device_put(host, replicated(bound.mesh)), collections


def fitted_info(folder: Path) -> dict[str, Any]:
    """What RUN/fitted/fitted.json says.

    Raises:
      JaxtagError: it is missing, damaged or of another version.
    """
    due = {"fitted_to": str, "files": SEALED, "chosen": dict}
    return versioned(folder / "fitted.json", "fitted", FORMAT, due, f"delete {folder}, and {_AGAIN}")


def fitted_identity(run: Path, bound: Bound) -> str:
    """A fingerprint of all that decides what is fitted: settings, split, word vectors, the encoder's best state.

    Raises:
      JaxtagError: the encoder has no checkpoint yet.
    """
    fields = experiments.fields_of(bound.experiment)
    settings = {k: v for k, v in fields.items() if k.removeprefix("encoder.") not in FREE}
    state: Any = None
    if bound.encoder:
        folder = run / "encoder" / "checkpoints"
        checkpoints = Checkpoints(folder, reading=True)
        best = checkpoints.best()
        if best is None:
            raise JaxtagError(f"{run / 'encoder'} has no checkpoint yet", "train it first")
        state = checkpoints.seal_of(best)
        checkpoints.close()
    named = bound.system.sizes.vectors  # 0 where no word vectors are read
    files = bound.split.vectors_info(bound.experiment.model.vectors)["files"] if named else {}
    return fingerprint([settings, bound.experiment.system, bound.split.fingerprint, files, state])


def _fitted(run: Path, bound: Bound) -> State:
    """The params and collections of a fitted run."""
    folder = run / "fitted"
    if not (folder / "fitted.json").is_file():
        raise JaxtagError(f"{run} is not fitted yet", "train it first")
    info = fitted_info(folder)
    if info["fitted_to"] != fitted_identity(run, bound):
        raise JaxtagError(f"{folder} was fitted to another state of its encoder, or to other word vectors", _AGAIN)
    check_seal(folder, info["files"], f"delete {folder}, and {_AGAIN}")
    try:
        fitted = open_npz(folder / "fitted.npz")
    except (ValueError, OSError) as error:
        raise JaxtagError(f"{folder / 'fitted.npz'} cannot be read: {error}", _AGAIN) from None
    params, collections = given(run / "encoder", bound)
    fitted = jax.device_put(fitted, replicated(bound.mesh))
    if (folder / ROWS).is_file():
        fitted["rows"] = neighbours.spread(np.load(folder / ROWS, mmap_mode="r"), bound.mesh)
    return {"params": params | {"fitted": fitted}, "collections": collections}
