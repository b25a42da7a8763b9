"""Raw posts from files: times, formats, columns, and every kind of bad input."""

import contextlib
import datetime as dt
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtag_prep import tables, times
from jaxtag_prep.posts import Mapping, read
from jaxtag_prep.source import Chunk, Post

from jaxtag.data.text import normal_hashtag
from jaxtag.errors import JaxtagError

NOON = 1507924680  # 2017-10-13 19:58 UTC
MAPPING = Mapping("text", author="who", time="when", language="lang", id="id")


TEXT = Mapping("text")


def everything(paths: list[Path] | Path, mapping: Mapping = TEXT) -> Chunk:
    chunks = list(read(paths if isinstance(paths, list) else [paths], mapping))
    whole = Chunk(done=chunks[-1].done)
    for chunk in chunks:
        whole.posts += chunk.posts
        whole.bad += chunk.bad
        whole.read += chunk.read
        whole.notes.update(chunk.notes)
    return whole


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "value",
    [
        NOON, float(NOON), str(NOON), f"{NOON}.5", NOON * 1000, f"{NOON * 1000 + 999}", NOON * 1_000_000,
        "2017-10-13T19:58:00", "2017-10-13 19:58", "2017-10-13T19:58:00Z", "2017-10-13T21:58:00+02:00",
        "20171013T195800",
        "10/13/2017 19:58", "10/13/2017 07:58 PM", "10/13/2017 7:58:00 pm", "Fri Oct 13 19:58:00 +0000 2017",
        dt.datetime(2017, 10, 13, 19, 58), dt.datetime(2017, 10, 13, 19, 58, tzinfo=dt.UTC),
    ],
)  # fmt: skip
def test_times(value: object) -> None:
    assert times.seconds(value) == NOON


def test_days() -> None:
    day = NOON // 86400 * 86400
    assert [times.seconds(v) for v in ("10/13/2017", "2017-10-13", dt.date(2017, 10, 13))] == [day] * 3
    assert times.seconds(0) == 0


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", "13/13/2017", "10/13/2017 13:00 PM", -1, "1e99", float("nan"), float("inf"), 10**30, "9" * 20,
     True, [], {}, "2150-01-01", "0001-01-01", "10/13/2017 25:00"],
)  # fmt: skip
def test_times_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|hour|month|day"):
        times.seconds(value)


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none())
def test_any_time_is_read_or_refused(value: object) -> None:
    with contextlib.suppress(ValueError, OverflowError):
        assert 0 <= times.seconds(value) < times.LATEST


ROWS = [
    {"text": "one, #a", "who": "ann", "when": "2017-10-13 19:58", "lang": "en", "id": "7"},
    {"text": 'two\n"quoted"', "who": "bob  b", "when": "10/13/2017 19:59", "lang": "de", "id": "8"},
    {"text": "d\u00e9j\u00e0 vu \U0001f600", "who": "", "when": str(NOON), "lang": "", "id": ""},
]
POSTS = [
    Post(0, "7", "ann", NOON, "en", "one, #a", None, -1),
    Post(1, "8", "bob b", NOON + 60, "de", 'two\n"quoted"', None, -1),
    Post(2, "", "", NOON, "", "d\u00e9j\u00e0 vu \U0001f600", None, -1),
]


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    quoted = [['"' + str(v).replace('"', '""') + '"' for v in row.values()] for row in rows]
    return "\r\n".join(delimiter.join(line) for line in [list(rows[0]), *quoted]) + "\r\n"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
KINDS = ["csv", "csv.gz", "csv.xz", "csv.zst", "tsv", "tsv.zst", "jsonl", "jsonl.gz", "jsonl.xz", "jsonl.zst", "ndjson",
         "parquet", "bom.csv", "json", "array.json", "array.json.zst"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_formats_agree(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"posts.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        text = as_csv(ROWS, "\t" if "tsv" in kind else ",")
        if "json" in kind:
            text = json.dumps(ROWS) if "array" in kind else "".join(json.dumps(row) + "\n" for row in ROWS)
        data = (b"\xef\xbb\xbf" if kind == "bom.csv" else b"") + text.encode()
        path.write_bytes(PACKERS.get(kind.rpartition(".")[2], bytes)(data))
    found = everything(path, MAPPING)
    assert found.posts == POSTS and found.bad == [] and found.read == 3 and found.done == 1


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "typed.parquet"
    table = {
        "text": ["a", "b"],
        "when": pa.array([dt.datetime(2017, 10, 13, 19, 58)] * 2, pa.timestamp("us")),
        "tags": [["X y", "#z"], None],
        "who": [12, None],
        "n": [1.0, 2.5],
    }
    pq.write_table(pa.table(table), path)
    found = everything(path, Mapping("text", author="who", time="when", hashtags="tags", id="n")).posts
    assert [p.time for p in found] == [NOON, NOON]
    assert [p.hashtags for p in found] == [("X y", "#z"), ()]
    assert [p.author for p in found] == ["12", ""] and [p.id for p in found] == ["1", "2.5"]


def test_several_files_count_on(tmp_path: Path) -> None:
    paths = [file(tmp_path, "a.csv", "text\none\n\ntwo\n"), file(tmp_path, "b.jsonl", '{"text": "three"}\n')]
    assert [(p.ordinal, p.text) for p in everything(paths).posts] == [(0, "one"), (1, "two"), (2, "three")]


@pytest.mark.parametrize(("value", "marked"), [("R", {1}), ("", {1, 3, 4})])
def test_reposts_are_marked(tmp_path: Path, value: str, marked: set[int]) -> None:
    path = file(tmp_path, "a.csv", "text,type\na,\nb,R\nc,0\nd,true\ne,Q\nf,False\n")
    found = everything(path, Mapping("text", repost="type", repost_value=value))
    assert [p.ordinal for p in found.posts] == [*range(6)] and {p.ordinal for p in found.posts if p.repost} == marked


def test_languages_are_as_the_source_says(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "text,lang\na,en\nb, EN-gb\nc,\n")
    found = everything(path, Mapping("text", language="lang"))
    assert [p.language for p in found.posts] == ["en", "EN-gb", ""]


@pytest.mark.parametrize(
    ("cell", "hashtags"),
    [
        ("a,b", ("a", "b")),
        ("#a #b", ("#a", "#b")),
        ('["x y", "z"]', ("x y", "z")),
        ("['x', 'y']", ("x", "y")),
        ("", ()),
    ],
)
def test_given_hashtags(tmp_path: Path, cell: str, hashtags: tuple[str, ...]) -> None:
    path = file(tmp_path, "a.jsonl", json.dumps({"text": "t", "tags": cell}) + "\n")
    assert everything(path, Mapping("text", hashtags="tags")).posts[0].hashtags == hashtags


SUN, TOKYO, PEACE = "\u0441\u043e\u043b\u043d\u0446\u0435", "\u6771\u4eac", "\u05e9\u05dc\u05d5\u05dd"
LONG = "\u00fc" * 300


@pytest.mark.parametrize(
    "given",
    [
        ["#caf\u00e9", "caf\u00e9", SUN, "#" + TOKYO, PEACE, LONG, "#" + LONG],
        f"caf\u00e9;{SUN}|#{TOKYO},{PEACE},{LONG}",
        [{"text": "caf\u00e9"}, {"text": SUN}, TOKYO, "#" + PEACE, LONG, {}, None, ""],
    ],
)
def test_given_hashtags_of_any_script(tmp_path: Path, given: object) -> None:
    path = file(tmp_path, "a.jsonl", json.dumps({"text": "t", "tags": given}) + "\n")
    phrases = everything(path, Mapping("text", hashtags="tags")).posts[0].hashtags or ()
    found = list(dict.fromkeys(filter(None, map(normal_hashtag, phrases))))
    assert found[:4] == ["caf\u00e9", SUN, TOKYO, PEACE] and found[4:] in ([], [LONG])


def test_ids_as_numbers_and_strings(tmp_path: Path) -> None:
    rows = [{"text": "t", "id": i} for i in (1050118621198921728, "1050118621198921728", 2**63 - 1, None, 1.0)]
    rows += [{"text": "t", "id": i} for i in (1.05e18, 10**30, [1])]
    found = everything(file(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows))), Mapping("text", id="id"))
    assert [p.id for p in found.posts] == ["1050118621198921728"] * 2 + [str(2**63 - 1), "", "1"]
    assert reasons(found) == [(i, "an id that is a rounded number: keep ids as text") for i in (6, 7)] + [
        (8, "a list where text belongs")
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_characters_that_mean_trouble_are_kept(tmp_path: Path, kind: str) -> None:
    texts = ["zero \0 byte", "\u200fright \u202e to left", "\ufeffmark", "line\u2028separator", "\x1a\x7f"]
    path = tmp_path / f"a.{kind}"
    lines = [json.dumps({"text": t}) for t in texts] if kind == "jsonl" else ["text", *(f'"{t}"' for t in texts)]
    path.write_text("\n".join(lines) + "\n", newline="")
    found = everything(path)
    assert [p.text for p in found.posts] == texts and found.bad == []


def test_times_that_are_none_are_named(tmp_path: Path) -> None:
    times_given = [NOON, None, "", "soon", -5, 10**40, "2150-01-01", [], str(NOON), "0001-01-01T00:00:00+23:59", True]
    rows = [json.dumps({"text": f"t{i}", "when": when}) for i, when in enumerate(times_given)]
    found = everything(file(tmp_path, "a.jsonl", "\n".join(rows)), Mapping("text", time="when"))
    assert [p.text for p in found.posts] == ["t0", "t8"] and [b.place for b in found.bad] == [
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
        11,
    ]
    assert all("time" in bad.reason for bad in found.bad)


def test_two_encodings_in_one_file(tmp_path: Path) -> None:
    rows = [f"caf\xe9 {i}" for i in range(6)]
    for name, row in (("a.csv", "{}"), ("a.jsonl", '{{"text": "{}"}}')):
        lines = [row.format(text).encode("cp1252" if i in (2, 4) else "utf-8") for i, text in enumerate(rows)]
        head = [b"text"] if name == "a.csv" else []
        found = everything(file(tmp_path, name, b"\n".join(head + lines)))
        assert [p.text[-1] for p in found.posts] == ["0", "1", "3", "5"]
        assert reasons(found) == [(i + len(head), "not utf-8") for i in (3, 5)]


def test_a_truncated_archive_is_noted(tmp_path: Path) -> None:
    data = gzip.compress(b'{"text": "a"}\n' * 5000)[:-20]
    found = everything(file(tmp_path, "a.jsonl.gz", data))
    assert found.notes == {"archives read only in part": 1} and len(found.bad) == 1


def reasons(found: Chunk) -> list[tuple[int, str]]:
    return [(bad.place, bad.reason) for bad in found.bad]


def test_bad_json_lines(tmp_path: Path) -> None:
    lines = [
        '{"text": "good"}', '{"text": "cut', "[1]", '{"text": null}', '{"text": ["x"]}', '{"text": "\\ud800 lone"}',
        '{"text": 5, "n": NaN}', "", "[" * 5000, '{"text": "' + "x" * (tables.LONGEST + 1) + '"}', '{"text": "last"}',
    ]  # fmt: skip
    found = everything(file(tmp_path, "a.jsonl", "\n".join(lines).encode() + b'\n{"text": "\xff"}\n'))
    assert [p.text for p in found.posts] == ["good", "\ufffd lone", "5", "last"]
    assert [p.ordinal for p in found.posts] == [0, 5, 6, 9]
    assert sorted(place for place, _ in reasons(found)) == [2, 3, 4, 5, 9, 10, 12]
    said = dict(reasons(found))
    assert "not JSON" in said[2] and "a JSON list" in said[3] and said[4] == "the text is missing"
    assert "where text belongs" in said[5] and "longer than" in said[10] and said[12] == "not utf-8"


def test_bad_csv_rows(tmp_path: Path) -> None:
    good = "".join(f"good {i},x\n" for i in range(5))
    path = file(
        tmp_path,
        "a.csv",
        b"text,b\n"
        + good.encode()
        + b'a,b,c\n"stray,x\n'
        + good.encode()
        + b"\xff,x\n,x\n"
        + b"z" * 140_000
        + b",x\nend,x\n",
    )
    found = everything(path)
    assert [p.text for p in found.posts] == [f"good {i}" for i in range(5)] * 2 + ["end"]
    said = dict(reasons(found))
    assert (
        said[7] == "3 fields where the header has 2" and said[14] == "not utf-8" and said[15] == "the text is missing"
    )
    assert 8 in said and "larger than" in said[16] and len(said) == 5
    assert [p.ordinal for p in found.posts] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 15]


def test_truncated_archive_keeps_good_rows(tmp_path: Path) -> None:
    import random

    rng = random.Random(0)
    lines = [json.dumps({"text": f"{i} {rng.random()}"}) for i in range(3000)]
    data = gzip.compress("\n".join(lines).encode() + b"\n")
    found = everything(file(tmp_path, "a.jsonl.gz", data[: len(data) // 2]))
    assert 500 < len(found.posts) < 3000 and found.posts[3].text.startswith("3 ")
    assert len(found.bad) <= 2 and "archive is truncated" in found.bad[-1].reason


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.txt", "x", "cannot tell what kind of table a.txt is"),
        ("a.csv", "txt,b\n1,2\n", r"no column 'text' \(it has: txt, b\); did you mean 'txt'"),
        ("a.jsonl", '{"texte": 1}\n', r"no column 'text' \(it has: texte\)"),
        ("a.jsonl", '[{"texte": "a"}]', r"no column 'text' \(it has: texte\)"),
        ("a.csv", "text\nh\xe9\n".encode("utf-16"), "line 1: not utf-8.*--encoding utf-16"),
        ("a.csv", "t\xe9xt,text\nx,y\n".encode("latin-1"), "line 1: not utf-8.*--encoding cp1252"),
        ("a.csv.gz", "te\0xt\nx\n", r"is named .gz and is no such archive, nor text; unpack it first"),
        ("a.csv", b"PK\x03\x04 and so on", "is a zip archive; unpack it first"),
        ("a.parquet", "PAR1 no", "not a readable Parquet file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(JaxtagError, match=message) as caught:
        everything(file(tmp_path, name, content))
    assert "\n" not in str(caught.value)


def test_absent_files_and_encodings(tmp_path: Path) -> None:
    with pytest.raises(JaxtagError, match="no file"):
        everything(tmp_path / "none.csv")
    with pytest.raises(JaxtagError, match="is not a file"):
        everything(tmp_path)
    path = file(tmp_path, "a.csv", "text\nx\n")
    with pytest.raises(JaxtagError, match="no encoding 'klingon'"):
        everything(path, Mapping("text", encoding="klingon"))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = file(tmp_path, "a.csv", "text\ncaf\xe9\n".encode(encoding))
    assert everything(path, Mapping("text", encoding=encoding)).posts[0].text == "caf\xe9"


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    raw = pa.array([b"good", b"\xff"], pa.binary())
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": text}), path)
    found = everything(path)
    assert [p.text for p in found.posts] == ["good"] and reasons(found) == [(2, "not utf-8")]
