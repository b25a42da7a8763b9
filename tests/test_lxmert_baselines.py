"""The baselines of the lxmert4hashtag paper: topics that guide attention, images beside text, and one space for all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.layers.comparing import Compared, unit
from jaxtag.layers.packing import padding_left_out
from jaxtag.models import lstm_cnn, tab_lstm, tweet_embedding
from jaxtag.parallel.mesh import unbox
from jaxtag.requests import Reader, Request
from jaxtag.runs import open_run
from jaxtag.training.objectives import hinge
from jaxtag.training.restored import restore_best
from tests import toy, toy_topics, toy_zero_shot
from tests.toy_command import call

KEY = jax.random.key(0)
POSTS = 300


def posts(lengths: tuple[int, ...], **more: Any) -> dict[str, jax.Array]:
    tokens = np.zeros((len(lengths), 8), np.int32)
    for row, n in zip(tokens, lengths):
        row[:n] = np.random.default_rng(n).integers(2, 30, n)
    return {"tokens": jnp.asarray(tokens)} | {name: jnp.asarray(x) for name, x in more.items()}


def test_tab_lstm_has_the_papers_number_of_parameters() -> None:
    module = tab_lstm.Model(tab_lstm.Settings(), words=10, hashtags=3896)
    shapes = jax.eval_shape(lambda: module.init(KEY, posts((3,), topics=np.zeros((1, 100), np.float32)), 0.0, None))
    assert sum(x.size for x in jax.tree.leaves(unbox(shapes))) - 10 * 300 == 2_014_196


@pytest.fixture(scope="module")
def attending() -> tuple[Any, Any, dict[str, jax.Array]]:
    module = tab_lstm.Model(tab_lstm.Settings(embedding=6, width=7), words=30, hashtags=5)
    draw = np.random.default_rng(1)
    batch = posts((0, 1, 3, 8), topics=draw.dirichlet(np.ones(4), 4).astype(np.float32))
    return module, unbox(module.init(KEY, batch, 0.0, None))["params"], batch


def features(module: Any, params: Any, batch: dict[str, jax.Array]) -> np.ndarray:
    return np.asarray(module.apply({"params": params}, batch, 0.0, None, method="features"))


def test_tab_lstm_starts_as_the_mean_of_its_states(attending: tuple) -> None:
    module, params, batch = attending

    def states(m: Any) -> jax.Array:
        return m.lstm(*m.word_table(batch["tokens"]))[0]

    found, real = module.apply({"params": params}, method=states), np.asarray(batch["tokens"]) != 0
    mean = [h[r].mean(0) if r.any() else np.zeros(7) for h, r in zip(np.asarray(found), real)]
    np.testing.assert_allclose(features(module, params, batch), mean, atol=1e-6)


def test_topics_guide_by_what_they_are_not_by_their_number(attending: tuple) -> None:
    module, params, batch = attending
    draw = np.random.default_rng(2)
    own = params["attention"]
    params = params | {"attention": own | {"v": jnp.asarray(draw.normal(size=own["v"].shape), jnp.float32)}}
    plain, order = features(module, params, batch), np.array([2, 0, 3, 1])
    turned = params["attention"] | {"query": params["attention"]["query"][order]}
    moved = batch | {"topics": batch["topics"][:, order]}
    np.testing.assert_allclose(features(module, params | {"attention": turned}, moved), plain, atol=1e-6)
    assert np.abs(features(module, params, moved) - plain)[2:].max() > 1e-4
    with padding_left_out():
        np.testing.assert_allclose(features(module, params, batch), plain, atol=1e-6)


def test_lstm_cnn_leaves_out_what_a_post_has_not() -> None:
    module = lstm_cnn.Model(lstm_cnn.Settings(embedding=4, width=5, joint=3), words=30, hashtags=5)
    batch = posts((4, 4, 0), vector=np.ones((3, 6), np.float32), cells=np.array([1, 0, 1], np.int32))
    params = unbox(module.init(KEY, batch, 0.0, None))["params"]
    params = jax.tree.map(lambda x: x + 0.5, params)  # also where there is a bias alone
    found = features(module, params, batch)
    assert (found[1, 3:] == 0).all() and (found[2, :3] == 0).all()
    assert (found[0] != 0).all() and (found[1, :3] == found[0, :3]).all() and (found[2, 3:] == found[0, 3:]).all()


def by_hand(found: Compared, labels: np.ndarray) -> list[float]:
    """The hinge, one post after the other."""
    left, right, losses = np.asarray(found.left, np.float64), np.asarray(found.right, np.float64), []
    for i in range(len(labels)):
        total = 0.0
        for p in range(len(left)):
            if not (found.left_real[p, i] and found.right_real[p, i]):
                continue
            rows, columns = [0.0], [0.0]
            for j in range(len(labels)):
                same = set(labels[i]) - {-1} == set(labels[j]) - {-1}
                if j == i or (found.others and same):
                    continue
                own = left[p, i] @ right[p, i]
                if found.right_real[p, j]:
                    rows.append(max(0, found.margin + left[p, i] @ right[p, j] - own))
                if found.left_real[p, j]:
                    columns.append(max(0, found.margin + left[p, j] @ right[p, i] - own))
            total += max(rows) + max(columns) if found.hardest else sum(rows) + sum(columns)
        losses.append(total / len(left))
    return losses


LABELS = np.array([[0, 3, -1], [5, -1, -1], [3, 0, -1], [1, 2, 4], [5, -1, -1], [2, -1, -1]])


@pytest.mark.parametrize("hardest", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_the_hinge_is_that_of_a_loop_over_posts(hardest: bool, others: bool) -> None:
    draw = np.random.default_rng(3)
    sides = [unit(jnp.asarray(draw.normal(size=(2, 6, 4)), jnp.float32)) for _ in range(2)]
    real = [jnp.asarray(draw.random((2, 6)) < 0.7).at[:, :2].set(True) for _ in range(2)]
    found = Compared(sides[0], sides[1], real[0], real[1], 0.2, hardest, others)
    loss, weight = hinge(found, jnp.asarray(LABELS), jnp.ones(6, bool), jnp.float32(0))
    np.testing.assert_allclose(loss, by_hand(found, LABELS), atol=1e-6)
    np.testing.assert_array_equal(weight, (real[0] & real[1]).any(0))
    assert (
        hinge(found._replace(hardest=True), jnp.asarray(LABELS), jnp.ones(6, bool), jnp.float32(0))[0] <= loss
    ).all()
    apart, every = jnp.eye(6)[None], jnp.ones((1, 6), bool)
    nothing = Compared(apart, apart, every, every, 0.2, hardest, False)
    assert not hinge(nothing, jnp.asarray(LABELS), jnp.ones(6, bool), jnp.float32(0))[0].any()


@pytest.mark.parametrize("target", ["hashtags", "average", "all"])
def test_views_that_are_absent_change_nothing_and_have_finite_gradients(target: Any) -> None:
    settings = tweet_embedding.Settings(width=4, target=target)
    module = tweet_embedding.Model(settings, words=30, named=6, vectors=5)
    draw = np.random.default_rng(4)
    batch = posts((4, 0, 3, 8, 2, 5), vector=draw.normal(size=(6, 7)).astype(np.float32), hashtags=LABELS)
    batch["cells"] = jnp.array([1, 1, 0, 1, 1, 0])
    params = unbox(jax.jit(module.init, static_argnums=3)(KEY, batch, 0.0, None))["params"]
    vectors = {"words": draw.normal(size=(30, 5)).astype(np.float32), "hashtags": draw.normal(size=(6, 5))}
    vectors["words"][0], vectors["hashtags"][4] = 0, 0  # hashtag 4 has no vector

    def loss(params: Any, batch: Any) -> jax.Array:
        constants = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), vectors)
        found: Any = module.apply({"params": params, "constants": constants}, batch, 0.0, None)
        return hinge(found, batch["hashtags"], jnp.ones(6, bool), jnp.float32(0))[0].sum()

    both = jax.jit(jax.value_and_grad(loss))
    whole, gradient = both(params, batch)
    absent = batch | {"vector": batch["vector"].at[2].set(9), "hashtags": batch["hashtags"].at[3, 2].set(-1)}
    np.testing.assert_allclose(both(params, absent)[0], whole, rtol=1e-6)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in jax.tree.leaves(gradient))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The toy posts with vectors, topics and a split of unseen hashtags, and a run of tweet_embedding and tab_lstm."""
    folder = tmp_path_factory.mktemp("baselines")
    data = toy_zero_shot.make(folder / "data", POSTS)
    toy_topics.make(data)
    common = ("--size", "tiny", "--data", data, "--training.batch", 32, "--evaluation.batch", 64)
    zero = ("--split", "zero", "--data.extractor", "seen", "--training.epochs", 8, "--evaluation.k", "1,2,3")
    assert call("train", "lxmert4hashtag/tweet_embedding", *common, *zero, "--run", folder / "space") == 0
    assert call("train", "lxmert4hashtag/tab_lstm", *common, "--training.steps", 2, "--run", folder / "topics") == 0
    return {"data": data, "space": folder / "space", "topics": folder / "topics"}


def test_unseen_hashtags_are_ranked_better_than_by_chance(made: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert call("evaluate", made["space"], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["candidates"]["count"] == toy_zero_shot.UNSEEN and found["vectors"]["name"] == "inductive"
    assert found["accuracy@1"] > found["baselines"]["chance"]["accuracy@1"] + 0.2


def test_a_recommendation_is_the_greatest_cosine_of_a_posts_views(made: dict[str, Path], capsys) -> None:
    text = " ".join(open_dataset(made["data"]).text(np.array([7])))
    capsys.readouterr()
    named = ("--candidates", "tag2,tag11,extra,日本", "-k", 9)
    assert call("recommend", made["space"], text, "--json", *named) == 0
    found = {row["hashtag"]: row["score"] for row in json.loads(capsys.readouterr().out)["hashtags"]}
    bound, _ = open_run(made["space"])
    state = restore_best(made["space"], bound)
    variables = {"params": state["params"], **state["collections"]}
    batch = Reader(bound)([Request(text)], 1)[0]
    folder = made["data"] / "splits" / "zero" / "vectors" / "inductive"
    names, rows = (folder / "names.txt").read_text().split("\n")[:-1], np.load(folder / "table.npy")
    vectors = rows[[names.index(n) for n in ("#tag2", "#tag11", "extra", "日本")]]
    views, places = bound.system.module.apply(variables, method=lambda m: (m.views(batch), m.embed(vectors)))
    assert not views["image"][1].any() and views["text"][1].all()  # a text alone: it has no image
    expected = np.asarray(views["text"][0] @ places.T)[0]
    np.testing.assert_allclose([found[h] for h in ("tag2", "tag11", "extra", "日本")], expected, atol=2e-6)


@pytest.mark.parametrize("similarity", ["max", "sum"])
def test_scores_are_of_the_views_that_a_post_has(made: dict[str, Path], similarity: str) -> None:
    bound, _ = open_run(made["space"])
    state = restore_best(made["space"], bound)
    module = bound.system.module
    settings = dataclasses.replace(module.settings, similarity=similarity)
    system = dataclasses.replace(bound.system, module=module.clone(settings=settings))
    batch = bound.reading.gather(bound.split.test[:6])
    batch["cells"][:] = [0, 1, 1, 1, 1, 1]
    batch["tokens"][2] = 0
    variables = {"params": state["params"], **state["collections"]}
    labels = jnp.arange(toy.HASHTAGS)
    views, places = system.module.apply(variables, method=lambda m: (m.views(batch), m.embed(m.known(labels))))
    image, text = (np.array(view @ places.T) for view, _ in views.values())
    image[0], text[2] = (-np.inf, -np.inf) if similarity == "max" else (0, 0)
    expected = np.maximum(image, text) if similarity == "max" else image + text
    found = system.scores(state["params"], state["collections"], batch)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_topics_of_a_text_are_those_of_the_stored_post(made: dict[str, Path]) -> None:
    bound, _ = open_run(made["topics"])
    rows = np.arange(5)
    read = Reader(bound)([Request(text) for text in bound.dataset.text(rows)], 8)[0]
    stored = bound.reading.gather(np.append(rows, [-1, -1, -1]))
    for name in ("tokens", "topics"):
        np.testing.assert_array_equal(read[name], stored[name])
    assert read["topics"].shape == (8, toy.HASHTAGS) and (read["topics"][5:] == 0).all()


def test_other_systems_have_no_layout_of_hugging_faces(made: dict[str, Path], tmp_path: Path, capsys) -> None:
    capsys.readouterr()
    assert call("export", made["topics"], "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "Hugging Face has no layout for tab_lstm, the system of " in told and told.count("\n") == 1


MISTAKES = [
    (("tweet_embedding", "--training.accumulate", 2), "compares its posts with each other"),
    (("tweet_embedding", "--training.by_length", 2), "compares its posts with each other"),
    (("tweet_embedding", "--training.objective", "pairs"), "does not learn by training.objective pairs"),
    (("tweet_embedding", "--data.vectors", "inductive"), "data.vectors is of a word table"),
    (("tweet_embedding", "--model.vectors", "none"), "has no word vectors 'none'"),
    (("tweet_embedding", "--model.margin", 0), "model.margin is 0.0; it must be above 0"),
    (("tweet_embedding", "--training.drop_after", 0), "training.schedule drop needs training.drop_after"),
    (("tab_lstm", "--training.objective", "hinge"), "has no views of a post to compare"),
    (("tab_lstm", "--split", "zero"), "has no topics; jaxtag-prep topics"),
]


@pytest.mark.parametrize(("given", "said"), MISTAKES)
def test_mistakes_are_one_line(made: dict[str, Path], given: tuple, said: str, tmp_path: Path, capsys) -> None:
    recipe, *options = given
    options += [] if "--split" in options else ["--split", "default" if recipe == "tab_lstm" else "zero"]
    more = ("--data", made["data"], "--run", tmp_path / "run", "--size", "tiny", "--training.batch", 32)
    reads = () if recipe == "tab_lstm" else ("--data.extractor", "seen")
    capsys.readouterr()
    assert call("train", f"lxmert4hashtag/{recipe}", *more, *reads, *options) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_small_batch_is_said_to_be_small(made: dict[str, Path], tmp_path: Path, capsys) -> None:
    more = ("--data", made["data"], "--split", "zero", "--data.extractor", "seen", "--size", "tiny")
    few = ("--training.batch", 32, "--training.steps", 1, "--evaluation.k", "1,2,3", "--evaluation.batch", 64)
    assert call("train", "lxmert4hashtag/tweet_embedding", *more, *few, "--run", tmp_path / "run") == 0
    assert "told from the other 31 of its batch, which are few; its authors' batch is 128" in capsys.readouterr().err
