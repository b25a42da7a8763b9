"""Training steps side by side: ours, and a PyTorch twin's, in alternating runs.

Each side is a process of its own that works only when it is its turn, so that neither's threads take the other's cores;
a slow spell of the machine falls on neighbouring blocks of both. What is compared is a pair of neighbouring blocks.
"""

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtag.bench.machine import cores, processor
from jaxtag.data.posts import HISTORY, WORDPIECES
from jaxtag.errors import JaxtagError
from jaxtag.progress import progress

SIDES = {"": ("jaxtag",), "torch": ("jaxtag", "torch")}
SECONDS = 2.0  # of a block


@dataclass(frozen=True)
class Setup:
    """What is measured, and how.

    Attributes:
      size, overrides: of the recipes.
      against: `torch`, or empty: ours alone.
      rounds, seconds: blocks of each side, and how long one lasts.
      words, hashtags: of made-up posts.
      uniform: whether their words are all equally likely, and not some far more than others as in real posts.
      data, split: a dataset to take posts from instead, where `data` is not empty.
      threads: of PyTorch's side; 0 takes as many as there are cores.
      torch_compile: whether to try `torch.compile` too.
    """

    size: str = "paper"
    overrides: Mapping[str, str] | None = None
    against: str = ""
    rounds: int = 5
    seconds: float = SECONDS
    words: int = 60_000
    hashtags: int = 50
    uniform: bool = False
    data: str = ""
    split: str = ""
    threads: int = 0
    torch_compile: bool = False


def bench(recipes: Sequence[str], setup: Setup) -> dict[str, Any]:
    """Measure the training steps of `recipes`, one after the other.

    Returns:
      `machine`, `cores`, `rounds`, `block_seconds`, and `recipes`: a row each, from `measure`.

    Raises:
      JaxtagError: a number is impossible, PyTorch is asked for and absent, or a recipe cannot be measured.
    """
    if setup.against not in SIDES:
        raise JaxtagError(f"--against is {setup.against!r}", "only torch is known")
    if setup.against == "torch" and importlib.util.find_spec("torch") is None:
        raise JaxtagError("PyTorch is not installed", "pip install torch, or 'jaxtag[parity]'")
    for name in ("rounds", "seconds", "words", "hashtags"):
        if getattr(setup, name) <= 0:
            raise JaxtagError(f"--{name} is {getattr(setup, name)}; it must be above 0")
    rows = [measure(recipe, setup) for recipe in recipes]
    return {
        "machine": f"{platform.machine()} {processor()}".strip(),
        "cores": cores(),
        "rounds": setup.rounds,
        "block_seconds": setup.seconds,
        "size": setup.size,
        "recipes": rows,
    }


def measure(recipe: str, setup: Setup) -> dict[str, Any]:
    """Measure one recipe in alternating blocks.

    Returns:
      `recipe`, `batch`, `lengths`, `posts`; by side under `sides`: what it says of itself, `step_ms` (median over
      blocks, `step_ms_quartiles`), `posts_per_second`, `cores` it kept busy; and with two sides `ratio`, the median of
      ours over theirs in neighbouring blocks, `ratio_quartiles` and `ratio_all`.

    Raises:
      JaxtagError: a side cannot be made, or the two have different numbers of parameters.
    """
    asked = {
        "recipe": recipe, "size": setup.size, "overrides": dict(setup.overrides or {}), "words": setup.words,
        "hashtags": setup.hashtags, "data": setup.data, "split": setup.split, "threads": setup.threads or cores(),
        "torch_compile": setup.torch_compile, "uniform": setup.uniform,
    }  # fmt: skip
    workers = {side: _Side(asked | {"side": side}) for side in SIDES[setup.against]}
    try:
        described = {side: worker.described() for side, worker in workers.items()}
        counts = {side: d["parameters"] for side, d in described.items()}
        if len(set(counts.values())) > 1:
            raise AssertionError(f"{recipe} and its twin have different numbers of parameters: {counts}")
        blocks: dict[str, list[dict[str, float]]] = {side: [] for side in workers}
        for worker in workers.values():
            worker.block(min(setup.seconds, 1.0))  # warm: the first block is slower
        for _ in progress(range(setup.rounds), f"measuring {recipe}"):
            for side, worker in workers.items():
                blocks[side].append(worker.block(setup.seconds))
    finally:
        for worker in workers.values():
            worker.close()
    return summary(recipe, described, blocks)


def summary(
    recipe: str, described: Mapping[str, Mapping[str, Any]], blocks: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, Any]:
    """What blocks of the sides amount to; see `measure`."""
    first = next(iter(described.values()))
    shared = ("batch", "lengths", "posts", "parameters")
    row: dict[str, Any] = {"recipe": recipe} | {key: first[key] for key in shared} | {"sides": {}}
    times = {side: [b["seconds"] / b["steps"] for b in found] for side, found in blocks.items()}
    for side, found in blocks.items():
        median = statistics.median(times[side])
        row["sides"][side] = {k: v for k, v in described[side].items() if k not in shared} | {
            "step_ms": median * 1e3,
            "step_ms_quartiles": [1e3 * q for q in quartiles(times[side])],
            "posts_per_second": first["batch"] / median,
            "cores": sum(b["cpu_seconds"] for b in found) / sum(b["seconds"] for b in found),
        }
    if len(times) == 2:
        ours, theirs = times.values()
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        row |= {"ratio": statistics.median(ratios), "ratio_quartiles": quartiles(ratios), "ratio_all": ratios}
    return row


def quartiles(values: Sequence[float]) -> list[float]:
    """The first and third quartile, inclusive; of one value, itself."""
    if len(values) < 2:
        return [*values, *values]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]


def render(found: Mapping[str, Any]) -> str:
    """The measurements as a Markdown table, and where they were made."""
    from jaxtag.report.tables import markdown

    lines = []
    for row in found["recipes"]:
        for side, s in row["sides"].items():
            low, high = s["step_ms_quartiles"]
            form = f", {s['form']}" if "form" in s else ""
            cells = {
                "recipe": row["recipe"], "side": f"{s['version']}{form}", "step ms": f"{s['step_ms']:.2f}",
                "quartiles": f"{low:.2f} to {high:.2f}", "posts/s": f"{s['posts_per_second']:,.0f}",
                "cores": f"{s['cores']:.2f}", "compile s": s.get("compile_seconds"),
            }  # fmt: skip
            if side == "jaxtag" and "ratio" in row:
                a, b = row["ratio_quartiles"]
                cells["ratio"] = f"{row['ratio']:.2f} ({a:.2f} to {b:.2f})"
            lines.append(cells)
    columns = list(dict.fromkeys(key for cells in lines for key in cells))
    shapes = "; ".join(
        f"{r['recipe']}: {r['parameters']:,} parameters, {r['batch']} posts"
        + (_said(r["lengths"]) or " of an image each")
        + (f" and earlier ones of {r['lengths'][HISTORY]}" if HISTORY in r["lengths"] else "")
        for r in found["recipes"]
    )
    return "\n".join([
        markdown(lines, columns), "",
        f"{shapes}; posts {found['recipes'][0]['posts']}",
        f"{found['rounds']} alternating blocks of {found['block_seconds']:g} s; ratio: ours over the twin's, median of "
        f"pairs (quartiles); {found['machine']}, {found['cores']} cores",
    ])  # fmt: skip


def _said(lengths: Mapping[str, int]) -> str:
    """How long posts are; empty of those without words."""
    named = {"tokens": "words", WORDPIECES: "WordPieces"}
    return "".join(f" of at most {lengths[name]} {what}" for name, what in named.items() if name in lengths)


class _Side:
    """A worker process."""

    def __init__(self, asked: Mapping[str, Any]):
        self._asked = asked
        threads = {} if asked["side"] == "jaxtag" else {"OMP_NUM_THREADS": str(asked["threads"])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jaxtag.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads,
        )

    def described(self) -> dict[str, Any]:
        """Make the side, alone on the machine, and hear what it is."""
        return self._ask(dict(self._asked))

    def block(self, seconds: float) -> dict[str, float]:
        """Let it work for `seconds`."""
        return self._ask({"seconds": seconds})

    def close(self) -> None:
        """End the process: its input ends."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, value: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured {self._asked['side']} process ended; its own message stands above")
        found = json.loads(line)
        if "error" in found:
            raise JaxtagError(found["error"], found["mend"])
        return found
