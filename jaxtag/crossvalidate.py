"""Cross-validation: a recipe trained and evaluated on every fold of a dataset, each fold a run of its own.

RUN/fold-<i>/              a run folder, trained on the split NAME-<i> and evaluated on its test part
RUN/crossvalidation.json   metrics of every fold that is done, their mean and spread, the built-in baselines' too

A search (`jaxtag.search`) judges by the validation part; what it finds is in crossvalidation-validation.json.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag import experiment as experiments
from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.experiment import Experiment
from jaxtag.files import held, read_json, write_json
from jaxtag.runs import bind
from jaxtag.training.logs import say
from jaxtag.training.train import check, train

FORMAT = 1
FILE = "crossvalidation.json"
PART = "test"
SHOWN = ("accuracy@1", "precision@1", "recall@1", "f1@1", "f1_micro", "f1_macro", "f1_weighted")


def crossvalidate(
    run: Path, recipe: str, experiment: Experiment, data: Path, name: str = "cv", folds: int = 5
) -> dict[str, Any]:
    """Train and evaluate `experiment` on the splits `name-0` … `name-(folds − 1)`, going on where it stopped.

    A fold that is done is not touched again; one that was stopped goes on from its checkpoint.

    Args:
      run: folder; made if it is not there.
      recipe: the recipe's name, kept in each fold's experiment.json.
      experiment: what to train.
      data: dataset folder.
      name: of the splits, without their number.
      folds: how many.

    Returns:
      What crossvalidation.json holds: `folds`, a row each with `metrics` and `baselines`; `mean` and `spread`, the
      standard deviation (over n − 1), of every metric; and the same of each baseline under `baselines`.

    Raises:
      JaxtagError: a fold's split is missing or is none, or a folder in `run` is of another experiment.
      Preempted: SIGTERM or SIGINT came; the fold is saved, and the same call goes on from there.
    """
    dataset = open_dataset(data)
    return over(run, recipe, experiment, dataset, name, find_folds(dataset, name, folds))


def over(
    run: Path, recipe: str, experiment: Experiment, dataset: Dataset, name: str, splits: Sequence[Split],
    part: str = PART, known: Mapping[int, dict[str, Any]] | None = None,
    after: Callable[[int, Mapping[str, float]], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """As `crossvalidate`, over `splits`, which the document calls `name`, evaluated on `part`; `known` folds are done.

    What is known is written, and then what is not is trained. `after(n, mean)` hears of each fold that is done, as the
    n-th, and of the mean of every metric over those n; what it raises ends this.
    """
    folds, known = len(splits), known or {}
    run.mkdir(parents=True, exist_ok=True)
    with held(run):
        done = {**done_of(run, recipe, experiment, splits, part), **known}
        for number, split in enumerate(splits):
            if number not in done:
                check(bind(experiment, dataset, split))
                split.part(part)
        for number, split in enumerate(splits):
            if number not in done:
                say(f"fold {number + 1} of {folds}: split {split.name}")
                done[number] = _fold(run / f"fold-{number}", recipe, experiment, dataset, split, part)
                write_json(run / file_of(part), _document(recipe, experiment, dataset, name, folds, done))
            elif number not in known:
                say(f"fold {number + 1} of {folds} is done")
            if after:
                after(number + 1, _over([done[i]["metrics"] for i in range(number + 1)])["mean"])
        document = _document(recipe, experiment, dataset, name, folds, done)
        write_json(run / file_of(part), document)
    return document


def file_of(part: str) -> str:
    """What the file is called that has the folds' metrics on a part."""
    return FILE if part == PART else f"crossvalidation-{part}.json"


def find_folds(dataset: Dataset, name: str, folds: int) -> list[Split]:
    """The splits `name-0` … `name-(folds − 1)` of a dataset.

    Raises:
      JaxtagError: one is missing, there are fewer than two, or a post is in the test part of two of them.
    """
    if folds < 2:
        raise JaxtagError(f"--folds is {folds}; it must be 2 or more")
    make = f"jaxtag-prep split --data {dataset.path} --name {name} --folds {folds}"
    names = [f"{name}-{i}" for i in range(folds)]
    for wanted in names:
        if not (dataset.path / "splits" / wanted / "split.json").is_file():
            raise JaxtagError(f"{dataset.path} has no split {wanted!r}, one of {folds} folds", make)
    splits = [dataset.split(wanted) for wanted in names]
    for split in splits:
        split.part(PART)
    rows, counts = np.unique(np.concatenate([s.test for s in splits]), return_counts=True)
    if (counts > 1).any():
        post = rows[np.argmax(counts > 1)]
        twice = [s.name for s in splits if post in s.test][:2]
        raise JaxtagError(f"splits {' and '.join(twice)} are no folds: they share test post {post}", make)
    return splits


def render(found: Mapping[str, Any]) -> str:
    """Mean and spread of the main metrics, and the recipe's metrics on every fold, as Markdown tables."""
    from jaxtag.report.tables import markdown, title_of

    systems = {found["recipe"]: found} | found["baselines"]
    order = sorted(systems, key=lambda s: -systems[s]["mean"].get("f1@1", 0.0))
    columns = {"system": "system"} | {m: title_of(m) for m in SHOWN if m in found["mean"]}
    rows = []
    for system in order:
        mean, spread = systems[system]["mean"], systems[system]["spread"]
        cells = {m: f"{mean[m]:.3f} ± {spread[m]:.3f}" for m in columns if m in mean}
        rows.append({"system": system.replace("_", " ") if system != found["recipe"] else system} | cells)
    each = [
        {"fold": row["split"], "posts": row["metrics"]["posts"]} | {m: row["metrics"].get(m) for m in columns}
        for row in found["folds"]
    ]
    by_fold = {"fold": "fold", "posts": "posts"} | {k: v for k, v in columns.items() if k != "system"}
    said = f"mean ± standard deviation over {len(found['folds'])} folds, test part"
    return "\n\n".join([said, markdown(rows, columns), f"{found['recipe']} by fold", markdown(each, by_fold)])


def _fold(
    folder: Path, recipe: str, experiment: Experiment, dataset: Dataset, split: Split, part: str
) -> dict[str, Any]:
    """Train and evaluate one fold, or what is left of it; its row."""
    summary = train(folder, recipe, bind(experiment, dataset, split))
    # Of a split with unseen hashtags only test posts have them: others rank the seen ones.
    among = "seen" if part != PART and split.info.get("unseen") else "split"
    found = evaluate(folder, part, dataset.path, among)
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
    return {
        "split": split.name,
        "fingerprint": split.fingerprint,
        "run": str(folder),
        **{key: summary[key] for key in ("steps", "best_step", "seconds")},
        **{key: found[key] for key in ("vectors",) if key in found},
        "metrics": numbers,
        "baselines": found["baselines"],
    }


def record(
    run: Path, recipe: str, experiment: Experiment, dataset: Dataset, name: str, splits: Sequence[Split], part: str,
    known: Mapping[int, dict[str, Any]],
) -> None:  # fmt: skip
    """Write the rows of folds that were trained elsewhere, beside those that are there; arguments as of `over`."""
    with held(run):
        done = {**done_of(run, recipe, experiment, splits, part), **known}
        write_json(run / file_of(part), _document(recipe, experiment, dataset, name, len(splits), done))


def done_of(
    run: Path, recipe: str, experiment: Experiment, splits: Sequence[Split], part: str, halved: bool = False
) -> dict[int, dict[str, Any]]:
    """The rows of folds that were done by just this experiment on just these splits, by number.

    Those that halving left behind (`jaxtag.search.population`) are among them only where they may be `halved`.

    Raises:
      JaxtagError: the file that has them is of another format.
    """
    file = run / file_of(part)
    if not file.is_file():
        return {}
    document = read_json(file, "cross-validation")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise JaxtagError(f"{file} is not a cross-validation of format {FORMAT}", "name a new folder with --run")
    if (document["recipe"], document["experiment"]) != (recipe, _plain(experiment)):
        return {}  # each fold's own folder says whether it may go on
    rows = {row["split"]: row for row in document["folds"]}
    found = {i: rows[s.name] for i, s in enumerate(splits) if s.name in rows}
    found = {i: row for i, row in found.items() if row["fingerprint"] == splits[i].fingerprint}
    return {i: row for i, row in found.items() if halved or "halved" not in row}


def _document(
    recipe: str, experiment: Experiment, dataset: Dataset, name: str, folds: int, done: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    rows = [done[i] for i in sorted(done)]
    baselines = [b for b in rows[0]["baselines"] if all(b in row["baselines"] for row in rows)] if rows else []
    return {
        "format": FORMAT,
        "recipe": recipe,
        "experiment": _plain(experiment),
        "dataset": {"path": str(dataset.path), "name": dataset.info["name"], "fingerprint": dataset.fingerprint},
        "split": name,
        "complete": len(rows) == folds,
        **_over([row["metrics"] for row in rows]),
        "baselines": {b: _over([row["baselines"][b] for row in rows]) for b in baselines},
        "folds": rows,
    }


def _over(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and spread of the metrics that all rows have; the spread of one row is 0."""
    names = [m for m in rows[0] if m != "posts" and all(m in row for row in rows)] if rows else []
    values = {m: [float(row[m]) for row in rows] for m in names}
    return {
        "mean": {m: statistics.fmean(v) for m, v in values.items()},
        "spread": {m: statistics.stdev(v) if len(v) > 1 else 0.0 for m, v in values.items()},
    }


def _plain(experiment: Experiment) -> Any:
    """The experiment as JSON gives it back."""
    return json.loads(json.dumps(experiments.to_json(experiment)))
