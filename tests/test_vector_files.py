"""Files of word vectors: every kind told by its content, bad lines counted and named, good ones kept."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import vector_files, word_vectors
from jaxtag_prep.cli import main

from jaxtag.data.dataset import open_dataset
from jaxtag.data.hashtags import open_table, vectors_of
from jaxtag.errors import JaxtagError
from tests.toy import WORDS, make, word

ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
NAMES = ["rain", "snow", "#sun", "été", "wind"]


def text(head: bool, names: list[str] = NAMES, rows: np.ndarray = ROWS) -> bytes:
    lines = [f"{len(names)} {rows.shape[1]}"] * head
    lines += [" ".join([name, *map(repr, map(float, row))]) for name, row in zip(names, rows)]
    return ("\n".join(lines) + "\n").encode()


def binary(names: list[str] = NAMES, rows: np.ndarray = ROWS) -> bytes:
    return f"{len(names)} {rows.shape[1]}\n".encode() + b"".join(
        name.encode() + b" " + row.tobytes() + b"\n" for name, row in zip(names, rows)
    )


def read(path: Path, data: bytes, most: int = 100, needed: tuple[str, ...] = (), max_bad: float = 0.5) -> Any:
    path.write_bytes(data)
    found = vector_files.read(path, path.parent, set(needed), most, max_bad)
    return found, np.load(path.parent / "table.npy")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "data"),
    [("word2vec text", text(True)), ("GloVe text", text(False)), ("word2vec binary", binary())],
)
def test_kinds(tmp_path: Path, kind: str, data: bytes, packed: bool) -> None:
    found, table = read(tmp_path / "vectors.anything", gzip.compress(data) if packed else data)
    assert (found.kind, found.dim, found.names, found.read, found.bad) == (kind, 3, NAMES, 5, 0)
    np.testing.assert_array_equal(table, ROWS)


def test_what_gensim_writes(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(3)
    vectors.add_vectors(NAMES, ROWS)
    for file, options in (("a.txt", {}), ("b.bin", {"binary": True}), ("c.txt", {"write_header": False})):
        vectors.save_word2vec_format(str(tmp_path / file), **options)
        found, table = read(tmp_path / file, (tmp_path / file).read_bytes())
        assert found.names == NAMES and not found.bad
        np.testing.assert_allclose(table, ROWS, atol=1e-6)


GOOD = [b"w%d %d 0.5 -1e-3" % (i, i) for i in range(8)]


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"rain 1 2", "2 numbers where 3 belong"),
        (b"rain 1 2 3 4", "4 numbers where 3 belong"),
        (b"new york 1 2 3", "something that is no number"),
        (b"rain 1 x 3", "something that is no number"),
        (b"rain 1 2 3x", "something that is no number"),
        (b"rain 1 nan 3", "a number that is not finite"),
        (b"rain 1 2 1e99", "a number that is not finite"),
        (b"rain", "0 numbers where 3 belong"),
        (b"w3 1 2 3", "a word that was there before"),
        (b"r\xff\xfe 1 2 3", "not UTF-8"),
        (b"\xc2\xa0 1 2 3", "no word"),
        (b"x" * (1 << 20) + b" 1 2 3", "longer than 1,048,576 bytes"),
    ],
)
@pytest.mark.parametrize("place", [0, 4, 8])
def test_bad_lines(tmp_path: Path, line: bytes, reason: str, place: int, head: bool) -> None:
    if (reason.startswith("longer") and place == 0) or (b"w3" in line and place < 4):
        pytest.skip("the line is the sample, or the first of its word")
    lines = [*GOOD[:place], line, *GOOD[place:]]
    found, table = read(tmp_path / "v.txt", b"\n".join([b"9 3"] * head + lines) + b"\n")
    assert found.bad == 1 and found.read == 9
    assert found.lines == [{"line": place + 1 + head, "reason": reason}]
    assert found.names == [f"w{i}" for i in range(8)] and table[:, 0].tolist() == [*range(8)]


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    for data, unit, kept in ((text(True)[: text(True).index(b"wind") + 5], "line", 4), (binary()[:-14], "word", 4)):
        found, table = read(tmp_path / "v", data)
        assert found.names == NAMES[:kept] and len(table) == kept and found.read == 5 and found.bad == 5 - kept
        assert found.lines[-1][unit] in (5, 6) and found.lines[-1]["reason"].startswith(
            ("the file ends here; its head says 5", "0 numbers", "1 numbers", "2 numbers")
        )
    many = text(False, [f"w{i}" for i in range(5000)], np.random.default_rng(1).normal(size=(5000, 9)))
    packed = gzip.compress(many)
    found, table = read(tmp_path / "v.gz", packed[: len(packed) * 9 // 10], most=5000)
    assert "the compressed file is damaged here" in found.lines[-1]["reason"] and 3000 < len(table) < 5000
    small = gzip.compress(text(False, [f"w{i}" for i in range(300)], np.random.default_rng(1).normal(size=(300, 9))))
    found, table = read(tmp_path / "v.gz", small[: len(small) // 2])  # damaged within what tells its kind
    assert found.bad == 1 and found.names == [f"w{i}" for i in range(len(table))] and 50 < len(table) < 200


def test_too_many_bad_lines(tmp_path: Path) -> None:
    data = b"\n".join([*GOOD, b"rain 1 2", b"snow 1 2"]) + b"\n"
    with pytest.raises(
        JaxtagError, match="2 of 10 lines are bad, more than --max-bad 0.1.* v.txt line 9: 2 numbers wh"
    ):
        read(tmp_path / "v.txt", data, max_bad=0.1)
    read(tmp_path / "v.txt", data, max_bad=0.2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00nonsense", "is damaged"),
        (
            b"A page about vectors.\nNothing else.\n",
            "is no file of word vectors: its first line is 'A page about vectors.'",
        ),
        (b"10 999999999\nrain 1 2\n", "announces vectors of 999999999 numbers"),
        (struct.pack("<2i", 793712314, 12), "is truncated"),
        (struct.pack("<2i", 793712314, 11) + bytes(200), "is version 11"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(JaxtagError, match=message):
        read(tmp_path / "v", data)
    with pytest.raises(JaxtagError, match="no file"):
        vector_files.read(tmp_path / "none", tmp_path, set(), 10, 0.1)


def test_only_so_many_words_are_kept(tmp_path: Path) -> None:
    found, table = read(tmp_path / "v", text(True), most=2, needed=("wind",))
    assert found.names == ["rain", "snow", "wind"] and found.read == 5
    np.testing.assert_array_equal(table, ROWS[[0, 1, 4]])


def fasttext(path: Path) -> Any:
    """A small fastText model as gensim trains and writes it."""
    from gensim.models import FastText
    from gensim.models.fasttext import save_facebook_model

    texts = [["rain", "snow", "été"], ["wind", "rain", word(5)], ["snow", word(6), "rain"]] * 3
    model = FastText(texts, vector_size=4, min_count=1, bucket=60, epochs=1, workers=1, seed=1)
    save_facebook_model(model, str(path))
    return model.wv


@pytest.mark.parametrize("packed", [False, True])
def test_fasttext(tmp_path: Path, packed: bool) -> None:
    vectors = fasttext(tmp_path / "m.bin")
    data = (tmp_path / "m.bin").read_bytes()
    found, table = read(tmp_path / "v", gzip.compress(data) if packed else data)
    assert found.names == vectors.index_to_key and found.kind == "fastText binary"
    np.testing.assert_allclose(table, vectors.vectors, atol=1e-6)
    assert found.subwords is not None and not (tmp_path / "unpacked").exists()
    for cut in (9, 100, 200, len(data) // 2):
        with pytest.raises(JaxtagError, match="is truncated"):
            read(tmp_path / "cut", data[:cut])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make(tmp_path / "toy", posts=60)


def test_a_pretrained_table_of_a_split(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["tag0", "#tag1", *(word(2 + i) for i in range(0, WORDS, 2)), "tag", "other"]
    rows = np.random.default_rng(2).normal(size=(len(names), 3)).astype(np.float32)
    (tmp_path / "v.txt").write_bytes(text(True, names, rows))
    assert main(["vectors", "--data", str(data), "--file", str(tmp_path / "v.txt"), "--name", "mine", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["setting"] == "pretrained" and said["file"]["name"] == "v.txt" and said["words_without"] == WORDS // 2
    split = open_dataset(data).split()
    np.testing.assert_array_equal(split.vectors("mine")[::2], rows[2:-2])
    assert said["hashtags"] == {"own": 1, "word": 1, "segmentation": 10, "subwords": 0, "none": 0}
    np.testing.assert_array_equal(split.hashtag_vectors("mine")[[0, 1, 2]], rows[[0, 1, -2]])
    table = open_table(split.vectors_path("mine"))
    np.testing.assert_array_equal(vectors_of(["other"], table).vectors[0], rows[-1])  # a hashtag named only now


def test_fasttext_of_a_split(data: Path, tmp_path: Path) -> None:
    vectors = fasttext(tmp_path / "m.bin")
    info = word_vectors.load(data, "", tmp_path / "m.bin")
    split, dataset = open_dataset(data).split(), open_dataset(data)
    assert info["hashtags"]["subwords"] == len(split.named) and info["words_by_subwords"] == WORDS - 2
    for row, i in zip(split.vectors("pretrained"), split.words):
        np.testing.assert_allclose(row, vectors[dataset.words.entries[i]], atol=1e-6)
    table = open_table(split.vectors_path("pretrained"))
    np.testing.assert_allclose(vectors_of(["neverseen"], table).vectors[0], vectors["neverseen"], atol=1e-6)


def test_options_that_do_not_go_together(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (["--file", "x", "--dim", "5"], "--dim is of training, and --file gives trained vectors"),
        (["--most-words", "5"], "--most-words needs --file"),
        (["--file", "none"], "no file none"),
        (["--file", "none", "--max-bad", "2"], "--max-bad 2.0 is not between 0 and 1"),
        (["--file", "none", "--most-words", "0"], "--most-words 0 is below 1"),
    ):
        assert main(["vectors", "--data", str(data), *options]) == 2
        assert message in capsys.readouterr().err
    assert not list((data / "splits" / "default" / "vectors").glob("*"))
