"""Lists by threshold: every hashtag whose probability is high enough, of systems that give each one of its own.

For post i with hashtags G_i and the list P_i, of any length:

    precision = mean of |P_i ∩ G_i| / |P_i|, 0 for an empty list     recall = mean of |P_i ∩ G_i| / |G_i|
    accuracy  = share of posts with |P_i ∩ G_i| > 0                  f1 = harmonic mean of precision and recall

Posts without hashtags do not count. The first k of a list are what precision@k and its like are of: what is missing
counts as missed, as everywhere.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag import ranking
from jaxtag.data.batches import Source
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.metrics import harmonic
from jaxtag.parallel.mesh import put, replicated
from jaxtag.progress import progress
from jaxtag.runs import Bound


def check_threshold(bound: Bound, threshold: float) -> None:
    """Refuse a threshold of a system whose hashtags have no probability of their own; 0 is none.

    Raises:
      JaxtagError: it has none, or the threshold is not below 1.
    """
    if not 0 <= threshold < 1:
        raise JaxtagError(f"the threshold is {threshold:g}; it must be at least 0 and below 1")
    if threshold and not getattr(bound.system.objective, "independent", False):
        raise JaxtagError(
            f"{bound.system.entry.name} gives no hashtag a probability of its own, and evaluation.threshold is "
            f"{threshold:g}",
            "--evaluation.threshold 0, or a run of --training.objective sigmoid",
        )


def with_threshold(bound: Bound, threshold: float) -> Bound:
    """`bound` with another evaluation.threshold."""
    evaluation = replace(bound.experiment.evaluation, threshold=threshold)
    return replace(bound, experiment=replace(bound.experiment, evaluation=evaluation))


def logit(threshold: float) -> float:
    """The score from which on a probability is at least `threshold`, log(t / (1 − t)); −inf at 0."""
    return math.log(threshold / (1 - threshold)) if threshold else -math.inf


def cut(ranked: jax.Array, scores: jax.Array, threshold: float) -> jax.Array:
    """`ranked [B, k]` with −1 where `scores [B, k]` are below what the threshold asks for."""
    return jnp.where(scores >= logit(threshold), ranked, -1) if threshold else ranked


def judge(
    bound: Bound, source: Source, state: Any, labels: np.ndarray, rows: np.ndarray, threshold: float
) -> dict[str, float]:
    """What lists by `threshold` of the posts `rows` are worth.

    Args:
      bound, source: the system, and where its posts come from.
      state: of it.
      labels: of the candidates `[C]`.
      rows: row numbers.
      threshold: above 0.

    Returns:
      `probability`, the threshold; `precision`, `recall`, `f1` and `accuracy`; `predicted`, the mean length of a list,
      and `empty`, the share of posts whose list is empty.
    """
    size, system, least = bound.experiment.evaluation.batch, bound.system, logit(threshold)
    position = np.full(len(bound.reading.targets), -1, np.int32)
    position[labels] = np.arange(len(labels), dtype=np.int32)

    def batch_counts(state: Any, position: jax.Array, table: jax.Array, feed: Any) -> tuple[jax.Array, ...]:
        batch = source.fetch_rows(feed)
        gold = batch["hashtags"]
        gold = jnp.where(gold < 0, -1, position[jnp.maximum(gold, 0)])
        query = system.query(state["params"], state["collections"], batch)
        return *ranking.above(query, table, least, gold), (gold >= 0).sum(1)

    whole = replicated(bound.mesh)
    counts = jax.jit(batch_counts, out_shardings=whole)
    given = put((position, labels.astype(np.int32)), whole)
    state = {"params": state["params"], "collections": state["collections"]}
    table = jax.jit(lambda s, labels: ranking.candidate_table(system, s["params"], s["collections"], labels))(
        state, given[1]
    )
    padded = np.full(-(-len(rows) // size) * size, -1, np.int32)
    padded[: len(rows)] = rows
    parts = progress(padded.reshape(-1, size), "lists by threshold")
    found = [counts(state, given[0], table, source.feed_rows(part)) for part in parts]
    many, hits, gold = (np.concatenate(x)[: len(rows)] for x in zip(*jax.device_get(found)))
    return {"probability": threshold} | finish(many, hits, gold)


def finish(many: np.ndarray, hits: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """The scores of lists, by post: how long each is, how many of it are right, and how many hashtags there are."""
    many, hits, gold = (x[gold > 0].astype(np.float64) for x in (many, hits, gold))
    mean = lambda x: float(x.mean()) if len(x) else 0.0  # noqa: E731
    precision, recall = mean(hits / np.maximum(many, 1)), mean(hits / np.maximum(gold, 1))
    found = {"precision": precision, "recall": recall, "f1": float(harmonic(precision, recall))}
    return found | {"accuracy": mean(hits > 0), "predicted": mean(many), "empty": mean(many == 0)}
