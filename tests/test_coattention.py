"""Co-attention: against its equations, and what it leaves out."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers.recurrent import LSTM
from jaxtag.models.coattention import Guided, Model, Settings
from jaxtag.parallel.mesh import unbox

WORDS, HASHTAGS, POSTS, CELLS, FEATURES = 20, 5, 4, 6, 7
SETTINGS = Settings(embedding=8, width=9, attention=3, layers=2, dropout=0.5)
FORMS = ("concat", "sum")


def batch() -> dict[str, np.ndarray]:
    """Posts of both, of words alone, of an image alone, and of all its cells but two; what is not real is large."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, WORDS, (POSTS, 8), dtype=np.int32)
    lengths, cells = np.array([8, 3, 0, 5]), np.array([6, 0, 6, 4], np.int32)
    grid = np.where(np.arange(CELLS)[:, None] < cells[:, None, None], rng.normal(size=(POSTS, CELLS, FEATURES)), 1e3)
    tokens = np.where(np.arange(8) < lengths[:, None], tokens, 0)
    return {"tokens": tokens, "grid": grid.astype(np.float32), "cells": cells}


def model(guide: str, **more: Any) -> Model:
    return Model(replace(SETTINGS, guide=guide, **more), WORDS, HASHTAGS)


@cache
def params(guide: str) -> Any:
    shapes = jax.eval_shape(lambda: model(guide).init(jax.random.key(0), batch(), 0.0, None))["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), jnp.float32), unbox(shapes))


@cache
def program(guide: str) -> Any:
    """Features and words' weights of a batch, compiled once."""
    both = lambda m, given: (m.features(given, 0.0, None), m.explain(given)["tokens"])  # noqa: E731
    return jax.jit(lambda p, given: model(guide).apply({"params": p}, given, method=both))


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(initial=0))
    return e / e.sum() if len(e) else e


def attended(p: Any, values: np.ndarray, guide: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """One post's attention over its real `values [n, d]`, in the order of the equation."""
    own, other = values @ p["own"], np.tile(guide @ p["guide"], (len(values), 1))
    hidden = np.tanh(np.concatenate([own, other], 1) if form == "concat" else own + other)
    weights = softmax((hidden @ p["score"])[:, 0] + p["bias"])
    return weights @ values, weights


@pytest.mark.parametrize("form", FORMS)
def test_features_are_those_of_the_equations(form: str) -> None:
    p, given = params(form), batch()
    features, weights = program(form)(p, given)
    host = jax.tree.map(np.asarray, p)
    states, _ = LSTM(SETTINGS.width).apply(
        {"params": p["lstm"]}, p["word_table"]["table"][given["tokens"]], jnp.asarray(given["tokens"] != 0)
    )
    for i in range(POSTS):
        said = np.asarray(states)[i, : (given["tokens"][i] != 0).sum()]
        seen = np.tanh(given["grid"][i, : given["cells"][i]] @ host["cells"]["kernel"])
        text, image = said.mean(0) if len(said) else np.zeros(SETTINGS.width), np.zeros(SETTINGS.width)
        for layer in range(2):
            image = image + attended(host[f"visual_{layer}"], seen, text, form)[0]
            read, weight = attended(host[f"textual_{layer}"], said, image, form)
            text = read if layer == 0 else text + read
            np.testing.assert_allclose(weights[i, layer, : len(said)], weight, rtol=1e-4, atol=1e-6)
            assert not np.asarray(weights[i, layer, len(said) :]).any()
        np.testing.assert_allclose(features[i], text + image, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(weights).sum(2), np.tile([[1], [1], [0], [1]], 2), rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_image_is_left_out_and_so_are_missing_words(form: str) -> None:
    p, given = params(form), batch()
    plain = program(form)(p, given)[0]
    noise = np.where(given["grid"] == 1e3, -7.0, given["grid"])
    np.testing.assert_array_equal(program(form)(p, given | {"grid": noise})[0], plain)
    without = jax.tree.map(lambda x: x, p) | {"cells": jax.tree.map(lambda x: x + 1, p["cells"])}
    without |= {f"visual_{i}": jax.tree.map(lambda x: x - 1, p[f"visual_{i}"]) for i in range(2)}
    changed = program(form)(without, given)[0]
    np.testing.assert_array_equal(changed[1], plain[1])  # of words alone: nothing of the image's part is in it
    assert (np.abs(changed - plain).max(1) > 1e-3).tolist() == [True, False, True, True]
    other = p | {"lstm": jax.tree.map(lambda x: x + 1, p["lstm"])}
    changed = np.abs(program(form)(other, given)[0] - plain).max(1)
    assert changed[2] == 0 and (changed[[0, 1, 3]] > 1e-3).all()


def test_nothing_is_learned_from_what_is_not_real() -> None:
    def total(p: Any, given: Any) -> jax.Array:
        logits: Any = model("concat").apply({"params": p}, given, 0.0, None)
        return (logits**2).sum()

    gradient = jax.jit(jax.grad(total))
    given = batch()
    noise = given | {"grid": np.where(given["grid"] == 1e3, -7.0, given["grid"])}
    jax.tree.map(np.testing.assert_array_equal, *(gradient(params("concat"), each) for each in (given, noise)))


def test_a_guide_beside_what_it_guides_does_not_guide_it() -> None:
    """The softmax takes out what is the same for every cell; where the two are added, it does not."""
    rng = np.random.default_rng(2)
    values, guides = rng.normal(size=(2, 5, 4)).astype(np.float32), rng.normal(size=(2, 2, 3)).astype(np.float32)
    mask = np.ones((2, 5), bool)
    moved = {}
    for form in FORMS:
        layer: Any = Guided(6, form)
        p = unbox(layer.init(jax.random.key(0), values, mask, guides[0]))
        one, other = (layer.apply(p, values, mask, guide)[1] for guide in guides)
        moved[form] = float(jnp.abs(one - other).max())
    assert moved["concat"] < 1e-6 and moved["sum"] > 1e-2


def test_zero_features_are_looked_at_evenly() -> None:
    layer: Any = Guided(6)
    values = np.zeros((2, 5, 4), np.float32)
    mask = np.arange(5) < np.array([5, 2])[:, None]
    p = layer.init(jax.random.key(0), values, mask, np.ones((2, 3), np.float32))
    weights = layer.apply(p, values, mask, np.ones((2, 3), np.float32))[1]
    np.testing.assert_allclose(weights, mask / mask.sum(1, keepdims=True), rtol=1e-6)


def test_a_longer_batch_gives_the_same() -> None:
    given = batch()
    wider = given | {"tokens": np.pad(given["tokens"], ((0, 0), (0, 8)))}
    np.testing.assert_allclose(
        program("concat")(params("concat"), wider)[0], program("concat")(params("concat"), given)[0], atol=1e-6
    )


@pytest.mark.parametrize(("guide", "expected"), [("concat", 503_602), ("sum", 503_402)])
def test_the_number_of_parameters(guide: str, expected: int) -> None:
    """Of one layer of the published sizes, without word table and head (SYSTEMS 11)."""
    given = {"tokens": jnp.zeros((1, 8), jnp.int32), "grid": jnp.zeros((1, 49, 512)), "cells": jnp.zeros(1, jnp.int32)}
    module = Model(Settings(layers=1, guide=guide), 10, 1000)  # type: ignore[arg-type]
    found = jax.eval_shape(lambda: module.init(jax.random.key(0), given, 0.0, None))["params"]
    count = {name: sum(x.size for x in jax.tree.leaves(unbox(tree))) for name, tree in found.items()}
    assert sum(count.values()) - count["head"] - count["word_table"] == expected


def test_dropout_falls_on_what_the_head_reads() -> None:
    keys = jax.random.split(jax.random.key(3), POSTS)
    dropped = jax.jit(lambda p, given: model("concat").apply({"params": p}, given, 0.5, keys, method="features"))
    found = np.asarray(dropped(params("concat"), batch()))
    plain = np.asarray(program("concat")(params("concat"), batch())[0])
    zero = found == 0
    assert 0.2 < zero.mean() < 0.8
    np.testing.assert_allclose(found[~zero], 2 * plain[~zero], rtol=1e-5)
