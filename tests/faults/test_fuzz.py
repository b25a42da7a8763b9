"""A part of what tests/faults/fuzz.py does: 300 inputs a reader, and those that were findings once."""

import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jaxtag.data import hdf5
from tests.faults import fuzz, made, watching
from tests.faults.targets import Target, table
from tests.faults.watching import Finding

CASES = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text("utf-8").splitlines()]
ROOT = Path(__file__).resolve().parents[2]
INPUTS = 300
SECONDS = 120.0  # of one input: no limit of speed, but a test that hangs says so


@pytest.fixture(params=sorted(table()))
def target(request: pytest.FixtureRequest) -> Target:
    found = table()[request.param]
    if found.missing:
        pytest.skip(f"{found.missing} is not installed")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "in").mkdir()
    with watching.watched(tmp_path, SECONDS):
        yield tmp_path


@pytest.fixture(scope="module")
def copied() -> Iterator[Callable[[Path, int], tuple[int, str]]]:
    """As `made.forked`, in copies of a process that has no threads; those of this one hold locks."""
    program = (
        "import json, sys\nfrom pathlib import Path\nimport h5py\nfrom tests.faults import made\n"
        "for line in sys.stdin: print(json.dumps(made.forked(Path(json.loads(line)), 0)), flush=True)"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdin and process.stdout
        asked, told = process.stdin, process.stdout

        def tried(path: Path, _: int) -> tuple[int, str]:
            print(json.dumps(str(path)), file=asked, flush=True)
            code, said = json.loads(told.readline())
            return code, said

        yield tried
        asked.close()


def test_spoilt_inputs_are_read_or_refused(
    target: Target, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    inputs = INPUTS // 20 if target.starts else INPUTS  # where each has a process
    monkeypatch.setattr(made, "forked", hdf5.tried)
    monkeypatch.setattr(hdf5, "SECONDS", 2)
    seeds, read = target.make(folder)
    watching.warm(read, seeds)
    tally = fuzz.Tally(target.name)
    assert [watching.attempt(target, read, data) for data in seeds].count(True) >= 1
    if target.starts:  # from here on without starting Python each time
        monkeypatch.setattr(made, "forked", request.getfixturevalue("copied"))
    for case in (case for case in CASES if case["reader"] == target.name):
        tally.add(watching.attempt(target, read, zlib.decompress(base64.b85decode(case["input"]))))
    few = inputs // 10
    for data in fuzz.at_random(target, seeds, 0, 0, inputs - few):
        tally.add(watching.attempt(target, read, data))
    fuzz.by_hypothesis(target, seeds, 0, few, lambda data: tally.add(watching.attempt(target, read, data)))
    assert tally.inputs >= inputs and not list(tally.findings.values())
    assert tally.used and tally.refused


def test_every_case_is_of_a_reader() -> None:
    assert {case["reader"] for case in CASES} <= set(table()) and all(case["was"] for case in CASES)


def _bad(kind: str, folder: Path) -> bool:
    outside = folder.parent / "elsewhere.txt"
    if kind == "slow":
        while True:
            pass
    if kind == "outside":
        outside.write_text("x")
    if kind == "large":
        bytearray(600 << 20)
    if kind == "started":
        subprocess.run(["true"])
    return {}["absent"] if kind == "wrong" else True


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("slow", "Hang"),
        ("outside", "Outside: wrote"),
        ("large", "Memory"),
        ("started", "Outside: started"),
        ("wrong", "KeyError"),
    ],
)
def test_what_none_may_do_is_found(kind: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with watching.watched(tmp_path / "in", 0.2 if kind == "slow" else SECONDS):
        target = Target("made", "bytes", 1, lambda folder: ([], bool))
        found = watching.attempt(target, lambda data: _bad(data.decode(), tmp_path), kind.encode())
    assert isinstance(found, Finding) and found.what.startswith(said)


def test_inputs_depend_on_the_seed_alone() -> None:
    target = table()["twitter"]
    seeds = [b'{"text": "a", "user": {"id": 3}}']
    first, again = (list(fuzz.at_random(target, seeds, 1, 0, 40)) for _ in range(2))
    assert first == again and first[20:] == list(fuzz.at_random(target, seeds, 1, 20, 20))
    assert len(set(first)) > 30 and first != list(fuzz.at_random(target, seeds, 2, 0, 40))


def test_the_script_prints_a_table(tmp_path: Path) -> None:
    command = [sys.executable, fuzz.__file__, "--reader", "cities", "--engine", "random", "--inputs", "40"]
    done = subprocess.run(
        [*command, "--findings", str(tmp_path / "f")],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [row[:2] for row in rows] == [
        ["reader", "inputs"],
        ["cities", "40"],
        ["all", "40"],
    ], done
    assert rows[1][-1] == "0" and not (tmp_path / "f").exists()
