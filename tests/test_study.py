"""A study: what it draws, that it prunes, goes on, is shared, and is refused where it is another's."""

import fcntl
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from jaxtag import cli
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import Diverged, JaxtagError
from jaxtag.experiment import override
from jaxtag.search import grid, picture, study
from jaxtag.search.picture import parallel
from jaxtag.search.ranges import Range, parse_space, to_text
from jaxtag.training import loop
from tests import toy
from tests.studies import BASE, TEXTS, searched, undrawn


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("study") / "data", 60)


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is trained; the metric is known beforehand: the smaller the dropout, the better."""
    runs: list[tuple[str, Any]] = []

    def over(
        run: Path, recipe: str, experiment: Any, dataset: Any, name: str, splits: Any, part: str, **_: Any
    ) -> dict:
        runs.append((f"{run.name} {part}", experiment))
        run.mkdir(exist_ok=True)
        value = 1 - experiment.model.dropout
        for step in (1, 2, 3):
            if (watch := loop._watch.get()) and part == "validation":
                watch(step, {"f1@1": value * step / 3})
        metrics = {"f1@1": value}
        fold = {"split": name, "metrics": metrics, "best_step": 3, "steps": 3, "seconds": 0.1}
        return {"mean": metrics, "spread": {"f1@1": 0.0}, "folds": [fold], "baselines": {}}

    monkeypatch.setattr(study, "over", over)
    monkeypatch.setattr(grid, "over", over)
    undrawn(monkeypatch)  # pictures have a test of their own
    return runs


def fields(document: dict[str, Any]) -> list[Any]:
    return sorted((row["point"], json.dumps(row["fields"])) for row in document["points"])


def test_ranges_and_choices_are_read_as_the_fields_types() -> None:
    space = parse_space(TEXTS, BASE)
    assert space == {
        "training.learning_rate": Range(1e-4, 1e-1, True),
        "model.dropout": Range(0.0, 0.5),
        "model.embedding": Range(8, 64),
        "model.hidden": ((8, 4), (16, 8)),
    }
    assert to_text(space)["training.learning_rate"] == "0.0001..0.1:log"
    for text, message in {
        "model.dropuot=0..1": "no field 'model.dropuot' in this experiment; did you mean 'model.dropout'",
        "training.optimizer=adam..sgd": "is no range of numbers; write training.optimizer=LOW..HIGH",
        "model.dropout=0..0.5:lin": "is no range of numbers",
        "model.dropout=0.5..0": "goes from 0.5 to 0; the first must be less than the second",
        "training.learning_rate=0..1:log": "goes from 0 to 1; the first must be less than the second, and above 0",
        "training.batch=1.5..8": "training.batch cannot be '1.5'; write a int",
    }.items():
        with pytest.raises(JaxtagError) as caught:
            parse_space([text], BASE)
        assert message in str(caught.value)
    with pytest.raises(JaxtagError, match="the space is empty"):
        parse_space([], BASE)


def test_a_study_draws_within_its_space_prunes_and_tests_the_best_once(
    data: Path, tmp_path: Path, trained: list[tuple[str, Any]]
) -> None:
    found = searched(tmp_path / "s", data, 14)
    assert len(found["points"]) == 14 and len({json.dumps(row["fields"]) for row in found["points"]}) == 14
    whole = [row for row in found["points"] if "folds" in row]
    pruned = [row for row in found["points"] if "pruned" in row]
    assert whole and pruned and found["points"] == whole + pruned
    values = [row["mean"]["f1@1"] for row in whole]
    assert values == sorted(values, reverse=True) and found["best"] == whole[0]["point"]
    assert [text for text, _ in trained if text.endswith("test")] == [f"{found['best']} test"]
    for row in found["points"]:
        chosen = row["fields"]
        assert 1e-4 <= chosen["training.learning_rate"] <= 1e-1 and 0 <= chosen["model.dropout"] <= 0.5
        assert chosen["model.embedding"] in range(8, 65) and chosen["model.hidden"] in (
            [8, 4],
            [16, 8],
            (8, 4),
            (16, 8),
        )
    assert {experiment.model.hidden for _, experiment in trained} == {(8, 4), (16, 8)}
    text = (tmp_path / "s" / "sweep.md").read_text()
    assert "pruned at 1" in text
    before = len(trained)
    assert fields(searched(tmp_path / "s", data, 14)) == fields(found)
    assert len(trained) == before + 1  # the best one's test, which is done already and is not done again
    assert fields(searched(tmp_path / "t", data, 14)) == fields(found)  # the same draws
    assert len(searched(tmp_path / "s", data, 16)["points"]) == 16


def test_a_folder_is_entered_by_one_worker_at_a_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, before = [], study._open

    def opens(optuna: Any, run: Path, *rest: Any) -> Any:
        with open(run / ".turn") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inside.append((run / ".turn").read_text())
        return before(optuna, run, *rest)

    monkeypatch.setattr(study, "_open", opens)
    searched(tmp_path / "s", data, 1)
    searched(tmp_path / "s", data, 2)
    assert len(inside[0]) == 32 and inside == [inside[0]] * 2  # the folder has one name, whichever machine sees it


@pytest.mark.parametrize("storage", ["", "sqlite:///{}/study.db"])
def test_a_killed_trial_goes_on_and_others_diverge_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str, trained: list[tuple[str, Any]]
) -> None:
    storage, whole = storage.format(tmp_path), searched(tmp_path / "whole", data, 4)
    over, killed = study.over, iter(["trial-0002"])

    def breaks(run: Path, *rest: Any, **more: Any) -> dict:
        if run.name == next(killed, None) if run.name == "trial-0002" else False:
            raise KeyboardInterrupt
        return over(run, *rest, **more)

    monkeypatch.setattr(study, "over", breaks)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "s", data, 4, storage=storage)
    lines: list[str] = []
    monkeypatch.setattr(study, "say", lines.append)
    found = searched(tmp_path / "s", data, 4, storage=storage)
    assert lines[0] == "trial 2 goes on" and fields(found) == fields(whole)
    if storage:
        shared = searched(tmp_path / "other", data, 6, storage=storage)  # another folder, as of another machine
        assert len(shared["points"]) == 6 and ("test" in shared) == ((tmp_path / "other" / shared["best"]).is_dir())

    def diverges(*arguments: Any, **more: Any) -> dict:
        raise Diverged("the loss is not finite at step 3")

    monkeypatch.setattr(study, "over", diverges)
    after = searched(tmp_path / "s", data, 8, storage=storage)
    assert after["points"][-1]["failed"] == "the loss is not finite at step 3"
    with pytest.raises(JaxtagError, match="none of 2 trials came to its end; the first: the loss is not finite"):
        searched(tmp_path / "bad", data, 2)
    with pytest.raises(
        JaxtagError, match=r"none of 2 trials came to its end; the first: .* training.batch is 3\d, which"
    ):
        searched(tmp_path / "odd", data, 2, texts=["training.batch=33,35"])


def test_a_study_of_another_experiment_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(tmp_path / "s", data, 1)
    other = override(BASE, {"training.clip": 1.0})
    said = "is a study of another experiment: training.clip 5.0 -> 1.0; name a new folder"
    with pytest.raises(JaxtagError, match=f"study.json {said}"):
        searched(tmp_path / "s", data, 1, base=other)
    with pytest.raises(JaxtagError, match=f"study.journal {said}"):
        searched(tmp_path / "t", data, 1, base=other, storage=str(tmp_path / "s" / "study.journal"))
    with pytest.raises(JaxtagError, match="the storage nosuch://x cannot be opened"):
        searched(tmp_path / "u", data, 1, storage="nosuch://x")
    for content in ("not a journal\n", '{"a": 1}\n'):
        (tmp_path / "broken").write_text(content)
        with pytest.raises(JaxtagError, match="broken cannot be opened"):
            searched(tmp_path / "u", data, 1, storage=str(tmp_path / "broken"))
        assert (tmp_path / "broken").read_text() == content
    with pytest.raises(JaxtagError, match="--study is -1"):
        searched(tmp_path / "u", data, -1)
    free = override(BASE, {"training.checkpoint_minutes": 1.0})
    assert searched(tmp_path / "s", data, 1, base=free)["points"]
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(JaxtagError, match=r"Optuna is not installed; pip install 'jaxtag\[study\]'"):
        searched(tmp_path / "v", data, 1)
    assert open_dataset(data).rows == 60


def test_a_picture_has_a_line_a_point(tmp_path: Path) -> None:
    fields = {"training.learning_rate": 1e-3, "model.hidden": (8, 4), "model.dropout": 0.1}
    rows: list[dict[str, Any]] = [
        {
            "fields": fields | {"training.learning_rate": 10.0**-i, "model.dropout": i / 10},
            "mean": {"f1@1": 0.9 - i / 9},
        }
        for i in range(7)
    ]
    rows += [{"fields": fields, "mean": {"f1@1": 0.0}, "pruned": 3}, {"fields": fields, "failed": "no"}]
    assert parallel(rows, list(fields), "f1@1", tmp_path / "p.png").stat().st_size > 5_000
    at, ticks = picture._places([1e-4, 1e-2, 1e-3, 1e-4])
    assert at.tolist() == pytest.approx([0, 1, 0.5, 0]) and [text for _, text in ticks] == ["0.0001", "0.001", "0.01"]
    at, _ = picture._places([1.0, 3.0, 2.0])
    assert at.tolist() == [0, 1, 0.5]
    at, ticks = picture._places([(8, 4), (16, 8)])
    assert sorted(at.tolist()) == [0.25, 0.75] and len(ticks) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study", "3", "--grid", "model.dropout=0,0.1"], "--study and --grid do not go together"),
        (["--study", "3", "--space", "model.dropout=0..0.1", "--halving"], "--study and --halving do not go together"),
        (["--space", "model.dropout=0..0.1"], "--space is of a study, and --study is not given"),
        (["--study", "3"], "the space is empty"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_a_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "zsl/cnn", "--data", str(tmp_path), "--run", str(tmp_path / "s"), *options])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and message in said[0]
