"""Preparing that is killed at any moment, or meets a full disk, and is given again ends with the same bytes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jaxtag_prep.cli import main

from tests.prep import arguments, posts, source, tree

# In processes of their own, forked when everything is imported: `run(command)` is a run's exit code and what it said;
# with `kill`, the run is killed just before it opens, makes, renames or removes its kill-th file.
HARNESS = """
import contextlib, io, json, os, resource, signal, sys
import array_record.python.array_record_module, nltk.tokenize.casual, numpy, regex, tensorflow_datasets, tqdm
from tensorflow_datasets.proto import tf_example_pb2
from jaxtag_prep import build, posts, simulate
from jaxtag_prep.cli import main

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

def run(command, kill=0, limit=0):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        met = 0
        def hook(event, found):
            nonlocal met
            if event in EVENTS and (event != "open" or OUT in str(found[0])):
                met += 1
                if met == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(command)
        os.write(writer, json.dumps([code, met, said.getvalue()]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    status = os.waitstatus_to_exitcode(os.wait()[1])
    return json.loads(said) if status == 0 else [status, 0, ""]

OUT, command = sys.argv[1], sys.argv[2:]
"""


def harness(code: str, out: Path, command: list[str]) -> Any:
    done = subprocess.run([sys.executable, "-c", HARNESS + code, str(out), *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KILLS = """
import shutil
code, most, said = run([part.replace("OUT", OUT + "/whole") for part in command])
assert code == 0, said
names = []
for at in range(1, most + 1, max(1, most // MANY)):
    mine = [part.replace("OUT", f"{OUT}/{at}") for part in command]
    assert run(mine, kill=at)[0] == -signal.SIGKILL, at
    code, _, said = run(mine)
    assert code == 0, (at, said)
    names.append(str(at))
print(json.dumps(names))
"""


def killed(tmp_path: Path, command: list[str], many: int) -> None:
    names = harness(KILLS.replace("MANY", str(many)), tmp_path, command)
    assert len(names) >= min(many, 50)
    whole = tree(tmp_path / "whole")
    for name in names:
        assert tree(tmp_path / name) == whole, name


def commands(tmp_path: Path) -> list[list[str]]:
    simulated = ["simulate", "--out", "OUT", "--posts", "300", "--min-hashtag-posts", "2", "--workers", "1"]
    return [arguments(source(tmp_path, posts(120)), Path("OUT"), "--min-hashtag-posts", "2"), simulated]


def test_killed_at_any_moment(tmp_path: Path) -> None:
    killed(tmp_path, commands(tmp_path)[0], 8)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_killed_at_every_moment(which: int, tmp_path: Path) -> None:
    killed(tmp_path, commands(tmp_path)[which], 10_000)


FULL = """
import shutil
pack = ["pack", "--data", OUT]
found = [run(command, limit=1000), run(command, limit=5000), run(command)]
shutil.rmtree(OUT + "/columns")
found += [run(pack, limit=300), run(pack, limit=1200), run(pack)]
more = [["split", "--data", OUT, "--name", "b"], ["topics", "--data", OUT, "--topics", "2", "--workers", "1"]]
more += [["wordpieces", "--data", OUT, "--size", "120", "--workers", "1"]]
found += [run(command, limit=200) for command in more]
print(json.dumps(found))
"""


def test_a_full_disk_is_one_line_and_no_loss(tmp_path: Path) -> None:
    file = source(tmp_path)
    assert main(arguments(file, tmp_path / "whole")) == 0
    found = harness(FULL, tmp_path / "out", arguments(file, tmp_path / "out"))
    for exit_code, _, said in (found[0], found[1], found[3], found[4], *found[6:]):
        assert exit_code == 2 and said.count("\n") == 1, said
        assert "could not be written" in said and "make room on the disk" in said
    assert [found[2][0], found[5][0]] == [0, 0], found
    (tmp_path / "out" / "columns" / ".lock").unlink()  # of wordpieces
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
