"""NUS-WIDE: photos of Flickr with their owners' tags, as the lists that were published.

Imagelist.txt has a photo's path on each line, its Flickr id at the end of the name; All_Tags.txt an id and the tags
in their owner's order. Both have the same order in the publication; lists of part of it are joined by id. Where
Final_Tag_List.txt is there, only its 5,018 tags are taken. There is no text, author or time.
"""

import re
from collections.abc import Generator, Iterator
from pathlib import Path

from . import image_lists
from .gallery import Gallery
from .lines import Bad
from .source import Chunk, Post

PHOTOS, TAGS, KNOWN = "Imagelist.txt", "All_Tags.txt", "Final_Tag_List.txt"
_ID = re.compile(r"(\d+)\.\w+$")


def lists(folder: Path) -> tuple[Path, Path, Path | None]:
    """The lists of photos, of their tags, and of the tags to take, in `folder` or not far below.

    Raises:
      JaxtagError: one of the first two is not there.
    """
    photos = image_lists.need(folder, PHOTOS, "the paths of NUS-WIDE's photos")
    tags = image_lists.need(folder, TAGS, "their ids and tags")
    return photos, tags, image_lists.find(folder, KNOWN)


def read(
    photos: Path, tags: Path, known: Path | None, gallery: Gallery, encoding: str = "utf-8"
) -> Generator[Chunk, None, None]:
    """A post for each photo.

    Raises:
      JaxtagError: a list cannot be read.
    """
    paths, tagged = image_lists.lines(photos, encoding), image_lists.lines(tags, encoding)
    taken = {line.strip() for line in image_lists.lines(known, encoding)} if known else set()
    aligned = len(paths) == len(tagged)
    by_id = {} if aligned else {_first(line): line for line in reversed(tagged)}

    def found() -> Iterator[tuple[Post, list[str]] | Bad]:
        for i, path in enumerate(paths):
            identity = _identity(path)
            line = tagged[i] if aligned else by_id.get(identity, "")
            reason = image_lists.bad_line(path) or image_lists.bad_line(line)
            if not reason and not identity:
                reason = "no Flickr id at the end of the name"
            if not reason and _first(line) != identity:
                reason = f"{tags.name} is about photo {_first(line)} here" if line else f"{tags.name} has no such photo"
            if reason:
                yield Bad(photos.name, i + 1, reason, path[:200])
                continue
            words = line.split()[1:]
            kept = tuple(word for word in words if word in taken) if known else tuple(words)
            yield Post(i, identity, "", 0, "", "", kept), _names(path, identity, gallery)

    yield from image_lists.chunks(found(), len(paths), photos.name, gallery)


def _identity(path: str) -> str:
    """The Flickr id at the end of a photo's name, as in `actor\\0001_2124494179.jpg`."""
    match = _ID.search(path.strip())
    return match[1].lstrip("0") if match else ""


def _first(line: str) -> str:
    """The id that a line of tags begins with."""
    return line.split(maxsplit=1)[0].lstrip("0") if line.strip() else ""


def _names(path: str, identity: str, gallery: Gallery) -> list[str]:
    """Under which name a photo is: the published one, or its id alone where it was fetched from Flickr again."""
    path = path.strip()
    return [path] if gallery.has(path) or not gallery.has(identity) else [identity]
