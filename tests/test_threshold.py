"""Lists by threshold against a loop over posts, from training to recommending."""

import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.evaluation import lists
from jaxtag.ranking import above
from jaxtag.runs import open_run
from jaxtag.training.restored import restore_best
from tests import toy_zero_shot
from tests.toy_command import call

THRESHOLD, OTHER = 0.35, 0.6


@pytest.mark.parametrize("block", [0, 3, 7, 50, 100])
def test_blocks_count_every_row_once(block: int) -> None:
    rng = np.random.default_rng(0)
    query, table = rng.integers(-2, 3, (6, 4)).astype(np.float32), rng.integers(-2, 3, (50, 4)).astype(np.float32)
    gold = np.array([rng.choice(50, 5, replace=False) for _ in range(6)], np.int32)
    gold[0], gold[1, 2:] = -1, -1
    many, right = above(jnp.asarray(query), jnp.asarray(table), 2.0, jnp.asarray(gold), block)
    high = query @ table.T >= 2
    np.testing.assert_array_equal(many, high.sum(1))
    np.testing.assert_array_equal(right, [sum(high[i, g] for g in row if g >= 0) for i, row in enumerate(gold)])


def test_scores_of_lists_by_hand() -> None:
    found = lists.finish(np.array([2, 0, 4, 3]), np.array([1, 0, 1, 0]), np.array([1, 2, 3, 0]))
    assert found["precision"] == pytest.approx((1 / 2 + 0 + 1 / 4) / 3)
    assert found["recall"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert found["accuracy"] == pytest.approx(2 / 3) and found["empty"] == pytest.approx(1 / 3)
    assert found["predicted"] == 2
    nothing = lists.finish(*(np.zeros(2, int),) * 3)
    assert set(nothing.values()) == {0.0}
    assert lists.logit(0.5) == 0 and lists.logit(0) == -math.inf


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The toy posts, several hashtags each, and a run whose lists are by threshold."""
    folder = tmp_path_factory.mktemp("threshold")
    data = toy_zero_shot.make(folder / "data", 300, one=False)
    reads = ("--data.extractor", "seen", "--evaluation.threshold", THRESHOLD, "--evaluation.batch", 16)
    steps = ("--size", "tiny", "--training.batch", 32, "--training.steps", 40, "--evaluation.k", "1,2,3")
    run = folder / "run"
    assert call("train", "lxmert4hashtag/lstm_cnn", "--data", data, "--run", run, *reads, *steps) == 0
    return data, run


def oracle(run: Path, threshold: float) -> dict[str, float]:
    """What a loop over the test posts makes of the probabilities."""
    bound, _ = open_run(run)
    state, rows = restore_best(run, bound), bound.split.test
    batch = bound.reading.gather(rows)
    scores = np.asarray(bound.system.scores(state["params"], state["collections"], batch))[
        :, : len(bound.split.hashtags)
    ]
    found: dict[str, list[float]] = {}
    for row, gold in zip(1 / (1 + np.exp(-scores.astype(np.float64))), batch["hashtags"]):
        wanted = {int(g) for g in gold if g >= 0}
        listed = [int(h) for h in np.argsort(-row, kind="stable") if row[h] >= threshold]
        right = len(wanted & set(listed))
        for name, value in {
            "precision": right / len(listed) if listed else 0.0,
            "recall": right / len(wanted),
            "accuracy": float(right > 0),
            "predicted": len(listed),
            "empty": float(not listed),
            "precision@3": len(wanted & set(listed[:3])) / 3,
            "recall@3": len(wanted & set(listed[:3])) / len(wanted),
        }.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_evaluations_obey_the_threshold_of_the_run_or_another(made: tuple[Path, Path], capsys: Any) -> None:
    _, run = made
    for threshold, options in ((THRESHOLD, ()), (OTHER, ("--threshold", OTHER))):
        capsys.readouterr()
        assert call("evaluate", run, "--json", *options) == 0
        found, expected = json.loads(capsys.readouterr().out), oracle(run, threshold)
        assert 0 < expected["empty"] < 1
        told = found["threshold"] | {name: found[name] for name in ("precision@3", "recall@3")}
        assert {name: told[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert told["probability"] == threshold
        p, r = expected["precision"], expected["recall"]
        assert told["f1"] == pytest.approx(2 * p * r / (p + r))
    capsys.readouterr()
    assert call("evaluate", run) == 0
    said = capsys.readouterr().out
    assert "every hashtag of probability 0.35 or more: precision " in said
    assert {p.name for p in run.glob("evaluation*")} == {"evaluation-test.json", "evaluation-test-threshold-0.6.json"}
    capsys.readouterr()
    assert call("evaluate", run, "--json", "--threshold", 0) == 0
    assert "threshold" not in json.loads(capsys.readouterr().out)


def test_recommendations_obey_it_too(made: tuple[Path, Path], capsys: Any) -> None:
    data, run = made
    text = open_dataset(data).text(np.array([3]))[0]

    def recommended(*options: object) -> dict[str, float]:
        capsys.readouterr()
        assert call("recommend", run, text, "-k", 12, "--json", *options) == 0
        return {row["hashtag"]: row["probability"] for row in json.loads(capsys.readouterr().out)["hashtags"]}

    every = recommended("--threshold", 0)
    assert len(every) == 12
    for options, threshold in (((), THRESHOLD), (("--threshold", OTHER), OTHER)):
        assert recommended(*options) == {h: p for h, p in every.items() if p >= threshold}
    assert recommended("--threshold", 0.999999) == {}
    assert call("recommend", run, text, "--threshold", 0.999999) == 0
    assert capsys.readouterr().out == "no hashtag has a probability of 0.999999 or more\n"


def test_mistakes_are_one_line(made: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    data, run = made
    softmax = ("train", "zsl/ann", "--size", "tiny", "--data", data, "--run", tmp_path / "run", "--training.batch", 32)
    for given, said in (
        ((*softmax, "--evaluation.threshold", 0.5), "ann gives no hashtag a probability of its own"),
        ((*softmax, "--evaluation.threshold", 1), "evaluation.threshold is 1.0; it must be at least 0 and below 1"),
        (("evaluate", run, "--threshold", 1.5), "the threshold is 1.5; it must be at least 0 and below 1"),
        (("recommend", run, "x", "--threshold", "nan"), "the threshold is nan; it must be at least 0 and below 1"),
    ):
        capsys.readouterr()
        assert call(*given) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
