"""Batch normalisation and the systems that give each hashtag a probability of its own, by images."""

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag import ranking
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Parallel
from jaxtag.layers.normalization import BatchNorm
from jaxtag.models.vgg_object_scene import Model, Settings
from jaxtag.parallel.mesh import by_batch, make_mesh, replicated, unbox
from jaxtag.recipes import resolve
from jaxtag.runs import bind
from jaxtag.training.state import create, keys_of, numbers_of
from jaxtag.training.step import make_train_step
from jaxtag.training.train import check
from tests import toy

POSTS, WIDTH, HASHTAGS = 16, 6, 4
SETTINGS = Settings(hidden=(5, 3), momentum=0.9, epsilon=0.01)
KEYS = keys_of(jax.random.key(1, impl="threefry2x32"), POSTS)


def batch(posts: int = POSTS) -> dict[str, np.ndarray]:
    """Posts, every fourth without an image, whose features are no numbers."""
    rng = np.random.default_rng(0)
    cells = (np.arange(posts) % 4 != 3).astype(np.int32)
    values = np.where(cells[:, None] > 0, rng.normal(2, 3, (posts, WIDTH)), np.nan)
    return {"vector": values.astype(np.float32), "cells": cells}


@cache
def variables() -> Any:
    module = Model(SETTINGS, 10, HASHTAGS)
    shapes = unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), batch(), 0.0, None)))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.asarray(rng.random(x.shape) + 0.2 - (x.ndim > 1) * 0.7, jnp.float32), shapes)


@jax.jit
def trained(given: Any) -> Any:
    """Logits and statistics of a step of training."""
    return Model(SETTINGS, 10, HASHTAGS).apply(
        variables(), given, 0.0, KEYS[: len(given["cells"])], mutable="statistics"
    )


@jax.jit
def judged(given: Any) -> Any:
    return Model(SETTINGS, 10, HASHTAGS).apply(variables(), given, 0.0, None)


def by_hand(given: dict[str, np.ndarray], training: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """The network on the posts that have an image, in float64; the others get the head's bias."""
    p, s = (jax.tree.map(lambda x: np.asarray(x, np.float64), variables()[name]) for name in ("params", "statistics"))
    seen = given["cells"] > 0
    x, moved = given["vector"][seen].astype(np.float64), {}
    for i in range(2):
        x = x @ p[f"layers_{i}"]["kernel"] + p[f"layers_{i}"]["bias"]
        mean, variance = s[f"norms_{i}"]["mean"], s[f"norms_{i}"]["variance"]
        if training:
            now = x.mean(0), x.var(0)
            moved[f"norms_{i}"] = {"mean": 0.9 * mean + 0.1 * now[0], "variance": 0.9 * variance + 0.1 * now[1]}
            mean, variance = now
        x = (x - mean) / np.sqrt(variance + 0.01) * p[f"norms_{i}"]["scale"] + p[f"norms_{i}"]["bias"]
        x = np.maximum(x, 0)
    logits = np.tile(p["head"]["bias"], (len(seen), 1))
    logits[seen] += x @ p["head"]["kernel"]
    return logits, moved


def close(found: Any, expected: Any) -> None:
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-5), found, expected)


def test_training_normalises_by_the_posts_that_have_an_image() -> None:
    logits, moved = by_hand(batch(), True)
    found, statistics = trained(batch())
    close(found, logits)
    close(statistics["statistics"], moved)


def test_otherwise_by_the_running_statistics_which_stay() -> None:
    close(judged(batch()), by_hand(batch(), False)[0])


def test_padded_posts_have_no_part_in_the_statistics() -> None:
    short, long = batch(), batch(POSTS)
    short = {name: x[:12] for name, x in short.items()}
    long["cells"][12:] = 0
    long["vector"][12:] = 1e6
    one, other = trained(short), trained(long)
    close(other[0][:12], one[0])
    close(other[1], one[1])


def test_a_batch_without_images_moves_nothing() -> None:
    given = batch() | {"cells": np.zeros(POSTS, np.int32)}
    logits, statistics = trained(given)
    close(logits, np.tile(variables()["params"]["head"]["bias"], (POSTS, 1)))
    jax.tree.map(np.testing.assert_array_equal, statistics["statistics"], variables()["statistics"])


def test_statistics_are_over_the_batch_of_every_device() -> None:
    mesh = make_mesh(Parallel(data=2, fsdp=2, tensor=2), jax.devices())
    given = jax.device_put(batch(), by_batch(mesh))
    module = Model(SETTINGS, 10, HASHTAGS)

    def run(v: Any, given: Any) -> Any:
        return module.apply(v, given, 0.0, KEYS, mutable="statistics")

    found = jax.jit(run, out_shardings=replicated(mesh))(variables(), given)
    close(found[0], by_hand(batch(), True)[0])
    close(found[1]["statistics"], by_hand(batch(), True)[1])


def test_normalising_many_values_loses_no_precision() -> None:
    """A mean far from 0: the variance is that of differences, not a difference of squares."""
    x = (1e4 + np.random.default_rng(0).normal(size=(64, 2))).astype(np.float32)
    layer = BatchNorm()
    v = layer.init(jax.random.key(0), x, np.ones(64, bool), False)
    found, _ = layer.apply(v, x, np.ones(64, bool), True, mutable="statistics")
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3)
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_the_number_of_parameters() -> None:
    module = Model(Settings(), 10, 1000)
    given = {"vector": jnp.zeros((1, 8192)), "cells": jnp.zeros(1, jnp.int32)}
    found = unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), given, 0.0, None)))
    count = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in found.items()}
    assert count == {"params": 54_453_224, "statistics": 16_384}  # SYSTEMS 11


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("multilabel") / "data", 120)


def bound(data: Path, recipe: str, extractor: str, **more: Any) -> Any:
    dataset = open_dataset(data)
    options = {"data.extractor": extractor, "training.batch": 16} | {k.replace("__", "."): v for k, v in more.items()}
    return bind(resolve(recipe, "tiny", options), dataset, dataset.split(), jax.devices()[:1])


def test_a_step_keeps_what_was_normalised_by_and_half_precision_too(data: Path) -> None:
    for precision, tolerance in (("float32", 1e-5), ("bfloat16", 3e-2)):
        b = bound(data, "amnn/vgg_object_scene", "seen,other", training__precision=precision)
        state = create(b.system, b.optimizer, b.abstract, 0, b.mesh)
        before = jax.device_get(state)
        numbers = numbers_of(b.experiment, b.split.train, toy.HASHTAGS, b.system.sizes.hashtags)
        given = b.reading.gather(b.split.train[:16])
        after, sums = jax.jit(make_train_step(b.system, b.optimizer))(state, numbers, given)
        found = after["collections"]["statistics"]["norms_0"]
        first = before["params"]["layers_0"]
        x = (given["vector"] @ first["kernel"] + first["bias"])[given["cells"] > 0]
        assert found["mean"].dtype == np.float32 and sums["weight"] == 16 and given["vector"].shape[1] == 3 * toy.WIDTH
        np.testing.assert_allclose(found["mean"], 0.1 * x.mean(0), atol=tolerance * np.abs(x).max())
        np.testing.assert_allclose(found["variance"], 0.9 + 0.1 * x.var(0), atol=tolerance * x.var(0).max())


def test_each_hashtag_has_a_probability_of_its_own(data: Path) -> None:
    b = bound(data, "amnn/multilabel_resnet", "seen")
    state = jax.device_get(create(b.system, b.optimizer, b.abstract, 0, b.mesh))
    given = b.reading.gather(b.split.train[:8])
    logits = jax.jit(lambda: b.system.module.apply({"params": state["params"]}, given, 0.0, None))()
    labels = jnp.array([7, 2, 5])
    table = ranking.candidate_table(b.system, state["params"], {}, labels)
    positions, probabilities = ranking.recommend(b.system, state["params"], {}, given, table, 2)
    expected = 1 / (1 + np.exp(-np.asarray(logits)[:, labels]))
    np.testing.assert_array_equal(positions, np.argsort(-expected, 1, kind="stable")[:, :2])
    np.testing.assert_allclose(probabilities, -np.sort(-expected, 1)[:, :2], rtol=1e-5)
    pairs = dataclasses.replace(b.system, objective=dataclasses.replace(b.system.objective, independent=False))
    among = ranking.recommend(pairs, state["params"], {}, given, table, 3)[1]
    np.testing.assert_allclose(among.sum(1), 1, rtol=1e-5)


def test_what_cannot_be_divided_is_refused(data: Path) -> None:
    for recipe, more, said in (
        (
            "vgg_object_scene",
            {"training__accumulate": 2},
            "accumulate 2 would divide a batch, but vgg_object_scene norm",
        ),
        (
            "vgg_object_scene",
            {"training__by_length": 2},
            "training.by_length is 2, but vgg_object_scene reads no words",
        ),
        ("nic", {"training__by_length": 2}, "nic reads no words; --training.by_length 1"),
        ("multilabel_resnet", {"training__by_length": 1}, "training.by_length is 1, but multilabel_resnet reads no"),
    ):
        with pytest.raises(JaxtagError, match=said):
            check(bound(data, f"amnn/{recipe}", "seen", **more))
    check(bound(data, "amnn/multilabel_resnet", "seen", training__accumulate=2))
