"""Training steps side by side: ours, and a PyTorch twin's, in alternating runs.

Each side is a process of its own that works only when it is its turn, so that neither's threads take the other's cores;
a slow spell of the machine falls on neighbouring blocks of both. What is compared is a pair of neighbouring blocks.
"""

import importlib.util
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.bench.machine import cores, processor
from jaxtag.bench.sides import Side
from jaxtag.data.posts import HISTORY, WORDPIECES
from jaxtag.errors import JaxtagError
from jaxtag.progress import progress

SIDES = {"": ("jaxtag",), "torch": ("jaxtag", "torch")}
SECONDS = 2.0  # of a block
# Hashtags that a paper's data has: the most used that the zsl paper keeps, the hmemn2n paper's text, two of the amnn
# paper's three (997 in HARRISON), and what the lxmert4hashtag paper keeps at most (SYSTEMS 1.1, 2.1, 3.1, 4.1).
HASHTAGS = {"zsl": 50, "hmemn2n": 3883, "amnn": 1000, "lxmert4hashtag": 500}


@dataclass(frozen=True)
class Setup:
    """What is measured, and how.

    Attributes:
      size, overrides: of the recipes.
      against: `torch`, or empty: ours alone.
      rounds, seconds: blocks of each side, and how long one lasts.
      words, hashtags: of made-up posts; 0 hashtags are as many as the recipe's paper has.
      uniform: whether their words are all equally likely, and not some far more than others as in real posts.
      full: whether they are all as long as a batch has room for.
      data, split: a dataset to take posts from instead, where `data` is not empty.
      threads: of PyTorch's side; 0 takes as many as there are cores.
      torch_compile: whether to try `torch.compile` too.
      devices: how many the mesh is made of, simulated CPU devices where there are fewer; 0 takes all there are.
      profile: a folder for what a profiler reads, one in it a recipe; none if empty.
    """

    size: str = "paper"
    overrides: Mapping[str, str] | None = None
    against: str = ""
    rounds: int = 5
    seconds: float = SECONDS
    words: int = 60_000
    hashtags: int = 0
    uniform: bool = False
    data: str = ""
    split: str = ""
    threads: int = 0
    torch_compile: bool = False
    devices: int = 0
    full: bool = False
    profile: str = ""


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
    for name in ("rounds", "seconds", "words"):
        if getattr(setup, name) <= 0:
            raise JaxtagError(f"--{name} is {getattr(setup, name)}; it must be above 0")
    if setup.hashtags < 0:
        raise JaxtagError(f"--hashtags is {setup.hashtags}; it must be above 0, or 0 for as many as the paper has")
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
      blocks, `step_ms_quartiles`), `posts_per_second`, `cores` it kept busy, `memory_mib`; of ours also what
      `jaxtag.bench.ours.Ours.detail` gives, and `shares`; and with two sides `ratio`, the median of ours over theirs in
      neighbouring blocks, `ratio_quartiles` and `ratio_all`.

    Raises:
      JaxtagError: a side cannot be made, or the two have different numbers of parameters.
    """
    hashtags = setup.hashtags or HASHTAGS[recipe.partition("/")[0]]
    asked = {
        "recipe": recipe, "size": setup.size, "overrides": dict(setup.overrides or {}), "words": setup.words,
        "hashtags": hashtags, "data": setup.data, "split": setup.split, "threads": setup.threads or cores(),
        "torch_compile": setup.torch_compile, "uniform": setup.uniform, "full": setup.full, "devices": setup.devices,
    }  # fmt: skip
    workers = {side: Side(asked | {"side": side}) for side in SIDES[setup.against]}
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
        told = {side: worker.ask({"detail": True}) for side, worker in workers.items()}
        if setup.profile:
            told["jaxtag"]["trace"] = workers["jaxtag"].ask(
                {"trace": str(Path(setup.profile, recipe.replace("/", "-")))}
            )
    finally:
        for worker in workers.values():
            worker.close()
    return summary(recipe, described, blocks, told)


def summary(
    recipe: str,
    described: Mapping[str, Mapping[str, Any]],
    blocks: Mapping[str, Sequence[Mapping[str, float]]],
    told: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What blocks of the sides amount to, and what they `told` afterwards; see `measure`."""
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
        more = dict((told or {}).get(side, {}))
        row["sides"][side] |= more
        if "flops" in more:
            row["sides"][side]["shares"] = shares(more, described[side], found, median)
    if len(times) == 2:
        ours, theirs = times.values()
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        row |= {"ratio": statistics.median(ratios), "ratio_quartiles": quartiles(ratios), "ratio_all": ratios}
    return row


def shares(
    told: Mapping[str, Any], described: Mapping[str, Any], blocks: Sequence[Mapping[str, float]], seconds: float
) -> dict[str, float | None]:
    """What of a step's `seconds` goes where, and what of the devices' best they are.

    Returns:
      `mfu`, model FLOP utilisation, F / (t n P) (`jaxtag.bench.work.flops_of_step`); `useful`, the share of F that is
      not padding; `input`, the share of the time that a batch takes to be fetched: by itself on the device, or by the
      host as long as training waits for it; `bandwidth`, bytes that the compiler counts as read and written, over t and
      the memory's bandwidth, None where it does not count.
    """
    devices = int(described["device"].partition(" ")[0])
    best = told["peak"]["taken"]
    fed = sum(b.get("fed_seconds", 0.0) for b in blocks) / sum(b["seconds"] for b in blocks)
    accessed = told["bytes_accessed"]
    return {
        "mfu": told["flops"] / (seconds * devices * best[told["precision"]]),
        "useful": told["useful_share"],
        "input": min(1.0, fed if told["fetch_ms"] is None else told["fetch_ms"] / 1e3 / seconds),
        "bandwidth": accessed and accessed / seconds / best["bandwidth"],
    }


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
                "cores": f"{s['cores']:.2f}",
            } | _cells(s)  # fmt: skip
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
        *_explained(found),
    ])  # fmt: skip


def _cells(side: Mapping[str, Any]) -> dict[str, str]:
    """Of a side's row what is not of its speed alone."""
    percent = {"MFU": "mfu", "useful": "useful", "input": "input"}
    found = {
        name: "–" if side["shares"][key] is None else f"{side['shares'][key]:.1%}" for name, key in percent.items()
    } if "shares" in side else {}  # fmt: skip
    found |= {"memory MiB": f"{side['memory_mib']:,.0f}"} if "memory_mib" in side else {}
    for name, key in (("compile s", "compile_seconds"), ("from disk s", "kept_seconds")):
        found |= {name: f"{side[key]:.2f}"} if side.get(key) is not None else {}
    return found


def _explained(found: Mapping[str, Any]) -> list[str]:
    """What the columns are shares of, where there are any."""
    ours = [row["sides"]["jaxtag"] for row in found["recipes"] if "shares" in row["sides"].get("jaxtag", {})]
    if not ours:
        return []
    peak = ours[0]["peak"]
    rates = " and ".join(f"{peak['taken'][name] / 1e12:.3g} TFLOP/s in {name}" for name in ("float32", "bfloat16"))
    return [
        "MFU: operations of products that a step asks for, over its time, the devices and what one does at most, "
        f"{rates} ({peak['source']}); useful: what of them is not padding; input: time to fetch a batch, over a step's"
    ]


def _said(lengths: Mapping[str, int]) -> str:
    """How long posts are; empty of those without words."""
    named = {"tokens": "words", WORDPIECES: "WordPieces"}
    return "".join(f" of at most {lengths[name]} {what}" for name, what in named.items() if name in lengths)
