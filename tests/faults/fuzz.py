"""Reads thousands of spoilt inputs with every reader: python tests/faults/fuzz.py --minutes 60

An input may be used or refused in one line. It is a finding when it raises anything else, takes more than 5 seconds of
a processor or 256 MiB, opens a file outside its folder, or has anything unpickled or started; a finding is saved with
what it did. Inputs are made by three engines in turn, all from --seed: `random` and `hypothesis` change inputs that are
right, and `atheris` (pip install 'jaxtag[fuzz]') goes where new lines of a reader are reached. Each reader has a
process of its own; one that dies is a finding, and another goes on behind it.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("KERAS_BACKEND", "jax")

from tests.faults import mutations, watching  # noqa: E402 (once the path is set)
from tests.faults.targets import Target, table  # noqa: E402
from tests.faults.watching import Finding  # noqa: E402

ENGINES = {"random": 3, "hypothesis": 1, "atheris": 1}  # inputs, to each other
MOST_DEAD = 10  # processes of a reader after which it is given up
SILENT = 300  # seconds of processor time, for 50 inputs, after which one that does not come back is ended

HELD = "/dev/shm" if Path("/dev/shm").is_dir() else None  # files in memory: disks take longer than most readers


@dataclass
class Tally:
    """What became of a reader's inputs.

    Attributes:
      reader: its name.
      inputs, used, refused: how many.
      seconds: that it took.
      findings: by `Finding.key`, the first of each.
    """

    reader: str
    inputs: int = 0
    used: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: dict[Any, Finding] = field(default_factory=dict)

    def add(self, result: bool | Finding) -> None:
        """Count an input."""
        self.inputs += 1
        if isinstance(result, Finding):
            known = self.findings.get(result.key)
            if known is None or len(result.data) < len(known.data):
                self.findings[result.key] = result
        elif result:
            self.used += 1
        else:
            self.refused += 1

    def join(self, other: "Tally") -> None:
        """Add what `other` counted."""
        for key in ("inputs", "used", "refused", "seconds"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.findings |= other.findings


def at_random(target: Target, seeds: list[bytes], seed: int, first: int, count: int) -> Iterator[bytes]:
    """Inputs number `first` and on: the seeds themselves, then changed ones."""
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {target.name} {number}")
        changed = mutations.apply(target.form, rng.choice(seeds), mutations.drawn(rng))
        yield seeds[number] if number < len(seeds) else changed


def by_hypothesis(target: Target, seeds: list[bytes], seed: int, count: int, each: Callable[[bytes], None]) -> None:
    """Give `each` so many inputs that hypothesis draws: of each list of edits the first, and all, on every seed.

    Drawing takes longer than most readers.
    """
    import hypothesis

    left = iter(range(count))

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=max(1, -(-count // (2 * len(seeds)))),
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(mutations.EDITS)
    def run(edits: list[mutations.Edit]) -> None:
        for data in seeds:
            for chosen in (edits[:1], edits):
                if next(left, None) is not None:
                    each(mutations.apply(target.form, data, chosen))

    run()


def by_atheris(
    target: Target, seeds: list[bytes], seed: int, count: int, each: Callable[[bytes], None], folder: Path
) -> None:
    """Give `each` so many inputs that reach new lines of the code that was instrumented; ends the process."""
    import atheris

    (folder / "corpus").mkdir(exist_ok=True)
    for number, data in enumerate(seeds):
        (folder / "corpus" / f"{number}").write_bytes(data)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(f"{seed} {number}")
        if rng.random() < 0.5:
            return atheris.Mutate(data, most)
        return mutations.apply(target.form, data or rng.choice(seeds), mutations.drawn(rng))[:most]

    options = [f"-runs={count}", f"-seed={seed + 1}", f"-max_len={mutations.MOST}", "-rss_limit_mb=0", "-verbosity=0"]
    os.dup2(os.open(folder / "libfuzzer.log", os.O_CREAT | os.O_WRONLY), 2)
    atheris.Setup(["fuzz", *options, str(folder / "corpus")], each, custom_mutator=mutate)
    atheris.Fuzz()


def work(name: str, engine: str, count: int, seed: int, first: int, folder: Path) -> None:
    """Read inputs in this process; `folder` is given input.bin, the current one, and tally.json.

    Of the engines, `random` can begin at the `first`; the others begin again with another seed.
    """
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["jaxtag", "jaxtag_prep"], enable_loader_override=False):
            target = table()[name]
    else:
        target = table()[name]
    with watching.watched(folder):
        seeds, read = target.make(folder)
        current, tally, start = open(folder / "input.bin", "wb", buffering=0), Tally(name), time.monotonic()  # noqa: SIM115
        watching.warm(read, seeds)
        watching.limit_addresses()

        def each(data: bytes) -> None:
            os.ftruncate(current.fileno(), 0)
            os.pwrite(current.fileno(), data, 0)
            if tally.inputs % 50 == 0:
                watching.arm(SILENT)
            tally.add(watching.attempt(target, read, data))
            new = len(tally.findings) != len(known)
            known.update(tally.findings)
            if new or tally.inputs >= count or tally.inputs % 200 == 0:
                tally.seconds = time.monotonic() - start
                _write(folder / "tally.json", tally)

        known: dict[Any, Finding] = {}
        watching.arm(SILENT)
        for data in seeds:
            result = watching.attempt(target, read, data)
            if isinstance(result, Finding):
                tally.findings[result.key] = result
        if engine == "random":
            for data in at_random(target, seeds, seed, first, count):
                each(data)
        elif engine == "hypothesis":
            by_hypothesis(target, seeds, seed + first, count, each)
        else:
            by_atheris(target, seeds, seed + first, count, each, folder)
        tally.seconds = time.monotonic() - start
        _write(folder / "tally.json", tally)


def _write(path: Path, tally: Tally) -> None:
    value = {key: getattr(tally, key) for key in ("inputs", "used", "refused", "seconds")}
    value["findings"] = [{**vars(f), "data": f.data.hex()} for f in tally.findings.values()]
    path.write_text(json.dumps(value))


def run(target: Target, engine: str, count: int, seed: int, until: float) -> Tally:
    """Read `count` inputs of an engine in processes of their own, until all are read or it is `until`."""
    total, dead, own = Tally(target.name), 0, os.environ | {"PYTHONHASHSEED": "0"}
    while total.inputs < count and time.monotonic() < until and dead < MOST_DEAD:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=HELD) as made:
            folder = Path(made)
            (folder / "in").mkdir()
            left = {"inputs": count - total.inputs, "seed": seed, "first": total.inputs, "work": made}
            command = [sys.executable, __file__, "--reader", target.name, "--engine", engine]
            command += [part for key, value in left.items() for part in (f"--{key}", str(value))]
            start = time.monotonic()
            try:
                done = subprocess.run(command, stderr=subprocess.PIPE, timeout=max(1.0, until - start), env=own)
                code, said = done.returncode, done.stderr.decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                code, said = 0, ""
            before = total.inputs
            if (folder / "tally.json").is_file():
                found = json.loads((folder / "tally.json").read_text())
                for key in ("inputs", "used", "refused"):
                    setattr(total, key, getattr(total, key) + found[key])
                for one in found["findings"]:
                    finding = Finding(**one | {"data": bytes.fromhex(one["data"])})
                    total.findings.setdefault(finding.key, finding)
            total.seconds += time.monotonic() - start
            if code:
                dead += 1
                lines = [line for line in said.split("\n") if line.strip()]
                data = (folder / "input.bin").read_bytes() if (folder / "input.bin").is_file() else b""
                finding = Finding(target.name, f"Died: exit code {code}: {' | '.join(lines[-4:])[:300]}", "", data)
                total.findings.setdefault((*finding.key, len(total.findings)), finding)
                total.inputs += 1
            elif total.inputs == before:
                break
    return total


def read(target: Target, counts: dict[str, int], seed: int, until: float) -> Tally:
    """Read so many inputs of each engine."""
    total = Tally(target.name)
    for engine, count in counts.items():
        total.join(run(target, engine, count, seed, until))
    return total


def shares(engine: str, count: int) -> dict[str, int]:
    """How many of `count` inputs each engine makes; of `all`, by `ENGINES` those that are installed."""
    engines = [engine] if engine != "all" else [name for name in ENGINES if find_spec(name) or name == "random"]
    weights = sum(ENGINES[name] for name in engines)
    found = {name: count * ENGINES[name] // weights for name in engines}
    return found | {engines[0]: found[engines[0]] + count - sum(found.values())}


def main(arguments: list[str] | None = None) -> int:
    """Run the readers asked for, print what became of their inputs, and return 1 when there is a finding."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reader", action="append", help="only this one, or those whose names begin so; several times")
    parser.add_argument("--engine", choices=("all", *ENGINES), default="all")
    parser.add_argument("--inputs", type=int, default=0, help="of each; else 20,000 of text, 2,000 of other files")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no more are read")
    parser.add_argument("--jobs", type=int, default=1, help="readers at a time, each with a core of its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for inputs that are findings")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        work(asked.reader[0], asked.engine, asked.inputs, asked.seed, asked.first, asked.work)
        return 0
    until, bad, known = time.monotonic() + 60 * asked.minutes, 0, table()
    chosen = [t for name, t in known.items() if not asked.reader or any(_meant(r, name, known) for r in asked.reader)]
    if not chosen:
        parser.error(f"no reader {', '.join(asked.reader)}; there are {', '.join(known)}")
    print(f"{'reader':24}{'inputs':>9}{'seconds':>9}{'used':>9}{'refused':>9}{'findings':>9}", flush=True)
    whole = Tally("all")
    with ThreadPoolExecutor(asked.jobs) as pool:
        running = {}
        for target in chosen:
            if target.missing:
                print(f"{target.name:24} left out: {target.missing} is not installed", flush=True)
            else:
                count = asked.inputs or target.inputs
                running[pool.submit(read, target, shares(asked.engine, count), asked.seed, until)] = count
        for done in as_completed(running):
            total = done.result()
            whole.join(total)
            print(_row(total), flush=True)
            for finding in total.findings.values():
                asked.findings.mkdir(parents=True, exist_ok=True)
                print(f"    {finding.save(asked.findings)}: {finding.what} at {finding.where}", flush=True)
                bad += 1
            if total.inputs < running[done]:
                print(f"    {running[done] - total.inputs} inputs were not read: time is up", flush=True)
    print(_row(whole))
    return 1 if bad else 0


def _meant(asked: str, name: str, known: Container[str]) -> bool:
    """Whether a reader's `name` is the one asked for or, where none is called that, begins so."""
    return name == asked if asked in known else name.startswith(asked)


def _row(tally: Tally) -> str:
    said = f"{tally.inputs:9,}{tally.seconds:9.1f}{tally.used:9,}{tally.refused:9,}{len(tally.findings):9}"
    return f"{tally.reader:24}{said}"


if __name__ == "__main__":
    sys.exit(main())
