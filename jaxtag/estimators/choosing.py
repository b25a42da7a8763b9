"""Choosing regularisation on hashtags that are seen but treated as unseen; never on the test.

The seen hashtags are dealt into folds. For each fold a method is fitted on the posts that have none of its hashtags and
ranks those hashtags, its candidates, for posts that have one: an unseen hashtag's posts are in neither. The scores are
averaged over folds.
"""

from dataclasses import dataclass

import numpy as np

from jaxtag.errors import JaxtagError


@dataclass(frozen=True)
class Fold:
    """A division of the seen hashtags; positions among them, int32, sorted.

    Attributes:
      seen: fitted on.
      unseen: held out, and ranked.
    """

    seen: np.ndarray
    unseen: np.ndarray


def pseudo_unseen(hashtags: int, folds: int, seed: int) -> list[Fold]:
    """Deal the seen hashtags into folds of sizes that differ by one at most: each is held out once.

    Args:
      hashtags: n_s, how many are seen.
      folds: how many; `n_s / n_u`, rounded, holds out as many as are truly unseen.
      seed: of their order.

    Raises:
      JaxtagError: fewer than 2 folds, or fewer than two hashtags in a fold, of which the first would always be right.
    """
    if folds < 2 or hashtags < 2 * folds:
        raise JaxtagError(
            f"{hashtags} seen hashtags cannot be held out in {folds} folds", "2 or more folds of 2 or more are needed"
        )
    order = np.random.default_rng(seed).permutation(hashtags).astype(np.int32)
    every = np.arange(hashtags, dtype=np.int32)
    parts = [np.sort(part) for part in np.array_split(order, folds)]
    return [Fold(np.setdiff1d(every, part), part) for part in parts]


def best(scores: np.ndarray, gammas: np.ndarray, lams: np.ndarray) -> tuple[int, int]:
    """The grid's point with the greatest score, averaged over folds.

    Of equal ones the more regularised is taken: the greater γλ, then the greater γ.

    Args:
      scores: `[folds, gammas, lams]` or `[gammas, lams]`, greater is better; a point that has a NaN is not taken.
      gammas, lams: the grid's values.

    Returns:
      Positions of γ and of λ.

    Raises:
      JaxtagError: every point has a NaN.
    """
    scores = np.asarray(scores, np.float64).reshape(-1, len(gammas), len(lams)).mean(0)
    if np.isnan(scores).all():
        raise JaxtagError("no point of the grid has a score", "hold out hashtags that have posts")
    gamma, lam = np.meshgrid(np.asarray(gammas, np.float64), np.asarray(lams, np.float64), indexing="ij")
    tied = scores == np.nanmax(scores)
    # Decimal logarithms, rounded: 0.1 * 10 and 1 * 1 are the same product.
    product = np.where(tied, np.round(np.log10(gamma) + np.log10(lam), 9), -np.inf)
    first = np.where(product == product.max(), gamma, -np.inf).argmax()
    i, j = np.unravel_index(first, scores.shape)
    return int(i), int(j)
