"""Which trials of a study are pruned, and when."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from jaxtag.search import grid, study
from jaxtag.training import loop
from tests import toy
from tests.studies import by_folds, searched, undrawn

FOLDS = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("pruning") / "data", FOLDS, 60)


def test_a_trial_on_folds_is_pruned_by_the_mean_over_those_that_are_done(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        5: (0.9, 0.3, 0.0, 0.9),  # 0.9, 0.6, and with the third fold 0.4: its highest mean would never be behind
        6: (0.4, 0.9, 0.9, 0.9),
        7: (0.5, 0.5, 0.5, 0.5),  # the median itself is not behind it
        8: (0.7, 0.6, 0.5, 0.0),  # behind when it is done, which is too late to be pruned
    }
    others = {
        n: (0.3 + n / 10,) * FOLDS for n in range(5)
    }  # 0.3 to 0.7, the median 0.5; none is pruned among the first
    stop = [(5, 2)]

    def value(trial: int, fold: int) -> float:
        if (trial, fold) in stop:
            raise KeyboardInterrupt
        return (others | values)[trial][fold]

    calls = by_folds(monkeypatch, value)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "s", data, 9, name="cv", folds=FOLDS)
    assert calls[-1] == "trial-0005 fold-2 validation" and len(calls) == 5 * FOLDS + 3
    stop.clear()
    calls.clear()
    found = searched(tmp_path / "s", data, 9, name="cv", folds=FOLDS)
    assert calls[:2] == ["trial-0005 fold-2 validation", "trial-0006 fold-0 validation"]
    rows = {row["point"]: row for row in found["points"]}
    assert {int(n[-4:]): row["pruned"] for n, row in rows.items() if "pruned" in row} == {5: 3, 6: 1}
    assert rows["trial-0005"]["mean"]["f1@1"] == pytest.approx(0.4) and rows["trial-0006"]["mean"]["f1@1"] == 0.4
    assert rows["trial-0008"]["mean"]["f1@1"] == pytest.approx(0.45) and len(rows["trial-0008"]["folds"]) == FOLDS
    assert found["best"] == "trial-0004" and calls[-FOLDS:] == [f"trial-0004 fold-{i} test" for i in range(FOLDS)]
    table = (tmp_path / "s" / "sweep.md").read_text()
    assert table.count("| pruned after fold 3 |") == table.count("| pruned after fold 1 |") == 1
    assert "the best in front; those pruned are dashed." in table
    whole = searched(tmp_path / "t", data, 9, name="cv", folds=FOLDS)  # never stopped
    assert [row | {"run": "", "folds": ""} for row in whole["points"]] == [
        row | {"run": "", "folds": ""} for row in found["points"]
    ]


def test_a_trial_that_goes_on_is_as_good_as_it_was_before_it_was_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []

    def over(run: Path, *rest: Any, **more: Any) -> dict:
        number, watch = int(run.name[-4:]), loop._watch.get()
        starts.append(number)
        if watch and starts.count(5) != 2:
            watch(1, {"f1@1": 0.9 if number == 5 else 0.5})
        if starts.count(5) == 1:
            raise KeyboardInterrupt
        if watch:
            watch(2, {"f1@1": 0.1 if number == 5 else 0.5})  # less than the median, but 0.9 is not
        metrics = {"f1@1": 0.9 if number == 5 else 0.5}
        return {"mean": metrics, "spread": {"f1@1": 0.0}, "folds": [{"best_step": 1}], "baselines": {}}

    for module in (study, grid):
        monkeypatch.setattr(module, "over", over)
    undrawn(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "s", data, 6)
    found = searched(tmp_path / "s", data, 6)
    assert starts[:7] == [0, 1, 2, 3, 4, 5, 5] and found["best"] == "trial-0005"
    assert not any("pruned" in row for row in found["points"])


def test_who_is_behind_is_as_optunas_median_pruner_says() -> None:
    rng, pruned = np.random.default_rng(0), 0
    made = optuna.create_study(direction="maximize")
    for number in range(30):
        trial, best = made.ask(), 0.0
        for step in range(1, 2 + number % 4):
            value = float(rng.random())
            trial.report(value, step)
            best = max(best, value)
            behind = study._behind(optuna, made, step, best)
            assert behind == trial.should_prune()  # of the highest value so far it is the same question
            pruned += behind
        made.tell(trial, best)
    assert 5 < pruned < 60
