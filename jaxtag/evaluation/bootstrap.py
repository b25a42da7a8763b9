"""Confidence intervals by resampling posts: of one system, and of the difference of two on the same posts.

A post enters every metric through its hits and its number of hashtags alone, so posts that agree in these are
one group, and drawing posts with replacement is drawing how often each group comes up: a multinomial, a few
hundred numbers a draw however many posts there are.
"""

import numpy as np

from jaxtag.evaluation.metrics import harmonic, parse

TAIL = 0.025  # on either side of a 95 % interval


def paired(
    ranked_a: np.ndarray,
    ranked_b: np.ndarray,
    gold: np.ndarray,
    metric: str = "f1@1",
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """How far system a is ahead of system b on the same posts.

    Args:
      ranked_a, ranked_b: hashtags recommended to each post, best first and each once, `[n, K]`; −1 is none. Of several
        runs of a system `[S, n, K]`: what is compared is then the mean over its runs, and only posts are drawn.
      gold: the posts' hashtags by the same ids, `[n, G]`; −1 padded. Posts without any do not count.
      metric: a name such as `f1@1`, `precision@1`, `recall@5`, `accuracy@5`.
      draws: how often the posts are drawn anew.
      seed: of the draws.

    Returns:
      `difference` (a − b), `low` and `high` (its 95 % percentile interval), and `probability`: the share of
      draws in which a is ahead, draws that tie counting half.

    Raises:
      ValueError: the metric is unknown, needs more than K recommendations, or no post has a hashtag.
    """
    score, k = parse(metric)
    size = (gold >= 0).sum(1)
    columns = np.stack([size, *(_counted(ranked, gold, score, k) for ranked in (ranked_a, ranked_b))], 1)
    groups, weights, whole = _draw(columns[size > 0], draws, seed)
    a, b = (_value(score, k, groups[:, column], groups[:, 0], weights) for column in (1, 2))
    actual = [float(_value(score, k, groups[:, c], groups[:, 0], whole)[0]) for c in (1, 2)]
    low, high = np.quantile(a - b, (TAIL, 1 - TAIL))
    probability = float((a > b).mean() + (a == b).mean() / 2)
    return {"difference": actual[0] - actual[1], "low": float(low), "high": float(high), "probability": probability}


def intervals(
    ranked: np.ndarray, gold: np.ndarray, metric: str = "f1@1", draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """One system's `value`, and `low` and `high` of its 95 % percentile interval; arguments as in `paired`.

    Raises:
      ValueError: as in `paired`.
    """
    score, k = parse(metric)
    size = (gold >= 0).sum(1)
    groups, weights, whole = _draw(np.stack([size, _counted(ranked, gold, score, k)], 1)[size > 0], draws, seed)
    drawn, actual = (_value(score, k, groups[:, 1], groups[:, 0], w) for w in (weights, whole))
    low, high = np.quantile(drawn, (TAIL, 1 - TAIL))
    return {"value": float(actual[0]), "low": float(low), "high": float(high)}


def _counted(ranked: np.ndarray, gold: np.ndarray, score: str, k: int) -> np.ndarray:
    """What a post counts for in a metric, on average over the runs of `ranked [n, K]` or `[S, n, K]`; `[n]`."""
    hits = np.stack([_hits(run, gold, k) for run in ranked.reshape(-1, *ranked.shape[-2:])])
    return (hits > 0 if score == "accuracy" else hits).mean(0)


def _hits(ranked: np.ndarray, gold: np.ndarray, k: int) -> np.ndarray:
    """How many of each post's first k recommendations are right, `[n]`."""
    if ranked.shape[1] < k:
        raise ValueError(f"{ranked.shape[1]} recommendations a post where {k} are needed")
    first = ranked[:, :k]
    hits = np.zeros(len(gold), np.int64)
    for column in gold.T:  # one hashtag at a time: [n, k, G] would not be small
        hits += ((first == column[:, None]) & (column >= 0)[:, None]).any(1)
    return hits


def _draw(columns: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of equal rows of `columns`, how often each comes up in every draw `[draws, groups]`, and truly."""
    if not len(columns):
        raise ValueError("no post has a hashtag")
    groups, counts = np.unique(columns, axis=0, return_counts=True)
    weights = np.random.default_rng(seed).multinomial(len(columns), counts / len(columns), size=draws)
    return groups.astype(np.float64), weights.astype(np.float64), counts[None].astype(np.float64)


def _value(score: str, k: int, counted: np.ndarray, size: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A metric of posts that count for `counted`, under each row of `weights [draws, groups]`, `[draws]`."""
    posts = weights.sum(1)
    precision, recall = weights @ counted / (k * posts), weights @ (counted / size) / posts
    if score == "f1":
        return harmonic(precision, recall)
    return {"precision": precision, "recall": recall, "accuracy": weights @ counted / posts}[score]
