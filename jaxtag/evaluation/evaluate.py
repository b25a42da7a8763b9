"""The one evaluator: ranks every candidate for every post of a part, and merges sums."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag import explain, ranking
from jaxtag.checks import check_metric
from jaxtag.data.batches import Source
from jaxtag.data.posts import COLUMNS, round_up
from jaxtag.data.unseen import unseen_of
from jaxtag.errors import JaxtagError, nearest
from jaxtag.evaluation import baselines, lists, metrics, zero_shot
from jaxtag.files import new_file, write_json
from jaxtag.parallel import distributed, watchdog
from jaxtag.parallel.mesh import put, replicated
from jaxtag.progress import progress
from jaxtag.runs import Bound, open_posts, open_run
from jaxtag.systems import System
from jaxtag.training.programs import KEPT, Shape, shape_of
from jaxtag.training.restored import restore_best

COMPARED = 4096  # posts of a comparison with the baselines are padded to a multiple of this
AMONG = ("split", "seen", "all")  # which hashtags are candidates, as `candidates_of` has them


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
      metrics: by name, such as `f1@1`; and `posts`.
      rows: row numbers of the posts, int32 `[n]`.
      ranked: the best candidates of each post, dataset hashtag ids, best first `[n, k]`; −1 is none.
      gold: the author's hashtags among the candidates, dataset hashtag ids `[n, g]`, −1 padded.
      candidates: that were ranked, dataset hashtag ids `[C]`.
      sums: that the metrics are of (`jaxtag.evaluation.metrics.topk_sums`), on the host.
    """

    metrics: dict[str, float]
    rows: np.ndarray
    ranked: np.ndarray
    gold: np.ndarray
    candidates: np.ndarray
    sums: dict[str, Any]


class Evaluator:
    """Evaluates states of one bound experiment; compiled once, for any number of posts."""

    def __init__(self, bound: Bound, source: Source, candidates: np.ndarray):
        """Rank `candidates`, dataset hashtag ids, for posts read from `source`, as `bound.reading` has them.

        Raises:
          JaxtagError: the system cannot rank a candidate.
        """
        self._bound, self._source, self._candidates = bound, source, candidates
        labels = labels_of(bound, candidates)
        self._k = min(max(bound.experiment.evaluation.k), len(labels))
        self._ks = tuple(k for k in bound.experiment.evaluation.k if k <= self._k)
        check_metric(bound.experiment.evaluation.metric, self._ks)
        lists.check_threshold(bound, bound.experiment.evaluation.threshold)
        position = np.full(len(bound.reading.targets), -1, np.int32)  # of a label among the candidates
        position[labels] = np.arange(len(labels), dtype=np.int32)
        self._put = replicated(bound.mesh)
        self._labels, self._position = put((labels, position), self._put)
        told = bound.experiment.evaluation
        given = self._k, self._ks, told.min_predictions, told.threshold
        self._table, self._batch = _programs(shape_of(bound, source), *given)

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
            valid = put(part >= 0, self._put)
            sums, ranked, gold = self._batch(state, table, self._position, feed, valid)
            total = sums if total is None else metrics.add(total, sums)
            found.append((ranked, gold))
            watchdog.tell(f"evaluating, at post {start + size} of {len(padded)}")
        ranked, gold = (np.concatenate(parts)[: len(rows)] for parts in zip(*jax.device_get(found)))
        named, sums = np.append(self._candidates, -1), jax.device_get(total)
        found = metrics.finish(sums, self._ks)
        return Result(found, rows, named[ranked], named[gold], self._candidates, sums)


@lru_cache(maxsize=2 * KEPT)
def _programs(shape: Shape, k: int, ks: tuple[int, ...], least: int, threshold: float) -> tuple[Any, Any]:
    """The candidates' table, and a batch's sums and k best, compiled once for evaluations of one shape.

    Posts with fewer than `least` recommendations do not count.
    """
    system, source = shape.system, shape.source

    def _table(state: Any, labels: jax.Array) -> jax.Array:
        return ranking.candidate_table(system, state["params"], state["collections"], labels)

    evaluated = evaluated_by(system, source, k, ks, least, threshold)
    return jax.jit(_table), jax.jit(evaluated, out_shardings=replicated(shape.mesh))


def evaluated_by(
    system: System, source: Source, k: int, ks: tuple[int, ...], least: int, threshold: float = 0.0
) -> Callable[..., tuple]:
    """`evaluate(state, table, position, feed, valid)`: a batch's sums, its k best and its hashtags; traceable.

    Args:
      system: that ranks the candidates of `table`, where a label has a `position`.
      source: that fetches the feed; its posts count that are `valid` and have `least` recommendations.
      k, ks: how many are ranked, and the cut-offs of the sums (`jaxtag.evaluation.metrics.topk_sums`).
      least, threshold: evaluation.min_predictions and evaluation.threshold.
    """

    def _evaluate_batch(state: Any, table: jax.Array, position: jax.Array, feed: Any, valid: jax.Array) -> tuple:
        batch = source.fetch_rows(feed)
        ranked, scores = ranking.rank(system, state["params"], state["collections"], batch, table, k)
        ranked = lists.cut(ranked, scores, threshold)
        labels, valid = batch["hashtags"], valid & enough(ranked, least)
        gold = jnp.where(labels < 0, -1, position[jnp.maximum(labels, 0)])
        return metrics.topk_sums(ranked, gold, valid, ks, len(table)), ranked, gold

    return _evaluate_batch


def enough(ranked: Any, least: int) -> Any:
    """Which posts count, by what was recommended to them: `ranked [n, k]`, −1 none, to `[n]`."""
    return (ranked >= 0).sum(1) >= least


def labels_of(bound: Bound, hashtags: np.ndarray) -> np.ndarray:
    """Labels of dataset hashtag ids: positions among those that the system knows, `bound.reading.targets`.

    Raises:
      JaxtagError: it does not know one.
    """
    targets = bound.reading.targets
    table = np.full(len(bound.dataset.hashtags), -1, np.int32)
    table[targets] = np.arange(len(targets), dtype=np.int32)
    if (table[hashtags] < 0).any():
        missing = bound.dataset.hashtags.entries[hashtags[np.argmax(table[hashtags] < 0)]]
        raise JaxtagError(
            f"system {bound.experiment.system} cannot rank #{missing}: it was not trained on it",
            "choose candidates that it was trained on (jaxtag evaluate --among seen), or a zero-shot system",
        )
    return table[hashtags]


def candidates_of(bound: Bound, among: str) -> np.ndarray:
    """Dataset ids of what is ranked: the `split`'s candidates; those that are `seen`; or `all` that it names.

    Raises:
      JaxtagError: `among` is none of these.
    """
    split = bound.split
    if among not in AMONG:
        raise JaxtagError(f"--among {among!r} is no list of candidates", nearest(among, AMONG))
    if among == "seen":
        return split.hashtags[~np.isin(split.hashtags, unseen_of(bound.dataset, bound.split))]
    return split.candidates if among == "split" else split.named


def evaluate(
    run: Path,
    part: str = "test",
    data: Path | None = None,
    among: Literal["split", "seen", "all"] | str = "split",
    threshold: float | None = None,
) -> dict[str, Any]:
    """Evaluate the best checkpoint of `run` on a part of its split, beside the built-in baselines.

    Writes `evaluation-<part>.json` and `predictions-<part>.npz` in the run folder, and of a system with attention what
    it counted of a few posts, `explained-<part>.json`; ranking among others than the split's candidates,
    `evaluation-<part>-<among>.json` and its like; by another threshold than the run's,
    `evaluation-<part>-threshold-<threshold>.json`.

    Args:
      run: the run folder.
      part: `train`, `validation` or `test`.
      data: where the dataset lies now, if not where it was trained.
      among: which hashtags are candidates, as `candidates_of` has them.
      threshold: in place of the run's own evaluation.threshold, which is what a hashtag's probability is to be.

    Returns:
      What was written as JSON: the metrics, `candidates` (among which, and their count), `baselines` by name, and what
      they are of. Of a zero-shot system also `vectors`, the setting of the word vectors that it used; where seen and
      unseen hashtags are candidates together, and both have posts, `generalised` (`jaxtag.evaluation.zero_shot`). With
      a threshold, `threshold`: what whole lists are worth (`jaxtag.evaluation.lists`).

    Raises:
      JaxtagError: no such run or part, or its files are damaged.
    """
    bound, info = open_run(run, data)
    ending = part if among == "split" else f"{part}-{among}"
    own = bound.experiment.evaluation.threshold
    if threshold is not None and threshold != own:
        bound, ending, own = lists.with_threshold(bound, threshold), f"{ending}-threshold-{threshold:g}", threshold
    rows, candidates = bound.split.part(part), candidates_of(bound, among)
    lists.check_threshold(bound, own)
    state, source = restore_best(run, bound), open_posts(bound)
    result = Evaluator(bound, source, candidates)(state, rows)
    document = {"recipe": info["recipe"], "part": part, "split": bound.split.name, **result.metrics}
    document |= {"candidates": {"among": among, "count": len(candidates)}, **_zero_shot(bound, result)}
    if own:
        document["threshold"] = lists.judge(bound, source, state, labels_of(bound, candidates), rows, own)
    document["baselines"] = compare(bound, result)
    explained = None
    if explain.explains(bound.system.entry):
        explained = explain.of_rows(bound, state, explain.chosen(rows[(result.gold >= 0).any(1)]))
    if distributed.leads():
        _write(run, ending, result, document, explained)
    return document


def _write(run: Path, ending: str, result: Result, document: dict[str, Any], explained: Any) -> None:
    """The files of an evaluation, the last of them what `evaluate` returns."""
    with new_file(run / f"predictions-{ending}.npz") as file:
        np.savez(file, rows=result.rows, ranked=result.ranked, gold=result.gold)
    if explained is not None:
        write_json(run / f"explained-{ending}.json", explained)
    write_json(run / f"evaluation-{ending}.json", document)


def compare(bound: Bound, result: Result) -> dict[str, dict[str, float]]:
    """The built-in baselines' metrics on the posts of `result`, by name.

    Where some candidates are unseen, `chance` is among them: the mean over all orders of the candidates. Where all are,
    it is alone: nothing is known of how much they are used.
    """
    split, candidates, k = bound.split, result.candidates, result.ranked.shape[1]
    position = np.full(len(bound.dataset.hashtags) + 1, COLUMNS["hashtags"].padding, np.int32)
    position[candidates] = np.arange(len(candidates), dtype=np.int32)
    gold = position[result.gold]
    ks = tuple(c for c in bound.experiment.evaluation.k if c <= k)
    found = {}
    new = np.isin(candidates, unseen_of(bound.dataset, bound.split))
    if new.any():
        found["chance"] = zero_shot.chance_metrics((gold >= 0).sum(1), ks, len(candidates))
    if not np.isin(candidates, split.hashtags).any():
        return found
    size = round_up(len(gold), COMPARED)  # parts of nearly the same size have one program
    grow = lambda x: np.concatenate([x, np.full((size - len(x), x.shape[1]), -1, x.dtype)])  # noqa: E731
    counted = enough(grow(result.ranked), bound.experiment.evaluation.min_predictions)
    counted &= np.arange(size) < len(gold)
    for name, ranked in baselines.rankings(bound.dataset, split, result.rows, candidates, k).items():
        sums = _compared(grow(ranked), grow(gold), counted, ks, len(candidates))
        found[name] = metrics.finish(jax.device_get(sums), ks)
    return found


_compared = jax.jit(metrics.topk_sums, static_argnums=(3, 4))


def _zero_shot(bound: Bound, result: Result) -> dict[str, Any]:
    """What is said beyond the metrics of a zero-shot system, or of seen and unseen hashtags ranked together."""
    found: dict[str, Any] = {}
    if settings := vectors_settings(bound):
        found["vectors"] = settings
    new, posts = np.isin(result.candidates, unseen_of(bound.dataset, bound.split)), result.sums["gold"]
    if posts[new].any() and posts[~new].any():
        found["generalised"] = zero_shot.generalised(result.sums, new)
    return found


def vectors_settings(bound: Bound) -> dict[str, str]:
    """The `name` and `setting` of the word vectors that a fitted system reads, a zero-shot one hashtags' vectors from.

    Of an estimator also `of`: words. Where there is an encoder, also `words`, the setting of those that its word table
    starts from, or `at random`; where hashtags' vectors are not the input ones, `kind`, `out` or `sum`.
    """
    if not bound.system.sizes.vectors:
        return {}
    name, initial = bound.experiment.model.vectors, bound.experiment.network.data.vectors
    found = {"name": name, "setting": bound.split.vectors_info(name)["setting"]}
    if not bound.system.entry.zero_shot:
        return found | {"of": "words"}
    if (kind := getattr(bound.experiment.model, "hashtag_vectors", "in")) != "in":
        found["kind"] = kind
    if bound.experiment.encoder:
        found["words"] = bound.split.vectors_info(initial)["setting"] if initial else "at random"
    return found
