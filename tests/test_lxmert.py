"""LXMERT: sizes, what it reads and what it does not, its gradients, and the same numbers on every mesh."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.experiment import Parallel, Training
from jaxtag.layers.cross_modal import CrossModalLayer, ObjectEmbedding, TextEmbedding
from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.transformer import AttentionBlock, FeedForward
from jaxtag.models.lxmert import EPS, SPREAD, Model, Settings
from jaxtag.parallel.mesh import by_batch, make_mesh, replicated, state_shardings, unbox
from jaxtag.training.gradients import in_bfloat16
from jaxtag.training.optimizers import optimizer

TINY = Settings(32, 4, 64, language_layers=2, object_layers=2, cross_layers=3, places=16, features=12)
WORDS, HASHTAGS, POSTS = 40, 8, 8
KEYS = jax.random.split(jax.random.key(1), POSTS)
WIDTH = TINY.width


def size(tree: Any) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def batch(length: int = 8, regions: int = 5, posts: int = POSTS) -> dict[str, jax.Array]:
    """Posts of 2 to `length` pieces and of no to `regions` objects; what stands beside the real ones is no number."""
    rng = np.random.default_rng(0)
    lengths, counts = np.resize([length, 2, 5, 3], posts), np.resize([regions, 1, 0, 3, regions], posts)
    words = rng.integers(1, WORDS, (posts, length), dtype=np.int32)
    places = np.arange(regions)[:, None] < counts[:, None, None]
    return {
        "wordpieces": np.where(np.arange(length) < lengths[:, None], words, 0),
        "regions": np.where(places, rng.normal(size=(posts, regions, TINY.features)), np.nan).astype(np.float16),
        "boxes": np.where(places, rng.random((posts, regions, 4)), np.nan).astype(np.float32),
        "cells": counts.astype(np.int32),
    }  # fmt: skip


@cache
def model(**settings: Any) -> Model:
    return Model(Settings(**(vars(TINY) | settings)), WORDS, HASHTAGS)


def init(module: Model) -> Any:
    return module.init(jax.random.key(0), batch(), 0.0, None)["params"]


@cache
def start() -> dict[str, Any]:
    """Parameters with every value drawn, biases and scales too."""
    rng = np.random.default_rng(1)
    shapes = unbox(jax.eval_shape(lambda: init(model())))

    def one(path: Any, x: Any) -> jax.Array:
        return jnp.asarray(rng.normal(float(path[-1].key == "scale"), 0.2, x.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(one, shapes)


@jax.jit
def everything(params: Any, given: Any) -> tuple[jax.Array, ...]:
    """Words' states, objects', the pooled one, and features."""
    both = lambda m, *given: (*m.encode(*given), m.features(*given))  # noqa: E731
    return model().apply({"params": params}, given, 0.0, None, method=both)


def total(module: Model, params: Any, given: Any, keys: Any = None) -> jax.Array:
    return (module.apply({"params": params}, given, 0.3, keys) ** 2).sum()


@cache
def gradient() -> tuple[jax.Array, Any]:
    return jax.jit(jax.value_and_grad(total, 1), static_argnums=0)(model(), start(), batch())


def test_parameter_counts() -> None:
    full = Model(Settings(), 30522, 500)
    params = unbox(jax.eval_shape(lambda: full.init(jax.random.key(0), full_batch(), 0.0, None)))["params"]
    e = params["encoder"]
    assert size(e["language"]) == 9 * 7_087_872 and size(e["vision"]) == 5 * 7_087_872
    assert size(e["text"]) == 23_837_184 and size(e["objects"]) == 1_580_544 and size(e["pooler"]) == 590_592
    assert size(e["cross"]["layers"]) == 4 * 16_539_648 and size(e["cross"]["last"]) == 16_539_648
    assert size(e) == 207_936_768 and size(params) - size(e) == 1_952_756 and size(params) == 209_889_524


def full_batch() -> dict[str, jax.Array]:
    zeros = {"wordpieces": jnp.zeros((1, 4), jnp.int32), "regions": jnp.zeros((1, 36, 2048))}
    return zeros | {"boxes": jnp.zeros((1, 36, 4)), "cells": jnp.zeros(1, jnp.int32)}


def test_it_starts_as_bert_does() -> None:
    h, v, masks, _ = layer_given()
    key, rng = jax.random.key(0), np.random.default_rng(5)
    modules = (
        (TextEmbedding(64, 64, WIDTH, EPS, SPREAD), (np.ones((1, 2), np.int32),)),
        (ObjectEmbedding(WIDTH, EPS, SPREAD), (rng.random((2, 4, 64)), rng.random((2, 4, 4)), masks[1])),
        (CrossModalLayer(WIDTH, 4, 64, "gelu", EPS, True, SPREAD), (h, v, masks)),
        (SoftmaxHead(64, WIDTH, spread=SPREAD), (h,)),
    )
    for module, given in modules:
        more = () if isinstance(module, SoftmaxHead) else (0.0, None)
        for path, leaf in named(unbox(jax.jit(lambda: module.init(key, *given, *more))())):  # noqa: B023
            name = path[-1].key
            if "bias" in name or name == "scale":
                np.testing.assert_array_equal(leaf, float(name == "scale"))
            elif leaf.size > 1000:
                assert abs(leaf.std() - SPREAD) < 0.002 and abs(leaf.mean()) < 0.003, name


def test_padding_and_missing_objects_change_nothing() -> None:
    short, longer = batch(), batch()
    longer["wordpieces"] = np.pad(short["wordpieces"], ((0, 0), (0, 3)))
    for name in ("regions", "boxes"):
        longer[name] = np.pad(short[name], ((0, 0), (0, 2), (0, 0)), constant_values=np.nan)
    words, objects = short["wordpieces"] != 0, np.arange(5) < short["cells"][:, None]
    both = (everything(start(), given) for given in (short, longer))
    for a, b, real in zip(*both, (words, objects, ..., ...), strict=True):
        assert np.isfinite(a).all() and np.isfinite(b).all()
        np.testing.assert_allclose(a[real], (b[:, : a.shape[1]])[real], atol=1e-5)


def test_attention_drops_the_same_weights_whatever_the_padding() -> None:
    rng = np.random.default_rng(3)
    x, context, mask = rng.normal(size=(2, 3, 8)), rng.normal(size=(2, 5, 8)), np.arange(5) < np.array([[5], [2]])
    block, keys = AttentionBlock(8, 2, EPS, True), KEYS[:2]
    p = jax.jit(block.init)(jax.random.key(0), x, context, mask, 0.0, None)
    found = block.apply(p, x, context, mask, 0.4, keys)
    wider = (np.pad(v, ((0, 0), (0, n), (0, 0))) for v, n in ((x, 2), (context, 3)))
    again = block.apply(p, *wider, np.pad(mask, ((0, 0), (0, 3))), 0.4, keys)
    np.testing.assert_allclose(again[:, :3], found, atol=1e-5)
    assert np.abs(found - block.apply(p, x, context, mask, 0.0, None)).max() > 0.1


def test_every_real_word_and_object_counts() -> None:
    plain = everything(start(), batch())[3]
    for name, change in (("wordpieces", lambda x: x % (WORDS - 1) + 1), ("regions", np.negative), ("boxes", np.sqrt)):
        other = batch()
        other[name][:, 1] = change(other[name][:, 1])
        moved = np.abs(everything(start(), other)[3] - plain).max(1) > 1e-3
        real = batch()["cells"] > 1 if name != "wordpieces" else True
        np.testing.assert_array_equal(moved, np.broadcast_to(real, POSTS))


def test_the_order_of_objects_is_nothing() -> None:
    given, order = batch(), np.array([3, 0, 4, 1, 2])
    for name in ("regions", "boxes"):
        given[name] = np.nan_to_num(given[name])
    given["cells"][:] = 5
    language, vision, pooled, features = everything(start(), given)
    turned = given | {name: given[name][:, order] for name in ("regions", "boxes")}
    for a, b in zip(everything(start(), turned), (language, vision[:, order], pooled, features), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(vision[:, order] - vision).max() > 0.1


def test_features_are_those_of_the_whole_encoder() -> None:
    (_, _, pooled, features), p = everything(start(), batch()), start()
    hidden = jax.nn.gelu(pooled @ p["hidden"]["kernel"] + p["hidden"]["bias"], approximate=False)
    hidden -= hidden.mean(-1, keepdims=True)
    hidden /= jnp.sqrt((hidden**2).mean(-1, keepdims=True) + EPS)
    np.testing.assert_allclose(features, hidden * p["norm"]["scale"] + p["norm"]["bias"], atol=2e-5)


def test_a_linear_head_reads_the_state_of_cls() -> None:
    module = model(head="linear")
    assert "pooler" in jax.eval_shape(lambda: init(module))["encoder"]
    found = jax.jit(lambda p: module.apply({"params": p}, batch(), 0.0, None, method="features"))(start())
    np.testing.assert_allclose(found, everything(start(), batch())[0][:, 0], atol=1e-5)


def layer_given() -> tuple[Any, ...]:
    rng = np.random.default_rng(2)
    h, v = (jnp.asarray(rng.normal(size=(2, n, WIDTH)), jnp.float32) for n in (6, 4))
    masks = jnp.arange(6) < jnp.array([[6], [3]]), jnp.arange(4) < jnp.array([[2], [4]])
    return h, v, masks, jax.tree.map(lambda x: x[0], start()["encoder"]["cross"]["layers"])


def transcribed(h: Any, v: Any, masks: Any, p: Any, one_way: Any = None, in_turn: bool = False) -> tuple[Any, Any]:
    """The layer out of its blocks; `one_way` are the cross-attention's parameters from objects to words."""
    words, objects = masks

    def block(p: Any, *given: Any) -> jax.Array:
        return AttentionBlock(WIDTH, 4, EPS, True).apply({"params": p}, *given, 0.0, None)

    def forward(p: Any, x: jax.Array) -> jax.Array:
        return FeedForward(64, "gelu", EPS).apply({"params": p}, x, 0.0, None)

    a = block(p["cross_attention"], h, v, objects)
    b = block(one_way or p["cross_attention"], v, a if in_turn else h, words)
    a, b = block(p["language_attention"], a, None, words), block(p["vision_attention"], b, None, objects)
    return forward(p["language_forward"], a), forward(p["vision_forward"], b)


def test_the_first_word_alone_is_the_whole_layers_with_dropout_too() -> None:
    h, v, masks, p = layer_given()
    layer = CrossModalLayer(WIDTH, 4, 64, "gelu", EPS, True, SPREAD)
    whole, first = (
        jax.jit(lambda p, m=m: layer.apply({"params": p}, h, v, masks, 0.3, KEYS[:2], method=m))(p)
        for m in ("__call__", "first")
    )
    np.testing.assert_allclose(first, whole[0][:, :1], atol=1e-5)
    assert np.abs(whole[0] - layer.apply({"params": p}, h, v, masks, 0.0, None)[0]).max() > 0.1


def test_what_the_first_word_looked_at_is_a_softmax_of_every_head() -> None:
    h, v, masks, p = layer_given()
    layer = CrossModalLayer(WIDTH, 4, 64, "gelu", EPS, True, SPREAD)
    found = layer.apply({"params": p}, h, v, masks[1], method="looked")
    attention = jax.tree.map(np.asarray, p["cross_attention"]["attention"])
    query, key = (
        (x @ attention[f"{n}_kernel"] + attention[f"{n}_bias"]).reshape(len(x), -1, 4, WIDTH // 4)
        for n, x in (("query", np.asarray(h)[:, :1]), ("key", np.asarray(v)))
    )
    for post, real in enumerate(np.asarray(masks[1])):
        scores = np.exp(np.einsum("hd,rhd->hr", query[post, 0], key[post]) / (WIDTH // 4) ** 0.5) * real
        right = (scores / np.maximum(scores.sum(1, keepdims=True), 1e-30)).mean(0)
        np.testing.assert_allclose(found[post], right, atol=1e-5)


def test_both_directions_read_what_the_layer_was_given() -> None:
    h, v, masks, p = layer_given()
    layer = CrossModalLayer(WIDTH, 4, 64, "gelu", EPS, True, SPREAD)
    found = layer.apply({"params": p}, h, v, masks, 0.0, None)
    for a, b in zip(found, transcribed(h, v, masks, p), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(found[1] - transcribed(h, v, masks, p, in_turn=True)[1]).max() > 0.1


def test_the_shared_attention_learns_from_both_directions() -> None:
    h, v, masks, p = layer_given()
    layer = CrossModalLayer(WIDTH, 4, 64, "gelu", EPS, True, SPREAD)
    weigh = lambda pair: (pair[0] ** 3).sum() + (pair[1] ** 3).sum()  # noqa: E731
    given = lambda p: weigh(layer.apply({"params": p}, h, v, masks, 0.0, None))  # noqa: E731
    shared = jax.jit(jax.grad(given))(p)["cross_attention"]
    apart = lambda p, other: weigh(transcribed(h, v, masks, p, other))  # noqa: E731
    to_words, to_objects = jax.jit(jax.grad(apart, (0, 1)))(p, p["cross_attention"])
    both = jax.tree.map(jnp.add, to_words["cross_attention"], to_objects)
    for a, b, one in zip(*map(jax.tree.leaves, (shared, both, to_objects)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * abs(b).max())
        assert np.abs(one).max() > 0 or b.max() < 1e-3


def test_what_has_no_gradient() -> None:
    """[CLS] does not depend on what the last layer makes of the objects; everything else learns."""
    found = {jax.tree_util.keystr(k, simple=True, separator="/"): x for k, x in named(gradient()[1])}
    found = {name: x for name, x in found.items() if not name.endswith("key_bias")}  # whose gradient is rounding alone
    still = {name for name, x in found.items() if np.abs(x).max() == 0}
    last = "encoder/cross/last/vision_"
    assert still == {name for name in found if name.startswith(last)} | {"encoder/text/types"}
    assert {name.removeprefix(last).split("/")[0] for name in still if name.startswith(last)} == {
        "attention", "forward",
    }  # fmt: skip
    for table in ("words", "places"):
        rows = np.abs(found[f"encoder/text/{table}"]).max(1)
        assert rows[0] == 0 and rows[1] > 0


def named(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


@pytest.mark.slow
def test_remat_and_layers_written_out_change_nothing() -> None:
    loss, grads = gradient()
    module = model(remat=True, unroll=True)
    found, again = jax.jit(jax.value_and_grad(total, 1), static_argnums=0)(module, start(), batch())
    np.testing.assert_allclose(found, loss, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1, np.abs(b).max()))


def products(jaxpr: Any) -> Iterator[Any]:
    """The types of all matrix products of a jaxpr."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.outvars[0].aval.dtype
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            yield from products(getattr(value, "jaxpr", value)) if hasattr(value, "eqns") else ()


def test_in_bfloat16_every_product_is_and_numbers_are_near() -> None:
    def whole(params: Any, collections: Any, batch: Any, numbers: Any, keys: Any) -> Any:
        logits = model().apply({"params": params}, batch, numbers["dropout"], keys).astype(jnp.float32)
        return (logits**2).sum(), (logits, collections)

    low = jax.value_and_grad(lambda p, keys: in_bfloat16(whole)(p, {}, batch(), {"dropout": 0.3}, keys), has_aux=True)
    kinds = list(products(jax.make_jaxpr(low)(start(), KEYS).jaxpr))
    assert len(kinds) > 100 and set(kinds) == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(low, start(), KEYS)[1])} == {jnp.dtype(jnp.float32)}
    loss = jax.jit(lambda p: in_bfloat16(whole)(p, {}, batch(), {"dropout": 0.0}, None)[0])(start())
    np.testing.assert_allclose(loss, gradient()[0], rtol=0.05)


PURE = [pytest.param(axes, marks=pytest.mark.slow) for axes in ((8, 1, 1), (1, 8, 1), (1, 1, 8))]


@pytest.mark.parametrize("axes", [*PURE, (2, 2, 2)], ids=str)
def test_on_eight_devices_it_equals_one(axes: tuple[int, int, int]) -> None:
    mesh = make_mesh(Parallel(*axes))
    rule = optimizer(Training(optimizer="bert_adam"))

    def begun() -> Any:
        return (params := init(model())), rule.init(params)

    boxed = jax.eval_shape(begun)
    shardings = state_shardings(boxed, mesh)
    parts = axes[1] * axes[2]
    for (path, leaf), sharding in zip(named(unbox(boxed)), jax.tree.leaves(shardings), strict=True):
        name, whole = jax.tree_util.keystr(path, simple=True, separator="/"), np.prod(leaf.shape)
        split = whole // np.prod(sharding.shard_shape(leaf.shape))
        one_axis = leaf.ndim < 2 or name.endswith(("bias", "scale", "text/types"))  # what a layer takes stays whole
        assert split == parts or (one_axis and split in (1, parts)), name
    where = (shardings[0], by_batch(mesh))
    given = jax.device_put((start(), batch()), where)
    for a, b in zip(jax.jit(everything.__wrapped__, in_shardings=where)(*given), everything(start(), batch())):
        np.testing.assert_allclose(a, b, atol=1e-5)
    if axes != (2, 2, 2):  # which has all that the others have, once more
        return
    step = jax.value_and_grad(lambda *given: total(model(), *given))
    loss, grads = jax.jit(step, in_shardings=where, out_shardings=(replicated(mesh), shardings[0]))(*given)
    expected, alone = gradient()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for (path, a), b in zip(named(grads), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, np.abs(b).max()), err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_dropout_is_the_same_on_eight_devices() -> None:
    module, mesh = model(language_layers=1, object_layers=1, cross_layers=1), make_mesh(Parallel(2, 2, 2))
    boxed = jax.eval_shape(lambda: init(module))
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32), unbox(boxed))
    where = (state_shardings(boxed, mesh), by_batch(mesh), by_batch(mesh))
    losses = [jax.jit(lambda *given: total(module, *given), in_shardings=w) for w in (None, where)]
    alone, spread = losses[0](params, batch(), KEYS), losses[1](*jax.device_put((params, batch(), KEYS), where))
    np.testing.assert_allclose(spread, alone, rtol=1e-5)
    assert abs(alone - total(module, params, batch())) > 0.01 * abs(alone)
