"""ResNet-50 in linen: each part against its equation, the whole against Keras with the same weights."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data import extractors
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.models import multilabel_resnet, resnet
from jaxtag.models.resnet import Convolution, ResNet
from jaxtag.parallel.mesh import unbox
from jaxtag.recipes import resolve
from jaxtag.runs import bind
from jaxtag.training.starting import start_of
from jaxtag.training.state import create, numbers_of
from jaxtag.training.step import make_train_step
from tests import toy

SMALL = {"model.end_to_end": "true", "model.weights": "none", "model.depths": "1,1", "model.width": "4"}
SIDE = 16


def drawn(shapes: Any, seed: int = 0) -> Any:
    """Values for every leaf; what may not be negative is not."""
    rng = np.random.default_rng(seed)

    def one(path: Any, x: Any) -> jax.Array:
        value = rng.normal(0, 0.3, x.shape)
        return jnp.asarray(np.abs(value) + 0.5 if path[-1].key in ("variance", "scale") else value, jnp.float32)

    return jax.tree_util.tree_map_with_path(one, unbox(shapes))


def test_a_convolution_is_its_equation() -> None:
    layer: Any = Convolution(3, 3, 2, 1)
    x = np.random.default_rng(1).normal(size=(2, 5, 5, 2)).astype(np.float32)
    v = drawn(jax.eval_shape(lambda: layer.init(jax.random.key(0), x)))
    p, s = v["params"], v["statistics"]
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 3, 3, 3))
    for row in range(3):
        for column in range(3):
            window = around[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[:, row, column] = np.einsum("bhwc,hwco->bo", window, p["kernel"]) + p["bias"]
    expected = p["scale"] * (expected - s["mean"]) / np.sqrt(s["variance"] + 1.001e-5) + p["shift"]
    np.testing.assert_allclose(layer.apply(v, x), expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_taken_as_the_published_weights_want_them() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (1, 2, 2, 3), np.uint8)
    found = resnet.caffe(jnp.asarray(pixels))
    np.testing.assert_allclose(found, pixels[..., ::-1] - np.array(resnet.MEANS), rtol=1e-5, atol=1e-5)


def test_sizes() -> None:
    pixels = jnp.zeros((1, 64, 64, 3), jnp.uint8)
    shapes = jax.eval_shape(lambda: ResNet().init(jax.random.key(0), pixels))
    count = {name: sum(x.size for x in jax.tree.leaves(unbox(tree))) for name, tree in shapes.items()}
    assert count == {"params": 23_534_592, "statistics": 53_120}  # Keras' 23,587,712
    grid = jax.eval_shape(lambda v: ResNet().apply(v, pixels), unbox(shapes))
    assert grid.shape == (1, 2, 2, 2048)
    assert len(resnet.layers()) == 53


@pytest.fixture(scope="module")
def keras() -> Any:
    try:
        return extractors._keras()
    except JaxtagError as error:
        pytest.skip(str(error))


@pytest.mark.parity
def test_keras_weights_give_keras_outputs(keras: Any, tmp_path: Path) -> None:
    side = 64
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    theirs = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(side, side, 3))
    rng = np.random.default_rng(0)
    for variable in theirs.weights:
        if "bn/" in variable.path:  # as after training: no normalisation is the identity
            value = rng.normal(1 if variable.name in ("gamma", "moving_variance") else 0, 0.1, variable.shape)
            variable.assign(value)
    theirs.save(tmp_path / "resnet.h5")
    pixels = rng.integers(0, 256, (2, side, side, 3), np.uint8)
    inputs = keras.applications.resnet.preprocess_input(pixels.astype(np.float32))
    variables = [[v.value for v in part] for part in (theirs.trainable_variables, theirs.non_trainable_variables)]
    grid, _ = jax.jit(lambda x: theirs.stateless_call(*variables, x, training=False))(inputs)
    params, statistics = resnet.loaded(extractors.weights_of("resnet50", str(tmp_path / "resnet.h5")))
    found = jax.jit(lambda x: ResNet().apply({"params": params, "statistics": statistics}, x))(pixels)
    large = float(jnp.abs(grid).max())
    assert large > 0.1
    np.testing.assert_allclose(found, grid, rtol=1e-4, atol=1e-4 * large)
    np.testing.assert_allclose(found.mean((1, 2)), grid.mean((1, 2)), rtol=1e-4, atol=1e-4 * large)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("resnet") / "data", 80)
    toy.make_pixels(path, SIDE)
    return path


def bound(data: Path, **more: str) -> Any:
    dataset = open_dataset(data)
    options = SMALL | {"data.extractor": "pixels", "training.batch": "16"}
    options |= {key.replace("__", "."): value for key, value in more.items()}
    experiment = resolve("amnn/multilabel_resnet", "tiny", options)
    return bind(experiment, dataset, dataset.split(), jax.devices()[:1])


def test_a_network_learns_from_pixels_and_keeps_its_statistics(data: Path) -> None:
    b = bound(data)
    assert b.reading.images.shapes == {"pixels": (SIDE, SIDE, 3)} and b.system.entry.columns == ("pixels",)
    state = create(b.system, b.optimizer, b.abstract, 0, b.mesh)
    before = jax.device_get(state)
    numbers = numbers_of(b.experiment, b.split.train, toy.HASHTAGS, b.system.sizes.hashtags)
    batch = b.reading.gather(b.split.train[:16])
    assert batch["pixels"].dtype == np.uint8 and not batch["cells"].all()
    after, sums = jax.jit(make_train_step(b.system, b.optimizer))(state, numbers, batch)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before["params"], jax.device_get(after["params"]))
    assert all(jax.tree.leaves(moved))
    jax.tree.map(np.testing.assert_array_equal, before["collections"], jax.device_get(after["collections"]))
    without = batch["cells"] == 0
    scores = jax.jit(b.system.scores)
    one = scores(before["params"], before["collections"], batch)
    other = batch["pixels"].copy()
    other[without] = 77
    np.testing.assert_array_equal(scores(before["params"], before["collections"], batch | {"pixels": other}), one)
    np.testing.assert_array_equal(one[without], jnp.broadcast_to(before["params"]["head"]["bias"], one[without].shape))


def test_a_run_starts_from_weights_of_a_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet, "DEPTHS", (1, 1))
    monkeypatch.setattr(resnet, "WIDTH", 4)
    b = bound(data, model__weights="somewhere.h5")
    state = create(b.system, b.optimizer, b.abstract, 0, b.mesh)
    rng = np.random.default_rng(0)
    weights: dict[str, dict[str, np.ndarray]] = {}
    for name, path in resnet.layers((1, 1)).items():
        ours = state["params"][multilabel_resnet.NETWORK]
        for part in path:
            ours = ours[part]
        width = ours["bias"].shape
        weights[f"{name}_conv"] = {n: rng.normal(size=ours[n].shape) for n in ("kernel", "bias")}
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        weights[f"{name}_bn"] = {n: rng.random(width) for n in names}
    asked = []
    monkeypatch.setattr(extractors, "weights_of", lambda *given: asked.append(given) or weights)
    loaded = resnet.loaded
    monkeypatch.setattr(resnet, "loaded", lambda weights: loaded(weights, (1, 1)))
    started = start_of(b)(state)
    assert asked == [("resnet50", "somewhere.h5")]
    stem, norm = started["params"]["resnet"]["stem"], started["collections"]["statistics"]["resnet"]["stem"]
    np.testing.assert_array_equal(stem["kernel"], weights["conv1_conv"]["kernel"].astype(np.float32))
    np.testing.assert_array_equal(stem["scale"], weights["conv1_bn"]["gamma"].astype(np.float32))
    np.testing.assert_array_equal(norm["variance"], weights["conv1_bn"]["moving_variance"].astype(np.float32))
    deep = started["params"]["resnet"]["stages_1_0"]["beside"]["shift"]
    np.testing.assert_array_equal(deep, weights["conv3_block1_0_bn"]["beta"].astype(np.float32))
    assert jax.tree.structure(started) == jax.tree.structure(state)


def test_weights_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    b = bound(data, model__weights="imagenet")
    with pytest.raises(JaxtagError, match="model.weights imagenet are of ResNet-50.*--model.weights none"):
        start_of(b)({})
    b = bound(data, model__weights=str(tmp_path / "none.h5"), model__depths="3,4,6,3", model__width="64")
    with pytest.raises(JaxtagError, match="model.weights: no file .*none.h5 of weights"):
        start_of(b)({})
