"""What zero-shot recommending is measured by beyond `jaxtag.evaluation.metrics`, from the same sums.

Among unseen candidates alone, hit@k is that module's accuracy@k; ranking at random has `chance`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtag.evaluation.metrics import harmonic


def chance(k: int, candidates: int) -> float:
    """The expected hit@k of a random order of the candidates, for posts with one hashtag: k / n_u, at most 1."""
    return min(k / candidates, 1.0)


def chance_metrics(gold: np.ndarray, ks: Sequence[int], candidates: int) -> dict[str, float]:
    """Precision, recall, F1 and accuracy that ranking at random is expected to have, for posts with any hashtags.

    Args:
      gold: how many hashtags each post has among the candidates `[n]`; posts without any do not count.
      ks: the cut-offs.
      candidates: how many are ranked.

    Returns:
      As `metrics.finish` names them, `posts` among them. All 0 where nothing is counted.
    """
    gold = np.asarray(gold, np.int64)
    gold = gold[gold > 0]
    found: dict[str, float] = {"posts": len(gold)}
    for k in ks:
        # No hit: all k are of the others. (C−g choose k) / (C choose k), factor by factor.
        others = candidates - gold[:, None] - np.arange(k)
        missed = np.prod(np.maximum(others, 0) / (candidates - np.arange(k)), axis=1)
        precision = float(gold.mean() / candidates) if len(gold) else 0.0
        recall = chance(k, candidates) if len(gold) else 0.0
        found |= {f"precision@{k}": precision, f"recall@{k}": recall}
        found[f"f1@{k}"] = float(harmonic(precision, recall))
        found[f"accuracy@{k}"] = float(1 - missed.mean()) if len(gold) else 0.0
    return found


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
