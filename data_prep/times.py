"""Times as sources write them, to seconds since 1970 (UTC where no zone is given)."""

import re
from datetime import UTC, date, datetime
from typing import Any

LATEST = 4_102_444_800  # the start of 2100; later ones are milliseconds, microseconds, or mistakes
_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AaPp])\.?[Mm]\.?)?)?")
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{0,9})?")
_TWITTER = "%a %b %d %H:%M:%S %z %Y"


def seconds(value: Any) -> int:
    """The time that `value` says: a datetime, Unix seconds, milli- or microseconds, or a string.

    Strings may be ISO 8601, month first as in `10/31/2017 19:58`, Twitter's `Wed Oct 10 20:19:24 +0000 2018`,
    or a number.

    Raises:
      ValueError: it says none, or one before 1970 or after 2099; the message tells.
    """
    if value is None or value == "":
        raise ValueError("the time is missing")
    found = _read(value)
    if not 0 <= found < LATEST:
        raise ValueError(f"the time {value!r:.40} is not between 1970 and 2099")
    return found


def _read(value: Any) -> int:
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return _read(datetime(value.year, value.month, value.day))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"the time {value!r:.40} is not readable")
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return _read(_datetime(text))
        value = int(text) if "." not in text else float(text)
    if value != value or abs(value) == float("inf"):
        raise ValueError(f"the time {value!r} is not readable")
    for unit in (1, 1_000, 1_000_000):
        if abs(value) < LATEST * unit:
            return int(value // unit)
    return LATEST


def _datetime(text: str) -> datetime:
    if match := _AMERICAN.fullmatch(text):
        month, day, year, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        if match[7]:
            if not 1 <= hour <= 12:
                raise ValueError(f"the time {text!r:.40} is not readable")
            hour = hour % 12 + 12 * (match[7] in "pP")
        return datetime(year, month, day, hour, minute, second)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.strptime(text, _TWITTER)
    except ValueError:
        raise ValueError(f"the time {text!r:.40} is not readable") from None
