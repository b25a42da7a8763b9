import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.ranking import spread, top_k


def mesh_of(devices: int) -> Mesh:
    """`devices` simulated devices; eight of them over all three axes."""
    sizes = {1: (1, 1, 1), 4: (2, 1, 2), 8: (2, 2, 2)}[devices]
    return make_mesh(Parallel(*sizes), jax.devices()[:devices])


@pytest.mark.parametrize("block", [0, 3, 7, 8, 49, 50, 100])
def test_blocks_change_nothing(block: int) -> None:
    rng = np.random.default_rng(0)
    query, table = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(50, 4)).astype(np.float32)
    positions, scores = top_k(jnp.asarray(query), jnp.asarray(table), 5, block)
    products = query @ table.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(products, expected, 1), rtol=1e-5)


@pytest.mark.parametrize("block", [0, 4, 100])
def test_equal_scores_keep_the_candidates_order(block: int) -> None:
    positions, _ = top_k(jnp.ones((2, 3)), jnp.ones((10, 3)), 6, block)
    np.testing.assert_array_equal(positions, np.tile(np.arange(6), (2, 1)))


@pytest.mark.parametrize("block", [0, 3])
def test_zeros_of_either_sign_are_equal(block: int) -> None:
    table = jnp.array([[-0.0], [0.0], [-1.0], [-0.0], [0.0], [1.0], [0.0]])
    positions, _ = top_k(jnp.array([[1.0], [-1.0]]), table, 7, block)
    np.testing.assert_array_equal(positions, [[5, 0, 1, 3, 4, 6, 2], [2, 0, 1, 3, 4, 6, 5]])


@pytest.mark.parametrize("devices", [1, 4, 8])
@pytest.mark.parametrize(("count", "block"), [(3, 0), (9, 0), (101, 5)])
def test_a_table_over_devices_ranks_as_a_full_sort(devices: int, count: int, block: int) -> None:
    """Whole numbers: the products are exact, and most are tied. k goes past a block, a shard and to every candidate."""
    rng = np.random.default_rng(count)
    query, table = rng.integers(-2, 3, (7, 3)).astype(np.float32), rng.integers(-2, 3, (count, 3)).astype(np.float32)
    mesh = mesh_of(devices)
    placed = spread(jnp.asarray(table), mesh)
    assert len(placed.sharding.device_set) == devices and len(placed) % devices == 0
    products = query @ table.T
    order = np.argsort(-products, axis=1, kind="stable")
    for k in sorted({min(8, count), count}):
        ranked = jax.jit(lambda q, t, k=k: top_k(q, t, k, block, mesh, count))
        positions, scores = ranked(query, placed)
        np.testing.assert_array_equal(positions, order[:, :k])
        np.testing.assert_array_equal(scores, np.take_along_axis(products, order[:, :k], 1))


@pytest.mark.parametrize("devices", [1, 8])
def test_of_several_queries_the_greatest_product_counts(devices: int) -> None:
    rng = np.random.default_rng(5)
    query, table = rng.integers(-2, 3, (7, 3, 3)).astype(np.float32), rng.integers(-2, 3, (30, 3)).astype(np.float32)
    products = (query @ table.T).max(1)
    order = np.argsort(-products, axis=1, kind="stable")
    mesh = mesh_of(devices)
    for k in (6, 30)[: 1 + (devices == 1)]:
        positions, scores = top_k(jnp.asarray(query), spread(jnp.asarray(table), mesh), k, 7, mesh, 30)
        np.testing.assert_array_equal(positions, order[:, :k])
        np.testing.assert_array_equal(scores, np.take_along_axis(products, order[:, :k], 1))


def test_real_scores_over_devices_are_those_of_one() -> None:
    rng = np.random.default_rng(3)
    query, table = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((5, 16), (1003, 16)))
    mesh = mesh_of(8)
    positions, scores = top_k(query, spread(table, mesh), 40, 32, mesh, len(table))
    expected, products = top_k(query, table, 40)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, products, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_the_candidates_are_not_asked_for(k: int) -> None:
    with pytest.raises(ValueError, match="of 3 candidates"):
        top_k(jnp.ones((1, 2)), jnp.ones((4, 2)), k, count=3)
