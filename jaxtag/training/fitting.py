"""Fitted runs: the encoder, if any, is trained, or is there; then a method is fitted to what is read of training posts.

RUN/encoder/              a run folder of its own, as `jaxtag train` makes them; one that is there is gone on with
RUN/choosing/fold-<i>/    the encoders of a choice that has its own (`jaxtag.training.choice`)
RUN/fitted/fitted.npz     what was learned, as arrays
RUN/fitted/rows.npy       of one that asks neighbours: the training posts' features
RUN/fitted/fitted.json    what was chosen, by which scores, and what it was all fitted to
"""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag import experiment as experiments
from jaxtag.arrays import open_npz
from jaxtag.data.unseen import check_apart
from jaxtag.documents import SEALED, versioned
from jaxtag.errors import JaxtagError
from jaxtag.estimators import neighbours
from jaxtag.estimators.vectors import check_vectors, without_vector
from jaxtag.evaluation.evaluate import vectors_settings
from jaxtag.files import check_seal, fingerprint, held, new_folder, seal, write_json
from jaxtag.parallel.mesh import replicated
from jaxtag.runs import FREE, Bound, begin, open_posts, parameters
from jaxtag.training import estimators
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.encoders import given, train_encoder
from jaxtag.training.logs import say
from jaxtag.training.methods import LEARN, Task
from jaxtag.training.trainable import check_candidates, check_training

FORMAT = 1
_AGAIN = "give the train command again"


def fit(run: Path, recipe: str, bound: Bound) -> dict[str, Any]:
    """Fit `bound`, a fitted system, in the folder `run`; what is done already is not done again.

    Args:
      run: the run folder.
      recipe: the recipe's name, kept in experiment.json.
      bound: from `jaxtag.runs.bind`.

    Returns:
      `{"run", "steps", "best_step", "seconds", "parameters", "chosen"}`; steps are the encoder's, 0 without one, and
      seconds its and those of fitting, where it was done now.

    Raises:
      JaxtagError: the folder is another run's or in use, a hashtag has no vector, features are not finite, or the
        encoder cannot be trained.
      Preempted: SIGTERM or SIGINT came while an encoder was trained; it is saved.
    """
    check_fitting(bound)
    seconds = 0.0
    run.mkdir(parents=True, exist_ok=True)
    with held(run):
        begin(run, recipe, bound)
        before = train_encoder(run, bound)
        fitted_to = _identity(run, bound)
        folder = run / "fitted"
        if not (folder / "fitted.json").is_file() or _info(folder)["fitted_to"] != fitted_to:
            started = time.perf_counter()
            with new_folder(folder) as side:
                zero_shot = bound.system.entry.zero_shot
                info, arrays = _learn(run, bound) if zero_shot else estimators.learn(run, bound, side)
                info = {"format": FORMAT, "system": bound.system.entry.name} | info
                np.savez(side / "fitted.npz", allow_pickle=False, **arrays)
                write_json(side / "fitted.json", info | {"fitted_to": fitted_to, "files": seal(side)})
            seconds = round(time.perf_counter() - started, 2)
    chosen = _info(folder)["chosen"]
    if chosen:
        say("fitted with " + ", ".join(f"{name} {value:g}" for name, value in chosen.items()))
    summary = {"run": str(run), "steps": before.get("steps", 0), "best_step": before.get("best_step", 0)}
    seconds += before.get("seconds", 0.0)
    return summary | {"seconds": seconds, "parameters": parameters(bound), "chosen": chosen}


def check_fitting(bound: Bound) -> None:
    """Refuse to fit what cannot be fitted, or a zero-shot system whose hashtags have no vectors.

    Raises:
      JaxtagError: as `usable_hashtags`; a candidate is unseen that the system could not rank; a training or validation
        post has an unseen hashtag; or as `check_training`, of the encoder.
    """
    check_candidates(bound)
    check_apart(bound.dataset, bound.split)
    if bound.encoder:
        check_training(bound.encoder)
    if bound.system.entry.zero_shot:
        usable_hashtags(bound)


def usable_hashtags(bound: Bound) -> np.ndarray:
    """Labels of the hashtags that a zero-shot system learns from: those with a vector.

    Raises:
      JaxtagError: a hashtag has none and model.missing is `refuse`, or fewer than two seen ones have.
    """
    split, settings = bound.split, bound.experiment.model
    vectors = split.hashtag_vectors(settings.vectors, settings.hashtag_vectors)
    names = [bound.dataset.hashtags.entries[h] for h in split.named]
    if settings.missing == "refuse":
        option = "--model.missing last, which ranks them last"
        check_vectors(vectors, names, option)
    usable = np.setdiff1d(np.arange(len(split.hashtags)), without_vector(vectors[: len(split.hashtags)]))
    if len(usable) < 2:
        raise JaxtagError(
            f"{len(usable)} of {len(split.hashtags)} seen hashtags have a vector in {settings.vectors!r}",
            "make vectors that cover them with jaxtag-prep vectors",
        )
    return usable


def restore(run: Path, bound: Bound) -> dict[str, Any]:
    """The params and collections of a fitted run.

    Raises:
      JaxtagError: it is not fitted yet, its files are damaged, or its encoder or word vectors changed since.
    """
    folder = run / "fitted"
    if not (folder / "fitted.json").is_file():
        raise JaxtagError(f"{run} is not fitted yet", "train it first")
    info = _info(folder)
    if info["fitted_to"] != _identity(run, bound):
        raise JaxtagError(f"{folder} was fitted to another state of its encoder, or to other word vectors", _AGAIN)
    check_seal(folder, info["files"], f"delete {folder}, and {_AGAIN}")
    try:
        fitted = open_npz(folder / "fitted.npz")
    except (ValueError, OSError) as error:
        raise JaxtagError(f"{folder / 'fitted.npz'} cannot be read: {error}", _AGAIN) from None
    params, collections = given(run / "encoder", bound)
    fitted = jax.device_put(fitted, replicated(bound.mesh))
    if (folder / estimators.ROWS).is_file():
        fitted["rows"] = neighbours.spread(np.load(folder / estimators.ROWS, mmap_mode="r"), bound.mesh)
    return {"params": params | {"fitted": fitted}, "collections": collections}


def _learn(run: Path, bound: Bound) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What fitted.json says of a zero-shot system, and the arrays."""
    usable = usable_hashtags(bound)
    task = Task(run, bound, usable, open_posts(bound, say))
    entry, split = bound.system.entry, bound.split
    arrays, chosen, tried = LEARN[entry.name](task)
    left = np.setdiff1d(np.arange(len(split.hashtags)), usable)
    info: dict[str, Any] = {"chosen": chosen, "tried": tried}
    info |= {"posts": len(split.train), "hashtags": len(usable), "vectors": vectors_settings(bound)}
    info["left_out"] = [bound.dataset.hashtags.entries[split.hashtags[i]] for i in left]
    return info, {name: np.asarray(array) for name, array in arrays.items()}


def _info(folder: Path) -> dict[str, Any]:
    due = {"fitted_to": str, "files": SEALED, "chosen": dict}
    return versioned(folder / "fitted.json", "fitted", FORMAT, due, f"delete {folder}, and {_AGAIN}")


def _identity(run: Path, bound: Bound) -> str:
    """A fingerprint of all that decides what is learned: settings, split, word vectors, the encoder's best state."""
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
