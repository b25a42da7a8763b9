"""WordPiece: stored posts and new ones agree, the same bytes every time, a dataset that is whole at every moment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtag_prep import wordpieces
from jaxtag_prep.cli import main
from jaxtag_prep.wordpieces import Wanted

from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.data.wordpieces import WordPieces, open_wordpieces
from jaxtag.errors import JaxtagError
from tests import prep

SMALL = Wanted(size=120)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "snow", "##storm", "rain", "!", "s", "##un", "cafe", "[", "]"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordpieces")
    assert main(prep.arguments(prep.source(folder), folder / "data")) == 0
    return folder / "data"


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


def test_cutting() -> None:
    pieces = WordPieces(tuple(PIECES), True, Cleaning())
    ids = {piece: i for i, piece in enumerate(PIECES)}
    wanted = ["[CLS]", "snow", "##storm", "[UNK]", "cafe", "!", "s", "##un", "[SEP]"]
    assert pieces(["Snowstorm nothing CAFÉ! #rain s\u00adun https://t.co/x"]) == [[ids[piece] for piece in wanted]]
    assert pieces([""]) == [[2, 3]] and pieces([]) == []
    said = pieces(["[PAD] [SEP]"])[0]
    assert said[1:-1] == [ids["["], 1, ids["]"]] * 2, "what is special is no part of a text"
    plain = WordPieces(tuple(PIECES), False, Cleaning())
    assert plain.encode(["café"]) == [[2, 1, 3]], "accents stay"


def test_stored_posts_and_new_ones_agree(data: Path) -> None:
    before = open_dataset(data)
    split = before.split().fingerprint
    added = wordpieces.make(data, SMALL)
    dataset = open_dataset(data)
    assert dataset.fingerprint == before.fingerprint and dataset.split().fingerprint == split
    column, pieces = dataset.column("wordpieces"), open_wordpieces(dataset)
    assert isinstance(column, Ragged) and len(column) == dataset.rows and added["pieces"] == len(pieces.entries)
    assert pieces.entries[:4] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]") and added["unknown"] == 0
    texts = dataset.text(np.arange(dataset.rows))
    assert [column[row].tolist() for row in range(dataset.rows)] == pieces(texts)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    for row in (0, 50):
        words = "".join(pieces.entries[i].removeprefix("##") for i in column[row][1:-1])
        assert words == cleaner(texts[row]).shown.replace(" ", "")
    counts = np.bincount(column.values, minlength=len(pieces.entries))
    lines = (data / "vocabulary" / "wordpieces.txt").read_text().splitlines()
    assert lines == [f"{piece}\t{count}" for piece, count in zip(pieces.entries, counts)]


def test_two_processes_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    """The trainer's own hash map differs from process to process."""
    other = Path(shutil.copytree(data, tmp_path / "other"))
    wordpieces.make(data, SMALL)
    command = [sys.executable, "-m", "jaxtag_prep.cli", "wordpieces", "--data", str(other), "--size", "120", "--json"]
    done = subprocess.run([*command, "--workers", "2"], env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pieces"] <= 120
    assert prep.tree(other) == prep.tree(data)


def test_given_again(data: Path) -> None:
    first = wordpieces.make(data, SMALL)
    before = {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file() and p.name != ".lock"}
    assert wordpieces.make(data, SMALL) == first
    assert {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file() and p.name != ".lock"} == before
    second = wordpieces.make(data, Wanted(size=110))
    assert second["fingerprint"] != first["fingerprint"]
    assert len(open_wordpieces(open_dataset(data)).entries) == second["pieces"] <= 110


@pytest.mark.parametrize("after", range(6))
def test_stopped_on_the_way(data: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset opens with the column or without it, whatever of replacing one was done; the end is the same."""
    wordpieces.make(data, SMALL)
    whole, calls, real = prep.tree(data), [0], os.replace

    def stop(*paths: object) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        real(*paths)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "replace", lambda self, other: stop(self, other))
    with pytest.raises(KeyboardInterrupt):
        wordpieces.make(data, Wanted(size=110))
    monkeypatch.undo()
    dataset = open_dataset(data)
    assert dataset.has("wordpieces") == (after == 0) and dataset.split().name == "default"
    wordpieces.make(data, SMALL)
    left = {name: found for name, found in prep.tree(data).items() if not name.endswith(".partial")}
    assert left == whole


def test_a_given_vocabulary(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*PIECES, "sun", "moon"]))
    added = wordpieces.make(data, Wanted(vocabulary=path))
    assert added["pieces"] == len(PIECES) + 2 and added["vocabulary"]["name"] == "vocab.txt" and added["lower"]
    assert open_wordpieces(open_dataset(data)).entries == (*PIECES, "sun", "moon")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not wordpieces.make(data, Wanted(vocabulary=tmp_path))["lower"]
    assert wordpieces.make(data, Wanted(vocabulary=tmp_path, lower=True))["lower"]
    path.unlink()
    model = {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(PIECES)}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert wordpieces.make(data, Wanted(vocabulary=tmp_path))["pieces"] == len(PIECES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1 is empty"),
        ("\n".join([*PIECES, "snow"]), "line 15 is 'snow', which line 6 has already"),
        ("\n".join([*PIECES, "", "x"]), "line 15 is empty"),
        ("\n".join(PIECES[:3]), r"has no \[SEP\] among its 3 lines"),
        ("\n".join(PIECES[::-1]), r"has \[PAD\] at line 14; \[PAD\] must be the first"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_vocabularies_that_are_none(data: Path, tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JaxtagError, match=message):
        wordpieces.make(data, Wanted(vocabulary=path))
    assert not open_dataset(data).has("wordpieces")


def test_mistakes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}}}')
    for options, message in (
        (["--size", "5"], "--size 5 is below 100"),
        (["--min-count", "0"], "--min-count 0 is below 1"),
        (["--size", "500", "--vocabulary", "x"], "--size is of training, and --vocabulary gives pieces"),
        (["--vocabulary", str(tmp_path / "none")], "no vocabulary at"),
        (["--vocabulary", str(tmp_path)], "is of kind 'BPE', not WordPiece"),
    ):
        assert main(["wordpieces", "--data", str(data), *options]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(JaxtagError, match="has no WordPiece vocabulary; jaxtag-prep wordpieces --data"):
        open_wordpieces(open_dataset(data))
    with pytest.raises(JaxtagError, match="add it with jaxtag-prep wordpieces"):
        open_dataset(data).column("wordpieces")


def test_what_is_printed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wordpieces", "--data", str(data), "--size", "120", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = len(open_dataset(data).column("wordpieces").values)
    many = open_dataset(data).info["added"]["wordpieces"]["pieces"]
    assert lines[:2] == [
        f"WordPieces: {many:,}, trained on the dataset, case folded",
        f"posts: {values:,} pieces, 0 unknown (0.0%)",
    ]
