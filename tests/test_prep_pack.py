"""Packing against brute force: order, counts, histories, and the records that it reads."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtag_prep import flat as flats
from jaxtag_prep import pack, records
from jaxtag_prep.encoding import Encoded, Encoder
from jaxtag_prep.flat import flatten
from jaxtag_prep.records import KEPT, Record
from jaxtag_prep.source import Post

from jaxtag.data.columns import Ragged, ragged
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError


def record(ordinal: int, words: str = "", hashtags: str = "", author: str = "", time: int = 0) -> Record:
    tags = [tag.encode() for tag in hashtags.split()]
    text = f"raw {words}".encode()
    return Record(ordinal, b"", author.encode(), time, b"", text, words.encode(), tags, len(words.split()), ordinal)


POSTS = st.lists(
    st.builds(
        record,
        ordinal=st.just(0),
        words=st.lists(st.sampled_from("abcd!"), max_size=3).map(" ".join),
        hashtags=st.lists(st.sampled_from("xyz"), max_size=3, unique=True).map(" ".join),
        author=st.sampled_from(["", "ann", "bob", "cy"]),
        time=st.integers(0, 4),
    ),
    min_size=1,
    max_size=25,
)


def numbered(posts: list[Record], order: list[int]) -> list[Record]:
    return [Record(**{f: getattr(posts[i], f) for f in Record.__slots__} | {"ordinal": 10 * i}) for i in order]


@settings(deadline=None)
@given(POSTS, st.randoms(use_true_random=False))
def test_packed_is_brute_force(posts: list[Record], random: object) -> None:
    order = list(range(len(posts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = numbered(posts, order)
    flat = flatten([shuffled[:7], shuffled[7:]])
    left = np.array([random.random() < 0.8 for _ in posts])  # type: ignore[attr-defined]
    cleaning = Cleaning(stop_words=("a",), special_characters=False)
    packed = pack.pack(flat, left, cleaning, 3, ("author", "time"))

    kept = [post for post, stays in zip(numbered(posts, list(range(len(posts)))), left) if stays]
    said = [[w for w in p.words.decode().split() if w not in ("a", "!")] for p in kept]
    tags = [[t.decode() for t in p.hashtags] for p in kept]

    def counted(lists: list[list[str]]) -> list[tuple[str, int]]:
        return sorted(Counter(x for one in lists for x in one).items(), key=lambda item: (-item[1], item[0]))

    assert list(zip(packed.words.entries, packed.words.counts)) == [("<pad>", 0), ("<unknown>", 0), *counted(said)]
    assert list(zip(packed.hashtags.entries, packed.hashtags.counts)) == counted(tags)
    tokens, hashtags = packed.columns["tokens"], packed.columns["hashtags"]
    assert [[packed.words.entries[i] for i in tokens[r]] for r in range(len(kept))] == said
    assert [[packed.hashtags.entries[i] for i in hashtags[r]] for r in range(len(kept))] == tags
    assert [bytes(packed.text[r]) for r in range(len(kept))] == [p.text for p in kept]
    assert packed.columns["ordinal"].tolist() == [p.ordinal for p in kept]  # type: ignore[union-attr]
    names = packed.authors.entries
    author = np.asarray(packed.columns["author"])
    assert [names[a] if a else "" for a in author] == [p.author.decode() for p in kept]
    assert names[0] == "<unknown>" and sum(packed.authors.counts) == len(kept)
    assert packed.length.tolist() == [p.length for p in kept]

    for row, history in enumerate(np.asarray(packed.columns["history"]).tolist()):
        mine = [
            other
            for other in range(len(kept))
            if kept[other].author == kept[row].author != b"" and kept[other].time < kept[row].time
        ]
        mine.sort(key=lambda other: (-kept[other].time, -kept[other].ordinal))
        assert history == (mine[:3] + [-1, -1, -1])[:3]


def test_history_by_hand() -> None:
    author = np.array([1, 1, 2, 1, 1, 0, 0, 1])
    time = np.array([5, 5, 5, 9, 1, 1, 2, 9])
    assert pack.histories(author, time, 2).tolist() == [
        [4, -1], [4, -1], [-1, -1], [1, 0], [-1, -1], [-1, -1], [-1, -1], [1, 0],
    ]  # fmt: skip


def test_columns_that_the_source_lacks() -> None:
    flat, both = flatten([[record(0, "a"), record(1, "b")]]), np.ones(2, bool)
    assert set(pack.pack(flat, both, Cleaning(), 5, ()).columns) == {"ordinal", "tokens", "hashtags"}
    assert set(pack.pack(flat, both, Cleaning(), 5, ("author",)).columns) == {"ordinal", "tokens", "hashtags", "author"}
    assert "history" not in pack.pack(flat, both, Cleaning(), 5, ("time", "image")).columns


def test_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flats, "_ROWS", 2)
    lists = [[1, 2], [], [3], [4, 5, 6]]
    rows = [3, 0, 1, 3, 2]
    found = flats.take(ragged(lists), np.array(rows))
    assert [found[i].tolist() for i in range(5)] == [lists[r] for r in rows]


TEXT = "Caf\xe9 #One, it's @you https://t.co/x #two #one"


@pytest.mark.parametrize(("counted", "length"), [("source", 7), ("cleaned", 3)])
def test_record_of_a_post(counted: str, length: int) -> None:
    post = Post(3, "9", "ann", 60, "en", TEXT, None, -1)
    found = Encoder(Cleaning(stop_words=("it's",)), counted).record(post, Cleaner(), Encoded([]))
    assert found.words == "caf\xe9 , it's user".encode() and found.length == length
    assert found.hashtags == [b"one", b"two"] and found.text == TEXT.encode() and found.verdict == KEPT


def test_given_hashtags_come_first() -> None:
    post = Post(0, "", "", 0, "", "hi #two #three", ("#One", "world cup", "three", "!"), -1)
    found = Encoder(Cleaning(), "cleaned").record(post, Cleaner(), Encoded([]))
    assert found.hashtags == [b"one", b"worldcup", b"three", b"two"]


def test_records_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SHARD", 3)
    some = [record(i, f"w{i} \xe9", "x y", "ann", i) for i in range(7)]
    assert [records.parse(records.serialise(r)) for r in some] == some
    assert (
        records.write(tmp_path, [[records.serialise(r) for r in some[:5]], [records.serialise(r) for r in some[5:]]])
        == 7
    )
    records.write_metadata(tmp_path, {"a": 1})
    assert [r for batch in records.read(tmp_path) for r in batch] == some
    assert len(list(tmp_path.glob("*.array_record-*-of-00003"))) == 3
    with pytest.raises(JaxtagError, match="no description of records"):
        records.read_metadata(tmp_path / "none")


def test_tfds_reads_the_records_without_tensorflow(tmp_path: Path) -> None:
    records.write(tmp_path, [[records.serialise(record(i, "caf\xe9", "x y")) for i in range(3)]])
    records.write_metadata(tmp_path, {"a": 1})
    code = f"""
import sys, tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(tmp_path)!r})
rows = builder.as_data_source("posts")
assert len(rows) == 3 and builder.info.metadata == {{"a": 1}}, builder.info
assert rows[2]["ordinal"] == 2 and rows[2]["hashtags"] == [b"x", b"y"] and rows[2]["words"].decode() == "caf\\xe9"
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_damaged_records(tmp_path: Path) -> None:
    records.write(tmp_path, [[records.serialise(record(i, "word " * 200)) for i in range(50)]])
    (path,) = tmp_path.glob("*.array_record-*")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + b"\0\1\2\3" * 8 + whole[232:], b""):
        path.write_bytes(damaged)
        with pytest.raises(JaxtagError, match=f"{path.name} .*prepare the dataset again"):
            list(records.read(tmp_path))
    path.unlink()
    with pytest.raises(JaxtagError, match=f"{path.name} is missing"):
        list(records.read(tmp_path))


def test_ragged_values_stay_flat() -> None:
    flat = flatten([[record(i, "a b") for i in range(4)]])
    assert isinstance(flat.words, Ragged) and flat.words.values.dtype == np.int32 and len(flat.words.values) == 8
