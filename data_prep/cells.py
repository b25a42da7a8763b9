"""Single values as sources write them, made text; shared by importers."""

from collections import Counter
from typing import Any

from .lines import LONGEST, Bad


def string(value: Any) -> str:
    """A cell as text, '' for none; an integer kept as a float loses its '.0'; lone surrogates become U+FFFD.

    Raises:
      ValueError: it is a list or an object.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, dict | list):
        raise ValueError(f"a {type(value).__name__} where text belongs")
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def body(value: Any, optional: bool = False) -> str:
    """The text of a post; '' where there is none and it is `optional`.

    Raises:
      ValueError: it is missing, far too long for a post, or no text.
    """
    text = string(value)
    if not text.strip() and not optional:
        raise ValueError("the text is missing")
    if len(text) > LONGEST:
        raise ValueError(f"a text longer than {LONGEST} characters")
    return text


def exact(value: Any) -> str:
    """A name or an id as text, numbers and strings alike, white space made single.

    Raises:
      ValueError: it is a number so large that it lost its last digits on the way, or no text.
    """
    if isinstance(value, float) and 2**53 <= abs(value) < float("inf"):
        raise ValueError("an id that is a rounded number: keep ids as text")
    return " ".join(string(value).split())


def whole(value: Any) -> str:
    """An id that is a whole number, as text.

    Raises:
      ValueError: it is another kind of number, or a rounded one.
    """
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("an id that is no whole number")
    return "" if isinstance(value, bool) else exact(value)


def broken_off(bad: Bad, notes: Counter[str]) -> None:
    """Note a bad row that is the place where an archive breaks off: more than one row may be lost there."""
    if bad.reason.startswith("the archive "):
        notes["archives read only in part"] += 1
