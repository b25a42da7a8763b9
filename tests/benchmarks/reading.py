"""What reading costs: a training step on columns against one on batches held in memory; or gathering by itself.

    python tests/benchmarks/reading.py                                   # every kind of column at the paper's sizes
    python tests/benchmarks/reading.py --recipes zsl/cnn hmemn2n/hmemn2n --seconds 2 --rounds 5
    python tests/benchmarks/reading.py --recipes zsl/cnn --data DATA     # posts of a dataset, not made-up ones
    python tests/benchmarks/reading.py DATA

The first three measure three dispatches of many steps that take turns in one process: on resident columns, on columns
streamed from the host, and on a few batches that lie on the device from the start. A ratio is of neighbouring blocks.
LXMERT has one layer of each kind, for its step to be short enough that reading could show.

The last prints how many posts a second one thread gathers of a dataset's text columns on the host. Rows are drawn from
the training part; the columns are memory-mapped and, after the first pass, in the page cache. Median of five passes.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.bench import posts
from jaxtag.bench.ours import Ours
from jaxtag.data import batches
from jaxtag.data.dataset import open_dataset
from jaxtag.recipes import resolve
from jaxtag.report.tables import markdown

POSTS = 400_000  # read in a pass
SHALLOW = {f"model.{name}_layers": "1" for name in ("language", "object", "cross")}
KINDS = {  # what is read by the step of which recipe, and with which settings
    "text": ("zsl/cnn", {}),
    "history": ("hmemn2n/hmemn2n", {}),
    "image vector": ("amnn/vgg_object_scene", {}),
    "image grid": ("amnn/coattention", {}),
    "regions": ("lxmert4hashtag/lxmert", SHALLOW),
    "topics": ("lxmert4hashtag/tab_lstm", {}),
}
READ = ("held", "resident", "streamed")
ALLOWED = {"resident": 1.05, "streamed": 1.15}  # of a held step's time, or 100 microseconds more


def gathering(path: str) -> None:
    """Print a line a batch size: posts that one thread gathers a second."""
    dataset = open_dataset(path)
    split = dataset.split()
    reading = batches.reading(dataset, split, resolve("zsl/cnn"), ("tokens",), split.hashtags)
    print(f"{dataset.rows:,} posts; values a post in a batch: {reading.lengths}")
    for size in (64, 512, 4096):
        draw = np.random.default_rng(0)
        rows = [draw.choice(split.train, size) for _ in range(POSTS // size)]
        speeds = []
        for _ in range(5):
            started = time.perf_counter()
            for part in rows:
                reading.gather(part)
            speeds.append(size * len(rows) / (time.perf_counter() - started))
        print(f"batch {size:5}: {statistics.median(speeds):12,.0f} posts/s ({min(speeds):,.0f} to {max(speeds):,.0f})")


def seconds(side: Ours, count: int) -> float:
    """Of a step, of so many."""
    started = time.perf_counter()
    side.steps(count)
    return (time.perf_counter() - started) / count


def stepping(recipe: str, more: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step of each way of reading, and what either real one costs beside held batches."""
    experiment = resolve(recipe, args.size, more)
    if args.data:
        read = posts.of_dataset(experiment, args.data, args.split)
    else:
        read = posts.made_up(experiment, args.words, args.hashtags)
    sides = {way: Ours(experiment, read, way, again=False) for way in READ}
    times: dict[str, list[float]] = {way: [] for way in READ}
    seconds(sides["held"], 2)
    count = max(1, round(args.seconds / seconds(sides["held"], 3)))  # of a block, in dispatches as large as may be
    for turn in range(args.rounds + 1):  # the first is not counted
        for way, side in sides.items():
            found = seconds(side, count)
            times[way] += [found] if turn else []
    row: dict[str, Any] = {"recipe": recipe, "batch": experiment.training.batch}
    row |= {f"{way}_ms": 1e3 * statistics.median(t) for way, t in times.items()}
    for way, allowed in ALLOWED.items():
        ratio = statistics.median(a / b for a, b in zip(times[way], times["held"]))
        extra = 1e6 * statistics.median(a - b for a, b in zip(times[way], times["held"]))
        row |= {f"{way}_ratio": ratio, f"{way}_us": extra, f"{way}_within": ratio <= allowed or extra <= 100}
    return row


def table(found: dict[str, dict[str, Any]]) -> str:
    """The ratios as a person reads them."""
    lines = []
    for kind, row in found.items():
        cells = {"read": kind, "recipe": row["recipe"], "batch": row["batch"], "held ms": f"{row['held_ms']:.2f}"}
        for way in ALLOWED:
            cells[f"{way}: ratio"], cells[f"{way}: µs more"] = f"{row[f'{way}_ratio']:.3f}", f"{row[f'{way}_us']:.0f}"
        lines.append(cells | {"within": "yes" if all(row[f"{way}_within"] for way in ALLOWED) else "no"})
    return markdown(lines, list(lines[0]))


def main() -> None:
    """Print the table, and all of it as JSON below; or the speeds of gathering."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("gather", nargs="?", metavar="DATA", help="gather the text columns of this dataset alone")
    p.add_argument("--recipes", nargs="*", metavar="RECIPE", help="whose steps, in place of those of every kind")
    p.add_argument("--kinds", nargs="*", metavar="KIND", choices=list(KINDS), help=f"of {', '.join(KINDS)}")
    p.add_argument("--data", type=Path, metavar="DATA", help="a dataset to take posts from")
    p.add_argument("--split", default="")
    p.add_argument("--size", default="paper")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0)
    p.add_argument("--words", type=int, default=60_000)
    p.add_argument("--hashtags", type=int, default=50)
    args = p.parse_args()
    if args.gather:
        gathering(args.gather)
        return
    chosen = {kind: KINDS[kind] for kind in args.kinds or KINDS}
    chosen = {recipe: (recipe, {}) for recipe in args.recipes} if args.recipes else chosen
    found = {}
    for kind, (recipe, more) in chosen.items():
        found[kind] = stepping(recipe, more, args)
        print(f"{kind}: {json.dumps(found[kind])}", file=sys.stderr)
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
