"""The one evaluator: ranks every candidate for every post of a part, and merges sums."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag import ranking
from jaxtag.data import batches
from jaxtag.data.batches import Source
from jaxtag.data.posts import COLUMNS
from jaxtag.errors import JaxtagError
from jaxtag.evaluation import baselines, metrics
from jaxtag.experiment import check_metric
from jaxtag.files import write_json
from jaxtag.parallel.mesh import replicated
from jaxtag.progress import progress
from jaxtag.runs import Bound, open_run, restore_best


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
      metrics: by name, such as `f1@1`; and `posts`.
      rows: row numbers of the posts, int32 `[n]`.
      ranked: the best candidates of each post, dataset hashtag ids, best first `[n, k]`; −1 is none.
      gold: the author's hashtags among the candidates, dataset hashtag ids `[n, g]`, −1 padded.
    """

    metrics: dict[str, float]
    rows: np.ndarray
    ranked: np.ndarray
    gold: np.ndarray


class Evaluator:
    """Evaluates states of one bound experiment; compiled once, for any number of posts."""

    def __init__(self, bound: Bound, source: Source):
        """Rank the split's candidates for posts read from `source`, whose hashtags are labels.

        Raises:
          JaxtagError: a candidate is not among the hashtags trained on.
        """
        self._bound, self._source = bound, source
        labels = labels_of(bound, bound.split.candidates)
        self._k = min(max(bound.experiment.evaluation.k), len(labels))
        self._ks = tuple(k for k in bound.experiment.evaluation.k if k <= self._k)
        check_metric(bound.experiment.evaluation.metric, self._ks)
        position = np.full(bound.system.sizes.hashtags, -1, np.int32)  # of a label among the candidates
        position[labels] = np.arange(len(labels), dtype=np.int32)
        self._put = replicated(bound.mesh)
        self._labels, self._position = jax.device_put((labels, position), self._put)
        self._table = jax.jit(
            lambda s, labels: ranking.candidate_table(bound.system, s["params"], s["collections"], labels)
        )
        self._batch = jax.jit(self._evaluate_batch, out_shardings=self._put)

    def __call__(self, state: Any, rows: np.ndarray) -> Result:
        """Rank for the posts `rows [n]`; metrics are over those that have a hashtag among the candidates."""
        state = {"params": state["params"], "collections": state["collections"]}
        size = self._bound.experiment.evaluation.batch
        padded = np.full(-(-len(rows) // size) * size, -1, np.int32)
        padded[: len(rows)] = rows
        table = self._table(state, self._labels)
        total, found = None, []
        for start in progress(range(0, len(padded), size), "evaluating"):
            part = padded[start : start + size]
            feed = self._source.feed_rows(part)
            valid = jax.device_put(part >= 0, self._put)
            sums, ranked, gold = self._batch(state, table, self._position, feed, valid)
            total = sums if total is None else metrics.add(total, sums)
            found.append((ranked, gold))
        ranked, gold = (np.concatenate(parts)[: len(rows)] for parts in zip(*jax.device_get(found)))
        candidates = np.append(self._bound.split.candidates, -1)
        return Result(metrics.finish(jax.device_get(total), self._ks), rows, candidates[ranked], candidates[gold])

    def _evaluate_batch(self, state: Any, table: jax.Array, position: jax.Array, feed: Any, valid: jax.Array) -> tuple:
        batch = self._source.fetch_rows(feed)
        ranked, _ = ranking.rank(self._bound.system, state["params"], state["collections"], batch, table, self._k)
        labels = batch["hashtags"]
        gold = jnp.where(labels < 0, -1, position[jnp.maximum(labels, 0)])
        return metrics.topk_sums(ranked, gold, valid, self._ks, len(table)), ranked, gold


def labels_of(bound: Bound, hashtags: np.ndarray) -> np.ndarray:
    """Labels of dataset hashtag ids.

    Raises:
      JaxtagError: one was not trained on, which this system needs.
    """
    table = np.full(len(bound.dataset.hashtags), -1, np.int32)
    table[bound.split.hashtags] = np.arange(len(bound.split.hashtags), dtype=np.int32)
    if (table[hashtags] < 0).any():
        missing = bound.dataset.hashtags.entries[hashtags[np.argmax(table[hashtags] < 0)]]
        raise JaxtagError(
            f"system {bound.experiment.system} cannot rank #{missing}: it was not trained on it",
            "choose candidates among the split's hashtags",
        )
    return table[hashtags]


def evaluate(run: Path, part: str = "test", data: Path | None = None) -> dict[str, Any]:
    """Evaluate the best checkpoint of `run` on a part of its split, beside the built-in baselines.

    Writes `evaluation-<part>.json` and `predictions-<part>.npz` in the run folder.

    Args:
      run: the run folder.
      part: `train`, `validation` or `test`.
      data: where the dataset lies now, if not where it was trained.

    Returns:
      What was written as JSON: the metrics, `baselines` by name, and what they are of.

    Raises:
      JaxtagError: no such run or part, or its files are damaged.
    """
    bound, info = open_run(run, data)
    rows = bound.split.part(part)
    source = batches.open_source(bound.reading, bound.mesh, bound.split, bound.experiment)
    result = Evaluator(bound, source)(restore_best(run, bound), rows)
    document = {"recipe": info["recipe"], "part": part, "split": bound.split.name, **result.metrics}
    document["baselines"] = compare(bound, result)
    np.savez(run / f"predictions-{part}.npz", rows=result.rows, ranked=result.ranked, gold=result.gold)
    write_json(run / f"evaluation-{part}.json", document)
    return document


def compare(bound: Bound, result: Result) -> dict[str, dict[str, float]]:
    """The built-in baselines' metrics on the posts of `result`, by name."""
    split, k = bound.split, result.ranked.shape[1]
    position = np.full(len(bound.dataset.hashtags) + 1, COLUMNS["hashtags"].padding, np.int32)
    position[split.candidates] = np.arange(len(split.candidates), dtype=np.int32)
    gold = position[result.gold]
    ks = tuple(c for c in bound.experiment.evaluation.k if c <= k)
    found = {}
    for name, ranked in baselines.rankings(bound.dataset, split, result.rows, split.candidates, k).items():
        valid = np.ones(len(gold), bool)
        sums = metrics.topk_sums(jnp.asarray(ranked), jnp.asarray(gold), jnp.asarray(valid), ks, len(split.candidates))
        found[name] = metrics.finish(jax.device_get(sums), ks)
    return found
