"""Layers against transcriptions of their equations, and against padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers.attention import AdditiveAttention, masked_softmax
from jaxtag.layers.convolution import ConvolutionBank
from jaxtag.layers.dropout import dropout
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.recurrent import GRU
from jaxtag.models import cnn, rnn_attention
from jaxtag.parallel.mesh import unbox

KEY = jax.random.key(0)


def randomised(variables: dict, seed: int = 0) -> dict:
    """The same shapes with every value drawn, biases too."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), jnp.float32), unbox(variables))


def test_masked_softmax_matches_softmax_of_the_real_places() -> None:
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)) * 50, jnp.float32)
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    found = masked_softmax(scores, mask)
    np.testing.assert_allclose(found[0, :3], jax.nn.softmax(scores[0, :3]), rtol=1e-6)
    np.testing.assert_allclose(found[1], jax.nn.softmax(scores[1]), rtol=1e-6)
    np.testing.assert_array_equal(found[2], 0)
    gradient = jax.grad(lambda s: masked_softmax(s, mask).var())(scores)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gru_matches_its_equations(reset: str, activation: str) -> None:
    b, t, e, d = 3, 6, 5, 4
    rng = np.random.default_rng(1)
    x = rng.normal(size=(b, t, e)).astype(np.float32)
    lengths = np.array([6, 2, 0])
    mask = np.arange(t) < lengths[:, None]
    layer = GRU(d, activation, reset)
    p = randomised(layer.init(KEY, jnp.asarray(x), jnp.asarray(mask)))
    states, last = layer.apply(p, jnp.asarray(x), jnp.asarray(mask))
    w = {k: np.asarray(v, np.float64) for k, v in p["params"].items()}
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    phi = np.tanh if activation == "tanh" else lambda v: np.maximum(v, 0)
    for i in range(b):
        h = np.zeros(d)
        for s in range(lengths[i]):
            z = sigmoid(x[i, s] @ w["w_z"] + h @ w["u_z"] + w["b_z"])
            r = sigmoid(x[i, s] @ w["w_r"] + h @ w["u_r"] + w["b_r"])
            inner = (r * h) @ w["u_h"] if reset == "before" else r * (h @ w["u_h"] + w["c_h"])
            h = (1 - z) * h + z * phi(x[i, s] @ w["w_h"] + w["b_h"] + inner)
            np.testing.assert_allclose(states[i, s], h, atol=1e-5)
        np.testing.assert_allclose(last[i], h, atol=1e-5)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_additive_attention_matches_its_equation(form: str) -> None:
    states = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4, 3)), jnp.float32)
    mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
    layer = AdditiveAttention(6, form)
    p = randomised(layer.init(KEY, states, mask))
    pooled, weights = layer.apply(p, states, mask)
    q = p["params"]
    scores = (jnp.tanh(states @ q["hidden"]["kernel"] + q["hidden"]["bias"]) @ q["v"])[..., 0]
    for i, n in enumerate((2, 4)):
        expected = jax.nn.softmax(scores[i, :n]) if form == "softmax" else jax.nn.sigmoid(scores[i, :n])
        np.testing.assert_allclose(weights[i, :n], expected, rtol=1e-5)
        np.testing.assert_allclose(pooled[i], expected @ states[i, :n], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(weights[0, 2:], 0)


def test_convolutions_match_a_sliding_window() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 6, 4)).astype(np.float32)
    mask = np.arange(6) < np.array([[5], [1]])
    x *= mask[..., None]
    layer = ConvolutionBank((3, 5), 2)
    p = randomised(layer.init(KEY, jnp.asarray(x), jnp.asarray(mask)))
    found = np.asarray(layer.apply(p, jnp.asarray(x), jnp.asarray(mask)))
    for i, n in enumerate((5, 1)):
        expected = []
        for window in (3, 5):
            kernel = np.asarray(p["params"][f"kernel_{window}"])
            bias = np.asarray(p["params"][f"bias_{window}"])
            side = window // 2
            wide = np.pad(x[i], ((side, side), (0, 0)))
            maps = [np.einsum("we,wef->f", wide[c : c + window], kernel) + bias for c in range(n)]
            expected.append(np.log1p(np.exp(maps)).max(0))
        np.testing.assert_allclose(found[i], np.concatenate(expected), rtol=1e-5)


def test_dropout_takes_a_traced_rate_and_keeps_the_mean() -> None:
    x = jnp.ones((400, 500))
    dropped = jax.jit(dropout)(x, jnp.float32(0.3), KEY)
    assert set(np.unique(dropped).round(4)) == {0.0, np.float32(1 / 0.7).round(4)}
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.005
    np.testing.assert_array_equal(dropout(x, jnp.float32(0.3), None), x)
    np.testing.assert_array_equal(dropout(x, jnp.float32(0.0), KEY), x)


def test_padding_reads_as_zeros_and_a_frozen_table_gets_no_gradient() -> None:
    tokens = jnp.array([[2, 3, 0], [0, 0, 0]])
    for trainable in (True, False):
        layer = WordTable(5, 4, trainable)
        p = randomised(layer.init(KEY, tokens))
        vectors, mask = layer.apply(p, tokens)
        np.testing.assert_array_equal(vectors[~mask], 0)
        gradient = jax.grad(lambda q, layer=layer: layer.apply(q, tokens)[0].sum())(p)["params"]["table"]
        assert bool(gradient.any()) is trainable


def test_query_times_table_is_the_head() -> None:
    features = jnp.asarray(np.random.default_rng(4).normal(size=(3, 5)), jnp.float32)
    head = SoftmaxHead(7, 5)
    p = randomised(head.init(KEY, features))
    labels = jnp.array([6, 0, 3])
    scores = head.apply(p, features, method="query") @ head.apply(p, labels, method="table").T
    np.testing.assert_allclose(scores, head.apply(p, features)[:, labels], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("model", "count"), [(cnn, 446_674), (rnn_attention, 4_711_474)])
def test_parameter_counts_without_the_word_table(model, count: int) -> None:
    module = model.Model(model.Settings(), words=10, hashtags=50)
    shapes = jax.eval_shape(lambda: module.init(KEY, {"tokens": jnp.ones((1, 8), jnp.int32)}, 0.0, None))
    sizes = [x.size for x in jax.tree.leaves(unbox(shapes))]
    assert sum(sizes) - 10 * 150 == count


@pytest.mark.parametrize("model", [cnn, rnn_attention])
def test_padding_changes_nothing(model) -> None:
    settings = model.Settings(embedding=8, **({"hidden": (16, 8), "filters": 4} if model is cnn else {"width": 8}))
    module = model.Model(settings, words=30, hashtags=5)
    tokens = np.zeros((4, 8), np.int32)
    for row, n in zip(tokens, (8, 3, 1, 0)):
        row[:n] = np.arange(2, 2 + n)
    p = randomised(module.init(KEY, {"tokens": jnp.asarray(tokens)}, 0.0, None))
    plain = module.apply(p, {"tokens": jnp.asarray(tokens)}, 0.0, None)
    padded = module.apply(p, {"tokens": jnp.pad(jnp.asarray(tokens), ((0, 0), (0, 8)))}, 0.0, None)
    np.testing.assert_allclose(plain, padded, rtol=1e-5, atol=1e-6)
