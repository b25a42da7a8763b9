import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.estimators import conse, cosine, dem, eszsl, vectors
from jaxtag.estimators.moments import Moments, accumulate, finish, start
from jaxtag.ranking import top_k

P, S, N, POSTS = 9, 4, 6, 80


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features `[m, p]` away from zero, a hashtag each `[m]`, and hashtags' vectors `[n, s]`, float64."""
    rng = np.random.default_rng(seed)
    return rng.normal(1, 2, (POSTS, P)), rng.integers(0, N, POSTS), rng.normal(size=(N, S))


def moments_of(x: np.ndarray, tag: np.ndarray) -> Moments:
    """Exact ones, in float64, about a point of their own."""
    shift = x[0]
    return Moments(shift, (x - shift).T @ (x - shift), np.eye(N)[tag].T @ (x - shift), np.bincount(tag, minlength=N))


def terms(w: np.ndarray, x: np.ndarray, y: np.ndarray, a: np.ndarray, gamma: float, lam: float) -> float:
    """The four-term objective, as published; x `[p, m]`, y `[m, n]`, a `[s, n]`."""
    square = lambda m: np.square(m).sum()  # noqa: E731
    fit = square(x.T @ w @ a - y)
    return fit + gamma * square(w @ a) + lam * square(x.T @ w) + gamma * lam * square(w)


@pytest.mark.parametrize("neg_label", [0, -1])
@pytest.mark.parametrize("standardise", [False, True])
def test_the_gradient_of_the_four_terms_vanishes(neg_label: int, standardise: bool) -> None:
    x, tag, a = made()
    gamma, lam = 0.7, 2.5
    grid = eszsl.solve(moments_of(x, tag), a, [gamma], [lam], neg_label, standardise)
    w = grid.weights(0, 0)
    if standardise:
        x, w = (x - x.mean(0)) / x.std(0), w * x.std(0)[:, None]
    x, a, y = x.T, a.T, np.where(np.eye(N)[tag] == 1, 1, neg_label)
    gradient = 2 * (x @ (x.T @ w @ a - y) @ a.T + gamma * w @ a @ a.T + lam * x @ x.T @ w + gamma * lam * w)
    assert np.abs(gradient).max() <= 1e-8 * np.abs(2 * x @ y @ a.T).max()
    # That it is the gradient: the terms are quadratic, so differences along any direction are exact.
    rng = np.random.default_rng(1)
    for at in (w, rng.normal(size=w.shape)):
        along = rng.normal(size=w.shape)
        slope = (terms(at + along, x, y, a, gamma, lam) - terms(at - along, x, y, a, gamma, lam)) / 2
        there = 2 * (x @ (x.T @ at @ a - y) @ a.T + gamma * at @ a @ a.T + lam * x @ x.T @ at)
        there += 2 * gamma * lam * at
        np.testing.assert_allclose(slope, (there * along).sum(), rtol=1e-8, atol=1e-8 * terms(at, x, y, a, 1, 1))
        assert terms(w, x, y, a, gamma, lam) < terms(w + along, x, y, a, gamma, lam)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("width", [S, N, N + 4])  # of a vector: fewer numbers than hashtags, as many, more
def test_each_point_of_a_grid_is_its_own_solution(standardise: bool, width: int) -> None:
    x, tag, _ = made()
    a = np.random.default_rng(7).normal(size=(N, width))
    grid = eszsl.solve(moments_of(x, tag), a, standardise=standardise)
    deviation = x.std(0) if standardise else np.ones(P)
    z = (x - x.mean(0)) / deviation if standardise else x
    seen = []
    for i, j, w in grid.points():
        gamma, lam = eszsl.GRID[i], eszsl.GRID[j]
        right = z.T @ np.eye(N)[tag] @ a @ np.linalg.inv(a.T @ a + lam * np.eye(width))
        expected = np.linalg.solve(z.T @ z + gamma * np.eye(P), right) / deviation[:, None]
        np.testing.assert_allclose(w, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_array_equal(w, grid.weights(i, j))
        seen.append((i, j))
    assert seen == [(i, j) for i in range(7) for j in range(7)]


def test_streamed_posts_give_the_direct_map_and_ranking() -> None:
    x, tag, a = made()
    features, labels = jnp.asarray(x, jnp.float32), jnp.asarray(tag[:, None], jnp.int32)
    valid = jnp.ones(POSTS, bool)
    sums = accumulate(start(features, valid, N), features, labels, valid)
    for standardise in (False, True):
        grid = eszsl.solve(finish(sums), a, [1.0], [1.0], standardise=standardise)
        expected = eszsl.solve(moments_of(x, tag), a, [1.0], [1.0], standardise=standardise).weights(0, 0)
        np.testing.assert_allclose(grid.weights(0, 0), expected, atol=1e-6 * np.abs(expected).max())
        params = grid.params(grid.weights(0, 0))
        z = x - x.mean(0) if standardise else x
        found = eszsl.query(params, features) @ eszsl.table(jnp.asarray(a)).T
        np.testing.assert_allclose(found, z @ expected @ a.T, atol=1e-4)


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf")])
def test_regularisation_that_is_not_positive_is_refused(bad: float) -> None:
    x, tag, a = made()
    with pytest.raises(JaxtagError, match=f"^gamma is {bad:g}; it must be a positive number"):
        eszsl.solve(moments_of(x, tag), a, [1, bad])
    with pytest.raises(JaxtagError, match=f"^lambda is {bad:g}; it must be a positive number"):
        eszsl.solve(moments_of(x, tag), a, [1], [bad])
    with pytest.raises(JaxtagError, match="^the grid has no value of gamma"):
        eszsl.solve(moments_of(x, tag), a, [])
    with pytest.raises(ValueError, match="5 vectors of 6"):
        eszsl.solve(moments_of(x, tag), a[:5])
    with pytest.raises(ValueError, match="neg_label"):
        eszsl.solve(moments_of(x, tag), a, neg_label=1)


def test_conse_over_every_seen_hashtag_is_a_product() -> None:
    rng = np.random.default_rng(0)
    p, s = rng.dirichlet(np.ones(N), 20).astype(np.float32), rng.normal(size=(N, S)).astype(np.float32)
    for most in (None, N, N + 3):
        np.testing.assert_allclose(conse.place(jnp.asarray(p), jnp.asarray(s), most), p @ s, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(conse.place(jnp.asarray(p), jnp.asarray(s), 1), s[p.argmax(1)], rtol=1e-5)
    for row, found in zip(p, conse.place(jnp.asarray(p), jnp.asarray(s), 3)):
        first = np.argsort(-row)[:3]
        np.testing.assert_allclose(found, row[first] @ s[first] / row[first].sum(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="the 0 most probable"):
        conse.place(jnp.asarray(p), jnp.asarray(s), 0)


def test_conse_ranks_by_cosine() -> None:
    rng = np.random.default_rng(1)
    p, s, unseen = rng.dirichlet(np.ones(N), 20), rng.normal(size=(N, S)), rng.normal(size=(11, S))
    scores = conse.query(jnp.asarray(p), jnp.asarray(s)) @ conse.table(jnp.asarray(unseen)).T
    f = p @ s
    cosines = f @ unseen.T / np.linalg.norm(f, axis=1)[:, None] / np.linalg.norm(unseen, axis=1)
    np.testing.assert_allclose(scores, cosines, atol=1e-6)


def test_unit_rows() -> None:
    rows = jnp.array([[3.0, 4.0], [0.0, 0.0], [3e30, 4e30], [3e-30, -4e-30]])
    expected = [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, -0.8]]
    np.testing.assert_allclose(vectors.unit(rows), expected, rtol=1e-6)


def test_cosine_is_of_the_mean_of_the_words_that_count() -> None:
    words = np.random.default_rng(2).normal(size=(8, 3)).astype(np.float32)
    counted = np.array([0, 0, 1, 1, 0, 1, 1, 1], bool)
    tokens = np.array([[2, 3, 0, 0], [5, 1, 4, 5], [1, 4, 0, 0]], np.int32)
    found = cosine.mean_vectors(*map(jnp.asarray, (tokens, words, counted)))
    np.testing.assert_allclose(found, [(words[2] + words[3]) / 2, words[5], np.zeros(3)], rtol=1e-6)
    hashtags = np.random.default_rng(3).normal(size=(5, 3))
    scores = cosine.query(*map(jnp.asarray, (tokens, words, counted))) @ cosine.table(jnp.asarray(hashtags)).T
    norm = np.linalg.norm
    expected = words[5] @ hashtags.T / norm(words[5]) / norm(hashtags, axis=1)
    np.testing.assert_allclose(scores[1], expected, atol=1e-6)
    np.testing.assert_array_equal(scores[2], 0)


def test_dem_parameter_count() -> None:
    params = jax.eval_shape(lambda key: dem.init(key, 150, 1024), jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == 154_624


def dem_case() -> tuple[dem.Params, np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, features `[m, p]`, hashtags `[m]` and vectors `[n, s]`."""
    x, tag, a = made(4)
    params = dem.init(jax.random.key(1), S, P)
    return params | {"bias": jnp.asarray(np.random.default_rng(5).normal(size=P), jnp.float32)}, x, tag, a


def test_dem_loss_is_its_equation() -> None:
    params, x, tag, a = dem_case()
    w, b = (np.asarray(params[name], np.float64) for name in ("kernel", "bias"))
    g = np.maximum(a @ w + b, 0)
    assert (g == 0).any() and (g > 0).any()
    np.testing.assert_allclose(dem.branch(params, jnp.asarray(a)), g, rtol=1e-5, atol=1e-6)
    expected = np.square(x - g[tag]).mean() + 1e-3 * 0.5 * (np.square(w).sum() + np.square(b).sum())
    found = dem.loss(params, jnp.asarray(x), jnp.asarray(a[tag]), jnp.ones(POSTS), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_dem_learns_the_same_from_the_means_of_each_hashtag() -> None:
    params, x, tag, a = dem_case()
    found = moments_of(x, tag)
    every = jax.grad(dem.loss)(params, jnp.asarray(x), jnp.asarray(a[tag]), jnp.ones(POSTS), 1e-3)
    means = jax.grad(dem.loss)(params, jnp.asarray(found.means), jnp.asarray(a), jnp.asarray(found.counts), 1e-3)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), every, means)


def test_dem_ranks_the_nearest_first() -> None:
    params, x, _, _ = dem_case()
    unseen = np.random.default_rng(6).normal(size=(30, S))
    g = np.asarray(dem.branch(params, jnp.asarray(unseen)), np.float64)
    squared = np.square(x[:, None] - g).sum(2)
    query, table = dem.query(jnp.asarray(x)), dem.table(params, jnp.asarray(unseen))
    np.testing.assert_allclose(query @ table.T - np.square(x).sum(1)[:, None], -squared, rtol=1e-4, atol=1e-4)
    positions, _ = top_k(query, table, 5)
    np.testing.assert_array_equal(positions, np.argsort(squared, axis=1, kind="stable")[:, :5])


def test_hashtags_without_a_vector_are_refused_by_name() -> None:
    table = np.random.default_rng(0).normal(size=(6, 3))
    names = [f"h{i}" for i in range(6)]
    vectors.check_vectors(table, names, "--some-option")
    table[4] = 0
    with pytest.raises(JaxtagError, match="^1 of 6 hashtags has no vector: #h4; leave such hashtags out with --some-"):
        vectors.check_vectors(table, names, "--some-option")
    table[[0, 2, 5], [0, 1, 2]] = np.nan
    with pytest.raises(JaxtagError, match="^4 of 6 hashtags have no vector: #h0, #h2, #h4, …; leave"):
        vectors.check_vectors(table, names, "--some-option")
    np.testing.assert_array_equal(vectors.without_vector(table), [0, 2, 4, 5])
