"""Names in inputs that lead elsewhere: nothing outside their folder is read or written."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import feature_store, region_files, splits, tables, word_vectors, wordpieces
from jaxtag_prep.cli import main
from jaxtag_prep.gallery import MISSING, OUTSIDE, Gallery
from jaxtag_prep.rule import Rule

from jaxtag.arrays import open_npz
from jaxtag.data import images
from jaxtag.data.dataset import open_dataset
from jaxtag.data.hdf5 import opened
from jaxtag.errors import JaxtagError
from jaxtag.files import check_seal, seal
from jaxtag.training.weight_files import open_weights, weights_at
from tests import photos, toy
from tests.faults import watching
from tests.faults.targets import Target
from tests.faults.watching import Finding

SECRET = b"what nobody is to see"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `in` beside which lie `outside/secret.txt` and an image."""
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_bytes(SECRET)
    (tmp_path / "outside" / "secret.jpg").write_bytes(photos.jpeg(1))
    return tmp_path


def stays(folder: Path, read: Callable[[], Any]) -> Any:
    """What `read` gives or is refused by, having opened nothing outside `folder / "in"`, and changed nothing there."""
    before = {path: path.read_bytes() for path in (folder / "outside").iterdir()}
    found: list[Any] = []

    def attempt(_: bytes) -> bool:
        try:
            found.append(read())
        except JaxtagError as error:
            found.append(error)
        return True

    with watching.watched(folder / "in", 120.0):
        result = watching.attempt(Target("paths", "bytes", 1, lambda _: ([], bool), starts=True), attempt, b"")
    assert not isinstance(result, Finding), result
    assert before == {path: path.read_bytes() for path in (folder / "outside").iterdir()}
    assert sorted(path.name for path in folder.iterdir()) == ["in", "outside"]
    return found[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../outside/secret.jpg", OUTSIDE),
        ("below/../../outside/secret.jpg", OUTSIDE),
        ("{outside}/secret.jpg", OUTSIDE),
        ("file://{outside}/secret.jpg", "an address, not a file"),
        ("link.jpg", OUTSIDE),
        ("linked/secret.jpg", OUTSIDE),
        ("..\\outside\\secret.jpg", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("../../../../etc/passwd", OUTSIDE),
        ("secret.jpg", MISSING),
        ("a\0/../../outside/secret.jpg", MISSING),
        ("x" * 5000, MISSING),
        ("..", OUTSIDE),
        ("", MISSING),
    ],
)
def test_an_image_outside_its_folder_is_none(name: str, why: str, folder: Path) -> None:
    where = folder / "in"
    (where / "link.jpg").symlink_to(folder / "outside" / "secret.jpg")
    (where / "linked").symlink_to(folder / "outside", target_is_directory=True)
    assert stays(folder, lambda: Gallery(where).find(name.format(outside=folder / "outside"))) == why


@pytest.mark.parametrize(
    "name", ["../../outside/secret.txt", "{outside}/secret.txt", "columns/../../../outside/secret.txt", "a\0b"]
)
@pytest.mark.parametrize("file", ["dataset.json", "splits/default/split.json", "images/seen/extractor.json"])
def test_a_seal_names_no_file_elsewhere(file: str, name: str, folder: Path) -> None:
    data = toy.make(folder / "in" / "data", 20)
    info = json.loads((data / file).read_text())
    info["files"][name.format(outside=folder / "outside")] = {"bytes": len(SECRET), "crc32": 0}
    (data / file).write_text(json.dumps(info))

    def read() -> Any:
        dataset = open_dataset(data)
        return dataset.split(), images.open_features(dataset, "seen")

    assert "lies elsewhere" in str(stays(folder, read))


def test_sealing_and_checking_agree(folder: Path) -> None:
    (folder / "in" / "a..b").write_bytes(b"x")
    check_seal(folder / "in", seal(folder / "in"), "")


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", ".", "", "x\0y", "-x", "x.partial", "x.old", "é", "x" * 200, "a\nb"]
)
def test_names_that_users_give_to_folders(name: str, folder: Path) -> None:
    data = toy.make(folder / "in" / "data", 20)
    before = sorted(folder.rglob("*"))
    for make in (
        lambda: splits.make(data, name, Rule()),
        lambda: splits.make_folds(data, name, Rule(folds=2)) if "x" not in name else splits.make(data, name, Rule()),
        lambda: feature_store.existing(open_dataset(data), name, {}),
        lambda: word_vectors.load(data, "default", data / "dataset.json", name or "."),
    ):
        assert isinstance(stays(folder, make), JaxtagError)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../outside", "/etc", "..", "default/../../../outside"])
def test_names_that_documents_give_to_splits_and_vectors(name: str, folder: Path) -> None:
    data = toy.make(folder / "in" / "data", 20)
    (folder / "outside" / "vectors.json").write_text("{}")
    split = open_dataset(data).split("default")
    assert "has no split" in str(stays(folder, lambda: open_dataset(data).split(name)))
    for said in (name, str(folder / "outside"), "../../../../../outside"):
        assert "has no word vectors" in str(stays(folder, lambda said=said: split.vectors_info(said)))
        found = stays(folder, lambda said=said: images.open_features(open_dataset(data), said))
        assert "has no image features" in str(found)


def _zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_members_of_archives_are_not_unpacked(folder: Path) -> None:
    np.save(folder / "in" / "x.npy", np.ones((3, 4), np.float32))
    array = (folder / "in" / "x.npy").read_bytes()
    names = ["../../outside/secret.npy", "/tmp/secret.npy", "image_id.npy"]
    path = _zip(folder / "in" / "a.npz", **dict.fromkeys(names, array))
    assert sorted(stays(folder, lambda: open_npz(path))) == sorted(name.removesuffix(".npy") for name in names)
    assert isinstance(stays(folder, lambda: list(region_files.rows(path, 4))), JaxtagError)
    torch = _zip(folder / "in" / "b.bin", **{"x/data.pkl": b"\x80\x02}.", "x/../../outside/secret.txt": b"y"})
    assert stays(folder, lambda: open_weights(torch)) == {}


@pytest.mark.parametrize("kind", ["tar", "zip", "gztar"])
def test_archives_of_posts_are_not_unpacked(kind: str, folder: Path) -> None:
    (folder / "in" / "posts.jsonl").write_text('{"text": "x"}\n')
    path = Path(shutil.make_archive(str(folder / "in" / "a"), kind, folder / "in", "posts.jsonl"))
    named = path.rename(folder / "in" / f"a.jsonl{'.gz' * (kind == 'gztar')}")
    assert "archive" in str(stays(folder, lambda: list(tables.read(named, ["text"]))))


def test_a_tokenizer_names_no_file_of_its_vocabulary(folder: Path) -> None:
    where = folder / "in"
    (where / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nrain\n")
    (where / "tokenizer_config.json").write_text('{"vocab_file": "../outside/secret.txt", "do_lower_case": false}')
    settings, entries = stays(folder, lambda: wordpieces._settings(wordpieces.Wanted(vocabulary=where)))
    assert entries[-1] == "rain" and settings["lower"] is False


def test_weights_name_no_other_files(folder: Path) -> None:
    where = folder / "in"
    index = {"weight_map": {"a": "../outside/secret.txt", "b": "/etc/passwd"}, "metadata": {}}
    (where / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "has no model.safetensors" in str(stays(folder, lambda: weights_at(where)))


@pytest.mark.parametrize("kind", ["external", "soft", "storage", "virtual"])
def test_hdf5_names_no_other_files(kind: str, folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "outside" / "secret.h5", "w") as file:
        file["x"] = np.ones((3, 4), np.float32)
    path = folder / "in" / "a.h5"
    with h5py.File(path, "w") as file:
        file["fine"] = np.ones((3, 4), np.float32)
        if kind == "external":
            file["x"] = h5py.ExternalLink(str(folder / "outside" / "secret.h5"), "x")
        elif kind == "soft":
            file["x"] = h5py.SoftLink("/fine")
        elif kind == "storage":
            file.create_dataset("x", (3,), "f4", external=[(str(folder / "outside" / "secret.txt"), 0, 12)])
        else:
            layout = h5py.VirtualLayout((3, 4), "f4")
            layout[:] = h5py.VirtualSource(str(folder / "outside" / "secret.h5"), "x", (3, 4))
            file.create_virtual_dataset("x", layout)

    def read() -> Any:
        with opened(path, "images") as file:
            return list(file)

    assert str(stays(folder, read)).endswith(("which is not followed", "which are not read"))


@pytest.mark.parametrize("name", ["#../../outside/secret", "#/etc/passwd", "#..", "#a\0b"])
def test_hashtags_are_no_names_of_files(name: str, folder: Path) -> None:
    words = "sun moon rain snow wind storm cloud sky"
    rows = [{"text": f"{words} {i} {name} #fine #other", "tags": [name[1:], "../../outside/x"]} for i in range(40)]
    photos.posts(folder / "in" / "posts.jsonl", rows)
    command = [
        "posts",
        "--input",
        str(folder / "in" / "posts.jsonl"),
        "--out",
        str(folder / "in" / "data"),
        "--text",
        "text",
        "--hashtags",
        "tags",
    ]
    main([*command, "--min-hashtag-posts", "1", "--min-words", "1", "--per-post", "any", "--workers", "1", "--json"])
    assert sorted(path.name for path in folder.iterdir()) == ["in", "outside"]
    assert not [p for p in (folder / "in").rglob("*") if "secret" in p.name or "passwd" in p.name]
