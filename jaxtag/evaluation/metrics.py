"""Precision, recall, F1 and accuracy at k, and micro, macro and weighted scores, from sums that merge.

For post i with hashtags G_i and the ordered, duplicate-free list P_i of what was recommended, of which
P_i(k) are the first k (SYSTEMS 0.2):

    precision@k = mean of |P_i(k) ∩ G_i| / k         recall@k = mean of |P_i(k) ∩ G_i| / |G_i|
    accuracy@k  = share of posts with |P_i(k) ∩ G_i| > 0, the hit rate
    f1@k        = harmonic mean of the averaged precision@k and recall@k

A list shorter than k is still divided by k: what is missing counts as missed. Posts without hashtags do not
count. All of it follows from how many posts have h hits among g hashtags, which are whole numbers: the sums
are exact as long as there are fewer than 2^31 posts, in whatever order and wherever they are added.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Sums = dict[str, Any]
SCORES = ("precision", "recall", "f1", "accuracy")


def topk_sums(ranked: jax.Array, gold: jax.Array, valid: jax.Array, ks: Sequence[int], candidates: int) -> Sums:
    """What one batch adds to the sums.

    Args:
      ranked: candidates recommended to each post, best first and each once, int32 `[B, K]`; −1 is none.
      gold: candidates that are the post's hashtags, each once, int32 `[B, G]`; −1 anywhere is padding.
      valid: posts to count, bool `[B]`.
      ks: the cut-offs k, none of them above K.
      candidates: how many candidates there are, C.

    Returns:
      int32 arrays that merge by adding: `posts [len(ks), G + 1, G + 1]`, how many posts have h hits in their
      first k and g hashtags; and over the first recommendation alone, by candidate `[C]`, `true` (right),
      `predicted` (made) and `gold` (posts that have it).

    Raises:
      ValueError: a cut-off is not within 1…K.
    """
    if min(ks) < 1 or max(ks) > ranked.shape[1]:
        raise ValueError(f"cut-offs {tuple(ks)} of {ranked.shape[1]} recommendations")
    size = (gold >= 0).sum(1)
    counted = (valid & (size > 0)).astype(jnp.int32)
    right = (ranked[:, :, None] == gold[:, None, :]).any(2) & (ranked >= 0)
    hits = jnp.cumsum(right, 1)[:, jnp.array(ks) - 1]
    table = jnp.zeros((len(ks), gold.shape[1] + 1, gold.shape[1] + 1), jnp.int32)
    by_class = jnp.zeros((candidates,), jnp.int32)

    def count(places: jax.Array, amount: jax.Array) -> jax.Array:
        # A negative place would count from the end; one past the end is dropped.
        return by_class.at[jnp.where(places < 0, candidates, places)].add(amount, mode="drop")

    return {
        "posts": table.at[jnp.arange(len(ks)), hits, size[:, None]].add(counted[:, None]),
        "true": count(ranked[:, 0], counted * right[:, 0]),
        "predicted": count(ranked[:, 0], counted),
        "gold": count(gold, jnp.broadcast_to(counted[:, None], gold.shape)),
    }


def add(a: Sums, b: Sums) -> Sums:
    """The sums of two sets of posts taken together, on the device or the host."""
    return jax.tree.map(lambda x, y: x + y, a, b)


def finish(
    sums: Mapping[str, Any],
    ks: Sequence[int],
    f1: Literal["harmonic", "mean"] = "harmonic",
    average: Literal["posts", "micro"] = "posts",
) -> dict[str, float]:
    """The metrics that `sums` amount to, in double precision on the host.

    Args:
      sums: from `topk_sums` and `add`.
      ks: the cut-offs they were made with.
      f1: `harmonic` is of the averaged precision and recall; `mean` averages every post's own F1 at k,
        2 |P(k) ∩ G| / (k + |G|), as some re-implementations do.
      average: `posts` gives each post the same weight; `micro` each hashtag: recall is all hits over all
        hashtags, and precision all hits over k times the posts, which is the same as by posts.

    Returns:
      `posts`; `precision@k`, `recall@k`, `f1@k`, `accuracy@k` for each k; and over the decisions (post,
      hashtag) that the first recommendation makes, `precision_micro`, `…_macro`, `…_weighted`, `recall_…` and
      `f1_…`, which for posts with one hashtag are scikit-learn's. All 0 where nothing was counted.
    """
    table = np.asarray(sums["posts"]).astype(np.float64)
    posts = table[0].sum()
    hits, size = np.indices(table.shape[1:]).astype(np.float64)
    result: dict[str, float] = {"posts": int(posts)}
    for k, count in zip(ks, table):
        found = (count * hits).sum()
        precision = _ratio(found, k * posts)
        recall = _ratio((count * _ratio(hits, size)).sum(), posts)
        if average == "micro":
            recall = _ratio(found, (count * size).sum())
        mean = _ratio((count * 2 * hits / (k + size)).sum(), posts)
        result |= {
            f"precision@{k}": float(precision),
            f"recall@{k}": float(recall),
            f"f1@{k}": float(harmonic(precision, recall) if f1 == "harmonic" else mean),
            f"accuracy@{k}": float(_ratio(count[1:].sum(), posts)),
        }
    return result | _over_classes(
        *(np.asarray(sums[name]).astype(np.float64) for name in ("true", "predicted", "gold"))
    )


def harmonic(precision: Any, recall: Any) -> Any:
    """2 P R / (P + R), and 0 where both are 0."""
    return _ratio(2 * precision * recall, precision + recall)


def parse(metric: str) -> tuple[str, int]:
    """The score and the cut-off of a metric's name: `f1@5` is `("f1", 5)`.

    Raises:
      ValueError: it is not one of `precision`, `recall`, `f1` or `accuracy` at a positive whole number.
    """
    score, _, k = metric.partition("@")
    if score not in SCORES or not k.isascii() or not k.isdigit() or int(k) < 1:
        raise ValueError(f"{metric!r} is not a metric such as f1@1")
    return score, int(k)


def _over_classes(true: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Micro, macro and weighted scores of decisions counted by candidate `[C]`.

    Macro averages over the candidates that a post has or was recommended, weighted by the posts that have it.
    """
    seen = (predicted + gold) > 0
    true, predicted, gold = true[seen], predicted[seen], gold[seen]
    each = {
        "precision": _ratio(true, predicted),
        "recall": _ratio(true, gold),
        "f1": _ratio(2 * true, predicted + gold),
    }
    total = {
        "precision": _ratio(true.sum(), predicted.sum()),
        "recall": _ratio(true.sum(), gold.sum()),
        "f1": _ratio(2 * true.sum(), predicted.sum() + gold.sum()),
    }
    result = {}
    for name, values in each.items():
        result[f"{name}_micro"] = float(total[name])
        result[f"{name}_macro"] = float(_ratio(values.sum(), len(values)))
        result[f"{name}_weighted"] = float(_ratio((values * gold).sum(), gold.sum()))
    return result


def _ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)
