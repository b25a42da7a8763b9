"""Recommending: from raw text to hashtags, through the dataset's own cleaning and the run's best checkpoint."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag import ranking
from jaxtag.data import candidates as named_lists
from jaxtag.data.hashtags import open_table, vectors_of
from jaxtag.errors import JaxtagError, nearest
from jaxtag.estimators.vectors import NAMED, without_vector
from jaxtag.evaluation import lists
from jaxtag.evaluation.evaluate import labels_of
from jaxtag.explain import Explainer, check
from jaxtag.parallel import distributed
from jaxtag.parallel.mesh import replicated
from jaxtag.progress import bar
from jaxtag.requests import Reader, Request, parse
from jaxtag.runs import Bound, open_run
from jaxtag.training.restored import restore_best
from jaxtag.zero_shot import ZeroShot

LINES = 256  # of a stream, ranked at a time
STRANGER = "an author without posts in the dataset: ranked as a new author's, without history"
PLACED = 1 << 16  # hashtags whose rows are computed at a time


class Recommender:
    """Ranks hashtags for texts; made by `open_recommender`."""

    def __init__(self, bound: Bound, state: Any, names: list[str], table: jax.Array, k: int, explain: bool = False):
        """Rank the hashtags `names`, whose rows are `table`, with `state`, return the `k` best, and perhaps explain.

        Those below the experiment's evaluation.threshold are left out.
        """
        system, count = bound.system, len(names)
        self._variables = (state["params"], state["collections"])
        self._names, self._k, self.reader = names, min(k, count), Reader(bound)
        self._explain = Explainer(system, state) if explain else None
        mesh = bound.mesh if bound.mesh.size > 1 else None
        self._table = ranking.spread(table, mesh) if mesh else table
        self._score, self.threshold = system.entry.gives, bound.experiment.evaluation.threshold

        def rank(
            variables: tuple[Any, Any], table: jax.Array, batch: dict[str, jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            return ranking.recommend(system, *variables, batch, table, self._k, mesh, count)

        self._rank = jax.jit(rank, out_shardings=replicated(mesh)) if mesh else jax.jit(rank)

    def __call__(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """For each text its hashtags, best first: `{"hashtag", "probability"}`, among the candidates.

        Of a system that gives scores `{"hashtag", "score"}`: what it ranks by, greater is better, comparable within a
        post. A text without a known word is ranked all the same, by what the model expects of an empty post.
        """
        return [found["hashtags"] for found in self.answer([Request(text) for text in texts])]

    def answer(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """For each request its `hashtags`, as of a call, and if that was asked its `explanation` (`jaxtag.explain`)."""
        rows = 1 if len(requests) == 1 else -(-len(requests) // LINES) * LINES
        batch, reads = self.reader(requests, rows)
        positions, scores = jax.device_get(self._rank(self._variables, self._table, batch))
        found = [
            {"hashtags": [self._named(p, q) for p, q in zip(*row) if p >= 0 and self._enough(q)]}
            for row in zip(positions[: len(requests)], scores[: len(requests)])
        ]
        explained = self._explain(batch, reads) if self._explain else None
        return [f | {"explanation": e} for f, e in zip(found, explained)] if explained else found

    def _enough(self, score: float) -> bool:
        return not self.threshold or score >= self.threshold

    def _named(self, position: int, score: float) -> dict[str, Any]:
        return {"hashtag": self._names[position], self._score: round(float(score), 6)}

    @property
    def width(self) -> int:
        """Numbers of a candidate's row."""
        return self._table.shape[1]

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Word ids `[len(texts), T]` of the split, as a stored post with the same text has."""
        return self.reader([Request(text) for text in texts], len(texts))[0]["tokens"]


def open_recommender(
    run: Path,
    k: int = 5,
    candidates: str | None = None,
    candidates_file: Path | None = None,
    data: Path | None = None,
    explain: bool = False,
    threshold: float | None = None,
) -> Recommender:
    """A recommender from the best checkpoint of `run`.

    Args:
      run: the run folder.
      k: hashtags per text.
      candidates: recommend among these only, separated by commas, with or without '#'; or those that the dataset uses
        most, as `jaxtag.data.candidates.by_use` reads it. A zero-shot system may be given any hashtags.
      candidates_file: named hashtags, one a line.
      data: where the dataset lies now, if not where it was trained.
      explain: whether to say what the system's attention counted.
      threshold: in place of the run's own evaluation.threshold, which is what a hashtag's probability is to be.

    Raises:
      JaxtagError: no such run; k below 1; an empty list of candidates, or one that the system cannot rank; a system
        without attention is to explain; a threshold for one whose hashtags have no probability of their own.
    """
    if k < 1:
        raise JaxtagError(f"-k is {k}; it must be 1 or more")
    bound, _ = open_run(run, data)
    if threshold is not None:
        bound = lists.with_threshold(bound, threshold)
    lists.check_threshold(bound, bound.experiment.evaluation.threshold)
    if explain:
        check(bound.system.entry)
    system, names = bound.system, _candidates(bound, candidates, candidates_file)
    if isinstance(system, ZeroShot):
        names, vectors = _with_vector(bound, names)
        state = restore_best(run, bound)
        place = jax.jit(system.place)
        parts = [place(state["params"], vectors[i : i + PLACED]) for i in range(0, len(vectors), PLACED)]
        return Recommender(bound, state, names, jnp.concatenate(parts), k, explain)
    labels = jnp.asarray(labels_of(bound, _ids(bound, names)))
    state = restore_best(run, bound)
    table = ranking.candidate_table(system, state["params"], state["collections"], labels)
    return Recommender(bound, state, names, table, k, explain)


def _candidates(bound: Bound, listed: str | None, file: Path | None) -> list[str]:
    """The hashtags to choose among, without '#'."""
    dataset, split = bound.dataset, bound.split
    if listed is not None and listed.partition(":")[0].strip() in named_lists.BY_USE:
        if file is not None:
            raise JaxtagError(f"--candidates {listed} and --candidates-file both name candidates", "give one of them")
        known = None if bound.system.entry.zero_shot else split.hashtags
        return [dataset.hashtags.entries[h] for h in named_lists.by_use(dataset, listed.strip(), known)]
    if listed is None and file is None:
        return [dataset.hashtags.entries[h] for h in split.candidates]
    return named_lists.named(listed, file)


def _ids(bound: Bound, names: list[str]) -> np.ndarray:
    """Dataset hashtag ids of `names`."""
    ids = bound.dataset.hashtags.ids
    for name in names:
        if name not in ids:
            raise JaxtagError(f"candidate #{name} is not a hashtag of {bound.dataset.path}", nearest(name, ids))
    return np.array([ids[name] for name in names], np.int32)


def _with_vector(bound: Bound, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Those of `names` that a vector can be made for, and the vectors; the others are said on standard error."""
    settings = bound.experiment.model
    called, kind = settings.vectors, settings.hashtag_vectors
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
    """Read JSON lines with a `text`, write each with its `hashtags`; a bad line gets an `error` in its place.

    Of a system that reads history, a line may have the `author` and a `history`, as `jaxtag.requests` has them; of one
    that reads images, `image`, the name of a file, beside the `text` or in its place. How
    many lines could not be read, and how many authors the dataset does not have, is said on standard error. Of several
    processes the first reads and writes, and all rank.
    """
    bad, strangers, number = 0, 0, 0
    while block := distributed.led("lines", lambda: [line.decode("latin-1") for line in islice(lines, LINES)]):
        parsed = [parse(i, line.encode("latin-1"), recommender.reader) for i, line in enumerate(block, number + 1)]
        asked = [request for _, request in parsed if request]
        strangers += sum(is_stranger(recommender, request) for request in asked)
        found: Iterator[Any] = iter(recommender.answer(asked) if asked else [])
        for record, request in parsed:
            bad += request is None
            line = {**record, **next(found)} if request else record
            if distributed.leads():
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
        out.flush()
        number += len(block)
    if not distributed.leads():
        return
    if bad:
        print(f"jaxtag: {bad} of {number} lines could not be read; each has an error in its place", file=sys.stderr)
    if strangers:
        print(f"jaxtag: {strangers} of {number} lines have {STRANGER}", file=sys.stderr)


def is_stranger(recommender: Recommender, request: Request) -> bool:
    """Whether the request counts on a history of an author whom the dataset does not have."""
    reader = recommender.reader
    asks = reader.reads_history and bool(request.author) and request.history is None
    return asks and not reader.knows(request.author)
