"""Multinomial naive Bayes on counts of words (SYSTEMS 4.7), by scikit-learn's `MultinomialNB`.

    log P(h) + Σ_n log((n_{h, w} + α) / (n_h + α V))         over the words n of a post that the vocabulary has

n_{h, w} counts word w in the training posts with hashtag h, n_h all their words, V the vocabulary, and P(h) is the
share of h among (post, hashtag) pairs: a post with several hashtags counts for each. With history, the words of the
author's earlier posts join the bag, or have counts of their own (`separate`). Counts are sums, so one row a hashtag is
fitted in place of one a pair, and hashtags in blocks: the same numbers, in memory that does not grow with hashtags.

What is kept is sparse: a word that a hashtag never met has the `base`, log(α / (n_h + α V)), and an observed pair how
much it is above that.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data.posts import FIRST_WORD, HISTORY
from jaxtag.errors import JaxtagError
from jaxtag.estimators import pairs
from jaxtag.progress import progress

READS = "counts"
FITTED_AT_ONCE = 256  # hashtags, whose rows over the vocabulary are dense while they are fitted
NEVER = -1e30  # the log prior of a hashtag that no training post has: below any other, and finite


@dataclass(frozen=True)
class Settings:
    """Naive Bayes' settings.

    Attributes:
      alpha: α, Laplace's at 1.
      history: of the system that reads it: its words are `joined` with the post's, or counted `separate`ly.
    """

    alpha: float = 1.0
    history: Literal["joined", "separate"] = "joined"


def check(settings: Settings, columns: tuple[str, ...]) -> None:
    """Refuse settings that are not possible for a system that reads `columns`.

    Raises:
      JaxtagError: saying which.
    """
    if not 0 < settings.alpha < float("inf"):
        raise JaxtagError(f"model.alpha is {settings.alpha:g}; it must be above 0")
    if settings.history == "separate" and HISTORY not in columns:
        raise JaxtagError("model.history separate is of naive_bayes_history", "leave it out")


def learned(settings: Settings, words: int, hashtags: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what is learned, as if it were dense; with separate history, its words' too."""
    shapes: dict[str, tuple[int, ...]] = {"prior": (hashtags,), "likelihood": (words, hashtags)}
    return shapes | ({"history_likelihood": (words, hashtags)} if settings.history == "separate" else {})


def fit(settings: Settings, counts: dict[str, Any], gold: Any) -> dict[str, np.ndarray]:
    """What is learned of the training posts.

    Args:
      settings: α, and what becomes of history.
      counts: of each word id in each post, by column, `[n, words]` sparse; `tokens`, and perhaps `history`.
      gold: the posts' hashtags, `[n, L]` of zeros and ones, sparse.

    Returns:
      `prior [L]`, and of each table of words (`history_…` of a separate one) `base [L]`, `offsets`, `hashtags` and
      `values [P, 1]` (`jaxtag.estimators.pairs`).
    """
    uses = np.asarray(gold.sum(0), np.float64).reshape(-1)
    with np.errstate(divide="ignore"):
        prior = np.maximum(np.log(uses) - np.log(uses.sum()), NEVER)
    tables = {"": counts["tokens"]}
    if settings.history == "separate":
        tables["history_"] = counts[HISTORY]
    elif HISTORY in counts:
        tables[""] = counts["tokens"] + counts[HISTORY]
    found = {"prior": prior.astype(np.float32)}
    for prefix, bags in tables.items():
        learned = _likelihoods(settings.alpha, (gold.T @ bags).tocsr()[:, FIRST_WORD:])
        found |= {prefix + name: array for name, array in learned.items()}
    return found


def scores(settings: Settings, fitted: dict[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
    """The joint log-probability of each hashtag and the words of each post, `[B, L]` float32."""
    tokens = batch["tokens"]
    tables = {"": tokens}
    if HISTORY in batch:
        earlier = batch[HISTORY].reshape(len(tokens), -1)
        joined = settings.history == "joined"
        tables = {"": jnp.concatenate([tokens, earlier], 1)} if joined else {"": tokens, "history_": earlier}
    found = fitted["prior"][None]
    for prefix, words in tables.items():
        base, offsets, hashtags, values = (fitted[prefix + n] for n in ("base", "offsets", "hashtags", "values"))
        known = (words >= FIRST_WORD).sum(1, keepdims=True)
        ones = jnp.ones((*words.shape, 1), jnp.float32)
        found = found + known * base + pairs.scores(words, ones, offsets, hashtags, values, len(base))
    return found


def _likelihoods(alpha: float, counts: Any) -> dict[str, np.ndarray]:
    """The table of `counts [L, V]`, of each word in each hashtag's posts, sparse; word ids begin at `FIRST_WORD`."""
    from sklearn.naive_bayes import MultinomialNB

    known, vocabulary = counts.shape
    base, labels, words, values = [], [], [], []
    for start in progress(range(0, known, FITTED_AT_ONCE), "fitting"):
        part = counts[start : start + FITTED_AT_ONCE]
        some = np.arange(part.shape[0])
        model = MultinomialNB(alpha=alpha, fit_prior=False).fit(part, some)
        log = model.feature_log_prob_.reshape(-1, vocabulary)[: len(some)]
        least = np.log(alpha) - np.log(np.asarray(part.sum(1), np.float64).reshape(-1) + alpha * vocabulary)
        met = part.tocoo()
        base.append(least)
        labels.append(met.row + start)
        words.append(met.col + FIRST_WORD)
        values.append(log[met.row, met.col] - least[met.row])
    label, word = np.concatenate(labels), np.concatenate(words)
    order = np.lexsort((label, word))
    offsets, hashtags = pairs.observed(word, label, vocabulary + FIRST_WORD, known)
    return {
        "base": np.concatenate(base).astype(np.float32),
        "offsets": offsets,
        "hashtags": hashtags,
        "values": np.concatenate(values)[order, None].astype(np.float32),
    }
