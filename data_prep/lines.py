"""Lines of text files from anywhere: any encoding, gzipped or not, of bounded length, given back if wrongly taken."""

import codecs
import gzip
import io
import re
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

_ESCAPED = re.compile("[\udc80-\udcff]")  # what the error handler surrogateescape makes of a byte
LONGEST = 1 << 17  # characters of a line, or of a field: the csv module's own limit


@dataclass
class Lines:
    """The lines of a text file, plain or gzipped, counted; bytes that are not of the encoding come as lone surrogates.

    Attributes:
      path, encoding: of the file.
      place: number of the latest line read, from 1.
      broken: why the file ended early, or ''.
      ahead: lines given back, with their numbers.
      taken: lines taken for this row, with their numbers.

    Raises:
      JaxtagError: it is in another encoding or no gzip file, by its first bytes.
      LookupError: there is no such encoding.
    """

    path: Path
    encoding: str
    place: int = 0
    broken: str = ""
    ahead: deque[tuple[int, str]] = field(default_factory=deque)
    taken: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with open(self.path, "rb") as file:
            head = file.read(4)
        packed, wide = self.path.suffix == ".gz", self.encoding.lower().startswith(("utf-16", "utf-32"))
        if not packed and not wide and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head):
            raise JaxtagError(
                f"{self.path} line 1: not {self.encoding}, it looks like UTF-16", "give --encoding utf-16"
            )
        if packed and head[:2] != b"\x1f\x8b":
            raise JaxtagError(f"{self.path} is not a gzip file")
        encoding = "utf-8-sig" if self.encoding.lower() in ("utf-8", "utf8") else self.encoding
        codecs.lookup(encoding)
        self.raw: Any = open(self.path, "rb")  # noqa: SIM115
        source: Any = gzip.GzipFile(fileobj=self.raw) if packed else self.raw
        self.text = io.TextIOWrapper(source, encoding, errors="surrogateescape", newline="")
        self.size = max(1, self.path.stat().st_size)

    def close(self) -> None:
        """Close the file."""
        self.text.close()
        self.raw.close()

    @property
    def done(self) -> float:
        """How much of the file is behind, 0 to 1."""
        return min(1.0, self.raw.tell() / self.size)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if self.ahead:
            line = self.ahead.popleft()
        else:
            line = (self.place + 1, self._next())
            self.place += 1
        self.taken.append(line)
        return line[1]

    def _next(self) -> str:
        """The next line; one that is too long comes cut, its rest skipped."""
        if self.broken:
            raise StopIteration
        try:
            line = end = self.text.readline(LONGEST + 1)
            while end and not end.endswith(("\n", "\r")):
                end = self.text.readline(LONGEST + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.broken = f"the archive is truncated or damaged here ({error})"
            raise StopIteration from None
        except UnicodeError as error:
            self.broken = f"not {self.encoding} from here on ({error})"
            raise StopIteration from None
        if not line:
            raise StopIteration
        return line

    def retry(self) -> None:
        """Give back all lines taken for a row but the first: they may be good rows of their own."""
        self.ahead.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    @property
    def cut(self) -> bool:
        """Whether a line taken for this row was too long, and so lost its end."""
        return any(len(line) > LONGEST for _, line in self.taken)

    def clear(self) -> None:
        """Begin a new row."""
        self.taken.clear()


def escaped(text: str) -> bool:
    """Whether `text` holds a byte that its encoding has no character for."""
    return not text.isascii() and _ESCAPED.search(text) is not None
