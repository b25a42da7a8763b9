import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.training.objectives import OBJECTIVES, pairs, single


def brute_force(logits: np.ndarray, labels: np.ndarray, allowed: np.ndarray, smoothing: float) -> tuple:
    losses, weights = [], []
    for row, gold in zip(logits.astype(np.float64), labels):
        logp = row - np.log(np.exp(row[allowed]).sum())
        real = [g for g in gold if g >= 0 and allowed[g]]
        losses.append(sum(-(1 - smoothing) * logp[g] - smoothing * logp[allowed].mean() for g in real))
        weights.append(len(real))
    return losses, weights


def test_pairs_matches_a_sum_over_pairs() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 6)).astype(np.float32)
    labels = np.array([[0, 3, -1], [5, -1, -1], [1, 2, 4], [-1, -1, -1], [3, 5, -1]])
    allowed = np.array([1, 1, 1, 1, 1, 0], bool)
    for smoothing in (0.0, 0.1):
        loss, weight = pairs(jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(allowed), jnp.float32(smoothing))
        losses, weights = brute_force(logits, labels, allowed, smoothing)
        np.testing.assert_allclose(loss, losses, rtol=1e-5)
        np.testing.assert_array_equal(weight, weights)


def test_single_reads_the_first_hashtag() -> None:
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    labels = jnp.array([[0, 1], [2, -1], [1, 0], [1, 2]])
    loss, weight = single(logits, labels, jnp.ones(3, bool), jnp.float32(0))
    expected = -jax.nn.log_softmax(logits)[jnp.arange(4), labels[:, 0]]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(weight, 1)


def test_hashtags_that_are_not_allowed_get_no_gradient() -> None:
    allowed = jnp.array([True, True, False])
    gradient = jax.grad(lambda x: pairs(x, jnp.array([[0, 2]]), allowed, jnp.float32(0.1))[0].sum())(jnp.ones((1, 3)))
    assert np.isfinite(gradient).all()
    assert gradient[0, 2] == 0
    np.testing.assert_allclose(gradient.sum(), 0, atol=1e-6)


def test_none_of_these_couples_posts() -> None:
    """A post's loss is the same alone and in a batch: such objectives may be divided."""
    rng = np.random.default_rng(2)
    logits, labels = jnp.asarray(rng.normal(size=(6, 5)), jnp.float32), jnp.asarray(rng.integers(-1, 5, (6, 2)))
    for objective in OBJECTIVES.values():
        whole = objective(logits, labels, jnp.ones(5, bool), jnp.float32(0.1))
        alone = [objective(logits[i : i + 1], labels[i : i + 1], jnp.ones(5, bool), jnp.float32(0.1)) for i in range(6)]
        same = np.allclose(whole, np.concatenate(alone, axis=1), rtol=1e-6)
        assert same != objective.couples
