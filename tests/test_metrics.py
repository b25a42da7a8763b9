"""Metrics against per-post Python, scikit-learn, and the numbers that the papers print."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxtag.evaluation import metrics

KS = (1, 2, 5)
CANDIDATES = 9


def make(posts: int, seed: int, longest: int = 4, recommended: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random rankings (some short), hashtags (some posts without) and which posts are valid."""
    rng = np.random.default_rng(seed)
    ranked = rng.permuted(np.tile(np.arange(CANDIDATES), (posts, 1)), axis=1)[:, :recommended]
    ranked[np.arange(recommended) >= rng.integers(0, recommended + 1, posts)[:, None]] = -1
    gold = rng.permuted(np.tile(np.arange(CANDIDATES), (posts, 1)), axis=1)[:, :longest]
    gold[rng.random(gold.shape) < 0.4] = -1
    return ranked.astype(np.int32), gold.astype(np.int32), rng.random(posts) < 0.9


@partial(jax.jit, static_argnums=3)
def sums_of(ranked, gold, valid, ks=KS):
    return metrics.topk_sums(ranked, gold, valid, ks, CANDIDATES)


def by_hand(ranked, gold, valid, k):
    """Per-post hits and sizes of the posts that count."""
    kept = [i for i in range(len(gold)) if valid[i] and (gold[i] >= 0).any()]
    sets = [{int(x) for x in gold[i] if x >= 0} for i in kept]
    return [len({int(x) for x in ranked[i][:k] if x >= 0} & g) for i, g in zip(kept, sets)], [len(g) for g in sets]


@pytest.mark.parametrize("seed", range(5))
def test_equals_per_post_python(seed):
    ranked, gold, valid = make(60, seed)
    found = metrics.finish(sums_of(ranked, gold, valid), KS)
    mean = metrics.finish(sums_of(ranked, gold, valid), KS, f1="mean")
    micro = metrics.finish(sums_of(ranked, gold, valid), KS, average="micro")
    for k in KS:
        hits, sizes = by_hand(ranked, gold, valid, k)
        p, r = np.mean([h / k for h in hits]), np.mean([h / g for h, g in zip(hits, sizes)])
        assert found["posts"] == len(hits)
        assert found[f"precision@{k}"] == pytest.approx(p, abs=1e-12)
        assert found[f"recall@{k}"] == pytest.approx(r, abs=1e-12)
        assert found[f"f1@{k}"] == pytest.approx(2 * p * r / (p + r) if p else 0, abs=1e-12)
        assert found[f"accuracy@{k}"] == pytest.approx(np.mean([h > 0 for h in hits]), abs=1e-12)
        each = [2 * (h / k) * (h / g) / (h / k + h / g) if h else 0 for h, g in zip(hits, sizes)]
        assert mean[f"f1@{k}"] == pytest.approx(np.mean(each), abs=1e-12)
        assert micro[f"precision@{k}"] == pytest.approx(p, abs=1e-12)
        assert micro[f"recall@{k}"] == pytest.approx(sum(hits) / sum(sizes), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_identities(seed):
    ranked, gold, valid = make(80, seed)
    found = metrics.finish(sums_of(ranked, gold, valid), (1, 2, 5))
    assert found["precision@1"] == found["accuracy@1"]
    assert all(found[f"accuracy@{k}"] >= found[f"precision@{k}"] for k in KS)
    assert found["accuracy@1"] <= found["accuracy@2"] <= found["accuracy@5"]
    one = metrics.finish(sums_of(ranked, gold[:, :1], valid), KS)
    assert all(one[f"recall@{k}"] == one[f"accuracy@{k}"] for k in KS)


@pytest.mark.parametrize("cuts", [(30,), (1, 2, 3, 50), (0, 10, 60), tuple(range(5, 60, 5))])
def test_any_batches_add_up_to_the_whole(cuts):
    ranked, gold, valid = make(60, 7)
    whole = sums_of(ranked, gold, valid)
    parts = [sums_of(*(np.split(x, cuts)[i] for x in (ranked, gold, valid))) for i in range(len(cuts) + 1)]
    total = parts[-1]
    for part in parts[:-1]:
        total = metrics.add(total, part)
    assert all(np.array_equal(total[name], whole[name]) for name in whole)


def test_padding_changes_nothing():
    ranked, gold, valid = make(20, 3)
    wide = np.pad(ranked, ((0, 4), (0, 3)), constant_values=-1), np.pad(gold, ((0, 4), (2, 0)), constant_values=-1)
    padded = metrics.finish(sums_of(*wide, np.pad(valid, (0, 4), constant_values=True)), KS)
    assert padded == metrics.finish(sums_of(ranked, gold, valid), KS)


def test_one_compilation_and_no_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        before = sums_of._cache_size()
        for seed in range(3):
            sums_of(*make(17, seed))
    assert sums_of._cache_size() == before + 1


def test_posts_are_counted_beyond_float32():
    sums = jax.tree.map(np.asarray, sums_of(np.array([[1, 2]]), np.array([[1, 3]]), np.array([True]), (1, 2)))
    many = {name: value.astype(np.int64) * 1_000_000_007 for name, value in sums.items()}
    found = metrics.finish(metrics.add(many, sums), (1, 2))
    assert found["posts"] == 1_000_000_008
    assert found["recall@2"] == 0.5 and found["precision@1"] == 1


def test_nothing_to_count():
    found = metrics.finish(sums_of(*make(4, 0)[:2], np.zeros(4, bool)), KS)
    assert set(found.values()) == {0}


def test_wrong_cut_offs_and_names():
    with pytest.raises(ValueError, match="cut-offs"):
        sums_of(*make(4, 0), (1, 7))
    assert metrics.parse("recall@10") == ("recall", 10)
    for name in ("recall", "map@5", "f1@0", "f1@-1", "f1@x", "@1"):
        with pytest.raises(ValueError, match="not a metric"):
            metrics.parse(name)


@pytest.mark.parity
def test_single_hashtag_posts_equal_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install -e '.[parity]'")
    rng = np.random.default_rng(0)
    gold, top = rng.integers(0, 6, 300), rng.integers(0, 7, 300)
    found = metrics.finish(sums_of(top[:, None], gold[:, None], np.ones(300, bool), (1,)), (1,))
    assert found["accuracy@1"] == pytest.approx(sklearn.accuracy_score(gold, top))
    for average in ("micro", "macro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(gold, top, average=average, zero_division=0)[:3]
        ours = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(expected, abs=1e-12)


@pytest.mark.parity
def test_several_hashtags_equal_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install -e '.[parity]'")
    ranked, gold, _ = make(200, 4)
    has = (gold >= 0).any(1)
    found = metrics.finish(sums_of(ranked, gold, np.ones(200, bool)), KS)
    truth, made = np.zeros((200, CANDIDATES), int), np.zeros((200, CANDIDATES), int)
    for i in np.flatnonzero(has):
        truth[i, gold[i][gold[i] >= 0]] = 1
        made[i, ranked[i, :1][ranked[i, :1] >= 0]] = 1
    for average in ("micro", "macro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(truth[has], made[has], average=average, zero_division=0)[:3]
        ours = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(expected, abs=1e-12)


PRINTED = [  # P, R, F1 as printed: LXMERT4Hashtag Table 3 and abstract, HMemN2N Tables 2 and 3
    (0.272, 0.106, 0.152), (0.327, 0.103, 0.156), (0.469, 0.177, 0.257), (0.51, 0.192, 0.279), (0.532, 0.202, 0.293),
    (0.599, 0.233, 0.335), (0.505, 0.4402, 0.4704), (0.4612, 0.3893, 0.4222),
    (0.123, 0.098, 0.109), (0.198, 0.156, 0.175), (0.232, 0.181, 0.203), (0.312, 0.241, 0.272), (0.234, 0.190, 0.210),
    (0.328, 0.255, 0.287), (0.501, 0.403, 0.446), (0.538, 0.436, 0.482), (0.481, 0.385, 0.428), (0.521, 0.421, 0.466),
    (0.462, 0.370, 0.411), (0.508, 0.410, 0.454), (0.530, 0.430, 0.475), (0.536, 0.437, 0.481), (0.538, 0.437, 0.482),
    (0.534, 0.433, 0.478), (0.528, 0.428, 0.473), (0.521, 0.421, 0.466),
]  # fmt: skip


@pytest.mark.parametrize("precision,recall,f1", PRINTED)
def test_the_papers_f1_is_the_harmonic_mean_of_their_averages(precision, recall, f1):
    assert float(metrics.harmonic(precision, recall)) == pytest.approx(f1, abs=0.001 + 1e-9)
