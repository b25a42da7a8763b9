import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.layers.comparing import Compared
from jaxtag.training.objectives import OBJECTIVES, one_of, pairs, sigmoid, single


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


LABELS = np.array([[0, 3, -1], [5, -1, -1], [1, 2, 4], [-1, -1, -1], [3, 5, -1]])
ALLOWED = np.array([1, 1, 1, 1, 1, 0], bool)


def test_sigmoid_matches_a_sum_over_hashtags() -> None:
    logits = np.random.default_rng(3).normal(size=(5, 6)).astype(np.float32)
    for smoothing in (0.0, 0.1):
        loss, weight = sigmoid(jnp.asarray(logits), jnp.asarray(LABELS), jnp.asarray(ALLOWED), jnp.float32(smoothing))
        for row, gold, found, counted in zip(logits.astype(np.float64), LABELS, loss, weight):
            p, expected = 1 / (1 + np.exp(-row)), 0.0
            for label in range(5):
                target = (1 - smoothing) * (label in gold) + smoothing / 2
                expected -= target * np.log(p[label]) + (1 - target) * np.log(1 - p[label])
            real = any(g >= 0 and ALLOWED[g] for g in gold)
            assert counted == real
            np.testing.assert_allclose(found, expected if real else 0, rtol=1e-5)


def test_sigmoid_of_large_logits_is_finite_and_reaches_allowed_hashtags_alone() -> None:
    logits = jnp.array([[1e4, -1e4, 3.0]])
    allowed = jnp.array([True, True, False])
    total = lambda x: sigmoid(x, jnp.array([[1, 2]]), allowed, jnp.float32(0))[0].sum()  # noqa: E731
    loss, gradient = jax.value_and_grad(total)(logits)
    assert loss == 2e4
    np.testing.assert_array_equal(gradient, [[1, -1, 0]])


def test_one_hashtag_is_drawn_evenly_of_those_allowed() -> None:
    keys = jax.vmap(lambda i: jax.random.split(jax.random.key(i, impl="threefry2x32"), 5))(jnp.arange(600))
    draw = jax.jit(jax.vmap(lambda keys: one_of(jnp.asarray(LABELS), jnp.asarray(ALLOWED), keys)))
    drawn = np.asarray(draw(keys))[..., 0]
    counts = [dict(zip(*np.unique(post, return_counts=True))) for post in drawn.T]
    assert [set(c) for c in counts] == [{0, 3}, {-1}, {1, 2, 4}, {-1}, {3}]
    for post, names in ((0, (0, 3)), (2, (1, 2, 4))):
        expected = 600 / len(names)
        assert all(abs(counts[post][name] - expected) < 5 * expected**0.5 for name in names)


def test_a_hashtag_drawn_costs_on_average_what_evaluation_says() -> None:
    logits = jnp.asarray(np.random.default_rng(4).normal(size=(5, 6)), jnp.float32)
    given = logits, jnp.asarray(LABELS), jnp.asarray(ALLOWED), jnp.float32(0)
    loss, weight = OBJECTIVES["random_one"](*given)
    every, many = pairs(*given)
    np.testing.assert_allclose(loss, every / np.maximum(many, 1), rtol=1e-6)
    np.testing.assert_array_equal(weight, [1, 0, 1, 0, 1])
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 5)
    loss, weight = OBJECTIVES["random_one"](*given, keys)
    label = one_of(*given[1:3], keys)
    np.testing.assert_allclose(loss, pairs(logits, label, *given[2:])[0], rtol=1e-6)
    np.testing.assert_array_equal(weight, [1, 0, 1, 0, 1])


def test_what_couples_posts_says_so() -> None:
    """The loss of a post is the same alone and in a batch just where an objective may be divided."""
    rng = np.random.default_rng(2)
    labels = jnp.asarray(rng.integers(-1, 5, (6, 2)))
    views = jnp.asarray(rng.normal(size=(2, 1, 6, 5)), jnp.float32)
    for name, objective in OBJECTIVES.items():
        logits = jnp.asarray(rng.normal(size=(6, 3, 5) if name == "sequence" else (6, 5)), jnp.float32)

        @jax.jit
        def judged(logits: jax.Array, views: jax.Array, labels: jax.Array) -> jax.Array:
            real = jnp.ones((1, len(labels)), bool)
            given = Compared(*views, real, real, 0.2, True, True) if name == "hinge" else logits  # noqa: B023
            return jnp.stack(objective(given, labels, jnp.ones(5, bool), jnp.float32(0.1)))  # noqa: B023

        def of(rows: slice) -> np.ndarray:
            return np.asarray(judged(logits[rows], views[:, :, rows], labels[rows]))  # noqa: B023

        alone = np.concatenate([of(slice(i, i + 1)) for i in range(6)], axis=1)
        assert np.allclose(of(slice(6)), alone, rtol=1e-6) != objective.couples
