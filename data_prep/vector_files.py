"""Files of pretrained word vectors: word2vec text and binary, GloVe text, fastText .vec and .bin, plain or .gz.

What a file is, is told by its content. It is read as a stream, in bounded memory; a bad line is counted and named,
and loses no good one. Nothing is unpickled.
"""

import contextlib
import gzip
import shutil
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxtag.errors import JaxtagError

from . import fasttext_bin
from .progress import Bar
from .vector_rows import Given, Table

LONGEST = 1 << 20  # bytes of a line or a word; what is longer is no line of a file of vectors
SAMPLE = 1 << 16  # bytes that tell what a file is
WIDEST = 100_000  # numbers of a vector


def read(file: Path, side: Path, needed: Collection[str], most_words: int, max_bad: float) -> Given:
    """Read a file of vectors; those kept are written to `side`/table.npy, n-grams to `side`/subwords.npy.

    Args:
      file: the file.
      side: folder to write to.
      needed: names to keep wherever they stand in the file.
      most_words: keep the first so many words beside those needed: files are sorted by use.
      max_bad: the largest fraction of bad lines to put up with.

    Raises:
      JaxtagError: there is no such file, it is of no known kind, or too much of it is bad.
    """
    head = _head(file)
    if head.startswith(fasttext_bin.MAGIC):
        found = Given("fastText binary", 0)
        _fasttext(file, side, needed, most_words, found)
    else:
        kind, dim, announced = _kind(file, head)
        found = Given(kind, dim)
        with _opened(file) as (stream, raw), Bar(f"reading {file.name}", file.stat().st_size) as bar:

            def moved() -> None:
                found.check(file, max_bad, final=False)
                bar.to(raw.tell(), f"{found.read:,} words")

            items = _binary(stream, found, announced) if kind == "word2vec binary" else _text(stream, found, announced)
            _keep(items, found, side, needed, most_words, moved)
        if announced > found.read:
            found.reject(found.read + 1, f"the file ends here; its head says {announced}", announced - found.read)
            found.read = announced
    found.check(file, max_bad, final=True)
    if not found.names:
        raise JaxtagError(f"{file} has no vectors")
    return found


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Any]]:
    """The file's bytes, unpacked where it is compressed; and the file itself, which knows its place."""
    with open(file, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        yield (gzip.GzipFile(fileobj=raw) if packed else raw), raw


def _head(file: Path) -> bytes:
    """The first `SAMPLE` bytes.

    Raises:
      JaxtagError: there is no such file, it is empty, or compressed and damaged at once.
    """
    if not file.is_file():
        raise JaxtagError(f"no file {file}" if not file.exists() else f"{file} is not a file")
    head = b""
    try:
        with _opened(file) as (stream, _):
            while len(head) < SAMPLE and (more := stream.read1(SAMPLE - len(head))):
                head += more
    except (OSError, EOFError, zlib.error) as error:
        if b"\n" not in head:  # else its whole lines are read, and the damage is counted when it is met
            raise JaxtagError(f"{file} is damaged: {error}", "download it again") from None
    if not head:
        raise JaxtagError(f"{file} is empty")
    return head


def _kind(file: Path, head: bytes) -> tuple[str, int, int]:
    """The kind of file, numbers of a vector, and how many vectors its head announces (0: it has no head)."""
    lines = head.split(b"\n")
    whole = lines if len(head) < SAMPLE else lines[:-1]
    first = lines[0].split()
    if len(first) == 2 and all(part.isdigit() and len(part) < 19 for part in first):
        announced, dim = int(first[0]), int(first[1])
        if not 0 < dim <= WIDEST:
            raise JaxtagError(f"{file} line 1 announces vectors of {dim} numbers")
        # One line that reads as a vector makes it a text: no binary file has one.
        text = any(_vector(line, dim) is not None for line in whole[1:])
        return ("word2vec text" if text else "word2vec binary"), dim, announced
    widths = Counter(len(line.split()) - 1 for line in whole if len(line.split()) > 2)
    for dim, _ in widths.most_common(3):
        if dim <= WIDEST and any(_vector(line, dim) is not None for line in whole):
            return "GloVe text", dim, 0
    shown = lines[0][:40].decode("utf-8", "backslashreplace").rstrip("\r")
    raise JaxtagError(
        f"{file} is no file of word vectors: its first line is {shown!r}",
        "give word2vec text or binary, GloVe text, or fastText .vec or .bin",
    )


def _vector(line: bytes, dim: int) -> np.ndarray | None:
    """The numbers of a line that is a name and `dim` numbers, else None."""
    _, _, numbers = line.strip(b" \r\n").partition(b" ")
    row = _numbers(numbers)
    return row if row is not None and len(row) == dim and np.isfinite(row).all() else None


def _numbers(text: bytes) -> np.ndarray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of what is no number
            return np.fromstring(text.decode("ascii"), np.float32, sep=" ")
    except (ValueError, UnicodeDecodeError, DeprecationWarning):
        return None


def _text(stream: IO[bytes], found: Given, announced: int) -> Iterator[tuple[int, bytes, Any]]:
    """Place, name and numbers (as text) of each line."""
    place = 0
    if announced:
        place = len(stream.readline(LONGEST)) > 0
    while line := stream.readline(LONGEST):
        place += 1
        if not line.strip():
            continue
        found.read += 1
        if len(line) == LONGEST and line[-1:] != b"\n":
            while line and line[-1:] != b"\n":
                line = stream.readline(LONGEST)
            found.reject(int(place), f"longer than {LONGEST:,} bytes")
            continue
        name, _, numbers = line.strip(b" \r\n").partition(b" ")
        yield int(place), name, numbers


def _binary(stream: IO[bytes], found: Given, announced: int) -> Iterator[tuple[int, bytes, Any]]:
    """Place, name and numbers (as bytes) of each word."""
    stream.readline(LONGEST)
    size = 4 * found.dim
    for place in range(1, announced + 1):
        name = bytearray()
        while (byte := stream.read(1)) not in (b" ", b"") and len(name) < LONGEST:
            name += byte
        numbers = stream.read(size)
        if len(numbers) < size:
            return
        found.read += 1
        yield place, bytes(name.lstrip(b"\n")), numbers


def _keep(
    items: Iterator[tuple[int, bytes, Any]], found: Given, side: Path, needed: Collection[str], most: int, moved: Any
) -> None:
    """Write the good vectors that are wanted to `side`/table.npy, and their names to `found`."""
    table, kept = Table(side / "table.npy", found.dim), set[str]()
    try:
        for place, raw, numbers in items:
            if found.read % 1000 == 0:
                moved()
            name = _name(raw)
            row = np.frombuffer(numbers, "<f4") if found.kind == "word2vec binary" else _numbers(numbers)
            if reason := _fault(name, row, found.dim):
                found.reject(place, reason)
            elif name in kept:
                found.reject(place, "a word that was there before")
            elif len(kept) < most or name in needed:
                assert name is not None and row is not None
                kept.add(name)
                found.names.append(name)
                table.add(row)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        found.read += 1
        found.reject(found.read, f"the compressed file is damaged here ({error})")
    finally:
        table.close()


def _name(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _fault(name: str | None, row: np.ndarray | None, dim: int) -> str:
    """What is wrong with a line; '' when nothing is."""
    if name is None:
        return "not UTF-8"
    if not name or len(name.split()) != 1:
        return "no word"
    if row is None:
        return "something that is no number"
    if len(row) != dim:
        return f"{len(row)} numbers where {dim} belong"
    return "" if np.isfinite(row).all() else "a number that is not finite"


def _fasttext(file: Path, side: Path, needed: Collection[str], most_words: int, found: Given) -> None:
    """Read a fastText .bin; a compressed one is unpacked first: its matrix is read here and there."""
    path = file
    with _opened(file) as (stream, raw):
        if stream is not raw:
            path = side / "unpacked"
            with open(path, "wb") as out:
                shutil.copyfileobj(stream, out, 1 << 22)
    model = fasttext_bin.open_model(path, file)
    found.dim, found.read = model.matrix.shape[1], len(model.words)
    table, kept = Table(side / "table.npy", found.dim), dict[str, int]()
    for place, raw_name in enumerate(model.words, 1):
        name = _name(raw_name)
        if reason := _fault(name, np.zeros(1), 1) or ("a word that was there before" if name in kept else ""):
            found.reject(place, reason)
        elif name is not None and (len(kept) < most_words or name in needed):
            kept[name] = place - 1
    for rows in fasttext_bin.rows_of(model, kept):
        table.add(rows)
    table.close()
    found.names = list(kept)
    found.subwords = fasttext_bin.write_subwords(model, side / "subwords.npy")
    if path is not file:
        path.unlink()
