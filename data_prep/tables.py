"""Tables as files: CSV, Parquet and JSON, read in chunks of rows, in bounded memory, bad rows apart.

A chunk's rows are (place, values): the place is a line of a text file or a row of a Parquet file, from 1;
the values are those of the wanted columns, in the order wanted.
"""

import contextlib
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest

from .archives import MOST_EXPANDED, PACKED, Text
from .json_values import values
from .lines import LONGEST, Bad, Lines, LongRow, escaped

ROWS = 1000  # rows of a chunk
LONGEST_NAME = 100  # characters of a column's name that a message gives as it is
LOOKED_AT = 200  # objects of JSON in which a wanted key must occur at least once
_NAMED = 50  # columns that a message names
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(slots=True)
class Chunk:
    """Rows of one file in order, the bad ones apart, and how much of the file is behind them (0 to 1)."""

    rows: list[tuple[int, Sequence[Any]]] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    done: float = 0.0

    def __len__(self) -> int:
        return len(self.rows) + len(self.bad)


def read(
    path: Path, wanted: Sequence[str], encoding: str = "utf-8", most_expanded: float = MOST_EXPANDED
) -> Iterator[Chunk]:
    """The wanted columns of the table at `path`, chunk by chunk.

    Raises:
      JaxtagError: there is no such file, it is empty or of no known kind, a wanted column is not in it, or it is
        damaged so that nothing can be read from it.
    """
    present(path)
    packed = path.suffix.lower() in PACKED
    suffixes = path.suffixes[:-1] if packed else path.suffixes
    kind = _SUFFIXES.get(suffixes[-1].lower() if suffixes else "")
    if kind is None or (kind == "parquet" and packed):
        raise JaxtagError(
            f"cannot tell what kind of table {path.name} is",
            "name it .csv, .tsv, .jsonl, .json or .parquet (or .csv.gz …)",
        )
    if kind == "parquet":
        return _parquet(path, wanted)
    return _text(Text(path, encoding, most_expanded), wanted, _csv if kind == "csv" else _json)


def present(path: Path) -> None:
    """Check that `path` is a file with something in it.

    Raises:
      JaxtagError: it is not.
    """
    if not path.is_file():
        raise JaxtagError(f"no file {path}" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size == 0:
        raise JaxtagError(f"{path} is empty")


_Rows = Callable[[Text, Sequence[str]], Iterator[tuple[int, Sequence[Any]] | Bad]]


def _text(text: Text, wanted: Sequence[str], rows: _Rows) -> Iterator[Chunk]:
    with contextlib.closing(text):
        chunk = Chunk()
        for row in rows(text, wanted):
            if isinstance(row, Bad):
                chunk.bad.append(row)
            else:
                chunk.rows.append(row)
            if len(chunk) >= ROWS:
                chunk.done = text.done
                yield chunk
                chunk = Chunk()
        chunk.done = 1.0
        yield chunk


def _csv(text: Text, wanted: Sequence[str]) -> Iterator[tuple[int, Sequence[Any]] | Bad]:
    lines, name = Lines(text), text.path.name
    delimiter = "\t" if ".tsv" in text.path.suffixes else ","
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(text, reader)
    places = [header.index(_present(text.path, column, header)) for column in wanted]
    lines.clear()
    while True:
        reason, row = "", []
        try:
            row = next(reader)
        except StopIteration:
            if not lines.taken:
                break
            reason = "the row has no end"
        except (csv.Error, LongRow) as error:
            reason = str(error)
        if not row and not reason:  # an empty line
            lines.clear()
            continue
        if not reason and lines.cut:
            reason = f"a line longer than {LONGEST} characters"
        elif not reason and len(row) != len(header):
            reason = f"{len(row)} fields where the header has {len(header)}"
        if reason and len(lines.taken) > 1:
            # A stray quote swallows lines; the csv module starts afresh after an error.
            lines.retry()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        place, first = lines.taken[0]
        if text.broken and not lines.taken[-1][1].endswith(("\n", "\r")):
            break  # what is cut off here may look whole
        lines.clear()
        if not reason and escaped("".join(row)):
            reason = f"not {text.encoding}"
        if reason:
            yield Bad(name, place, reason, first)
        else:
            yield place, [row[i] for i in places]
    if text.broken:
        place, first = lines.taken[0] if lines.taken else (lines.place + 1, "")
        yield Bad(name, place, text.broken, first)


def _header(text: Text, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [column.strip() for column in next(reader, [])]
    except (csv.Error, LongRow) as error:
        raise JaxtagError(f"{text.path} line 1: {error}", "the first line must name the columns") from None
    if not header and text.broken:
        raise JaxtagError(f"{text.path} line 1: {text.broken}")
    if escaped("".join(header)):
        raise JaxtagError(f"{text.path} line 1: not {text.encoding}", "name its encoding, such as --encoding cp1252")
    return header


def _json(text: Text, wanted: Sequence[str]) -> Iterator[tuple[int, Sequence[Any]] | Bad]:
    known: dict[str, None] = {}
    looked = 0
    for found in values(text):
        if isinstance(found, Bad):
            yield found
            continue
        place, value = found
        if not isinstance(value, dict):
            yield Bad(text.path.name, place, f"a JSON {type(value).__name__}, not an object", f"{value!r:.200}")
            continue
        if looked < LOOKED_AT:
            looked += 1
            known |= dict.fromkeys(value)
            if looked == LOOKED_AT:
                _present_all(text.path, wanted, known)
        yield place, [value.get(column) for column in wanted]
    if 0 < looked < LOOKED_AT:
        _present_all(text.path, wanted, known)


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        header, total = file.schema_arrow.names, max(1, file.metadata.num_rows)
        _present_all(path, wanted, header)
        columns = list(dict.fromkeys(wanted))
        place = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=columns):
            lists = {name: _values(batch.column(name)) for name in columns}
            rows = list(enumerate(zip(*(lists[name] for name in wanted)), place + 1))
            place += len(rows)
            chunk = Chunk(done=place / total)
            for row in rows:
                if any(isinstance(value, bytes) for value in row[1]):
                    chunk.bad.append(Bad(path.name, row[0], "not utf-8", repr(row[1])))
                else:
                    chunk.rows.append(row)
            yield chunk
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise JaxtagError(f"{path} is not a readable Parquet file: {error}") from None


def _values(column: Any) -> list[Any]:
    """The values of a column; text that is not UTF-8 stays bytes."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):  # a datetime each would cost as much as all the rest
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return [None if v is None else v // unit for v in column.cast(pa.int64()).to_pylist()]
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    try:
        return [*map(_text_or_bytes, column.to_pylist())] if binary else column.to_pylist()
    except UnicodeDecodeError:
        return [_text_or_bytes(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _present_all(path: Path, wanted: Sequence[str], header: Any) -> None:
    for column in wanted:
        _present(path, column, list(header))


def _present(path: Path, column: str, header: Sequence[str]) -> str:
    if column in header:
        return column
    said = ", ".join(f"{name:.40}" for name in header[:_NAMED]) + ", …" * (len(header) > _NAMED)
    names = [name for name in header if len(name) <= LONGEST_NAME]
    raise JaxtagError(f"{path} has no column {column!r} (it has: {said or 'none'})", nearest(column, names[:_NAMED]))
