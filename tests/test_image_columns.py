"""Features of images in batches: the right rows, wherever they are read from."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.data import image_columns, order
from jaxtag.data.batches import Reading, Resident, Streamed, open_source, reading
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.images import open_features
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment, Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.recipes import resolve
from tests import toy

ROWS = np.array([0, 10, -1, 57, 21, 3, 44, 8], np.int32)  # posts 10 and 21 have no image
NONE = ROWS % 11 == 10


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(toy.make(tmp_path_factory.mktemp("images") / "data", 60))


def experiment(extractor: str) -> Experiment:
    return resolve("zsl/ann", "tiny", {"data.extractor": extractor, "training.batch": 8})


def read(dataset: Dataset, extractor: str = "seen", *names: str) -> Reading:
    names = names or ("tokens", "vector", "grid")
    return reading(dataset, dataset.split(), experiment(extractor), names, dataset.split().hashtags)


def same(found: dict, expected: dict) -> None:
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {k: (v.shape, v.dtype) for k, v in expected.items()}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_batch_has_the_features_of_its_posts_images(dataset: Dataset) -> None:
    batch = read(dataset, "seen,other").gather(ROWS)
    opened = [open_features(dataset, name) for name in ("seen", "other")]
    for kind in ("vector", "grid"):
        for place, row in enumerate(ROWS):
            image = -1 if row < 0 else dataset.column("image")[row]
            parts = [f.array(kind)[image] if image >= 0 else 0 * f.array(kind)[0] for f in opened]
            np.testing.assert_array_equal(batch[kind][place], np.concatenate(parts, -1).astype(np.float32))
    assert batch["vector"].dtype == np.float32 and batch["grid"].shape == (8, toy.CELLS, 3 * toy.WIDTH)
    np.testing.assert_array_equal(batch["cells"], np.where(NONE | (ROWS < 0), 0, toy.CELLS))
    assert read(dataset, "seen", "vector").gather(ROWS)["cells"].max() == 1


def test_resident_and_streamed_read_the_same(dataset: Dataset) -> None:
    found = read(dataset, "seen,other")
    mesh = make_mesh(Parallel(), jax.devices())
    expected = found.gather(ROWS)
    resident = Resident(found, mesh)
    streamed = Streamed(found, mesh, dataset.split().train, 0, 8)
    for source in (resident, streamed):
        same(jax.device_get(jax.jit(source.fetch_rows)(source.feed_rows(ROWS))), expected)
    numbers = {"rows": jnp.asarray(dataset.split().train), "seed": jnp.uint32(0)}
    numbers["order"] = jax.tree.map(jnp.asarray, order.rectangle(len(dataset.split().train)))
    step = jnp.int32(2)
    one = jax.jit(lambda f: resident.fetch(f, numbers, step, jnp.int32(0), 8))(resident.feed(2, 1))
    other = jax.jit(lambda f: streamed.fetch(f, numbers, step, jnp.int32(0), 8))(streamed.feed(2, 1))
    same(jax.device_get(one), jax.device_get(other))


def test_regions_are_read_with_their_boxes_and_how_many_are_real(dataset: Dataset) -> None:
    found, mesh = read(dataset, "regions", "wordpieces", "regions", "boxes"), make_mesh(Parallel(), jax.devices())
    batch, stored = found.gather(ROWS), open_features(dataset, "regions")
    for place, row in enumerate(ROWS):
        image = -1 if row < 0 else dataset.column("image")[row]
        for kind in ("regions", "boxes"):
            values = stored.array(kind)[image] if image >= 0 else 0 * stored.array(kind)[0]
            np.testing.assert_array_equal(batch[kind][place], values.astype(np.float32))
        assert batch["cells"][place] == (stored.array("count")[image] if image >= 0 else 0)
    assert set(batch["cells"]) == {0, toy.CELLS - 1, toy.CELLS} and batch["boxes"].dtype == np.float32
    for source in (Resident(found, mesh), Streamed(found, mesh, dataset.split().train, 0, 8)):
        same(jax.device_get(jax.jit(source.fetch_rows)(source.feed_rows(ROWS))), batch)
    with pytest.raises(JaxtagError, match="regions are of one|boxes are of one"):
        read(dataset, "regions,seen", "regions", "boxes")
    with pytest.raises(JaxtagError, match="jaxtag-prep regions"):
        read(dataset, "seen", "regions")


def test_what_is_too_large_is_streamed(dataset: Dataset) -> None:
    found, mesh, split = read(dataset, "seen"), make_mesh(Parallel(), jax.devices()), dataset.split()
    small = experiment("seen")
    small = replace(small, data=replace(small.data, resident_mib=0))
    said: list[str] = []
    assert isinstance(open_source(found, mesh, split, small, said.append), Streamed)
    assert said[0] == "images: seen, vector 16, grid 4 x 16; 5 of 60 posts have none, and are read without"
    assert isinstance(open_source(found, mesh, split, experiment("seen")), Resident)


@pytest.mark.parametrize(
    ("extractor", "message"),
    [
        ("", "data.extractor names no image features"),
        ("unseen", "has no image features 'unseen' (it has: other, regions, seen)"),
        ("seen,", None),
    ],
)
def test_extractors_that_are_not_there_are_refused(dataset: Dataset, extractor: str, message: str | None) -> None:
    if message is None:
        assert read(dataset, extractor).images is not None
        return
    with pytest.raises(JaxtagError) as error:
        read(dataset, extractor)
    assert message in str(error.value)


def test_usual_shapes() -> None:
    usual = image_columns.usual_shapes
    assert usual("resnet50", ("tokens", "vector", "grid")) == {"vector": (2048,), "grid": (49, 2048)}
    assert usual("inception_v3", ("grid",)) == {"grid": (64, 2048)}
    assert usual("vgg16,vgg16_places", ("vector",)) == {"vector": (8192,)}
    assert usual("vgg16", ("grid",)) == {"grid": (49, 512)}
    assert usual("", ("tokens",)) == {}
    assert usual("regions", ("wordpieces", "regions", "boxes")) == {"regions": (36, 2048), "boxes": (36, 4)}
    with pytest.raises(JaxtagError, match="resnet51"):
        usual("resnet51", ("vector",))


def test_a_dataset_without_images_is_refused(tmp_path: Path) -> None:
    path = toy.make(tmp_path / "data", 20)
    opened = open_dataset(path)
    opened.info["columns"].pop("image")
    with pytest.raises(JaxtagError, match="--image"):
        read(opened, "seen")
