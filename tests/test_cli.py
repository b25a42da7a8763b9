"""The command as its user meets it: one document with --json, one line and exit code 2 for a mistake."""

import io
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from jaxtag.cli import VERBS
from jaxtag.data.posts import FORMAT
from jaxtag.data.text import Cleaning
from jaxtag.files import fingerprint, read_json, write_json
from tests import toy
from tests.toy_command import call


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset and a run on it, made by the command."""
    folder = tmp_path_factory.mktemp("cli")
    data = toy.make(folder / "data", 200)
    info = read_json(data / "dataset.json", "dataset")
    write_json(data / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    assert (
        call(
            "train",
            "zsl/cnn",
            "--size",
            "tiny",
            "--data",
            data,
            "--run",
            folder / "run",
            "--training.batch",
            32,
            "--training.steps=12",
        )
        == 0
    )
    assert call("evaluate", folder / "run") == 0
    return data, folder / "run"


@pytest.mark.parametrize("module", VERBS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_help_has_examples(module: ModuleType, capsys: pytest.CaptureFixture) -> None:
    words = module.__name__.rpartition(".")[2].split("_")
    assert call(*words, "--help") == 0
    said = capsys.readouterr().out
    assert "examples:\n  jaxtag" in said and f"\n  jaxtag {' '.join(words)}" in said
    assert module.SUMMARY.split(":")[0] in " ".join(said.split())


def test_plan_is_one_document(trained: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    small = ("--size", "tiny", "--model.hidden", "16,8", "--training.batch", "16", "--devices", "1")
    assert call("plan", "zsl/cnn", *small, "--words", "100", "--hashtags", "20", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"] == "zsl/cnn" and found["workload"]["hashtags"] == 20
    told = {"count": 1, "kind": "cpu", "simulated": False, "absent": False}
    assert found["devices"] == told and not found["collectives"]
    assert call("plan", "zsl/cnn", *small, "--data", trained[0]) == 0
    said = capsys.readouterr().out
    assert "60 words, 12 hashtags, 160 training posts (split default" in said and "nothing was run" in said


def test_json_is_one_document(trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, run = trained
    train = (
        "train",
        "zsl/cnn",
        "--size",
        "tiny",
        "--data",
        data,
        "--run",
        run,
        "--training.batch",
        32,
        "--training.steps",
        12,
    )
    calls = [
        train,
        ("evaluate", run),
        ("recommend", run, "wordac wordao", "-k", 2),
        ("systems",),
        ("data", "show", data),
        ("data", "export", data, "--out", tmp_path / "test.jsonl"),
        ("report", run, "--out", tmp_path / "report"),
    ]
    found = []
    for arguments in calls:
        capsys.readouterr()
        assert call(*arguments, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["steps"] == 12
    assert found[1]["posts"] == 20 and set(found[1]["baselines"]) == {
        "most_used",
        "authors_most_used",
        "authors_most_recent",
    }
    assert [set(h) for h in found[2]["hashtags"]] == [{"hashtag", "probability"}] * 2
    assert {"zsl/cnn", "zsl/rnn_attention"} <= {row["recipe"] for row in found[3]}
    assert found[4]["posts"] == 200
    lines = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert len(lines) == found[5]["posts"] == 20
    assert set(lines[0]) == {"text", "hashtags", "author", "history"}


def test_recommend_reads_and_writes_lines(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"text": "word2 word3", "id": 7}\nnot json\n"word5"\n{"txt": 1}\n\xff\n{"text": ""}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    capsys.readouterr()
    assert call("recommend", trained[1], "-k", 3) == 0
    said = capsys.readouterr()
    found = [json.loads(line) for line in said.out.splitlines()]
    assert len(found) == 6
    assert found[0]["id"] == 7 and len(found[0]["hashtags"]) == 3
    assert found[1]["error"].startswith("line 2 is not JSON")
    assert len(found[2]["hashtags"]) == 3
    assert found[3]["error"].startswith("line 4 is not")
    assert found[4]["error"].startswith("line 5 is not JSON")
    assert len(found[5]["hashtags"]) == 3
    assert "3 of 6 lines could not be read" in said.err


def test_candidates_limit_what_is_recommended(trained: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    (tmp_path / "c.txt").write_text("#tag3\n\ntag5\n")
    for arguments in (("--candidates", "tag5, #TAG3"), ("--candidates-file", tmp_path / "c.txt")):
        capsys.readouterr()
        assert call("recommend", trained[1], "word2", "--json", *arguments) == 0
        found = json.loads(capsys.readouterr().out)["hashtags"]
        assert {h["hashtag"] for h in found} == {"tag3", "tag5"}
        assert abs(sum(h["probability"] for h in found) - 1) < 1e-4


def test_recommending_a_stored_post_reads_its_stored_words(trained: tuple[Path, Path]) -> None:
    from jaxtag.data.dataset import open_dataset
    from jaxtag.recommend import open_recommender
    from jaxtag.runs import open_run

    recommender, dataset = open_recommender(trained[1]), open_dataset(trained[0])
    rows = np.arange(20)
    stored = open_run(trained[1])[0].reading.gather(rows)["tokens"]
    np.testing.assert_array_equal(recommender.tokens(dataset.text(rows))[:20], stored)


MISTAKES = [
    (("trian",), "no verb 'trian'; did you mean 'train'?"),
    (("train", "zsl/cn", "--data", "D", "--run", "R"), "no recipe 'zsl/cn'; did you mean 'zsl/cnn'?"),
    (("train", "zsl/cnn", "--data", "nowhere", "--run", "R"), "is not a dataset folder: it has no dataset.json"),
    (("train", "zsl/cnn", "--data", "DATA", "--run", "R", "--training.lr", "1"), "no field 'training.lr'"),
    (("train", "zsl/cnn", "--data", "DATA", "--run", "R", "--lr", "1"), "unknown argument '--lr'"),
    (("train", "zsl/cnn", "--data", "DATA", "--run", "R", "--training.seed"), "--training.seed has no value"),
    (
        ("train", "zsl/cnn", "--data", "DATA", "--run", "R", "--split", "defalt"),
        "has no split 'defalt' (it has: default)",
    ),
    (("train", "zsl/cnn", "--data", "DATA", "--run", "R"), "has no word vectors 'inductive'"),
    (("train", "zsl/cnn", "--data", "DATA"), "the following arguments are required: --run"),
    (("evaluate", "nowhere"), "nowhere is not a run folder"),
    (("evaluate", "RUN", "--part", "tests"), "no part 'tests' in a split; did you mean 'test'?"),
    (("recommend", "RUN", "text", "-k", "0"), "-k is 0; it must be 1 or more"),
    (("recommend", "RUN", "text", "--candidates", " ,#"), "the list of candidates is empty"),
    (("recommend", "RUN", "text", "--candidates", "tagg1"), "candidate #tagg1 is not a hashtag of"),
    (("recommend", "RUN", "text", "--candidates-file", "nowhere.txt"), "candidates file nowhere.txt cannot be read"),
    (("data", "show", "nowhere"), "is not a dataset folder"),
    (("report", "nowhere", "--out", "R"), "nowhere"),
    (("plan", "zsl/cnn", "--data", "DATA", "--words", "9"), "--words, --hashtags and --posts are the dataset's own"),
    (("plan", "zsl/cnn", "--devices", "-2"), "--devices is -2; it must be 1 or more"),
    (("bench", "steps"), "invalid choice: 'steps'"),
    (("bench", "step", "zsl/cn"), "no recipe 'zsl/cn'; did you mean 'zsl/cnn'?"),
    (("bench", "step", "zsl/cnn", "--against", "jax"), "--against is 'jax'; only torch is known"),
    (
        ("crossvalidate", "zsl/cnn", "--size", "tiny", "--data", "DATA", "--run", "R"),
        "has no split 'cv-0', one of 5 folds; jaxtag-prep split --data",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line(
    trained: tuple, tmp_path: Path, monkeypatch, capsys, arguments: tuple, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data, run = trained
    capsys.readouterr()
    assert call(*({"DATA": data, "RUN": run}.get(a, a) for a in arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("jaxtag: ") and err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "R" / "checkpoints").exists()


@pytest.mark.parametrize(("raised", "code"), [("Preempted", 75), ("RuntimeError", 1), ("KeyboardInterrupt", 130)])
def test_exit_codes(trained: tuple[Path, Path], monkeypatch, capsys, raised: str, code: int) -> None:
    import builtins

    from jaxtag import errors
    from jaxtag.data import inspect

    kind = getattr(errors, raised, None) or getattr(builtins, raised)

    def fail(path: Path) -> None:
        raise kind("stopped")

    monkeypatch.setattr(inspect, "describe", fail)
    assert call("data", "show", trained[0]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code == 1)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("columns/tokens.values.npy", _truncate, "bytes where"),
        ("columns/tokens.values.npy", _flip, "is corrupt: its checksum is not the one written"),
        ("columns/hashtags.offsets.npy", Path.unlink, "is missing"),
        ("splits/default/train.npy", _flip, "is corrupt"),
        ("splits/default/words.npy", Path.unlink, "is missing"),
        ("vocabulary/words.txt", _truncate, "bytes where"),
        ("dataset.json", _truncate, "is not readable as a dataset description"),
    ],
)
def test_damage_is_named(tmp_path: Path, capsys, file: str, damage, said: str) -> None:
    data = toy.make(tmp_path / "data", 60)
    damage(data / file)
    capsys.readouterr()
    assert call("train", "zsl/cnn", "--size", "tiny", "--data", data, "--run", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert said in err and file.split("/")[-1] in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "said"), [(_truncate, "bytes where"), (_flip, "is corrupt"), (Path.unlink, "is missing")]
)
def test_a_damaged_checkpoint_is_named(trained: tuple[Path, Path], tmp_path: Path, capsys, damage, said: str) -> None:
    import shutil

    run = shutil.copytree(trained[1], tmp_path / "run")
    for path in run.glob("checkpoints/*/state/d/*"):
        damage(path)
    capsys.readouterr()
    assert call("evaluate", run) == 2
    err = capsys.readouterr().err
    assert f"{run / 'checkpoints'}" in err and said in err and err.count("\n") == 1


def test_a_dataset_of_another_format_is_refused(tmp_path: Path, capsys) -> None:
    data = toy.make(tmp_path / "data", 60)
    info = read_json(data / "dataset.json", "dataset")
    write_json(data / "dataset.json", info | {"format": 99, "fingerprint": fingerprint(1)})
    capsys.readouterr()
    assert call("data", "show", data) == 2
    assert f"has dataset format 99, this jaxtag reads format {FORMAT}" in capsys.readouterr().err
