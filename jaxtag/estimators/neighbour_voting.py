"""Neighbour voting: the hashtags of a post's nearest training posts (SYSTEMS 2.6).

    score(h) = how many of the k nearest have h  −  prior(h)        prior(h) = k · n(h) / n where it is on, else 0

n(h) of the n training posts have h. The amnn paper's form has k = 5, squared distance, no prior, and every neighbour
votes; TagVote's, which it cites, k = 1000, the prior, and one vote an author. Of hashtags with as many votes the one
that is met first comes first, the nearest post's hashtags in their author's order before the next one's. A post without
features has no neighbours, and gets what any k posts would vote on average, k · n(h) / n.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxtag.errors import JaxtagError
from jaxtag.estimators import sources, voters

READS = "neighbours"
MOST_NEVER = np.iinfo(np.int32).max  # the place of a hashtag that no neighbour has


@dataclass(frozen=True)
class Settings(sources.Reads):
    """Neighbour voting's settings.

    Attributes:
      features: by which posts are near (`jaxtag.estimators.sources`).
      vectors: name of the split's word vectors, where features are of them.
      words: of a post, whose vectors are averaged: the `split`'s, or `all` words that have one.
      grams: of `tfidf`, words of the longest sequence.
      k: neighbours that vote.
      distance: `l2` or `cosine`.
      prior: whether what a hashtag's use alone would give is taken off.
      unique_author: whether only the nearest post of each author votes.
      pool: with it, how many of the nearest posts are looked through for k authors.
      approximate: whether a TPU may miss some of the nearest; elsewhere they are exact.
    """

    features: Literal["image", "text", "merged", "vector", "tfidf", "mean_vectors"] = "image"
    vectors: str = "inductive"
    words: Literal["split", "all"] = "split"
    grams: int = 3
    k: int = 5
    distance: Literal["l2", "cosine"] = "l2"
    prior: bool = False
    unique_author: bool = False
    pool: int = 100
    approximate: bool = False


def check(settings: Settings, columns: tuple[str, ...]) -> None:
    """Refuse settings that are not possible.

    Raises:
      JaxtagError: saying which.
    """
    for name in ("k", "grams"):
        if getattr(settings, name) < 1:
            raise JaxtagError(f"model.{name} is {getattr(settings, name)}; it must be 1 or more")
    if settings.unique_author and settings.pool < settings.k:
        raise JaxtagError(f"model.pool is {settings.pool}; it must be model.k, {settings.k}, or more")


def learned(settings: Settings, words: int, hashtags: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what is learned: training posts are kept, nothing is learned of them but how often they are used."""
    return {"uses": (hashtags,)}


def wanted(settings: Settings) -> int:
    """How many neighbours are looked for."""
    return settings.pool if settings.unique_author else settings.k


def fit(settings: Settings, near: Any, gold: Any) -> dict[str, np.ndarray]:
    """What is learned: `uses [L]`, n(h) / n, of training posts' hashtags `gold [n, L]`, sparse; they are not asked."""
    return {"uses": (np.asarray(gold.sum(0), np.float64).reshape(-1) / gold.shape[0]).astype(np.float32)}


def scores(settings: Settings, fitted: dict[str, Any], places: Any, hashtags: Any) -> jax.Array:
    """The votes for each hashtag, `[B, L]` float32; of as many the earlier met has a little more.

    Args:
      settings: how they are counted.
      fitted: `uses`, and with `unique_author` the training posts' `authors [n]`, 0 unknown.
      places: neighbours `[B, w]`, nearest first, −1 behind them.
      hashtags: theirs `[B, w, H]`, −1 padded.
    """
    votes = places >= 0
    if settings.unique_author:
        votes &= _first_of(jnp.where(votes, jnp.asarray(fitted["authors"])[places], 0))
    votes &= jnp.cumsum(votes, 1) <= settings.k
    hashtags = jnp.where(votes[..., None], hashtags, -1)
    posts, known = len(places), fitted["uses"].shape[0]
    count = voters.votes_of(hashtags, known)
    flat = hashtags.reshape(posts, -1)
    at = jnp.arange(posts)[:, None], jnp.where(flat < 0, known, flat)
    order = jnp.arange(flat.shape[1], dtype=jnp.int32)
    first = jnp.full((posts, known), MOST_NEVER, jnp.int32).at[at].min(order, mode="drop")
    expected = settings.k * fitted["uses"]
    value = jnp.where(votes.any(1, keepdims=True), count.astype(jnp.float32), expected)
    return _apart(value - expected if settings.prior else value, first)


def _first_of(authors: jax.Array) -> jax.Array:
    """Which of `authors [B, w]` are met for the first time; an unknown one, 0, always is."""
    order = jnp.argsort(authors, axis=1, stable=True)
    ranked = jnp.take_along_axis(authors, order, 1)
    new = jnp.concatenate([jnp.ones_like(ranked[:, :1], bool), ranked[:, 1:] != ranked[:, :-1]], 1) | (ranked == 0)
    return jnp.zeros_like(new).at[jnp.arange(len(order))[:, None], order].set(new)


def _apart(value: jax.Array, first: jax.Array) -> jax.Array:
    """`value [B, L]`, of equal ones that of the greater `first` lowered by the least that a float32 can be.

    Floats are ordered as the whole numbers that their bits are; going down the ranks, each is at most the one before
    it less one.
    """
    posts, known = value.shape
    rank = jnp.arange(known, dtype=jnp.int32)
    negative, _, label = lax.sort((-value, first, jnp.broadcast_to(rank, value.shape)), dimension=1, num_keys=2)
    bits = lax.bitcast_convert_type(jnp.where(negative == 0, 0.0, -negative), jnp.int32)
    ordered = jnp.where(bits < 0, -(bits & MOST_NEVER), bits)
    lowered = lax.cummin(ordered + rank, axis=1) - rank
    bits = jnp.where(lowered < 0, -lowered | np.int32(np.iinfo(np.int32).min), lowered)
    found = lax.bitcast_convert_type(bits, jnp.float32)
    apart = jnp.zeros_like(value).at[jnp.arange(posts)[:, None], label].set(found)
    return jnp.where(first < MOST_NEVER, apart, value)
