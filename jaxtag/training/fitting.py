"""Fitted runs: the encoder, if any, is trained, or is there; then a method is fitted to what is read of training posts.

RUN/encoder/              a run folder of its own, as `jaxtag train` makes them; one that is there is gone on with
RUN/choosing/fold-<i>/    the encoders of a choice that has its own (`jaxtag.training.choice`)
RUN/fitted/               what was learned (`jaxtag.training.restored`)
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.unseen import check_apart
from jaxtag.errors import JaxtagError
from jaxtag.estimators.vectors import check_vectors, without_vector
from jaxtag.evaluation.evaluate import vectors_settings
from jaxtag.files import held, new_folder, seal, write_json
from jaxtag.runs import Bound, begin, open_posts, parameters
from jaxtag.training import estimators
from jaxtag.training.encoders import train_encoder
from jaxtag.training.logs import say
from jaxtag.training.methods import LEARN, Task
from jaxtag.training.restored import FORMAT, fitted_identity, fitted_info
from jaxtag.training.trainable import check_candidates, check_training


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
        fitted_to = fitted_identity(run, bound)
        folder = run / "fitted"
        if not (folder / "fitted.json").is_file() or fitted_info(folder)["fitted_to"] != fitted_to:
            started = time.perf_counter()
            with new_folder(folder) as side:
                zero_shot = bound.system.entry.zero_shot
                info, arrays = _learn(run, bound) if zero_shot else estimators.learn(run, bound, side)
                info = {"format": FORMAT, "system": bound.system.entry.name} | info
                np.savez(side / "fitted.npz", allow_pickle=False, **arrays)
                write_json(side / "fitted.json", info | {"fitted_to": fitted_to, "files": seal(side)})
            seconds = round(time.perf_counter() - started, 2)
    chosen = fitted_info(folder)["chosen"]
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
