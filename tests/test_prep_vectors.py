"""Word vectors: which texts are read, the same bytes every time, rows for unknown words."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import vector_training, word_vectors
from jaxtag_prep.cli import main
from jaxtag_prep.vector_training import Training

from jaxtag.data.dataset import open_dataset
from jaxtag.data.hashtags import WordTable, open_table
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

    def train(texts: object, training: Training, workers: int) -> WordTable:
        given.append([list(text) for text in texts])  # type: ignore[attr-defined]
        return WordTable(("none such",), np.ones((1, training.dim), np.float32))

    monkeypatch.setattr(word_vectors, "train", train)
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


def test_inductive_texts_are_of_no_unseen_hashtag_but_in_training(data: Path, texts: list[list[list[str]]]) -> None:
    """A post that has an unseen hashtag and is no example is left out too; a few-shot split's few are not."""
    dataset = open_dataset(data)
    split, hashtags, tokens = dataset.split(), dataset.column("hashtags"), dataset.column("tokens")
    unseen = split.hashtags[:2]
    info = {**split.info, "unseen": [dataset.hashtags.entries[unseen[0]]]}
    shot = next(r for r in split.train.tolist() if unseen[0] in hashtags[r])
    train = np.array([r for r in split.train if r == shot or not set(hashtags[r].tolist()) & set(unseen.tolist())])
    made = replace(split, info=info, train=train, hashtags=split.hashtags[2:], candidates=split.candidates)
    assert made.named.tolist() == [*split.hashtags[2:], *unseen]
    held = {*split.validation.tolist(), *split.test.tolist()}
    expected = [
        r
        for r in range(dataset.rows)
        if r not in held and (r == shot or not set(hashtags[r].tolist()) & set(unseen.tolist()))
    ]
    rows = word_vectors.inductive_rows(dataset, made)
    assert rows.tolist() == expected and len(expected) < dataset.rows - len(held) and shot in expected
    assert [len(text) for text in vector_training.Tokens(dataset, rows)] == tokens.lengths(rows).tolist()


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_folder_of_vectors(data: Path, setting: Any) -> None:
    info = word_vectors.make(data, "", Training(setting, dim=4, epochs=1))
    dataset = open_dataset(data)
    split = dataset.split()
    folder = split.vectors_path(setting)
    assert {p.name for p in folder.iterdir()} == {
        *("words.npy", "names.txt", "table.npy", "output.npy"),
        *("hashtags.npy", "hashtags_output.npy", "hashtags.txt", "vectors.json"),
    }
    words, table = split.vectors(setting), open_table(folder)
    assert words.shape == (len(split.words), 4) and words.dtype == np.float32
    assert info["split"] == split.fingerprint and info["words"] == len(split.words)
    for row, word in zip(words, split.words):
        assert (row == table.rows[table.index[dataset.words.entries[word]]]).all()
    hashtags = split.hashtag_vectors(setting)
    assert hashtags.shape == (len(split.named), 4) and sum(info["hashtags"].values()) == len(split.named)
    assert (info["hashtags"]["own"] == 0) == (setting == "inductive")
    said = [line.split("\t") for line in (folder / "hashtags.txt").read_text().splitlines()]
    for row, hashtag, (name, how, parts) in zip(hashtags, split.named, said):
        assert name == dataset.hashtags.entries[hashtag] and (how == "none") == (not row.any())
        mean = np.mean([table.rows[table.index[part]] for part in parts.split()], axis=0) if parts else np.zeros(4)
        np.testing.assert_allclose(row, mean, atol=1e-6)


def test_transductive_vectors_are_trained_for_the_first_split_alone(data: Path, monkeypatch: Any) -> None:
    def files(split: str) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (data / "splits" / split / "vectors" / "all").iterdir()}

    assert main(["split", "--data", str(data), "--name", "other", "--seed", "3"]) == 0
    training = Training("transductive", dim=4, epochs=1)
    word_vectors.make(data, "other", training, name="all")
    expected = files("other")
    word_vectors.make(data, "default", training, name="all")
    trained = []
    monkeypatch.setattr(word_vectors, "train", lambda *given: trained.append(given) or 1 / 0)
    word_vectors.make(data, "other", training, name="all")
    assert files("other") == expected and not trained
    for changed in (replace(training, seed=1), replace(training, dim=5), replace(training, setting="inductive")):
        with pytest.raises(ZeroDivisionError):
            word_vectors.make(data, "other", changed, name="all")
    assert len(trained) == 3 and files("other") == expected


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
    table = WordTable(("b",), np.full((1, 5), 7.0, np.float32))
    rows, missing, guessed = word_vectors._word_rows(["a", "b", "c"], table, 3)
    assert missing == 2 and not guessed and (rows[1] == 7).all() and (np.abs(rows[[0, 2]]) <= 0.1).all()
    again = word_vectors._word_rows(["a", "c", "c"], table, 3)[0]
    assert (again[0] == rows[0]).all() and (rows[0] != rows[2]).any()


def test_hashtags_without_a_vector_are_listed(data: Path) -> None:
    info = word_vectors.make(data, "", Training("transductive", dim=4, epochs=1, min_count=60))
    dataset = open_dataset(data)
    split = dataset.split()
    missing = info["hashtags_without"]
    assert 0 < len(missing) < len(split.named)
    for row, hashtag in zip(split.hashtag_vectors("transductive"), split.named):
        assert (not row.any()) == (dataset.hashtags.entries[hashtag] in missing)


def test_what_is_printed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "v.txt"
    file.write_text("".join(f"w{i} {i} 2 3\n" for i in range(8)) + "bad 1 x 3\nworse 1 2\n")
    command = ["vectors", "--data", str(data), "--file", str(file), "--name", "v", "--max-bad", "0.5"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "word vectors: pretrained, 3 dimensions",
        "file: v.txt, GloVe text: 10 words read, 8 kept, 2 bad",
        "  line 9: something that is no number",
        "  line 10: 2 numbers where 3 belong",
    ]
    assert lines[4].startswith("words of the split: ") and " without" in lines[5] and lines[6].startswith("without: ")
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bad_lines"][1] == {"line": 10, "reason": "2 numbers where 3 belong"}
    assert main(["vectors", "--data", str(data), "--dim", "4", "--epochs", "1", "--name", "v"]) == 0
    assert "trained: inductive, " in capsys.readouterr().out


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
    with pytest.raises(JaxtagError, match="no word vectors 'glov'.*--file FILE --name glov"):
        split.vectors("glov")
    with pytest.raises(JaxtagError, match="is no name for word vectors"):
        word_vectors.make(data, "", Training(), name="../x")


def test_vectors_of_an_older_version(data: Path) -> None:
    word_vectors.make(data, "", Training(dim=4, epochs=1), name="old")
    split = open_dataset(data).split()
    path = split.vectors_path("old") / "vectors.json"
    info = json.loads(path.read_text())
    info["files"] = {"words.npy": info["files"]["words.npy"]}
    path.write_text(json.dumps(info))
    assert len(split.vectors("old")) == len(split.words)
    for read in (lambda: split.hashtag_vectors("old"), lambda: open_table(split.vectors_path("old"))):
        with pytest.raises(JaxtagError, match="an older version made it"):
            read()
