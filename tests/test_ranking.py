import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.ranking import top_k


@pytest.mark.parametrize("block", [7, 8, 50, 100])
def test_blocks_change_nothing(block: int) -> None:
    rng = np.random.default_rng(0)
    query, table = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(50, 4)).astype(np.float32)
    positions, scores = top_k(jnp.asarray(query), jnp.asarray(table), 5, block)
    products = query @ table.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(products, expected, 1), rtol=1e-5)


@pytest.mark.parametrize("block", [4, 100])
def test_equal_scores_keep_the_candidates_order(block: int) -> None:
    positions, _ = top_k(jnp.ones((2, 3)), jnp.ones((10, 3)), 6, block)
    np.testing.assert_array_equal(positions, np.tile(np.arange(6), (2, 1)))
