import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtag.data import order


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 5000), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    places = order.place_on_host(np.arange(n), seed, epoch, order.rectangle(n))
    np.testing.assert_array_equal(np.sort(places), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 7, 100, 4097])
def test_device_and_host_agree(n: int) -> None:
    size = order.rectangle(n)
    place = jax.jit(order.place)
    for seed, epoch in ((0, 0), (7, 3), (2**32 - 1, 12345)):
        found = place(jnp.arange(n, dtype=jnp.uint32), jnp.uint32(seed), jnp.uint32(epoch), size)
        np.testing.assert_array_equal(found, order.place_on_host(np.arange(n), seed, epoch, size))


def test_steps_of_an_epoch_visit_rows_once_and_in_another_order_next_time() -> None:
    rows, batch = np.arange(100, 203, dtype=np.int32), 10
    epochs = [
        np.concatenate([order.rows_of_step_on_host(rows, 5, e * 10 + s, batch) for s in range(10)]) for e in range(3)
    ]
    for visited in epochs:
        assert len(set(visited.tolist())) == 100
        assert set(visited.tolist()) <= set(rows.tolist())
    assert not np.array_equal(epochs[0], epochs[1])


def test_rows_of_a_step_are_the_same_on_the_device() -> None:
    rows = np.random.default_rng(0).permutation(1000)[:333].astype(np.int32)
    size = order.rectangle(len(rows))
    for step in (0, 1, 19, 20, 21, 4000):
        found = order.rows_of_step(jnp.asarray(rows), jnp.asarray(size), jnp.uint32(9), jnp.int32(step), 16)
        np.testing.assert_array_equal(found, order.rows_of_step_on_host(rows, 9, step, 16))


def test_order_looks_random() -> None:
    n, epochs = 200, 3000
    size = order.rectangle(n)
    places = np.stack([order.place_on_host(np.arange(n), 1, e, size) for e in range(epochs)]).astype(float)
    spread = np.sqrt((n * n - 1) / 12 / epochs)
    assert np.abs(places.mean(0) - (n - 1) / 2).max() < 5 * spread  # every place has the same mean
    neighbours = np.corrcoef(places[:, :-1].ravel(), places[:, 1:].ravel())[0, 1]
    assert abs(neighbours + 1 / n) < 5 / np.sqrt(n * epochs)  # neighbours tell nothing of each other
