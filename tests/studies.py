"""Studies whose metric is known beforehand, so that nothing is trained."""

from pathlib import Path
from typing import Any

from jaxtag import crossvalidate
from jaxtag.recipes import resolve
from jaxtag.search import grid, study
from jaxtag.search.ranges import parse_space

BASE = resolve("zsl/cnn", "tiny")
TEXTS = (
    "training.learning_rate=1e-4..1e-1:log",
    "model.dropout=0..0.5",
    "model.embedding=8..64",
    "model.hidden=8,4;16,8",
)


def searched(run: Path, data: Path, trials: int, base: Any = BASE, texts: Any = TEXTS, **more: Any) -> dict[str, Any]:
    """A study of `base` over the space that `texts` name."""
    given = {"name": ""} | more
    return study.study(run, study.Space("zsl/cnn", base, parse_space(texts, base)), trials, data, **given)


def undrawn(monkeypatch: Any) -> None:
    """Pictures are named, and not drawn."""
    for name in ("against_fields", "parallel"):
        monkeypatch.setattr(grid, name, lambda rows, fields, metric, path: path)


def by_folds(monkeypatch: Any, values: Any) -> list[str]:
    """Folds are not trained: trial n has `values(n, fold)` on them; what would have been trained, as it comes."""
    calls: list[str] = []

    def fold(folder: Path, recipe: str, experiment: Any, dataset: Any, split: Any, part: str) -> dict[str, Any]:
        trial, number = folder.parent.name, int(folder.name.removeprefix("fold-"))
        calls.append(f"{trial} {folder.name} {part}")
        metrics = {"f1@1": values(int(trial.removeprefix("trial-")), number)}
        row = {"split": split.name, "fingerprint": split.fingerprint, "run": str(folder), "metrics": metrics}
        return row | {"steps": 3, "best_step": 3, "seconds": 0.1, "baselines": {}}

    monkeypatch.setattr(crossvalidate, "_fold", fold)
    monkeypatch.setattr(crossvalidate, "check", lambda bound: None)
    monkeypatch.setattr(crossvalidate, "bind", lambda *arguments: None)
    for module in (study, grid):
        monkeypatch.setattr(module, "over", crossvalidate.over)
    undrawn(monkeypatch)
    return calls
