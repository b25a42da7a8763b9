"""Word vectors: which texts are read, the same bytes every time, rows for unknown words."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import word_vectors
from jaxtag_prep.cli import main
from jaxtag_prep.word_vectors import Training

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError

SMALL = ("--dim", "8", "--epochs", "2", "--window", "3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors") / "data"
    assert main(["simulate", "--out", str(out), "--posts", "800", "--workers", "1", "--min-hashtag-posts", "10"]) == 0
    return out


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[list[list[str]]]:
    """What gensim is given, instead of training."""
    given: list[list[list[str]]] = []

    def train(texts: object, training: Training, workers: int) -> dict[str, np.ndarray]:
        given.append([list(text) for text in texts])  # type: ignore[attr-defined]
        return {"#" + open_words[0]: np.ones(training.dim)} if (open_words := given[-1][0]) else {}

    monkeypatch.setattr(word_vectors, "_train", train)
    return given


def test_inductive_texts_are_those_of_no_test_post(data: Path, texts: list[list[list[str]]]) -> None:
    word_vectors.make(data, "", Training(dim=4))
    dataset = open_dataset(data)
    split, tokens = dataset.split(), dataset.column("tokens")
    held = {*split.validation.tolist(), *split.test.tolist()}
    expected = [[dataset.words.entries[i] for i in tokens[r]] for r in range(dataset.rows) if r not in held]
    assert texts == [expected]
    assert not any(word.startswith("#") for text in texts[0] for word in text)


def test_transductive_texts_are_all_with_hashtags(data: Path, texts: list[list[list[str]]]) -> None:
    word_vectors.make(data, "", Training(setting="transductive", dim=4))
    dataset = open_dataset(data)
    tokens, hashtags = dataset.column("tokens"), dataset.column("hashtags")
    assert len(texts[0]) == dataset.rows
    for row, text in enumerate(texts[0]):
        tags = [word[1:] for word in text if word.startswith("#")]
        assert list(dict.fromkeys(tags)) == [dataset.hashtags.entries[i] for i in hashtags[row]]
        assert [word for word in text if word[0] != "#"] == [dataset.words.entries[i] for i in tokens[row]]


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_folder_of_vectors(data: Path, setting: Any) -> None:
    info = word_vectors.make(data, "", Training(setting, dim=4, epochs=1))
    split = open_dataset(data).split()
    folder = split.path / "vectors" / setting
    more = {"hashtags.npy"} if setting == "transductive" else set()
    assert {p.name for p in folder.iterdir()} == {"words.npy", "vectors.json"} | more
    assert split.vectors(setting).shape == (len(split.words), 4) and split.vectors(setting).dtype == np.float32
    assert info["split"] == split.fingerprint and info["words"] == len(split.words)


def test_two_processes_give_the_same_bytes(data: Path) -> None:
    """Gensim's own hash differs from process to process."""
    folder = data / "splits" / "default" / "vectors" / "transductive"
    command = [sys.executable, "-m", "jaxtag_prep.cli", "vectors", "--data", str(data), "--setting", "transductive"]
    done = subprocess.run(
        [*command, *SMALL, "--json"], env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["setting"] == "transductive"
    other = {p.name: p.read_bytes() for p in folder.iterdir()}
    word_vectors.make(data, "", Training("transductive", dim=8, epochs=2, window=3))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == other


def test_words_without_a_vector_get_small_rows() -> None:
    training = Training(dim=5, seed=3)
    table, missing = word_vectors._table(["a", "b", "c"], {"b": np.full(5, 7.0)}, training)
    assert missing == ["a", "c"] and (table[1] == 7).all() and (np.abs(table[[0, 2]]) <= 0.1).all()
    assert (word_vectors._table(["a", "b", "c"], {}, training)[0][0] == table[0]).all() and (table[0] != table[2]).any()


def test_hashtags_without_a_vector_are_listed(data: Path) -> None:
    info = word_vectors.make(data, "", Training("transductive", dim=4, epochs=1, min_count=40))
    dataset = open_dataset(data)
    split = dataset.split()
    table = np.load(split.path / "vectors" / "transductive" / "hashtags.npy")
    missing = info["hashtags_without"]
    assert table.shape == (len(split.candidates), 4) and 0 < len(missing) < len(table)
    for row, hashtag in zip(table, split.candidates):
        assert (not row.any()) == (dataset.hashtags.entries[hashtag] in missing)


def test_what_cannot_be_trained(data: Path) -> None:
    with pytest.raises(JaxtagError, match="no word vectors.*--min-count"):
        word_vectors.make(data, "", Training(dim=4, min_count=10**6))
    with pytest.raises(JaxtagError, match="no split 'none'"):
        word_vectors.make(data, "none", Training())
    for wrong in ({"dim": 0}, {"epochs": 0}, {"seed": -1}):
        with pytest.raises(JaxtagError):
            Training(**wrong)


def test_vectors_of_another_split_are_refused(data: Path) -> None:
    word_vectors.make(data, "", Training(dim=4, epochs=1))
    split = open_dataset(data).split()
    path = split.path / "vectors" / "inductive" / "words.npy"
    np.save(path, np.zeros((3, 4), np.float32))
    with pytest.raises(JaxtagError, match=r"words.npy (has|is)"):
        split.vectors("inductive")
    with pytest.raises(JaxtagError, match="no word vectors 'transductiv'"):
        split.vectors("transductiv")
