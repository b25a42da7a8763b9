"""Centring, standard scores and balance, and the maps that are pulled to the identity: against brute force."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.estimators import dem, eszsl, standard
from jaxtag.estimators.moments import Moments, accumulate, finish, start
from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.zero_shot import LAST, last_without_vector, with_last

P, N, POSTS = 5, 6, 90


def made(hashtags: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features `[m, P]`, a hashtag each `[m]`, and hashtags' vectors in the same space `[n, P]`, float64."""
    rng = np.random.default_rng(3)
    tag = rng.integers(0, hashtags, POSTS)
    vectors = rng.normal(size=(hashtags, P))
    return rng.normal(1, 1, (POSTS, P)) + vectors[tag], tag, vectors


def moments_of(x: np.ndarray, tag: np.ndarray, n: int = N, weights: np.ndarray | None = None) -> Moments:
    """Exact ones, in float64."""
    w = np.ones(len(x)) if weights is None else weights[tag]
    one, shift = np.eye(n)[tag] * w[:, None], x[0]
    z = x - shift
    return Moments(shift, (z * w[:, None]).T @ z, one.T @ z, one.sum(0))


def labels_of(tag: np.ndarray, neg_label: int, centred: bool, n: int = N) -> np.ndarray:
    y = np.where(np.eye(n)[tag] == 1, 1.0, neg_label)
    return y - y.mean(0) if centred else y


@pytest.mark.parametrize("hashtags", [N, P - 2])  # fewer than a vector has numbers: another path
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("neg_label", "centred"), [(0, False), (0, True), (-1, False), (-1, True)])
@pytest.mark.parametrize("standardise", [False, True])
def test_the_gradient_about_the_identity_vanishes(
    hashtags: int, beta: float, neg_label: int, centred: bool, standardise: bool
) -> None:
    x, tag, a = made(hashtags)
    y = labels_of(tag, neg_label, centred, hashtags)
    moments = moments_of(x, tag, hashtags)
    grid = eszsl.solve(moments, a, [0.5, 3.0], [0.2, 7.0], neg_label, standardise, beta, centred)
    scale = x.std(0) if standardise else np.ones(P)
    z = (x - x.mean(0)) / scale if standardise else x
    for i, j, found in grid.points():
        gamma, lam, w = grid.gammas[i], grid.lams[j], found * scale[:, None]
        v = w - beta * np.eye(P)
        gradient = z.T @ (z @ w @ a.T - y) @ a + gamma * v @ a.T @ a + lam * z.T @ z @ v + gamma * lam * v
        assert np.abs(gradient).max() <= 1e-8 * np.abs(z.T @ y @ a).max()
        alone = eszsl.solve(moments, a, [gamma], [lam], neg_label, standardise, beta, centred).weights(0, 0)
        np.testing.assert_allclose(found, alone, rtol=1e-8, atol=1e-12)
        np.testing.assert_array_equal(found, grid.weights(i, j))


def test_without_an_identity_it_is_eszsl() -> None:
    x, tag, a = made()
    one, w = np.eye(N)[tag], eszsl.solve(moments_of(x, tag), a, [2.0], [0.5], identity=0.0).weights(0, 0)
    expected = np.linalg.inv(x.T @ x + 2 * np.eye(P)) @ x.T @ one @ a @ np.linalg.inv(a.T @ a + 0.5 * np.eye(P))
    np.testing.assert_allclose(w, expected, rtol=1e-9)
    near = eszsl.solve(moments_of(x, tag), a, [1e9], [1e9], identity=1.0).weights(0, 0)
    np.testing.assert_allclose(near, np.eye(P), atol=1e-6)  # strong regularisation leaves what it pulls to
    with pytest.raises(ValueError, match="5 features and 4 numbers"):
        eszsl.solve(moments_of(x, tag), a[:, :4], identity=1.0)


@pytest.mark.parametrize("devices", [0, 1, 8])
def test_weights_are_repeated_posts(devices: int) -> None:
    x, tag, _ = made()
    x, weights = x[:80].astype(np.float32), np.array([1, 3, 0, 2, 5, 1])
    labels = np.stack([tag[:80], np.where(np.arange(80) % 3 == 0, (tag[:80] + 1) % N, -1)], 1).astype(np.int32)
    mesh = make_mesh(Parallel(*{1: (1, 1, 1), 8: (4, 2, 1)}[devices])) if devices == 8 else None
    sums = start(jnp.asarray(x), jnp.ones(80, bool), N)
    given = jnp.asarray(weights, jnp.float32)
    for part in (slice(0, 40), slice(40, 80)):
        sums = accumulate(sums, jnp.asarray(x[part]), jnp.asarray(labels[part]), jnp.ones(40, bool), mesh, given)
    found = finish(sums, weights=weights)
    row, column = np.nonzero(labels >= 0)
    times = weights[labels[row, column]]
    expected = moments_of(np.repeat(x[row], times, 0).astype(float), np.repeat(labels[row, column], times))
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-6 * np.abs(expected.covariance).max())
    same, other = found.about(np.zeros(P)), expected.about(np.zeros(P))
    np.testing.assert_allclose(same.gram, other.gram, rtol=1e-6, atol=1e-6 * np.abs(other.gram).max())
    np.testing.assert_allclose(same.by_hashtag, other.by_hashtag, rtol=1e-6, atol=1e-5)


def test_balance_gives_hashtags_the_same_weight() -> None:
    counts = np.array([10, 40, 0, 250])
    np.testing.assert_allclose(standard.balance(counts, 1.0) * counts, [100, 100, 0, 100])
    np.testing.assert_allclose(standard.balance(counts, 0.5), [np.sqrt(10), np.sqrt(2.5), 0, np.sqrt(0.4)])
    np.testing.assert_array_equal(standard.balance(counts, 0.0), [1, 1, 0, 1])


def test_standard_scores_are_standard_over_the_training_posts() -> None:
    x, tag, a = made()
    rng = np.random.default_rng(1)
    rows, other = rng.normal(size=(7, P)) * 10.0 ** rng.integers(-3, 4, (7, 1)), rng.normal(size=(4, P))
    fitted: dict[str, Any] = {k: jnp.asarray(v) for k, v in standard.scoring(moments_of(x, tag)).items()}
    table = standard.table(fitted, jnp.asarray(rows, jnp.float32))
    scores = np.asarray(standard.query(fitted, jnp.asarray(x, jnp.float32)) @ table.T)
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scores.std(0), 1, rtol=1e-5)
    u = x @ rows.T
    np.testing.assert_allclose(scores, (u - u.mean(0)) / u.std(0), atol=1e-4)
    scores = np.asarray(standard.query(fitted, jnp.asarray(other, jnp.float32)) @ table.T)
    np.testing.assert_allclose(scores, (other @ rows.T - u.mean(0)) / u.std(0), atol=1e-4)


def test_a_hashtag_without_a_vector_or_of_one_score_is_never_nan() -> None:
    x, tag, _ = made()
    x[:, 2] = 0.25  # every post scores the same for what is only of this feature
    fitted: dict[str, Any] = standard.scoring(moments_of(x, tag))
    vectors = jnp.asarray(np.eye(P)[[0, 2, 1]] * [[1], [1], [0]], jnp.float32)
    table = last_without_vector(standard.table(fitted, vectors), vectors)
    scores = np.asarray(with_last(standard.query(fitted, jnp.asarray(x, jnp.float32))) @ table.T)
    assert np.isfinite(scores).all() and (scores[:, 2] == np.float32(LAST)).all() and (scores[:, 1] == 0).all()


def test_centring_is_about_the_mean_and_of_length_one() -> None:
    x = np.random.default_rng(0).normal(size=(4, P)).astype(np.float32)
    mean = np.arange(P, dtype=np.float32)
    expected = (x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True)
    np.testing.assert_allclose(standard.centred(jnp.asarray(x), jnp.asarray(mean)), expected, rtol=1e-6)
    np.testing.assert_array_equal(standard.centred(jnp.asarray(x), None), x)


@pytest.mark.parametrize(("decay", "identity"), [(0.3, 0.0), (0.3, 1.0), (0.0, 1.0), (1e6, 1.0)])
def test_the_linear_branch_is_least_where_it_should_be(decay: float, identity: float) -> None:
    x, tag, a = made(P - 2)
    moments, weight = moments_of(x, tag, P - 2), np.array([3.0, 1.0, 2.0])
    found = dem.fit_linear(moments.means, moments.mean, a, weight, decay, identity)
    w, rest, share = found["kernel"], moments.means - x.mean(0), (weight / weight.sum())[:, None]
    np.testing.assert_allclose(found["bias"], x.mean(0))
    multiple = (share * a * rest).sum() / (share * a * a).sum()
    alone = lambda c: (share * (rest - c * a) ** 2).sum()  # noqa: E731
    assert alone(multiple) < min(alone(multiple + 1e-3), alone(multiple - 1e-3))
    from_identity = w - identity * multiple * np.eye(P)
    gradient = -2 * a.T @ (share * (rest - a @ w)) / P + decay * from_identity
    assert np.abs(gradient).max() <= 1e-9 * max(1, decay)
    if decay == 0:  # of the many that fit, the nearest: nothing is changed off the span of the vectors
        np.testing.assert_allclose(from_identity.T @ np.linalg.svd(a)[2][len(a) :].T, 0, atol=1e-9)
    if decay == 1e6:
        np.testing.assert_allclose(w, multiple * np.eye(P), atol=1e-5)
