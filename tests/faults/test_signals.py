"""SIGTERM, at any moment, loses no step and leaves nothing half made: exit code 75, and the same command goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jaxtag_prep import build as prep_build
from jaxtag_prep import records
from jaxtag_prep.cli import main as prep

from jaxtag.evaluation.evaluate import Evaluator
from jaxtag.search.places import Places
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.learners import BySteps
from jaxtag.training.loop import Trainer
from tests import toy
from tests.faults.kills import ROOT, read_run, read_search, read_tree, timeless
from tests.toy_command import call

pytestmark = pytest.mark.usefixtures("one_device")

OPTIONS = ("--size", "tiny", "--training.batch=32", "--evaluation.batch=64", "--training.evaluate_every=4",
           "--training.dispatch_seconds=1e-9", "--training.patience=0", "--training.steps=10")  # fmt: skip
FOLDS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("signals") / "data", FOLDS, 160)


def train(data: Path, run: Path) -> int:
    return call("train", "zsl/ann", *OPTIONS, "--split", "default", "--data", data, "--run", run)


@pytest.fixture(scope="module")
def whole(data: Path) -> dict[str, Any]:
    """What a run left in peace leaves."""
    assert train(data, data.parent / "whole") == 0
    return newest_only(read_run(data.parent / "whole"))


def newest_only(found: dict[str, Any]) -> dict[str, Any]:
    """Without checkpoints that there are only where a run was stopped, or not."""
    kept = {k: v for k, v in found.items() if not k.startswith("step ") or k.startswith("step 10 ")}
    return kept | {"checkpoints": []}


def terminated(patch: pytest.MonkeyPatch, where: Any, name: str, nth: int, after: bool = False) -> None:
    """SIGTERM comes as the method is called for the `nth` time, before what it does or after."""
    does, calls = getattr(where, name), iter(range(1, 1000))

    def method(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        if number == nth and not after:
            os.kill(os.getpid(), signal.SIGTERM)
        found = does(*args, **kwargs)
        if number == nth and after:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    patch.setattr(where, name, method)


@pytest.mark.parametrize(
    ("where", "name", "nth", "after"),
    [
        (BySteps, "dispatch", 3, False), (BySteps, "dispatch", 6, True), (Evaluator, "__call__", 1, False),
        (Checkpoints, "save", 1, False), (Checkpoints, "save", 2, True), (Checkpoints, "wait", 2, True),
    ],
)  # fmt: skip
def test_sigterm_loses_no_step(
    data: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], where: Any, name: str, nth: int, after: bool,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        terminated(patch, where, name, nth, after)
        assert train(data, tmp_path / "run") == 75
    err = capsys.readouterr().err
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", reading=True)
    assert checkpoints.newest() == steps[-1]
    assert f"jaxtag: stopped at step {steps[-1]}, saved; the same command goes on from there" in err
    checkpoints.close()
    assert train(data, tmp_path / "run") == 0
    assert newest_only(read_run(tmp_path / "run")) == whole


@pytest.mark.parametrize(("where", "name"), [(Trainer, "_begin"), (Trainer, "_summary"), (Trainer, "close")])
def test_sigterm_before_or_after_the_steps(
    data: Path, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], where: Any, name: str,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        terminated(patch, where, name, 1)
        assert train(data, tmp_path / "run") == 75
    assert "jaxtag: stopped; the same command does what is left\n" in capsys.readouterr().err
    assert train(data, tmp_path / "run") == 0
    assert newest_only(read_run(tmp_path / "run")) == whole


COMPILING = """
import os, signal, sys, threading, zlib
from jaxtag.cli import main
from jaxtag.training.learners import BySteps

def compiling(*_):  # Python hears of no signal before it is done
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    zlib.compress(os.urandom(1 << 20) * 64, 9)
    os._exit(1)

BySteps.dispatch = compiling
main(sys.argv[1:])
"""


def test_sigterm_while_compiling_ends_at_once(data: Path, tmp_path: Path) -> None:
    command = ["train", "zsl/ann", *OPTIONS, "--split", "default", "--data", str(data), "--run", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", COMPILING, *command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 75, done.stderr
    assert done.stderr.endswith("jaxtag: stopped before a step was done; the same command goes on\n")
    assert not list(tmp_path.glob("checkpoints/[0-9]*"))


def test_sigterm_while_cross_validating(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go(run: Path) -> int:
        return call("crossvalidate", "zsl/ann", *OPTIONS, "--data", data, "--folds", FOLDS, "--run", run)

    assert go(tmp_path / "whole") == 0
    for nth in (4, 2):  # while the first fold is evaluated on its test part, and in the next fold's training
        with monkeypatch.context() as patch:
            terminated(patch, Evaluator, "__call__", nth)
            assert go(tmp_path / "stopped") == 75
    assert go(tmp_path / "stopped") == 0
    documents = [
        timeless(json.loads((tmp_path / run / "crossvalidation.json").read_text().replace(str(tmp_path / run), "RUN")))
        for run in ("whole", "stopped")
    ]
    assert documents[0] == documents[1]


@pytest.mark.slow
def test_sigterm_while_sweeping(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go(run: Path) -> int:
        grid = ("--grid", "training.learning_rate=1e-3,1e-2")
        return call("sweep", "zsl/ann", *OPTIONS, *grid, "--split", "default", "--data", data, "--run", run)

    assert go(tmp_path / "whole") == 0
    for where, name, nth in ((Places, "dispatch", 3), (Places, "judge", 1), (Evaluator, "__call__", 1)):
        with monkeypatch.context() as patch:
            terminated(patch, where, name, nth)
            assert go(tmp_path / "stopped") == 75
    assert go(tmp_path / "stopped") == 0
    assert read_search(tmp_path / "stopped") == read_search(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_preparing_that_is_stopped_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def go(out: Path) -> int:
        return prep(["simulate", "--out", str(out), "--posts", "400", "--min-hashtag-posts", "3", "--workers", "1"])

    def stop(does: Callable[..., Any]) -> Callable[..., Any]:
        def stopped(*args: Any) -> Any:
            os.kill(os.getpid(), number)
            return does(*args)

        return stopped

    assert go(tmp_path / "whole") == 0
    out, code = tmp_path / "out", {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
    for where, name, left in (
        (records, "write_metadata", []),
        (prep_build.pack, "_write_text", ["columns", "images", "preparing.json", "records"]),
        (prep_build.splits.audit, "audit", None),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(where, name, stop(getattr(where, name)))
            assert go(out) == code
        said = capsys.readouterr().err
        assert said.endswith("jaxtag-prep: stopped; the same command does what is left\n" if code == 75 else "")
        assert not [p for p in tmp_path.rglob("*") if p.name.endswith((".partial", ".old"))]
        if left is not None:
            assert (sorted(p.name for p in out.iterdir()) if out.exists() else []) == left
    assert go(out) == 0
    assert read_tree(out) == read_tree(tmp_path / "whole")


WORKERS = """
import os, signal, sys, time
from jaxtag.ending import code_of
from jaxtag_prep.workers import ordered

def work(item):
    time.sleep(0.01)
    return os.getpid()

def command():
    for number, pid in enumerate(ordered(work, iter(range(100_000)), 2)):
        if number == 20:
            print(pid, flush=True)

if __name__ == "__main__":
    sys.exit(code_of("jaxtag-prep", command))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_who_started_them(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    worker = int(process.stdout.readline())
    # A launcher signals a whole group; SIGKILL may come to the parent alone.
    (os.killpg if number == signal.SIGTERM else os.kill)(process.pid, number)
    assert process.stdout.read() == ""  # until every process that holds it has ended
    assert process.wait() == (75 if number == signal.SIGTERM else -9)
    assert not Path(f"/proc/{worker}/cmdline").is_file() or Path(f"/proc/{worker}/cmdline").read_bytes() == b""
