"""Networks that say one hashtag after the other: what training is told and what decoding does are the same."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data import columns
from jaxtag.decoded import shuffle
from jaxtag.layers.decoding import log_probabilities
from jaxtag.layers.packing import padding_left_out
from jaxtag.layers.sequences import Packed
from jaxtag.models import amnn, nic, show_attend_tell
from jaxtag.parallel.mesh import unbox
from jaxtag.training.objectives import sequence

WORDS, HASHTAGS, MOST, CELLS, WIDTH = 20, 8, 5, 4, 6
AMNN = amnn.Settings(embedding=6, width=8, hashtag_embedding=6, most=MOST)
SETTINGS: dict[str, Any] = {
    "amnn": AMNN,
    "end": replace(AMNN, end=True),
    "image": replace(AMNN, modality="image"),
    "text": replace(AMNN, modality="text"),
    "repeat": replace(AMNN, image_steps="repeat"),
    "mean": replace(AMNN, text_recurrent=False),
    "repo": replace(AMNN, compat="repo"),
    "nic": nic.Settings(width=8, hashtag_embedding=6, most=MOST),
    "show_attend_tell": show_attend_tell.Settings(8, 6, 8, 6, "additive", most=MOST),
}
LABELS = [[3, 1, 7, -1, -1, -1, -1], [2, -1, -1, -1, -1, -1, -1], [0, 4, 5, 6, 1, 2, 3], [5, 0, -1, -1, -1, -1, -1]]
RATE = jnp.float32(0)


def posts(seed: int = 0) -> dict[str, np.ndarray]:
    """Four posts: whole, without an image, with more hashtags than are learned, and without words."""
    draw = np.random.default_rng(seed)
    tokens = np.zeros((4, 8), np.int32)
    for row, n in zip(tokens, (6, 3, 8, 0)):
        row[:n] = draw.integers(2, WORDS, n)
    cells = np.array([4, 0, 3, 4], np.int32)
    grid = draw.random((4, CELLS, WIDTH), np.float32) * (np.arange(CELLS) < cells[:, None])[..., None]
    vector = grid.sum(1)
    hashtags = np.array(LABELS, np.int32)
    return {"tokens": tokens, "grid": grid, "vector": vector, "cells": cells, "hashtags": hashtags}


class Network:
    """A model with random weights, biases too, so that nothing is zero by chance."""

    def __init__(self, name: str):
        self.settings = SETTINGS[name]
        module = {"nic": nic, "show_attend_tell": show_attend_tell}.get(name, amnn)
        self.module = module.Model(self.settings, words=WORDS, hashtags=HASHTAGS)
        shapes = jax.eval_shape(lambda: self.module.init(jax.random.key(0), posts(), RATE, None))
        draw = np.random.default_rng(1)
        self.params = jax.tree.map(lambda x: draw.normal(size=x.shape, scale=0.5).astype(x.dtype), unbox(shapes))
        self.call = jax.jit(lambda p, batch: self.module.apply(p, batch, RATE, None))
        self.start = jax.jit(lambda p, batch: self.module.apply(p, batch, method="start"))
        self.step = jax.jit(lambda p, *x: self.module.apply(p, *x, method="step"))

    def logits(self, batch: dict[str, np.ndarray]) -> Any:
        """What training gives, whatever it has beside."""
        found = self.call(self.params, batch)
        return np.asarray(found[0] if isinstance(found, tuple) else found)


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: Network(name) for name in SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_training_is_told_is_what_decoding_does_step_by_step(name: str, networks: dict[str, Network]) -> None:
    network, batch = networks[name], posts()
    logits = network.logits(batch)
    end = network.settings.end
    assert logits.shape == (4, MOST + end, HASHTAGS + end)
    allowed = jnp.ones(HASHTAGS, bool).at[6].set(False)
    loss, weight = sequence(jnp.asarray(logits), jnp.asarray(batch["hashtags"]), allowed, jnp.float32(0))
    assert weight.tolist() == [1, 1, 1, 1]
    fields = {n: x for n, x in batch.items() if n != "hashtags"}
    carry, fixed = network.start(network.params, fields)
    previous, total = np.full(4, -1, np.int32), np.zeros(4)
    for place in range(MOST + end):
        carry, found = network.step(network.params, carry, fixed, previous)
        there = [sum(label >= 0 for label in row) >= place for row in LABELS]  # behind a list is nothing to be said
        np.testing.assert_allclose(np.asarray(found)[there], logits[there, place], rtol=2e-5, atol=2e-6)
        logp = np.asarray(log_probabilities(found, allowed))
        for post, row in enumerate(LABELS):
            said = [label for label in row if label >= 0]
            wanted = said[:MOST] + [HASHTAGS] * (end and len(said) <= MOST)
            if place < len(wanted) and wanted[place] != 6:
                total[post] -= logp[post, wanted[place]]
        previous = np.maximum(batch["hashtags"][:, place], 0)
    np.testing.assert_allclose(loss, total, rtol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_lies_behind_a_post_changes_nothing(name: str, networks: dict[str, Network]) -> None:
    network, batch = networks[name], posts()
    wider = batch | {
        "tokens": np.pad(batch["tokens"], ((0, 0), (0, 3))),
        "grid": np.pad(batch["grid"], ((0, 0), (0, 2), (0, 0)), constant_values=9),
    }
    wider["grid"][2, 3] = 7  # a cell that is none
    wider["vector"] = batch["vector"] + 9 * (batch["cells"] == 0)[:, None]
    found, plain = (network.call(network.params, b) for b in (wider, batch))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, plain)
    short = batch | {"hashtags": batch["hashtags"][:2, :3]} | {n: x[:2] for n, x in batch.items() if n != "hashtags"}
    np.testing.assert_allclose(
        network.logits(short)[:, :3], network.logits(batch)[:2, :3, :], rtol=1e-5, atol=1e-6
    )  # hashtags that come later


@pytest.mark.parametrize("name", ["amnn", "end", "image", "text", "repo", "nic"])
def test_steps_that_say_nothing_are_left_out_and_change_nothing(name: str, networks: dict[str, Network]) -> None:
    network, batch = networks[name], jax.tree.map(jnp.asarray, posts())
    allowed, smoothing = jnp.ones(HASHTAGS, bool).at[6].set(False), jnp.float32(0.1)

    def total(params: Any) -> Any:
        found = network.module.apply(params, batch, RATE, None)
        losses = sequence(found, batch["hashtags"], allowed, smoothing)[0]
        kinds.append(isinstance(found, Packed))
        return (losses * jnp.array([1.0, 2.0, -1.0, 3.0])).sum(), losses

    kinds, run = list[bool](), jax.value_and_grad(total, has_aux=True)
    (_, padded), by_padded = jax.jit(run)(network.params)
    with padding_left_out():
        (_, found), by_found = jax.jit(lambda params: run(params))(network.params)
    assert kinds == [False, True]
    np.testing.assert_allclose(found, padded, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), by_found, by_padded)


def test_a_missing_modality_is_its_term_left_out(networks: dict[str, Network]) -> None:
    both, batch = networks["amnn"], posts()
    width = AMNN.width
    kernel = both.params["params"]["merged"]["kernel"]
    for name, rows, post in (("image", slice(None, width), 3), ("text", slice(width, None), 1)):
        alone = networks[name]
        own = {k: v for k, v in both.params["params"].items() if k in alone.params["params"]}
        own["merged"] = {**own["merged"], "kernel": kernel[rows]}
        assert own.keys() == alone.params["params"].keys()
        missing = {n: x for n, x in batch.items() if n in (*alone.settings.columns, "cells", "hashtags")}
        missing = missing if name == "image" else {n: x for n, x in missing.items() if n != "cells"}
        found = np.asarray(alone.call({"params": own}, missing))
        np.testing.assert_allclose(both.logits(batch)[post], found[post], rtol=1e-5, atol=1e-6)
        assert not np.allclose(both.logits(batch)[0], found[0], atol=1e-3)
    features = {
        m: both.module.apply(both.params, batch, RATE, None, method=m) for m in ("image_features", "text_features")
    }
    assert not features["image_features"][1].any() and not features["text_features"][3].any()
    merged = np.concatenate(list(features.values()), 1) @ kernel + both.params["params"]["merged"]["bias"]
    found = both.module.apply(both.params, batch, RATE, None, method="features")
    np.testing.assert_allclose(found, merged, rtol=1e-5, atol=1e-5)


def test_the_order_of_words_counts_for_the_recurrent_layer_alone(networks: dict[str, Network]) -> None:
    batch = posts()
    turned = batch | {"tokens": batch["tokens"].copy()}
    turned["tokens"][0, :6] = batch["tokens"][0, 5::-1]
    plain, other = (networks["amnn"].logits(b)[0] for b in (batch, turned))
    assert np.abs(plain - other).max() > 1e-3
    np.testing.assert_allclose(*(networks["mean"].logits(b) for b in (batch, turned)), rtol=1e-4, atol=1e-5)


def test_the_authors_code_has_weights_of_one_and_tells_every_step_of_the_post(networks: dict[str, Network]) -> None:
    network, batch = networks["repo"], posts()
    params = network.params["params"]
    assert "image_lstm" not in params and "image_attention" not in params
    image = network.module.apply(network.params, batch, RATE, None, method="image_features")
    one = batch["vector"] @ params["pooled"]["kernel"] + params["pooled"]["bias"]
    np.testing.assert_allclose(image, (MOST + 2) * one * (batch["cells"] > 0)[:, None], rtol=1e-5, atol=1e-5)
    text = network.module.apply(network.params, batch, RATE, None, method="text_features")
    assert (text >= 0).all() and not text[3].any()
    post = network.module.apply(network.params, batch, RATE, None, method="features")
    np.testing.assert_allclose(post, image + text, rtol=1e-5)
    carry, fixed = network.start(network.params, batch)
    vectors = np.concatenate([params["table"]["start"], params["table"]["table"][[3, 2, 0, 5]]])
    gru = params["gru"]
    for previous, x in ((np.full(4, -1), vectors[:1]), (np.array([3, 2, 0, 5]), vectors[1:])):
        (h,) = carry
        x = x + np.asarray(post)
        gate = lambda g, h, x=x: x @ gru[f"w_{g}"] + h @ gru[f"u_{g}"] + gru[f"b_{g}"]  # noqa: E731
        z, r = (1 / (1 + np.exp(-gate(g, h))) for g in "zr")
        expected = (1 - z) * h + z * np.tanh(gate("h", r * h))  # eq. (14)-(17)
        carry, _ = network.step(network.params, carry, fixed, previous.astype(np.int32))
        np.testing.assert_allclose(carry[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("feedback", ["on", "off", "encoder"])
def test_feedback_is_what_steps_after_the_first_are_told(feedback: str, networks: dict[str, Network]) -> None:
    plain = networks["amnn"]
    module = plain.module.clone(settings=replace(AMNN, feedback=feedback))
    carry, post = module.apply(plain.params, posts(), method="start")
    first = np.full(4, -1, np.int32)
    step = lambda carry, previous: module.apply(plain.params, carry, post, previous, method="step")  # noqa: E731
    carry, logits = step(carry, first)
    np.testing.assert_allclose(logits, plain.logits(posts())[:, 0], rtol=1e-5, atol=1e-6)
    a, b = (np.asarray(step(carry, np.full(4, label, np.int32))[1]) for label in (1, 2))
    assert (np.abs(a - b).max() > 1e-3) == (feedback == "on")
    again = np.asarray(step(carry, first)[1])  # told of the post
    assert np.allclose(a, again, atol=1e-6) == (feedback == "encoder")


def test_every_step_teaches_the_recurrent_layers_of_a_network_without_an_end(networks: dict[str, Network]) -> None:
    network, batch = networks["amnn"], posts()

    def loss(params: Any) -> jax.Array:
        logits = network.module.apply(params, batch, RATE, None)
        return sequence(logits, jnp.asarray(batch["hashtags"]), jnp.ones(HASHTAGS, bool), RATE)[0].sum()

    gradient = jax.jit(jax.grad(loss))(network.params)["params"]
    assert {k for k, g in gradient["gru"].items() if not np.abs(g).max() > 1e-5} == set()
    # Told of every hashtag but a post's last one, and of none behind the last step.
    assert set(np.flatnonzero(np.abs(gradient["table"]["table"]).max(1) > 1e-7)) == {0, 1, 3, 4, 5, 6}


def test_attention_that_adds_two_tanhs_looks_at_the_same_cells_at_every_step(networks: dict[str, Network]) -> None:
    settings = replace(SETTINGS["show_attend_tell"], attention="tanh_sum", penalty=2.0)
    module, batch, params = (
        show_attend_tell.Model(settings, WORDS, HASHTAGS),
        posts(),
        networks["show_attend_tell"].params,
    )
    layers, real = params["params"]["layers"], np.arange(CELLS) < batch["cells"][:, None]
    scores = np.tanh(batch["grid"] @ layers["cells_kernel"] + layers["cells_bias"]) @ layers["score"]
    weights = np.where(real, np.exp(scores[..., 0]), 0)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    steps = np.array([4, 2, MOST, 3])[:, None]  # an end too, but for the third post, which has more hashtags than steps
    expected = np.where(real, (1 - steps * weights) ** 2, 0).sum(1) / np.maximum(batch["cells"], 1)
    found: Any = module.apply(params, batch, RATE, None)
    np.testing.assert_allclose(found[1], expected, rtol=1e-4)
    other = networks["show_attend_tell"].call(params, batch)[1]
    assert not np.allclose(200 * np.asarray(other)[0], expected[0], rtol=1e-2)  # and `additive` does not


def test_a_sequence_without_hashtags_weighs_nothing_and_smoothing_is_spread_evenly() -> None:
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)), jnp.float32)
    labels, allowed = jnp.array([[2, 0, -1], [-1, -1, -1]]), jnp.array([True, True, True, False])
    logp = np.asarray(log_probabilities(logits, allowed))[0]
    for smoothing in (0.0, 0.3):
        loss, weight = sequence(logits, labels, allowed, jnp.float32(smoothing))
        gold = -(logp[0, 2] + logp[1, 0] + logp[2, 4])
        even = -logp[:, [0, 1, 2, 4]].mean(1).sum()
        np.testing.assert_allclose(loss, [(1 - smoothing) * gold + smoothing * even, 0], rtol=1e-5)
        assert weight.tolist() == [1, 0]


def test_hashtags_shuffled_once_or_each_time_are_the_same_hashtags() -> None:
    column = columns.ragged([range(9), [], [4], range(20, 28)])
    once, again, other = (columns.shuffled(column, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.values, again.values)
    assert (once.values != other.values).any() and (once.offsets == column.offsets).all()
    for row in range(4):
        assert sorted(once[row]) == sorted(column[row])
    assert once[0].tolist() != column[0].tolist()
    labels = jnp.array([[0, 1, 2, 3, 4, 5, -1, -1], [7, -1, -1, -1, -1, -1, -1, -1]])
    keys = jax.random.split(jax.random.key(0), 2)
    mixed = jax.jit(shuffle)
    found = mixed(labels, keys)
    assert sorted(found[0, :6].tolist()) == list(range(6)) and found[0, :6].tolist() != list(range(6))
    assert (found[:, 6:] == -1).all() and found[1].tolist() == labels[1].tolist()
    wider = shuffle(jnp.pad(labels, ((0, 0), (0, 4)), constant_values=-1), keys)
    np.testing.assert_array_equal(wider[:, :8], found)
    orders = {tuple(mixed(labels, jax.random.split(jax.random.key(i), 2))[0].tolist()) for i in range(6)}
    assert len(orders) > 3
