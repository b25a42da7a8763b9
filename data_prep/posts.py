"""Raw posts from tables of a user's own: which column holds what, and a stream of posts out of it."""

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from . import tables, times
from .source import MOST_ROWS, Chunk, Post
from .tables import Bad

_FALSE = {"", "0", "false", "f", "no", "n", "none", "null", "nan", "0.0"}
_LIST_MARKS = str.maketrans("[](){}\"',;|", " " * 11)


@dataclass(frozen=True)
class Mapping:
    """Which column of the source holds what; '' where none does.

    Attributes:
      text, author, time, language, hashtags, id: names of columns.
      repost: name of the column that marks reposts, which are dropped.
      repost_value: the mark; '' takes anything but an empty, zero or false value for one.
      languages: values of the language column to keep, lower case; none keeps all.
      encoding: of text files.
    """

    text: str
    author: str = ""
    time: str = ""
    language: str = ""
    hashtags: str = ""
    id: str = ""
    repost: str = ""
    repost_value: str = ""
    languages: tuple[str, ...] = ()
    encoding: str = "utf-8"

    def to_json(self) -> dict[str, Any]:
        """The mapping as JSON values."""
        return asdict(self) | {"languages": list(self.languages)}


def read(paths: Sequence[Path], mapping: Mapping) -> Generator[Chunk, None, None]:
    """The posts of the tables at `paths`, in order, chunk by chunk.

    Raises:
      JaxtagError: a file cannot be read, lacks a column, or there are too many rows.
    """
    if mapping.languages and not mapping.language:
        raise JaxtagError(
            f"only posts in {' or '.join(mapping.languages)} are to be kept, but no column tells the language",
            "name it with --language, or keep all with --language-is any",
        )
    named = {key: getattr(mapping, key) for key in _KEYS if getattr(mapping, key)}
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    total, behind, ordinal = max(1, sum(sizes)), 0, 0
    for path, size in zip(paths, sizes):
        for table in tables.read(path, list(named.values()), mapping.encoding):
            chunk = _chunk(path.name, table, list(named), mapping, ordinal)
            chunk.done = (behind + table.done * size) / total
            ordinal += len(table)
            if ordinal > MOST_ROWS:
                raise JaxtagError(f"{path} goes past {MOST_ROWS} rows", "split the source into several datasets")
            yield chunk
        behind += size


_KEYS = ("text", "author", "time", "language", "hashtags", "id", "repost")


def _chunk(name: str, table: tables.Chunk, keys: list[str], mapping: Mapping, ordinal: int) -> Chunk:
    chunk = Chunk(bad=list(table.bad), read=len(table))
    places = iter(_ordinals(table, ordinal))
    for place, values in table.rows:
        row, number = dict(zip(keys, values)), next(places)
        try:
            text = _string(row["text"])
            if not text.strip():
                raise ValueError("the text is missing")
            time = times.seconds(row["time"]) if mapping.time else 0
            if "repost" in row and _marked(row["repost"], mapping.repost_value):
                chunk.reposts += 1
                continue
            language = _string(row.get("language"))
            if mapping.languages:
                chunk.languages[language] += 1
                if not _spoken(language, mapping.languages):
                    chunk.foreign += 1
                    continue
            hashtags = _hashtags(row["hashtags"]) if "hashtags" in row else None
            author = " ".join(_string(row.get("author")).split())
            chunk.posts.append(Post(number, _string(row.get("id")), author, time, language, text, hashtags, -1))
        except (ValueError, OverflowError, OSError) as error:
            chunk.bad.append(Bad(name, place, str(error), str(row["text"] or "")))
    return chunk


def _ordinals(table: tables.Chunk, first: int) -> list[int]:
    """The ordinals of the good rows: bad ones have theirs too, by place."""
    if not table.bad:
        return list(range(first, first + len(table.rows)))
    places = sorted([(place, True) for place, _ in table.rows] + [(bad.place, False) for bad in table.bad])
    return [first + i for i, (_, good) in enumerate(places) if good]


def _string(value: Any) -> str:
    """A cell as text; an integer that a source keeps as a float loses its '.0'; lone surrogates become U+FFFD."""
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


def _marked(value: Any, mark: str) -> bool:
    if mark:
        return _string(value).strip() == mark
    if isinstance(value, dict | list):
        return bool(value)
    return _string(value).strip().lower() not in _FALSE


def _spoken(language: str, kept: tuple[str, ...]) -> bool:
    """Whether `language` is one of `kept`, with or without a region: 'en' keeps 'en-GB'."""
    language = language.strip().lower()
    return language in kept or language.replace("_", "-").partition("-")[0] in kept


def _hashtags(value: Any) -> tuple[str, ...]:
    """Hashtags that the source gives apart: a list of phrases, a JSON list, or text with separators."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, str):
        return tuple(value.translate(_LIST_MARKS).split())
    if isinstance(value, list):
        return tuple(_string(item.get("text") if isinstance(item, dict) else item) for item in value)
    return tuple(_string(value).split())
