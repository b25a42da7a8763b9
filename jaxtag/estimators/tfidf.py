"""TF-IDF of words and of sequences of words, and the training posts nearest by it.

    w(g, d) = n(g, d) · (log((1 + N) / (1 + N(g))) + 1)         then each post's weights are divided by their length

n(g, d) is how often sequence g of one to `longest` words occurs in post d, N(g) how many of the N training posts have
it; all are fitted on the training part alone. Rows are of length one, so that the nearest by distance are the nearest
by cosine. Posts are rows of a few of very many sequences, and what is kept is sparse: for each sequence the posts that
have it, walked like any table of pairs (`jaxtag.estimators.pairs`). A sequence spans no word that the split does not
count. Posts that share no sequence are no neighbours.

The sequences are a trie. Number g below V is the word with that id; longer ones are sorted by the number of what they
begin with, and then by their last word: those that begin with g are `first[g] … first[g + 1] − 1`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators import pairs
from jaxtag.estimators.neighbours import Found, k_greatest

AT_ONCE = 64  # queries, whose products with every training post are held


def fit(tokens: np.ndarray, longest: int, vocabulary: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The sequences of training posts, and where they are.

    Args:
      tokens: word ids `[n, T]`, in the order of the post; padding and unknown words below `FIRST_WORD`.
      longest: words of the longest sequence.
      vocabulary: V, above every word id.

    Returns:
      `first [G + 1]`, `last [G]` int32: the trie. `idf [G + 1]` float32, 0 last. `offsets [G + 2]`, `posts [P]` int32
      and `weights [P]` float32: the posts of each sequence, and its weight in them. And which posts have a sequence,
      bool `[n]`: `posts` numbers those alone.
    """
    known = tokens >= FIRST_WORD
    grams = [np.where(known, tokens, -1).astype(np.int64)]
    parents, last = [np.full(vocabulary, -1)], [np.arange(vocabulary)]
    for _ in range(longest - 1):
        before = np.full_like(grams[-1], -1)
        before[:, 1:] = grams[-1][:, :-1]
        keys = np.where(known & (before >= 0), before * vocabulary + tokens, -1)
        found = np.unique(keys[keys >= 0])
        start = sum(map(len, last))
        grams.append(np.where(keys < 0, -1, start + np.searchsorted(found, keys)))
        parents.append(found // vocabulary)
        last.append(found % vocabulary)
    sequences = sum(map(len, last))
    first = np.searchsorted(np.concatenate(parents[1:] or [[]]), np.arange(sequences + 1)) + vocabulary
    every = np.concatenate(grams, 1)
    row, place = np.nonzero(every >= 0)
    keys, times = np.unique(every[row, place] * len(tokens) + row, return_counts=True)
    gram, row = keys // len(tokens), keys % len(tokens)
    idf = np.log((1 + len(tokens)) / (1 + np.bincount(gram, minlength=sequences))) + 1
    weights = times * idf[gram]
    length = np.sqrt(np.bincount(row, weights**2, minlength=len(tokens)))
    has = length > 0
    return {
        "first": first.astype(np.int32),
        "last": np.concatenate(last).astype(np.int32),
        "idf": np.append(idf, 0).astype(np.float32),
        "offsets": np.searchsorted(gram, np.arange(sequences + 2)).astype(np.int32),
        "posts": (np.cumsum(has) - 1)[row].astype(np.int32),
        "weights": (weights / length[row]).astype(np.float32),
    }, has


def sequences(fitted: dict[str, Any], tokens: jax.Array, longest: int) -> jax.Array:
    """The sequences of each post of a batch, `[B, longest · T]` int32; G for one that no training post has.

    Args:
      fitted: from `fit`.
      tokens: word ids `[B, T]`.
      longest: as of `fit`.
    """
    first, last = jnp.asarray(fitted["first"]), jnp.asarray(fitted["last"])
    none = len(last)
    grams = [jnp.where(tokens >= FIRST_WORD, tokens, none)]
    for _ in range(longest - 1):
        before = jnp.pad(grams[-1][:, :-1], ((0, 0), (1, 0)), constant_values=none)
        known = jnp.minimum(before, none - 1)
        low, end = first[known], jnp.where(before < none, first[known + 1], first[known])

        def halve(_: Any, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bounds
            middle = (low + high) // 2
            less = (last[jnp.minimum(middle, none - 1)] < tokens) & (low < high)
            return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

        found, _ = lax.fori_loop(0, none.bit_length(), halve, (low, end))
        hit = (found < end) & (last[jnp.minimum(found, none - 1)] == tokens) & (tokens >= FIRST_WORD)
        grams.append(jnp.where(hit, found, none))
    return jnp.concatenate(grams, 1)


def nearest(fitted: dict[str, Any], grams: jax.Array, k: int, known: int, own: jax.Array) -> Found:
    """The k training posts nearest to each post of a batch; traceable.

    Args:
      fitted: from `fit`.
      grams: from `sequences`, `[B, R]`.
      k: how many.
      known: how many training posts there are.
      own: as of `jaxtag.estimators.neighbours.nearest`.

    Returns:
      As there; nearness is the cosine times the length of the query's weights.
    """
    count, most = len(grams), min(k, known)
    parts = -(-count // AT_ONCE)
    size = -(-count // parts)
    empty = ((0, parts * size - count), (0, 0))
    grams = jnp.pad(grams, empty, constant_values=len(fitted["last"])).reshape(parts, size, -1)
    own = jnp.pad(own, empty[0], constant_values=-1).reshape(parts, size)
    values = jnp.asarray(fitted["weights"])[:, None]
    idf = jnp.asarray(fitted["idf"])

    def part(given: tuple[jax.Array, jax.Array]) -> Found:
        grams, own = given
        near = pairs.scores(grams, idf[grams][..., None], fitted["offsets"], fitted["posts"], values, known)
        near = jnp.where((near > 0) & (jnp.arange(known) != own[:, None]), near, -jnp.inf)
        places, near = k_greatest(near, most)
        return jnp.where(near > -jnp.inf, places, -1), near

    places, near = (x.reshape(parts * size, most)[:count] for x in lax.map(part, (grams, own)))
    fill = ((0, 0), (0, k - most))
    return jnp.pad(places, fill, constant_values=-1), jnp.pad(near, fill, constant_values=-jnp.inf)
