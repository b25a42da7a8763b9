"""What a fitted system starts from: its encoder, trained first, or word vectors; if zero-shot, hashtags' vectors."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag.data.hashtags import open_table
from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators.vectors import without_vector
from jaxtag.parallel.mesh import replicated
from jaxtag.runs import Bound, restore_best
from jaxtag.training import loop
from jaxtag.training.logs import say
from jaxtag.training.starting import start_of
from jaxtag.zero_shot import reads_all_words


def train_encoder(run: Path, bound: Bound, at: str = "encoder") -> dict[str, Any]:
    """Train what is left of the encoder of `bound` in the folder `at` of `run`; its summary, empty without one."""
    if bound.encoder is None:
        return {}
    entry = bound.encoder.system.entry
    say(f"the encoder, {entry.paper}/{entry.name}, in {run / at}")
    return loop.train(run / at, f"{entry.paper}/{entry.name}", bound.encoder, start_of(bound.encoder))


def given(encoder: Path, bound: Bound) -> tuple[dict[str, Any], Any]:
    """What a fitted system has before it is fitted: its params without `fitted`, and its collections.

    Args:
      encoder: run folder of the encoder; not read where there is none.
      bound: the system, whose `encoder` was trained there.

    Raises:
      JaxtagError: the encoder has no checkpoint yet.
    """
    host: dict[str, Any] = {"hashtags": usable_vectors(bound)} if bound.system.entry.zero_shot else {}
    params, collections = {}, {}
    if bound.encoder:
        state = restore_best(encoder, bound.encoder)
        params, collections = {"encoder": state["params"]}, state["collections"]
    elif bound.system.sizes.vectors:
        host |= _word_vectors(bound, bound.experiment.model.vectors)
    return params | jax.device_put(host, replicated(bound.mesh)), collections


def usable_vectors(bound: Bound) -> np.ndarray:
    """Vectors `[named, s]` of the split's hashtags, zeros for those without a finite one."""
    settings = bound.experiment.model
    vectors = np.array(bound.split.hashtag_vectors(settings.vectors, settings.hashtag_vectors), np.float32)
    vectors[without_vector(vectors)] = 0
    return vectors


def _word_vectors(bound: Bound, name: str) -> dict[str, np.ndarray]:
    """`words [V, d]` and `counted [V]`, of every word id: words without a vector of their own do not count."""
    split, rows = bound.split, bound.system.sizes.words
    if reads_all_words(bound.experiment):
        vectors, has = split.word_vectors(name)
        words, counted = np.zeros((rows, vectors.shape[1]), np.float32), np.zeros(rows, bool)
        words[: len(vectors)], counted[: len(vectors)] = vectors, has
        return {"words": words, "counted": counted & np.isfinite(words).all(1)}
    vectors, table = split.vectors(name), open_table(split.vectors_path(name))
    kept = split.words[: min(len(split.words), rows - FIRST_WORD)]
    if bound.experiment.data.words:
        kept = kept[: bound.experiment.data.words]
    words, counted = np.zeros((rows, vectors.shape[1]), np.float32), np.zeros(rows, bool)
    words[FIRST_WORD : FIRST_WORD + len(kept)] = vectors[: len(kept)]
    names = [bound.dataset.words.entries[i] for i in kept]
    own = [n in table.index or (table.subwords is not None and bool(table.subwords.buckets(n))) for n in names]
    counted[FIRST_WORD : FIRST_WORD + len(kept)] = own
    return {"words": words, "counted": counted & np.isfinite(words).all(1)}
