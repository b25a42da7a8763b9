"""The options of zero-shot runs beyond the papers' forms, end to end: exact against what their files hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag.data.columns import gather
from jaxtag.data.dataset import open_dataset
from jaxtag.data.hashtags import open_table
from jaxtag.data.posts import FIRST_WORD, PAD
from jaxtag.errors import JaxtagError
from jaxtag.estimators import dem, eszsl
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.files import read_json
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.runs import Bound, bind
from jaxtag.training.train import train
from tests import toy, toy_zero_shot

pytestmark = pytest.mark.usefixtures("one_device")

ALL: dict[str, Any] = {"words": "all", "hashtag_vectors": "sum", "centre": "true", "z_norm": "true"}
SIZES = {"evaluation.batch": 128, "evaluation.k": "1,2,3"}
NARROW = 20  # words that the split counts, of 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy_zero_shot.make(tmp_path_factory.mktemp("options") / "data", 400)
    for name, shots in (("narrow", 0), ("few", 4)):
        toy_zero_shot.make_split(path, 400, name, shots, words=NARROW)
        toy_zero_shot.make_vectors(path, name, output=True)
    return path


def bound(data: Path, method: str, split: str = "narrow", encoder: str = "vectors", **model: Any) -> Bound:
    dataset = open_dataset(data)
    given = SIZES | {f"model.{name}": value for name, value in model.items()}
    encoder = "" if method == "cosine" else encoder
    return bind(resolve(f"zsl/{method}", "tiny", given, encoder), dataset, dataset.split(split))


def run_of(b: Bound, run: Path) -> tuple[Path, np.ndarray]:
    train(run, f"zsl/{b.experiment.system}", b)
    evaluate(run)
    with np.load(run / "predictions-test.npz") as found:
        return run, found["ranked"]


def unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


class Hand:
    """The same by hand, from the split's files: z, labels and hashtags' vectors, of words that the split lacks too."""

    def __init__(self, data: Path, split: str):
        dataset = open_dataset(data)
        self.split = dataset.split(split)
        vectors, has = self.split.word_vectors("inductive")
        tokens = gather(dataset.column("tokens"), np.arange(400), 40, PAD)
        some = has[tokens][..., None]
        x = np.where(some, vectors[tokens], 0).astype(np.float64).sum(1) / np.maximum(some.sum(1), 1)
        self.z = unit(x - x[self.split.train].mean(0))
        where = np.full(toy.HASHTAGS, -1)
        where[self.split.named] = np.arange(len(self.split.named))
        self.label = where[gather(dataset.column("hashtags"), np.arange(400), 1, -1)[:, 0]]
        table = open_table(self.split.vectors_path("inductive"))
        place = [table.index[f"#tag{h}"] for h in self.split.named]
        assert table.output is not None
        self.c = unit(unit(table.rows[place].astype(np.float64)) + unit(table.output[place].astype(np.float64)))

    def ranked(self, u: np.ndarray) -> np.ndarray:
        """The candidates, best first, by standard scores of z and `u [named, p]`."""
        known, new = self.z[self.split.train], self.z[self.split.test]
        scores = ((new - known.mean(0)) @ u.T) / (known @ u.T).std(0)
        place = [int(np.flatnonzero(self.split.named == c)[0]) for c in self.split.candidates]
        return self.split.candidates[np.argsort(-scores[:, place], axis=1, kind="stable")[:, :3]]


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether rankings are the same, but for the rounding of a tie."""
    return bool((found == expected).all(1).mean() > 0.99)


def test_cosine_with_every_option(data: Path, tmp_path: Path) -> None:
    hand = Hand(data, "narrow")
    b = bound(data, "cosine", **ALL)
    run, ranked = run_of(b, tmp_path / "run")
    assert same(ranked, hand.ranked(hand.c))
    assert read_json(run / "evaluation-test.json", "evaluation")["vectors"]["kind"] == "sum"
    plain = run_of(bound(data, "cosine"), tmp_path / "plain")[1]
    assert not same(plain, ranked)
    texts = ["wordac wordad", " ".join(toy.word(FIRST_WORD + i) for i in (30, 42, 54))]  # beyond the split's words
    named = open_recommender(run, 3, candidates="tag9,tag11,tag10")(texts)
    ids = np.full((2, 40), PAD)
    ids[0, :2], ids[1, :3] = [2, 3], np.array([30, 42, 54]) + FIRST_WORD
    listed = open_recommender(run, 3)(texts)
    assert [[p["hashtag"] for p in row] for row in named] == [[p["hashtag"] for p in row] for row in listed]


@pytest.mark.parametrize("split", ["narrow", "few"])
def test_eszsl_with_every_option(data: Path, tmp_path: Path, split: str) -> None:
    hand, power = Hand(data, split), 0.7
    options = ALL | {"identity": 0.8, "centre_labels": "true", "balance": power, "unit": "true"}
    run, ranked = run_of(bound(data, "eszsl", split, **options, gamma=2, lam=0.5), tmp_path / "run")
    labels, hashtags = hand.label[hand.split.train], len(hand.split.hashtags)
    z, c, counts = hand.z[hand.split.train], hand.c[:hashtags], np.bincount(labels, minlength=hashtags)
    w = ((counts.mean() / counts) ** power)[labels][:, None]
    y = np.eye(hashtags)[labels]
    y = y - (w * y).sum(0) / w.sum()
    wide, p = np.linalg.inv(c.T @ c + 0.5 * np.eye(8)), z.shape[1]
    left = np.linalg.inv((w * z).T @ z + 2 * np.eye(p))
    weights = 0.8 * np.eye(p) + left @ (w * z).T @ (y - 0.8 * z @ c.T) @ c @ wide
    assert same(ranked, hand.ranked(hand.c @ weights.T))
    with np.load(run / "fitted" / "fitted.npz") as arrays:
        np.testing.assert_allclose(arrays["weights"], weights, atol=2e-5 * np.abs(weights).max())


def test_the_grid_about_the_identity_is_chosen_on_held_out_hashtags(data: Path, tmp_path: Path) -> None:
    run, _ = run_of(bound(data, "eszsl", **ALL, identity=1, unit="true", centre_labels="true"), tmp_path / "run")
    fitted = read_json(run / "fitted" / "fitted.json", "fitted")
    tried = fitted["tried"]
    assert (tuple(tried["gamma"]), tuple(tried["lam"])) == eszsl.GRID_IDENTITY
    grid = np.array(tried["accuracy@1"])
    chosen = fitted["chosen"]
    assert grid[tried["gamma"].index(chosen["gamma"]), tried["lam"].index(chosen["lam"])] == grid.max() > 0.5
    (run / "fitted" / "fitted.json").unlink()
    before = (run / "fitted" / "fitted.npz").read_bytes()
    train(run, "zsl/eszsl", bound(data, "eszsl", **ALL, identity=1, unit="true", centre_labels="true"))
    assert (run / "fitted" / "fitted.npz").read_bytes() == before


@pytest.mark.parametrize("split", ["narrow", "few"])
def test_dem_with_every_option(data: Path, tmp_path: Path, split: str) -> None:
    hand = Hand(data, split)
    options = ALL | {"form": "linear", "identity": 0.8, "balance": 1, "unit": "true"}
    _, ranked = run_of(bound(data, "dem", split, **options, decay=0.01), tmp_path / "run")
    train_z, labels = hand.z[hand.split.train], hand.label[hand.split.train]
    hashtags = len(hand.split.hashtags)
    means = np.array([train_z[labels == i].mean(0) for i in range(hashtags)])
    fitted = dem.fit_linear(means, train_z.mean(0), hand.c[:hashtags], np.ones(hashtags), 0.01, 0.8)
    assert same(ranked, hand.ranked(hand.c @ fitted["kernel"]))


@pytest.mark.parametrize("form", ["relu", "linear"])
def test_dem_by_distance_and_by_cosine(data: Path, tmp_path: Path, form: str) -> None:
    hand = Hand(data, "narrow")
    for distance in ("euclid", "cosine"):
        given = {"form": form, "distance": distance, "words": "all", "centre": "true", "steps": 300}
        run, ranked = run_of(bound(data, "dem", **given), tmp_path / distance)
        with np.load(run / "fitted" / "fitted.npz") as arrays:
            kernel, bias = arrays["kernel"], arrays["bias"]
        new, rows = hand.z[hand.split.test], hand.split.hashtag_vectors("inductive")[-3:].astype(np.float64)
        g = rows @ kernel + bias
        g = np.maximum(g, 0) if form == "relu" else g
        about = bias if form == "linear" else 0
        scores = -((new[:, None] - g) ** 2).sum(-1) if distance == "euclid" else unit(new - about) @ unit(g - about).T
        assert same(ranked, hand.split.candidates[np.argsort(-scores, axis=1, kind="stable")])


def test_what_is_not_possible_is_said_in_a_line(data: Path, tmp_path: Path) -> None:
    def refused(said: str, method: str, split: str = "narrow", encoder: str = "vectors", **model: Any) -> None:
        with pytest.raises(JaxtagError, match=said):
            train(tmp_path / "run", f"zsl/{method}", bound(data, method, split, encoder, **model))

    refused(
        "model.identity is 1, but posts have 64 features .* vectors 8 numbers; --enc",
        "eszsl",
        encoder="zsl/rnn",
        identity=1,
    )
    refused("model.identity is 1, of the linear form; --model.form linear", "dem", identity=1)
    refused("model.identity is -1; it must be 0 or more", "eszsl", identity=-1)
    refused("model.identity is nan", "eszsl", identity="nan")
    refused("model.balance is -0.5; it must be 0 or more", "eszsl", balance=-0.5)
    refused("model.gamma is -2; it must be a positive number", "eszsl", gamma=-2)
    refused("model.words all is of the mean .*; --encoder vectors", "eszsl", encoder="zsl/rnn", words="all")
    refused("model.z_norm is of the mode pretrain_frozen, not joint_mse", "dem", mode="joint_mse", z_norm="true")
    refused("model.hashtag_vectors cannot be 'summ'", "cosine", hashtag_vectors="summ")
    refused("has no output vectors", "cosine", split="zero", hashtag_vectors="out")
