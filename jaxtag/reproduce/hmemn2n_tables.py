"""Which runs make which table of the hmemn2n paper, and what came of them, as JSON values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.columns import positions_in
from jaxtag.data.dataset import PARTS, Split
from jaxtag.data.posts import HISTORY
from jaxtag.files import read_json
from jaxtag.recipes import resolve
from jaxtag.reproduce.commands import Absent, prepare
from jaxtag.reproduce.hmemn2n_paper import TABLE_1, TABLE_2, TABLE_3
from jaxtag.reproduce.hmemn2n_work import Work
from jaxtag.reproduce.seeded import over_seeds
from jaxtag.systems import find
from jaxtag.training.logs import say


def table_1(work: Work) -> dict[str, Any]:
    """The posts, counted after each step, beside the paper's."""
    dataset, split = work.dataset, work.dataset.split(work.split)
    rows = np.concatenate([split.part(part) if len(getattr(split, part)) else [] for part in PARTS]).astype(np.int64)
    funnel = dataset.info["funnel"]
    uses = positions_in(dataset.column("hashtags"), split.hashtags, len(dataset.hashtags)).lengths(rows).sum()
    found: dict[str, Any] = {
        "posts_read": funnel[0]["posts"] if funnel else dataset.rows,
        "posts": len(rows),
        "authors": len(np.unique(dataset.column("author")[rows])) if dataset.has("author") else None,
        "hashtags": len(split.hashtags),
        "hashtags_per_post": float(uses / max(len(rows), 1)),
    } | {part: len(getattr(split, part)) for part in PARTS}
    made = [{"what": said, "ours": found[key], "paper": theirs} for key, (said, theirs) in TABLE_1.items()]
    steps = [{"step": row["step"], "posts": row["posts"]} for row in (*funnel, *split.info.get("funnel", ())[1:])]
    return {"rows": made, "funnel": steps, "preset": dataset.info["preset"], "split": split.info.get("summary", "")}


def table_2(work: Work) -> dict[str, Any]:
    """Every system, and the built-in baselines, at the first five cut-offs: Fig. 2 is drawn of them."""
    split = work.dataset.split(work.split)
    rows: list[dict[str, Any]] = []
    baselines: dict[str, Any] = {}
    for name, theirs in TABLE_2.items():
        say(f"table 2: hmemn2n/{name}")
        row = {"system": name, "paper": theirs}
        try:
            found = _row(work, work.out / "table-2" / name, name, _given(work, name, split), split)
        except Absent as error:
            say(f"left out: {error}")
            rows.append(row | {"absent": str(error)})
            continue
        rows.append(row | found["metrics"] | {"seeds": found["seeds"]})
        baselines = found["baselines"]
    if not baselines:
        raise Absent("no system could be run")
    rows += [{"system": name} | metrics for name, metrics in baselines.items()]
    return {"rows": rows, "posts": len(split.test), "hashtags": len(split.hashtags)}


def table_3(work: Work) -> dict[str, Any]:
    """Systems by numbers of a word vector and hops; what Table 2 has is not run again."""
    split, rows = work.dataset.split(work.split), []
    if not work.dataset.has(HISTORY):
        raise Absent(_without_history(work))
    for paper, (name, dim, hops) in work.grid().items():
        say(f"table 3: hmemn2n/{name}, {dim} dimensions{f', {hops} hops' if hops else ''}")
        given: dict[str, Any] = {"model.embedding": dim} | ({"model.hops": hops} if hops else {})
        usual = dim == work.usual[0] and hops in (0, work.usual[1])
        folder = work.out / "table-2" / name if usual else work.out / "table-3" / f"{name}-{dim}-{hops}"
        found = _row(work, folder, name, _given(work, name, split) if usual else given, split)
        sizes = {"system": name, "dimensions": dim, "hops": hops, "paper_sizes": paper[1:]}
        rows.append(sizes | found["metrics"] | {"seeds": found["seeds"], "paper": TABLE_3[paper]})
    return {"rows": rows, "posts": len(split.test)}


def _given(work: Work, name: str, split: Split) -> dict[str, Any]:
    """What the recipe `name` is told for Table 2.

    Raises:
      Absent: the dataset lacks what it reads, or word vectors cannot be made.
    """
    if HISTORY in find(resolve(f"hmemn2n/{name}", work.size).system).columns and not work.dataset.has(HISTORY):
        raise Absent(_without_history(work))
    if name.startswith("svm"):
        return {"model.vectors": _vectors(work, split)}
    return {}


def _without_history(work: Work) -> str:
    return f"{work.dataset.path} has no authors or no times, and so no history"


def _vectors(work: Work, split: Split) -> str:
    """The name of the split's word vectors of the SVMs; they are made where they are not there."""
    if work.file:
        name, options = f"hmemn2n-{work.file.name.split('.')[0]}", ["--file", work.file]
    else:
        name, options = f"hmemn2n-cbow-{work.dim}", ["--model", "cbow", "--dim", work.dim]
    file = split.path / "vectors" / name / "vectors.json"
    if not (file.is_file() and read_json(file, "description of word vectors").get("split") == split.fingerprint):
        prepare("vectors", "--data", work.dataset.path, "--split", split.name, "--name", name, *options)
    return name


def _row(work: Work, folder: Path, name: str, given: Mapping[str, Any], split: Split) -> dict[str, Any]:
    return over_seeds(folder, f"hmemn2n/{name}", work.experiment(name, given), work.dataset, split, work.seeds)


TABLES: dict[str, Callable[[Work], dict[str, Any]]] = {"1": table_1, "2": table_2, "3": table_3}
