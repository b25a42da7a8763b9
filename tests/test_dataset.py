"""Opening dataset folders: damage, other versions, missing columns and splits, each in one clear line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import FORMAT
from jaxtag.errors import JaxtagError
from tests.toy import make


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("dataset") / "toy", posts=60)


@pytest.fixture
def folder(toy: Path, tmp_path: Path) -> Path:
    shutil.copytree(toy, tmp_path / "toy")
    return tmp_path / "toy"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_whole_dataset(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    assert dataset.rows == 60 and dataset.has("tokens") and not dataset.has("topics")
    split = dataset.split()
    assert split.name == "default" == dataset.split("default").name
    assert (split.part("train") == split.train).all()
    assert dataset.words.encode([dataset.words.entries[5], "none such", "<pad>"]) == [5, 1, 1]
    assert len(dataset.text(np.array([3, 0]))) == 2


def test_word_ids_of_a_split(folder: Path) -> None:
    dataset = open_dataset(folder)
    split = dataset.split()
    table = split.word_ids(len(dataset.words))
    assert table[0] == 0 and table[1] == 1 and table[split.words].tolist() == [*range(2, 2 + len(split.words))]
    few = split.word_ids(len(dataset.words), most=3)
    assert few.max() == 4 and (few[split.words[3:]] == 1).all()


def test_hashtags_that_a_split_names(folder: Path) -> None:
    """Those trained on first, in their order; then the other candidates, in theirs."""
    split = open_dataset(folder).split()
    some = replace(split, hashtags=np.array([7, 2], np.int32), candidates=np.array([9, 2, 0], np.int32))
    assert some.named.tolist() == [7, 2, 9, 0] and some.named.dtype == np.int32
    assert split.named.tolist() == split.hashtags.tolist()


@pytest.mark.parametrize(
    "name", ["columns/tokens.values.npy", "columns/time.npy", "vocabulary/words.txt", "text/bytes.npy"]
)
def test_damage_is_found(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(JaxtagError, match=f"{name} is corrupt"):
        open_dataset(folder)
    path.write_bytes(whole[:-1])
    with pytest.raises(JaxtagError, match=f"{name} has {len(whole) - 1} bytes where {len(whole)} were written"):
        open_dataset(folder)
    path.unlink()
    with pytest.raises(JaxtagError, match=f"{name} is missing"):
        open_dataset(folder)


def test_folders_that_are_no_datasets(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JaxtagError, match="has no dataset.json; make one with jaxtag-prep"):
        open_dataset(tmp_path)
    change(folder / "dataset.json", format=FORMAT + 1)
    with pytest.raises(JaxtagError, match=f"has dataset format {FORMAT + 1}, this jaxtag reads format {FORMAT}"):
        open_dataset(folder)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(JaxtagError, match="not readable as a dataset description"):
        open_dataset(folder)


def test_what_a_dataset_lacks(folder: Path) -> None:
    dataset = open_dataset(folder)
    dataset.info["columns"].pop("image")
    with pytest.raises(JaxtagError, match="no column 'image'.*add it with jaxtag-prep"):
        dataset.column("image")
    with pytest.raises(JaxtagError, match="no column 'token' .*did you mean 'tokens'"):
        dataset.column("token")
    with pytest.raises(JaxtagError, match=r"no split 'other' \(it has: default\); make one with jaxtag-prep split"):
        dataset.split("other")
    with pytest.raises(JaxtagError, match="no part 'tset' in a split; did you mean 'test'"):
        dataset.split().part("tset")
    with pytest.raises(JaxtagError, match="no word vectors 'inductive' .*--split default --setting inductive"):
        dataset.split().hashtag_vectors("inductive")
    with pytest.raises(JaxtagError, match="has no topics; jaxtag-prep topics --data .* --split default"):
        dataset.split().topics()


def test_splits_that_do_not_fit(folder: Path) -> None:
    dataset, path = open_dataset(folder), folder / "splits" / "default"
    whole = (path / "train.npy").read_bytes()
    (path / "train.npy").write_bytes(whole[:-4])
    with pytest.raises(JaxtagError, match="train.npy has .*; make the split again"):
        dataset.split()
    (path / "train.npy").write_bytes(whole)
    change(path / "split.json", dataset="another")
    with pytest.raises(JaxtagError, match="was made for dataset another"):
        dataset.split()
