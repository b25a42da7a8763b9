"""Intervals by resampling posts: against resampling them one by one, and on cases whose answer is known."""

import numpy as np
import pytest

from jaxtag.evaluation import bootstrap, metrics


def make(posts: int, right: float, seed: int) -> np.ndarray:
    """Rankings of posts whose only hashtag is 0: place one is right with probability `right`."""
    first = np.where(np.random.default_rng(seed).random(posts) < right, 0, 1)
    return np.stack([first, 1 - first, np.full(posts, 2)], 1)


def test_a_proportion_has_the_normal_interval():
    gold = np.zeros((2000, 1), int)
    found = bootstrap.intervals(make(2000, 0.3, 0), gold, "precision@1", draws=4000)
    p = found["value"]
    half = 1.96 * np.sqrt(p * (1 - p) / 2000)
    assert found["low"] == pytest.approx(p - half, abs=half / 10)
    assert found["high"] == pytest.approx(p + half, abs=half / 10)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    gold = np.zeros((200, 1), int)
    covered = 0
    for seed in range(200):
        found = bootstrap.paired(make(200, 0.5, seed), make(200, 0.4, 1000 + seed), gold, "f1@1", draws=400, seed=seed)
        covered += found["low"] <= 0.1 <= found["high"]
    assert 180 <= covered <= 199


@pytest.mark.parametrize("metric", ["f1@1", "precision@3", "recall@3", "accuracy@2", "f1@2"])
def test_equals_resampling_post_by_post(metric):
    rng = np.random.default_rng(0)
    a, b, gold = (rng.permuted(np.tile(np.arange(5), (300, 1)), axis=1)[:, :3] for _ in range(3))
    gold[rng.random(gold.shape) < 0.5] = -1
    score, k = metrics.parse(metric)
    rows = np.flatnonzero((gold >= 0).any(1))
    size = (gold >= 0).sum(1)

    def value(ranked, rows):
        hits = (ranked[rows, :k, None] == gold[rows, None, :]).any(2).sum(1)
        p, r = (hits / k).mean(), (hits / size[rows]).mean()
        return {"precision": p, "recall": r, "accuracy": (hits > 0).mean(), "f1": 2 * p * r / (p + r)}[score]

    found = bootstrap.paired(a, b, gold, metric)
    assert found["difference"] == pytest.approx(value(a, rows) - value(b, rows), abs=1e-12)
    drawn = np.array([value(a, r) - value(b, r) for r in rng.choice(rows, (2000, len(rows)))])
    spread = drawn.std()
    assert found["low"] == pytest.approx(np.quantile(drawn, 0.025), abs=spread / 4)
    assert found["high"] == pytest.approx(np.quantile(drawn, 0.975), abs=spread / 4)
    assert found["probability"] == pytest.approx((drawn > 0).mean() + (drawn == 0).mean() / 2, abs=0.04)


def test_a_system_against_itself():
    ranked, gold = make(100, 0.5, 0), np.zeros((100, 2), int) - np.array([0, 1])
    found = bootstrap.paired(ranked, ranked, gold)
    assert found == {"difference": 0, "low": 0, "high": 0, "probability": 0.5}


def test_the_seed_decides():
    a, b, gold = make(50, 0.6, 0), make(50, 0.5, 1), np.zeros((50, 1), int)
    assert bootstrap.paired(a, b, gold, seed=3) == bootstrap.paired(a, b, gold, seed=3)
    assert bootstrap.paired(a, b, gold, seed=3) != bootstrap.paired(a, b, gold, seed=4)


def test_what_cannot_be_measured_is_said():
    ranked, gold = make(5, 0.5, 0), np.zeros((5, 1), int)
    with pytest.raises(ValueError, match="3 recommendations"):
        bootstrap.intervals(ranked, gold, "f1@4")
    with pytest.raises(ValueError, match="no post"):
        bootstrap.paired(ranked, ranked, gold - 1)
    with pytest.raises(ValueError, match="not a metric"):
        bootstrap.paired(ranked, ranked, gold, "auc")


def test_runs_of_several_seeds_are_compared_by_their_means():
    rng = np.random.default_rng(3)
    a, b, gold = (rng.permuted(np.tile(np.arange(5), (n, 200, 1)), axis=2)[..., :3] for n in (3, 2, 1))
    for metric in ("precision@2", "accuracy@2", "recall@3"):
        found = bootstrap.paired(a, b, gold[0], metric)
        alone = [np.mean([bootstrap.intervals(run, gold[0], metric)["value"] for run in runs]) for runs in (a, b)]
        assert found["difference"] == pytest.approx(alone[0] - alone[1], abs=1e-12)
        same = bootstrap.paired(a[:1], b[:1], gold[0], metric)
        assert same == bootstrap.paired(a[0], b[0], gold[0], metric)
