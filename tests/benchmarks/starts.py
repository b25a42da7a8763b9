"""What a start of `jaxtag train` spends on making its programs: the first, and the second, which finds them kept.

    python tests/benchmarks/starts.py zsl/rnn_attention hmemn2n/hmemn2n --data DATA --size tiny
    python tests/benchmarks/starts.py zsl/cnn --data DATA --rounds 3 --data.vectors ""
    python tests/benchmarks/starts.py zsl/rnn_attention --data DATA --ahead

Pairs of whole commands of a few steps and one evaluation, each pair with an empty cache of compiled programs and run
folders of its own; recipes take turns. The seconds are those that the command itself tells (`jaxtag train --json`):
in the compiler, or reading what it made before, and in Python before that. Options that the script does not know go to
the command. With --ahead, such a pair is followed by one that compiles steps only once the first state is made, and not
meanwhile (`jaxtag.training.ahead`): what it takes by the clock, from start to end, is what the other is compared with.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jaxtag.report.tables import markdown

RUN = "from jaxtag.cli import main; main()"
AFTER = "from jaxtag.training import learners as l; l.Ahead = lambda *_: None; " + RUN
TOLD = ("compile_seconds", "trace_seconds", "programs", "programs_kept")


def start(args: argparse.Namespace, more: list[str], recipe: str, run: Path, cache: Path, code: str) -> dict[str, Any]:
    """What one command tells, and its own `wall_seconds`."""
    command = [sys.executable, "-c", code, "train", recipe, "--data", str(args.data), "--size", args.size]
    command += ["--split", args.split, "--run", str(run), "--json", "--training.steps", str(args.steps), *more]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found = json.loads(done.stdout)
    return {name: found[name] for name in TOLD} | {"wall_seconds": round(time.perf_counter() - began, 2)}


def pair(args: argparse.Namespace, more: list[str], recipe: str, code: str = RUN) -> dict[str, Any]:
    """Two starts with one cache, empty before the first."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        runs = [start(args, more, recipe, Path(folder) / name, cache, code) for name in ("one", "two")]
    first, second = runs
    both = [run["compile_seconds"] + run["trace_seconds"] for run in runs]
    ratios = {"ratio": second["compile_seconds"] / first["compile_seconds"], "ratio_with_tracing": both[1] / both[0]}
    return {"first": first, "second": second} | {name: round(value, 4) for name, value in ratios.items()}


def main() -> None:
    """Print the table, and all as JSON below it."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipes", nargs="+", metavar="RECIPE")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--split", default="")
    p.add_argument("--size", default="paper")
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--ahead", action="store_true", help="beside starts that compile nothing ahead")
    args, more = p.parse_known_args()
    found: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in args.recipes}
    for number in range(args.rounds):
        for recipe in args.recipes:
            found[recipe].append(pair(args, more, recipe))
            if args.ahead:
                found[recipe][-1]["after"] = pair(args, more, recipe, AFTER)
            print(f"round {number + 1}, {recipe}: {found[recipe][-1]['ratio']}", file=sys.stderr)
    rows = []
    for recipe, pairs in found.items():
        of = lambda which, name, pairs=pairs: statistics.median(pair[which][name] for pair in pairs)  # noqa: E731
        cells = {
            f"{which}: {name.removesuffix('_seconds')} s": f"{of(which, name):.2f}"
            for which in ("first", "second")
            for name in ("compile_seconds", "trace_seconds", "wall_seconds")
        }
        ratios = {n: f"{statistics.median(pair[n] for pair in pairs):.3f}" for n in ("ratio", "ratio_with_tracing")}
        if args.ahead:
            for which in ("first", "second"):
                wall = [p[which]["wall_seconds"] / p["after"][which]["wall_seconds"] for p in pairs]
                ratios[f"{which}: wall, of compiled after"] = f"{statistics.median(wall):.3f}"
        rows.append({"recipe": recipe, "programs": of("first", "programs")} | cells | ratios)
    print(markdown(rows, list(rows[0])))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
