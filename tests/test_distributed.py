"""Several processes as one: found, met, agreed, and the same numbers as one process; lost ones end all, and resume."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError, Lost
from jaxtag.evaluation.evaluate import Evaluator
from jaxtag.experiment import Parallel
from jaxtag.files import read_json, write_json
from jaxtag.parallel import distributed
from jaxtag.parallel.channel import Channel
from jaxtag.parallel.mesh import make_mesh, own_part, put_part
from jaxtag.parallel.preflight import preflight
from jaxtag.parallel.processes import Processes, found, hosts, seconds_of
from jaxtag.parallel.rendezvous import meet
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.runs import bind, open_posts
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.restored import restore_best
from jaxtag.training.train import train
from tests import several, toy

PLAIN = {"JAXTAG_COORDINATOR": "host0:9000", "JAXTAG_PROCESSES": "4", "JAXTAG_PROCESS": "2"}
SLURM = {
    "SLURM_JOB_ID": "100", "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5",
    "SLURM_STEP_NODELIST": "node[03-04],x9", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),2",
}  # fmt: skip
JOBSET = {
    "JOBSET_NAME": "lxmert", "REPLICATED_JOB_NAME": "workers", "JOB_COMPLETION_INDEX": "3", "JAXTAG_PROCESSES": "16",
}  # fmt: skip
TPU = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "t-0,t-1, t-2"}
SLICES = {"MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1", "MEGASCALE_COORDINATOR_ADDRESS": "slice0:8080"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (PLAIN, Processes(4, 2, "host0", 9000, "JAXTAG_*")),
        (PLAIN | {"JAXTAG_COORDINATOR": "[::1]:80"}, Processes(4, 2, "::1", 80, "JAXTAG_*")),
        (PLAIN | {"JAXTAG_PROCESSES": "1", "JAXTAG_PROCESS": "0"}, None),
        (PLAIN | SLURM, Processes(4, 2, "host0", 9000, "JAXTAG_*")),
        (SLURM, Processes(8, 5, "node03", 61440 + 713, "SLURM")),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, Processes(8, 5, "node03", 61440 + 713, "SLURM", (2, 3))),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "0"}, Processes(8, 5, "node03", 61440 + 713, "SLURM")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        ({"SLURM_JOB_ID": "100", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),  # a script under sbatch
        (JOBSET, Processes(16, 3, "lxmert-workers-0-0.lxmert", 8476, "JobSet")),
        (TPU, Processes(3, 1, "t-0", 8476, "Cloud TPU")),
        (TPU | SLICES, Processes(6, 4, "slice0", 8476, "Cloud TPU")),
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ],
)
def test_processes_are_found_in_the_environment(environ: dict[str, str], expected: Processes | None) -> None:
    assert found(environ) == expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (PLAIN | {"JAXTAG_PROCESS": "4"}, "JAXTAG_PROCESS is 4, of 4 processes"),
        (PLAIN | {"JAXTAG_PROCESS": "-1"}, "JAXTAG_PROCESS is '-1', which is no whole number"),
        (PLAIN | {"JAXTAG_PROCESSES": "0"}, "says there are 0 processes"),
        (PLAIN | {"JAXTAG_COORDINATOR": "host0"}, "JAXTAG_COORDINATOR is 'host0'; give process 0's host and a free"),
        (PLAIN | {"JAXTAG_COORDINATOR": "host0:99999"}, "JAXTAG_COORDINATOR is 'host0:99999'"),
        ({"JAXTAG_PROCESS": "1"}, "JAXTAG_COORDINATOR is not set, but other variables of JAXTAG_"),
        (SLURM | {"SLURM_STEP_NODELIST": "node[1-"}, "is no list of nodes"),
        (SLURM | {"SLURM_PROCID": "8"}, "SLURM_PROCID is 8, of 8 processes"),
        (JOBSET | {"JAXTAG_PROCESSES": ""}, "JAXTAG_PROCESSES is not set"),
        (TPU | {"TPU_WORKER_ID": "3"}, "TPU_WORKER_ID is 3, of 3 workers"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(JaxtagError, match=message):
        found(environ)


def test_seconds() -> None:
    assert seconds_of({}, "X", 3.0) == 3 and seconds_of({"X": " 0.5 "}, "X", 3.0) == 0.5
    for text in ("soon", "-1", "nan", "inf"):
        with pytest.raises(JaxtagError, match="X is .* no number of seconds"):
            seconds_of({"X": text}, "X", 3.0)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("a", "a"),
        ("node[01-03,07]", "node01 node02 node03 node07"),
        ("login-1,n[9-11]", "login-1 n9 n10 n11"),
        ("r[1-2]n[3,5]x,z.y", "r1n3x r1n5x r2n3x r2n5x z.y"),
    ],
)
def test_node_lists(listed: str, expected: str) -> None:
    assert " ".join(hosts(listed)) == expected


@pytest.mark.parametrize(
    "listed", ["", "n[", "n]", "n[a]", "n[3-1]", "a,,b", "n[1-99999999]", "n[0-999]m[0-999]", "a b"]
)
def test_what_is_no_node_list_is_refused(listed: str) -> None:
    with pytest.raises(JaxtagError, match="no list of nodes"):
        list(hosts(listed))


def met(count: int, *changed: dict[str, Any], limit: float = 5.0) -> list[Any]:
    """What `meet` gives or raises, by process, of `count` that are changed as said, each in a thread."""
    port = several.free_port()
    results: list[Any] = [None] * max(count, len(changed))

    def one(place: int, processes: Processes, versions: dict[str, str]) -> None:
        try:
            results[place] = meet(processes, versions, limit)
        except Exception as error:
            results[place] = error

    threads = []
    for place, change in enumerate(changed):
        processes = Processes(count, place, "127.0.0.1", port, "JAXTAG_*")
        versions = change.pop("versions", {"jax": "1"})
        threads.append(threading.Thread(target=one, args=(place, replace(processes, **change), versions)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return results


def messages(results: list[Any]) -> set[str]:
    return {str(error).partition(";")[0] for error in results if isinstance(error, Exception)}


def test_processes_that_do_not_fit_together_are_refused_everywhere() -> None:
    host = socket.gethostname()
    same = met(3, {}, {}, {"index": 1})
    assert messages(same) == {f"two processes say that they are process 1, on {host} and on {host}"}
    assert all(isinstance(error, JaxtagError) for error in same)
    versions = met(2, {}, {"versions": {"jax": "2"}})
    assert messages(versions) == {f"process 1 ({host}) has jax 2, process 0 ({host}) has 1"}
    counts = messages(met(2, {}, {"count": 3}))
    assert counts == {f"process 1 ({host}) says that there are 3 processes, process 0 ({host}) that there are 2"}


def test_a_process_that_does_not_come_is_named() -> None:
    results = met(4, {}, {}, limit=0.6)
    assert [type(error) for error in results[:2]] == [Lost, Lost]
    (said,) = messages(results)
    assert said.startswith("processes 2, 3 of 4 did not come to 127.0.0.1:") and said.endswith("within 0.6 seconds")
    with pytest.raises(JaxtagError, match="process 1 of 2 found no process 0 at 127.0.0.1:1 .*: Connection refused"):
        meet(Processes(2, 1, "127.0.0.1", 1, "JAXTAG_*"), {}, 0.3)
    with pytest.raises(JaxtagError, match="192.0.2.1 .JAXTAG_.. is no address of this host, where process 0 runs"):
        meet(Processes(2, 0, "192.0.2.1", several.free_port(), "JAXTAG_*"), {}, 0.1)


def test_strangers_are_left_aside_and_a_port_in_use_is_said() -> None:
    port = several.free_port()
    process = Processes(2, 0, "127.0.0.1", port, "JAXTAG_*")
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(meet(process, {}, 10)))
    thread.start()
    for said in (b"GET / HTTP/1.1\r\n\r\n", b'{"jaxtag": 7}\n', b"x" * 100_000, b'{"jaxtag": 1, "process"', b""):
        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", port)) as stranger:
                    stranger.sendall(said)
                break
            except OSError:
                time.sleep(0.02)
    with pytest.raises(JaxtagError, match=f"process 0 cannot listen at port {port}"):
        meet(process, {}, 1)
    lines, names = meet(replace(process, index=1), {}, 10)
    thread.join()
    assert names == results[0][1] and set(lines) == {0} and set(results[0][0]) == {1}
    with socket.create_server(("127.0.0.1", port)) as other:
        threading.Thread(target=lambda: other.accept()[0].sendall(b"SSH-2.0\r\n"), daemon=True).start()
        with pytest.raises(JaxtagError, match="is no process 0 that waits for others"):
            meet(replace(process, index=1), {}, 1)


def channels(count: int) -> tuple[list[Channel], list[tuple[int, int, str]]]:
    """Channels of processes that are threads' here, and what each is ended with."""
    ended: list[tuple[int, int, str]] = []
    made = []
    for i, (lines, names) in enumerate(met(count, *({} for _ in range(count)))):
        process = Processes(count, i, "127.0.0.1", 1, "JAXTAG_*")
        made.append(Channel(process, lines, names, 10, lambda code, text, i=i: ended.append((i, code, text))))
    return made, ended


def each(made: list[Channel], do: Any) -> list[Any]:
    """What `do(channel)` gives, in threads."""
    results: list[Any] = [None] * len(made)

    def one(i: int) -> None:
        try:
            results[i] = do(made[i])
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(made))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_processes_exchange_and_are_led() -> None:
    made, ended = channels(3)
    assert each(made, lambda c: c.exchange("numbers", c.index**2)) == [[0, 1, 4]] * 3
    assert each(made, lambda c: c.lead("first", {"from": c.index})) == [{"from": 0}] * 3
    made[2].ask()
    while not made[0].asked.wait(0.01):
        pass
    with pytest.raises(Lost, match=r"processes 1 \(.*\), 2 \(.*\) did not come to 'late' within 0.2 seconds"):
        made[0].exchange("late", None, 0.2)
    assert ended == []
    made[1].fail(2, "no such file")
    while len(ended) < 2:
        time.sleep(0.01)
    assert sorted((i, code, text.partition(") ")[2]) for i, code, text in ended) == [
        (0, 2, "ended: no such file"), (2, 2, "ended: no such file"),
    ]  # fmt: skip


def test_a_lost_process_is_named_everywhere_and_a_good_end_is_not_one() -> None:
    made, ended = channels(3)
    made[2]._lines[0].socket.shutdown(socket.SHUT_RDWR)  # as the system does for a killed process
    while len(ended) < 3:
        time.sleep(0.01)
    named = {i: text.partition(" (")[0] for i, _, text in ended}
    assert named == {0: "process 2 of 3", 1: "process 2 of 3", 2: "process 0 of 3"}
    assert {code for _, code, _ in ended} == {75}
    made, ended = channels(2)
    each(made, lambda c: c.close(5))
    for channel in made:
        for line in channel._lines.values():
            line.socket.shutdown(socket.SHUT_RDWR)
        channel._thread.join(5)
    assert ended == []


def test_what_stands_still_is_ended_with_its_stacks() -> None:
    program = (
        "import time\nfrom jaxtag.parallel import watchdog\n"
        "def sleeping_here(): time.sleep(60)\n"
        "with watchdog.watching(0.4, 'at step 1'):\n"
        " for n in range(6): time.sleep(0.1); watchdog.tell(f'at step {n}')\n"
        " sleeping_here()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=several.ROOT)
    assert done.returncode == 75 and "in sleeping_here" in done.stderr
    assert "stood still for 0.4 seconds (JAXTAG_STALL_SECONDS) while at step 5; " in done.stderr.splitlines()[-1]


def test_verbs_of_one_process_refuse_several() -> None:
    with pytest.raises(JaxtagError, match="jaxtag sweep works in one process, and this is process 2 of 4 .JAXTAG_"):
        distributed.only_one("sweep", PLAIN)
    distributed.only_one("sweep", {})


def test_values_are_put_whole_on_one_process() -> None:
    mesh = make_mesh(Parallel(), jax.devices()[:4])
    assert own_part(mesh, 8) == slice(0, 8)
    np.testing.assert_array_equal(
        put_part(np.arange(16).reshape(2, 8), mesh, 8, leading=1), np.arange(16).reshape(2, 8)
    )


def test_preflight_names_every_device() -> None:
    found = preflight(numbers=8, times=1)
    (row,) = found["processes"]
    assert found["devices"] == len(row["devices"]) == jax.device_count() and row["right"]


STEPS = 24
OVERRIDES = {
    "training.steps": str(STEPS), "training.evaluate_every": str(STEPS), "training.checkpoint_steps": "8",
    "training.dispatch_seconds": "0.000001", "training.patience": "0",
}  # fmt: skip
LINES = [json.dumps({"text": f"{toy.word(5)} {toy.word(17)}"}), "not json", json.dumps({"text": toy.word(9)})]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("several") / "toy")
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    return path


def alone(run: Path, data: Path, devices: int, recipe: str = "zsl/ann", **overrides: str) -> Any:
    """Train in this process on so many of its devices; the bound experiment."""
    dataset = open_dataset(data)
    experiment = resolve(recipe, "tiny", OVERRIDES | overrides)
    bound = bind(experiment, dataset, dataset.split("default"), jax.devices()[:devices])
    train(run, recipe, bound)
    return bound


def losses(run: Path, kind: str = "train") -> dict[int, float]:
    """The loss of every step."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if row["kind"] == kind}


def last_state(run: Path, bound: Any, step: int = STEPS) -> dict[str, np.ndarray]:
    """Every leaf of the state saved at `step`."""
    checkpoints = Checkpoints(run / "checkpoints", reading=True)
    state, _ = checkpoints.restore(step, bound.abstract)
    checkpoints.close()
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def check_same(run: Path, said: dict[str, Any], expected: Path, bound: Any) -> None:
    """What processes trained in `run`, and `said`, is what one process has in `expected`."""
    for kind in ("train", "validation"):
        mine, theirs = losses(run, kind), losses(expected, kind)
        assert mine.keys() == theirs.keys() and mine
        np.testing.assert_allclose(list(mine.values()), list(theirs.values()), rtol=1e-6)
    result = Evaluator(bound, open_posts(bound), bound.split.candidates)(
        restore_best(expected, bound), bound.split.part("test")
    )
    evaluated = said["evaluation"]
    assert {name: evaluated[name] for name in result.metrics} == pytest.approx(result.metrics, rel=1e-6)
    written = np.load(run / "predictions-test.npz")
    np.testing.assert_array_equal(written["ranked"], result.ranked)
    assert json.loads((run / "evaluation-test.json").read_text()) == evaluated


def test_killed_stopped_and_resumed_processes_end_as_one_undisturbed_process(data: Path, tmp_path: Path) -> None:
    """Of two processes one is killed, then one is asked to stop, then both go on to the end."""
    order = {"recipe": "zsl/ann", "data": str(data), "run": str(tmp_path / "run"), "overrides": OVERRIDES}
    streamed = order | {"overrides": OVERRIDES | {"data.placement": "streamed"}}
    killed = several.start(2, json.dumps(streamed | {"signal": [1, 13, signal.SIGKILL]}))
    assert [code for code, _, _ in killed] == [75, -signal.SIGKILL]
    last = killed[0][2].strip().splitlines()[-1]
    assert last.startswith("jaxtag: process 1 of 2 (") and "was lost while this one was at step 1" in last
    assert last.endswith("; run the same command again to go on from the last checkpoint")

    stopped = several.start(2, json.dumps(streamed | {"signal": [1, 17, signal.SIGTERM]}))
    assert [code for code, _, _ in stopped] == [75, 75]
    (at,) = {err.strip().splitlines()[-1] for _, _, err in stopped}
    step = int(at.removeprefix("jaxtag: stopped at step ").partition(",")[0])
    assert "going on from step 8" in stopped[0][2] and step >= 17 and "going on" not in stopped[1][2]
    assert max(losses(tmp_path / "run")) == step  # the dispatch in flight was finished, and is saved
    assert (tmp_path / "run" / "checkpoints" / str(step)).is_dir()

    (code, out, err), (other, silent, _) = several.start(2, json.dumps(order | {"lines": LINES}))
    assert (code, other, silent) == (0, 0, ""), err
    assert f"going on from step {step}" in err
    said, expected = json.loads(out), tmp_path / "one"
    bound = alone(expected, data, 2)
    check_same(tmp_path / "run", said, expected, bound)
    mine, theirs = last_state(tmp_path / "run", bound), last_state(expected, bound)
    for name, value in theirs.items():
        np.testing.assert_array_equal(mine[name], value, err_msg=name)
    one = open_recommender(expected, 3)
    found = [json.loads(line) for line in said["recommended"].splitlines()]
    assert "error" in found[1]
    for line, text in ((found[0], json.loads(LINES[0])["text"]), (found[2], json.loads(LINES[2])["text"])):
        assert [h["hashtag"] for h in line["hashtags"]] == [h["hashtag"] for h in one([text])[0]]


class Fixed:
    """A channel whose processes say what they are given to say."""

    count, names, index = 3, ["a", "b", "c"], 1

    def __init__(self, *said: Any):
        self.said = list(said)

    def exchange(self, what: str, value: Any, limit: float | None) -> list[Any]:
        return self.said


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (({"the dataset": "x"}, {"the dataset": "x"}, {"the dataset": "y"}),
         r"processes differ in the dataset: process 2 \(c\) has y, process 0 \(a\) has x; give every process the same"),
        (({"s": {"a": 1, "b": 2}}, {"s": {"a": 1, "b": 3}}, {"s": {}}),
         r"differ in s b: process 1 \(b\) has 3, process 0 \(a\) has 2"),
        (({"devices": ["2 x cpu"]}, {"devices": []}, {}), r"process 1 \(b\) has none, process 0 \(a\) has 2 x cpu"),
    ],
)  # fmt: skip
def test_processes_that_differ_are_refused_naming_the_difference(
    monkeypatch: pytest.MonkeyPatch, said: tuple, message: str
) -> None:
    monkeypatch.setattr(distributed, "_channel", Fixed(*said))
    with pytest.raises(JaxtagError, match=message):
        distributed.agree(said[0])


@pytest.mark.slow
def test_a_lost_process_0_and_one_that_stands_still_end_the_others(data: Path, tmp_path: Path) -> None:
    order = {"recipe": "zsl/ann", "data": str(data), "run": str(tmp_path / "run"), "overrides": OVERRIDES}
    first, *others = several.start(2, json.dumps(order | {"signal": [0, 10, signal.SIGKILL]}))
    assert first[0] == -signal.SIGKILL
    for code, _, err in others:
        assert code == 75 and "process 0 of 2" in err.strip().splitlines()[-1]
        assert "was lost while this one was at step" in err.strip().splitlines()[-1]
    order |= {"run": str(tmp_path / "still"), "signal": [1, 10, signal.SIGSTOP]}
    ((code, _, err),) = several.start(2, json.dumps(order), left=1, JAXTAG_STALL_SECONDS="25")
    assert code == 75 and "Thread 0x" in err and "in _look" in err
    assert "stood still for 25 seconds (JAXTAG_STALL_SECONDS) while at step " in err.strip().splitlines()[-1]


@pytest.mark.slow
def test_hosts_with_other_datasets_experiments_or_devices_are_refused(data: Path, tmp_path: Path) -> None:
    other = toy.make(tmp_path / "other", seed=1)
    order = {"recipe": "zsl/ann", "data": str(data), "run": str(tmp_path / "run"), "overrides": OVERRIDES}
    for change, what in (
        ({"data": str(other)}, "in the dataset: process 1"),
        ({"overrides": OVERRIDES | {"training.seed": "4"}}, "in the experiment training.seed: process 1"),
        ({"run": str(tmp_path / "elsewhere")}, "in the run's folder: process 1"),
    ):
        for code, out, err in several.start(2, json.dumps(order | {"second": change})):
            assert code == 2 and not out and what in err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "experiment.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "devices", "recipe", "settings"),
    [
        (4, 1, "zsl/ann", {}),
        (4, 1, "zsl/ann", {"data.placement": "streamed", "parallel.fsdp": "2"}),
        (2, 2, "zsl/rnn_attention", {"parallel.tensor": "2"}),
        (2, 2, "hmemn2n/hmemn2n", {"data.placement": "streamed"}),
        (2, 2, "lxmert4hashtag/lxmert", {"parallel.fsdp": "4", "parallel.data": "1"}),
        (2, 1, "amnn/amnn", {"data.extractor": "seen"}),
    ],
)
def test_many_processes_train_evaluate_and_recommend_as_one(
    data: Path, tmp_path: Path, count: int, devices: int, recipe: str, settings: dict[str, str]
) -> None:
    settings = OVERRIDES | {"training.steps": "10", "training.evaluate_every": "5"} | settings
    order = {"recipe": recipe, "data": str(data), "run": str(tmp_path / "run"), "overrides": settings, "lines": []}
    (code, out, err), *others = several.start(count, json.dumps(order), devices=devices)
    assert [code, *(other for other, _, _ in others)] == [0] * count, err
    bound = alone(tmp_path / "same", data, count * devices, recipe, **settings)
    check_same(tmp_path / "run", json.loads(out), tmp_path / "same", bound)
    alone(tmp_path / "one", data, 1, recipe, **settings | {f"parallel.{a}": "1" for a in ("data", "fsdp", "tensor")})
    np.testing.assert_allclose(
        list(losses(tmp_path / "run").values()), list(losses(tmp_path / "one").values()), rtol=1e-6
    )
