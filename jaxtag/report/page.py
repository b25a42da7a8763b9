"""The report of one run or many: report.md, report.json, index.html and the pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.files import write_json, write_text
from jaxtag.report import datasets, document, explained, plots
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.runs import Evaluation, Run, read_all
from jaxtag.report.tables import Strong, cut_offs, metric_rows

ALL_PAIRS = 4  # runs up to which every pair is compared; beyond it the best with each of the others
PARTS = ("test", "validation", "train")  # in the order they are shown; any other comes last
DRAWS = 2000


def write(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Compare run folders, and write the report to the folder `out`.

    Runs of one dataset and split stand in one table; others get tables of their own.

    Args:
      runs: run folders, evaluated.
      out: folder for report.md, report.json, index.html and PNGs; made if it is not there, and only these
        files are written.

    Returns:
      `page`, `markdown` and `json` (paths as text), `runs` (how many), and `results`: the tables.

    Raises:
      JaxtagError: no run is given, a run's file is missing or damaged, or `out` is a file.
    """
    if not runs:
        raise JaxtagError("no run to report", "name at least one run folder")
    found = read_all(runs)
    if out.exists() and not out.is_dir():
        raise JaxtagError(f"{out} is a file", "name a folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in found:
        groups.setdefault(run.group, []).append(run)
    title = f"Hashtag recommendation: {found[0].name}" if len(found) == 1 else f"{len(found)} hashtag recommenders"
    blocks: list[Block] = [Heading(title, 1)]
    if len(groups) > 1:
        blocks.append(Paragraph(f"These runs are of {len(groups)} different datasets or splits. Numbers are comparable "
                                "within a section, not between sections."))  # fmt: skip
    results = []
    for number, members in enumerate(groups.values(), 1):
        section, result = _group(members, out, f"{number}-" if len(groups) > 1 else "")
        blocks += section
        results.append(result)
    write_text(out / "report.md", document.to_markdown(blocks))
    write_text(out / "index.html", document.to_html(blocks, title))
    names = {"page": str(out / "index.html"), "markdown": str(out / "report.md"), "json": str(out / "report.json")}
    write_json(out / "report.json", {"runs": [_facts(run) for run in found], "groups": results})
    return names | {"runs": len(found), "results": [r["parts"] for r in results]}


def _group(runs: list[Run], out: Path, prefix: str) -> tuple[list[Block], dict[str, Any]]:
    """The section of runs that share dataset and split, and what report.json keeps of it."""
    data = datasets.open_for(runs[0])
    first = runs[0]
    blocks: list[Block] = [Heading(f"Dataset {first.dataset['name']}, split {first.split['name']}")]
    result: dict[str, Any] = {"dataset": first.dataset, "split": first.split, "parts": {}}
    for part in sorted({p for r in runs for p in r.evaluations}, key=lambda p: (*[p != q for q in PARTS], p)):
        having = [r for r in runs if part in r.evaluations]
        section, result["parts"][part] = _part(having, part, out, prefix)
        missing = [r.name for r in runs if part not in r.evaluations]
        blocks += section + [Paragraph(f"Not evaluated on the {part} part: {', '.join(missing)}.")] * bool(missing)
        blocks += datasets.examples(having, part, data) + explained.blocks(having, part)
    blocks += _training(runs, out, prefix)
    blocks += datasets.overview(data, out, prefix, [str(run.settings.get("data.vectors") or "") for run in runs])
    blocks += [Heading("Settings", 3), Paragraph("Bold where the runs differ."), _settings(runs)]
    return blocks, result


def _part(runs: list[Run], part: str, out: Path, prefix: str) -> tuple[list[Block], dict[str, Any]]:
    """Table, curves against k and differences on one part."""
    systems, baselines = _systems(runs, part)
    ending = f"{re.sub(r'[^A-Za-z0-9_-]', '_', part)}.png"
    rows, columns = metric_rows(systems)
    for row in rows:
        if row["system"] in baselines:
            row["system"] = f"{row['system']} (baseline)"
    evaluations = [(run.name, run.evaluations[part]) for run in runs]
    for name, evaluation in evaluations:
        low_high = _interval(evaluation)
        row = next(r for r in rows if r["system"] == name)
        row["interval"] = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else None
    scores = [c for c in columns if c != "system"]
    posts = ", ".join(sorted({f"{e.metrics['posts']:,}" for _, e in evaluations}))
    k = cut_offs(set(evaluations[0][1].metrics))[0]
    blocks: list[Block] = [
        Heading(f"Results on the {part} part", 3),
        Paragraph(f"{posts} posts; every hashtag that may be recommended is ranked for each. P@k, R@k, F1@k and Acc@k "
                  f"are precision, recall, F1 and share of posts with a hit among the first k; the last column is "
                  f"the 95 % bootstrap interval of F1@{k}."),
        Table(rows, columns | {"interval": f"F1@{k}, 95 %"}, best=scores),
    ]  # fmt: skip
    caption = f"Scores on the {part} part against the number of hashtags recommended; baselines dashed."
    blocks.append(Picture(plots.against_k(systems, baselines, out / f"{prefix}against-k-{ending}"), caption))
    compared = _differences(evaluations, f"f1@{k}")
    if compared:
        lines = [(f"{c['a']} − {c['b']}", c["difference"], c["low"], c["high"]) for c in compared]
        picture = plots.differences(lines, f"F1@{k}", out / f"{prefix}differences-{ending}")
        caption = (f"Differences in F1@{k} on the same {part} posts, drawn {DRAWS:,} times with replacement. A filled "
                   "dot's interval excludes 0.")  # fmt: skip
        blocks.append(Picture(picture, caption))
    return blocks, {"systems": systems, "baselines": baselines, "differences": compared}


def _systems(runs: list[Run], part: str) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Metrics by name, runs first, and the names of the baselines; they are the same for all runs of a split."""
    systems = {run.name: run.evaluations[part].metrics for run in runs}
    shared: dict[str, dict[str, float]] = {}
    for run in runs:
        for name, metrics in run.evaluations[part].baselines.items():
            shared[name.replace("_", " ").replace("authors", "author's")] = metrics
    return systems | shared, list(shared)


def _interval(evaluation: Evaluation) -> tuple[float, float] | None:
    """The 95 % interval of F1 at the smallest cut-off; None where no post has a hashtag."""
    from jaxtag.evaluation import bootstrap

    saved = evaluation.predictions
    if not (saved.gold >= 0).any():
        return None
    metric = f"f1@{cut_offs(set(evaluation.metrics))[0]}"
    found = bootstrap.intervals(saved.ranked, saved.gold, metric, DRAWS)
    return found["low"], found["high"]


def _differences(evaluations: list[tuple[str, Evaluation]], metric: str) -> list[dict[str, Any]]:
    """Paired comparisons of runs that were evaluated on the same posts, the better run first."""
    from jaxtag.evaluation import bootstrap

    order = sorted(evaluations, key=lambda item: -item[1].metrics.get(metric, 0.0))
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    if len(order) > ALL_PAIRS:
        pairs = [(order[0], b) for b in order[1:]]
    found = []
    for (name_a, a), (name_b, b) in pairs:
        one, other = a.predictions, b.predictions
        same = one.gold.shape == other.gold.shape and (one.rows == other.rows).all() and (one.gold == other.gold).all()
        if same and (one.gold >= 0).any():
            compared = bootstrap.paired(one.ranked, other.ranked, one.gold, metric, DRAWS)
            found.append({"a": name_a, "b": name_b, "metric": metric} | compared)
    return found


def _training(runs: list[Run], out: Path, prefix: str) -> list[Block]:
    """How training went: a table and the learning curves."""
    rows = []
    for run in runs:
        best = max((r for r in run.validation if run.metric in r), key=lambda r: r[run.metric], default={})
        last = run.training[-1] if run.training else {}
        speeds = sorted(r["posts_per_second"] for r in run.training if "posts_per_second" in r)
        rows.append({
            "run": run.name, "parameters": run.facts.get("parameters"), "steps": last.get("step"),
            "epochs": last.get("epoch"), "best step": best.get("step"), "best validation": best.get(run.metric),
            "posts/s": round(speeds[len(speeds) // 2]) if speeds else None, "devices": run.facts.get("devices"),
        })  # fmt: skip
    metrics = [m for m in dict.fromkeys(r.metric for r in runs) if all(m in v for r in runs for v in r.validation)]
    metric = metrics[0] if metrics else "loss"
    losses = {r.name: _curve(r.training, "loss") for r in runs}
    scores = {r.name: _curve(r.validation, metric) for r in runs}
    held_out = {r.name: _curve(r.validation, "loss") for r in runs}
    picture = plots.learning_curves(losses, scores, metric, out / f"{prefix}learning-curves.png", held_out)
    both = any(steps for steps, _ in held_out.values())
    return [
        Heading("Training", 3),
        Table(rows, list(rows[0])),
        Picture(picture, f"{'Training and validation' if both else 'Training'} loss, and validation {metric}."),
    ]


def _curve(rows: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    kept = [row for row in rows if isinstance(row.get(key), int | float)]
    return [row["step"] for row in kept], [row[key] for row in kept]


def _settings(runs: list[Run]) -> Table:
    """Every setting of every run; bold where they differ."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    rows = []
    for name in names:
        values = [_setting(run.settings.get(name)) for run in runs]
        kind = Strong if len(set(values)) > 1 else str
        rows.append({"setting": name} | {run.name: kind(value) for run, value in zip(runs, values)})
    return Table(rows, ["setting", *(run.name for run in runs)])


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None or value == "" else re.sub(r"\s+", " ", str(value))


def _facts(run: Run) -> dict[str, Any]:
    """What report.json says of a run."""
    return {
        "name": run.name, "path": str(run.path), "recipe": run.recipe, "settings": run.settings, **run.facts,
        "dataset": run.dataset, "split": run.split,
    }  # fmt: skip
