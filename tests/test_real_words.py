"""Arithmetic on real words alone: the plan covers every one, and what is computed is what padding would have given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers import real_words
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
def test_every_real_word_is_in_its_phase(batch: int, length: int, in_order: bool) -> None:
    for seed in range(5):
        mask = masks(seed, batch, length, in_order)
        upto = np.asarray(real_words.plan(jnp.array(mask.T)).upto)
        assert upto[0] == 0 and (np.diff(upto) >= 0).all() and (upto % real_words.chunk_of(length) == 0).all()
        covered = np.zeros((batch, length), bool)
        for i, many in enumerate(real_words.rows(batch)):
            covered[batch - many :, upto[i] : upto[i + 1]] = True
        assert (covered | ~mask).all()
        if in_order and length > 8:  # and not much besides
            assert covered.sum() < 2 * mask.sum() + batch * real_words.CHUNK


def test_steps_are_taken_once_each_in_order_or_from_the_last() -> None:
    phases = real_words.plan(jnp.array(masks(1, 16, 12, True).T))
    end = int(phases.upto[-1])

    def step(t: jax.Array, seen: jax.Array, many: int) -> jax.Array:
        return jnp.concatenate([seen[1:], t[None].astype(jnp.int32)])

    forward, back = (real_words.over_steps(phases, 16, r, step, jnp.full(12, -1)) for r in (False, True))
    np.testing.assert_array_equal(forward[12 - end :], np.arange(end))
    np.testing.assert_array_equal(back[12 - end :], np.arange(end)[::-1])


@pytest.mark.parametrize("in_order", [True, False])
def test_projections_and_products_are_the_padded_ones(in_order: bool) -> None:
    rng = np.random.default_rng(0)
    mask = masks(2, 16, 12, in_order).T[..., None]
    x, g = (jnp.array(rng.normal(size=(12, 16, n)) * mask, jnp.float32) for n in (INPUTS, WIDTH))
    kernel = jnp.array(rng.normal(size=(INPUTS, WIDTH)), jnp.float32)
    phases = real_words.plan(jnp.array(mask[..., 0]))
    np.testing.assert_allclose(real_words.project(x, kernel, phases), x @ kernel, atol=1e-6)
    np.testing.assert_allclose(real_words.products(x, g, phases), np.einsum("tbe,tbn->en", x, g), atol=1e-5)
    plain, ours = (
        jax.grad(lambda x, k, p=p: (real_words.project(x, k, p) * g).sum(), (0, 1))(x, kernel) for p in (None, phases)
    )
    for a, b in zip(ours, plain):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", [GRU, LSTM, lambda *a, **k: GRU(*a, reset="after", **k)])
def test_recurrent_layers_give_the_same_with_and_without_padding(layer, reverse: bool, in_order: bool) -> None:  # noqa: ANN001
    rng = np.random.default_rng(3)
    mask = jnp.array(masks(3, 16, 12, in_order))
    x = jnp.array(rng.normal(size=(16, 12, INPUTS)), jnp.float32) * mask[..., None]
    toward = jnp.array(rng.normal(size=(16, 12, WIDTH)), jnp.float32) * mask[..., None]
    module = layer(WIDTH, reverse=reverse)
    params = unbox(module.init(jax.random.key(0), x, mask))

    def total(params: dict, x: jax.Array) -> tuple[jax.Array, tuple]:
        states, last = module.apply(params, x, mask)
        return (states * toward).sum() + (last**2).sum(), (states * mask[..., None], last)

    run = jax.value_and_grad(total, (0, 1), has_aux=True)
    (_, padded), by_padded = run(params, x)
    with real_words.sorted_by_length():
        (_, found), by_found = jax.jit(run)(params, x)
    assert not real_words.is_sorted()
    for a, b in zip(jax.tree.leaves((found, by_found)), jax.tree.leaves((padded, by_padded))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # of sums of up to 192 products
