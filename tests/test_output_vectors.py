"""word2vec's output vectors: gensim's own rows, hashtags' by the same words, sums, and what has none."""

import json
import shlex
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import vector_training, word_vectors
from jaxtag_prep.cli import main
from jaxtag_prep.vector_training import Tokens, Training

from jaxtag.data import hashtags
from jaxtag.data.dataset import Split, open_dataset
from jaxtag.data.hashtags import Subwords, WordTable, open_table, rows_of, unit, vectors_of
from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError

KINDS: Any = ("in", "out", "sum")
NEW = ["newhashtagofnoone", "100"]  # beside the split's, named only later


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("output") / "data"
    assert main(["simulate", "--out", str(out), "--posts", "800", "--workers", "1", "--min-hashtag-posts", "10"]) == 0
    return out


def make(data: Path, setting: Any = "inductive", name: str = "", **options: Any) -> Split:
    word_vectors.make(data, "", Training(setting, dim=4, epochs=2, **options), name=name)
    return open_dataset(data).split()


def older(split: Split, name: str) -> None:
    """Take the output vectors away, as if a version without them had made the folder."""
    folder = split.vectors_path(name)
    info = json.loads((folder / "vectors.json").read_text())
    for file in ("output.npy", "hashtags_output.npy"):
        (folder / file).unlink()
        del info["files"][file]
    del info["output"]
    (folder / "vectors.json").write_text(json.dumps(info))


@pytest.mark.parametrize("model", ["skipgram", "cbow", "fasttext"])
def test_rows_are_those_of_gensim(data: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gensim.models import FastText, Word2Vec

    monkeypatch.setitem(vector_training.SUBWORDS, "bucket", 500)
    split = make(data, name="gensim", model=model)
    dataset = open_dataset(data)
    texts = list(Tokens(dataset, word_vectors.inductive_rows(dataset, split)))
    sizes: dict[str, Any] = {"vector_size": 4, "window": 5, "epochs": 2, "min_count": 2, "negative": 5}
    seeds: dict[str, Any] = {"seed": 0, "workers": 1, "hashfxn": lambda word: zlib.crc32(word.encode())}
    if model == "fasttext":
        trained: Any = FastText(texts, sg=1, bucket=500, **sizes, **seeds)
    else:
        trained = Word2Vec(texts, sg=int(model == "skipgram"), **sizes, **seeds)
    table = open_table(split.vectors_path("gensim"))
    assert table.output is not None and np.ptp(table.output) > 0 and not np.array_equal(table.output, table.rows)
    assert list(table.names) == trained.wv.index_to_key
    np.testing.assert_array_equal(table.rows, trained.wv.vectors)
    np.testing.assert_array_equal(table.output, trained.syn1neg)
    found, has = rows_of(["no such word"], table)
    assert bool(has[0]) is (model == "fasttext")
    if model == "fasttext":  # a word that it has not seen is the mean of its n-grams
        np.testing.assert_allclose(found[0], trained.wv["no such word"], atol=1e-6)


@pytest.mark.parametrize("setting", ["inductive", "transductive"])
def test_hashtags_are_of_the_same_words_in_either_table(data: Path, setting: Any) -> None:
    split = make(data, setting)
    folder, table = split.vectors_path(setting), open_table(split.vectors_path(setting))
    assert table.output is not None
    given, out = split.hashtag_vectors(setting), split.hashtag_vectors(setting, "out")
    np.testing.assert_array_equal(given, split.hashtag_vectors(setting, "in"))
    hows = set()
    for row, line in zip(out, (folder / "hashtags.txt").read_text().splitlines(), strict=True):
        _, how, parts = line.split("\t")
        rows = [table.output[table.index[part]] for part in parts.split()] or [np.zeros(4)]
        np.testing.assert_allclose(row, np.mean(rows, axis=0), atol=1e-6)
        hows.add(how)
    assert hows & {"own", "word", "segmentation"}
    both = given.astype(np.float64), out.astype(np.float64)
    total = sum(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30) for rows in both)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    found = split.hashtag_vectors(setting, "sum")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1, keepdims=True), length > 0, atol=1e-6)
    # Two unit vectors in float32, of which a sum that nearly cancels keeps the rounding: as it was before its own unit.
    np.testing.assert_allclose(found * length, total, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_hashtags_named_later_get_the_same_bits(data: Path, kind: Any) -> None:
    dataset, split = open_dataset(data), make(data, "transductive")
    table = open_table(split.vectors_path("transductive"), kind)
    names = [dataset.hashtags.entries[h] for h in split.named]
    found = vectors_of([*NEW, *names], table).vectors[len(NEW) :]
    assert found.tobytes() == split.hashtag_vectors("transductive", kind).tobytes()


def test_kinds_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[3, 4], [0, 2], [1, 0]], np.float32)
    output = np.array([[0, 5], [8, 0], [0, 0]], np.float32)
    table = WordTable(("#rain", "white", "snow"), rows, output=output)
    names = ["rain", "whitesnow", "none such", "snow"]
    expected = {
        "in": [[3, 4], [0.5, 1], [0, 0], [1, 0]],
        "out": [[0, 5], [4, 0], [0, 0], [0, 0]],
        "sum": [[0.6, 1.8], [0.2**0.5 + 1, 0.8**0.5], [0, 0], [1, 0]],  # before it is made length one
    }
    expected["sum"] = (np.array(expected["sum"]) / [[3.6**0.5], [(2 + 2 * 0.2**0.5) ** 0.5], [1], [1]]).tolist()
    for kind in KINDS:
        whole = vectors_of(names, replace(table, kind=kind))
        np.testing.assert_allclose(whole.vectors, expected[kind], atol=1e-6)
        assert whole.how.tolist() == [0, 2, 4, 1]
        with monkeypatch.context() as patch:
            patch.setattr(hashtags, "BLOCK", 1)
            assert vectors_of(names, replace(table, kind=kind)).vectors.tobytes() == whole.vectors.tobytes()


def test_length_one_is_the_same_bits_beside_any_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 150)).astype(np.float32)
    rows[7] = 0
    whole = unit(rows)
    np.testing.assert_allclose(np.linalg.norm(whole.astype(np.float64), axis=1), np.arange(300) != 7, atol=1e-6)
    assert whole.dtype == np.float32 and np.concatenate([unit(row[None]) for row in rows]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_of_the_dataset_that_was_trained_on_has_a_vector(data: Path, kind: Any) -> None:
    dataset, split = open_dataset(data), make(data)
    table = open_table(split.vectors_path("inductive"))
    assert table.output is not None
    rows, has = split.word_vectors("inductive", kind)
    assert rows.shape == (len(dataset.words), 4) and rows.dtype == np.float32 and not has[:FIRST_WORD].any()
    tokens, trained = dataset.column("tokens"), word_vectors.inductive_rows(dataset, split)
    seen = np.bincount(np.concatenate([tokens[row] for row in trained]), minlength=len(dataset.words))
    assert has.tolist() == (seen >= 2).tolist()  # --min-count, in texts of no test
    assert (np.bincount(tokens.values, minlength=len(has))[~has] >= 2).any()  # a word of test posts alone has none
    for word in range(len(dataset.words)):
        place = table.index[dataset.words.entries[word]] if has[word] else 0
        both = {"in": table.rows[[place]], "out": table.output[[place]]}
        both["sum"] = unit(unit(both["in"]) + unit(both["out"]))
        np.testing.assert_array_equal(rows[word], both[kind][0] * has[word])
    if kind == "in":
        np.testing.assert_array_equal(rows[split.words], split.vectors("inductive"))


def test_a_word_that_the_split_does_not_count_has_a_vector(data: Path) -> None:
    """One of posts that are no examples: such words are what the whole dataset's vectors are for."""
    split = make(data, "transductive")
    _, has = split.word_vectors("transductive")
    assert set(split.words.tolist()) < set(np.flatnonzero(has).tolist())


def test_words_by_subwords() -> None:
    subwords = Subwords(np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32), 3, 4)
    table = WordTable(("rain",), np.ones((1, 2), np.float32), subwords)
    rows, has = rows_of(["snow", "rain", ""], table)
    assert has.tolist() == [True, True, bool(subwords.buckets(""))] and (rows[1] == 1).all()
    np.testing.assert_allclose(rows[0], subwords.rows[subwords.buckets("snow")].mean(0), atol=1e-6)


def test_an_older_folder_reads_and_the_command_that_is_named_mends_it(data: Path) -> None:
    split = make(data, name="old", window=3, seed=2)
    kept = {kind: split.hashtag_vectors("old", kind) for kind in KINDS}
    files = {path.name: path.read_bytes() for path in split.vectors_path("old").iterdir()}
    older(split, "old")
    np.testing.assert_array_equal(split.hashtag_vectors("old"), kept["in"])
    assert open_table(split.vectors_path("old")).output is None and split.word_vectors("old")[1].any()
    for kind in ("out", "sum"):
        for read in (split.hashtag_vectors, split.word_vectors, lambda n, k: open_table(split.vectors_path(n), k)):
            with pytest.raises(JaxtagError, match="has no output vectors: an older version made it") as error:
                read("old", kind)
    command = shlex.split(str(error.value).partition("jaxtag-prep ")[2])
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in split.vectors_path("old").iterdir()} == files
    for kind in KINDS:
        np.testing.assert_array_equal(split.hashtag_vectors("old", kind), kept[kind])


def test_output_vectors_of_a_file_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("".join(f"w{i} {i} 2 3\n" for i in range(8)))
    assert word_vectors.load(data, "", tmp_path / "v.txt", name="given")["output"] is False
    split = open_dataset(data).split()
    with pytest.raises(JaxtagError, match="a file gives input vectors alone.*train some: jaxtag-prep vectors") as error:
        split.hashtag_vectors("given", "sum")
    assert "\n" not in str(error.value) and len(split.hashtag_vectors("given")) == len(split.named)
    with pytest.raises(JaxtagError, match=r"no kind 'summ' of word vectors.*'sum'"):
        split.hashtag_vectors("given", "summ")  # type: ignore[arg-type]


def test_a_split_does_not_take_over_vectors_that_lack_output_ones(data: Path) -> None:
    split = make(data, "transductive", "first")
    make(data, "transductive", "second")
    older(split, "first")
    older(split, "second")
    make(data, "transductive", "third")
    assert len(split.hashtag_vectors("third", "out")) == len(split.named)
