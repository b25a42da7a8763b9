"""A search: every point trained on every fold, judged on validation parts; the best one's test metrics at the end.

DIR/<point>/fold-<i>/                     a run folder, as `jaxtag train` makes it
DIR/<point>/crossvalidation-validation.json   the point's validation metrics, mean and spread over folds
DIR/<point>/crossvalidation.json          the same on the test parts, of the best point alone
DIR/sweep.json, sweep.md, sweep.png       all points, best first; parallel.png where there are several fields
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
from jaxtag.search.picture import against_fields, parallel
from jaxtag.search.space import Point, shorter, shown
from jaxtag.search.together import Found, Search, check_halving, train_together
from jaxtag.training.logs import say

FORMAT = 1
FILE = "sweep.json"
JUDGED, LOOKED_AT = "validation", "test"
DIGITS = 10  # characters of a number in the table
AVERAGED = tuple(f"{score}_{how}" for score in ("precision", "recall", "f1") for how in ("micro", "macro", "weighted"))


def sweep(
    run: Path, recipe: str, points: Sequence[Point], data: Path, name: str, folds: int = 0, metric: str = "",
    population: int = 0, halving: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train every point on every fold and find the best, going on where it stopped.

    Runs that differ in numbers alone are trained together (`jaxtag.search.together`); those left share their compiled
    steps (`jaxtag.training.programs`).

    Args:
      run: folder; made if it is not there. Points of an earlier search of the same fields stay in it.
      recipe: the recipe's name, kept in each run's experiment.json.
      points: what to train, from `jaxtag.search.space.points`.
      data: dataset folder.
      name, folds: of the folds, without their number, and how many; 0 is the one split `name`.
      metric: what points are judged by; empty for `evaluation.metric`. Of equal points the first is the best.
      population: how many runs one program has at most; 0 as many as memory allows, 1 trains one after the other.
      halving: whether after 1, 2, 4, … evaluations only the better half of a population's points goes on.

    Returns:
      What sweep.json holds: `metric`; `points`, best first, each with its `fields`, `mean` and `spread` over folds of
      the validation metrics, or `failed`, why it diverged; `best`, the first one's name; and its `test`.

    Raises:
      JaxtagError: the metric is none, a split is missing, a folder in `run` is of another experiment, or all points
        diverged.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    metric = checked(metric, points)
    if halving:
        check_halving(points, metric)
    dataset = open_dataset(data)
    splits = find_folds(dataset, name, folds) if folds else [dataset.split(name)]
    said = name or splits[0].name
    run.mkdir(parents=True, exist_ok=True)
    with held(run):
        check_folder(run)
        _tell(points, dataset, splits)
        search = Search(run, recipe, points, dataset, splits, said, halving)
        found = train_together(search, population)
        rows = []
        for number, point in enumerate(points):
            if point.name not in found.rows:
                say(f"point {number + 1} of {len(points)}: {point.name}")
            rows.append(_judge(search, point, found))
        if all("failed" in row for row in rows):
            raise JaxtagError(f"all {len(rows)} points diverged; the first: {rows[0]['failed']}")
        order = sorted(rows, key=lambda row: -row.get("mean", {}).get(metric, -1.0))
        best = next(point for point in points if point.name == order[0]["point"])
        return concluded(search, order, best, metric)


def concluded(
    search: Search, rows: Sequence[dict[str, Any]], best: Point, metric: str, tested: bool = True
) -> dict[str, Any]:
    """What sweep.json holds, written with its table and pictures; the best point is evaluated on the test.

    Args:
      search: that found it.
      rows: of its points, the best first.
      best: the first one's point.
      metric: that points are judged by.
      tested: whether the best is evaluated; else there is no `test`.
    """
    dataset = search.dataset
    document = {
        "format": FORMAT, "recipe": search.recipe, "metric": metric, "part": JUDGED, "split": search.name,
        "folds": [split.name for split in search.splits], "dataset": {"path": str(dataset.path), **_facts(dataset)},
        "fields": list(best.fields), "points": rows, "best": best.name,
    }  # fmt: skip
    if tested:
        say(f"the best point, {best.name}, on its test {'parts' if len(search.splits) > 1 else 'part'}")
        said = (best.experiment, dataset, search.name, search.splits, LOOKED_AT)
        test = over(search.run / best.name, search.recipe, *said)
        document["test"] = {key: test[key] for key in ("mean", "spread", "baselines")}
    _write(search.run, document)
    return document


def _facts(dataset: Dataset) -> dict[str, str]:
    return {"name": dataset.info["name"], "fingerprint": dataset.fingerprint}


def _judge(search: Search, point: Point, known: Found) -> dict[str, Any]:
    """The row of a point, trained on what is left of its folds."""
    folder = search.run / point.name
    row = {"point": point.name, "fields": point.fields, "run": str(folder)}
    if point.name in known.failed:
        return row | {"failed": known.failed[point.name]}
    done = search.known(point) | known.rows.get(point.name, {})
    try:
        found = over(folder, search.recipe, point.experiment, search.dataset, search.name, search.splits, JUDGED, done)
    except Diverged as error:
        say(f"{point.name} diverged: {error}")
        return row | {"failed": error.message}
    return row | {"mean": found["mean"], "spread": found["spread"], "folds": found["folds"]}


def checked(metric: str, points: Sequence[Point]) -> str:
    """The `metric`, or without one the first point's own, if every point's evaluation gives it.

    Raises:
      JaxtagError: naming the nearest.
    """
    metric = metric or points[0].experiment.evaluation.metric
    for point in points:
        known = [f"{score}@{k}" for score in SCORES for k in point.experiment.evaluation.k] + list(AVERAGED)
        if metric not in known:
            raise JaxtagError(f"no metric {metric!r} to judge by", nearest(metric, known))
    return metric


def check_folder(run: Path) -> None:
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


def blocks(document: Mapping[str, Any], pictures: Mapping[Path, str] | None = None) -> list[Block]:
    """The search as a document: its points, best first, pictures with captions, and the best point's test metrics."""
    metric, fields = document["metric"], document["fields"]
    short, folds = shorter(fields), len(document["folds"])
    columns = {f: short[f] for f in fields} | {"value": f"validation {title_of(metric)}", "steps": "best step"}
    rows = [_cells(row, document) for row in document["points"]]
    over_folds = f", mean ± standard deviation over {folds} folds" if folds > 1 else ""
    return [
        Heading(f"Search of {document['recipe']} on {document['dataset']['name']}", 1),
        Paragraph(f"{len(rows)} points by {metric} on the validation part{over_folds}; the best first."),
        Table(rows, columns),
        *(Picture(path, caption) for path, caption in (pictures or {}).items()),
        *(_tested(document, over_folds) if "test" in document else []),
    ]


def _cells(row: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A point's row of the table."""
    metric = document["metric"]
    cells: dict[str, Any] = {field: _short(value) for field, value in row["fields"].items()}
    if "failed" in row:
        return cells | {"value": row.get("why", "diverged")}
    said = f"{row['mean'][metric]:.4f}"
    if "pruned" in row:
        where = "after fold" if len(document["folds"]) > 1 else "at"
        return cells | {"value": said, "steps": f"pruned {where} {row['pruned']:,}"}
    said += f" ± {row['spread'][metric]:.4f}" if len(document["folds"]) > 1 else ""
    steps = [fold["best_step"] for fold in row["folds"]]
    ran = f"{min(steps):,}" + (f" to {max(steps):,}" if max(steps) > min(steps) else "")
    left = max(fold.get("halved", 0) for fold in row["folds"])
    ran += f", halved at {left:,}" if left else ""
    return cells | {"value": Strong(said) if row["point"] == document["best"] else said, "steps": ran}


def _short(value: Any) -> str:
    """A value as one would type it; of what a study drew, the first digits."""
    said = shown(value)
    return f"{value:.4g}" if isinstance(value, float) and len(said) > DIGITS else said


def _tested(document: Mapping[str, Any], over_folds: str) -> list[Block]:
    """The best point's test metrics, and the baselines'."""
    test, metric, folds = document["test"], document["metric"], len(document["folds"])
    systems = {document["recipe"]: test} | test["baselines"]
    titles = {m: title_of(m) for m in dict.fromkeys((metric, "accuracy@1", "f1@1", "f1_macro")) if m in test["mean"]}
    tested = [
        {"system": name.replace("_", " ").replace("authors", "author's") if found is not test else name}
        | {m: f"{found['mean'][m]:.4f}" + (f" ± {found['spread'][m]:.4f}" if folds > 1 else "") for m in titles}
        for name, found in systems.items()
    ]
    return [
        Paragraph(f"The best point, {document['best']}, on the test part{over_folds}, looked at once:"),
        Table(tested, {"system": "system"} | titles),
    ]


def _write(run: Path, document: dict[str, Any]) -> None:
    """sweep.json, sweep.md and the pictures."""
    rows, fields, metric = document["points"], document["fields"], document["metric"]
    done = [row for row in rows if "folds" in row]
    each = against_fields(done, fields, metric, run / "sweep.png")
    pictures = {each: f"Validation {metric} against each field; the best point ringed."}
    if len(fields) > 1:
        lines = parallel(rows, fields, metric, run / "parallel.png")
        said = "; those pruned are dashed" if any("pruned" in row for row in rows) else ""
        pictures[lines] = f"A line a point through its values, by validation {metric}; the best in front{said}."
    write_text(run / "sweep.md", to_markdown(blocks(document, pictures)))
    write_json(run / FILE, document)
