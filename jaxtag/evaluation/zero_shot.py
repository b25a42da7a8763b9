"""What zero-shot recommending is measured by beyond `jaxtag.evaluation.metrics`, from the same sums.

Among unseen candidates alone, hit@k is that module's accuracy@k; ranking at random has `chance`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxtag.evaluation.metrics import harmonic


def chance(k: int, candidates: int) -> float:
    """The expected hit@k of a random order of the candidates, for posts with one hashtag: k / n_u, at most 1."""
    return min(k / candidates, 1.0)


def generalised(sums: Mapping[str, Any], unseen: np.ndarray) -> dict[str, float]:
    """Accuracy where seen and unseen hashtags are candidates together, for posts with one hashtag.

    Args:
      sums: from `metrics.topk_sums` and `metrics.add`, over posts of seen and of unseen hashtags.
      unseen: which candidates are, bool `[C]`.

    Returns:
      `seen` and `unseen`, the share of the posts of such hashtags whose first recommendation is right; `harmonic`,
      their harmonic mean; and with `_macro` the same where each hashtag that has posts weighs the same, as is usual in
      the literature. A kind without posts has 0.
    """
    true, gold = (np.asarray(sums[name]).astype(np.float64) for name in ("true", "gold"))
    unseen = np.asarray(unseen, bool)
    result: dict[str, float] = {}
    for ending in ("", "_macro"):
        for name, kind in (("seen", ~unseen), ("unseen", unseen)):
            right, posts = true[kind & (gold > 0)], gold[kind & (gold > 0)]
            if ending:
                right, posts = right / posts, np.ones(len(posts))
            result[name + ending] = float(right.sum() / posts.sum()) if len(posts) else 0.0
        result["harmonic" + ending] = float(harmonic(result["seen" + ending], result["unseen" + ending]))
    return result
