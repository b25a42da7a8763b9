"""SIGKILL at random moments: the same command, given again, ends with the same bytes as one left in peace.

    python tests/faults/kills.py --moments 50 --seed 0
    python tests/faults/kills.py --only train sweep --moments 10

Real commands are killed at moments drawn uniformly from their undisturbed duration; some as soon as a checkpoint, or
a folder, is being written; some are killed again as they go on. What is compared is every byte that must be the same:
states, metrics without their times, columns, records, documents. It prints a row a command, and exits with 1 where
anything differed.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests import toy  # noqa: E402

JAXTAG, PREP = (sys.executable, "-m", "jaxtag.cli"), (sys.executable, "-m", "jaxtag_prep.cli")
# A step a dispatch, whatever the machine's speed: else the log's lines would differ.
STEPS = ("--training.dispatch_seconds=1e-9", "--training.patience=0", "--training.checkpoint_steps=4")
POSTS, LIMIT = 300, 300.0
AGAIN = 0.4  # share of kills that are followed by another
ENDINGS = ("--evaluation.batch=64", "--training.batch=32")


@dataclass(frozen=True)
class Work:
    """A command to kill.

    Attributes:
      name: in the table.
      command: of the folder that it writes.
      read: what must be the same, of that folder: names to bytes or values.
      saving: patterns below that folder that are there while it saves; the aimed kills wait for one.
      before: what is in the folder before, made once.
      saves: how often it saves at least; an aimed kill comes at one of them.
    """

    name: str
    command: Callable[[Path], list[str]]
    read: Callable[[Path], dict[str, Any]]
    saving: tuple[str, ...]
    before: Path | None = None
    saves: int = 6


@dataclass
class Found:
    """What became of a work's kills."""

    seconds: float = 0.0
    kills: int = 0
    aimed: int = 0
    again: int = 0
    saving: int = 0
    ended: int = 0
    differ: list[str] = field(default_factory=list)


def works(folder: Path, posts: int = POSTS) -> dict[str, Work]:
    """The commands, by name; what they need is made in `folder` when it is asked for."""
    data = folder / "data"
    if not data.is_dir():
        toy.make(data, posts)

    def train(recipe: str, *more: str) -> Callable[[Path], list[str]]:
        given = ("--size", "tiny", "--data", str(data), *STEPS, *ENDINGS, *more)
        return lambda out: [*JAXTAG, "train", recipe, *given, "--run", str(out)]

    def sweep(out: Path) -> list[str]:
        grid = ("--grid", "training.learning_rate=1e-3,1e-2", "--training.steps=24", "--training.evaluate_every=8")
        return [*JAXTAG, "sweep", "zsl/ann", "--size", "tiny", "--data", str(data), *STEPS, *ENDINGS, *grid,
                "--run", str(out)]  # fmt: skip

    prepared = ("--posts", "2000", "--min-hashtag-posts", "5", "--workers", "1")
    saves = ("checkpoints/*.orbax-checkpoint-tmp", "checkpoints/old", "checkpoints/*.partial", "*.partial")
    found = (
        Work("train", train("zsl/cnn", "--training.steps=40", "--training.evaluate_every=10"), read_run, saves),
        Work("gibbs", train("hmemn2n/topical_translation", "--training.steps=30", "--training.evaluate_every=10"),
             read_run, saves),
        Work("sweep", sweep, read_search, ("population-*/*/*.orbax-checkpoint-tmp", "*/*/checkpoints/*tmp")),
        Work("prepare", lambda out: [*PREP, "simulate", "--out", str(out), *prepared], read_tree, ("*.partial",)),
        Work("pack", lambda out: [*PREP, "pack", "--data", str(out)], read_tree, ("*.partial", "*.old"),
             folder / "packed", 3),
    )  # fmt: skip
    return {work.name: work for work in found}


def start(work: Work, out: Path) -> None:
    """Put what a work starts from at `out`."""
    if work.before is None:
        return
    if not work.before.is_dir():
        make = [*PREP, "simulate", "--out", str(work.before), "--posts", "2000", "--min-hashtag-posts", "5"]
        finish([*make, "--workers", "1"])
    shutil.copytree(work.before, out)


def finish(command: list[str]) -> None:
    """Run a command to its end.

    Raises:
      AssertionError: it did not end well; what it said is in the message.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=LIMIT)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr[-2000:]}"


def environment() -> dict[str, str]:
    """As a user has it: one device, whatever the tests have."""
    return {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}


def killed(command: list[str], out: Path, moment: float, patterns: tuple[str, ...] = (), nth: int = 1) -> str:
    """Start a command and kill it `moment` seconds later; or at once when it is saving for the `nth` time.

    Returns:
      `ended`, `saving` or `killed`: whether it was too late, and else whether it was saving.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    begun, times, before = time.monotonic(), 0, False
    try:
        while process.poll() is None:
            passed = time.monotonic() - begun
            if passed > LIMIT:
                raise AssertionError(f"{command} took longer than {LIMIT} seconds")
            if patterns:
                saves = saving(out, patterns)
                times, before = times + (saves and not before), saves
                if times == nth:
                    break
            elif passed >= moment:
                break
            time.sleep(0.0005 if patterns else max(0.0, min(0.01, moment - passed)))
        process.kill()
        saves = saving(out, ("**/*.orbax-checkpoint-tmp", "*.partial", "*.old", "**/old"))
        return "ended" if process.wait() != -9 else "saving" if saves else "killed"
    finally:
        process.kill()
        process.wait()


def saving(out: Path, patterns: tuple[str, ...]) -> bool:
    """Whether something that is being written is there."""
    try:
        return any(True for pattern in patterns for _ in out.glob(pattern))
    except OSError:  # it went away meanwhile
        return True


def attempt(
    work: Work, rng: random.Random, duration: float, aimed: bool, folder: Path, found: Found, often: float = AGAIN
) -> dict[str, Any]:
    """Kill a command once, or as `often` again, let it finish, and read what it left."""
    start(work, folder)
    for again in (False, True):
        moment, nth = rng.uniform(0, duration), rng.randint(1, work.saves)
        how = killed(work.command(folder), folder, moment, work.saving if aimed else (), nth)
        found.saving, found.ended = found.saving + (how == "saving"), found.ended + (how == "ended")
        found.again += again
        say(f"{work.name}: {f'at save {nth}' if aimed else f'at {moment:.2f} s'}{', again' if again else ''}: {how}")
        if rng.random() >= often:
            break
    finish(work.command(folder))
    return work.read(folder)


def try_all(work: Work, moments: int, rng: random.Random, folder: Path, whole: Path) -> Found:
    """Kill a work at so many moments, every third one while it saves; `whole` is where it is left in peace."""
    found = Found(in_peace(work, whole))
    expected = work.read(whole)
    for number in range(moments):
        out, aimed = folder / f"{work.name}-{number}", number % 3 == 2
        found.kills, found.aimed = found.kills + 1, found.aimed + aimed
        if wrong := differences(expected, attempt(work, rng, found.seconds, aimed, out, found)):
            found.differ.append(f"{out}: {', '.join(wrong)}")
        else:
            shutil.rmtree(out)
    return found


def in_peace(work: Work, whole: Path) -> float:
    """Run a command undisturbed in the folder `whole`, unless it was; how many seconds it takes."""
    kept = whole.with_name(f"{whole.name}.seconds")
    if not kept.exists():
        start(work, whole)
        begun = time.monotonic()
        finish(work.command(whole))
        kept.write_text(str(time.monotonic() - begun))
    return float(kept.read_text())


def differences(expected: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """Names of what is not the same."""
    return [name for name in {**expected, **got} if expected.get(name) != got.get(name)]


def read_tree(folder: Path) -> dict[str, Any]:
    """Every file below a dataset folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_run(run: Path) -> dict[str, Any]:
    """States, memory and log of a run, but for their times."""
    from jaxtag.training.checkpoints import Checkpoints

    lines = (run / "metrics.jsonl").read_text().splitlines()
    found: dict[str, Any] = {
        "metrics.jsonl": [timeless(json.loads(line)) for line in lines],
        "experiment.json": json.loads((run / "experiment.json").read_text()),
        "names": sorted(p.name for p in run.iterdir()),
        "checkpoints": sorted(p.name for p in (run / "checkpoints").iterdir()),
    }
    checkpoints = Checkpoints(run / "checkpoints", reading=True)
    for step in sorted(int(name) for name in found["checkpoints"] if name.isdigit()):
        state, memory = checkpoints.restore(step, None)
        found |= {f"step {step} {name}": value for name, value in leaves(state)}
        found[f"step {step} memory"] = timeless(memory)
    checkpoints.close()
    return found


def read_search(folder: Path) -> dict[str, Any]:
    """A sweep's table, and its runs."""
    text = (folder / "sweep.json").read_text().replace(str(folder), "RUN")
    found: dict[str, Any] = {"sweep.json": timeless(json.loads(text))}
    found["names"] = sorted(p.name for p in folder.iterdir())
    for run in sorted(path.parent for path in folder.rglob("experiment.json")):
        found |= {f"{run.relative_to(folder)} {name}": value for name, value in read_run(run).items()}
    return found


def leaves(state: Any) -> Iterator[tuple[str, str]]:
    """Each array of a state, by name: its type, shape and bytes."""
    import jax
    import numpy as np

    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        array = np.asarray(leaf)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        yield jax.tree_util.keystr(path), f"{array.dtype}{array.shape}{digest}"


def timeless(value: Any) -> Any:
    """A document without what the clock says."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not re.search("second|time", k)}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def say(line: str) -> None:
    """One line, at once."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Kill every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=50, help="in all, over the commands (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of these commands alone")
    parser.add_argument("--folder", type=Path, help="where to work; what differed is left there (a temporary one)")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    every = works(folder)
    chosen = [every[name] for name in args.only or every]
    wrong = False
    print(f"seed {args.seed}, {args.moments} moments\n")
    print("| command | seconds | killed | while saving | killed again | came too late | bit-identical |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for place, work in enumerate(chosen):
        moments = args.moments // len(chosen) + (place < args.moments % len(chosen))
        f = try_all(work, moments, random.Random(f"{args.seed} {work.name}"), folder, folder / f"{work.name}-whole")
        same = f"{f.kills - len(f.differ)} of {f.kills}"
        cells = (work.name, f"{f.seconds:.1f}", f.kills, f.saving, f.again, f.ended, same)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        wrong |= bool(f.differ)
        for line in f.differ:
            say(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
