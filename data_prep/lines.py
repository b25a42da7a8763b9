"""Lines of text files from anywhere, of bounded length, given back if wrongly taken; and rows that are bad."""

import re
from collections import deque
from dataclasses import dataclass, field

from .archives import Text

_ESCAPED = re.compile("[\udc80-\udcff]")  # what the error handler surrogateescape makes of a byte
LONGEST = 1 << 17  # characters of a line, or of a field: the csv module's own limit
LONGEST_ROW = 1 << 20  # characters of a row's lines together


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that could not be used: where it is, why, and how it starts."""

    file: str
    place: int
    reason: str
    start: str

    @property
    def unit(self) -> str:
        """What `place` counts: 'line' or, in a Parquet file, 'row'."""
        return "row" if self.file.endswith(".parquet") else "line"


class LongRow(Exception):
    """A row goes on for more than `LONGEST_ROW` characters."""


@dataclass
class Lines:
    """The lines of a text file, counted.

    Attributes:
      text: the file.
      place: number of the latest line read, from 1.
      ahead: lines given back, with their numbers.
      taken: lines taken for this row, with their numbers.

    Raises:
      LongRow: by the next line, when those taken for a row are too long together.
    """

    text: Text
    place: int = 0
    ahead: deque[tuple[int, str]] = field(default_factory=deque)
    taken: list[tuple[int, str]] = field(default_factory=list)
    size: int = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if self.size > LONGEST_ROW:
            raise LongRow(f"a row longer than {LONGEST_ROW} characters")
        if self.ahead:
            line = self.ahead.popleft()
        else:
            line = (self.place + 1, self._next())
            self.place += 1
        self.taken.append(line)
        self.size += len(line[1])
        return line[1]

    def _next(self) -> str:
        """The next line; one that is too long comes cut, its rest skipped."""
        line = end = self.text.readline(LONGEST + 1)
        while end and not end.endswith(("\n", "\r")):
            end = self.text.readline(LONGEST + 1)
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
        self.size = 0


def escaped(text: str) -> bool:
    """Whether `text` holds a byte that its encoding has no character for."""
    return not text.isascii() and _ESCAPED.search(text) is not None
