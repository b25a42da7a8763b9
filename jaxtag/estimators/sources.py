"""Where an estimator's features come from: an encoder that is trained first, an image column, or a post's words.

    merged, image, text             of an encoder: what it ranks hashtags by, and its image's or its text's part of it
    vector                          pooled features of the post's image, of `data.extractor`
    mean_vectors, summed_vectors    of the vectors of the post's words that have one
    tfidf                           weights of words and of sequences of words (`jaxtag.estimators.tfidf`)

A post that has nothing of the kind, no image or no word, has no features, and a row of NaN says so: it is left out of
what is learned, never learned from as zeros. What an encoder merges leaves a missing part out itself.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxtag.data.posts import CELLS, FIRST_WORD, VECTOR
from jaxtag.estimators.cosine import mean_vectors

ENCODED = {"merged": "features", "image": "image_features", "text": "text_features"}  # a model's functions
COLUMNS = {VECTOR: (VECTOR,), "tfidf": ("tokens",), "mean_vectors": ("tokens",)}
WORD_VECTORS = ("mean_vectors", "summed_vectors")


class Reads:
    """What the settings of an estimator with `features` tell of the columns that it reads."""

    features: str
    word_vectors: ClassVar[str] = "mean_vectors"  # its features of word vectors

    @property
    def columns(self) -> tuple[str, ...]:
        """That its features are of; none where an encoder, or the system's row of the table, says it."""
        return COLUMNS.get(self.features, ())


def read(kind: str, batch: dict[str, jax.Array], words: Any, counted: Any) -> jax.Array:
    """Features `[B, p]` float32 that no encoder gives, but for TF-IDF's; a post without any has NaN.

    Args:
      kind: `vector` or `mean_vectors`.
      batch: posts.
      words, counted: as of `jaxtag.estimators.cosine.mean_vectors`.
    """
    found = batch[VECTOR] if kind == VECTOR else mean_vectors(batch["tokens"], words, counted)
    return without(kind, found, batch, counted)


def without(kind: str, found: jax.Array, batch: dict[str, jax.Array], counted: Any = None) -> jax.Array:
    """Features `found [B, p]` of a batch, NaN for posts that have nothing of the kind; `counted` as of `read`."""
    found = found.astype(jnp.float32)
    if kind in ("image", VECTOR):
        has = batch[CELLS] > 0
    elif kind == "merged" and CELLS in batch:
        has = batch[CELLS] > 0
        has |= (batch["tokens"] >= FIRST_WORD).any(1) if "tokens" in batch else False
    elif kind in ("text", "mean_vectors"):
        has = ((batch["tokens"] >= FIRST_WORD) if counted is None else counted[batch["tokens"]]).any(1)
    else:
        return found
    return jnp.where(has[:, None], found, jnp.nan)
