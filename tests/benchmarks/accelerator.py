"""Everything that is measured on an accelerator, in one call; nothing that fails keeps the rest from being measured.

    python tests/benchmarks/accelerator.py --out OUT                      # all, at the papers' sizes
    python tests/benchmarks/accelerator.py --out OUT --minutes 9          # what there is time for, the most asked first
    python tests/benchmarks/accelerator.py --out OUT --parts lxmert population
    python tests/benchmarks/accelerator.py --out OUT --size tiny --rounds 1 --seconds 0.2     # a minute or two a CPU

It needs a checkout, jax, flax, optax, orbax-checkpoint, numpy and tqdm; jaxtag itself need not be installed. With
PyTorch, steps are measured in turn with their twins, `torch.compile` tried as well; without, alone. A part is a process
of its own with a limit of time. OUT/report.md has the tables, OUT/report.json all of it, OUT/PART.log what was said.
`--parts` takes the beginnings of parts' names; a second call goes on: what is done in OUT is not measured again.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests" / "benchmarks"
FIRST = ["hmemn2n/hmemn2n", "zsl/transformer", "zsl/rnn_attention", "zsl/cnn"]  # of the systems, the most asked for
LXMERT, HISTORY = "lxmert4hashtag/lxmert", "hmemn2n/hmemn2n"
READ = ("text", "history", "image vector", "image grid", "regions", "topics")  # kinds of tests/benchmarks/reading.py
MANY = 256  # posts a batch that fill a GPU


@dataclass(frozen=True)
class Part:
    """A measurement: a command that prints JSON, alone or as its last line.

    Attributes:
      name: of its files.
      command: behind Python's own name.
      minutes: it may take.
      otherwise: what is run when it fails, such as the same without PyTorch.
    """

    name: str
    command: Sequence[str]
    minutes: float = 4.0
    otherwise: Sequence[str] = ()


def parts(args: argparse.Namespace, recipes: Sequence[str]) -> list[Part]:
    """All there is to measure, the most asked for first."""
    blocks = ["--rounds", str(args.rounds), "--seconds", str(args.seconds)]
    tiny = args.size == "tiny"
    torch = importlib.util.find_spec("torch") is not None and not args.alone

    def step(recipe: str, precision: str, *more: str, name: str = "", against: bool = True) -> Part:
        command = ["-m", "jaxtag.cli", "bench", "step", recipe, "--size", args.size, "--json", "--full", *blocks]
        command += ["--training.precision", precision, *more]
        name = name or f"{recipe.replace('/', '-')}-{precision}"
        if torch and against:
            return Part(name, [*command, "--against", "torch", "--torch-compile"], args.limit, command)
        return Part(name, command, args.limit)

    script = lambda name, *more: [f"{HERE}/{name}.py", *more]  # noqa: E731
    many = ("--training.batch", str(32 if tiny else MANY))
    sizes = ("--hashtags", "2000", "--batch", "64", "--features", "64") if tiny else ()
    ordered = [*(r for r in FIRST if r in recipes), *(r for r in recipes if r not in (*FIRST, LXMERT))]
    lxmert = [
        step(LXMERT, "bfloat16", *many, name="lxmert-bfloat16-many"),
        step(LXMERT, "bfloat16", name="lxmert-bfloat16"),
        step(LXMERT, "float32", name="lxmert-float32", against=False),
    ]
    return [
        Part("machine", ["-c", "import json; from jaxtag.plan.peaks import peak; print(json.dumps(peak()))"]),
        lxmert[0],
        step(HISTORY, "float32", name="hmemn2n-float32-bandwidth"),
        Part("population", script("population", "--members", "4" if tiny else "32", *blocks), args.limit),
        Part("softmax", script("softmax", "--rounds", str(args.rounds), *sizes), args.limit),
        *(
            Part(f"reading-{kind.replace(' ', '-')}", script("reading", "--kinds", kind, "--size", args.size, *blocks))
            for kind in READ
        ),
        *(step(recipe, "bfloat16") for recipe in ordered),
        *lxmert[1:],
        *(step(recipe, "float32", against=False) for recipe in ordered),
    ]


def environment(out: Path) -> dict[str, str]:
    """The variables of a part's process: where jaxtag is, and its recipes, if it is not installed."""
    known = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    asked = [sys.executable, "-c", "import jaxtag.configs"]
    if subprocess.run(asked, env=known, capture_output=True, cwd=out).returncode == 0:
        return known
    package = out / "installed" / "jaxtag"
    package.mkdir(parents=True, exist_ok=True)
    for child in [*(ROOT / "jaxtag").iterdir(), ROOT / "configs"]:
        if child.name != "__pycache__" and not (package / child.name).exists():
            (package / child.name).symlink_to(child)
    info = out / "installed" / "jaxtag-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jaxtag\nVersion: 0\n", encoding="utf-8")
    return known | {"PYTHONPATH": os.pathsep.join([str(package.parent), known["PYTHONPATH"]])}


def ran(command: Sequence[str], seconds: float, variables: dict[str, str], log: Path) -> tuple[Any, str]:
    """What a command printed as JSON, and an empty text; or nothing, and what went wrong."""
    with open(log, "a", encoding="utf-8") as errors:
        print(" ".join(command), file=errors, flush=True)
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=errors, env=variables, cwd=log.parent, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            said = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # with the processes that it started
            process.communicate()
            return None, f"it took more than {seconds:.0f} s"
        errors.write(said)
    if process.returncode:
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        return None, lines[-1] if lines else f"exit code {process.returncode}"
    try:
        return json.loads(said.strip().splitlines()[-1]), ""
    except (ValueError, IndexError) as error:
        return None, f"it printed no JSON: {error}"


def measured(part: Part, left: float, variables: dict[str, str], out: Path) -> dict[str, Any]:
    """A part's `status`, `seconds`, and what was `found`; or `why` not."""
    started = time.perf_counter()
    log = out / f"{part.name}.log"
    log.unlink(missing_ok=True)
    found, why = ran(part.command, min(left, 60 * part.minutes), variables, log)
    kept = left - (time.perf_counter() - started)
    if why and part.otherwise and kept > 30:
        found, again = ran(part.otherwise, min(kept, 60 * part.minutes), variables, log)
        why = again if again else f"alone: {why}"
    row = {"status": "done" if found is not None else "failed", "seconds": round(time.perf_counter() - started, 1)}
    return row | ({"why": why} if why else {}) | ({} if found is None else {"found": found})


def bytes_of_history(size: str) -> dict[str, float]:
    """Bytes that a step of hmemn2n/hmemn2n has to move, in float32, of a batch at its longest.

    With A words of the posts and N of their histories, H hops, width d, and U distinct words of the batch by table:

        4 d (A + 2 N)       rows of the three tables are read,
        4 d (2 N)           and those of the history written side by side;
        4 d (2 N) H         each hop reads keys and values,
        4 d (4 N) H         and backwards reads them again and adds to the gradient of each;
        4 d (A + 2 N)       gradients of rows are read, to be summed by word;
        4 d (5 U)           the sum is written, and of each word parameter and accumulator are read and written;
        4 (6 P)             of other parameters, P of them: read twice, a gradient, and as for rows.
    """
    import numpy as np

    from jaxtag.bench import posts, step
    from jaxtag.data import order
    from jaxtag.recipes import resolve

    experiment, hashtags = resolve(HISTORY, size), step.HASHTAGS[HISTORY.split("/")[0]]
    made = posts.made_up(experiment, 60_000, hashtags, full=True)
    training, d, hops = experiment.training, experiment.model.embedding, experiment.model.hops
    batch = made.reading.gather(order.rows_of_step_on_host(made.rows, training.seed, 0, training.batch))
    own, past = (batch[name][batch[name] != 0] for name in ("tokens", "history"))
    distinct = len(np.unique(own)) + 2 * len(np.unique(past))
    others = 2 * d * d + d + 2 * d * d + d + d * hashtags
    rows = 2 * (len(own) + 2 * len(past)) + 2 * len(past) + 6 * hops * len(past) + 5 * distinct
    return {"bytes": 4 * (d * rows + 6 * others), "words": len(own), "earlier_words": len(past), "distinct": distinct}


def asked(done: dict[str, Any], size: str) -> list[dict[str, Any]]:
    """The numbers that were asked for, and what was found."""
    rows: list[dict[str, Any]] = []

    def add(what: str, value: float, limit: float, most: bool) -> None:
        within = value <= limit if most else value >= limit
        rows.append(
            {"what": what, "found": f"{value:.3f}", "asked": f"{'≤' if most else '≥'} {limit:g}", "met": within}
        )

    ours = lambda name: done[name]["recipes"][0]["sides"]["jaxtag"]  # noqa: E731
    if "lxmert-bfloat16-many" in done:
        add(
            "lxmert, bfloat16, full length: model FLOP utilisation",
            ours("lxmert-bfloat16-many")["shares"]["mfu"],
            0.45,
            False,
        )
    if "hmemn2n-float32-bandwidth" in done:
        side = ours("hmemn2n-float32-bandwidth")
        try:
            bytes_a_step = bytes_of_history(size)["bytes"]
            share = bytes_a_step / (side["step_ms"] / 1e3) / side["peak"]["taken"]["bandwidth"]
            add("hmemn2n: share of the memory's bandwidth, of the bytes it has to move", share, 0.6, False)
        except Exception as error:  # noqa: BLE001 (the rest of the report is worth more)
            rows.append({"what": "hmemn2n: share of the memory's bandwidth", "found": str(error), "asked": "≥ 0.6"})
    for row in done.get("population", []):
        add(f"population of {row['members']}, {row['recipe']}: times of one run", row["ratio"], 3, True)
    if "softmax" in done:
        add("softmax of many hashtags in blocks: time", done["softmax"]["ratio"], 1.1, True)
        add("softmax of many hashtags in blocks: memory", done["softmax"]["memory_ratio"], 1 / 6, True)
    read = {kind: row for name in done if name.startswith("reading-") for kind, row in done[name].items()}
    for kind, row in read.items():
        for way, limit in (("resident", 1.05), ("streamed", 1.15)):
            add(f"reading {kind}, {way} (or 100 µs: {row[f'{way}_us']:.0f})", row[f"{way}_ratio"], limit, True)
            rows[-1]["met"] = row[f"{way}_within"]
    return rows


def steps(done: dict[str, Any]) -> list[dict[str, Any]]:
    """A line of each step and side."""
    rows = []
    for name, found in done.items():
        for recipe in found.get("recipes", []) if isinstance(found, dict) else []:
            for side in recipe["sides"].values():
                share = {k: "–" if v is None else f"{v:.1%}" for k, v in side.get("shares", {}).items()}
                rows.append({
                    "part": name, "side": side["version"] + (f", {side['form']}" if "form" in side else ""),
                    "posts": recipe["batch"], "step ms": f"{side['step_ms']:.3f}",
                    "posts/s": f"{side['posts_per_second']:,.0f}", "MFU": share.get("mfu"),
                    "useful": share.get("useful"), "input": share.get("input"), "bandwidth": share.get("bandwidth"),
                    "memory MiB": f"{side.get('memory_mib', 0):,.0f}", "compile s": side.get("compile_seconds"),
                    "from disk s": side.get("kept_seconds"),
                    "ratio": f"{recipe['ratio']:.2f}" if "ratio" in recipe and "shares" in side else None,
                })  # fmt: skip
    return rows


def report(results: dict[str, Any], args: argparse.Namespace) -> str:
    """All tables, in Markdown."""
    from jaxtag.report.tables import markdown

    done = {name: row["found"] for name, row in results.items() if "found" in row}
    lines = ["# On this device", "", json.dumps(done.get("machine", {})), ""]
    for title, rows in (("Asked for", asked(done, args.size)), ("Steps", steps(done))):
        if rows:
            lines += [f"## {title}", "", markdown(rows, list(dict.fromkeys(k for r in rows for k in r))), ""]
    states = [
        {"part": name, "status": row["status"], "seconds": row.get("seconds"), "why": row.get("why", "")[:160]}
        for name, row in results.items()
    ]
    return "\n".join([*lines, "## Parts", "", markdown(states, list(states[0])), ""])


def main() -> None:
    """Measure part by part, and write the report after each."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, metavar="DIR")
    p.add_argument("--parts", nargs="*", default=[], metavar="NAME", help="beginnings of names; all if none")
    p.add_argument("--list", action="store_true", help="print the parts' names, and measure nothing")
    p.add_argument(
        "--minutes", type=float, default=0.0, help="begin no part after so many, and end then; 0 is no limit"
    )
    p.add_argument("--limit", type=float, default=4.0, help="minutes that a part may take (4)")
    p.add_argument("--size", default="paper", choices=("paper", "tiny"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--alone", action="store_true", help="leave PyTorch out")
    args = p.parse_args()
    began, args.out = time.perf_counter(), args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    variables = environment(args.out)
    sys.path[:0] = variables["PYTHONPATH"].split(os.pathsep)
    from jaxtag.recipes import recipes
    from jaxtag.systems import find

    trained = [name for name, recipe in recipes().items() if find(recipe("tiny").system).learned == "steps"]
    chosen = [x for x in parts(args, trained) if not args.parts or x.name.startswith(tuple(args.parts))]
    if args.list:
        print("\n".join(part.name for part in chosen))
        return
    file = args.out / "report.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["parts"] if file.is_file() else {}
    for part in chosen:
        left = 60 * args.minutes - (time.perf_counter() - began) if args.minutes else float("inf")
        if results.get(part.name, {}).get("status") == "done":
            continue
        if left < 20:
            results[part.name] = {"status": "out of time"}
        else:
            results[part.name] = measured(part, left, variables, args.out)
        print(f"{part.name}: {results[part.name]['status']} {results[part.name].get('why', '')}", file=sys.stderr)
        file.write_text(json.dumps({"parts": results}, indent=1), encoding="utf-8")
        (args.out / "report.md").write_text(report(results, args), encoding="utf-8")
    print(report(results, args))


if __name__ == "__main__":
    main()
