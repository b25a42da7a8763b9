"""launch/local.sh with processes that really start, save, fail and are killed."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.launching import LAUNCH, launch


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A process that does what its first argument says; the second is the start of files that it leaves."""
    file = tmp_path_factory.mktemp("process") / "process.py"
    text = """
        import os, pathlib, signal, sys, time
        index, mode, mark = os.environ["JAXTAG_PROCESS"], sys.argv[1], sys.argv[2]
        os.write(1, f"out {index} {os.environ['JAXTAG_PROCESSES']} {os.environ['JAXTAG_COORDINATOR']}\\n".encode())
        os.write(2, f"err {index}\\n".encode())
        mine = pathlib.Path(f"{mark}.{index}")
        first = not mine.exists()
        def save(number, frame):
            print("saved", flush=True)
            sys.exit(75)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" and index == "0" else save)
        signal.signal(signal.SIGINT, save)
        mine.write_text("there")
        def others():
            while not pathlib.Path(f"{mark}.{1 - int(index)}").exists():
                time.sleep(0.01)
        if mode == "again" and first:
            others()
            sys.exit(75)
        if mode == "moves":
            step = len(list(pathlib.Path(mark).glob("checkpoints/*")))
            if step == 3:
                sys.exit()
            pathlib.Path(mark, "checkpoints", str(step)).mkdir(parents=True)
        if mode in ("moves", "stuck"):
            sys.exit(75)
        if mode == "fails" and index == "1":
            others()
            sys.exit(3)
        if mode == "killed" and index == "1" and first:
            others()
            os.kill(os.getpid(), 9)
        if mode in ("fails", "waits") or (mode == "killed" and first and index == "0"):
            time.sleep(60)
        if mode == "deaf":
            others()
            if index == "1":
                sys.exit(75)
            time.sleep(60)
        """
    file.write_text(textwrap.dedent(text))
    return file


def local(process: Path, folder: Path, mode: str, *options: object) -> subprocess.CompletedProcess[str]:
    words = ["-n", 2, "--grace", 30, "--logs", folder / "logs", *options]
    return launch("local", *words, "--", sys.executable, process, mode, folder / "mark")


def logs(folder: Path) -> list[str]:
    return [(folder / "logs" / f"process-{i}.log").read_text() for i in (0, 1)]


def test_local_starts_again_and_keeps_every_log(process: Path, tmp_path: Path) -> None:
    done = local(process, tmp_path, "again")
    assert not done.returncode
    said = [line.split() for line in done.stdout.splitlines()]
    assert [words[:3] for words in said] == [["out", "0", "2"]] * 2  # process 0 alone, both times
    assert "err 0" in done.stderr and "err 1" not in done.stderr
    for i, log in enumerate(logs(tmp_path)):
        assert log.count(f"out {i} 2 127.0.0.1:") == 2 and log.count(f"err {i}") == 2 and "==== start 2" in log


def test_local_starts_again_as_long_as_the_run_moves(process: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["-n", 1, "--restarts", 1, "--logs", tmp_path / "logs", "--", sys.executable, process]
    done = launch("local", *words, "moves", run, "--run", run)
    assert not done.returncode and done.stdout.count("out") == 4  # a new checkpoint each time
    done = launch("local", *words, "stuck", tmp_path / "mark", "--run", run)
    assert done.returncode == 75 and done.stdout.count("out") == 2
    assert "started 1 times again without a new checkpoint" in done.stderr


def test_local_ends_the_others_when_one_fails(process: Path, tmp_path: Path) -> None:
    done = local(process, tmp_path, "fails")
    assert done.returncode == 3 and "process 1 ended with exit code 3" in done.stderr
    assert "saved" in logs(tmp_path)[0] and "saved" not in logs(tmp_path)[1]


def test_local_starts_again_after_a_kill(process: Path, tmp_path: Path) -> None:
    done = local(process, tmp_path, "killed")
    assert not done.returncode and "exit code 137: starting again" in done.stderr


def test_local_kills_what_does_not_end(process: Path, tmp_path: Path) -> None:
    done = local(process, tmp_path, "deaf", "--restarts", 0, "--grace", 1)
    assert done.returncode == 75 and "killed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_local_hands_signals_on(
    process: Path, tmp_path: Path, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    words = [
        "-n",
        "2",
        "--logs",
        str(tmp_path / "logs"),
        "--",
        sys.executable,
        str(process),
        "waits",
        f"{tmp_path}/mark",
    ]
    # What a process handles, its children have by default; what it ignores, as one in the background does, they ignore.
    before = signal.signal(number, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(number, before))
    with subprocess.Popen([str(LAUNCH / "local.sh"), *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        while not all((tmp_path / f"mark.{i}").exists() for i in (0, 1)):
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(number)
        assert run.wait(120) == 75
    assert all("saved" in log for log in logs(tmp_path))


def test_local_preflight(tmp_path: Path) -> None:
    """Two real processes, with two devices each, find each other."""
    program = Path(sys.executable).parent / "jaxtag"
    words = ["-n", 2, "--devices-per-process", 2, "--logs", tmp_path / "logs", "--", program, "preflight", "--json"]
    done = launch("local", *words)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert (len(told["processes"]), told["devices"]) == (2, 4)
