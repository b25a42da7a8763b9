"""Layers against transcriptions of their equations, and against padding."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers.attention import AdditiveAttention, masked_softmax
from jaxtag.layers.convolution import ConvolutionBank
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.layers.pooling import pool, pooled_width
from jaxtag.layers.recurrent import GRU, LSTM
from jaxtag.layers.transformer import AttentionBlock, TransformerLayer, TransformerStack, sinusoids
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


def test_lstm_matches_its_equations() -> None:
    b, t, e, d = 3, 6, 5, 4
    rng = np.random.default_rng(1)
    x = rng.normal(size=(b, t, e)).astype(np.float32)
    lengths = np.array([6, 2, 0])
    mask = np.arange(t) < lengths[:, None]
    layer = LSTM(d)
    start = unbox(layer.init(KEY, jnp.asarray(x), jnp.asarray(mask)))
    for gate in "ifog":
        np.testing.assert_array_equal(start["params"][f"b_{gate}"], 1.0 if gate == "f" else 0.0)
    p = randomised(start)
    states, last = layer.apply(p, jnp.asarray(x), jnp.asarray(mask))
    w = {k: np.asarray(v, np.float64) for k, v in p["params"].items()}
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    for n in range(b):
        h = c = np.zeros(d)
        for s in range(lengths[n]):
            i, f, o, g = (x[n, s] @ w[f"w_{k}"] + h @ w[f"u_{k}"] + w[f"b_{k}"] for k in "ifog")
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            np.testing.assert_allclose(states[n, s], h, atol=1e-5)
        np.testing.assert_allclose(last[n], h, atol=1e-5)


@pytest.mark.parametrize("layer", [GRU(4), GRU(4, reset="after"), LSTM(4)], ids=["before", "after", "lstm"])
def test_backwards_is_forwards_over_the_reversed_words(layer: nn.Module) -> None:
    x = jnp.asarray(np.random.default_rng(6).normal(size=(2, 5, 3)), jnp.float32)
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    p = randomised(layer.init(KEY, x, mask))
    states, last = layer.clone(reverse=True).apply(p, x, mask)
    for i, n in enumerate((3, 5)):
        alone, end = layer.apply(p, x[i : i + 1, :n][:, ::-1], jnp.ones((1, n), bool))
        np.testing.assert_allclose(states[i, :n], alone[0, ::-1], atol=1e-6)
        np.testing.assert_allclose(last[i], end[0], atol=1e-6)


def plain_gru(p: dict, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """GRU-v1 as a plain loop, differentiated as it stands."""
    h, states = jnp.zeros((len(x), p["b_z"].size)), []
    for t in range(x.shape[1]):
        z, r = (nn.sigmoid(x[:, t] @ p[f"w_{g}"] + h @ p[f"u_{g}"] + p[f"b_{g}"]) for g in "zr")
        new = jnp.tanh(x[:, t] @ p["w_h"] + (r * h) @ p["u_h"] + p["b_h"])
        h = jnp.where(mask[:, t, None], (1 - z) * h + z * new, h)
        states.append(h)
    return jnp.stack(states, 1), h


def test_the_scan_has_the_derivative_of_a_plain_loop() -> None:
    rng = np.random.default_rng(7)
    x = jnp.asarray(rng.normal(size=(3, 6, 5)), jnp.float32)
    mask = jnp.arange(6) < jnp.array([[6], [2], [0]])
    pull, end = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((3, 6, 4), (3, 4)))
    p = randomised(GRU(4).init(KEY, x, mask))["params"]

    def total(layer, p: dict, x: jax.Array) -> jax.Array:
        states, last = layer(p, x, mask)
        return (states * pull).sum() + (last * end).sum()

    ours = jax.grad(partial(total, lambda p, *a: GRU(4).apply({"params": p}, *a)), (0, 1))(p, x)
    plain = jax.grad(partial(total, plain_gru), (0, 1))(p, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


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
    keys = jax.random.split(KEY, 400)
    dropped = jax.jit(dropout)(x, jnp.float32(0.3), keys)
    assert set(np.unique(dropped).round(4)) == {0.0, np.float32(1 / 0.7).round(4)}
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.005
    np.testing.assert_array_equal(dropout(x, jnp.float32(0.3), None), x)
    np.testing.assert_array_equal(dropout(x, jnp.float32(0.0), keys), x)


def test_what_is_dropped_of_a_post_depends_on_nothing_but_its_key() -> None:
    x, rate, keys = jnp.ones((6, 10, 7)), jnp.float32(0.4), jax.random.split(KEY, 6)
    whole = np.asarray(dropout(x, rate, keys))
    assert len({post.tobytes() for post in whole}) == 6
    some, shorter = np.array([4, 0]), 3
    np.testing.assert_array_equal(dropout(x[some], rate, keys[some]), whole[some])
    np.testing.assert_array_equal(dropout(x[:, :shorter], rate, keys), whole[:, :shorter])
    first, second = split(keys, 2)
    assert not np.array_equal(dropout(x, rate, first), dropout(x, rate, second)) and split(None, 2) == (None, None)
    assert (split(keys[some], 2) == split(keys, 2)[:, some]).all()


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


def test_attention_with_a_query_and_a_single_scalar() -> None:
    rng = np.random.default_rng(8)
    states, query = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 4, 3), (2, 5)))
    mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
    layer = AdditiveAttention(6)
    p = randomised(layer.init(KEY, states, mask, query))
    q = p["params"]
    inner = states @ q["hidden"]["kernel"] + q["hidden"]["bias"] + (query @ q["query"])[:, None]
    expected = masked_softmax((jnp.tanh(inner) @ q["v"])[..., 0], mask)
    np.testing.assert_allclose(layer.apply(p, states, mask, query)[1], expected, rtol=1e-5)
    layer = AdditiveAttention(0, score="tanh_scalar")
    p = randomised(layer.init(KEY, states, mask))
    expected = masked_softmax(jnp.tanh((states @ p["params"]["v"])[..., 0] + p["params"]["bias"]), mask)
    np.testing.assert_allclose(layer.apply(p, states, mask)[1], expected, rtol=1e-5)


def test_pools_see_the_real_words_alone() -> None:
    states = jnp.asarray(np.random.default_rng(9).normal(size=(3, 4, 2)) - 3, jnp.float32)
    mask = jnp.arange(4) < jnp.array([[3], [1], [0]])
    wide = jnp.pad(states, ((0, 0), (0, 5), (0, 0)), constant_values=9), jnp.pad(mask, ((0, 0), (0, 5)))
    expected = {"mean": states[0, :3].mean(0), "max": states[0, :3].max(0), "first": states[0, 0]}
    for how in ("mean", "max", "first", "flatten"):
        found = pool(states, mask, how, 3)
        assert found.shape == (3, pooled_width(how, 2, 3))
        np.testing.assert_array_equal(found, pool(*wide, how, 3))
        np.testing.assert_allclose(found[0], expected.get(how, states[0, :3].ravel()), rtol=1e-6)
        np.testing.assert_array_equal(found[2], 0)
    np.testing.assert_array_equal(pool(states, mask, "flatten", 3)[1], [*states[1, 0], 0, 0, 0, 0])
    np.testing.assert_array_equal(pool(states, mask, "flatten", 6)[0, 6:], 0)


def test_positions_are_sines_and_cosines() -> None:
    found = sinusoids(50, 16)
    for t in (0, 1, 49):
        for i in range(8):
            angle = t / 10000 ** (2 * i / 16)
            np.testing.assert_allclose(found[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_scanned_layers_are_the_layers_one_after_the_other_and_remat_and_unrolling_change_nothing() -> None:
    x = jnp.asarray(np.random.default_rng(10).normal(size=(2, 5, 8)), jnp.float32)
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    stack = TransformerStack(3, 8, 2, 16)
    p = unbox(jax.jit(stack.init, static_argnums=4)(KEY, x, mask, 0.0, None))["params"]
    first = jax.tree.leaves(p)[0]
    assert len(first) == 3 and not np.array_equal(p["layers"]["feed_forward"]["wide"]["kernel"][0], first[0])
    expected, layer = x, jax.jit(partial(TransformerLayer(8, 2, 16).apply, rate=0.0, keys=None))
    for i in range(3):
        expected = layer({"params": jax.tree.map(lambda v, i=i: v[i], p["layers"])}, expected, mask)
    np.testing.assert_allclose(stack.apply({"params": p}, x, mask, 0.0, None), expected, atol=1e-5)

    def total(stack: nn.Module, p: dict) -> jax.Array:
        return (stack.apply({"params": p}, x, mask, 0.3, jax.random.split(KEY, len(x))) ** 3).sum()

    kept, again = (jax.jit(jax.value_and_grad(partial(total, s)))(p) for s in (stack, stack.clone(remat=True)))
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for remat in (False, True):  # written out, sums are rounded elsewhere: as far as an array's largest value allows
        written = jax.jit(jax.value_and_grad(partial(total, stack.clone(unroll=True, remat=remat))))(p)
        for a, b in zip(jax.tree.leaves(written), jax.tree.leaves(kept)):
            np.testing.assert_allclose(a, b, atol=1e-5 * max(1, abs(b).max()), rtol=0)
    assert not np.isclose(kept[0], (expected**3).sum())  # dropout has been at work


def test_attention_between_sequences_reads_the_other_one_where_it_is_real() -> None:
    rng = np.random.default_rng(11)
    x, context = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 3, 8), (2, 5, 6)))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
    block = AttentionBlock(8, 2)
    p = randomised(block.init(KEY, x, context, mask, 0.0, None))
    found = block.apply(p, x, context, mask, 0.0, None)
    np.testing.assert_allclose(found[:1], block.apply(p, x[:1], context[:1, :3], mask[:1, :3], 0.0, None), atol=1e-5)
    assert not np.allclose(found[:1], block.apply(p, x[:1], context[:1, :2], mask[:1, :2], 0.0, None), atol=1e-3)
