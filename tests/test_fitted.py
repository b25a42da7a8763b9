"""Estimators: tables of pairs, naive Bayes and SVMs against scikit-learn, and runs from training to recommending."""

import json
import shutil
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
from jaxtag.estimators import naive_bayes, pairs, squared_hinge, svm
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.files import read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.runs import Bound, bind, open_run
from jaxtag.training.counts import counts, gold
from jaxtag.training.restored import restore_best
from jaxtag.training.train import train
from tests import toy, toy_zero_shot

pytestmark = pytest.mark.usefixtures("one_device")

SMALL: dict[str, Any] = {"evaluation.batch": 128, "evaluation.k": "1,2,3"}
FITTED = ("naive_bayes", "naive_bayes_history", "svm", "svm_history")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("fitted") / "data", 400)
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    toy_zero_shot.make_vectors(path, "default")
    return path


def bound(data: Path, recipe: str, **overrides: Any) -> Bound:
    dataset = open_dataset(data)
    return bind(resolve(f"hmemn2n/{recipe}", "tiny", SMALL | overrides), dataset, dataset.split())


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of every estimator."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name in (*FITTED, "topical_translation"):
        found[name] = folder / name
        more: dict[str, Any] = {"training.batch": 64} if name == "topical_translation" else {}
        train(found[name], f"hmemn2n/{name}", bound(data, name, **more))
    return found


def test_pairs_of_a_batch_are_all_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 8)  # less than there are, so that there are several blocks
    rng = np.random.default_rng(0)
    words, labels = rng.integers(2, 12, 60), rng.integers(0, 7, 60)
    offsets, hashtags = pairs.observed(words, labels, 12, 7)
    assert len(hashtags) == len(set(zip(words.tolist(), labels.tolist())))
    place = pairs.places(offsets, hashtags, words, labels, 7)
    assert (hashtags[place] == labels).all() and (offsets[words] <= place).all() and (place < offsets[words + 1]).all()
    values, tokens = rng.normal(size=(len(hashtags), 3)), rng.integers(0, 12, (5, 9))
    weights = rng.normal(size=(5, 9, 3))
    expected = np.zeros((5, 7))
    for b, t in np.ndindex(5, 9):
        for p in range(offsets[tokens[b, t]], offsets[tokens[b, t] + 1]):
            expected[b, hashtags[p]] += weights[b, t] @ values[p]
    given = jnp.asarray(tokens, jnp.int32), jnp.asarray(weights, jnp.float32)
    found = jax.jit(lambda t, w: pairs.scores(t, w, offsets, hashtags, values.astype(np.float32), 7))(*given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    none = pairs.scores(jnp.zeros((2, 3), jnp.int32), jnp.ones((2, 3, 3)), offsets, hashtags, values, 7)
    assert not none.any()


def dense_pairs(b: Bound, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts of words of a column and the label of every (post, hashtag) pair of the training part."""
    batch = b.reading.gather(b.split.train)
    words = batch[name].reshape(len(b.split.train), -1)
    bags = np.stack([(words == w).sum(1) for w in range(FIRST_WORD, toy.WORDS + FIRST_WORD)], 1)
    row, at = np.nonzero(batch["hashtags"] >= 0)
    return bags[row], batch["hashtags"][row, at]


@pytest.mark.parametrize("history", ["none", "joined", "separate"])
def test_naive_bayes_is_scikit_learns_on_every_pair(data: Path, history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.naive_bayes import MultinomialNB

    monkeypatch.setattr(naive_bayes, "FITTED_AT_ONCE", 5)  # blocks of hashtags, of which the last has fewer
    more: dict[str, Any] = {} if history == "none" else {"model.history": history}
    b = bound(data, "naive_bayes" if history == "none" else "naive_bayes_history", **{"model.alpha": 0.5}, **more)
    columns, s = b.system.entry.columns, b.experiment.model
    fitted = naive_bayes.fit(s, *counts(b.reading, b.split.train, columns))
    batch = b.reading.gather(b.split.test)
    own = naive_bayes.scores(s, fitted, {n: jnp.asarray(batch[n]) for n in columns})
    bag = lambda n: np.stack([(batch[n].reshape(len(own), -1) == w + 2).sum(1) for w in range(toy.WORDS)], 1)  # noqa: E731
    tokens, label = dense_pairs(b, "tokens")
    if history == "joined":
        model = MultinomialNB(alpha=0.5).fit(tokens + dense_pairs(b, "history")[0], label)
        expected = model.predict_joint_log_proba(bag("tokens") + bag("history"))
    else:
        expected = MultinomialNB(alpha=0.5).fit(tokens, label).predict_joint_log_proba(bag("tokens"))
    if history == "separate":
        model = MultinomialNB(alpha=0.5).fit(dense_pairs(b, "history")[0], label)
        expected = expected + bag("history") @ model.feature_log_prob_.T
    np.testing.assert_allclose(own, expected, rtol=1e-5, atol=2e-3)


def test_counts_are_of_what_a_batch_has(data: Path) -> None:
    b = bound(data, "naive_bayes_history", **{"data.length": 4, "data.history": 2, "data.words": 30})
    rows = b.split.test
    bags, tags = counts(b.reading, rows, ("tokens", "history"))
    batch = b.reading.gather(rows)
    for name in ("tokens", "history"):
        words = batch[name].reshape(len(rows), -1)
        expected = np.stack([(words == w).sum(1) for w in range(32)], 1)
        expected[:, :FIRST_WORD] = 0
        np.testing.assert_array_equal(bags[name].toarray(), expected)
    expected = np.stack([(batch["hashtags"] == h).any(1) for h in range(toy.HASHTAGS)], 1)
    np.testing.assert_array_equal(tags.toarray(), expected)


@pytest.mark.parametrize("scale", [1.0, 30.0])  # posts within the margin, and well apart
def test_an_svm_is_where_scikit_learns_is_heading(scale: float) -> None:
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(1)
    x = rng.normal(0.3, 1, (300, 6)) * np.array([1, 1, 1, 1, 5, 0.2])
    positive = x @ rng.normal(size=6) + rng.normal(0, 3 / scale, 300) > 1.5
    model = LinearSVC(C=0.7, dual=False, tol=1e-10, max_iter=10_000).fit(x, positive)
    ones = np.column_stack([x, np.ones(300)])
    w = squared_hinge.solve(ones, squared_hinge.gram(ones), positive, 0.7, 0.0, 100)
    np.testing.assert_allclose(w, np.append(model.coef_[0], model.intercept_[0]), atol=1e-5 * np.abs(w).max())
    y = np.where(positive, 1, -1)
    short = np.maximum(0, 1 - y * (ones @ w))
    assert np.abs(w - 2 * 0.7 * ones.T @ (y * short)).max() < 1e-9  # the gradient vanishes
    again = squared_hinge.solve(ones, squared_hinge.gram(ones), ~positive, 0.7, 0.0, 100)
    np.testing.assert_allclose(again, -w, atol=1e-9)


def test_a_hashtag_of_all_posts_or_of_none_has_a_margin() -> None:
    from scipy.sparse import csr_array

    x = np.random.default_rng(0).normal(size=(20, 3))
    found = svm.fit(svm.Settings(), x, csr_array(np.repeat([[1, 0, 1]], 20, 0) * [[1, 0, 1]]))
    assert found["bias"][1] == np.float32(svm.NEVER) and not found["weights"][1].any()
    assert (x @ found["weights"][0] + found["bias"][0] > 0.5).all()
    with pytest.raises(JaxtagError, match="features are not finite"):
        svm.fit(svm.Settings(), np.full((4, 2), np.nan), csr_array(np.eye(4)))


@pytest.mark.parametrize("history", ["concatenated", "added"])
def test_an_svm_reads_sums_of_word_vectors(data: Path, trained: dict[str, Path], tmp_path: Path, history: str) -> None:
    run = trained["svm_history"]
    if history == "added":
        run = tmp_path / "run"
        train(run, "hmemn2n/svm_history", bound(data, "svm_history", **{"model.history": "added"}))
    b, _ = open_run(run)
    vectors = np.concatenate([np.zeros((FIRST_WORD, toy_zero_shot.DIM)), b.split.vectors("inductive")])
    batch = b.reading.gather(b.split.test)
    sums = [vectors[batch[name].reshape(len(batch[name]), -1)].sum(1) for name in ("tokens", "history")]
    x = sums[0] + sums[1] if history == "added" else np.concatenate(sums, 1)
    state = restore_best(run, b)
    np.testing.assert_allclose(b.system.read(state["params"], {}, batch), x, atol=1e-4)
    with np.load(run / "fitted" / "fitted.npz", allow_pickle=False) as arrays:
        margins = x @ arrays["weights"].T + arrays["bias"]
    query = b.system.query(state["params"], {}, batch)
    table = b.system.table(state["params"], {}, jnp.arange(toy.HASHTAGS))
    np.testing.assert_allclose(query @ table.T, margins, atol=1e-3)
    assert gold(b.reading, b.split.test).shape == margins.shape


@pytest.mark.parametrize("name", [*FITTED, "topical_translation"])
def test_a_run_is_evaluated_and_recommends_as_it_ranks(data: Path, trained: dict[str, Path], name: str) -> None:
    found = evaluate(trained[name])
    if name != "naive_bayes_history":  # the toy's history says nothing of a post, and drowns its words
        assert found["f1@1"] > 0.5 and found["f1@1"] > found["baselines"]["most_used"]["f1@1"] + 0.3
    assert ("vectors" in found) == name.startswith("svm")
    b, _ = open_run(trained[name])
    state, part = restore_best(trained[name], b), slice(0, 5)
    rows = b.split.test[part]
    with np.load(trained[name] / "predictions-test.npz") as saved:
        ranked = saved["ranked"][part]
    batch = jax.tree.map(jnp.asarray, b.reading.gather(rows))
    if b.system.entry.output == "scores":
        scores = b.system.scores(state["params"], state["collections"], batch)[:, : toy.HASHTAGS]
    else:
        labels = jnp.arange(toy.HASHTAGS)
        scores = b.system.query(state["params"], {}, batch) @ b.system.table(state["params"], {}, labels).T
    np.testing.assert_array_equal(np.argsort(-np.asarray(scores), 1, kind="stable")[:, :3], ranked)
    if "history" in b.system.entry.columns:
        return
    recommender = open_recommender(trained[name], 2)
    rows = recommender(b.dataset.text(rows))
    given = "score" if name == "svm" else "probability"
    assert [[r["hashtag"] for r in row] for row in rows] == [[f"tag{h}" for h in row[:2]] for row in ranked]
    chance = np.asarray(jax.nn.softmax(scores, axis=1)) if given == "probability" else np.asarray(scores)
    for row, best, own in zip(rows, ranked, chance):
        np.testing.assert_allclose([r[given] for r in row], own[best[:2]], atol=2e-4)
    some = open_recommender(trained[name], 5, "tag3,tag1")(["no word that is known"])[0]
    assert {r["hashtag"] for r in some} == {"tag1", "tag3"}


@pytest.mark.parametrize("name", ["naive_bayes_history", "svm"])
def test_a_fitted_run_is_done_once_and_found_damaged(
    data: Path, trained: dict[str, Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[name], run)
    shutil.rmtree(run / "fitted")
    with pytest.raises(JaxtagError, match="is not fitted yet"):
        restore_best(run, bound(data, name))
    train(run, f"hmemn2n/{name}", bound(data, name))
    for file in ("fitted.npz", "fitted.json"):
        assert (run / "fitted" / file).read_bytes() == (trained[name] / "fitted" / file).read_bytes()
    monkeypatch.setattr(svm if name == "svm" else naive_bayes, "fit", None)
    assert train(run, f"hmemn2n/{name}", bound(data, name))["seconds"] == 0
    (run / "fitted" / "fitted.npz").write_bytes(b"no")
    with pytest.raises(JaxtagError, match="has 2 bytes where"):
        restore_best(run, bound(data, name))
    with pytest.raises(JaxtagError, match="has another experiment"):
        train(run, f"hmemn2n/{name}", bound(data, name, **{"data.words": 20}))


def test_sweeps_resume_to_the_same_bits(data: Path, tmp_path: Path, trained: dict[str, Path]) -> None:
    short: dict[str, Any] = {"training.batch": 64, "training.epochs": 12}
    train(tmp_path / "a", "hmemn2n/topical_translation", bound(data, "topical_translation", **short))
    train(tmp_path / "a", "hmemn2n/topical_translation", bound(data, "topical_translation", **{"training.batch": 64}))
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["kind"] == "validation"][-1] == 40
    assert all(0 < r["topical"] < 1 and 0 <= r["moved"] < 1 for r in rows if r["kind"] == "train")
    b, _ = open_run(tmp_path / "a")
    one, two = (restore_best(run, b) for run in (tmp_path / "a", trained["topical_translation"]))
    assert int(one["step"]) == int(two["step"])
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("naive_bayes", {"model.alpha": 0}, "model.alpha is 0; it must be above 0"),
        ("naive_bayes", {"model.history": "separate"}, "is of naive_bayes_history; leave it out"),
        ("naive_bayes", {"data.vectors": "inductive"}, "data.vectors is of a word table, which system naive_bayes"),
        ("svm", {"model.penalty": 0}, "model.penalty is 0; it must be above 0"),
        ("svm", {"model.history": "added"}, "is of svm_history; leave it out"),
        ("svm", {"model.words": "all", "data.words": 9}, "leave --data.words out"),
        ("svm", {"model.vectors": "glove"}, "no word vectors 'glove'.*jaxtag-prep vectors"),
        ("topical_translation", {"model.topics": 0}, "model.topics is 0; it must be above 0"),
    ],
)
def test_what_is_not_possible_is_refused(data: Path, name: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(JaxtagError, match=message):
        bound(data, name, **overrides)


@pytest.mark.parametrize("column", ["author", "history"])
def test_a_dataset_without_history_is_refused_where_it_is_read(data: Path, tmp_path: Path, column: str) -> None:
    shutil.copytree(data, tmp_path / "data")
    info = read_json(tmp_path / "data" / "dataset.json", "dataset")
    kept = {name: value for name, value in info["columns"].items() if name not in (column, "history")}
    write_json(tmp_path / "data" / "dataset.json", info | {"columns": kept})
    bound(tmp_path / "data", "naive_bayes")
    for name in ("naive_bayes_history", "svm_history"):
        with pytest.raises(JaxtagError, match="has no column 'history'.*--author COL --time COL"):
            bound(tmp_path / "data", name)


def test_encoders_are_of_estimators_on_features_alone(data: Path) -> None:
    with pytest.raises(JaxtagError, match="system naive_bayes has no encoder"):
        resolve("hmemn2n/naive_bayes", "tiny", {}, "zsl/ann")
    with pytest.raises(JaxtagError, match="recipe hmemn2n/topical_translation has no encoder"):
        resolve("hmemn2n/topical_translation", "tiny", {}, "zsl/ann")
    with pytest.raises(JaxtagError, match="system svm cannot be an encoder"):
        resolve("zsl/eszsl", "tiny", {}, "hmemn2n/svm")


def test_an_svm_on_an_encoders_features(data: Path, tmp_path: Path) -> None:
    overrides = SMALL | {f"encoder.training.{k}": v for k, v in {"batch": 32, "steps": 30, "patience": 0}.items()}
    dataset = open_dataset(data)
    experiment = resolve("hmemn2n/svm", "tiny", overrides | {"encoder.evaluation.batch": 128}, "zsl/ann")
    b = bind(experiment, dataset, dataset.split())
    train(tmp_path / "run", "hmemn2n/svm", b)
    assert evaluate(tmp_path / "run")["f1@1"] > 0.5
    state = restore_best(tmp_path / "run", b)
    inner = restore_best(tmp_path / "run" / "encoder", b.encoder)
    batch = b.reading.gather(b.split.test[:4])
    features = b.encoder.system.features(inner["params"], inner["collections"], batch)
    np.testing.assert_array_equal(b.system.read(state["params"], state["collections"], batch), features)
