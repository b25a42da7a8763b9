"""Instagram posts as Instaloader saves them: beside each post's images a caption (.txt) and metadata (.json, .json.xz).

Files of one post have one stem, such as 2019-01-01_12-00-00_UTC; the images of a post with several end in _1, _2 ….
The caption in the metadata is taken before the one in the .txt.
"""

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from . import times
from .archives import MOST_EXPANDED, Text
from .cells import string, whole
from .gallery import Gallery
from .json_values import values
from .lines import LONGEST, Bad
from .source import MOST_ROWS, Chunk, Post
from .tables import ROWS

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_METADATA = (".json", ".json.xz")
_TIMED = re.compile(r"(\d{4}-\d{2}-\d{2})_(\d{2})-(\d{2})-(\d{2})")
_NUMBERED = re.compile(r"(.+)_(\d{1,3})")
_ASIDE = ("_comments", "_location", "_profile_pic", "_old")  # endings of stems that are about posts or profiles


@dataclass(frozen=True)
class Files:
    """The files of one post, by name below the folder.

    Attributes:
      stem: what their names have in common.
      metadata, caption: '' where there is none.
      images: in their order.
    """

    stem: str
    metadata: str
    caption: str
    images: tuple[str, ...]


def find(folder: Path) -> list[Files]:
    """The posts below `folder`, by name; images without a caption or metadata are no posts.

    Raises:
      JaxtagError: there is no such folder, or no post below it.
    """
    if not folder.is_dir():
        raise JaxtagError(f"no folder {folder}" if not folder.exists() else f"{folder} is not a folder")
    posts: list[Files] = []
    for place, below, names in os.walk(folder):
        below.sort()
        posts += _of_folder(Path(place).relative_to(folder), names)
    if not posts:
        raise JaxtagError(
            f"no post of Instaloader's below {folder}", "name the folder with its .json.xz, .json or .txt files"
        )
    return sorted(posts, key=lambda post: post.stem)


def _of_folder(place: Path, names: list[str]) -> list[Files]:
    about: dict[str, dict[str, str]] = defaultdict(dict)
    pictures: dict[str, dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        lower, path = name.lower(), (place / name).as_posix()
        ending = next((e for e in (*reversed(_METADATA), ".txt", *_IMAGES) if lower.endswith(e)), "")
        stem = name[: len(name) - len(ending)]
        if not ending or stem.endswith(_ASIDE):
            continue
        if ending in _IMAGES:
            pictures[stem].setdefault(0, path)
            if numbered := _NUMBERED.fullmatch(stem):
                pictures[numbered[1]].setdefault(int(numbered[2]), path)
        else:
            about[stem].setdefault("metadata" if ending in _METADATA else "caption", path)
    return [
        Files(
            (place / stem).as_posix(),
            has.get("metadata", ""),
            has.get("caption", ""),
            tuple(path for _, path in sorted(pictures[stem].items())),
        )
        for stem, has in about.items()
    ]


def read(folder: Path, gallery: Gallery, max_expanded: float = MOST_EXPANDED) -> Generator[Chunk, None, None]:
    """The posts below `folder`; profiles and stories are only notes.

    Raises:
      JaxtagError: there is no post, or there are too many.
    """
    posts = find(folder)
    if len(posts) > MOST_ROWS:
        raise JaxtagError(f"{folder} has more than {MOST_ROWS} posts", "split the source into several datasets")
    source, begun = iter(posts), 0
    while some := list(islice(source, ROWS)):
        chunk, names, places = Chunk(read=len(some)), [], []
        for ordinal, files in enumerate(some, begun):
            file = files.metadata or files.caption
            try:
                post = _post(folder, files, ordinal, max_expanded, chunk.notes)
            except (ValueError, OverflowError, OSError) as error:
                chunk.bad.append(Bad(file, 1, str(error), files.stem))
                continue
            if post is not None:
                chunk.posts.append(post)
                names.append(list(files.images))
                places.append((file, 1))
        begun += len(some)
        chunk.done = begun / len(posts)
        yield gallery.fill(chunk, names, places)


def _post(folder: Path, files: Files, ordinal: int, max_expanded: float, notes: Any) -> Post | None:
    """The post of some files; None when they are of something else.

    Raises:
      ValueError: the metadata or the caption cannot be read; the message tells.
    """
    node: Mapping[str, Any] = {}
    if files.metadata:
        value = _json(folder / files.metadata, max_expanded)
        about = value.get("instaloader")
        kind = about.get("node_type", "Post") if isinstance(about, dict) else "Post"
        if kind != "Post":
            notes[f"files about something else than posts: {string(kind):.40}"] += 1
            return None
        inner = value.get("node", value)
        if not isinstance(inner, dict):
            raise ValueError("metadata without a node")
        node = inner
    text = _caption(node)
    if text is None and files.caption:
        text = caption(folder / files.caption, max_expanded)
    if len(text or "") > LONGEST:
        raise ValueError(f"a text longer than {LONGEST} characters")
    if node.get("is_video") is True and files.images:
        notes["videos, of which the preview is taken"] += 1
    return Post(ordinal, _identity(node), _author(node), _time(node, files.stem), "", text or "", None)


def _json(path: Path, max_expanded: float) -> dict[str, Any]:
    with contextlib.closing(_opened(path, max_expanded)) as text:
        for found in values(text):
            if isinstance(found, Bad):
                raise ValueError(found.reason)
            if isinstance(found[1], dict):
                return found[1]
            raise ValueError(f"a JSON {type(found[1]).__name__}, not an object")
    raise ValueError("the file is empty")


def caption(path: Path, max_expanded: float = MOST_EXPANDED, encoding: str = "utf-8") -> str:
    """The text of a file that holds one caption.

    Raises:
      ValueError: it cannot be read; the message tells.
    """
    with contextlib.closing(_opened(path, max_expanded, encoding)) as text:
        return string(text.read(LONGEST + 1)).strip("\r\n")


def _opened(path: Path, max_expanded: float, encoding: str = "utf-8") -> Text:
    try:
        return Text(path, encoding, max_expanded)
    except JaxtagError as error:  # one file of many is bad, not the run
        raise ValueError(error.message) from None


def _caption(node: Mapping[str, Any]) -> str | None:
    """The caption that the metadata has; '' when it says that there is none, None when it says nothing."""
    edges = node.get("edge_media_to_caption")
    if isinstance(edges, dict) and isinstance(edges.get("edges"), list):
        return next(_captions(edges["edges"]), "")
    caption = node.get("caption")
    if isinstance(caption, dict):
        caption = caption.get("text")
    return string(caption) if isinstance(caption, str) else None


def _captions(edges: list[Any]) -> Iterator[str]:
    for edge in edges:
        node = edge.get("node") if isinstance(edge, dict) else None
        if isinstance(node, dict) and isinstance(node.get("text"), str):
            yield string(node["text"])


def _identity(node: Mapping[str, Any]) -> str:
    shortcode = node.get("shortcode") or node.get("code")
    return string(shortcode).strip() if isinstance(shortcode, str) else whole(node.get("id"))


def _author(node: Mapping[str, Any]) -> str:
    owner = node.get("owner") or node.get("user")
    if not isinstance(owner, dict):
        return ""
    return whole(owner.get("id") or owner.get("pk")) or string(owner.get("username")).strip()


def _time(node: Mapping[str, Any], stem: str) -> int:
    """Seconds since 1970 as the metadata says or, where it does not, the name; 0 where neither does."""
    for key in ("taken_at_timestamp", "date", "taken_at"):
        if node.get(key) not in (None, ""):
            return times.seconds(node[key])
    match = _TIMED.search(stem.rpartition("/")[2])
    return times.seconds(f"{match[1]} {match[2]}:{match[3]}:{match[4]}") if match else 0
