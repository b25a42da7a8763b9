"""ML-kNN against sums made by hand and scikit-multilearn; TF-IDF against scikit-learn's."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.estimators import mlknn, neighbours, tfidf, voters
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.files import read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.runs import bind
from jaxtag.training import train as training
from tests import toy

N, L, K = 60, 7, 4


def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training features, queries, and gold hashtags `[N, L]`, of which one is never used."""
    rng = np.random.default_rng(0)
    x, q = rng.normal(size=(N, 5)).astype(np.float32), rng.normal(size=(20, 5)).astype(np.float32)
    gold = (x @ rng.normal(size=(5, L)) + rng.normal(size=(N, L)) > 0.8).astype(float)
    gold[:, 3] = 0
    return x, q, gold


def ours(settings: Any, x: np.ndarray, q: np.ndarray, gold: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array

    near = lambda: neighbours.search(x, x, settings.k, exclude_self=settings.exclude_self)[0]  # noqa: E731
    fitted = mlknn.fit(settings, near, csr_array(gold))
    rows = np.where(gold > 0, np.arange(L), -1)
    kept = voters.kept(rows)
    places = jnp.asarray(neighbours.search(q, x, settings.k)[0])
    return np.asarray(mlknn.scores(settings, fitted, places, voters.hashtags_of(kept, places)))


@pytest.mark.parametrize("exclude", [True, False])
def test_posteriors_are_those_of_the_paper(exclude: bool) -> None:
    x, q, gold = made()
    settings = mlknn.Settings(k=K, smoothing=0.5, exclude_self=exclude)
    found, s = ours(settings, x, q, gold), 0.5
    distance = lambda a: np.square(a[:, None].astype(float) - x).sum(2)  # noqa: E731
    own = distance(x) + (np.eye(N) * 1e9 if exclude else 0)
    near, asked = (np.argsort(d, axis=1, kind="stable")[:, :K] for d in (own, distance(q)))
    for h in range(L):
        prior = (s + gold[:, h].sum()) / (2 * s + N)
        delta = gold[near, h].sum(1)
        c, other = ([sum((delta == d) & (gold[:, h] == v)) for d in range(K + 1)] for v in (1, 0))
        for i, d in enumerate(gold[asked, h].sum(1).astype(int)):
            yes = prior * (s + c[d]) / (s * (K + 1) + sum(c))
            no = (1 - prior) * (s + other[d]) / (s * (K + 1) + sum(other))
            np.testing.assert_allclose(found[i, h], yes / (yes + no), atol=1e-6)


@pytest.mark.parity
def test_posteriors_are_scikit_multilearns(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("skmultilearn.adapt.mlknn", reason="scikit-multilearn is not installed")
    from sklearn.neighbors import NearestNeighbors

    # It gives k by position, which scikit-learn no longer takes.
    monkeypatch.setattr(theirs, "NearestNeighbors", lambda k: NearestNeighbors(n_neighbors=k))
    x, q, gold = made()
    model = theirs.MLkNN(k=K, s=1.0).fit(x, gold.astype(int))
    # Its `predict_proba` leaves P(H) P(E | H) undivided; `predict` compares it with P(¬H) P(E | ¬H).
    delta = gold[model.knn_.kneighbors(q, K, return_distance=False)].sum(1).astype(int)
    at = np.arange(L), delta
    yes, no = (
        prior * likely.toarray()[at]
        for prior, likely in (
            (model._prior_prob_true, model._cond_prob_true),
            (model._prior_prob_false, model._cond_prob_false),
        )
    )
    np.testing.assert_allclose(model.predict_proba(q).toarray(), yes, atol=1e-12)
    expected = yes / (yes + no)
    found = ours(mlknn.Settings(k=K, exclude_self=False), x, q, gold)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found >= 0.5, model.predict(q).toarray() > 0)
    assert np.abs(ours(mlknn.Settings(k=K), x, q, gold) - expected).max() > 1e-3  # the post itself counts there


def test_a_post_without_neighbours_has_the_prior() -> None:
    x, _, gold = made()
    from scipy.sparse import csr_array

    settings = mlknn.Settings(k=K)
    fitted = mlknn.fit(settings, lambda: neighbours.search(x, x, K, exclude_self=True)[0], csr_array(gold))
    none = jnp.full((1, K), -1)
    found = mlknn.scores(settings, fitted, none, jnp.full((1, K, 2), -1))
    np.testing.assert_allclose(found[0], (1 + gold.sum(0)) / (2 + N), rtol=1e-6)


def posts(rows: int, seed: int) -> np.ndarray:
    """Word ids `[rows, 12]` of few words, padded, some unknown."""
    rng = np.random.default_rng(seed)
    tokens = rng.choice([1, *range(FIRST_WORD, FIRST_WORD + 9)], (rows, 12))
    tokens[np.arange(12) >= rng.integers(0, 13, rows)[:, None]] = 0
    return tokens.astype(np.int32)


def test_tfidf_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, asked = posts(50, 0), posts(30, 1)
    fitted, has = tfidf.fit(train, 3, FIRST_WORD + 9)
    assert has.sum() == (train >= FIRST_WORD).any(1).sum() < 50

    def grams(row: np.ndarray) -> list[str]:
        spans = [row[i : i + m] for m in (1, 2, 3) for i in range(len(row) - m + 1)]
        return ["_".join(map(str, s)) for s in spans if (s >= FIRST_WORD).all()]

    analyzer: Any = grams
    model = TfidfVectorizer(analyzer=analyzer)
    x = model.fit_transform(list(train))[has]
    near = (model.transform(list(asked)) @ x.T).toarray()
    near = np.where(near > 0, near, -np.inf)
    none = jnp.full(30, -1, jnp.int32)
    run = jax.jit(lambda t: tfidf.nearest(fitted, tfidf.sequences(fitted, t, 3), 4, int(has.sum()), none))
    places, found = run(asked)
    length = np.sort(found, 1)[:, -1:] / np.maximum(np.sort(near, 1)[:, -1:], 1e-9)  # a query's weights are not divided
    for i in range(30):
        order = np.argsort(-near[i], kind="stable")[:4]
        real = near[i, order] > -np.inf
        np.testing.assert_array_equal(np.asarray(places[i]) >= 0, real)
        np.testing.assert_allclose(found[i][real], near[i, order][real] * length[i], rtol=1e-5)
        np.testing.assert_allclose(near[i, np.asarray(places[i])[real]], near[i, order][real], rtol=1e-5)


def test_a_post_is_not_its_own_neighbour_by_tfidf() -> None:
    train = posts(40, 2)
    train = train[(train >= FIRST_WORD).any(1)]
    fitted, _ = tfidf.fit(train, 2, FIRST_WORD + 9)
    own = jnp.arange(len(train), dtype=jnp.int32)
    grams = tfidf.sequences(fitted, jnp.asarray(train), 2)
    with_it, _ = tfidf.nearest(fitted, grams, 3, len(train), own - len(train))
    without, _ = tfidf.nearest(fitted, grams, 3, len(train), own)
    assert (np.asarray(with_it) == np.asarray(own)[:, None]).any(1).all()
    assert not (np.asarray(without) == np.asarray(own)[:, None]).any()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("mlknn") / "data", 330)
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    return path


def bound(data: Path, devices: int, **overrides: Any) -> Any:
    dataset = open_dataset(data)
    small: dict[str, Any] = {"evaluation.batch": 128, "evaluation.k": "1,2,3"}
    return bind(resolve("amnn/mlknn", "tiny", small | overrides), dataset, dataset.split(), jax.devices()[:devices])


@pytest.mark.usefixtures("one_device")
def test_a_run_is_evaluated_and_recommends_as_it_ranks(data: Path, tmp_path: Path) -> None:
    b = bound(data, 1)
    training.train(tmp_path / "run", "amnn/mlknn", b)
    found = evaluate(tmp_path / "run")
    assert found["f1@1"] > 0.6 and found["f1@1"] > found["baselines"]["most_used"]["f1@1"] + 0.3
    with np.load(tmp_path / "run" / "predictions-test.npz") as saved:
        ranked = saved["ranked"][:5]
    recommender = open_recommender(tmp_path / "run", 2)
    rows = recommender(b.dataset.text(b.split.test[:5]))
    assert [[r["hashtag"] for r in row] for row in rows] == [[f"tag{h}" for h in row[:2]] for row in ranked]
    assert all(0 < r["score"] < 1 for row in rows for r in row)
    prior = {r["hashtag"] for r in recommender(["no word that is known"])[0]}
    uses = np.bincount(b.reading.columns["hashtags"].values, minlength=toy.HASHTAGS)
    assert len(prior) == 2 and uses.max() > 0


def test_a_mesh_changes_nothing(data: Path, tmp_path: Path) -> None:
    for devices in (1, 2, 8):
        more = {"model.features": "vector", "data.extractor": "seen"}
        training.train(tmp_path / str(devices), "amnn/mlknn", bound(data, devices, **more))
    for devices in (2, 8):
        for file in ("fitted.npz", "rows.npy"):
            expected = (tmp_path / "1/fitted" / file).read_bytes()
            assert (tmp_path / str(devices) / "fitted" / file).read_bytes() == expected


def test_settings_that_are_not_possible_are_refused() -> None:
    for overrides, message in (
        ({"model.smoothing": 0}, "model.smoothing is 0; it must be above 0"),
        ({"model.grams": 0}, "model.grams is 0; it must be 1 or more"),
        ({"data.vectors": "inductive"}, "data.vectors is of a word table"),
    ):
        with pytest.raises(JaxtagError, match=message):
            resolve("amnn/mlknn", "tiny", overrides)
