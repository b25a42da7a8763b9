from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.evaluation import metrics
from jaxtag.evaluation.zero_shot import chance, generalised

KS = (1, 2, 5)


def sums_of(ranked: np.ndarray, gold: np.ndarray, candidates: int, ks: tuple[int, ...] = KS) -> metrics.Sums:
    """The evaluator's sums, in two batches, for posts with one hashtag each."""
    halves = np.array_split(np.arange(len(gold)), 2)
    parts = [
        metrics.topk_sums(jnp.asarray(ranked[h]), jnp.asarray(gold[h, None]), jnp.ones(len(h), bool), ks, candidates)
        for h in halves
    ]
    return jax.device_get(metrics.add(*parts))


@pytest.mark.parametrize("candidates", [5, 10, 25])
def test_ranking_at_random_hits_by_chance(candidates: int) -> None:
    """Within the range that the binomial distribution leaves with a probability of 1e-9."""
    from scipy.stats import binom

    posts, rng = 20_000, np.random.default_rng(0)
    ranked = np.argsort(rng.random((posts, candidates)), axis=1).astype(np.int32)[:, :5]
    gold = rng.integers(0, candidates, posts).astype(np.int32)
    found = metrics.finish(sums_of(ranked, gold, candidates), KS)
    for k in KS:
        low, high = binom.interval(1 - 1e-9, posts, chance(k, candidates))
        assert low <= round(found[f"accuracy@{k}"] * posts) <= high
        if k < candidates:  # so narrow a range that one candidate more or less is outside
            assert not low <= posts * (k + 1) / candidates <= high


def test_over_every_order_chance_is_exact() -> None:
    ranked = np.array(list(permutations(range(4))), np.int32)
    found = metrics.finish(sums_of(ranked, np.full(24, 2, np.int32), 4, (1, 2, 3, 4)), (1, 2, 3, 4))
    for k in (1, 2, 3, 4):
        assert found[f"accuracy@{k}"] == chance(k, 4) == k / 4
    assert chance(5, 4) == 1


def test_generalised_accuracy() -> None:
    """Candidates 0…3 are seen, 4…6 are not; 3 and 6 have no posts."""
    gold = np.array([0, 0, 0, 0, 1, 2, 4, 4, 4, 5], np.int32)
    first = np.array([0, 0, 0, 1, 1, 6, 4, 0, 5, 5], np.int32)
    unseen = np.array([0, 0, 0, 0, 1, 1, 1], bool)
    found = generalised(sums_of(first[:, None], gold, 7, (1,)), unseen)
    assert found["seen"] == 4 / 6 and found["unseen"] == 2 / 4
    assert found["seen_macro"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert found["unseen_macro"] == pytest.approx((1 / 3 + 1) / 2)
    for ending in ("", "_macro"):
        a, b = found["seen" + ending], found["unseen" + ending]
        assert found["harmonic" + ending] == pytest.approx(2 * a * b / (a + b))


def test_generalised_accuracy_of_nothing_right_or_no_posts_is_zero() -> None:
    gold, wrong = np.array([0, 1], np.int32), np.array([1, 0], np.int32)
    unseen = np.array([False, True])
    assert set(generalised(sums_of(wrong[:, None], gold, 2, (1,)), unseen).values()) == {0.0}
    some = generalised(sums_of(gold[:, None], gold, 2, (1,)), np.array([False, False]))
    assert (some["seen"], some["unseen"], some["harmonic"]) == (1, 0, 0)
