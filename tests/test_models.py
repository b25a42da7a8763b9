"""Models: the parameter counts of the papers' sizes, and the settings that no recipe uses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.models import ann, cnn, rnn, rnn_attention, transformer
from jaxtag.parallel.mesh import unbox

KEY = jax.random.key(0)
COUNTS = [(ann, 205_874), (cnn, 446_674), (rnn, 9_955_378), (rnn_attention, 4_711_474), (transformer, 19_017_266)]


def posts(lengths: tuple[int, ...] = (8, 3, 1, 0)) -> dict[str, jax.Array]:
    tokens = np.zeros((len(lengths), 8), np.int32)
    for row, n in zip(tokens, lengths):
        row[:n] = np.arange(2, 2 + n)
    return {"tokens": jnp.asarray(tokens)}


@pytest.mark.parametrize(("model", "count"), COUNTS, ids=lambda x: getattr(x, "__name__", x))
def test_parameter_counts_without_the_word_table(model, count: int) -> None:
    module = model.Model(model.Settings(), words=10, hashtags=50)
    shapes = jax.eval_shape(lambda: module.init(KEY, posts(), 0.0, None))
    assert sum(x.size for x in jax.tree.leaves(unbox(shapes))) - 10 * 150 == count


def test_the_features_of_the_rnn_are_its_second_last_state() -> None:
    module = rnn.Model(rnn.Settings(), words=30, hashtags=5)
    shape = jax.eval_shape(
        lambda: module.init_with_output(KEY, posts(), 0.0, None, method=lambda m, *a: (m(*a), m.features(*a)))[0]
    )
    assert [x.shape for x in shape] == [(4, 5), (4, 1024)]


@pytest.mark.parametrize(
    ("model", "settings", "features"),
    [
        (ann, {"pool": "flatten", "length": 6, "hidden": 16}, 16),
        (cnn, {"pool": "flatten", "length": 6, "filters": 4, "hidden": (16, 8)}, 8),
        (transformer, {"pool": "first", "width": 8, "heads": 2, "inner": 16, "layers": 2}, 8),
        (transformer, {"pool": "flatten", "length": 6, "width": 8, "heads": 2, "inner": 16, "layers": 2}, 48),
        (rnn_attention, {"attention": "sigmoid", "activation": "tanh", "width": 8}, 8),
        (rnn, {"activation": "tanh", "trainable": False, "width": 8}, 8),
    ],
)
def test_padding_changes_nothing_whatever_the_settings(model, settings: dict, features: int) -> None:
    module = model.Model(model.Settings(embedding=8, **settings), words=30, hashtags=5)
    p = unbox(module.init(KEY, posts(), 0.0, None))
    both = lambda m, *a: (m(*a), m.features(*a))  # noqa: E731
    plain = module.apply(p, posts(), 0.0, None, method=both)
    assert plain[1].shape == (4, features)
    wider = {"tokens": jnp.pad(posts()["tokens"], ((0, 0), (0, 8)))}
    for a, b in zip(plain, module.apply(p, wider, 0.0, None, method=both)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
