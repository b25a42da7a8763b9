"""Cross-validation: folds that go on, are not done twice, and are refused when they are none."""

import json
import statistics
from pathlib import Path

import pytest

from jaxtag import crossvalidate as module
from jaxtag.crossvalidate import FILE, crossvalidate, find_folds, render
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError, Preempted
from jaxtag.files import read_json
from jaxtag.recipes import resolve
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")

FOLDS = 3
SMALL = {"training.batch": "32", "training.steps": "4", "model.hidden": "16", "model.filters": "4"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("folds") / "data", FOLDS, 120)


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    run = tmp_path_factory.mktemp("runs") / "deep" / "cv"
    return run, crossvalidate(run, "zsl/cnn", resolve("zsl/cnn", "tiny", SMALL), data, folds=FOLDS)


def test_mean_and_spread_are_of_the_folds_own_evaluations(done: tuple[Path, dict]) -> None:
    run, found = done
    rows = [json.loads((run / f"fold-{i}" / "evaluation-test.json").read_text()) for i in range(FOLDS)]
    assert found["complete"] and [r["split"] for r in found["folds"]] == ["cv-0", "cv-1", "cv-2"]
    for metric in ("f1@1", "accuracy@1", "f1_micro", "f1_macro", "precision_weighted", "recall@5"):
        values = [row[metric] for row in rows]
        assert found["mean"][metric] == pytest.approx(sum(values) / FOLDS, abs=1e-15)
        assert found["spread"][metric] == pytest.approx(statistics.stdev(values), abs=1e-15)
        used = [row["baselines"]["most_used"][metric] for row in rows]
        assert found["baselines"]["most_used"]["mean"][metric] == pytest.approx(sum(used) / FOLDS, abs=1e-15)
    assert sum(row["metrics"]["posts"] for row in found["folds"]) == 120
    assert read_json(run / FILE, "cross-validation") == found
    table = render(found)
    assert f"{found['mean']['f1@1']:.3f} ± {found['spread']['f1@1']:.3f}" in table
    assert "cv-2" in table and "most used" in table


def test_a_fold_that_is_done_is_not_touched(done: tuple[Path, dict], data: Path, monkeypatch) -> None:
    run, found = done

    def fail(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train", fail)
    assert crossvalidate(run, "zsl/cnn", resolve("zsl/cnn", "tiny", SMALL), data, folds=FOLDS) == found


def test_a_stopped_one_goes_on_to_the_same_numbers(done: tuple[Path, dict], data: Path, tmp_path, monkeypatch) -> None:
    experiment = resolve("zsl/cnn", "tiny", SMALL)
    train, calls = module.train, []

    def stop_at_second(*arguments: object) -> dict:
        calls.append(arguments[0])
        if len(calls) == 2:
            raise Preempted("stopped at step 2, saved")
        return train(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", stop_at_second)
        with pytest.raises(Preempted):
            crossvalidate(tmp_path / "cv", "zsl/cnn", experiment, data, folds=FOLDS)
    partial = read_json(tmp_path / "cv" / FILE, "cross-validation")
    assert not partial["complete"] and len(partial["folds"]) == 1 and partial["spread"]["f1@1"] == 0
    whole = crossvalidate(tmp_path / "cv", "zsl/cnn", experiment, data, folds=FOLDS)
    for key in ("mean", "spread", "baselines"):
        assert whole[key] == done[1][key]


def test_another_experiment_in_the_same_folder_is_refused(done: tuple[Path, dict], data: Path) -> None:
    other = resolve("zsl/cnn", "tiny", SMALL | {"training.seed": "1"})
    with pytest.raises(JaxtagError, match="fold-0 has another experiment: training.seed 0 -> 1"):
        crossvalidate(done[0], "zsl/cnn", other, data, folds=FOLDS)


def test_what_is_no_fold_is_refused(data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(data)
    with pytest.raises(JaxtagError, match="no split 'cv-3', one of 4 folds") as caught:
        find_folds(dataset, "cv", 4)
    assert caught.value.mend == f"jaxtag-prep split --data {dataset.path} --name cv --folds 4"
    with pytest.raises(JaxtagError, match="--folds is 1"):
        find_folds(dataset, "cv", 1)
    for i in range(2):
        toy.make_split(data, 120, f"same-{i}")
    with pytest.raises(JaxtagError, match="same-0 and same-1 are no folds: they share test post"):
        find_folds(dataset, "same", 2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE).write_text('{"format": 9}')
    with pytest.raises(JaxtagError, match="not a cross-validation of format 1"):
        crossvalidate(tmp_path / "run", "zsl/cnn", resolve("zsl/cnn", "tiny", SMALL), data, folds=FOLDS)
