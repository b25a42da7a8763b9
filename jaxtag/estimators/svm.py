"""Linear SVMs, a hashtag against the rest, on the sum of a post's word vectors (SYSTEMS 4.8) or other features (2.6).

    min_{w, b}  ½ (‖w‖² + b²) + C Σ_i max(0, 1 − y_i (wᵀx_i + b))²       y_i is 1 where post i has the hashtag, else −1

Hashtags are ranked by the margin wᵀx + b. x is the sum of the vectors of a post's words, words without one left out;
with history, the sum over all words of the author's earlier posts behind it, or added to it; or x are an encoder's
features, or the image's. Training posts that have none are left out. Hashtags are fitted one by one, as many at a time
as there are cores, and do not touch each other (`jaxtag.estimators.squared_hinge`).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data.posts import HISTORY
from jaxtag.errors import JaxtagError
from jaxtag.estimators import sources
from jaxtag.estimators.cosine import summed_vectors
from jaxtag.estimators.squared_hinge import gram, solve
from jaxtag.progress import progress

READS = "features"
NEVER = -1e30  # the margin of a hashtag that no training post has: below any other, and finite


@dataclass(frozen=True)
class Settings(sources.Reads):
    """The SVMs' settings.

    Attributes:
      features: what is read of a post (`jaxtag.estimators.sources`).
      vectors: name of the split's word vectors.
      words: of a post, whose vectors are summed: the `split`'s, or `all` words that have one.
      history: of the system that reads it: its sum is a part of its own (`concatenated`), or `added` to the post's.
      penalty: C.
      tolerance: of the gradient, as a part of its first, at which a hashtag is done.
      iterations: of a hashtag, at most.
    """

    word_vectors: ClassVar[str] = "summed_vectors"
    features: Literal["summed_vectors", "merged", "image", "text", "vector"] = "summed_vectors"
    vectors: str = "inductive"
    words: Literal["split", "all"] = "split"
    history: Literal["concatenated", "added"] = "concatenated"
    penalty: float = 1.0
    tolerance: float = 1e-9
    iterations: int = 100


def check(settings: Settings, columns: tuple[str, ...]) -> None:
    """Refuse settings that are not possible for a system that reads `columns`.

    Raises:
      JaxtagError: saying which.
    """
    for name in ("penalty", "tolerance", "iterations"):
        if not 0 < getattr(settings, name) < float("inf"):
            raise JaxtagError(f"model.{name} is {getattr(settings, name):g}; it must be above 0")
    if settings.history == "added" and HISTORY not in columns:
        raise JaxtagError("model.history added is of svm_history", "leave it out")


def learned(settings: Settings, words: int, hashtags: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what is learned."""
    return {"weights": (hashtags, width), "bias": (hashtags,)}


def features(settings: Settings, batch: dict[str, jax.Array], words: jax.Array, counted: jax.Array) -> jax.Array:
    """Sums of the vectors `words [V, d]` of the words that are `counted [V]`: `[B, d]`, or `[B, 2 d]` with history."""
    found = summed_vectors(batch["tokens"], words, counted)
    if HISTORY not in batch:
        return found
    earlier = summed_vectors(batch[HISTORY].reshape(len(found), -1), words, counted)
    return found + earlier if settings.history == "added" else jnp.concatenate([found, earlier], 1)


def fit(settings: Settings, features: np.ndarray, gold: Any) -> dict[str, np.ndarray]:
    """What is learned: `weights [L, p]` and `bias [L]`, of training posts' features and hashtags.

    Args:
      settings: C, and when to stop.
      features: `[n, p]`.
      gold: `[n, L]` of zeros and ones, sparse.

    Raises:
      JaxtagError: a feature is not finite.
    """
    from threadpoolctl import threadpool_limits

    x = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    if not np.isfinite(x).all():
        raise JaxtagError("a training post's features are not finite", "make the word vectors again")
    columns, known = gold.tocsc(), gold.shape[1]
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:  # the same bits on any number of cores
        whole = gram(x)

        def one(label: int) -> np.ndarray:
            positive = np.zeros(len(x), bool)
            positive[columns.indices[columns.indptr[label] : columns.indptr[label + 1]]] = True
            if not positive.any():
                return np.append(np.zeros(features.shape[1]), NEVER)
            return solve(x, whole, positive, settings.penalty, settings.tolerance, settings.iterations)

        found = np.stack(list(progress(pool.map(one, range(known)), "fitting", known)))
    return {"weights": found[:, :-1].astype(np.float32), "bias": found[:, -1].astype(np.float32)}


def query(fitted: dict[str, jax.Array], features: jax.Array) -> jax.Array:
    """Features `[B, p]` with a one behind each, `[B, p + 1]`."""
    return jnp.concatenate([features, jnp.ones((len(features), 1), jnp.float32)], 1)


def table(fitted: dict[str, jax.Array], labels: jax.Array) -> jax.Array:
    """Weights of the hashtags `labels` with their bias behind them, `[len(labels), p + 1]`."""
    return jnp.concatenate([fitted["weights"], fitted["bias"][:, None]], 1)[labels]
