"""What a system's attention counted: which words of a post, which regions of its image, and which of its author's
earlier posts and their words.

A model that has attention has `explain(batch)`, which gives by column how much each value counted in each of S steps of
attention: `tokens [B, S, T]`; `regions [B, S, R]`; `history [B, S, M, N]` by words, or `[B, S, M]` by posts. Nothing
else is known of it.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxtag.data.images import box_text
from jaxtag.data.posts import BOXES, CELLS, HISTORY, REGIONS
from jaxtag.entries import Entry
from jaxtag.errors import JaxtagError
from jaxtag.requests import Read, stored
from jaxtag.runs import Bound
from jaxtag.systems import SYSTEMS, System

EXAMPLES = 5  # posts of a part that an evaluation explains
SHOWN = 5  # words that text shows of a post
SHOWN_REGIONS = 3
LONGEST = 60  # characters of an earlier post


def explains(entry: Entry) -> bool:
    """Whether systems of this row of the table have attention to look at."""
    return entry.learned == "steps" and hasattr(entry.model(), "explain")


def check(entry: Entry) -> None:
    """Refuse to explain a system without attention.

    Raises:
      JaxtagError: it has none; the message names those that have.
    """
    if not explains(entry):
        able = ", ".join(e.name for e in SYSTEMS.values() if explains(e))
        raise JaxtagError(f"{entry.name} has no attention to explain", f"systems that have: {able}")


class Explainer:
    """Explains batches by a system's state; compiled once a shape."""

    def __init__(self, system: System, state: Any):
        """Explain by `state`'s params and collections.

        Raises:
          JaxtagError: the system has no attention.
        """
        check(system.entry)
        self._variables = (state["params"], state["collections"])
        self._explain = jax.jit(lambda variables, batch: system.explain(variables[0], variables[1], batch))

    def __call__(self, batch: dict[str, np.ndarray], reads: Sequence[Read]) -> list[dict[str, Any]]:
        """An explanation of each of the posts that `reads` says were read, the first ones of `batch`.

        By column: `words`, a list of `{"word", "weight"}` in the post's order; `history`, a list of
        `{"text", "weight"}`, the latest first, with `words` where words are weighed; `regions`, a list of
        `{"box", "weight"}`, x1 y1 x2 y2 in 0 … 1. Weights are means over the steps,
        which `steps` lists for an earlier post where there are several.
        """
        weights = jax.device_get(self._explain(self._variables, batch))
        found = [_explanation({name: w[i] for name, w in weights.items()}, read) for i, read in enumerate(reads)]
        for i, explanation in enumerate(found if REGIONS in weights else ()):
            boxes = batch[BOXES][i, : int(batch[CELLS][i])]
            explanation[REGIONS] = [
                {"box": list(map(_number, box)), "weight": _number(weight)}
                for box, weight in zip(boxes, weights[REGIONS][i].mean(0))
            ]
        return found


def of_rows(bound: Bound, state: Any, rows: np.ndarray) -> list[dict[str, Any]]:
    """Explanations of a dataset's posts `rows [n]`, with their `row` and `text`."""
    reading, dataset = bound.reading, bound.dataset
    reads = []
    for row, post in zip(rows, stored(dataset, rows)):
        earlier = [] if reading.earlier is None else [r for r in reading.earlier[row] if r >= 0]
        reads.append(Read(post, tuple(stored(dataset, np.array(earlier, np.int64)))))
    names = (*bound.system.entry.columns, CELLS)
    batch = {name: values for name, values in reading.gather(rows).items() if name in names}
    found = Explainer(bound.system, state)(batch, reads)
    return [{"row": int(row), "text": read.post.text, **e} for row, read, e in zip(rows, reads, found)]


def chosen(rows: np.ndarray) -> np.ndarray:
    """Up to `EXAMPLES` of `rows`, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).astype(int))] if len(rows) else rows


def render(explanation: dict[str, Any]) -> str:
    """An explanation as lines of text."""
    lines = []
    if "words" in explanation:
        lines.append(f"words that counted: {_heaviest(explanation['words']) or 'none'}")
    if REGIONS in explanation:
        top = sorted(explanation[REGIONS], key=lambda region: -region["weight"])[:SHOWN_REGIONS]
        said = "; ".join(f"{box_text(region['box'])} {region['weight']:.2f}" for region in top)
        lines.append(f"regions that counted: {said or 'none, the post has none'}")
    if HISTORY in explanation and not explanation[HISTORY]:
        lines.append("earlier posts that counted: none, the author has none here")
    elif HISTORY in explanation:
        lines.append("earlier posts that counted:")
        for post in sorted(explanation[HISTORY], key=lambda post: -post["weight"]):
            text = " ".join(post["text"].split())
            shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
            words = _heaviest(post.get("words", []))
            lines.append(f"  {post['weight']:.2f}  {shown}" + (f"  ({words})" if words else ""))
    return "\n".join(lines)


def _explanation(weights: dict[str, np.ndarray], read: Read) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "tokens" in weights:
        found["words"] = _words(weights["tokens"].mean(0), read.post.words)
    if HISTORY in weights:
        steps = weights[HISTORY]
        by_post = steps if steps.ndim == 2 else steps.sum(2)
        found[HISTORY] = []
        for m, post in enumerate(read.earlier):
            entry = {"text": post.text, "weight": _number(by_post[:, m].mean())}
            entry |= {"steps": list(map(_number, by_post[:, m]))} if len(steps) > 1 else {}
            entry |= {"words": _words(steps[:, m].mean(0), post.words)} if steps.ndim == 3 else {}
            found[HISTORY].append(entry)
    return found


def _words(weights: np.ndarray, words: Sequence[str]) -> list[dict[str, Any]]:
    return [{"word": word, "weight": _number(weight)} for word, weight in zip(words, weights)]


def _heaviest(words: Sequence[dict[str, Any]]) -> str:
    top = sorted((w for w in words if w["weight"] >= 0.005), key=lambda w: -w["weight"])[:SHOWN]
    return ", ".join(f"{w['word']} {w['weight']:.2f}" for w in top)


def _number(value: Any) -> float:
    return round(float(value), 4)
