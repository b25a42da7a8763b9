"""The training posts as a sampler walks them, counted once on the host, and the state of a chain over them."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.data.batches import Reading
from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators import gibbs, pairs
from jaxtag.experiment import Experiment
from jaxtag.fitted import Sampled
from jaxtag.parallel.mesh import replicated
from jaxtag.training.state import INITIAL, State, key_of

AT_ONCE = 4096  # posts read at a time


@dataclass(frozen=True)
class Corpus:
    """Training posts as `jaxtag.estimators.gibbs` has them, on the host.

    Attributes:
      rows: of the dataset, in the sampler's order, shortest first; −1 fills the last block.
      posts: the arrays.
      constants: the table of pairs, `offsets` and `hashtags`, and `uses` of each hashtag.
      sizes: rows of the vocabulary, pairs, and most hashtags of a post.
    """

    rows: np.ndarray
    posts: dict[str, np.ndarray]
    constants: dict[str, np.ndarray]
    sizes: tuple[int, int, int]


def corpus_of(system: Sampled, experiment: Experiment, reading: Reading, rows: np.ndarray) -> Corpus:
    """The posts `rows` that have a known word; a block is `training.batch` of them, or all.

    Args:
      system: that walks them.
      experiment: of the system.
      reading: of the posts.
      rows: of the dataset.
    """
    vocabulary = int(reading.word_ids.max(initial=FIRST_WORD)) + 1
    known, by_word = len(reading.targets), system.settings.by_word
    words, labels = _read(reading, rows)
    uses = np.bincount(labels[labels >= 0], minlength=known)
    many = (words != 0).sum(1)
    order = np.flatnonzero(many)[np.argsort(many[many > 0], kind="stable")]
    block = min(experiment.training.batch, max(len(order), 1))
    empty = -len(order) % block
    pad = lambda x, fill: np.concatenate([x[order], np.full((empty, *x.shape[1:]), fill, x.dtype)])  # noqa: E731
    words, labels, rows = pad(words, 0), pad(labels, -1), pad(rows.astype(np.int32), -1)
    many, tags = (words != 0).sum(1).astype(np.int32), (labels >= 0).sum(1).astype(np.int32)
    each = tags * (many if by_word else 1)
    start = (np.cumsum(each) - each).astype(np.int32)
    post = np.repeat(np.arange(len(each)), each)
    inside = np.arange(each.sum()) - start[post]
    label = labels[post, inside // np.maximum(many, 1)[post] if by_word else inside]
    if by_word:
        word = words[post, inside % np.maximum(many, 1)[post]]
        offsets, hashtags = pairs.observed(word, label, vocabulary, known)
        place = pairs.places(offsets, hashtags, word, label, known)
    else:
        offsets, hashtags, place = np.zeros(2, np.int32), np.arange(known, dtype=np.int32), label
    posts = {"words": words, "many": many, "tags": tags, "start": start, "place": place, "known": np.int32(known)}
    constants = {"offsets": offsets, "hashtags": hashtags, "uses": uses.astype(np.int32)}
    return Corpus(rows, posts, constants, (vocabulary, len(hashtags), labels.shape[1]))


def block_of(experiment: Experiment, corpus: Corpus) -> int:
    """How many posts of `corpus` a block has."""
    return min(experiment.training.batch, len(corpus.rows))


def start(system: Sampled, corpus: Corpus, posts: dict[str, jax.Array], constants: Any, seed: Any) -> State:
    """The state before the first sweep: a chain begun at random, and its counts as what ranks; traceable."""
    chain = gibbs.first(system.settings, posts, corpus.sizes, key_of(seed, INITIAL))
    none = {name: jnp.zeros(chain["counts"][name].shape, jnp.float32) for name in gibbs.COUNTED}
    params = gibbs.kept(none | {"samples": jnp.float32(0)}, chain["counts"], jnp.bool_(False))
    return {"step": jnp.int32(0), "params": params, "collections": {"constants": constants}, "opt_state": chain}


def chain_state(system: Sampled, experiment: Experiment, reading: Reading, rows: np.ndarray, mesh: Mesh) -> State:
    """Shape, type and sharding of every leaf of a chain's state over the posts `rows`; every device has it whole."""
    corpus = corpus_of(system, experiment, reading, rows)
    made = jax.eval_shape(
        lambda: start(system, corpus, jax.tree.map(jnp.asarray, corpus.posts), corpus.constants, np.uint32(0))
    )
    whole = replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), made)


def _read(reading: Reading, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Known words `[n, T]`, 0 behind them, and labels `[n, H]`, each once, −1 behind them, of the posts `rows`."""
    words, labels = [], []
    for first in range(0, len(rows), AT_ONCE):
        batch = reading.gather(rows[first : first + AT_ONCE])
        words.append(_left(batch["tokens"], batch["tokens"] >= FIRST_WORD, 0))
        given = batch["hashtags"]
        again = (given[:, :, None] == given[:, None]) & np.tri(given.shape[1], k=-1, dtype=bool)
        labels.append(_left(given, (given >= 0) & ~again.any(2), -1))
    return np.concatenate(words), np.concatenate(labels)


def _left(values: np.ndarray, wanted: np.ndarray, fill: int) -> np.ndarray:
    """Each row's `wanted` values in their order, `fill` behind them."""
    order = np.argsort(~wanted, axis=1, kind="stable")
    moved = np.take_along_axis(np.where(wanted, values, fill), order, 1)
    return moved.astype(np.int32)
