"""JSON values out of a stream of text: one a line, the elements of arrays, or documents that span lines.

Memory is bounded by the longest value, not by the file: an array is entered, never held. What cannot be read is
one bad row, and reading goes on at the next value.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from .archives import Text
from .lines import Bad, escaped

LONGEST_VALUE = 1 << 24  # characters of a value; a page of 500 tweets with all they refer to has some 4 million
CHUNK = 1 << 18  # characters read at a time; the json module counts the lines of what is held at every mistake

_NEXT = re.compile(r"[^\s,\ufeff\x1e]")  # not what may stand between values, a byte order mark in a joined file too
_ARRAY = re.compile(r"\[\s*(?:[{\]]|\Z)")  # an array of objects, or one whose first element is not read yet
_PRETTY = re.compile(r'[{\[][^"{}\[\]\n]*\n')  # a bracket that ends its line, as near as a broken value may
_FIRST_KEY = re.compile(r'\{\s*"[^"\\]{1,64}"\s*:')
_TOKEN = re.compile(r'"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|["{}\[\]\n]')  # a lone '"' is a string without an end
_AHEAD = 1 << 17  # characters in which the end of a broken value is looked for by its brackets
_NEAR = 16  # characters before the end within which a mistake may only be that the rest is not read yet


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else float("inf")


_EXACT, _LENIENT = json.JSONDecoder(), json.JSONDecoder(parse_int=_integer)


def values(text: Text, wrappers: tuple[str, ...] = ()) -> Iterator[tuple[int, Any] | Bad]:
    """The values of `text` in order, each with the line that it begins on, bad ones as `Bad`.

    Args:
      text: the file; a break in it is one bad row.
      wrappers: keys whose array is entered where an object that has it is too long to hold.
    """
    reader = _Reader(text)
    depth, fine, opened = 0, True, 0  # 1 within an array, 2 within one that an object wraps
    while reader.start():
        mark = reader.data[reader.at]
        if depth and mark == "]":
            reader.move(reader.at + 1)
            if depth == 2:
                reader.leave()
            depth = 0
            continue
        if not depth and mark == "[" and reader.array():
            opened, depth = reader.line, 1
            reader.move(reader.at + 1)
            continue
        found = reader.value()
        fine = not isinstance(found, str)
        if isinstance(found, tuple):
            yield found
            continue
        if found == _LONG and not depth and (inner := reader.wrapped(wrappers)):
            opened, depth, fine = reader.line, 2, True
            reader.move(inner)
            continue
        if text.broken and reader.last(bool(depth)):
            break
        yield Bad(text.path.name, reader.line, found, reader.head())
        reader.skip(bool(depth))
    if text.broken:
        yield Bad(text.path.name, reader.line, text.broken, reader.head())
    elif depth and fine:
        yield Bad(text.path.name, reader.line, f"the array that begins on line {opened} has no end", "")


_LONG = f"a value longer than {LONGEST_VALUE} characters"


class _Reader:
    """A window on a text: `data` from `at` on is not used yet; `line` is the number of the line there.

    `fresh` is whether the value there is the first of its line, behind `indent`.
    """

    def __init__(self, text: Text):
        self.text, self.data, self.at, self.line = text, "", 0, 1
        self.ended, self.fresh, self.indent = False, True, ""

    def more(self) -> bool:
        """Read on, as much again as is held, and let go what was used; False at the end."""
        if not self.ended:
            part = self.text.read(max(CHUNK, len(self.data) - self.at))
            self.data, self.at, self.ended = self.data[self.at :] + part, 0, not part
        return not self.ended

    def move(self, to: int) -> None:
        """Go on to `to`, counting lines."""
        self.line += self.data.count("\n", self.at, to)
        self.at = to

    def start(self) -> bool:
        """Go to the next value, or the end of an array; False when there is none."""
        self.fresh, self.indent = not self.data, ""
        while True:
            behind = _NEXT.search(self.data, self.at)
            end = behind.start() if behind else len(self.data)
            between = self.data[self.at : end]
            self.fresh |= "\n" in between
            self.indent = (self.indent + between).rpartition("\n")[2]
            self.move(end)
            if behind:
                return True
            if not self.more():
                return False

    def array(self) -> bool:
        """Whether here begins an array of objects."""
        while (match := _ARRAY.match(self.data, self.at)) and match.end() == len(self.data) and self._fits():
            if not self.more():
                break
        return match is not None

    def _fits(self) -> bool:
        return len(self.data) - self.at <= LONGEST_VALUE

    def value(self) -> tuple[int, Any] | str:
        """The value here, with its line, and go on behind it; or why it cannot be read, and stay."""
        if self.fresh and (found := self._line()):
            return found
        decoder = _EXACT
        while True:
            incomplete = False
            try:
                value, end = decoder.raw_decode(self.data, self.at)
                if end < len(self.data) or self.ended or isinstance(value, dict | list | str):
                    if escaped(self.data[self.at : end]):
                        return f"not {self.text.encoding}"
                    place = self.line
                    self.move(end)
                    return place, value
                reason, incomplete = "", True
            except json.JSONDecodeError as error:
                reason = f"not JSON: {re.sub(' (starting )?at$', '', error.msg)}"
                incomplete = error.msg.startswith("Unterminated string") or error.pos >= len(self.data) - _NEAR
            except RecursionError:
                reason = "not JSON: nested too deeply"
            except ValueError:  # an integer with more digits than Python turns into a number
                if decoder is _LENIENT:
                    raise
                decoder = _LENIENT
                continue
            if not incomplete or self.ended:
                return f"not {self.text.encoding}" if escaped(self._first_line()) else reason
            if not self._fits():
                return _LONG
            self.more()

    def _line(self) -> tuple[int, Any] | None:
        """The value that fills this line; None when none does."""
        import orjson

        while (end := self.data.find("\n", self.at)) < 0 and self._fits() and self.more():
            pass
        if end < 0 and not self.ended:
            return None
        end = len(self.data) if end < 0 else end
        try:
            value = orjson.loads(self.data[self.at : end].rstrip(" \t\r,"))
        except (orjson.JSONDecodeError, RecursionError):
            return None
        place = self.line
        self.move(end)
        return place, value

    def _first_line(self) -> str:
        end = self.data.find("\n", self.at)
        return self.data[self.at : len(self.data) if end < 0 else end]

    def head(self) -> str:
        """How the text here begins."""
        text = self.data[self.at : self.at + 200]
        return text if _PRETTY.match(text) else text.partition("\n")[0]

    def last(self, inside: bool) -> bool:
        """Whether nothing follows the broken value here: the end of the file cut it off."""
        return self.ended and not self._ends(inside).search(self.data, self.at + 1)

    def wrapped(self, keys: tuple[str, ...]) -> int:
        """Where the array of one of `keys` of the object here begins within; 0 when there is none near."""
        if not keys or self.data[self.at] != "{":
            return 0
        inner = re.compile(f'"(?:{"|".join(keys)})"\\s*:\\s*\\[')
        depth = 0
        for token in _TOKEN.finditer(self.data, self.at, self.at + _AHEAD):
            depth += (token[0] in "{[") - (token[0] in "}]")
            if depth == 1 and token[0][0] == '"' and (match := inner.match(self.data, token.start())):
                return match.end()
        return 0

    def leave(self) -> None:
        """Go behind the end of the object whose array was entered."""
        while len(self.data) - self.at < _AHEAD and self.more():
            pass
        depth = 1
        for token in _TOKEN.finditer(self.data, self.at):
            depth += (token[0] in "{[") - (token[0] in "}]")
            if depth == 0:
                self.move(token.end())
                return

    def skip(self, inside: bool) -> None:
        """Go to where the value behind the broken one here may begin."""
        while len(self.data) - self.at < _AHEAD and self.more():
            pass
        ends = self._ends(inside)
        behind = self._balanced()
        match = ends.search(self.data, self.at + 1, behind or len(self.data))
        while not match and not behind:
            if self.ended:
                self.move(len(self.data))
                return
            self.move(max(self.at, len(self.data) - 256))  # what is looked for may straddle the window's end
            self.more()
            match = ends.search(self.data, self.at)
        self.move(match.end() if match else behind)

    def _ends(self, inside: bool) -> re.Pattern[str]:
        """What ends the broken value here, whatever it holds: as text cannot tell, by how it is laid out."""
        if self.data[self.at] not in "{[":
            return re.compile(r"(?=[\n,\]])" if inside else r"(?=\n)")
        if self.fresh and _PRETTY.match(self.data, self.at):
            indent = re.escape(self.indent)
            return re.compile(rf"\n{indent}(?:[}}\]](?=\s*(?:[,\]{{\[]|\Z))|(?=[{{\[]))" + (r"|\n(?=\])" * inside))
        key = _FIRST_KEY.match(self.data, self.at)
        # Values of one line do not go beyond it; within a line, the next that begins as this one does is the next.
        return re.compile(r"(?=\n)" + (rf"|,\s*(?={re.escape(key[0])})" if key and inside else ""))

    def _balanced(self) -> int:
        """Where the brackets opened here are all closed again, on this line; 0 when they are not."""
        depth = 0
        for token in _TOKEN.finditer(self.data, self.at, self.at + _AHEAD):
            if token[0] in '"\n':
                return 0
            depth += (token[0] in "{[") - (token[0] in "}]")
            if depth <= 0:
                return token.end()
        return 0
