"""16 learning rates of a recipe as 16 commands, as 16 runs in one process, and as a population of 16.

    python tests/benchmarks/sweeps.py zsl/rnn_attention --data DATA [--rounds 3] [--cold]
    python tests/benchmarks/sweeps.py hmemn2n/hmemn2n --data DATA

Whole commands are timed, from start to end: `jaxtag train` 16 times; `jaxtag sweep --population 1`, and `jaxtag sweep`,
which also evaluate every point on the validation part and the best one on the test. The three take turns, so that
whatever slows the machine slows all. Compiled programs are read from the cache, which one untimed round fills; with
--cold each way starts with an empty one, so that the commands compile once, and so does either search.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Way = Callable[[Path], list[list[str]]]


def ways(args: argparse.Namespace) -> dict[str, Way]:
    """The commands of each way, with their runs in a folder."""
    rates = [f"{rate:.6g}" for rate in np.geomspace(1e-4, 1e-1, args.points)]
    base = [args.recipe, "--size", args.size, "--data", str(args.data)]
    name = "training.learning_rate"

    def sweep(folder: Path, *more: str) -> list[list[str]]:
        return [["sweep", *base, "--run", str(folder), "--grid", f"{name}={','.join(rates)}", *more]]

    return {
        "commands": lambda folder: [["train", *base, "--run", str(folder / r), f"--{name}", r] for r in rates],
        "one process": lambda folder: sweep(folder, "--population", "1"),
        "population": sweep,
    }


def seconds(way: Way, cache: str) -> float:
    """How long the commands of a way take, one after the other."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for command in way(Path(folder)):
            done = subprocess.run(
                [sys.executable, "-m", "jaxtag.cli", *command], env=environment, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(done.stderr[-2000:])
        return time.perf_counter() - started


def main() -> None:
    """Print the seconds of every way and round, their medians and ratios, as JSON."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("recipe")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--size", default="tiny")
    p.add_argument("--points", type=int, default=16)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--cold", action="store_true", help="every way compiles what it needs")
    args = p.parse_args()
    found: dict[str, list[float]] = {name: [] for name in ways(args)}
    with tempfile.TemporaryDirectory() as shared:
        if not args.cold:
            for name, way in ways(args).items():
                seconds(lambda folder, name=name, way=way: way(folder)[:1], shared)
        for number in range(args.rounds):
            for name, way in ways(args).items():
                with tempfile.TemporaryDirectory() as empty:
                    found[name].append(round(seconds(way, empty if args.cold else shared), 2))
                print(f"round {number + 1}, {name}: {found[name][-1]} s", file=sys.stderr)
    median = {name: statistics.median(times) for name, times in found.items()}
    ratio = {f"population / {n}": round(median["population"] / median[n], 3) for n in ("commands", "one process")}
    print(json.dumps({"recipe": args.recipe, "points": args.points, "seconds": found, "ratios": ratio}, indent=1))


if __name__ == "__main__":
    main()
