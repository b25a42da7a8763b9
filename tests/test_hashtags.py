"""Vectors of hashtags: the order of ways, segmentation, fastText's subwords, the same bits in any block."""

import numpy as np
import pytest

from jaxtag.data import hashtags
from jaxtag.data.hashtags import HOW, Subwords, WordTable, means, pieces, segment, vectors_of

NAMES = ("#rain", "rain", "snow", "storm", "16", "white", "a", "b", "выборы")


@pytest.fixture
def table() -> WordTable:
    return WordTable(NAMES, np.random.default_rng(0).normal(size=(len(NAMES), 3)).astype(np.float32))


@pytest.mark.parametrize(
    ("hashtag", "how", "parts"),
    [
        ("rain", "own", ["#rain"]),
        ("snow", "word", ["snow"]),
        ("whitesnow", "segmentation", ["white", "snow"]),
        ("snow_storm", "segmentation", ["snow", "storm"]),
        ("whitesnow16", "segmentation", ["white", "snow", "16"]),
        ("выборы16", "segmentation", ["выборы", "16"]),
        ("whitechristmaslights", "none", []),  # less than half of it has vectors
        ("bq", "none", []),  # a letter that was left over is no word
        ("16_16", "none", []),  # numbers alone say nothing
        ("выбор", "none", []),
        ("___", "none", []),
        ("rain" * 100, "none", []),  # too long to segment
    ],
)
def test_the_order_of_ways(table: WordTable, hashtag: str, how: str, parts: list[str]) -> None:
    found = vectors_of([hashtag], table)
    assert HOW[found.how[0]] == how and list(found.parts[0]) == parts
    expected = np.mean([table.rows[NAMES.index(part)] for part in parts], axis=0) if parts else np.zeros(3)
    np.testing.assert_allclose(found.vectors[0], expected, atol=1e-6)
    assert found.counts()[how] == 1


def test_segmentation() -> None:
    assert segment("notmypresidentsday") == ("not", "my", "presidents", "day")
    assert segment("100days") == ("100", "days") and pieces("vote_now2016") == ["vote", "now", "2016"]
    assert segment("सूर्यास्त") == ("सूर्यास्त",)  # with its vowel signs
    assert segment("") == () and segment("_") == ()


def test_blocks_change_no_bit(table: WordTable, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["whitesnow16", "rain", "none such", "stormwhitesnow", "snow"] * 7
    table = WordTable(table.names, table.rows, subwords())
    whole = vectors_of(names, table)
    monkeypatch.setattr(hashtags, "BLOCK", 4)
    told: list[int] = []
    small = vectors_of(names, table, told.append)
    assert whole.vectors.tobytes() == small.vectors.tobytes() and whole.parts == small.parts
    assert (whole.how == small.how).all() and told == [*range(4, 35, 4), 35]
    assert vectors_of([], table).vectors.shape == (0, 3)


def subwords() -> Subwords:
    return Subwords(np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32), 2, 3)


def test_subwords_come_last(table: WordTable) -> None:
    known = WordTable(table.names, table.rows, subwords())
    found = vectors_of(["rain", "qwv"], known)
    assert [HOW[how] for how in found.how] == ["own", "subwords"]
    grams = ["<q", "qw", "wv", "v>", "<qw", "qwv", "wv>"]
    rows = [fnv(gram) % 50 for gram in grams]
    np.testing.assert_allclose(found.vectors[1], subwords().rows[rows].mean(0), rtol=1e-5)
    long = WordTable(table.names, table.rows, Subwords(subwords().rows, 6, 6))
    assert HOW[vectors_of(["qwv"], long).how[0]] == "none"  # no n-gram of six characters


def fnv(text: str) -> int:
    """fastText's hash: FNV-1a of the bytes, each taken as a signed one."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return value


def test_means() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = means(rows, [[], [1], [0, 1, 1], []])
    np.testing.assert_array_equal(found, [[0, 0, 0], rows[1], (rows[0] + rows[1] + rows[1]) / 3, [0, 0, 0]])
    assert means(rows, []).shape == (0, 3) and means(rows, [[]]).shape == (1, 3)
