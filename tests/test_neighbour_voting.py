"""Neighbour voting against votes counted post by post, ties included; its features; and runs from start to end."""

from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.estimators import neighbour_voting, voters
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.files import read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.runs import bind, open_run
from jaxtag.training import train as training
from jaxtag.training.estimators import write_rows
from jaxtag.training.restored import restore_best
from tests import toy, toy_zero_shot

SMALL: dict[str, Any] = {"evaluation.batch": 128, "evaluation.k": "1,2,3"}
IMAGE: dict[str, Any] = {"model.features": "vector", "data.extractor": "seen", "model.k": 3}
N, L, K = 40, 9, 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("voting") / "data", 330)
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    toy_zero_shot.make_vectors(path, "default")
    return path


def made(seed: int) -> tuple[np.ndarray, list[list[int]]]:
    """Neighbours `[B, w]` of posts, −1 behind some, and every training post's hashtags in its author's order."""
    rng = np.random.default_rng(seed)
    gold = [rng.permutation(L)[: rng.integers(1, 5)].tolist() for _ in range(N)]
    places = np.stack([rng.permutation(N)[: 2 * K] for _ in range(30)])
    places[5, 3:], places[6] = -1, -1
    return places.astype(np.int32), gold


def padded(gold: list[list[int]]) -> np.ndarray:
    return np.array([row + [-1] * (6 - len(row)) for row in gold])


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("unique", [False, True])
def test_votes_are_those_counted_post_by_post(prior: bool, unique: bool) -> None:
    settings = neighbour_voting.Settings(k=K, prior=prior, unique_author=unique, pool=2 * K)
    places, gold = made(0)
    places = places if unique else places[:, :K]
    authors = np.random.default_rng(1).integers(0, 12, N)
    uses = np.bincount([h for row in gold for h in row], minlength=L) / N
    fitted = {"uses": uses.astype(np.float32), "authors": authors} | voters.kept(padded(gold))
    found = jax.jit(lambda p: neighbour_voting.scores(settings, fitted, p, voters.hashtags_of(fitted, p)))(places)
    for row, own in zip(places, np.asarray(found)):
        votes: Counter[int] = Counter()
        seen, voted = set(), 0
        for post in row[row >= 0]:
            if voted == K or (unique and authors[post] in seen):
                continue
            seen |= {int(authors[post])} - {0}
            voted += 1
            votes.update(gold[post])
        value = {h: votes[h] if voted else K * np.float32(uses[h]) for h in range(L)}
        value = {h: v - K * np.float32(uses[h]) * prior for h, v in value.items()}
        first = {h: list(votes).index(h) if h in votes else L + h for h in range(L)}
        order = sorted(range(L), key=lambda h: (-value[h], first[h]))
        np.testing.assert_array_equal(np.argsort(-own, kind="stable"), order)
        np.testing.assert_allclose(own, list(value.values()), atol=1e-5)
        assert [int(h) for h, _ in votes.most_common(3)] == order[: min(3, len(votes))] or prior
    assert len(np.unique(found[0])) > len(np.unique(np.round(found[0]))) or prior  # ties were told apart


def test_all_training_posts_together_vote_as_hashtags_are_used() -> None:
    _, gold = made(2)
    uses = np.bincount([h for row in gold for h in row], minlength=L) / N
    fitted = {"uses": uses.astype(np.float32)} | voters.kept(padded(gold))
    everyone = np.arange(N, dtype=np.int32)[None]
    for prior in (False, True):
        settings = neighbour_voting.Settings(k=N, prior=prior)
        found = neighbour_voting.scores(settings, fitted, everyone, voters.hashtags_of(fitted, everyone))
        np.testing.assert_allclose(found[0], 0 if prior else uses * N, atol=1e-5)


def test_hashtags_are_kept_once_in_their_order() -> None:
    given = np.array([[3, 1, 3, -1], [-1, -1, -1, -1], [2, 2, 2, 0]])
    fitted = voters.kept(given)
    found = voters.hashtags_of(fitted, jnp.array([[2, 0], [1, -1]]))
    np.testing.assert_array_equal(found, [[[2, 0], [3, 1]], [[-1, -1], [-1, -1]]])
    np.testing.assert_array_equal(voters.votes_of(found, 4), [[1, 1, 1, 1], [0, 0, 0, 0]])


def test_rows_without_features_are_left_out_of_the_file(tmp_path: Path) -> None:
    parts = [np.array([[1, 2], [np.nan, np.nan]]), np.array([[3, 4]])]
    assert write_rows(tmp_path / "rows.npy", parts, 2, np.float16).tolist() == [True, False, True]
    found = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    assert found.dtype == np.float16 and found.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(JaxtagError, match="features are not finite"):
        write_rows(tmp_path / "rows.npy", [np.array([[1, np.inf]])], 2, np.float32)


def run(data: Path, folder: Path, encoder: str = "", devices: int = 1, **overrides: Any) -> Any:
    dataset = open_dataset(data)
    experiment = resolve("amnn/neighbour_voting", "tiny", SMALL | overrides, encoder)
    bound = bind(experiment, dataset, dataset.split(), jax.devices()[:devices])
    training.train(folder, "amnn/neighbour_voting", bound)
    return bound


@pytest.fixture(scope="module")
def by_image(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the pooled features of images."""
    folder = tmp_path_factory.mktemp("runs") / "image"
    run(data, folder, **IMAGE)
    return folder


def neighbours_of(bound: Any, column: str, k: int) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """By brute force: neighbours of test posts among training posts with an image, their hashtags, who has none."""
    train, test = (bound.reading.gather(rows) for rows in (bound.split.train, bound.split.test))
    has = train["cells"] > 0
    x, q = train[column][has], test[column]
    near = 2 * q @ x.T - (x * x).sum(1)
    gold = [row[row >= 0].tolist() for row in train["hashtags"][has]]
    return np.argsort(-near, axis=1, kind="stable")[:, :k], gold, test["cells"] == 0


@pytest.mark.usefixtures("one_device")
def test_a_run_on_images_ranks_as_their_neighbours_vote(by_image: Path, data: Path) -> None:
    found = evaluate(by_image)
    assert found["f1@1"] > 0.4 and found["f1@1"] > found["baselines"]["most_used"]["f1@1"] + 0.2
    bound, _ = open_run(by_image)
    places, gold, without = neighbours_of(bound, "vector", 3)
    uses = np.bincount([h for row in gold for h in row], minlength=toy.HASHTAGS)
    with np.load(by_image / "predictions-test.npz") as saved:
        ranked = saved["ranked"]
    assert without.any() and not without.all()
    for row, best, none in zip(places, ranked, without):
        votes = [h for h, _ in Counter(h for post in row for h in gold[post]).most_common(3)]
        votes += [h for h in range(toy.HASHTAGS) if h not in votes]
        expected = np.argsort(-uses, kind="stable") if none else votes
        np.testing.assert_array_equal(best, expected[:3])
    rows = np.load(by_image / "fitted" / "rows.npy", mmap_mode="r", allow_pickle=False)
    assert rows.dtype == np.float16 and len(rows) == len(gold) < len(bound.split.train)
    mapped = restore_best(by_image, bound)["params"]["fitted"]["rows"]
    assert mapped.dtype == jnp.float16


@pytest.mark.parametrize("devices", [2, 8])
def test_a_mesh_changes_nothing(by_image: Path, data: Path, tmp_path: Path, devices: int) -> None:
    bound = run(data, tmp_path / "run", devices=devices, **IMAGE)
    for file in ("fitted.npz", "rows.npy"):
        assert (tmp_path / "run/fitted" / file).read_bytes() == (by_image / "fitted" / file).read_bytes()
    batch = jax.tree.map(jnp.asarray, bound.reading.gather(bound.split.test[:16]))
    found = []
    for count, folder in ((devices, tmp_path / "run"), (1, by_image)):
        experiment = resolve("amnn/neighbour_voting", "tiny", SMALL | IMAGE)
        b = bind(experiment, bound.dataset, bound.split, jax.devices()[:count])
        state = restore_best(folder, b)
        found.append(np.asarray(jax.jit(b.system.scores)(state["params"], {}, batch)))
    np.testing.assert_array_equal(*found)


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("features", ["mean_vectors", "tfidf"])
def test_a_run_on_words_recommends_as_it_ranks(data: Path, tmp_path: Path, features: str) -> None:
    bound = run(data, tmp_path / "run", **{"model.features": features, "model.unique_author": True, "model.pool": 20})
    assert bound.encoder is None
    found = evaluate(tmp_path / "run")
    assert found["f1@1"] > 0.5 and ("vectors" in found) == (features == "mean_vectors")
    with np.load(tmp_path / "run" / "predictions-test.npz") as saved:
        ranked = saved["ranked"][:5]
    rows = open_recommender(tmp_path / "run", 2)(bound.dataset.text(bound.split.test[:5]))
    assert [[r["hashtag"] for r in row] for row in rows] == [[f"tag{h}" for h in row[:2]] for row in ranked]
    assert all(0 <= r["score"] <= 5 for row in rows for r in row)


@pytest.mark.usefixtures("one_device")
def test_a_run_on_an_encoders_features(data: Path, tmp_path: Path) -> None:
    short = {f"encoder.training.{k}": v for k, v in {"batch": 32, "steps": 20, "patience": 0}.items()}
    bound = run(data, tmp_path / "run", "zsl/ann", **short, **{"encoder.evaluation.batch": 128})
    assert bound.experiment.model.features == "merged"
    assert evaluate(tmp_path / "run")["f1@1"] > 0.4
    rows = np.load(tmp_path / "run" / "fitted" / "rows.npy", mmap_mode="r", allow_pickle=False)
    assert rows.dtype == np.float32 and rows.shape == (len(bound.split.train), bound.system.width)
    state = restore_best(tmp_path / "run", bound)
    batch = bound.reading.gather(bound.split.train[:4])
    np.testing.assert_allclose(bound.system.read(state["params"], {}, batch), rows[:4], atol=1e-6)


def test_features_and_encoders_go_together() -> None:
    one = lambda *a, **o: resolve("amnn/neighbour_voting", "tiny", *a, **o)  # noqa: E731
    assert one().encoder is not None and one().model.features == "image"
    assert one({"model.features": "vector"}).encoder is None
    assert one(encoder="vectors").model.features == "mean_vectors"
    assert resolve("hmemn2n/svm", "tiny", encoder="zsl/ann").model.features == "merged"
    assert resolve("amnn/svm", "tiny", encoder="vectors").model.features == "summed_vectors"
    for overrides, encoder, message in (
        ({"model.features": "image"}, "zsl/ann", "system ann gives no image features"),
        ({"model.features": "tfidf"}, "zsl/ann", "model.features tfidf is of no encoder"),
        ({"model.features": "image"}, "vectors", "model.features image is of an encoder, and there is none"),
        ({"model.features": "pixels"}, "", "model.features cannot be 'pixels'"),
        (
            {"data.extractor": "seen"},
            "",
            "images are read by the encoder; --encoder.data.extractor seen, or --model.fe",
        ),
        ({"model.k": 0}, "", "model.k is 0; it must be 1 or more"),
        ({"model.unique_author": True, "model.pool": 4}, "", "model.pool is 4; it must be model.k, 5, or more"),
    ):
        with pytest.raises(JaxtagError, match=message):
            one(overrides, encoder)
