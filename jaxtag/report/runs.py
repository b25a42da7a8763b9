"""Run folders read for a report: settings, curves, evaluations and predictions, each file checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.arrays import open_npz
from jaxtag.documents import Each, hold
from jaxtag.errors import JaxtagError
from jaxtag.experiment import read_run
from jaxtag.files import read_json
from jaxtag.report.tables import cut_offs


@dataclass(frozen=True)
class Predictions:
    """What a run recommended to every post of a part; dataset hashtag ids, −1 none.

    Attributes:
      rows: row numbers of the posts `[n]`.
      ranked: best first `[n, K]`.
      gold: the posts' own hashtags `[n, G]`.
    """

    rows: np.ndarray
    ranked: np.ndarray
    gold: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """A run's evaluation on one part of its split.

    Attributes:
      part: of the split.
      metrics: by name, `posts` among them.
      baselines: the built-in baselines' metrics, by their name.
      predictions: what was recommended.
    """

    part: str
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    predictions: Predictions


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
      path: of the folder.
      name: what the report calls it: its recipe, with the folder's name where recipes repeat.
      recipe: as it was trained.
      settings: the experiment's fields by dotted name.
      facts: parameters, devices and versions, where the folder says them.
      dataset, split: name and fingerprint, and the dataset's path.
      training, validation: rows of metrics.jsonl, in order of step; of a fitted run, its encoder's.
      evaluations: by part.
    """

    path: Path
    name: str
    recipe: str
    settings: dict[str, Any]
    facts: dict[str, Any]
    dataset: dict[str, str]
    split: dict[str, str]
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    evaluations: dict[str, Evaluation]

    @property
    def group(self) -> tuple[str, str]:
        """Runs of one group may be compared: the fingerprints of dataset and split."""
        return self.dataset["fingerprint"], self.split["fingerprint"]

    @property
    def metric(self) -> str:
        """What its best checkpoint went by, such as `f1@1`."""
        return str(self.settings.get("evaluation.metric", "f1@1"))


def read_all(paths: Sequence[Path]) -> list[Run]:
    """The runs at `paths`, each under a name of its own.

    Raises:
      JaxtagError: a folder is not a run, is named twice, or one of its files is missing or damaged.
    """
    resolved = [p.resolve() for p in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise JaxtagError(f"{path} is named twice", "name every run once")
    recipes = [read_run(p)["recipe"] for p in paths]
    names = [r if recipes.count(r) == 1 else f"{r} ({p.name})" for r, p in zip(recipes, resolved)]
    return [read(p, n if names.count(n) == 1 else f"{n} {i}") for i, (p, n) in enumerate(zip(paths, names), 1)]


def read(path: Path, name: str = "") -> Run:
    """The run at `path`, called `name`, or by its recipe.

    Raises:
      JaxtagError: it is not a run folder, or one of its files is missing or damaged.
    """
    info = read_run(path)
    rows = _metrics(path)
    facts = {key: info[key] for key in ("parameters", "devices", "versions") if key in info}
    return Run(
        path, name or info["recipe"], info["recipe"], _flat(info["experiment"]), facts, info["dataset"], info["split"],
        [r for r in rows if r["kind"] == "train"], [r for r in rows if r["kind"] == "validation"], _evaluations(path),
    )  # fmt: skip


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {f"{prefix}{key}": inner}
    return flat


def _metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, of a fitted run its encoder's, if it has one; a last, unfinished line is left out."""
    file, fitted = run / "metrics.jsonl", (run / "fitted").is_dir()
    if fitted:
        file = run / "encoder" / "metrics.jsonl"
        if not file.parent.is_dir():
            return []
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise JaxtagError(f"{file} is missing", f"go on training {run} with jaxtag train") from None
    except UnicodeDecodeError as error:
        raise JaxtagError(f"{file} is not UTF-8: {error}", "train again in a new folder") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                continue
            raise JaxtagError(f"{file} line {number} is not JSON: {error}", "train again in a new folder") from None
        if (
            not isinstance(row, dict)
            or row.get("kind") not in ("train", "validation")
            or type(row.get("step")) is not int
        ):
            raise JaxtagError(
                f"{file} line {number} is not a training or validation row", "train again in a new folder"
            )
        rows.append(row)
    return sorted(rows, key=lambda row: row["step"])


def _evaluations(run: Path) -> dict[str, Evaluation]:
    found = {}
    for file in sorted(run.glob("evaluation-*.json")):
        part = file.stem.removeprefix("evaluation-")
        mend = f"jaxtag evaluate {run} --part {part}"
        document = read_json(file, "list of metrics", mend)
        if not isinstance(document, dict) or not isinstance(document.get("baselines", {}), dict):
            raise JaxtagError(f"{file} is not an evaluation", mend)
        hold(document, {"baselines?": Each(dict)}, file, mend)
        metrics = _numbers(document)
        if "posts" not in metrics or not cut_offs(set(metrics)):
            raise JaxtagError(f"{file} holds no posts or no f1@k", mend)
        baselines = {name: _numbers(row) for name, row in document.get("baselines", {}).items()}
        predictions = _predictions(run / f"predictions-{part}.npz", mend)
        most = max(cut_offs(set(metrics)))
        if predictions.ranked.shape[1] < most:
            raise JaxtagError(f"{run}/predictions-{part}.npz has {predictions.ranked.shape[1]} hashtags a post, "
                              f"{file.name} is of {most}", mend)  # fmt: skip
        found[part] = Evaluation(part, metrics, baselines, predictions)
    if not found:
        raise JaxtagError(f"{run} has no evaluation-<part>.json", f"jaxtag evaluate {run}")
    return found


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _predictions(file: Path, mend: str) -> Predictions:
    try:
        arrays = open_npz(file)
        rows, ranked, gold = (arrays[name] for name in ("rows", "ranked", "gold"))
    except FileNotFoundError:
        raise JaxtagError(f"{file} is missing", mend) from None
    except (KeyError, ValueError, OSError) as error:
        raise JaxtagError(f"{file} is truncated or corrupt ({error})", mend) from None
    shapes = rows.ndim == 1 and ranked.ndim == gold.ndim == 2 and len(rows) == len(ranked) == len(gold)
    if not shapes or any(a.dtype.kind not in "iu" for a in (rows, ranked, gold)):
        raise JaxtagError(f"{file} holds arrays of other shapes or types than predictions have", mend)
    return Predictions(rows, ranked, gold)
