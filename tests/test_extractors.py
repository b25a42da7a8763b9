"""Networks of keras.applications as extractors; skipped where Keras is not installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep.cli import main

from jaxtag.data import extractors, images, pictures
from jaxtag.data.dataset import open_dataset
from jaxtag.data.extractors import NETWORKS, of_model
from jaxtag.errors import JaxtagError
from tests import photos

SIDE = 32
PIXELS = np.stack([pictures.pixels(photos.jpeg(i), SIDE) for i in range(8)])


@pytest.fixture(scope="module")
def keras(request: pytest.FixtureRequest) -> Any:
    try:
        return extractors._keras()
    except JaxtagError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def small(keras: Any) -> Any:
    """A model with a grid and a vector, of a few weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    grid = keras.layers.Conv2D(4, 3, strides=8, activation="relu", name="grid")(inputs)
    normal = keras.layers.BatchNormalization(name="normal")(grid)
    return keras.Model(inputs, [keras.layers.GlobalAveragePooling2D(name="mean")(normal), normal])


def test_devices_share_a_batch(keras: Any, small: Any) -> None:
    preprocess = keras.applications.resnet.preprocess_input
    alone, eight = (of_model(small, ("vector", "grid"), preprocess, SIDE, n) for n in (1, 8))
    assert alone.shapes == {"vector": (4,), "grid": (16, 4)} and (alone.devices, eight.devices) == (1, 8)
    one, other = alone.call(PIXELS), eight.call(PIXELS)
    for kind in ("vector", "grid"):
        assert one[kind].dtype == np.float16
        np.testing.assert_allclose(other[kind], one[kind], rtol=2e-3, atol=1e-3)  # a float16's last bit
    wanted = small.predict_on_batch(preprocess(PIXELS.astype(np.float32)))
    np.testing.assert_allclose(one["vector"], wanted[0], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(one["grid"], np.asarray(wanted[1]).reshape(8, 16, 4), rtol=2e-3, atol=1e-3)


def test_a_grid_is_pooled_and_large_values_are_cut(keras: Any) -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, [keras.layers.Rescaling(1e6)(inputs)])
    found = of_model(model, ("grid",), lambda x: x, SIDE, 1).call(PIXELS[:1])["grid"]
    assert np.isfinite(found).all() and found.max() == 65504


@pytest.mark.parametrize("name", NETWORKS)
def test_preprocessing_is_the_networks_own(keras: Any, name: str) -> None:
    """Inside the compiled function, where Keras takes another way than for NumPy arrays."""
    preprocess = getattr(keras.applications, NETWORKS[name].module).preprocess_input
    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, [keras.layers.Identity()(inputs)])
    found = of_model(model, ("grid",), preprocess, SIDE, 1).call(PIXELS[:1])["grid"].reshape(SIDE, SIDE, 3)
    pixels = PIXELS[0].astype(np.float32)
    if name == "inception_v3":
        wanted = pixels / 127.5 - 1
    else:
        wanted = pixels[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_allclose(found, wanted, atol=0.1 if wanted.max() > 2 else 2e-3)  # float16 of up to 152, and of 1
    np.testing.assert_array_equal(found, preprocess(pixels[None].copy())[0].astype(np.float16))


@pytest.fixture(scope="module")
def vgg(keras: Any) -> extractors.Extractor:
    return extractors.build("vgg16", ("pooled", "block5_conv3"), "none", SIDE, seed=3, devices=1)


def test_vgg_has_its_layers(vgg: extractors.Extractor) -> None:
    assert vgg.shapes == {"vector": (512,), "grid": (4, 512)}
    found = vgg.call(PIXELS[:2])
    largest = found["grid"].astype(np.float32).reshape(2, 2, 2, 512).max((1, 2))  # block5_pool is its maximum
    np.testing.assert_array_equal(found["vector"], largest)
    assert np.ptp(found["vector"].astype(np.float32), axis=0).max() > 0


@pytest.fixture
def tiny(keras: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network of three layers with weights that stands in for one of keras.applications."""

    def make(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> Any:
        inputs = keras.Input(input_shape)
        last = keras.layers.Conv2D(4, 3, strides=8, name="last")(inputs)
        if not include_top:
            return keras.Model(inputs, last)
        flat = keras.layers.Flatten(name="flatten")(last)
        dense = keras.layers.Dense(6, name="fc2")(flat)
        return keras.Model(inputs, keras.layers.Dense(3, name="predictions")(dense))

    monkeypatch.setattr(keras.applications, "Tiny", make, raising=False)
    monkeypatch.setitem(extractors.NETWORKS, "tiny", extractors.Network("Tiny", "resnet", SIDE, "last"))
    return make


@pytest.mark.parametrize("ending", ["weights.h5", "keras", "h5"])
@pytest.mark.parametrize(("top", "layers"), [(False, ("pooled", "grid")), (True, ("fc2",))])
def test_weights_of_a_file(
    keras: Any, tiny: Any, tmp_path: Path, ending: str, top: bool, layers: tuple[str, ...]
) -> None:
    random = extractors.build("tiny", layers, "none", seed=3, devices=1)
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    same = tiny(top, None, (SIDE, SIDE, 3))
    path = tmp_path / f"tiny.{ending}"
    if ending == "weights.h5":
        same.save_weights(path)
    else:
        same.save(path)
    wanted = random.call(PIXELS)
    found = extractors.build("tiny", layers, str(path), seed=9, devices=1).call(PIXELS)
    assert set(found) == set(wanted)
    for kind in wanted:
        np.testing.assert_array_equal(found[kind], wanted[kind])
        assert found[kind].any()


def test_weights_of_another_network(keras: Any, tiny: Any, tmp_path: Path) -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="another")(keras.layers.Conv2D(3, 1, name="b")(inputs)))
    for name in ("other.h5", "other.keras"):
        other.save(tmp_path / name)
    other.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "text.h5").write_text("nothing")
    for ending in ("weights.h5", "keras"):
        (tmp_path / f"text.{ending}").write_text("nothing")
    for name in ("other.h5", "other.keras", "other.weights.h5", "text.h5", "text.weights.h5", "text.keras"):
        with pytest.raises(
            JaxtagError, match=f"{name} (does not hold weights of this network|is no readable .h5 file)"
        ):
            extractors.build("tiny", ("grid",), str(tmp_path / name), devices=1)


def test_a_file_that_fits_in_part(keras: Any, tiny: Any, tmp_path: Path) -> None:
    """Without a layer, or with one of another size, nothing is loaded silently; the message has the names."""
    inputs = keras.Input((SIDE, SIDE, 3))
    last = keras.layers.Conv2D(4, 3, strides=8, name="last")(inputs)
    keras.Model(inputs, last).save(tmp_path / "without.h5")
    keras.Model(inputs, last).save_weights(tmp_path / "without.weights.h5")
    for name in ("without.h5", "without.weights.h5"):
        with pytest.raises(JaxtagError, match=f"{name} does not hold weights of this network.*fc2"):
            extractors.build("tiny", ("fc2",), str(tmp_path / name), devices=1)
    keras.Model(inputs, keras.layers.Conv2D(5, 3, strides=8, name="last")(inputs)).save(tmp_path / "wider.h5")
    with pytest.raises(JaxtagError, match="wider.h5 does not hold weights of this network.*shape"):
        extractors.build("tiny", ("grid",), str(tmp_path / "wider.h5"), devices=1)


def test_weights_by_the_names_of_layers(keras: Any, tiny: Any, tmp_path: Path) -> None:
    tiny(False, None, (SIDE, SIDE, 3)).save(tmp_path / "tiny.h5")
    found = extractors.weights_of("tiny", str(tmp_path / "tiny.h5"))
    assert {name: {n: w.shape for n, w in of.items()} for name, of in found.items()} == {
        "last": {"kernel": (3, 3, 3, 4), "bias": (4,)}
    }
    assert all(np.isfinite(w).all() for of in found.values() for w in of.values())


def test_pixels_are_the_images_themselves() -> None:
    built = extractors.build("pixels", side=SIDE)
    assert built.shapes == {"pixels": (SIDE, SIDE, 3)} and extractors.build("pixels").side == 224
    np.testing.assert_array_equal(built.call(PIXELS)["pixels"], PIXELS)


def test_mistakes(keras: Any) -> None:
    for options, message in (
        ((("pooled", "block9"), "none", SIDE), "VGG16 has no layer 'block9'"),
        ((("grid", "block5_conv3"), "none", SIDE), "two of the layers grid, block5_conv3 are a grid"),
        (((), "imagenet", SIDE), "dense layers with imagenet weights take 224 pixels a side, not 32"),
        ((("grid",), "none", 8), "VGG16 cannot be built"),
    ):
        with pytest.raises(JaxtagError, match=message):
            extractors.build("vgg16", *options)
    with pytest.raises(JaxtagError, match="no network 'vgg19'; did you mean"):
        extractors.build("vgg19")


@pytest.mark.realdata
def test_real_photos_at_the_networks_sizes(keras: Any, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "image_tweets"
    if not (source / "photos.jsonl").is_file():
        pytest.skip("no image_tweets/photos.jsonl in the shared data")
    data = tmp_path / "data"
    command = [
        "posts",
        "--input",
        str(source / "photos.jsonl"),
        "--out",
        str(data),
        "--text",
        "text",
        "--image",
        "image",
    ]
    command += ["--images", str(source / "photos"), "--author", "author_id", "--time", "created_at"]
    assert main([*command, "--preset", "amnn", "--min-hashtag-posts", "3"]) == 0
    dataset = open_dataset(data)
    assert len(images.files(dataset)) == 27 and (np.asarray(dataset.column("image")) >= 0).all()
    shapes = {"inception_v3": ((2048,), (64, 2048)), "resnet50": ((2048,), (49, 2048)), "vgg16": ((4096,), (49, 512))}
    for name, (vector, grid) in shapes.items():
        assert main(["images", "--data", str(data), "--extractor", name, "--weights", "none", "--batch", "27"]) == 0
        found = images.open_features(dataset, name)
        assert found.present.sum() == 27
        assert found.array("vector").shape[1:] == vector and found.array("grid").shape[1:] == grid
    assert images.extractors(dataset) == sorted(shapes)
