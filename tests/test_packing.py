"""Arithmetic on real words alone: every one has a row, and what is computed is what padding would have given."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers import packing
from jaxtag.layers.attention import AdditiveAttention
from jaxtag.layers.parameters import affine
from jaxtag.layers.recurrent import GRU, LSTM
from jaxtag.parallel.mesh import unbox

WIDTH, INPUTS = 5, 3


def masks(seed: int, batch: int, length: int, in_order: bool) -> np.ndarray:
    """Posts of random lengths, an empty and a full one among them, `[B, T]`."""
    lengths = np.random.default_rng(seed).integers(0, length + 1, batch)
    lengths[0], lengths[-1] = 0, length
    return np.arange(length) < (np.sort(lengths) if in_order else lengths)[:, None]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("batch", "length"), [(1, 8), (5, 7), (16, 12), (64, 40)])
def test_every_real_word_has_a_row_of_its_own(batch: int, length: int, in_order: bool) -> None:
    for seed in range(5):
        mask = masks(seed, batch, length, in_order)
        packed = jax.tree.map(np.asarray, packing.packing(jnp.array(mask)))
        total = packed.counts.sum()
        assert (packed.rows[mask] < total).all() and len(packed.places) % packing.BLOCKS[-1] == 0
        assert (packed.starts == np.cumsum(packed.counts) - packed.counts).all() and packed.counts[0] == batch
        words = packed.rows < len(packed.places)  # those that have a row: the real ones, and few besides
        assert sorted(packed.rows[words]) == list(range(total)) and (packed.places[total:] == mask.size).all()
        np.testing.assert_array_equal(packed.places[packed.rows[words]], np.flatnonzero(words))
        if in_order:
            assert total == mask.sum() + (~mask[:, 0]).sum()
        for i, many in enumerate(packing.phases(batch)):  # a phase is wide enough for its steps
            assert (packed.counts[packed.upto[i] : packed.upto[i + 1]] <= many).all()
        assert (packed.counts[packed.upto[-1] :] == 0).all()


def test_a_row_of_no_word_is_zero_and_a_word_of_no_row_too() -> None:
    mask = masks(2, 16, 12, True)
    packed = packing.packing(jnp.array(mask))
    x = jnp.array(np.random.default_rng(0).normal(size=(16, 12, INPUTS)), jnp.float32)
    rows = packing.pack(x, packed)
    assert not np.asarray(rows)[int(packed.counts.sum()) :].any()
    np.testing.assert_array_equal(packing.unpack(rows, packed), x * (packed.rows < len(packed.places))[..., None])
    toward = jnp.array(np.random.default_rng(1).normal(size=rows.shape), jnp.float32)
    plain = jax.vjp(lambda x: x.reshape(-1, INPUTS).at[packed.places].get(mode="fill", fill_value=0), x)[1](toward)
    np.testing.assert_array_equal(jax.vjp(lambda x: packing.pack(x, packed), x)[1](toward)[0], plain[0])


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_are_taken_once_each_in_order_or_from_the_last(reverse: bool) -> None:
    packed = packing.packing(jnp.array(masks(1, 16, 12, True)))
    times = jnp.where(packed.places < 192, packed.places % 12, -1)[:, None].astype(jnp.float32)

    def step(last: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        return time, last

    last, before = packing.over_steps(packed, step, jnp.full((16, 1), -5.0), times, reverse)
    at, end = (np.asarray(x)[:, 0] for x in (times, last))
    lengths = masks(1, 16, 12, True).sum(1)
    lengths[lengths == 0] = 1  # an empty post has a row at the first step
    np.testing.assert_array_equal(end, 0 if reverse else lengths - 1)
    here = np.asarray(before)[at >= 0, 0]
    post = np.asarray(packed.places)[at >= 0] // 12
    first = lengths[post] - 1 if reverse else 0
    np.testing.assert_array_equal(here, np.where(at[at >= 0] == first, -5, at[at >= 0] + (1 if reverse else -1)))
    assert not np.asarray(before)[at < 0].any()


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("batch", [16, 200])
def test_what_is_done_to_each_word_and_products_are_the_padded_ones(in_order: bool, batch: int) -> None:
    rng = np.random.default_rng(0)
    mask = masks(2, batch, 12, in_order)[..., None]
    x, g = (jnp.array(rng.normal(size=(batch, 12, n)) * mask, jnp.float32) for n in (INPUTS, WIDTH))
    params = tuple(jnp.array(rng.normal(size=s), jnp.float32) for s in ((INPUTS, WIDTH), (WIDTH,)))
    packed = packing.packing(jnp.array(mask[..., 0]))

    def total(params: tuple, x: jax.Array, packed: packing.Packing | None) -> jax.Array:
        rows = x if packed is None else packing.pack(x, packed)
        made = packing.by_word(lambda p, x: jnp.tanh(affine(p, x)), params, rows, packed)
        return ((made if packed is None else packing.unpack(made, packed)) * g).sum()

    plain, ours = (jax.value_and_grad(total, (0, 1))(params, x, p) for p in (None, packed))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    found = packing.products(packing.pack(x, packed), packing.pack(g, packed), packed)
    np.testing.assert_allclose(found, np.einsum("bte,btn->en", x, g), atol=1e-4)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_attention_gives_the_same_with_and_without_padding(form: str, in_order: bool) -> None:
    rng = np.random.default_rng(4)
    mask = jnp.array(masks(4, 16, 12, in_order))
    x = jnp.array(rng.normal(size=(16, 12, INPUTS)), jnp.float32)
    module = AdditiveAttention(WIDTH, form)
    params = unbox(jax.jit(module.init)(jax.random.key(0), x, mask))
    run = jax.value_and_grad(lambda params, x: (module.apply(params, x, mask)[0] ** 2).sum(), (0, 1))
    padded = jax.jit(run)(params, x)
    with packing.padding_left_out():
        found = jax.jit(run)(params, x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(padded), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


LAYERS = (GRU, LSTM, partial(GRU, reset="after"))
# Every phase of a batch is compiled: of four posts there are four, of 16 eight.
CASES = [(layer, reverse, 4) for layer in LAYERS for reverse in (False, True)] + [(GRU, True, 16)]


@pytest.mark.parametrize(("layer", "reverse", "batch"), CASES)
def test_recurrent_layers_give_the_same_with_and_without_padding(layer, reverse: bool, batch: int) -> None:  # noqa: ANN001
    """Of posts in no order, of several batches."""
    rng = np.random.default_rng(3)
    module = layer(WIDTH, reverse=reverse)
    x, toward = (jnp.array(rng.normal(size=(batch, 12, n)), jnp.float32) for n in (INPUTS, WIDTH))
    params = unbox(jax.jit(module.init)(jax.random.key(0), x, jnp.ones((batch, 12), bool)))

    def total(params: dict, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, tuple]:
        states, last = module.apply(params, x * mask[..., None], mask)
        states = states * mask[..., None]
        return (states * toward).sum() + (last**2).sum(), (states, last)

    run = jax.value_and_grad(total, (0, 1), has_aux=True)
    plain, packed = jax.jit(run), jax.jit(lambda *given: run(*given))  # two, or the second finds the first's program
    for seed, in_order in ((3, False), (3, True), (5, False), (6, False)):
        mask = jnp.array(masks(seed, batch, 12, in_order))
        (_, padded), by_padded = plain(params, x, mask)
        with packing.padding_left_out():
            (_, found), by_found = packed(params, x, mask)
        for a, b in zip(jax.tree.leaves((found, by_found)), jax.tree.leaves((padded, by_padded)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # of sums of up to 192 products
    assert not packing.leaves_padding_out()
