"""A search: every point trained on every fold, judged on validation parts; the best one's test metrics at the end.

DIR/<point>/fold-<i>/                     a run folder, as `jaxtag train` makes it
DIR/<point>/crossvalidation-validation.json   the point's validation metrics, mean and spread over folds
DIR/<point>/crossvalidation.json          the same on the test parts, of the best point alone
DIR/sweep.json, sweep.md, sweep.png       all points, best first
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtag.crossvalidate import find_folds, over
from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.errors import Diverged, JaxtagError, nearest
from jaxtag.evaluation.metrics import SCORES
from jaxtag.files import held, read_json, write_json, write_text
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table, to_markdown
from jaxtag.report.tables import Strong, title_of
from jaxtag.runs import bind
from jaxtag.search.picture import against_fields
from jaxtag.search.space import Point, shorter, shown
from jaxtag.training.logs import say

FORMAT = 1
FILE = "sweep.json"
JUDGED, LOOKED_AT = "validation", "test"
AVERAGED = tuple(f"{score}_{how}" for score in ("precision", "recall", "f1") for how in ("micro", "macro", "weighted"))


def sweep(
    run: Path, recipe: str, points: Sequence[Point], data: Path, name: str, folds: int = 0, metric: str = ""
) -> dict[str, Any]:
    """Train every point on every fold and find the best, going on where it stopped.

    Runs that differ in numbers alone share their compiled steps (`jaxtag.training.programs`).

    Args:
      run: folder; made if it is not there. Points of an earlier search of the same fields stay in it.
      recipe: the recipe's name, kept in each run's experiment.json.
      points: what to train, from `jaxtag.search.space.points`.
      data: dataset folder.
      name, folds: of the folds, without their number, and how many; 0 is the one split `name`.
      metric: what points are judged by; empty for `evaluation.metric`. Of equal points the first is the best.

    Returns:
      What sweep.json holds: `metric`; `points`, best first, each with its `fields`, `mean` and `spread` over folds of
      the validation metrics, or `failed`, why it diverged; `best`, the first one's name; and its `test`.

    Raises:
      JaxtagError: the metric is none, a split is missing, a folder in `run` is of another experiment, or all points
        diverged.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    metric = _checked(metric, points)
    dataset = open_dataset(data)
    splits = find_folds(dataset, name, folds) if folds else [dataset.split(name)]
    said = name or splits[0].name
    run.mkdir(parents=True, exist_ok=True)
    with held(run):
        _check_folder(run)
        _tell(points, dataset, splits)
        rows = []
        for number, point in enumerate(points):
            say(f"point {number + 1} of {len(points)}: {point.name}")
            rows.append(_judge(run / point.name, recipe, point, dataset, said, splits))
        if all("failed" in row for row in rows):
            raise JaxtagError(f"all {len(rows)} points diverged; the first: {rows[0]['failed']}")
        order = sorted(rows, key=lambda row: -row.get("mean", {}).get(metric, -1.0))
        best = next(point for point in points if point.name == order[0]["point"])
        say(f"the best point, {best.name}, on its test {'parts' if folds else 'part'}")
        test = over(run / best.name, recipe, best.experiment, dataset, said, splits, LOOKED_AT)
        document = {
            "format": FORMAT, "recipe": recipe, "metric": metric, "part": JUDGED, "split": said,
            "folds": [split.name for split in splits], "dataset": {"path": str(dataset.path), **_facts(dataset)},
            "fields": list(points[0].fields), "points": order, "best": best.name,
            "test": {key: test[key] for key in ("mean", "spread", "baselines")},
        }  # fmt: skip
        _write(run, document)
    return document


def _facts(dataset: Dataset) -> dict[str, str]:
    return {"name": dataset.info["name"], "fingerprint": dataset.fingerprint}


def _judge(
    folder: Path, recipe: str, point: Point, dataset: Dataset, name: str, splits: Sequence[Split]
) -> dict[str, Any]:
    """The row of a point, trained on what is left of its folds."""
    row = {"point": point.name, "fields": point.fields, "run": str(folder)}
    try:
        found = over(folder, recipe, point.experiment, dataset, name, splits, JUDGED)
    except Diverged as error:
        say(f"{point.name} diverged: {error}")
        return row | {"failed": error.message}
    return row | {"mean": found["mean"], "spread": found["spread"], "folds": found["folds"]}


def _checked(metric: str, points: Sequence[Point]) -> str:
    """The metric, or without one the first point's own, if every point's evaluation gives it.

    Raises:
      JaxtagError: naming the nearest.
    """
    metric = metric or points[0].experiment.evaluation.metric
    for point in points:
        known = [f"{score}@{k}" for score in SCORES for k in point.experiment.evaluation.k] + list(AVERAGED)
        if metric not in known:
            raise JaxtagError(f"no metric {metric!r} to judge by", nearest(metric, known))
    return metric


def _check_folder(run: Path) -> None:
    """Refuse a folder of something else."""
    strange = run / "experiment.json"
    if strange.exists():
        raise JaxtagError(f"{run} is a run folder, not a search's", "name a new folder with --run")
    if (run / FILE).is_file():
        old = read_json(run / FILE, "search")
        if not isinstance(old, dict) or old.get("format") != FORMAT:
            raise JaxtagError(f"{run / FILE} is not a search of format {FORMAT}", "name a new folder with --run")


def _tell(points: Sequence[Point], dataset: Dataset, splits: Sequence[Split]) -> None:
    """Say how many runs there are, and what keeps folds from sharing compiled steps."""
    many = f"{len(points)} points on {len(splits)} splits" if len(splits) > 1 else f"{len(points)} points"
    say(f"{many}: {len(points) * len(splits)} runs")
    if len(splits) > 1:
        words = sorted({bind(points[0].experiment, dataset, split).system.sizes.words for split in splits})
        if len(words) > 1:
            say(
                f"the folds' word tables have {words[0]:,} to {words[-1]:,} rows, so each size is compiled by itself; "
                "--parallel.multiple 1024 rounds them up to share their steps"
            )


def blocks(document: Mapping[str, Any], picture: Path | None = None) -> list[Block]:
    """The search as a document: its points, best first, the picture, and the best point's test metrics."""
    metric, fields = document["metric"], document["fields"]
    short, folds = shorter(fields), len(document["folds"])
    columns = {f: short[f] for f in fields} | {"value": f"validation {title_of(metric)}", "steps": "best step"}
    rows = []
    for row in document["points"]:
        cells = {field: shown(value) for field, value in row["fields"].items()}
        if "failed" in row:
            rows.append(cells | {"value": "diverged"})
            continue
        said = f"{row['mean'][metric]:.4f}" + (f" ± {row['spread'][metric]:.4f}" if folds > 1 else "")
        best = row["point"] == document["best"]
        steps = [fold["best_step"] for fold in row["folds"]]
        ran = f"{min(steps):,}" + (f" to {max(steps):,}" if max(steps) > min(steps) else "")
        rows.append(cells | {"value": Strong(said) if best else said, "steps": ran})
    over_folds = f", mean ± standard deviation over {folds} folds" if folds > 1 else ""
    test = document["test"]
    systems = {document["recipe"]: test} | test["baselines"]
    titles = {m: title_of(m) for m in dict.fromkeys((metric, "accuracy@1", "f1@1", "f1_macro")) if m in test["mean"]}
    tested = [
        {"system": name.replace("_", " ").replace("authors", "author's") if found is not test else name}
        | {m: f"{found['mean'][m]:.4f}" + (f" ± {found['spread'][m]:.4f}" if folds > 1 else "") for m in titles}
        for name, found in systems.items()
    ]
    return [
        Heading(f"Search of {document['recipe']} on {document['dataset']['name']}", 1),
        Paragraph(f"{len(rows)} points by {metric} on the validation part{over_folds}; the best first."),
        Table(rows, columns),
        *([Picture(picture, f"Validation {metric} against each field; the best point ringed.")] if picture else []),
        Paragraph(f"The best point, {document['best']}, on the test part{over_folds}, looked at once:"),
        Table(tested, {"system": "system"} | titles),
    ]


def _write(run: Path, document: dict[str, Any]) -> None:
    """sweep.json, sweep.md and the picture."""
    done = [row for row in document["points"] if "failed" not in row]
    picture = against_fields(done, document["fields"], document["metric"], run / "sweep.png")
    write_text(run / "sweep.md", to_markdown(blocks(document, picture)))
    write_json(run / FILE, document)
