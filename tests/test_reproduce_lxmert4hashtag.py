"""Reproducing the lxmert4hashtag paper: its numbers, which runs make which table, what is absent, and the pages."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag import crossvalidate
from jaxtag.data.dataset import open_dataset
from jaxtag.data.images import FOLDER
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.metrics import harmonic
from jaxtag.explain import chosen
from jaxtag.files import crc32, read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.report import looks
from jaxtag.reproduce import (
    commands,
    lxmert4hashtag,
    lxmert4hashtag_examples,
    lxmert4hashtag_page,
    lxmert4hashtag_paper,
    lxmert4hashtag_tables,
)
from jaxtag.reproduce.lxmert4hashtag_work import work_of
from tests import photos, toy, toy_topics
from tests.test_reproduce import make_vectors

pytestmark = pytest.mark.usefixtures("one_device")

SYSTEMS = ("tab_lstm", "coattention", "lxmert")


def test_the_papers_numbers_are_consistent() -> None:
    for table in (lxmert4hashtag_paper.TABLE_3, lxmert4hashtag_paper.ABSTRACT):
        for precision, recall, f1 in table.values():
            assert float(harmonic(np.array(precision), np.array(recall))) == pytest.approx(f1, abs=1.1e-3)
    assert set(lxmert4hashtag_paper.TABLE_3) <= set(lxmert4hashtag_page.NAMES)
    for name in lxmert4hashtag_paper.TABLE_3:
        reads = resolve(f"lxmert4hashtag/{name}", "paper").data.extractor
        assert reads == lxmert4hashtag_paper.IMAGES.get(name, "")


def prepared(*arguments: Any) -> None:
    """What `jaxtag-prep topics` and `vectors` would make, made from the toy posts."""
    options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
    if arguments[0] == "topics":
        assert options["topics"] == 10
        return toy_topics.make(options["data"])
    assert arguments[0] == "vectors" and (options["model"], options["dim"]) == ("skipgram", 32)
    return make_vectors(open_dataset(options["data"]).split(options["split"]), options["name"], 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy posts whose images are files, but for every third."""
    folder = tmp_path_factory.mktemp("lxmert4hashtag")
    path = toy.make(folder / "data", 200)
    rows = len(np.load(path / "images" / "seen" / "present.npy"))
    (folder / "photos").mkdir()
    for i in range(0, rows, 3):
        (folder / "photos" / f"{i}.jpg").write_bytes(photos.jpeg(i))
    listed = path / "images" / "files.jsonl"
    listed.write_text("".join(json.dumps({"file": f"{i}.jpg", "size": [16, 12]}) + "\n" for i in range(rows)))
    (path / "images" / FOLDER).write_text(f"{folder / 'photos'}\n")
    info = read_json(path / "dataset.json", "dataset")
    crc = crc32(listed)
    info["files"]["images/files.jsonl"] = {"bytes": listed.stat().st_size, "crc32": crc}
    info["settings"] = {"cleaning": Cleaning().to_json()}
    info["funnel"] = [{"step": "rows read", "posts": 400}, {"step": "kept", "posts": 200}]
    write_json(path / "dataset.json", info | {"hashtag_steps": [{"step": "rows read", "hashtags": 70, "uses": 1000}]})
    for name in ("seen", "other", "regions"):
        file = path / "images" / name / "extractor.json"
        write_json(file, read_json(file, "extractor") | {"images": crc})
    return path


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Of Table 3 a part: what is left out is done by the same lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lxmert4hashtag_tables, "prepare", prepared)
        rows = {name: lxmert4hashtag_paper.TABLE_3[name] for name in SYSTEMS}
        patch.setattr(lxmert4hashtag_tables, "TABLE_3", rows)
        yield


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    small = {"training.batch": "32", "training.steps": "4"}
    overrides = {f"{name}.{key}": value for name in ("lxmert", "tab_lstm") for key, value in small.items()}
    overrides |= {"lxmert.model.features": str(toy.WIDTH), "lxmert.model.width": "16"}
    work = work_of(data, tmp_path_factory.mktemp("out") / "lx", "tiny", overrides)
    return work, lxmert4hashtag.reproduce(work)


def test_every_table_is_there_with_the_papers_numbers(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    assert json.loads((work.out / "lxmert4hashtag.json").read_text()) == json.loads(json.dumps(found))
    tables, dataset = found["tables"], work.dataset
    first = {row["what"]: row for row in tables["2"]["rows"]}
    assert first["posts collected"] == {"what": "posts collected", "ours": 400, "paper": 100_000}
    assert first["distinct hashtags"]["ours"] == 70 and first["hashtags a post"]["ours"] == 2.5
    assert first["images"]["ours"] == 200
    each = dataset.column("hashtags").lengths()
    assert first["such hashtags a post"]["ours"] == pytest.approx(each.mean())
    assert [row["ours"] for what, row in first.items() if "training" in what or " of 10" in what] == [160, 20, 20]
    rows = {row["system"]: row for row in tables["3"]["rows"]}
    assert list(rows)[:3] == list(SYSTEMS) and "most_used" in rows
    for name in ("tab_lstm", "lxmert"):
        run = work.out / "table-3" / name / "seed-0" / "fold-0"
        metrics = read_json(run / "evaluation-test.json", "")
        assert rows[name]["f1@2"] == {"mean": metrics["f1@2"], "spread": 0.0}
        assert rows[name]["paper"] == lxmert4hashtag_paper.TABLE_3[name] and "accuracy@5" in rows[name]
    command = f"jaxtag-prep images --data {work.data} --extractor vgg16"
    assert "has no image features 'vgg16'" in rows["coattention"]["absent"] and command in rows["coattention"]["absent"]


def test_pages_show_ours_beside_the_papers(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    text, page = (work.out / "lxmert4hashtag.md").read_text(), (work.out / "index.html").read_text()
    for heading in ("Table 2", "Table 3", "Fig. 3", "Fig. 4"):
        assert f"## {heading}" in text and heading in page
    rows = {row["system"]: row for row in found["tables"]["3"]["rows"]}
    lines = [line for line in text.splitlines() if line.startswith("| LXMERT4Hashtag ")]
    assert f"{rows['lxmert']['f1@2']['mean']:.3f}" in lines[0] and "0.335" in lines[0]
    assert f"{rows['lxmert']['f1@5']['mean']:.3f}" in lines[1] and "0.470" in lines[1]
    assert "CoA is left out" in text and "164,243" in text and "lxmert.training.steps 4" in text
    for name in ("against-k.png", "regions.png"):
        assert (work.out / name).stat().st_size > 4_000
    assert page.count("data:image/png") == 2


def test_examples_are_posts_with_what_each_system_recommends(made: tuple[Any, dict[str, Any]]) -> None:
    work, _ = made
    runs = {name: work.out / "table-3" / name / "seed-0" / "fold-0" for name in ("tab_lstm", "lxmert")}
    shown, dataset = lxmert4hashtag_examples.examples(work, runs), work.dataset
    assert [post["row"] for post in shown] == chosen(dataset.split().test).tolist()
    for post in shown:
        gold = [dataset.hashtags.entries[h] for h in dataset.column("hashtags")[post["row"]]]
        assert post["hashtags"] == gold and post["post"] == dataset.text(np.array([post["row"]]))[0]
        for name, run in runs.items():
            with np.load(run / "predictions-test.npz") as saved:
                ranked = saved["ranked"][saved["rows"].tolist().index(post["row"])]
            assert post["systems"][name] == [dataset.hashtags.entries[h] for h in ranked]
    rows = [post["row"] for post in shown]
    images = lxmert4hashtag_examples.looked(work, runs["lxmert"], rows)
    image = dataset.column("image")
    pictured = [(n, row) for n, row in enumerate(rows, 1) if image[row] >= 0]
    assert [looked.title for looked in images] == [f"post {n}" for n, _ in pictured]
    for looked, (_, row) in zip(images, pictured):
        assert looked.weights.sum() == pytest.approx(1, abs=1e-3) and looked.size == (16, 12)
        assert (looked.pixels is not None) == (image[row] % 3 == 0)  # the files that are at hand
        assert len(looked.boxes) == len(looked.weights) == toy.CELLS - (image[row] % 5 == 4)


def test_the_heaviest_region_is_drawn_the_boldest(tmp_path: Path) -> None:
    from PIL import Image

    boxes = np.array([[0, 0, 0.4, 0.4], [0.5, 0.5, 1, 1]], np.float32)
    drawn = []
    for weights in ([0.9, 0.1], [0.1, 0.9]):
        looked = looks.Looked("a", (10, 10), boxes, np.array(weights))
        with Image.open(looks.regions([looked], tmp_path / "a.png")) as image:
            pixels = np.asarray(image.convert("RGB"), int)
        blue = (abs(pixels - [0x00, 0x72, 0xB2]).sum(-1) < 30).nonzero()  # the first colour: of the heaviest
        drawn.append((blue[0].mean(), blue[1].mean()))
    assert drawn[0] < drawn[1]


def test_what_is_done_is_not_done_again(made: tuple[Any, dict[str, Any]], monkeypatch: Any) -> None:
    work, found = made
    before = {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()}
    for module, name in ((crossvalidate, "train"), (crossvalidate, "evaluate"), (lxmert4hashtag_tables, "prepare")):
        monkeypatch.setattr(module, name, None)
    assert lxmert4hashtag.reproduce(work) == found
    assert {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()} == before


def test_rows_without_their_columns_say_what_adds_them(
    made: tuple[Any, dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    work, _ = made
    path = tmp_path / "data"
    shutil.copytree(work.data, path)
    info = read_json(path / "dataset.json", "dataset")
    kept = {name: value for name, value in info["columns"].items() if name != "wordpieces"}
    write_json(path / "dataset.json", info | {"columns": kept})
    shutil.rmtree(path / "splits" / "default" / "topics")

    def refuse(*arguments: Any) -> None:
        raise commands.Absent(f"jaxtag-prep {arguments[0]} failed: no words")

    monkeypatch.setattr(lxmert4hashtag_tables, "prepare", refuse)
    less = replace(work, data=path, out=tmp_path / "out", extractors={"vgg16": "regions"})
    found = lxmert4hashtag.reproduce(less)["tables"]["3"]["rows"]
    said = {row["system"]: row["absent"] for row in found}
    assert said["lxmert"] == f"{path} has no WordPieces; jaxtag-prep wordpieces --data {path} --vocabulary LXMERT"
    assert said["tab_lstm"] == "jaxtag-prep topics failed: no words" and "grid" in said["coattention"]
    text = (tmp_path / "out" / "lxmert4hashtag.md").read_text()
    assert "Left out: no system could be run" in text and "## Fig. 4" in text
    write_json(path / "dataset.json", info)
    shutil.rmtree(path / "images" / "regions")
    found = lxmert4hashtag.reproduce(replace(less, out=tmp_path / "more"), ("3",))["tables"]["3"]["rows"]
    assert f"jaxtag-prep regions --data {path} --input FILE" in {r["system"]: r for r in found}["lxmert"]["absent"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"seeds": 0}, "seeds is 0; it must be 1 or more"),
        ({"split": "other"}, "has no split 'other'"),
        ({"extractors": {"vgg": "x"}}, "no system reads image features 'vgg'; did you mean 'vgg16'"),
        ({"overrides": {"lxmer.model.heads": "4"}}, "no recipe 'lxmer' in the lxmert4hashtag paper to override"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(data: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"size": "tiny"} | given
    with pytest.raises(JaxtagError, match=message):
        lxmert4hashtag.reproduce(work_of(data, tmp_path, **options))
    with pytest.raises(JaxtagError, match="no table '4' in the lxmert4hashtag paper"):
        lxmert4hashtag.reproduce(work_of(data, tmp_path / "out", "tiny"), ("4",))


def test_word_vectors_are_made_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, split = work_of(data, tmp_path, "tiny"), open_dataset(data).split()
    assert lxmert4hashtag_tables._given(work, "tweet_embedding", split) == {
        "model.vectors": "lxmert4hashtag-skipgram-32"
    }
    monkeypatch.setattr(lxmert4hashtag_tables, "prepare", None)
    assert lxmert4hashtag_tables._given(work, "tweet_embedding", split) == {
        "model.vectors": "lxmert4hashtag-skipgram-32"
    }
