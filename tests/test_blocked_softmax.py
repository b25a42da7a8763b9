"""The cross-entropy of very many hashtags, block by block, against the plain one."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.layers.blocked_softmax import Blocks, summed_pairs
from jaxtag.training.objectives import pairs
from jaxtag.training.train import train
from tests import toy
from tests.test_training import bound, run_steps

POSTS, WIDTH, HASHTAGS = 13, 5, 11


def given(hashtags: int = HASHTAGS) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Features, W and b; labels, some of none or not allowed, and what is allowed."""
    draw = np.random.default_rng(0)
    x, kernel, bias = (draw.normal(size=s).astype(np.float32) for s in ((POSTS, WIDTH), (WIDTH, hashtags), hashtags))
    labels = draw.integers(-1, hashtags, (POSTS, 3)).astype(np.int32)
    labels[4] = -1
    allowed = draw.random(hashtags) < 0.8
    allowed[:4] = False  # a whole slice of the smallest width
    return (x, kernel, bias), (jnp.asarray(labels), jnp.asarray(allowed))


def plain(labels: Any, allowed: Any, smoothing: float) -> Any:
    def total(x: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
        loss, weight = pairs(x @ kernel + bias, labels, allowed, jnp.float32(smoothing))
        return loss.sum(), weight.sum()

    return jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("posts", "width"), [(4, 4), (13, 11), (100, 3), (1, 5)])
def test_loss_weight_and_gradients_are_those_of_all_scores_at_once(posts: int, width: int, smoothing: float) -> None:
    floats, rest = given()
    blocks = Blocks(posts, width)
    found = jax.jit(
        jax.value_and_grad(
            lambda *a: summed_pairs(blocks, *a, *rest, jnp.float32(smoothing)), argnums=(0, 1, 2), has_aux=True
        )
    )(*floats)
    for ours, expected in zip(jax.tree.leaves(found), jax.tree.leaves(plain(*rest, smoothing)(*floats)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-6)


def test_only_a_block_of_scores_is_held() -> None:
    floats, rest = given(hashtags=40_000)
    floats = (np.tile(floats[0], (20, 1)), *floats[1:])
    labels, allowed = np.tile(rest[0], (20, 1)), rest[1]

    def held(function: Any) -> int:
        return jax.jit(jax.grad(function)).lower(*floats).compile().memory_analysis().temp_size_in_bytes

    blocks = Blocks(13)
    block = held(lambda *a: summed_pairs(blocks, *a, labels, allowed, jnp.float32(0))[0])
    whole = held(lambda *a: pairs(a[0] @ a[1] + a[2], labels, allowed, jnp.float32(0))[0].sum())
    assert block < 4 * len(labels) * 40_000 / 4 and block < whole / 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("blocked") / "data", 300)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("zsl/cnn", {"training__smoothing": 0.1}),
        ("zsl/cnn", {"training__accumulate": 2}),
        ("hmemn2n/memn2n", {"training__rows": 64}),  # whose head has no bias
    ],
)
def test_training_in_blocks_is_training(dataset: Path, recipe: str, settings: dict) -> None:
    settings |= {"training__optimizer": "sgd", "training__learning_rate": 0.1}
    whole, losses = run_steps(bound(dataset, recipe, **settings), [6])
    blocked, found = run_steps(bound(dataset, recipe, **settings, training__head_posts=5), [6])
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(blocked["params"]), jax.tree.leaves(whole["params"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_every_mesh_gives_the_same_losses(dataset: Path) -> None:
    _, alone = run_steps(bound(dataset, training__head_posts=3), [4])
    mesh = {"parallel__data": 2, "parallel__fsdp": 2, "parallel__tensor": 2}
    _, found = run_steps(bound(dataset, devices=8, training__head_posts=3, **mesh), [4])
    np.testing.assert_allclose(found, alone, rtol=1e-5)


@pytest.mark.parametrize("objective", ["random_one", "sigmoid"])
def test_other_objectives_are_refused(dataset: Path, tmp_path: Path, objective: str) -> None:
    with pytest.raises(JaxtagError, match="training.head_posts is 8, but cnn has no softmax over hashtags"):
        train(tmp_path / "run", "zsl/cnn", bound(dataset, training__objective=objective, training__head_posts=8))
