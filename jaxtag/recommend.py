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
from jaxtag.data.posts import PAD
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError, nearest
from jaxtag.evaluation.evaluate import labels_of
from jaxtag.runs import Bound, open_run, restore_best

LINES = 256  # of a stream, ranked at a time


class Recommender:
    """Ranks hashtags for texts; made by `open_recommender`."""

    def __init__(self, bound: Bound, state: Any, hashtags: np.ndarray, k: int):
        """Rank the dataset hashtag ids `hashtags` with `state`, and return the `k` best."""
        system, params, collections = bound.system, state["params"], state["collections"]
        self._variables = (params, collections)
        self._bound, self._names = bound, [bound.dataset.hashtags.entries[h] for h in hashtags]
        self._k = min(k, len(hashtags))
        self._cleaner = Cleaner(Cleaning.from_json(bound.dataset.info["settings"]["cleaning"]))
        self._table = ranking.candidate_table(system, params, collections, jnp.asarray(labels_of(bound, hashtags)))

        def rank(
            variables: tuple[Any, Any], table: jax.Array, batch: dict[str, jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            query = system.query(*variables, batch)
            positions, scores = ranking.top_k(query, table, self._k)
            return positions, jnp.exp(scores - jax.nn.logsumexp(query @ table.T, axis=1, keepdims=True))

        self._rank = jax.jit(rank)

    def __call__(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """For each text its hashtags, best first, as `{"hashtag", "probability"}` among the candidates.

        A text without a known word is ranked all the same, by what the model expects of an empty post.
        """
        positions, probabilities = jax.device_get(
            self._rank(self._variables, self._table, {"tokens": self.tokens(texts)})
        )
        return [
            [{"hashtag": self._names[p], "probability": round(float(q), 6)} for p, q in zip(*row)]
            for row in zip(positions[: len(texts)], probabilities[: len(texts)])
        ]

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
      candidates: recommend among these only, separated by commas, with or without '#'.
      candidates_file: the same, one a line.
      data: where the dataset lies now, if not where it was trained.

    Raises:
      JaxtagError: no such run; k below 1; an empty list of candidates, or one that the system cannot rank.
    """
    if k < 1:
        raise JaxtagError(f"-k is {k}; it must be 1 or more")
    bound, _ = open_run(run, data)
    hashtags = bound.split.candidates
    if candidates is not None or candidates_file is not None:
        hashtags = _named(bound, _candidates(candidates, candidates_file))
    return Recommender(bound, restore_best(run, bound), hashtags, k)


def _candidates(listed: str | None, file: Path | None) -> list[str]:
    names = listed.split(",") if listed else []
    if file is not None:
        try:
            names += file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise JaxtagError(f"candidates file {file} cannot be read: {error}") from None
    cleaned = [name.strip().lstrip("#").lower() for name in names]
    unique = list(dict.fromkeys(name for name in cleaned if name))
    if not unique:
        raise JaxtagError("the list of candidates is empty", "name some, separated by commas")
    return unique


def _named(bound: Bound, names: list[str]) -> np.ndarray:
    """Dataset hashtag ids of `names`."""
    ids = bound.dataset.hashtags.ids
    for name in names:
        if name not in ids:
            raise JaxtagError(f"candidate #{name} is not a hashtag of {bound.dataset.path}", nearest(name, ids))
    return np.array([ids[name] for name in names], np.int32)


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
