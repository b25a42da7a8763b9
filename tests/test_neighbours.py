"""Nearest neighbours against a full stable sort, with many ties; on one device and on several."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.estimators import neighbours
from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import make_mesh


def small_numbers(rows: int, width: int, seed: int) -> np.ndarray:
    """Rows of small whole numbers, so that every product is exact in any order, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, width)).astype(np.float16)


def oracle(q: np.ndarray, x: np.ndarray, k: int, distance: str, own: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """All nearness, sorted."""
    q, x = q.astype(np.float32), x.astype(np.float32)
    squares = (x * x).sum(1)
    near = 2 * (q @ x.T) - squares if distance == "l2" else (q @ x.T) / np.where(squares > 0, np.sqrt(squares), 1)
    if own:
        near[np.arange(len(q)), np.arange(len(q))] = -np.inf
    order = np.argsort(-near, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(near, order, 1)
    short = k - order.shape[1]
    order, found = np.where(found > -np.inf, order, -1), found
    return np.pad(order, ((0, 0), (0, short)), constant_values=-1), np.pad(
        found, ((0, 0), (0, short)), constant_values=-np.inf
    )


def mesh(devices: int) -> Any:
    return make_mesh(Parallel(), jax.devices()[:devices])


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_the_nearest_are_those_of_a_stable_sort(devices: int, distance: Any) -> None:
    x, q = small_numbers(157, 4, 0), small_numbers(23, 4, 1)
    x[40] = 0
    places, near = oracle(q, x, 9, distance)
    assert len(np.unique(near)) < 40  # of 207: many ties
    # Blocks that do not divide the rows, and queries that do not fill a block.
    found = neighbours.search(q, x, 9, distance, mesh=mesh(devices), block=48, at_once=16)
    same = np.testing.assert_array_equal if distance == "l2" else partial(np.testing.assert_allclose, rtol=2e-7)
    np.testing.assert_array_equal(found[0], places)
    same(found[1], near)  # XLA multiplies by the inverse of a root
    rows = neighbours.spread(x, mesh(devices))
    run = jax.jit(lambda q, x: neighbours.nearest(q, x, 9, distance, count=157, mesh=mesh(devices), block=48))
    found = run(jnp.asarray(q), rows)
    np.testing.assert_array_equal(found[0], places)
    same(found[1], near)


@pytest.mark.parametrize("devices", [1, 8])
def test_a_row_is_not_its_own_neighbour(devices: int) -> None:
    x = small_numbers(50, 3, 2)
    places, near = oracle(x, x, 5, "l2", own=True)
    found = neighbours.search(x, x, 5, exclude_self=True, mesh=mesh(devices), block=16, at_once=32)
    np.testing.assert_array_equal(found[0], places)
    np.testing.assert_array_equal(found[1], near)
    assert (found[0] != np.arange(50)[:, None]).all()


def test_fewer_rows_than_neighbours() -> None:
    x, q = small_numbers(3, 4, 0), small_numbers(6, 4, 1)
    places, near = oracle(q, x, 5, "l2")
    for devices in (1, 2):
        found = neighbours.search(q, x, 5, mesh=mesh(devices))
        np.testing.assert_array_equal(found[0], places)
        np.testing.assert_array_equal(found[1], near)
    assert (neighbours.search(x, x, 3, exclude_self=True)[0][:, 2] == -1).all()


@pytest.mark.parametrize(("n", "k"), [(1100, 3), (4096, 20), (2049, 1), (1500, 700)])
def test_the_greatest_are_found_by_runs(n: int, k: int) -> None:
    scores = np.random.default_rng(n).integers(-4, 40 if k == 3 else 5, (6, n)).astype(np.float32)
    scores[0] = -np.inf
    scores[0, 7] = -0.0
    scores[1] = np.where(np.arange(n) % 2 == 0, -0.0, 0.0)
    places, found = jax.jit(neighbours.k_greatest, static_argnums=1)(scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, np.take_along_axis(scores, order, 1))
    np.testing.assert_array_equal(places[1:], order[1:])
    assert places[0, 0] == 7


def test_rows_are_read_from_a_mapped_file_where_it_lies(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 32)).astype(np.float16)
    np.save(tmp_path / "rows.npy", x)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    spread = neighbours.spread(mapped, mesh(1))
    assert spread.unsafe_buffer_pointer() == mapped.ctypes.data  # the file itself: nothing is copied
    parts = neighbours.spread(mapped, mesh(2))
    assert parts.addressable_shards[1].data.unsafe_buffer_pointer() == mapped[150:].ctypes.data
    found = neighbours.search(mapped[:20], mapped, 4, "cosine", block=128)
    np.testing.assert_array_equal(found[0], oracle(x[:20], x, 4, "cosine")[0])
    np.testing.assert_array_equal(found[0][:, 0], np.arange(20))


def test_approximate_is_exact_on_a_cpu() -> None:
    x, q = small_numbers(90, 4, 0), small_numbers(10, 4, 1)
    found = neighbours.search(q, x, 4, approximate=True, block=64)
    np.testing.assert_array_equal(found[0], oracle(q, x, 4, "l2")[0])
