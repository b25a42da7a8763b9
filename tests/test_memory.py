"""The hmemn2n paper's networks against their equations, post by post; bins of words; and what changes nothing."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.building import build
from jaxtag.layers import bags
from jaxtag.models import cnn_attention, hmemn2n, memn2n
from jaxtag.models.cnn_attention import trigger_gates
from jaxtag.parallel.mesh import make_mesh, unbox
from jaxtag.recipes import resolve
from jaxtag.systems import Sizes
from jaxtag.training import rows
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_train_step

WORDS, HASHTAGS, B, T, M, N, D = 40, 7, 8, 6, 3, 5, 8
RNG = np.random.default_rng(0)
SMALL = hmemn2n.Settings(embedding=D, attention=4, hidden=5, scale=1.0)
MEMORY = memn2n.Settings(embedding=D, hidden=5, scale=1.0)


def draw(*shape: int) -> np.ndarray:
    """Words, padded on the right; every fourth text is empty."""
    lengths = RNG.integers(1, shape[-1] + 1, shape[:-1]) * (RNG.random(shape[:-1]) > 0.25)
    return np.where(np.arange(shape[-1]) < lengths[..., None], RNG.integers(2, WORDS, shape), 0).astype(np.int32)


BATCH = {"tokens": draw(B, T), "history": draw(B, M, N)}
BATCH["history"][0] = 0  # a post without any history


def made(model: Any, settings: Any) -> tuple[Any, Any]:
    module = model.Model(settings, words=WORDS, hashtags=HASHTAGS)
    return module, unbox(jax.jit(lambda: module.init(jax.random.key(1), BATCH, 0.0, None))())


def run(module: Any, variables: Any, batch: Any) -> np.ndarray:
    """Scores, compiled whole: an operation at a time takes ten times as long."""
    return np.asarray(jax.jit(lambda v, b: module.apply(v, b, 0.0, None))(variables, batch))


def gradient(module: Any, variables: Any, batch: Any) -> Any:
    return jax.jit(jax.grad(lambda v: (module.apply(v, batch, 0.0, None) ** 2).sum()))(variables)["params"]


def explained(module: Any, variables: Any, batch: Any) -> Any:
    return jax.jit(lambda v: module.apply(v, batch, method=module.explain))(variables)


def soft(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def real(words: np.ndarray) -> np.ndarray:
    return words[words != 0]


@pytest.mark.parametrize(("model", "count"), [(hmemn2n, 1_525_500), (memn2n, 1_345_200)])
def test_parameter_counts_beside_the_word_tables(model: Any, count: int) -> None:
    module = model.Model(model.Settings(), words=10, hashtags=3883)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), BATCH, 0.0, None))
    assert sum(x.size for x in jax.tree.leaves(unbox(shapes))) - 3 * 300 * 10 == count


@pytest.mark.parametrize("hops", [1, 3])
def test_hmemn2n_is_its_equations(hops: int) -> None:
    module, variables = made(hmemn2n, replace(SMALL, hops=hops))
    p = jax.tree.map(np.asarray, variables["params"])
    a, b, c = (p[name]["table"] for name in ("word_table", "key_table", "value_table"))
    expected = []
    for tokens, history in zip(BATCH["tokens"], BATCH["history"]):
        first = o = a[real(tokens)].sum(0)
        for _ in range(hops):
            posts = [(lambda w: soft(b[w] @ o) @ c[w])(real(h)) for h in history if h.any()]
            if posts:
                q = soft(np.array([np.tanh(o @ p["own"] + s @ p["past"]) @ p["score"][:, 0] for s in posts]))
                o = o + q @ np.array(posts)
        f = np.concatenate([first, o]) @ p["joined"]["kernel"] + p["joined"]["bias"]
        expected.append(f @ p["head"]["kernel"])
    np.testing.assert_allclose(run(module, variables, BATCH), np.array(expected), rtol=2e-4, atol=2e-5)


OPTIONS: list[dict[str, Any]] = [
    {}, {"hops": 3, "tying": "adjacent"}, {"temporal": True, "relu": True},
    {"temporal": True, "tying": "adjacent", "between": True, "position_encoding": True},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "none")
def test_memn2n_is_its_equations_with_every_option(options: dict[str, Any]) -> None:
    settings = replace(MEMORY, **options)
    module, variables = made(memn2n, settings)
    p = jax.tree.map(np.asarray, variables["params"])
    a, adjacent = p["word_table"]["table"], settings.tying == "adjacent"
    tables = [a, *np.moveaxis(p["hop_tables"]["table"], 1, 0)] if adjacent else [
        p["key_table"]["table"], p["value_table"]["table"]
    ]  # fmt: skip

    def bag(table: np.ndarray, words: np.ndarray) -> np.ndarray:
        if not settings.position_encoding:
            return table[words].sum(0)
        j, k, many = np.arange(1, len(words) + 1)[:, None], np.arange(1, D + 1), max(len(words), 1)
        return ((1 + 4 * (k - (D + 1) / 2) * (j - (many + 1) / 2) / (D * many)) * table[words]).sum(0)

    expected = []
    for tokens, history in zip(BATCH["tokens"], BATCH["history"]):
        first = o = bag(a, real(tokens))
        for hop in range(settings.hops):
            which = (hop, hop + 1) if adjacent else (0, 1)
            at = lambda t, i: p["places"]["vectors"][t, i] if settings.temporal else 0  # noqa: E731
            known = [i for i, h in enumerate(history) if h.any()]
            m, c = ([bag(tables[t], real(history[i])) + at(t, i) for i in known] for t in which)
            u = soft(np.array(m) @ o) @ np.array(c) if known else 0
            o = (o @ p["between_kernel"] if settings.between else o) + u
            if settings.relu:
                o = np.concatenate([np.maximum(o[: D // 2], 0), o[D // 2 :]])
        f = np.concatenate([first, o]) @ p["joined"]["kernel"] + p["joined"]["bias"]
        expected.append(f @ p["head"]["kernel"])
    np.testing.assert_allclose(run(module, variables, BATCH), np.array(expected), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("model", [hmemn2n, memn2n], ids=["hmemn2n", "memn2n"])
def test_order_and_empty_posts_change_nothing(model: Any) -> None:
    module, variables = made(model, model.Settings(embedding=D, scale=1.0))
    scores = lambda batch: run(module, variables, batch)  # noqa: E731
    expected = scores(BATCH)
    words, posts = RNG.permutation(T), RNG.permutation(M)
    moved = {"tokens": BATCH["tokens"][:, words], "history": BATCH["history"][:, posts][..., RNG.permutation(N)]}
    np.testing.assert_allclose(scores(moved), expected, rtol=1e-4, atol=1e-5)
    more = {**BATCH, "history": np.concatenate([BATCH["history"], np.zeros((B, 2, N), np.int32)], 1)}
    np.testing.assert_allclose(scores(more), expected, rtol=1e-4, atol=1e-5)
    weights = explained(module, variables, BATCH)["history"]
    some = np.asarray(BATCH["history"].any((1, 2)))
    shares = np.asarray(weights).reshape(B, 2, -1).sum(2)
    np.testing.assert_allclose(shares, np.repeat(some[:, None], 2, 1), rtol=1e-5)  # of posts that have a history, 1
    if weights.ndim == 4:
        assert (np.asarray(weights)[np.broadcast_to((BATCH["history"] == 0)[:, None], weights.shape)] == 0).all()


@pytest.mark.parametrize("model", [hmemn2n, memn2n], ids=["hmemn2n", "memn2n"])
def test_without_history_or_hops_it_is_a_classifier_of_bags_of_words(model: Any) -> None:
    module, variables = made(model, model.Settings(embedding=D))
    p = variables["params"]
    first = jnp.stack([p["word_table"]["table"][real(t)].sum(0) for t in BATCH["tokens"]])
    kernel, bias = p["joined"]["kernel"], p["joined"]["bias"]
    expected = (jnp.concatenate([first, first], 1) @ kernel + bias) @ p["head"]["kernel"]  # f = [o_0; o_0]: u is 0
    empty = {**BATCH, "history": np.zeros_like(BATCH["history"])}
    np.testing.assert_allclose(run(module, variables, empty), expected, rtol=1e-4, atol=1e-6)
    still = model.Model(model.Settings(embedding=D, hops=0), words=WORDS, hashtags=HASHTAGS)
    np.testing.assert_allclose(run(still, variables, BATCH), expected, rtol=1e-4, atol=1e-6)
    found = gradient(module, variables, empty)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))
    assert not found["key_table"]["table"].any() and not found["value_table"]["table"].any()


def test_time_noise_moves_later_posts_to_later_places_in_training_alone() -> None:
    module, variables = made(memn2n, replace(MEMORY, temporal=True, time_noise=0.5))
    keys = jax.random.split(jax.random.key(3), 200)
    places = np.asarray(module.apply(variables, M, keys, method=module._places))
    assert places.shape == (200, M) and places.max() == M - 1 and (np.diff(places, axis=1) >= 0).all()
    assert (places[:, 0] > 0).any() and (places == np.arange(M)).all(1).any()
    np.testing.assert_array_equal(module.apply(variables, M, None, method=module._places), np.arange(M))


@pytest.mark.parametrize("model", [hmemn2n, memn2n], ids=["hmemn2n", "memn2n"])
def test_bins_change_no_number(model: Any) -> None:
    settings = model.Settings(embedding=D, scale=1.0)
    module, variables = made(model, replace(settings, position_encoding=True) if model is memn2n else settings)
    batch = jax.tree.map(jnp.asarray, {"tokens": draw(16, T), "history": draw(16, M, N)})
    room = -(-int((batch["history"] != 0).sum()) // 16) + 2
    assert room < M * N and bags.fits(jnp.asarray(batch["history"]), room)

    def loss(variables: Any) -> tuple[jax.Array, jax.Array]:
        logits = module.apply(variables, batch, 0.0, None)
        return (logits**2).sum(), logits

    plain = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables)
    with bags.packed_words(room):
        bins = bags.side_by_side(jnp.asarray(batch["history"]))
        packed = jax.jit(jax.value_and_grad(lambda v: loss(v), has_aux=True))(variables)
    assert bins.words.shape == (4, 4 * room)
    assert sorted(real(np.asarray(bins.words)).tolist()) == sorted(real(np.asarray(batch["history"])).tolist())
    for a, b in zip(jax.tree.leaves(packed), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


def test_posts_are_dealt_evenly() -> None:
    sizes = np.sort(RNG.integers(0, 200, 64))
    dealt = np.asarray(bags.dealt(jnp.asarray(sizes)))
    assert sorted(dealt.ravel().tolist()) == list(range(64)) and dealt.shape == (16, 4)
    assert np.ptp(sizes[dealt].sum(1)) < 60
    history = (np.arange(200) < sizes[:, None]).astype(np.int32)[:, None]
    fullest = sizes[dealt].sum(1).max()
    assert bags.fits(jnp.asarray(history), -(-fullest // 4)) and not bags.fits(jnp.asarray(history), fullest // 4 - 1)


def test_trigger_words() -> None:
    score = jnp.array([[0.1, 0.9, 0.5, -7.0], [0.3, 0.3, 9.0, 9.0], [5.0, 5.0, 5.0, 5.0]])
    mask = jnp.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    gates = lambda delta, gate="straight_through": trigger_gates(score, mask, delta, gate)  # noqa: E731
    assert gates(1.0).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]  # every word; padding never
    assert gates(0.0).tolist() == [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]  # the greatest, or all that are equal
    assert gates(0.4, "hard").tolist() == [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]  # η is 0.58
    np.testing.assert_allclose(gates(0.8, "relu")[0], [0, 0.64, 0.24, 0], atol=1e-6)  # η is 0.26

    def slope(gate: str) -> jax.Array:
        return jax.grad(lambda s: (trigger_gates(s, mask, 0.8, gate) * jnp.arange(1.0, 5.0)).sum())(score)

    assert not slope("hard").any()
    # Of s_i − η at the triggers, the second and the third word, η being .8 of the first and .2 of the second.
    np.testing.assert_allclose(slope("straight_through")[0], [-0.8 * 5, 2 - 0.2 * 5, 3, 0], rtol=1e-5)
    np.testing.assert_allclose(slope("relu")[0], slope("straight_through")[0], rtol=1e-5)
    for gate in ("straight_through", "hard", "relu"):
        assert bool(jnp.isfinite(slope(gate)).all()) and not slope(gate)[2].any()


def test_cnn_attention_learns_its_triggers_unless_the_gate_is_hard() -> None:
    module, variables = made(cnn_attention, cnn_attention.Settings(embedding=D, filters=3))
    for gate in ("straight_through", "hard", "relu"):
        found = gradient(module.clone(settings=replace(module.settings, gate=gate)), variables, BATCH)
        assert bool(jnp.abs(found["scorer"]["kernel_5"]).max() > 0) == (gate != "hard")
    shares = explained(module, variables, BATCH)["tokens"]
    assert shares.shape == (B, 1, T) and not np.asarray(shares)[:, 0][BATCH["tokens"] == 0].any()


def test_row_sparse_steps_in_bins_learn_what_dense_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAYS", 0)
    batches = [{"tokens": draw(16, T), "history": draw(16, M, N)} for _ in range(4)]
    batches[2]["history"] = RNG.integers(2, WORDS, (16, M, N)).astype(np.int32)  # more than the bins have room for
    for batch in batches:
        batch["hashtags"] = RNG.integers(0, HASHTAGS, (16, 1)).astype(np.int32)
    room = 11
    assert [bool(bags.fits(jnp.asarray(b["history"]), room)) for b in batches] == [True, True, False, True]
    sizes = Sizes(WORDS, 8, {"tokens": T, "history": N}, posts=M, packed=room)
    found = {}
    for capacity in (0, WORDS):
        given = {"model.embedding": str(D), "training.rows": str(capacity), "training.batch": "16", "training.l2": "0"}
        experiment = resolve("hmemn2n/hmemn2n", "tiny", given | {"training.accumulator": "0.01"})
        system, rule = build(experiment, sizes), optimizer(experiment.training)
        mesh = make_mesh(experiment.parallel, jax.devices()[:1])
        state = create(system, rule, abstract_state(system, rule, mesh), 0, mesh)
        numbers = jax.tree.map(jnp.asarray, numbers_of(experiment, np.arange(16), HASHTAGS, 8))
        step, losses = jax.jit(make_train_step(system, rule, mesh)), []
        for batch in batches:
            state, sums = step(state, numbers, batch)
            losses.append(float(sums["loss"]))
        found[capacity] = state["params"], losses
    np.testing.assert_allclose(found[WORDS][1], found[0][1], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(found[WORDS][0]), jax.tree.leaves(found[0][0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_vectors_start_every_table_of_words() -> None:
    experiment = resolve("hmemn2n/memn2n", "tiny", {"model.embedding": str(D), "model.tying": "adjacent"})
    system = build(experiment, Sizes(WORDS, 8, {"tokens": T, "history": N}, posts=M))
    rule, mesh = optimizer(experiment.training), make_mesh(experiment.parallel, jax.devices()[:1])
    vectors = RNG.normal(size=(WORDS - 5, D)).astype(np.float32)
    params = create(system, rule, abstract_state(system, rule, mesh), 0, mesh, vectors)["params"]
    np.testing.assert_array_equal(params["word_table"]["table"][2 : 2 + len(vectors)], vectors)
    for hop in range(2):
        np.testing.assert_array_equal(params["hop_tables"]["table"][2 : 2 + len(vectors), hop], vectors)
    assert not np.array_equal(params["hop_tables"]["table"][-1, 0], params["hop_tables"]["table"][-1, 1])
