"""Raw posts from tables of a user's own: which column holds what, and a stream of posts out of it."""

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from . import tables, times
from .archives import MOST_EXPANDED
from .cells import body, broken_off, exact, string
from .gallery import Gallery
from .source import MOST_ROWS, Chunk, Post
from .tables import Bad

_FALSE = {"", "0", "false", "f", "no", "n", "none", "null", "nan", "0.0"}
_LIST_MARKS = str.maketrans("[](){}\"',;|", " " * 11)


@dataclass(frozen=True)
class Mapping:
    """Which column of the source holds what; '' where none does.

    Attributes:
      text, author, time, language, hashtags, id: names of columns.
      image: name of the column of the post's image or images: paths below a folder, or names of files.
      repost: name of the column that marks reposts.
      repost_value: the mark; '' takes anything but an empty, zero or false value for one.
      encoding: of text files.
      max_expanded: how many times its packed size a file may unpack to.
    """

    text: str
    author: str = ""
    time: str = ""
    language: str = ""
    hashtags: str = ""
    id: str = ""
    image: str = ""
    repost: str = ""
    repost_value: str = ""
    encoding: str = "utf-8"
    max_expanded: float = MOST_EXPANDED

    def to_json(self) -> dict[str, Any]:
        """The mapping as JSON values."""
        return {key: value for key, value in asdict(self).items() if value or key != "image"}


def read(paths: Sequence[Path], mapping: Mapping, gallery: Gallery | None = None) -> Generator[Chunk, None, None]:
    """The posts of the tables at `paths`, in order, chunk by chunk.

    Args:
      paths: of the tables.
      mapping: which column holds what.
      gallery: of the images that `mapping.image` names.

    Raises:
      JaxtagError: a file cannot be read, lacks a column, or there are too many rows.
    """
    named = {key: getattr(mapping, key) for key in _KEYS if getattr(mapping, key)}
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    total, behind, ordinal = max(1, sum(sizes)), 0, 0
    for path, size in zip(paths, sizes):
        for table in tables.read(path, list(named.values()), mapping.encoding, mapping.max_expanded):
            chunk = _chunk(path.name, table, list(named), mapping, ordinal, gallery)
            chunk.done = (behind + table.done * size) / total
            ordinal += len(table)
            if ordinal > MOST_ROWS:
                raise JaxtagError(f"{path} goes past {MOST_ROWS} rows", "split the source into several datasets")
            yield chunk
        behind += size


_KEYS = ("text", "author", "time", "language", "hashtags", "id", "image", "repost")


def _chunk(
    name: str, table: tables.Chunk, keys: list[str], mapping: Mapping, ordinal: int, gallery: Gallery | None
) -> Chunk:
    chunk, named, lines = Chunk(bad=list(table.bad), read=len(table)), [], []
    for bad in table.bad:
        broken_off(bad, chunk.notes)
    places = iter(_ordinals(table, ordinal))
    for place, values in table.rows:
        row, number = dict(zip(keys, values)), next(places)
        try:
            text = body(row.get("text"), gallery is not None)
            time = times.seconds(row["time"]) if mapping.time else 0
            repost = "repost" in row and _marked(row["repost"], mapping.repost_value)
            language = string(row.get("language")).strip()
            hashtags = _hashtags(row["hashtags"]) if "hashtags" in row else None
            author = exact(row.get("author"))
            images = _images(row.get("image"))
            chunk.posts.append(Post(number, exact(row.get("id")), author, time, language, text, hashtags, -1, repost))
            named.append(images)
            lines.append((name, place))
        except (ValueError, OverflowError, OSError) as error:
            chunk.bad.append(Bad(name, place, str(error), str(row.get("text") or "")))
    return chunk if gallery is None else gallery.fill(chunk, named, lines)


def _ordinals(table: tables.Chunk, first: int) -> list[int]:
    """The ordinals of the good rows: bad ones have theirs too, by place."""
    if not table.bad:
        return list(range(first, first + len(table.rows)))
    places = sorted([(place, True) for place, _ in table.rows] + [(bad.place, False) for bad in table.bad])
    return [first + i for i, (_, good) in enumerate(places) if good]


def _marked(value: Any, mark: str) -> bool:
    if mark:
        return string(value).strip() == mark
    if isinstance(value, dict | list):
        return bool(value)
    return string(value).strip().lower() not in _FALSE


def _images(value: Any) -> list[str]:
    """The images of a post: a name, or a list of names, as JSON too."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    names = value if isinstance(value, list) else [value]
    return [name for name in (string(one).strip() for one in names) if name]


def _hashtags(value: Any) -> tuple[str, ...]:
    """Hashtags that the source gives apart: a list of phrases, a JSON list, or text with separators."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, str):
        return tuple(value.translate(_LIST_MARKS).split())
    if isinstance(value, list):
        return tuple(string(item.get("text") if isinstance(item, dict) else item) for item in value)
    return tuple(string(value).split())
