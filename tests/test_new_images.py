"""Recommending for new images: from a file, through what made the dataset's features, to hashtags."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtag_prep import cnn_features
from jaxtag_prep.cli import main as prepare
from jaxtag_prep.cnn_features import Wanted

from jaxtag.cli import main
from jaxtag.data import extractors, new_images
from jaxtag.data.dataset import open_dataset
from jaxtag.data.extractors import Extractor
from jaxtag.errors import JaxtagError
from jaxtag.files import read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.requests import Reader, Request
from jaxtag.runs import bind
from tests import photos

COUNT, SIDE, PIXELS = 40, 4, 8


def means(batch: np.ndarray) -> dict[str, np.ndarray]:
    """The mean colour, and the four quarters' first values."""
    whole = batch.astype(np.float32)
    vector, grid = whole.mean((1, 2)), whole[:, ::2, ::2].reshape(-1, 4, 3)
    return {"vector": vector.astype(np.float16), "grid": grid.astype(np.float16)}


NETWORK = Extractor(SIDE, {"vector": (3,), "grid": (4, 3)}, means)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of posts with pictures, two without, with features, and decoded."""
    folder = tmp_path_factory.mktemp("new_images")
    (folder / "photos").mkdir()
    for i in range(COUNT):
        (folder / "photos" / f"p{i}.jpg").write_bytes(photos.jpeg(i))
    rows = [{"text": f"words of post number {i} #one #two{i % 2}", "photo": f"p{i}.jpg"} for i in range(COUNT)]
    rows += [{"text": f"more of them {i} #one", "photo": ""} for i in range(2)]
    file = photos.posts(folder / "posts.jsonl", rows)
    command = ["posts", "--input", str(file), "--text", "text", "--image", "photo", "--images", str(folder / "photos")]
    command += ["--min-words", "1", "--min-hashtag-posts", "1", "--workers", "1"]
    assert prepare([*command, "--out", str(folder / "data")]) == 0
    cnn_features.make(folder / "data", Wanted("resnet50", weights="none", side=SIDE, seed=7), extractor=NETWORK)
    images = ["images", "--data", str(folder / "data"), "--extractor", "pixels", "--size", str(PIXELS)]
    assert prepare(images) == 0
    return folder / "data"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`means` in place of every network; what was asked for."""
    given: list[Any] = []
    build = extractors.build

    def made(name: str, *rest: Any, **more: Any) -> Extractor:
        given.append((name, *rest, more))
        return build(name, *rest, **more) if name == "pixels" else NETWORK

    monkeypatch.setattr(extractors, "build", made)
    return given


def bound(data: Path, recipe: str, extractor: str, **more: str) -> Any:
    dataset = open_dataset(data)
    options = {"data.extractor": extractor} | {key.replace("__", "."): value for key, value in more.items()}
    return bind(resolve(recipe, "tiny", options), dataset, dataset.split(), jax.devices()[:1])


@pytest.mark.parametrize(
    ("recipe", "extractor", "more"),
    [
        ("amnn/vgg_object_scene", "resnet50,resnet50", {}),
        ("amnn/coattention", "resnet50", {}),
        ("amnn/multilabel_resnet", "pixels", {"model__end_to_end": "true"}),
    ],
)
def test_a_new_image_is_read_as_a_stored_one(
    data: Path, asked: list[Any], recipe: str, extractor: str, more: dict[str, str]
) -> None:
    b = bound(data, recipe, extractor, **more)
    rows = np.array([3, 41, 17, 0])
    texts = b.dataset.text(rows)
    listed = [json.loads(line)["file"] for line in (data / "images" / "files.jsonl").read_text().splitlines()]
    image = b.dataset.column("image")[rows]
    files = [(data.parent / "photos" / listed[i]).read_bytes() if i >= 0 else b"" for i in image]
    assert [bool(file) for file in files] == [True, False, True, True]
    reader = Reader(b)
    batch, _ = reader([Request(text, image=file) for text, file in zip(texts, files)], 6)
    stored = b.reading.gather(np.append(rows, [-1, -1]))
    assert set(batch) == set(stored) - {"hashtags"} and reader.reads_images
    for name, values in batch.items():
        np.testing.assert_array_equal(values, stored[name], err_msg=name)
        assert values.dtype == stored[name].dtype
    if extractor == "pixels":
        assert asked == [("pixels", {"side": PIXELS})]
    else:
        wanted = ("resnet50", ["pooled", "grid"], "none", SIDE, 7, {"devices": 1})
        assert asked == [wanted] * len(extractor.split(","))


def test_many_images_are_the_same_as_one_by_one(data: Path, asked: list[Any]) -> None:
    reader = Reader(bound(data, "amnn/vgg_object_scene", "resnet50"))
    requests = [Request("", image=photos.jpeg(i) if i % 3 else b"") for i in range(70)]
    whole, _ = reader(requests, 70)
    for i in (0, 1, 34, 69):
        alone, _ = reader(requests[i : i + 1], 1)
        for name, values in alone.items():
            np.testing.assert_array_equal(whole[name][i : i + 1], values)
    assert len(asked) == 1  # a network is made once


def test_another_file_of_weights_is_refused(data: Path, asked: list[Any], tmp_path: Path) -> None:
    described, file = data / "images" / "resnet50" / "extractor.json", tmp_path / "weights.h5"
    before = read_json(described, "description")
    reader = Reader(bound(data, "amnn/vgg_object_scene", "resnet50"))
    request = [Request("", image=photos.jpeg(1))]
    try:
        given = {"weights": str(file), "seed": 0}
        write_json(described, before | {"weights": "weights.h5 (00000001)", "given": given})
        for content, said in (
            (None, "weights.h5, .* is gone; put it back"),
            (b"x", "weights.h5, .* is another file now"),
        ):
            if content:
                file.write_bytes(content)
            with pytest.raises(JaxtagError, match=said):
                reader(request, 1)
        write_json(described, {key: value for key, value in before.items() if key != "given"})
        with pytest.raises(JaxtagError, match="image features resnet50 of .* were not computed by jaxtag-prep images"):
            reader(request, 1)
    finally:
        write_json(described, before)
    assert not asked


@pytest.mark.parametrize("name", photos.BAD)
def test_a_bad_image_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(photos.BAD[name][0])
    with pytest.raises(JaxtagError, match=f"bad.jpg cannot be used as an image: ({photos.BAD[name][1]})"):
        new_images.read_named(tmp_path / "bad.jpg")


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(data: Path, one_device: None) -> tuple[Path, Path]:
    """Trained on pixels end to end; and on words and cells."""
    made = []
    for name, options in (
        ("multilabel_resnet", "model.end_to_end=true model.weights=none model.depths=1 model.width=4"),
        ("coattention", ""),
    ):
        run = data.parent / name
        extractor = {"multilabel_resnet": "pixels", "coattention": "resnet50"}[name]
        options = [f"--{option}" for option in (*options.split(), f"data.extractor={extractor}")]
        common = ["--training.steps=2", "--training.batch=8", "--evaluation.batch=8", "--evaluation.metric=f1@1"]
        settings = ["--size=tiny", f"--data={data}", f"--run={run}", *options, *common]
        main(["train", f"amnn/{name}", *settings])
        made.append(run)
    return made[0], made[1]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def called(*arguments: Any, lines: list[Any] | None = None) -> tuple[int, str, str]:
        if lines is not None:
            given = "\n".join(map(json.dumps, lines)).encode()
            monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": io.BytesIO(given)}))
        capsys.readouterr()
        code = 0
        try:
            main(["recommend", *map(str, arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


def test_recommending_for_an_image(runs: tuple[Path, Path], call: Call, asked: list[Any]) -> None:
    photo = runs[0].parent / "photos" / "p3.jpg"
    code, out, _ = call(runs[0], "--image", photo, "--json")
    alone = json.loads(out)
    assert code == 0 and list(alone) == ["image", "hashtags"] and alone["image"] == str(photo)
    assert {row["hashtag"] for row in alone["hashtags"]} == {"one", "two0", "two1"}
    code, out, _ = call(runs[1], "words of post", "--image", photo, "--json")
    both = json.loads(out)
    assert code == 0 and list(both) == ["text", "image", "hashtags"]
    lines = [
        {"text": "words of post", "image": str(photo)}, {"text": "words of post"}, {"image": str(photo), "id": 3},
        {"image": "/no/such.jpg"}, {"text": "a", "image": 3}, {"id": 4}, {"text": 5, "image": str(photo)}, "words",
    ]  # fmt: skip
    code, out, err = call(runs[1], lines=lines)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and found[0] == both and found[2]["id"] == 3 and "hashtags" in found[7]
    assert found[0]["hashtags"] != found[1]["hashtags"]
    form = '{"text": "...", "image": "FILE"}, or one of them'
    assert [row.get("error") for row in found[3:7]] == [
        "line 4: image /no/such.jpg: there is no such file", 'line 5: "image" is not the name of a file',
        f"line 6 is not {form}", f"line 7 is not {form}",
    ]  # fmt: skip
    assert "4 of 8 lines could not be read" in err
    found = [json.loads(line) for line in call(runs[0], lines=[{"image": str(photo)}, {"text": "a"}])[1].splitlines()]
    assert found[0]["hashtags"] == alone["hashtags"] and found[1] == {"error": 'line 2 is not {"image": "FILE"}'}


def test_mistakes_are_told_in_one_line(runs: tuple[Path, Path], call: Call, asked: list[Any]) -> None:
    for arguments, said in (
        ((runs[0], "some text"), "multilabel_resnet reads images alone; give --image FILE"),
        ((runs[1], "--image", runs[1] / "experiment.json"), "experiment.json cannot be used as an image: not an image"),
        ((runs[1], "--image", "/no/such"), "/no/such cannot be used as an image: there is no such file"),
    ):
        code, out, err = call(*arguments)
        assert code == 2 and not out and said in err and err.count("\n") == 1


@pytest.mark.realdata
def test_photos_go_from_jpeg_to_recommendations(shared_data: Path, tmp_path: Path, call: Call) -> None:
    """The commands of the README, on real posts, with a network of random weights: none can be fetched here."""
    source = shared_data / "image_tweets"
    if not (source / "photos.jsonl").is_file():
        pytest.skip("no image_tweets/photos.jsonl in the shared data")
    try:
        extractors._keras()
    except JaxtagError as error:
        pytest.skip(str(error))
    data, run = tmp_path / "data", tmp_path / "run"
    posts = ["posts", "--input", source / "photos.jsonl", "--text", "text", "--image", "image", "--out", data]
    posts += ["--images", source / "photos", "--preset", "amnn", "--min-hashtag-posts", 3]
    images = ["images", "--data", data, "--extractor", "resnet50", "--weights", "none", "--size", 64, "--batch", 9]
    for command in (posts, images):
        assert prepare([str(word) for word in command]) == 0
    trained = ["train", "amnn/amnn", "--data", data, "--run", run, "--size", "tiny", "--training.batch", 32]
    main([str(word) for word in [*trained, "--training.epochs", 4]])
    main(["evaluate", str(run)])
    photo = source / "photos" / "eclipse_01.jpg"
    code, out, _ = call(run, "--image", photo, "--json")
    assert code == 0 and len(json.loads(out)["hashtags"]) == 5
    lines = [{"text": "Eclipse from ISS", "image": str(photo)}, {"text": "Eclipse from ISS"}]
    found = [json.loads(line)["hashtags"] for line in call(run, lines=lines)[1].splitlines()]
    assert found[0] != found[1] and all(len({row["hashtag"] for row in rows}) == 5 for rows in found)
