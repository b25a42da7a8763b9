"""Recommending: from raw text to hashtags, through the dataset's own cleaning and the run's best checkpoint."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag import ranking
from jaxtag.data import candidates as lists
from jaxtag.data.hashtags import open_table, vectors_of
from jaxtag.data.posts import PAD
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError, nearest
from jaxtag.estimators.vectors import NAMED, without_vector
from jaxtag.evaluation.evaluate import labels_of
from jaxtag.progress import bar
from jaxtag.runs import Bound, open_run, restore_best
from jaxtag.zero_shot import ZeroShot

LINES = 256  # of a stream, ranked at a time
PLACED = 1 << 16  # hashtags whose rows are computed at a time


class Recommender:
    """Ranks hashtags for texts; made by `open_recommender`."""

    def __init__(self, bound: Bound, state: Any, names: list[str], table: jax.Array, k: int):
        """Rank the hashtags `names`, whose rows are `table`, with `state`, and return the `k` best."""
        system, count = bound.system, len(names)
        self._variables = (state["params"], state["collections"])
        self._bound, self._names, self._k = bound, names, min(k, count)
        self._cleaner = Cleaner(Cleaning.from_json(bound.dataset.info["settings"]["cleaning"]))
        mesh = bound.mesh if bound.mesh.size > 1 else None
        self._table = ranking.spread(table, mesh) if mesh else table
        self._score = "score" if system.entry.zero_shot else "probability"

        def rank(
            variables: tuple[Any, Any], table: jax.Array, batch: dict[str, jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            query = system.query(*variables, batch)
            positions, scores = ranking.top_k(query, table, self._k, mesh=mesh, count=count)
            if system.entry.zero_shot:
                return positions, scores
            return positions, jnp.exp(scores - jax.nn.logsumexp(query @ table[:count].T, axis=1, keepdims=True))

        self._rank = jax.jit(rank)

    def __call__(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """For each text its hashtags, best first: `{"hashtag", "probability"}`, among the candidates.

        Of a zero-shot system `{"hashtag", "score"}`: what it ranks by, greater is better, comparable within a post. A
        text without a known word is ranked all the same, by what the model expects of an empty post.
        """
        positions, scores = jax.device_get(self._rank(self._variables, self._table, {"tokens": self.tokens(texts)}))
        return [
            [{"hashtag": self._names[p], self._score: round(float(q), 6)} for p, q in zip(*row)]
            for row in zip(positions[: len(texts)], scores[: len(texts)])
        ]

    @property
    def width(self) -> int:
        """Numbers of a candidate's row."""
        return self._table.shape[1]

    def tokens(self, texts: list[str]) -> np.ndarray:
        """Word ids `[n, T]` of the split, as a stored post with the same text has; n is 1 or a multiple of `LINES`."""
        reading = self._bound.reading
        length = reading.lengths["tokens"]
        rows = 1 if len(texts) == 1 else -(-len(texts) // LINES) * LINES
        tokens = np.full((rows, length), PAD, np.int32)
        for row, text in zip(tokens, texts):
            ids = self._bound.dataset.words.encode(self._cleaner(text).words)[:length]
            row[: len(ids)] = ids
        return reading.word_ids[tokens]


def open_recommender(
    run: Path, k: int = 5, candidates: str | None = None, candidates_file: Path | None = None, data: Path | None = None
) -> Recommender:
    """A recommender from the best checkpoint of `run`.

    Args:
      run: the run folder.
      k: hashtags per text.
      candidates: recommend among these only, separated by commas, with or without '#'; or those that the dataset uses
        most, as `jaxtag.data.candidates.by_use` reads it. A zero-shot system may be given any hashtags.
      candidates_file: named hashtags, one a line.
      data: where the dataset lies now, if not where it was trained.

    Raises:
      JaxtagError: no such run; k below 1; an empty list of candidates, or one that the system cannot rank.
    """
    if k < 1:
        raise JaxtagError(f"-k is {k}; it must be 1 or more")
    bound, _ = open_run(run, data)
    system, names = bound.system, _candidates(bound, candidates, candidates_file)
    if isinstance(system, ZeroShot):
        names, vectors = _with_vector(bound, names)
        state = restore_best(run, bound)
        place = jax.jit(system.place)
        parts = [place(state["params"], vectors[i : i + PLACED]) for i in range(0, len(vectors), PLACED)]
        return Recommender(bound, state, names, jnp.concatenate(parts), k)
    labels = jnp.asarray(labels_of(bound, _ids(bound, names)))
    state = restore_best(run, bound)
    return Recommender(bound, state, names, system.table(state["params"], state["collections"], labels), k)


def _candidates(bound: Bound, listed: str | None, file: Path | None) -> list[str]:
    """The hashtags to choose among, without '#'."""
    dataset, split = bound.dataset, bound.split
    if listed is not None and listed.partition(":")[0].strip() in lists.BY_USE:
        if file is not None:
            raise JaxtagError(f"--candidates {listed} and --candidates-file both name candidates", "give one of them")
        known = None if bound.system.entry.zero_shot else split.hashtags
        return [dataset.hashtags.entries[h] for h in lists.by_use(dataset, listed.strip(), known)]
    if listed is None and file is None:
        return [dataset.hashtags.entries[h] for h in split.candidates]
    return lists.named(listed, file)


def _ids(bound: Bound, names: list[str]) -> np.ndarray:
    """Dataset hashtag ids of `names`."""
    ids = bound.dataset.hashtags.ids
    for name in names:
        if name not in ids:
            raise JaxtagError(f"candidate #{name} is not a hashtag of {bound.dataset.path}", nearest(name, ids))
    return np.array([ids[name] for name in names], np.int32)


def _with_vector(bound: Bound, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Those of `names` that a vector can be made for, and the vectors; the others are said on standard error."""
    called, kind = bound.experiment.model.vectors, bound.experiment.model.hashtag_vectors
    with bar("hashtags' vectors", len(names)) as shown:
        table = open_table(bound.split.vectors_path(called), kind)
        found = vectors_of(names, table, lambda n: shown.update(n - shown.n))
    left = without_vector(found.vectors)
    if not len(left):
        return names, found.vectors
    some = ", ".join(f"#{names[i]}" for i in left[:NAMED]) + (", …" if len(left) > NAMED else "")
    if len(left) == len(names):
        raise JaxtagError(
            f"no candidate has a vector in {called!r}: {some}", "name others, or train with vectors that cover them"
        )
    have = "has" if len(left) == 1 else "have"
    print(
        f"jaxtag: {len(left)} of {len(names)} candidates {have} no vector and cannot be ranked: {some}",
        file=sys.stderr,
    )
    kept = np.setdiff1d(np.arange(len(names)), left)
    return [names[i] for i in kept], found.vectors[kept]


def recommend_lines(recommender: Recommender, lines: IO[bytes], out: IO[str]) -> None:
    """Read JSON lines with a `text`, write each with its `hashtags`; a bad line gets an `error` in its place."""
    bad, number = 0, 0
    numbered = enumerate(lines, 1)
    while block := list(islice(numbered, LINES)):
        parsed = [_parse(number, line) for number, line in block]
        texts = [p["text"] for p in parsed if "error" not in p]
        found: Iterator[Any] = iter(recommender(texts) if texts else [])
        for record in parsed:
            bad += "error" in record
            line = record if "error" in record else {**record, "hashtags": next(found)}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        out.flush()
        number = block[-1][0]
    if bad:
        print(f"jaxtag: {bad} of {number} lines could not be read; each has an error in its place", file=sys.stderr)


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return {"error": f"line {number} is not JSON: {error}"}
    if isinstance(record, str):
        record = {"text": record}
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return {"error": f'line {number} is not {{"text": "..."}}'}
    return record
