"""What goes wrong with disks and files: one clear line, nothing good overwritten, and the same bytes in the end."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxtag.data.text import Cleaning
from jaxtag.files import read_json, write_json
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.loop import Trainer
from tests import toy
from tests.faults.kills import read_run, read_tree
from tests.toy_command import call

pytestmark = pytest.mark.usefixtures("one_device")

OPTIONS = ("--size", "tiny", "--training.batch=32", "--evaluation.batch=64", "--training.evaluate_every=4",
           "--training.dispatch_seconds=1e-9", "--training.patience=0", "--training.checkpoint_steps=2")  # fmt: skip
STEPS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("faults") / "data", 160)
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    return path


def train(data: Path, run: Path, steps: int = STEPS, *more: str) -> int:
    return call("train", "zsl/ann", *OPTIONS, f"--training.steps={steps}", "--data", data, "--run", run, *more)


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """A run left in peace."""
    assert train(data, data.parent / "whole") == 0
    return data.parent / "whole"


@pytest.fixture
def begun(data: Path, whole: Path, tmp_path: Path) -> Path:
    """The same run after 6 of its steps, with checkpoints of 4 and 6."""
    if not (kept := data.parent / "begun").is_dir():
        stopped_at_6(data, kept)
    return Path(shutil.copytree(kept, tmp_path / "run"))


def stopped_at_6(data: Path, run: Path) -> None:
    launch = Trainer._launch

    def stopping(self: Trainer, steps: int) -> None:
        if self._step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        launch(self, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_launch", stopping)
        assert train(data, run) == 75


def same(run: Path, whole: Path) -> None:
    """The run ended as the one left in peace, but for what was moved aside."""
    found, expected = read_run(run), read_run(whole)
    found["checkpoints"] = [name for name in found["checkpoints"] if "damaged" not in name]
    assert found == expected


def one_line(capsys: pytest.CaptureFixture[str], *said: str) -> str:
    """The one line that the command ended with."""
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith(("jaxtag: ", "jaxtag-prep: "))]
    assert len(lines) == 1 and err.endswith(lines[0] + "\n") and "Traceback" not in err, err
    for part in said:
        assert part in lines[0]
    return lines[0]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "flipped": lambda step: flip(largest(step / "state")),
    "truncated": lambda step: cut(largest(step / "state")),
    "missing": lambda step: largest(step / "state").unlink(),
    "empty": lambda step: shutil.rmtree(step / "state"),
    "memory": lambda step: flip(step / "memory" / "metadata"),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("sealed", [True, False])
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    data: Path, whole: Path, begun: Path, capsys: pytest.CaptureFixture[str], how: str, sealed: bool
) -> None:
    if not sealed and how == "flipped":
        pytest.skip("only a seal tells")
    DAMAGE[how](begun / "checkpoints" / "6")
    damaged = read_tree(begun / "checkpoints" / "6")
    if not sealed:
        (begun / "checkpoints" / "seals.json").unlink()
    assert train(data, begun) == 0
    err = capsys.readouterr().err
    assert err.count("it is kept as 6.damaged, and the checkpoint of step 4 is used") == 1 and "Traceback" not in err
    assert "going on from step 4" in err
    assert read_tree(begun / "checkpoints" / "6.damaged") == damaged
    same(begun, whole)


def test_where_no_checkpoint_is_whole_nothing_is_touched(
    data: Path, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (4, 6):
        flip(largest(begun / "checkpoints" / str(step) / "state"))
    before = read_tree(begun / "checkpoints") | {"log": (begun / "metrics.jsonl").read_text()}
    assert train(data, begun) == 2
    one_line(capsys, "no checkpoint is whole", "/6 is damaged", "is corrupt", "put", "back from a copy, or delete it")
    assert read_tree(begun / "checkpoints") | {"log": (begun / "metrics.jsonl").read_text()} == before


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"6": 3}', b'{"6": {"a": 1}}', b"\xff\xfe", b"[" * 100_000])
def test_damaged_seals_are_done_without(
    data: Path, whole: Path, begun: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (begun / "checkpoints" / "seals.json").write_bytes(content)
    assert train(data, begun) == 0
    assert "seals.json is damaged: the checkpoints beside it are used" in capsys.readouterr().err
    same(begun, whole)


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"[]", b"{}", b'{"format": 1, "recipe": "x"}', b"\xff"])
def test_a_damaged_description_of_a_run(
    data: Path, begun: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (begun / "experiment.json").write_bytes(content)
    before = read_tree(begun)
    report = ("report", begun, "--out", begun / "R")
    for command in (lambda: train(data, begun), lambda: call("evaluate", begun), lambda: call(*report)):
        assert command() == 2
        one_line(capsys, "experiment.json")
    assert {name: found for name, found in read_tree(begun).items() if not name.startswith((".lock", "R/"))} == {
        name: found for name, found in before.items() if name != ".lock"
    }


def test_damaged_lines_of_the_log_are_left_out(data: Path, whole: Path, begun: Path) -> None:
    log = begun / "metrics.jsonl"
    log.write_bytes(b'{"kind": "train"}\n[3]\n\xff\n5\n\n' + log.read_bytes() + b'{"kind": "train", "st')
    assert train(data, begun) == 0
    same(begun, whole)


def test_of_a_damaged_best_checkpoint_another_is_evaluated(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    checkpoints = Checkpoints(run / "checkpoints", reading=True)
    best, newest = checkpoints.best(), checkpoints.newest()
    checkpoints.close()
    assert best is not None
    flip(largest(run / "checkpoints" / str(best) / "state"))
    before = read_tree(run / "checkpoints")
    assert call("evaluate", run) == 0
    err = capsys.readouterr().err
    other = newest if newest != best else sorted(int(p.name) for p in (run / "checkpoints").glob("[0-9]*"))[-2]
    assert f"checkpoints/{best} is damaged" in err and f"the checkpoint of step {other} is read instead" in err
    assert read_tree(run / "checkpoints") == before


def test_who_reads_leaves_a_save_under_way_alone(tmp_path: Path) -> None:
    saving = Checkpoints(tmp_path)
    saving.save(1, {"a": np.arange(3)}, {}, 0.1)
    saving.wait()
    before = read_tree(tmp_path)
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "2.orbax-checkpoint-tmp" / "half").write_text("x")
    reading = Checkpoints(tmp_path, reading=True)
    assert reading.best() == 1
    reading.close()
    assert read_tree(tmp_path).keys() == before.keys() | {"2.orbax-checkpoint-tmp/half"}
    saving.close()


def test_a_checkpoint_is_sealed_before_it_has_its_name(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"a": np.arange(5)}, {}, 0.1)
    checkpoints._manager.wait_until_finished()  # as one that is killed before it looks again
    assert "3" in read_json(tmp_path / "seals.json", "seals")
    flip(largest(tmp_path / "3" / "state"))
    again = Checkpoints(tmp_path)
    with pytest.raises(Exception, match="is corrupt"):
        again.restore(3, {"a": np.zeros(5, int)})
    checkpoints._manager.close()
    again.close()


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a full disk has it: writing past `size` bytes of a file fails. Python leaves SIGXFSZ aside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 1500, 3000, 20_000])  # experiment.json, the log, seals, a state
def test_a_full_disk_while_training(
    data: Path, whole: Path, begun: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    before = read_tree(begun / "checkpoints" / "6")
    with no_file_larger_than(size):
        assert train(data, begun) == 2
    one_line(capsys, "could not be written", "make room on the disk, and give the same command again", str(begun))
    assert read_tree(begun / "checkpoints" / "6") == before
    assert train(data, begun) == 0
    same(begun, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Leave so many bytes free."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "full").write_bytes(bytes(max(0, free - leave)))
    return folder / "full"


@pytest.mark.parametrize("leave", [0, 8192, 60_000])
def test_a_disk_that_fills_up_while_training(
    data: Path, whole: Path, begun: Path, small_disk: Path, capfd: pytest.CaptureFixture[str], leave: int
) -> None:
    run = Path(shutil.copytree(begun, small_disk / "run"))
    full = fill(small_disk, leave)
    assert train(data, run) == 2
    one_line(capfd, "could not be written: the disk is full; make room on the disk", str(run))
    full.unlink()
    assert train(data, run) == 0
    same(run, whole)


def test_a_full_disk_while_evaluating_reporting_and_fitting(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    assert call("evaluate", run) == 0
    before = read_tree(run)
    bayes = ("train", "hmemn2n/naive_bayes", "--size", "tiny", "--data", data, "--run", tmp_path / "bayes")
    commands = [
        ("evaluate", run), ("report", run, "--out", tmp_path / "report"),
        ("data", "export", data, "--part", "test", "--out", tmp_path / "test.jsonl"), bayes,
    ]  # fmt: skip
    for command in commands:
        with no_file_larger_than(700):
            assert call(*command) == 2, command
        one_line(capsys, "could not be written", "make room on the disk")
    assert read_tree(run) == before
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith((".partial", ".old", "test.jsonl", "fitted"))]
    assert [call(*command) for command in commands] == [0, 0, 0, 0]
    capsys.readouterr()
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert call("recommend", run, "wordaa wordab") == 2
        patch.setattr(os, "dup2", lambda *_: None)
    one_line(capsys, "standard output could not be written: the disk is full")


def test_a_read_only_folder(
    data: Path, whole: Path, small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(whole, small_disk / "run"))
    before = read_tree(run)
    remount(small_disk, "ro")
    commands = [("evaluate", run), ("report", run, "--out", small_disk / "report")]
    assert train(data, run, STEPS + 2) == 2
    one_line(capfd, "its file system is read-only; make it writable, or name another folder", str(run))
    for command in commands[:1]:
        assert call(*command) == 2
        one_line(capfd, "its file system is read-only", str(small_disk))
    assert call("recommend", run, "wordaa wordab") == 0  # which writes nothing
    assert read_tree(run) == before
    remount(small_disk, "rw")
    assert call(*commands[0]) == 0
    remount(small_disk, "ro")
    capfd.readouterr()
    assert call(*commands[1]) == 2
    one_line(capfd, "its file system is read-only", str(small_disk))
    remount(small_disk, "rw")


def test_a_clock_that_jumps_changes_nothing(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, now = random.Random(0), time.time

    def jumping() -> float:
        return now() + rng.choice((-1e6, 0.0, 1e6, 3e9))

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    stopped_at_6(data, tmp_path / "run")
    assert train(data, tmp_path / "run") == 0
    monkeypatch.undo()
    same(tmp_path / "run", whole)


def test_checkpoints_by_steps(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Checkpoints.save

    def listed(self: Checkpoints, step: int, *rest: object) -> None:
        saved.append(step)
        save(self, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoints, "save", listed)
    more = ("--training.checkpoint_steps=3", "--training.evaluate_every=0", "--training.dispatch_seconds=9")
    assert train(data, tmp_path / "run", STEPS, *more) == 0  # 4 steps an epoch
    assert saved == [3, 4, 6, 8, 9, 10]
