"""ML-kNN: a hashtag's posterior probability, given how many of a post's k neighbours have it (SYSTEMS 2.6).

    P(H)         = (s + n(h)) / (2 s + n)
    P(E_δ | H)   = (s + c[δ]) / (s (k + 1) + Σ_j c[j])       c[δ] of the training posts with h have δ neighbours with h
    P(E_δ | ¬H)  = the same of the training posts without h
    P(H | E_δ)   = P(H) P(E_δ | H) / (P(H) P(E_δ | H) + P(¬H) P(E_δ | ¬H))

after Zhang and Zhou (2007). Neighbours of training posts are training posts: the post itself is not one of them, as in
the paper, unless `exclude_self` is off, as in scikit-multilearn. A post without features has no neighbours, and gets
P(H). The posterior is computed in float64, once for every δ and hashtag.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError
from jaxtag.estimators import sources, voters

READS = "neighbours"


@dataclass(frozen=True)
class Settings(sources.Reads):
    """ML-kNN's settings.

    Attributes:
      features: by which posts are near (`jaxtag.estimators.sources`).
      vectors: name of the split's word vectors, where features are of them.
      words: of a post, whose vectors are averaged: the `split`'s, or `all` words that have one.
      grams: of `tfidf`, words of the longest sequence.
      k: neighbours of a post.
      smoothing: s.
      distance: `l2` or `cosine`.
      exclude_self: whether a training post is not its own neighbour.
      approximate: whether a TPU may miss some of the nearest; elsewhere they are exact.
    """

    features: Literal["tfidf", "merged", "image", "text", "vector", "mean_vectors"] = "tfidf"
    vectors: str = "inductive"
    words: Literal["split", "all"] = "split"
    grams: int = 3
    k: int = 5
    smoothing: float = 1.0
    distance: Literal["l2", "cosine"] = "l2"
    exclude_self: bool = True
    approximate: bool = False


def check(settings: Settings, columns: tuple[str, ...]) -> None:
    """Refuse settings that are not possible.

    Raises:
      JaxtagError: saying which.
    """
    for name in ("k", "grams"):
        if getattr(settings, name) < 1:
            raise JaxtagError(f"model.{name} is {getattr(settings, name)}; it must be 1 or more")
    if not 0 < settings.smoothing < float("inf"):
        raise JaxtagError(f"model.smoothing is {settings.smoothing:g}; it must be above 0")


def learned(settings: Settings, words: int, hashtags: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what is learned."""
    return {"prior": (hashtags,), "posterior": (settings.k + 1, hashtags)}


def wanted(settings: Settings) -> int:
    """How many neighbours are looked for."""
    return settings.k


def fit(settings: Settings, near: Callable[[], np.ndarray], gold: Any) -> dict[str, np.ndarray]:
    """What is learned: `prior [L]`, P(H), and `posterior [k + 1, L]`, P(H | E_δ).

    Args:
      settings: k and s.
      near: gives the training posts' neighbours `[n, k]`, −1 behind them.
      gold: the posts' hashtags, `[n, L]` of zeros and ones, sparse.
    """
    from scipy.sparse import csr_array

    places, k, s = near(), settings.k, settings.smoothing
    posts, known = gold.shape
    row, at = np.nonzero(places >= 0)
    which = csr_array((np.ones(len(row)), (row, places[row, at])), shape=(posts, posts))
    deltas = (which @ gold).tocsr()  # sparse: δ where it is not 0
    with_it = deltas.multiply(gold).tocoo()
    having, every = _counted(with_it, k, known), _counted(deltas.tocoo(), k, known)
    uses = np.asarray(gold.sum(0), np.float64).reshape(-1)
    having[0] = uses - having.sum(0)
    every[0] = posts - every.sum(0)
    prior = (s + uses) / (2 * s + posts)
    likely, unlikely = ((s + counts) / (s * (k + 1) + counts.sum(0)) for counts in (having, every - having))
    posterior = prior * likely / (prior * likely + (1 - prior) * unlikely)
    return {"prior": prior.astype(np.float32), "posterior": posterior.astype(np.float32)}


def scores(settings: Settings, fitted: dict[str, Any], places: Any, hashtags: Any) -> jax.Array:
    """The posterior probability of each hashtag, `[B, L]` float32; arguments as of `neighbour_voting.scores`."""
    known = fitted["prior"].shape[0]
    deltas = voters.votes_of(hashtags, known)
    found = jnp.asarray(fitted["posterior"])[deltas, jnp.arange(known)]
    return jnp.where((places >= 0).any(1, keepdims=True), found, fitted["prior"])


def _counted(deltas: Any, k: int, known: int) -> np.ndarray:
    """How many posts have each δ ≥ 1 of each hashtag, float64 `[k + 1, L]`, of the entries of a sparse matrix."""
    real = deltas.data > 0
    place = deltas.data[real].astype(np.int64) * known + deltas.col[real]
    return np.bincount(place, minlength=(k + 1) * known).reshape(k + 1, known).astype(np.float64)
