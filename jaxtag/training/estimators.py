"""How an estimator learns from the training posts: from their hashtags, and counts of words, features or neighbours."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data.batches import Reading
from jaxtag.data.posts import FIRST_WORD, VECTOR
from jaxtag.errors import JaxtagError
from jaxtag.estimators import neighbours, tfidf, voters
from jaxtag.evaluation.evaluate import vectors_settings
from jaxtag.fitted import Estimator
from jaxtag.progress import progress
from jaxtag.runs import Bound, open_posts
from jaxtag.training.counts import AT_ONCE, counts, gold
from jaxtag.training.features import Features
from jaxtag.training.logs import say
from jaxtag.training.restored import ROWS, given

TOGETHER = 1024  # training posts whose neighbours by TF-IDF are looked for in one call


def learn(run: Path, bound: Bound, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What fitted.json says of an estimator, and the arrays.

    Args:
      run: its folder, in which its encoder is trained.
      bound: the estimator.
      folder: where `ROWS` is written, of one that asks neighbours.

    Raises:
      JaxtagError: a feature is not finite, or no training post has any.
    """
    system, split = bound.system, bound.split
    assert isinstance(system, Estimator)
    rows, columns = split.train, system.entry.columns
    say(f"fitting {system.entry.name} to {len(rows):,} posts, {len(split.hashtags)} hashtags")
    if system.code.READS == "counts":
        arrays = system.code.fit(system.settings, *counts(bound.reading, rows, columns))
    elif system.settings.features == "tfidf":
        arrays, rows = _sequences(system, bound, rows)
    else:
        features = Features(bound, open_posts(bound, say), system, *given(run / "encoder", bound))
        if system.code.READS == "neighbours":
            arrays, rows = _rows(system, bound, features.each(rows), rows, folder / ROWS)
        else:
            read = features.rows(rows)
            has = _real(read)
            rows = _having(system, rows, has)
            arrays = system.code.fit(system.settings, read[has], gold(bound.reading, rows))
    info = {"chosen": {}, "tried": {}, "posts": len(rows), "hashtags": len(split.hashtags)}
    return info | {"vectors": vectors_settings(bound), "left_out": []}, arrays


def _rows(
    system: Estimator, bound: Bound, parts: Iterable[np.ndarray], rows: np.ndarray, file: Path
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What an estimator that asks neighbours by features `parts` of the posts `rows` keeps; and those that have any."""
    settings = system.settings
    dtype = np.float16 if settings.features == VECTOR else np.float32  # an image's are stored as float16
    has = write_rows(file, parts, system.width, dtype)
    rows = _having(system, rows, has)
    mapped = np.load(file, mmap_mode="r")

    def near() -> np.ndarray:
        return neighbours.search(
            mapped, mapped, system.code.wanted(settings), settings.distance, exclude_self=settings.exclude_self,
            mesh=bound.mesh, approximate=settings.approximate, what="finding neighbours",
        )[0]  # fmt: skip

    return _fit(system, bound, rows, near), rows


def _sequences(system: Estimator, bound: Bound, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same of one that asks neighbours by TF-IDF."""
    settings, reading = system.settings, bound.reading
    tokens = np.concatenate([reading.gather(part)["tokens"] for part in _parts(rows, AT_ONCE)])
    vocabulary = int(reading.word_ids.max(initial=FIRST_WORD)) + 1
    trie, has = tfidf.fit(tokens, settings.grams, vocabulary)
    rows, tokens = _having(system, rows, has), tokens[has]

    @jax.jit
    def found(trie: dict[str, jax.Array], tokens: jax.Array, own: jax.Array) -> jax.Array:
        grams = tfidf.sequences(trie, tokens, settings.grams)
        return tfidf.nearest(trie, grams, system.code.wanted(settings), len(rows), own)[0]

    def near() -> np.ndarray:
        places, size, own_trie = [], min(TOGETHER, len(rows)), jax.device_put(trie)
        for part in progress(_parts(np.arange(len(rows)), size), "finding neighbours"):
            given = np.zeros((size, tokens.shape[1]), np.int32)
            given[: len(part)] = tokens[part]
            own = np.full(size, -1, np.int32)
            own[: len(part)] = part if settings.exclude_self else -1
            places.append(np.asarray(found(own_trie, jnp.asarray(given), jnp.asarray(own)))[: len(part)])
        return np.concatenate(places)

    return trie | _fit(system, bound, rows, near), rows


def _fit(system: Estimator, bound: Bound, rows: np.ndarray, near: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
    """What is learned of the posts `rows`, whose neighbours `near` gives, and what is kept of them."""
    arrays = system.code.fit(system.settings, near, gold(bound.reading, rows))
    arrays |= voters.kept(_hashtags(bound.reading, rows))
    if getattr(system.settings, "unique_author", False):
        arrays["authors"] = np.asarray(bound.dataset.column("author"))[rows].astype(np.int32)
    return arrays


def _hashtags(reading: Reading, rows: np.ndarray) -> np.ndarray:
    """Hashtags `[n, H]` of the posts `rows`, in their authors' order, −1 padded."""
    return np.concatenate([reading.gather(part)["hashtags"] for part in _parts(rows, AT_ONCE)])


def _parts(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _real(read: np.ndarray) -> np.ndarray:
    """Which posts have features `[n]`, by those that were read, `[n, p]`: those of one without any are all NaN.

    Raises:
      JaxtagError: one has some that are not finite.
    """
    has = np.logical_not(np.isnan(read).all(1))
    if not np.isfinite(read[has]).all():
        raise JaxtagError("a training post's features are not finite", "make them again, or train the encoder again")
    return has


def _having(system: Estimator, rows: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Those of the posts `rows [n]` that have features.

    Raises:
      JaxtagError: there is none.
    """
    if not has.any():
        raise JaxtagError(f"no training post has {system.settings.features} features", "choose other --model.features")
    if not has.all():
        say(f"{(~has).sum():,} training posts have no {system.settings.features} features, and are left out")
    return rows[has]


def write_rows(file: Path, parts: Iterable[np.ndarray], width: int, dtype: type) -> np.ndarray:
    """Write the rows of `parts`, each `[m, width]`, that are real as one array; which were, bool `[n]`.

    Only a part is in memory. The header, which is as long for any number of rows, is written again at the end.

    Raises:
      JaxtagError: as of `_real`.
    """
    has = []

    def header(count: int) -> None:
        said = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(out, said)

    with open(file, "wb") as out:
        header(0)
        start = out.tell()
        for part in parts:
            has.append(_real(part))
            out.write(part[has[-1]].astype(dtype).tobytes())
        found = np.concatenate(has)
        out.seek(0)
        header(int(found.sum()))
        assert out.tell() == start
    return found
