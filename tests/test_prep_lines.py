"""Text and JSON values out of any file: packed, cut off, damaged, laid out in any way."""

import bz2
import gzip
import json
import lzma
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtag_prep import archives, json_values, tables
from jaxtag_prep.archives import Text
from jaxtag_prep.lines import LONGEST_ROW, Bad

from jaxtag.errors import JaxtagError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "bz2": lambda data: bz2.compress(data, 1),  # small blocks, which are lost whole
}


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def found(path: Path, wrappers: tuple[str, ...] = (), most: float = 100) -> tuple[list[Any], list[Bad]]:
    """The values and the bad rows."""
    text = Text(path, "utf-8", most)
    everything = list(json_values.values(text, wrappers))
    text.close()
    return [item[1] for item in everything if isinstance(item, tuple)], [b for b in everything if isinstance(b, Bad)]


def lines_of(count: int) -> list[str]:
    rng = random.Random(0)
    return [json.dumps({"text": f"{i} {rng.random()}"}) for i in range(count)]


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_packing_is_told_by_the_bytes(tmp_path: Path, kind: str, name: str) -> None:
    data = b'{"a": 1}\n{"a": 2}\n'
    assert found(file(tmp_path, name, PACKERS[kind](data))) == ([{"a": 1}, {"a": 2}], [])
    assert found(file(tmp_path, name, data)) == ([{"a": 1}, {"a": 2}], [])


@pytest.mark.parametrize("kind", PACKERS)
def test_archives_end_to_end_are_one(tmp_path: Path, kind: str) -> None:
    parts = [PACKERS[kind](f'{{"a": {i}}}\n'.encode()) for i in range(3)]
    assert found(file(tmp_path, "a", b"".join(parts))) == ([{"a": 0}, {"a": 1}, {"a": 2}], [])


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("layout", ["lines", "array", "csv"])
def test_a_truncated_archive_keeps_what_came_before(tmp_path: Path, kind: str, layout: str) -> None:
    lines = lines_of(10_000)
    text = "[" + ",".join(lines) + "]" if layout == "array" else "\n".join(lines)
    if layout == "csv":
        text = "text,n\n" + "".join(f"{json.loads(line)['text']},x\n" for line in lines)
    data = PACKERS[kind](text.encode())
    path = file(tmp_path, "a.csv" if layout == "csv" else "a.json", data[: len(data) * 3 // 4])
    chunks = list(tables.read(path, ["text"]))
    rows, bad = [row for c in chunks for row in c.rows], [b for c in chunks for b in c.bad]
    assert 3_000 < len(rows) < 10_000 and len(bad) == 1
    assert [values[0] for _, values in rows] == [json.loads(line)["text"] for line in lines[: len(rows)]]
    assert "the archive is truncated or damaged here" in bad[0].reason
    assert bad[0].place == {"array": 1, "lines": len(rows) + 1, "csv": len(rows) + 2}[layout]


@pytest.mark.parametrize("kind", PACKERS)
def test_a_damaged_archive_keeps_what_came_before(tmp_path: Path, kind: str) -> None:
    data = bytearray(PACKERS[kind]("\n".join(lines_of(60_000 if kind == "zst" else 20_000)).encode()))
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 64] = bytes(64)
    values, bad = found(file(tmp_path, "a.jsonl", bytes(data)))
    assert values[:10] == [json.loads(line) for line in lines_of(10)] and len(values) > 10_000
    assert any("the archive is truncated or damaged" in row.reason for row in bad)


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("filling", [b"\0", b"x", b'{"text": "x"}\n'])
def test_a_bomb_goes_off_within_bounds(
    tmp_path: Path, kind: str, filling: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_EXPANDED", 1 << 14)
    packed = PACKERS[kind](b'{"text": "before"}\n' + filling * ((1 << 21) // len(filling)))
    path = file(tmp_path, "a.jsonl", packed)
    allowed = max(1 << 14, 10 * len(packed))
    assert allowed < 1 << 18
    values, bad = found(path, most=10)
    assert values[0] == {"text": "before"} and len(values) <= allowed // 14
    assert [row.reason for row in bad] == [
        "the archive unpacks to more than 10 times its size here (--max-expanded allows more)"
    ]


def test_a_dictionary_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMORY", 1 << 20)
    values, bad = found(file(tmp_path, "a.xz", lzma.compress(b'{"a": 1}\n', preset=9)))
    assert values == [] and len(bad) == 1 and "Memory usage limit" in bad[0].reason


def test_archives_of_several_files_are_refused(tmp_path: Path) -> None:
    member = file(tmp_path, "a.jsonl", '{"text": "a"}\n')
    for kind in ("tar", "gztar", "xztar", "zip"):
        packed = shutil.make_archive(str(tmp_path / kind), kind, tmp_path, member.name)
        with pytest.raises(JaxtagError, match=r"is a (tar|zip) archive; unpack it first"):
            found(Path(packed))


def test_rows_of_endless_lines_are_bounded(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "text\ngood\n" + '"\n",' * 600_000 + "\n")
    chunk = next(tables.read(path, ["text"]))
    assert [values for _, values in chunk.rows[:1]] == [["good"]]
    assert any(f"longer than {LONGEST_ROW}" in row.reason for row in chunk.bad)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=6)
LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "lines": lambda rows: "\n".join(map(json.dumps, rows)),
    "lines of characters": lambda rows: "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n\r\n",
    "documents": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows) + "\n",
    "joined": lambda rows: "".join(map(json.dumps, rows)),
    "array": json.dumps,
    "pretty array": lambda rows: json.dumps(rows, indent=2) + "\n",
    "array of lines": lambda rows: "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n",
    "two arrays": lambda rows: json.dumps(rows[:1]) + "\n" + json.dumps(rows[1:]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 17, 1 << 20])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=OBJECTS)
def test_every_layout_gives_the_same_values(tmp_path: Path, layout: str, size: int, rows: list[Any]) -> None:
    path = file(tmp_path, "a.json", LAYOUTS[layout](rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "CHUNK", size)  # a window that every value straddles
        assert found(path) == (rows, [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_are_lines(tmp_path: Path, layout: str) -> None:
    rows = [{"number": i, "of": [{"number": -1}]} for i in range(5)]
    written = LAYOUTS[layout](rows)
    text = Text(file(tmp_path, "a.json", written))
    for place, value in json_values.values(text):  # type: ignore[misc]
        at = written.index(f'"number": {value["number"]}')
        assert place == written.count("\n", 0, written.rindex("{", 0, at)) + 1
    text.close()


BREAKS = {
    "a missing colon": lambda value: value.replace(":", " ", 1),
    "a bare word": lambda value: value.replace('"x', "x", 1),
    "a stray comma": lambda value: value.replace("{", "{,", 1),
    "a closing quote lost": lambda value: value.replace('4"', "4", 1),
    "a bad escape": lambda value: value.replace('"x', '"\\q', 1),
    "an end lost": lambda value: value[:-1],
}


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
@pytest.mark.parametrize("mistake", BREAKS)
@pytest.mark.parametrize("layout", ["lines", "array", "pretty array", "documents", "array of lines"])
def test_one_broken_value_is_one_bad_row(
    tmp_path: Path, layout: str, mistake: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"x{i}", "of": [{"text": "y"}], "n": i} for i in range(9)]
    indent = {"pretty array": 2, "documents": 1}.get(layout)
    whole = LAYOUTS[layout](rows)
    parts = [json.dumps(row, indent=indent) for row in rows]
    if layout == "pretty array":
        parts = [part.replace("\n", "\n  ") for part in parts]
    assert whole.count(parts[4]) == 1
    broken = whole.replace(parts[4], BREAKS[mistake](parts[4]))
    monkeypatch.setattr(json_values, "CHUNK", size)
    values, bad = found(file(tmp_path, "a.json", broken))
    assert values == rows[:4] + rows[5:]
    place = whole.count("\n", 0, whole.index("x4")) + 1 - bool(indent)
    assert [row.place for row in bad] == [place]
    assert bad[0].reason.startswith("not JSON: ") and bad[0].start.startswith("{")


def test_bad_values_of_every_kind(tmp_path: Path) -> None:
    lines = [
        '{"a": 1}', "\ufeff", "hello", "hello [1", '{"a": ' + "9" * 5000 + "}", '{"a": NaN}', '{"a": ' + "[" * 3000,
        "}", "]", '{"a": "' + "\\ud83d" + '"}', '{"a": "\x00"}', "[[1, 2], 3]", "17", "null", '"text"', '{"a": 2}', "{",
    ]  # fmt: skip
    data = "\n".join(lines).encode() + b'\n{"a": "\xe9"}\n{"a": 3}\n{"a": "cut'
    values, bad = found(file(tmp_path, "a.json", data))
    assert [row.place for row in bad] == [3, 4, 7, 8, 9, 11, 17, 18, 20]
    assert bad[-2].reason == "not utf-8" and "deeply" in bad[2].reason
    assert values[:2] == [{"a": 1}, {"a": float("inf")}] and values[3:5] == [{"a": "\ud83d"}, [[1, 2], 3]]
    assert values[5:] == [17, None, "text", {"a": 2}, {"a": 3}]


def test_a_value_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "LONGEST_VALUE", 5000)
    monkeypatch.setattr(json_values, "CHUNK", 1000)
    long = '{"a": "' + "x" * 100_000 + '"}'
    for layout in ("\n", "[,]"):
        start, comma, end = layout if len(layout) == 3 else ("", "\n", "")
        path = file(tmp_path, "a.json", start + comma.join(['{"a": 1}', long, '{"a": 2}', '{"a": 3}']) + end)
        values, bad = found(path)
        assert values == [{"a": 1}, {"a": 2}, {"a": 3}] and [row.place for row in bad] == [1 + (layout == "\n")]
        assert "a value longer than" in bad[0].reason
    endless = file(tmp_path, "b.json", '{"a": 1}\n{"a": "' + "x" * 100_000)
    assert found(endless)[0] == [{"a": 1}] and len(found(endless)[1]) == 1


def test_an_object_too_long_to_hold_gives_its_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"x{i}", "data": [i]} for i in range(500)]
    monkeypatch.setattr(json_values, "LONGEST_VALUE", 5000)
    monkeypatch.setattr(json_values, "CHUNK", 1000)
    whole = {"about": {"data": [1, "}"]}, "statuses": rows, "after": {"x": ["]"]}}
    for indent in (None, 1):
        path = file(tmp_path, "a.json", json.dumps(whole, indent=indent) + '\n{"last": 1}\n')
        assert found(path, ("statuses", "data")) == ([*rows, {"last": 1}], [])
    assert found(path)[0][-1] == {"last": 1} and "longer than" in found(path)[1][0].reason


def test_an_array_without_end(tmp_path: Path) -> None:
    values, bad = found(file(tmp_path, "a.json", '\n[{"a": 1},\n{"a": 2},\n'))
    assert values == [{"a": 1}, {"a": 2}] and [row.reason for row in bad] == [
        "the array that begins on line 2 has no end"
    ]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=OBJECTS,
    layout=st.sampled_from(sorted(LAYOUTS)),
    packer=st.sampled_from(["", *sorted(PACKERS)]),
    hits=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([b"", b"\xff", b'"', b"{", b"]", b"\n", b"\\", b"\0"])),
        max_size=3,
    ),
    cut=st.integers(0, 10**6),
    size=st.sampled_from([1, 17, 1 << 20]),
)  # fmt: skip
def test_anything_is_read_or_refused(
    tmp_path: Path, rows: list[Any], layout: str, packer: str, hits: list[tuple[int, bytes]], cut: int, size: int
) -> None:
    data = LAYOUTS[layout](rows).encode("utf-8", "surrogatepass")
    for at, what in hits:
        data = data[: at % (len(data) + 1)] + what + data[at % (len(data) + 1) + 1 :]
    data = PACKERS[packer](data) if packer else data
    path = file(tmp_path, "a.json", data[: cut % (len(data) + 1) or len(data)] + (b"" if cut % 3 else data[-3:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "CHUNK", size)
        try:
            values, bad = found(path)
        except JaxtagError as error:
            assert str(path) in str(error)
        else:
            assert len(values) + len(bad) <= 3 * len(data) + 3
            assert all(row.reason and row.place >= 1 for row in bad)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), name=st.sampled_from(["a.csv", "a.tsv", "a.json", "a.csv.gz", "a.jsonl.xz"]),
       encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-32", "shift_jis", "ascii", "utf-7"]))  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, name: str, encoding: str) -> None:
    path = file(tmp_path, name, b"text\n" + data if "csv" in name else data)
    try:
        for chunk in tables.read(path, ["text"], encoding):
            assert all(row.reason for row in chunk.bad)
    except JaxtagError as error:
        assert "a." in str(error)


def test_a_codec_that_is_not_of_characters_is_refused(tmp_path: Path) -> None:
    for encoding in ("base64", "zlib", "rot13", "klingon"):
        with pytest.raises(JaxtagError, match=f"no encoding '{encoding}' is known"):
            list(tables.read(file(tmp_path, "a.csv", "text\nx\n"), ["text"], encoding))
