"""The word vectors of a split as a system is given them: of its words, and of the hashtags that the split names."""

from typing import Any

import numpy as np

from jaxtag.data.hashtags import open_table
from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators.vectors import without_vector
from jaxtag.layers.parameters import CONSTANTS
from jaxtag.parallel.mesh import put
from jaxtag.runs import Bound
from jaxtag.zero_shot import reads_all_words


def usable_vectors(bound: Bound) -> np.ndarray:
    """Vectors `[named, s]` of the split's hashtags, zeros for those without a finite one."""
    settings = bound.experiment.model
    vectors = np.array(bound.split.hashtag_vectors(settings.vectors, settings.hashtag_vectors), np.float32)
    vectors[without_vector(vectors)] = 0
    return vectors


def with_vectors(bound: Bound, state: Any) -> Any:
    """The first state of an `Embedding` with the vectors of words and of hashtags in it."""
    found = word_vectors(bound, bound.experiment.model.vectors)
    given = {"words": np.where(found["counted"][:, None], found["words"], 0), "hashtags": usable_vectors(bound)}
    places = bound.abstract["collections"][CONSTANTS]
    constants = {name: put(values, places[name].sharding) for name, values in given.items()}
    return {**state, "collections": {**state["collections"], CONSTANTS: constants}}


def word_vectors(bound: Bound, name: str) -> dict[str, np.ndarray]:
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
