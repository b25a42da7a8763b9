"""slurm.sh, tpu_vm.sh and gke.sh with stand-ins for sbatch, srun, gcloud and kubectl that record what they are told."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.launching import launch

PYTHON = f"#!{sys.executable}\n"
RECORD = """
import json, os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(os.environ["STAND_IN"])
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps([name, *words]) + "\\n")
"""
# Runs its command in SLURM_NTASKS processes, as srun does: signals to them alone, the highest exit code.
SRUN = """
options = [w for w in words if w.startswith("--")]
command = words[len(options):]
output = next(o for o in options if o.startswith("--output=")).partition("=")[2]
children = []
for i in range(int(os.environ["SLURM_NTASKS"])):
    log = open(output.replace("%t", str(i)), "a")
    environ = os.environ | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}
    children.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
(here / "tasks").write_text(" ".join(str(c.pid) for c in children))
sys.exit(max(c.wait() % 256 for c in children))
"""
SCANCEL = """
for pid in (here / "tasks").read_text().split():
    os.kill(int(pid), signal.SIGTERM)
"""
# A slice of two hosts, each a folder. states holds what `describe` says, one a line; the last stays.
GCLOUD = """
def option(wanted):
    return next((w.partition("=")[2] for w in words if w.startswith(wanted + "=")), None)
states = here / "states"
verb = words[3]
if verb == "create":
    (here / "made").touch()
elif verb == "delete":
    (here / "made").unlink()
    (here / "taken").unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", here / "host0", here / "host1"])
elif verb == "describe":
    if not (here / "made").exists():
        sys.exit("NOT_FOUND")
    if (here / "taken").exists():
        print("SUSPENDED")
    else:
        (here / "looked").exists() or print("PROVISIONING")
        (here / "looked").exists() and print("ACTIVE")
        (here / "looked").touch()
else:
    codes = []
    for i in (0, 1) if option("--worker") == "all" else (int(option("--worker")),):
        host = here / f"host{i}"
        host.mkdir(exist_ok=True)
        if verb == "scp":
            subprocess.run(["cp", words[4], host / words[5].partition(":")[2]], check=True)
            continue
        environ = os.environ | {"HOME": str(host), "HOST": str(i)}
        done = subprocess.run(["bash", "-c", option("--command")], env=environ, capture_output=True, cwd=host)
        folder = option("--output-directory")
        (open(f"{folder}/{i}.log", "wb") if folder else sys.stdout.buffer).write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
        codes.append(done.returncode)
    sys.exit(next((c for c in codes if c), 0))
"""
CURL = """
print(os.environ["HOST"] if words[-1].endswith("agent-worker-number") else "a:1:10.0.0.1,b:2:10.0.0.2")
"""
# ends holds terminal states, taken one after the other; codes what the containers ended with.
KUBECTL = """
verb, rest = words[1], words[2:]
if verb == "apply":
    (here / "jobset.yaml").write_text(pathlib.Path(rest[1]).read_text())
elif verb == "get" and rest[0] == "jobset":
    ends = (here / "ends").read_text().split(",")
    print(ends[0], end="")
    if len(ends) > 1:
        (here / "ends").write_text(",".join(ends[1:]))
elif verb == "get" and "--field-selector" in rest:
    print("pod/a\\npod/b")
elif verb == "get":
    print((here / "codes").read_text())
elif verb == "logs" and not any("since" in w for w in rest):
    print("[pod/tags-run-0-0-abcde/jaxtag] first [pod] line\\n[pod/tags-run-0-1-fghij/jaxtag] second", flush=True)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the stand-ins on the PATH; what they are told is in its file `calls`."""
    tools = tmp_path / "tools"
    tools.mkdir()
    work = {"sbatch": "print('123;cluster')", "srun": SRUN, "scancel": SCANCEL, "scontrol": "", "gcloud": GCLOUD}
    work |= {
        "curl": CURL,
        "python3": "",
        "uv": "",
        "kubectl": KUBECTL,
        "jaxtag": "sys.exit(int(os.environ.get('FLIGHT', 0)))",
    }
    for name, body in work.items():
        (tools / name).write_text(PYTHON + RECORD + body)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def process(place: Path) -> list[str]:
    """A command whose process i ends with the exit codes of the file codes.i, one after the other."""
    file = place / "process.py"
    text = """
        import os, pathlib, signal, sys, time
        index = os.environ.get("SLURM_PROCID") or os.environ["JAXTAG_PROCESS"]
        print("process", index, os.environ.get("JAXTAG_COORDINATOR"), sys.argv[2:], flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        file = pathlib.Path(sys.argv[1], f"codes.{index}")
        code, _, rest = file.read_text().partition(",")
        file.write_text(rest)
        if code in ("wait", "taken"):
            pathlib.Path(sys.argv[1], f"{code}.{index}").touch()
            code == "taken" and pathlib.Path(sys.argv[1], "taken").touch()
            time.sleep(60)
        sys.exit(int(code))
        """
    file.write_text(textwrap.dedent(text))
    return [sys.executable, str(file), str(place), "a b"]


def calls(place: Path, name: str) -> list[list[str]]:
    file = place / "calls"
    told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [words[1:] for words in told if words[0] == name]


def ends(place: Path, *codes: str) -> None:
    for i, each in enumerate(codes):
        (place / f"codes.{i}").write_text(each)


def submit(place: Path, process: list[str], *options: str) -> list[str]:
    """The command that SLURM would run for the job that slurm.sh submitted."""
    done = launch("slurm", "--nodes", "2", "--grace", "1", "--logs", "logs", *options, "--", *process)
    assert not done.returncode, done.stderr
    assert done.stdout == "123\n" and "job 123" in done.stderr
    (told,) = calls(place, "sbatch")
    assert told[0] == "--parsable"
    return ["env", "SLURM_JOB_ID=123", "SLURM_NTASKS=2", "bash", told[1]]


def test_slurm_requeues_what_was_saved(place: Path, process: list[str]) -> None:
    job = submit(place, process)
    ends(place, "75,0", "75,0")
    assert subprocess.run(job, capture_output=True, check=False).returncode == 75
    assert calls(place, "scontrol") == [["requeue", "123"]]
    assert subprocess.run(job, capture_output=True, check=False).returncode == 0  # as SLURM would, once requeued
    assert len(calls(place, "scontrol")) == 1
    logs = [(place / f"logs/123/run-{i}.log").read_text() for i in (0, 1)]
    assert logs == [f"process {i} None ['a b']\n" * 2 for i in (0, 1)]
    assert calls(place, "jaxtag") == [["preflight"]] * 4


@pytest.mark.parametrize(("codes", "code"), [(("75", "3"), 3), (("2", "2"), 2), (("0", "1"), 1)])
def test_slurm_does_not_requeue_a_failure(place: Path, process: list[str], codes: tuple[str, str], code: int) -> None:
    job = submit(place, process, "--no-preflight")
    ends(place, *codes)
    assert subprocess.run(job, capture_output=True, check=False).returncode == code
    assert not calls(place, "scontrol") and not calls(place, "jaxtag")


def test_slurm_preflight_first(place: Path, process: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(place, process)
    monkeypatch.setenv("FLIGHT", "2")
    assert subprocess.run(job, capture_output=True, check=False).returncode == 2
    assert len(calls(place, "srun")) == 1 and not (place / "logs/123/run-0.log").exists()


def test_slurm_gives_up_without_a_checkpoint(place: Path, process: list[str]) -> None:
    job = submit(place, [*process, "--run", str(place / "run")], "--no-preflight", "--restarts", "1")
    for number, requeued in ((1, 1), (2, 1), (3, 2)):
        ends(place, "75", "75")
        if number == 3:  # the run has moved
            (place / "run/checkpoints/10").mkdir(parents=True)
        subprocess.run(job, capture_output=True, check=False)
        assert len(calls(place, "scontrol")) == requeued


@contextlib.contextmanager
def waiting(place: Path, job: list[str]) -> Iterator[subprocess.Popen]:
    """A batch job whose two processes have begun to wait."""
    with subprocess.Popen(job, stdout=subprocess.DEVNULL) as run:
        while not all((place / f"wait.{i}").exists() for i in (0, 1)):
            assert run.poll() is None
            time.sleep(0.01)
        yield run


def test_slurm_lets_a_cancelled_run_save_and_does_not_requeue_it(place: Path, process: list[str]) -> None:
    job = submit(place, process, "--no-preflight")
    ends(place, "wait", "wait")
    with waiting(place, job) as run:
        run.send_signal(signal.SIGTERM)
        assert run.wait(120) == 75
    assert calls(place, "scancel") == [["--signal=TERM", "123"]] and not calls(place, "scontrol")


def test_slurm_requeues_what_was_told_that_its_time_ends(place: Path, process: list[str]) -> None:
    job = submit(place, process, "--no-preflight")
    ends(place, "wait", "wait")
    with waiting(place, job) as run:
        for pid in (place / "tasks").read_text().split():  # --signal=TERM@120: the processes alone
            os.kill(int(pid), signal.SIGTERM)
        assert run.wait(120) == 75
    assert calls(place, "scontrol") == [["requeue", "123"]]


TPU = ("--name", "tags", "--type", "v5e-8", "--zone", "z", "--spot", "--poll", "0", "--logs", "logs")


def verbs(place: Path) -> list[str]:
    """What was asked of queued resources, looks left out."""
    return [w[3] for w in calls(place, "gcloud") if w[2] == "queued-resources" and w[3] != "describe"]


def test_tpu_starts_again_and_cleans_up(place: Path, process: list[str]) -> None:
    ends(place, "75,0", "75,0")
    done = launch("tpu_vm", *TPU, "--env", "WITH=a b", "--setup", "setup.sh", "--", *process) if setup(place) else None
    assert done and not done.returncode, done and done.stderr
    assert verbs(place) == ["create", "delete"]
    (created,) = (w for w in calls(place, "gcloud") if w[3] == "create")
    assert {"--accelerator-type=v5litepod-8", "--runtime-version=v2-alpha-tpuv5-lite", "--spot"} <= set(created)
    shown = re.findall(r"process 0 .*", done.stdout)
    assert shown == ["process 0 10.0.0.1:8476 ['a b']"] * 2 and "process 1" not in done.stdout
    assert (place / "logs/1.log").read_text().count("process 1 10.0.0.1:8476 ['a b']") == 2
    assert calls(place, "jaxtag") == [["preflight"]] * 4


def setup(place: Path) -> Path:
    file = place / "setup.sh"
    file.write_text("export PLACE=here\n")
    return file


def test_tpu_asks_again_after_preemption(place: Path, process: list[str]) -> None:
    ends(place, "taken,0", "wait,0")
    done = launch("tpu_vm", *TPU, "--no-preflight", "--", *process)
    assert not done.returncode, done.stderr
    assert verbs(place) == ["create", "delete", "create", "delete"] and "asking for it again" in done.stderr
    for left in re.findall(r"\d+", subprocess.run(["pgrep", "-f", process[1]], capture_output=True, text=True).stdout):
        os.kill(int(left), signal.SIGKILL)  # the taken hosts are folders here: their processes outlive them


def test_tpu_failure_is_the_runs_and_keep_keeps(place: Path, process: list[str]) -> None:
    ends(place, "3", "75")
    done = launch("tpu_vm", *TPU, "--no-preflight", "--keep", "--", *process)
    assert done.returncode == 3 and verbs(place) == ["create"]
    assert "process 1" in (place / "logs/1.log").read_text()


GKE = ("--name", "tags", "--image", "i", "--gpu", "h100", "--nodes", "2", "--pvc", "p", "--poll", "0", "--logs", "logs")


@pytest.mark.parametrize(
    ("states", "codes", "code"), [(",,Completed", "", 0), (",Failed", "75 1", 1), (",Failed", "75 75", 75)]
)
def test_gke_follows_to_the_end(place: Path, states: str, codes: str, code: int) -> None:
    (place / "ends").write_text(states)
    (place / "codes").write_text(codes)
    done = launch("gke", *GKE, "--", "jaxtag", "preflight")
    assert done.returncode == code, done.stderr
    assert done.stdout == "first [pod] line\n"
    assert (place / "logs/1.log").read_text() == "second\n"
    applied = yaml.safe_load((place / "jobset.yaml").read_text())
    assert applied["metadata"] == applied["metadata"] | {"name": "tags", "namespace": "default"}


def test_gke_ended_before(place: Path) -> None:
    (place / "ends").write_text("Failed")
    done = launch("gke", *GKE, "--", "true")
    assert done.returncode == 2 and "--replace deletes it first" in done.stderr
    assert not any("apply" in words for words in calls(place, "kubectl"))
    (place / "ends").write_text("Failed,Completed")
    done = launch("gke", *GKE, "--replace", "--", "true")
    assert not done.returncode
    assert ["--namespace=default", "delete", "jobset", "tags", "--wait"] in calls(place, "kubectl")


def test_nothing_runs_without_the_tool(place: Path) -> None:
    for tool in ("sbatch", "gcloud", "kubectl"):
        (place / "tools" / tool).unlink()
    only = {"PATH": f"{place}/tools:{Path(sys.executable).parent}:/bin"} if not Path("/bin/gcloud").exists() else None
    for script, words in (("slurm", ["--nodes", "1"]), ("tpu_vm", TPU), ("gke", GKE)):
        if only is None and script != "slurm":
            continue
        done = launch(script, *words, "--", "true", env=only)
        assert done.returncode == 2 and "is not installed" in done.stderr and shlex.split(done.stderr)
