"""Features of images: computed with interruptions, from files of every kind, and opened again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import cnn_features, feature_files
from jaxtag_prep.cli import main
from jaxtag_prep.cnn_features import Wanted

from jaxtag.data import images, inspect, pictures, show
from jaxtag.data.dataset import open_dataset
from jaxtag.data.extractors import Extractor
from jaxtag.errors import JaxtagError
from tests import photos, prep

COUNT = 50
SIDE = 4
WANTED = Wanted("resnet50", weights="none", side=SIDE, batch=2)  # blocks of 16 images


def means(batch: np.ndarray) -> dict[str, np.ndarray]:
    """A network that can be checked by hand: the mean colour, and the four quarters' first values."""
    whole = batch.astype(np.float32)
    return {
        "vector": whole.mean((1, 2)).astype(np.float16),
        "grid": whole[:, ::2, ::2].reshape(-1, 4, 3).astype(np.float16),
    }


SHAPES = {"vector": (3,), "grid": (4, 3)}
NETWORK = Extractor(SIDE, SHAPES, means)


def made(folder: Path) -> Path:
    """A dataset of posts with pictures of their own, two without, and one picture that no post kept has."""
    (folder / "photos").mkdir()
    for i in range(COUNT):
        (folder / "photos" / f"p{i}.jpg").write_bytes(photos.jpeg(i))
    rows = [{"text": f"words of post {i} #one #two", "photo": f"p{i}.jpg"} for i in range(COUNT)]
    rows[3]["kind"] = "R"
    rows += [{"text": f"more of {i} #one", "photo": ""} for i in range(2)]
    file = photos.posts(folder / "posts.jsonl", [{"kind": ""} | row for row in rows])
    command = ["posts", "--input", str(file), "--text", "text", "--image", "photo", "--images", str(folder / "photos")]
    command += ["--min-words", "1", "--min-hashtag-posts", "1", "--repost", "kind=R", "--workers", "1"]
    assert main([*command, "--out", str(folder / "data")]) == 0
    return folder / "data"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with features, for tests that add others beside them."""
    data = made(tmp_path_factory.mktemp("kept"))
    cnn_features.make(data, WANTED, extractor=NETWORK)
    return data


def test_features_are_of_the_right_images(kept: Path) -> None:
    dataset = open_dataset(kept)
    features, image = images.open_features(dataset, "resnet50"), dataset.column("image")
    listed = images.files(dataset)
    assert features.vector is not None and features.grid is not None
    for row in image[image >= 0].tolist():
        pixels = pictures.pixels((kept.parent / "photos" / listed[row]["file"]).read_bytes(), SIDE)
        wanted = means(pixels[None])
        np.testing.assert_array_equal(features.vector[row], wanted["vector"][0])
        np.testing.assert_array_equal(features.grid[row], wanted["grid"][0])
    assert features.present.sum() == COUNT - 1 and not features.present[3]  # the repost's is not computed
    assert not np.asarray(features.vector[3]).any()
    np.testing.assert_array_equal(features.rows(image), image)
    np.testing.assert_array_equal(features.rows(np.array([3, 4, -1], np.int32)), np.array([-1, 4, -1], np.int32))
    assert isinstance(features.vector.base, np.memmap)
    assert features.array("grid") is features.grid


def test_given_again_nothing_is_done(kept: Path) -> None:
    def never(batch: np.ndarray) -> dict[str, np.ndarray]:
        raise AssertionError

    before = prep.tree(kept)
    info = cnn_features.make(kept, WANTED, extractor=Extractor(SIDE, SHAPES, never))
    assert info["present"] == COUNT - 1 and "images_per_second" not in info
    assert prep.tree(kept) == before
    with pytest.raises(JaxtagError, match="is there, of side 4; choose another --name"):
        cnn_features.make(kept, Wanted("resnet50", weights="none", side=8, batch=2), extractor=NETWORK)


def test_decoded_images_are_an_extractor_of_their_own(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["images", "--data", str(kept), "--extractor", "pixels"]
    command = [*network, "--size", str(SIDE), "--batch", "2"]
    for more, said in (
        (["--weights", "none"], "--weights says nothing of --extractor pixels"),
        (["--seed", "3"], "--seed says nothing of --extractor pixels"),
        (["--layer", "pooled"], "--layer says nothing of --extractor pixels"),
        (["--features", "pixels.npy"], "--features says nothing of --extractor pixels"),
    ):
        assert main([*network, *more]) == 2 and said in capsys.readouterr().err
    assert main(command) == 0
    assert f"image features pixels: pictures of {SIDE} x {SIDE}\n" in capsys.readouterr().out
    dataset = open_dataset(kept)
    features, listed = images.open_features(dataset, "pixels"), images.files(dataset)
    found = features.array("pixels")
    assert found.dtype == np.uint8 and found.shape == (COUNT, SIDE, SIDE, 3) and not found[3].any()
    for row in np.flatnonzero(features.present):
        file = kept.parent / "photos" / listed[row]["file"]
        np.testing.assert_array_equal(found[row], pictures.pixels(file.read_bytes(), SIDE))
    for name, kind, mend in (("pixels", "vector", "pixels --layer pooled"), ("resnet50", "pixels", "pixels")):
        with pytest.raises(JaxtagError, match=f"image features {name} have no {kind}; .* --extractor {mend}$"):
            images.open_features(dataset, name).array(kind)
    before = prep.tree(kept)
    assert main(command) == 0 and prep.tree(kept) == before
    shutil.rmtree(kept / "images" / "pixels")


class Killed(BaseException):
    """What stops a run in its middle."""


@pytest.mark.parametrize("stop", [1, 9, 20, 25])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(data: Path, kept: Path, stop: int) -> None:
    calls = []

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(batch)
        if len(calls) == stop:
            raise Killed
        return means(batch)

    with pytest.raises(Killed):
        cnn_features.make(data, WANTED, extractor=Extractor(SIDE, SHAPES, call))
    assert images.extractors(open_dataset(data)) == []
    done = data / "images" / "resnet50.partial" / "done.txt"
    written = len(done.read_text().split()) if done.exists() else 0
    assert written == (stop - 1) // 8
    cnn_features.make(data, WANTED, extractor=Extractor(SIDE, SHAPES, call), workers=3)
    assert len(calls) == stop + 25 - 8 * written  # blocks that are done are not done again
    assert prep.tree(data / "images" / "resnet50") == prep.tree(kept / "images" / "resnet50")
    assert not list((data / "images").glob("*.partial"))


def test_what_another_run_left_is_thrown_away(data: Path, kept: Path) -> None:
    def killed(batch: np.ndarray) -> dict[str, np.ndarray]:
        raise Killed

    other = Wanted("resnet50", weights="none", side=SIDE, batch=1, seed=3)
    with pytest.raises(Killed):
        cnn_features.make(data, other, extractor=Extractor(SIDE, SHAPES, killed))
    (data / "images" / "resnet50.partial" / "done.txt").write_text("0\n1\n2\n3\n")
    cnn_features.make(data, WANTED, extractor=NETWORK)
    assert prep.tree(data / "images" / "resnet50") == prep.tree(kept / "images" / "resnet50")


def test_images_that_went_bad(data: Path) -> None:
    folder = data.parent / "photos"
    (folder / "p0.jpg").unlink()
    (folder / "p1.jpg").write_bytes(photos.jpeg(99))
    (folder / "p2.jpg").write_bytes(b"")
    with pytest.raises(JaxtagError, match=r"3 of 49 images have no features, .*'p0.jpg': there is no such file; mend"):
        cnn_features.make(data, WANTED, extractor=NETWORK)
    (folder / "p0.jpg").write_bytes(photos.jpeg(0))
    info = cnn_features.make(data, Wanted("resnet50", (), "none", SIDE, "", 2, max_bad=0.1), extractor=NETWORK)
    assert (info["present"], info["without"]) == (COUNT - 3, 2)
    lines = [json.loads(line) for line in (data / "images" / "resnet50" / "unreadable.jsonl").read_text().splitlines()]
    assert lines == [
        {"image": "p1.jpg", "row": 1, "reason": "the file is another one than when the dataset was made"},
        {"image": "p2.jpg", "row": 2, "reason": "the file is empty"},
    ]
    dataset = open_dataset(data)
    features = images.open_features(dataset, "resnet50")
    rows = features.rows(dataset.column("image"))
    assert rows[:3].tolist() == [0, -1, -1] and (rows == -1).sum() == 4
    assert "resnet50: vector of 3, grid of 4 x 3" in show.render(inspect.describe(data))
    assert inspect.describe(data)["images"]["extractors"][0]["images_without"] == 2


def test_the_folder_may_have_moved(data: Path, kept: Path) -> None:
    (data.parent / "photos").rename(data.parent / "elsewhere")
    with pytest.raises(JaxtagError, match="which is gone; name the folder that has them with --images"):
        cnn_features.make(data, WANTED, extractor=NETWORK)
    cnn_features.make(data, WANTED, data.parent / "elsewhere", extractor=NETWORK)
    assert prep.tree(data / "images" / "resnet50") == prep.tree(kept / "images" / "resnet50")


def test_features_that_are_no_numbers(data: Path) -> None:
    def broken(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {kind: np.full_like(values, np.nan) for kind, values in means(batch).items()}

    with pytest.raises(JaxtagError, match="features that are no numbers; these weights are not"):
        cnn_features.make(data, WANTED, extractor=Extractor(SIDE, SHAPES, broken))


def vectors(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).normal(size=(COUNT, 5)).astype(dtype)


def save_npy(path: Path, array: np.ndarray, names: list[str] | None) -> Path:
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def save_npz(path: Path, array: np.ndarray, names: list[str] | None) -> Path:
    np.savez(path.with_suffix(".npz"), features=array, **({"ids": np.array(names)} if names else {}))
    return path.with_suffix(".npz")


def save_h5(path: Path, array: np.ndarray, names: list[str] | None) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: features are not read from HDF5")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["deep/features"] = array
        if names:
            file["ids"] = names
    return path.with_suffix(".h5")


SAVERS: list[Callable[[Path, np.ndarray, list[str] | None], Path]] = [save_npy, save_npz, save_h5]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("named", ["order", "names"])
def test_features_from_files(
    kept: Path, tmp_path: Path, save: Any, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "ROWS", 7)
    dataset, array, names = open_dataset(kept), vectors(), None
    order = np.arange(COUNT)
    if named == "names":
        order = np.random.default_rng(2).permutation(COUNT)
        names = [("folder/" * (i % 2)) + images.files(dataset)[row]["file"] for i, row in enumerate(order)]
    file = save(tmp_path / "given", array, names)
    listed = None
    if save is save_npy and names:
        listed = tmp_path / "names.txt"
        listed.write_text("\n".join(names) + "\n")
    name = f"{save.__name__}_{named}"
    info = feature_files.load(kept, feature_files.Given(file, listed, name=name))
    features = images.open_features(dataset, name)
    assert features.vector is not None and features.grid is None and features.present.all()
    np.testing.assert_array_equal(features.vector[order], array.astype(np.float16))
    assert info["not_in_dataset"] == 0 and info["without"] == 0
    again = feature_files.load(kept, feature_files.Given(file, listed, name=name))
    assert again["fingerprint"] == info["fingerprint"]
    assert name in images.extractors(dataset) and "resnet50" in images.extractors(dataset)


def test_grids_and_their_means(kept: Path, tmp_path: Path) -> None:
    grid = np.random.default_rng(3).normal(size=(COUNT, 2, 3, 5)).astype(np.float32)
    grid[4] = 1e6  # beyond float16
    np.savez(tmp_path / "g.npz", regions=grid, boxes=np.zeros((COUNT, 6, 4), np.float32))
    with pytest.raises(JaxtagError, match="several arrays that may be features .*name one with --key"):
        feature_files.load(kept, feature_files.Given(tmp_path / "g.npz", name="grid"))
    feature_files.load(kept, feature_files.Given(tmp_path / "g.npz", None, "regions", ("pooled", "grid"), "grid"))
    found = images.open_features(open_dataset(kept), "grid")
    assert found.vector is not None and found.grid is not None
    flat = np.clip(grid.reshape(COUNT, 6, 5), -65504, 65504)
    np.testing.assert_array_equal(found.grid, flat.astype(np.float16))
    np.testing.assert_array_equal(found.vector, flat.mean(1).astype(np.float16))
    assert np.isfinite(found.grid).all()


def test_rows_that_are_missing_or_no_numbers(kept: Path, tmp_path: Path) -> None:
    array = vectors()[: COUNT - 1]
    array[0, 2] = np.nan
    array[5, 1] = np.inf
    names = [f"p{i}" for i in range(COUNT - 2)] + ["stranger"]
    np.savez(tmp_path / "v.npz", features=array, ids=np.array(names))
    with pytest.raises(JaxtagError, match=r"4 of 49 images have no features, .*'p0.jpg': features that are no numbers"):
        feature_files.load(kept, feature_files.Given(tmp_path / "v.npz", name="some"))
    info = feature_files.load(kept, feature_files.Given(tmp_path / "v.npz", name="some", max_bad=0.1))
    assert (info["without"], info["not_in_dataset"]) == (4, 1)
    found = images.open_features(open_dataset(kept), "some")
    assert np.flatnonzero(~found.present).tolist() == [0, 5, COUNT - 2, COUNT - 1]
    assert found.vector is not None and not np.asarray(found.vector[~found.present]).any()
    with pytest.raises(JaxtagError, match="image features some have no grid"):
        found.array("grid")


BAD_FILES = [
    (
        {"x": np.zeros((COUNT - 1, 5), np.float32)},
        {},
        "has 49 rows of features, and the dataset has 50 images; .*--names",
    ),
    ({"x": np.zeros((COUNT, 5), np.float32), "n": np.array(["q"] * COUNT)}, {}, "none of the 50 names"),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"name": "resnet50x"}, ""),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"name": "vgg16"}, "of width 5, those of vgg16 are 4096 or 512 wide"),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"network": "resnet50"}, "those of resnet50 are 2048 wide"),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"layers": ("grid",)}, "one vector an image, no grid"),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"layers": ("fc2",)}, "no layer 'fc2' of given features"),
    ({"x": np.zeros((COUNT, 5), np.float32)}, {"key": "y"}, r"no features 'y' \(it has: x \[50, 5\]\)"),
    ({"x": np.zeros(COUNT, np.float32)}, {}, r"no array \[images, width\]"),
    ({"x": np.array([object()] * COUNT)}, {}, r"no array .*\(it has: nothing\)"),
    ({"x": np.zeros((COUNT, 0), np.float32)}, {}, "no array"),
]


@pytest.mark.parametrize(("arrays", "options", "message"), BAD_FILES)
def test_files_of_features_that_do_not_fit(
    kept: Path, tmp_path: Path, arrays: dict[str, np.ndarray], options: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "f.npz", allow_pickle=True, **arrays)
    given = feature_files.Given(tmp_path / "f.npz", **{"name": "bad", **options})
    if message:
        with pytest.raises(JaxtagError, match=message):
            feature_files.load(kept, given)
        assert given.name not in images.extractors(open_dataset(kept))
    else:
        assert feature_files.load(kept, given)["shapes"] == {"vector": [5]}


@pytest.mark.parametrize("name", ["f.npy", "f.npz", "f.h5"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_files_that_are_no_features(kept: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    if name.endswith("h5"):
        pytest.importorskip("h5py", reason="h5py is not installed: features are not read from HDF5")
    path = tmp_path / name
    if content is None:
        whole = {"f.npy": save_npy, "f.npz": save_npz, "f.h5": save_h5}[name](path, vectors(), None)
        content = whole.read_bytes()[:-300]
    path.write_bytes(content)
    with pytest.raises(JaxtagError, match=f"{name} is (empty|no readable)"):
        feature_files.load(kept, feature_files.Given(path, name="bad"))


def test_names_that_are_too_few(kept: Path, tmp_path: Path) -> None:
    file = save_npy(tmp_path / "f", vectors(), None)
    (tmp_path / "names.txt").write_text("p0.jpg\n")
    with pytest.raises(JaxtagError, match="has 1 names, and .* has 50 rows"):
        feature_files.load(kept, feature_files.Given(file, tmp_path / "names.txt", name="bad"))
    with pytest.raises(JaxtagError, match="'../x' is no name for image features"):
        feature_files.load(kept, feature_files.Given(file, name="../x"))


def test_features_are_held_against_their_seal(data: Path) -> None:
    with pytest.raises(JaxtagError, match=r"no image features 'resnet50' \(it has: none\); jaxtag-prep images --data"):
        images.open_features(open_dataset(data), "resnet50")
    cnn_features.make(data, WANTED, extractor=NETWORK)
    folder = data / "images" / "resnet50"
    vector = (folder / "vector.npy").read_bytes()
    (folder / "vector.npy").write_bytes(vector[:-1] + bytes([vector[-1] ^ 1]))
    with pytest.raises(JaxtagError, match="vector.npy is corrupt"):
        images.open_features(open_dataset(data), "resnet50")
    (folder / "vector.npy").write_bytes(vector)
    info = json.loads((folder / "extractor.json").read_text())
    for change, message in (
        ({"format": 9}, "has image features format 9, this jaxtag reads format 1"), ({"images": 1}, "of other images"),
        ({"shapes": {"vector": [4]}}, "not as described"),
    ):  # fmt: skip
        (folder / "extractor.json").write_text(json.dumps(info | change))
        with pytest.raises(JaxtagError, match=message):
            images.open_features(open_dataset(data), "resnet50")
    (folder / "extractor.json").write_text(json.dumps(info))
    assert images.open_features(open_dataset(data), "resnet50").present.sum() == COUNT - 1


def test_simulated_features_are_opened_too(tmp_path: Path) -> None:
    command = ["simulate", "--out", str(tmp_path / "d"), "--posts", "200", "--min-hashtag-posts", "2", "--workers", "1"]
    assert main(command) == 0
    dataset = open_dataset(tmp_path / "d")
    assert images.extractors(dataset) == ["simulated"]
    found = images.open_features(dataset, "simulated")
    assert found.vector is not None and len(found.vector) == 200 and found.present.all()
    assert inspect.describe(tmp_path / "d")["images"]["extractors"][0]["name"] == "simulated"
    with pytest.raises(JaxtagError, match="lists no images"):
        cnn_features.make(tmp_path / "d", WANTED, extractor=NETWORK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing says which features"),
        (["--extractor", "resnet51"], "did you mean 'resnet50'"),
        (["--extractor", "resnet50", "--names", "x"], "--names needs --features"),
        (["--features", "f.npy", "--name", "x", "--weights", "none"], "--weights is of computing"),
        (["--features", "f.npy", "--extractor", "vgg17"], "no extractor 'vgg17'; did you mean 'vgg16'"),
        (["--features", "f.npy"], "nothing says which features"),
        (["--features", "f.npy", "--name", "x"], "no file f.npy"),
        (["--extractor", "resnet50", "--weights", "w.h5"], "no file w.h5 of weights"),
        (["--extractor", "resnet50", "--name", "x", "--weights", "none", "--batch", "0"], "--batch 0"),
        (["--extractor", "vgg16_places", "--weights", "imagenet"], "no imagenet weights for vgg16_places"),
    ],
)
def test_mistakes_of_the_command(
    kept: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["images", "--data", str(kept), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_what_is_printed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save_npy(tmp_path / "mine", vectors(), None)
    command = ["images", "--data", str(data), "--features", str(file), "--name", "mine"]
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "image features mine: vector of 5, from mine.npy\nimages: 50 with features, 0 without\n" in said
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shapes"] == {"vector": [5]}
