"""Choosing a fitted method's settings on pseudo-unseen hashtags: seen ones, held out in folds; never on the test.

A fold fits on training posts that have none of its hashtags, and ranks its hashtags for posts that have one. An encoder
that was trained on all seen hashtags has learned to tell the held-out ones apart, which truly unseen ones are not, so
with it (`shared`) only validation posts are ranked, which it did not learn from; what it gives of them is still better
than of unseen hashtags, and the choice leans to less regularisation than is best. With `own`, each fold has an encoder
that is trained without the fold's hashtags, and nothing of them is known to it; that costs a training a fold. Mean word
vectors learn from no hashtag: all posts are ranked.
"""

from dataclasses import dataclass, replace

import numpy as np

from jaxtag.data.unseen import has, unseen_of
from jaxtag.errors import JaxtagError
from jaxtag.estimators.choosing import pseudo_unseen
from jaxtag.files import fingerprint
from jaxtag.runs import Bound, bind

MOST = 20_000  # posts that a fold ranks at most, drawn with training.seed
FEWEST, MANY = 2, 5  # folds where model.folds is 0


@dataclass(frozen=True)
class HeldOut:
    """A fold of the choice.

    Attributes:
      number: of the fold, from 0.
      kept, held: labels that are fitted on, and held out and ranked; sorted.
      fit: row numbers of the training posts without a held-out hashtag.
      rank: row numbers of the posts that are ranked.
      gold: which of `held` each of them has, bool `[len(rank), len(held)]`.
    """

    number: int
    kept: np.ndarray
    held: np.ndarray
    fit: np.ndarray
    rank: np.ndarray
    gold: np.ndarray


def folds_of(bound: Bound, usable: np.ndarray) -> list[HeldOut]:
    """The folds of a fitted system's choice.

    Args:
      bound: the system.
      usable: labels that may be held out or fitted on: those with a vector.

    Raises:
      JaxtagError: there are too few seen hashtags, or no post to rank in a fold.
    """
    split, settings = bound.split, bound.experiment.model
    unseen = unseen_of(bound.dataset, split)
    seen = usable[~np.isin(split.hashtags[usable], unseen)]
    number = settings.folds or int(np.clip(round(len(seen) / max(len(unseen), 1)), FEWEST, MANY))
    seed = bound.experiment.training.seed
    folds = pseudo_unseen(len(seen), number, seed)
    fresh = bound.encoder is None or settings.encoders == "own"
    found = []
    for i, fold in enumerate(folds):
        held = seen[fold.unseen]
        fit = split.train[~_has(bound, split.train, held).any(1)]
        rank = np.concatenate([split.train, split.validation]) if fresh else split.validation
        rank = rank[_has(bound, rank, held).any(1)]
        if len(rank) > MOST:
            rank = np.sort(np.random.default_rng((seed, i)).choice(rank, MOST, replace=False))
        if not len(rank) or not len(fit):
            raise JaxtagError(
                f"no {'training' if not len(fit) else 'validation'} post is left to choose settings with in fold "
                f"{i + 1} of {number} of the seen hashtags",
                "give the settings themselves, or a split with a larger validation part",
            )
        found.append(HeldOut(i, np.setdiff1d(usable, held), held, fit, rank, _has(bound, rank, held)))
    return found


def hits(scores: np.ndarray, gold: np.ndarray) -> float:
    """The share of posts whose greatest of `scores [n, C]`, of equal ones the first, is one of `gold [n, C]`."""
    return float(gold[np.arange(len(gold)), scores.argmax(1)].mean())


def without(bound: Bound, fold: HeldOut) -> Bound:
    """The encoder of `bound`, bound to the part of the split that has nothing to do with a fold's hashtags."""
    assert bound.encoder is not None  # `own` encoders are of systems that have one
    split = bound.split
    validation = split.validation[~_has(bound, split.validation, fold.held).any(1)]
    hashtags = split.hashtags[fold.kept]
    info = split.info | {"fingerprint": fingerprint([split.fingerprint, hashtags.tolist()])}
    inner = replace(split, info=info, train=fold.fit, validation=validation, hashtags=hashtags, candidates=hashtags)
    return bind(bound.encoder.experiment, bound.dataset, inner, bound.mesh.devices.ravel().tolist())


def _has(bound: Bound, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of the hashtags `labels [m]` each post of `rows [n]` has, bool `[n, m]`."""
    return has(bound.reading.columns["hashtags"], rows, labels, len(bound.reading.targets))
