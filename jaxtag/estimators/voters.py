"""What estimators that ask the nearest training posts keep of them, and those posts' hashtags.

    rows                      features `[n, p]`, a file of its own that is read where it lies; or what `tfidf` keeps
    label_offsets, labels     hashtags of each post, in the author's order, each once
    most                      a row of as many numbers as a post has hashtags at most
    count                     n

Training posts without features (`jaxtag.estimators.sources`) are not among them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.estimators import neighbours, tfidf


def kept(hashtags: np.ndarray) -> dict[str, np.ndarray]:
    """The hashtags `[n, H]` of training posts, −1 padded, as they are kept: int32 `label_offsets`, `labels`, `most`."""
    again = np.zeros(hashtags.shape, bool)
    for place in range(1, hashtags.shape[1]):
        again[:, place] = (hashtags[:, :place] == hashtags[:, place, None]).any(1)
    real = (hashtags >= 0) & ~again
    each = real.sum(1)
    return {
        "label_offsets": np.concatenate([[0], np.cumsum(each)]).astype(np.int32),
        "labels": np.append(hashtags[real], -1).astype(np.int32),  # never empty
        "most": np.zeros(int(each.max(initial=1)), np.int32),  # its length is what a compiled program needs
        "count": np.array(len(hashtags), np.int32),
    }


def near(
    settings: Any, fitted: dict[str, Any], given: jax.Array, wanted: int, mesh: Mesh | None = None,
    own: jax.Array | None = None,
) -> jax.Array:  # fmt: skip
    """The training posts nearest to each post of a batch, `[B, wanted]` int32, −1 behind the last.

    Args:
      settings: `features`, `distance` and `approximate`.
      fitted: what is kept.
      given: features `[B, p]`, NaN for a post without any, which has no neighbours; or of `tfidf`, sequences.
      wanted: how many.
      mesh: over which rows are split.
      own: as of `jaxtag.estimators.neighbours.nearest`.
    """
    if settings.features == "tfidf":
        own = jnp.full(len(given), -1, jnp.int32) if own is None else own
        return tfidf.nearest(fitted, given, wanted, len(fitted["label_offsets"]) - 1, own)[0]
    has = ~jnp.isnan(given[:, 0])
    asked, rows = jnp.where(has[:, None], given, 0), fitted["rows"]
    places, _ = neighbours.nearest(
        asked, rows, wanted, settings.distance, count=fitted["count"], own=own, mesh=mesh,
        approximate=settings.approximate,
    )  # fmt: skip
    return jnp.where(has[:, None], places, -1)


def hashtags_of(fitted: dict[str, Any], places: Any) -> jax.Array:
    """The hashtags `[B, w, H]` of the training posts `places [B, w]`, −1 padded; none of a place of −1."""
    offsets, labels, most = (jnp.asarray(fitted[name]) for name in ("label_offsets", "labels", "most"))
    known = jnp.maximum(places, 0)
    place = jnp.arange(len(most), dtype=jnp.int32)
    start = offsets[known][..., None]
    real = (start + place < offsets[known + 1][..., None]) & (places >= 0)[..., None]
    return jnp.where(real, labels[jnp.minimum(start + place, len(labels) - 1)], -1)


def votes_of(hashtags: Any, known: int) -> jax.Array:
    """How many of a post's neighbours have each hashtag, `[B, known]` int32, of their hashtags `[B, w, H]`."""
    flat = hashtags.reshape(len(hashtags), -1)
    row = jnp.arange(len(flat))[:, None]
    return jnp.zeros((len(flat), known), jnp.int32).at[row, jnp.where(flat < 0, known, flat)].add(1, mode="drop")
