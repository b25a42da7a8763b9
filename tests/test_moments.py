from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.estimators.moments import Moments, Pair, Sums, _add, accumulate, finish, start
from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import by_batch, make_mesh

BATCH, WIDTH, HASHTAGS = 32, 12, 5
MESHES = {1: (1, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2)}


def posts(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features far from zero, of very different scales, and one to three hashtags each; some have none."""
    rng = np.random.default_rng(seed)
    scale, mean = 10.0 ** rng.uniform(-2, 2, WIDTH), rng.uniform(-20, 20, WIDTH)
    features = (scale * (rng.normal(size=(count, WIDTH)) + mean)).astype(np.float32)
    labels = np.full((count, 3), -1, np.int32)
    for row in labels:
        n = rng.integers(0, 4)
        row[:n] = rng.choice(HASHTAGS, n, replace=False)
    return features, labels


def streamed(features: np.ndarray, labels: np.ndarray, devices: int = 0, batch: int = BATCH) -> Sums:
    """Sums in batches, the last one padded with NaN; over so many devices, or without a mesh."""
    mesh = make_mesh(Parallel(*MESHES[devices]), jax.devices()[:devices]) if devices else None
    put = (lambda x: jax.device_put(x, by_batch(mesh))) if mesh else jnp.asarray
    step = jax.jit(partial(accumulate, mesh=mesh), donate_argnums=0)
    sums = None
    for first in range(0, len(features), batch):
        part, tags = features[first : first + batch], labels[first : first + batch]
        missing = batch - len(part)
        part = put(np.pad(part, ((0, missing), (0, 0)), constant_values=np.nan))
        tags, valid = put(np.pad(tags, ((0, missing), (0, 0)))), put(np.arange(batch) < batch - missing)
        sums = start(part, valid, HASHTAGS) if sums is None else sums
        sums = step(sums, part, tags, valid)
    assert sums is not None
    return sums


def direct(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row for each (post, hashtag) pair: features `[m, p]` and hashtag `[m]`, float64."""
    row, column = np.nonzero(labels >= 0)
    return features[row].astype(np.float64), labels[row, column]


def check(found: Moments, features: np.ndarray, labels: np.ndarray) -> None:
    """Raw, centred and standardised sums are those of the pairs to 1e-6 of what their features allow."""
    x, tag = direct(features, labels)
    one = np.eye(HASHTAGS)[tag]
    np.testing.assert_array_equal(found.counts, one.sum(0))
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.deviation, x.std(0), rtol=1e-6)
    for point in (np.zeros(WIDTH), x.mean(0)):
        z = x - point
        about = found.about(point)
        size = np.linalg.norm(z, axis=0)  # Cauchy-Schwarz: no product is larger than these of its two features
        np.testing.assert_allclose(about.gram / size / size[:, None], z.T @ z / size / size[:, None], atol=1e-6)
        sizes = np.sqrt(one.sum(0))[:, None] * size
        np.testing.assert_allclose(about.by_hashtag / sizes, one.T @ z / sizes, atol=1e-6)


@pytest.mark.parametrize("devices", [0, 1, 4, 8])
def test_streamed_sums_are_the_direct_ones(devices: int) -> None:
    features, labels = posts(1001)
    check(finish(streamed(features, labels, devices)), features, labels)


def test_many_batches_are_as_exact_as_one() -> None:
    features, labels = posts(20_000)
    check(finish(streamed(features, labels, batch=8)), features, labels)


def test_what_an_addition_rounds_away_is_kept() -> None:
    pair = Pair(jnp.float32(1), jnp.float32(0))
    pair = jax.jit(lambda p: jax.lax.fori_loop(0, 1000, lambda _, q: _add(q, jnp.float32(2.0**-30)), p))(pair)
    assert float(pair.total) == 1.0
    assert float(pair.rest) == 1000 * 2.0**-30


def test_sums_of_parts_add_up_whatever_their_shifts() -> None:
    features, labels = posts(300)
    parts = [finish(streamed(features[cut], labels[cut])) for cut in (slice(0, 90), slice(90, 300))]
    assert (parts[0].shift != parts[1].shift).all()
    check(parts[0] + parts[1], features, labels)


def test_labels_of_other_hashtags_do_not_count() -> None:
    features, labels = posts(100)
    more = np.where(labels < 0, HASHTAGS + 3, labels)
    one, other = (finish(streamed(features, x)) for x in (labels, more))
    jax.tree.map(np.testing.assert_array_equal, vars(one), vars(other))


def test_means_and_the_sums_of_some_hashtags() -> None:
    features, labels = posts(200)
    labels = labels[:, :1] % 3  # none without a hashtag, and none of 3 and 4
    found = finish(streamed(features, labels))
    for tag in range(3):
        np.testing.assert_allclose(found.means[tag], features[labels[:, 0] == tag].mean(0, dtype=float), rtol=1e-6)
    assert np.isnan(found.means[3:]).all()
    some = found.only(np.array([2, 0, 1]))
    np.testing.assert_array_equal(some.by_hashtag, found.by_hashtag[[2, 0, 1]])
    assert some.pairs == found.pairs == 200
    with pytest.raises(ValueError, match="posts of other hashtags"):
        found.only(np.array([0, 1]))


def test_a_constant_feature_has_deviation_one() -> None:
    features, labels = posts(100)
    features[:, 2], features[:, 5] = 0.1, 0
    deviation = finish(streamed(features, labels)).deviation
    assert deviation[2] == deviation[5] == 1
    assert (deviation[[0, 1, 3, 4]] != 1).all()


def test_features_that_are_not_finite_are_refused() -> None:
    features, labels = posts(100)
    labels[:] = [0, 1, -1]
    labels[50] = -1  # a post that does not count may have anything
    features[50] = np.nan
    finish(streamed(features, labels))
    features[[3, 40, 77], [1, 2, 3]] = np.nan, np.inf, -np.inf
    with pytest.raises(JaxtagError, match="^the image's features of 3 posts are NaN or infinite; choose"):
        finish(streamed(features, labels), "the image's features")
    features = np.full((100, WIDTH), 1e30, np.float32)
    features[::2] = 0
    with pytest.raises(JaxtagError, match="too large"):
        finish(streamed(features, labels))


def test_no_posts_are_refused() -> None:
    features, labels = posts(10)
    with pytest.raises(JaxtagError, match="^no post with a seen hashtag"):
        finish(streamed(features, np.full_like(labels, -1)))
