"""HARRISON: photos of Instagram with hashtags already cleaned, as data_list.txt and tag_list.txt beside the photos.

Line i of data_list.txt is a photo's path, line i of tag_list.txt its hashtags in the author's order, white space
between them. There is no text, author or time.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

from . import image_lists
from .gallery import Gallery
from .lines import Bad
from .source import Chunk, Post

PHOTOS, HASHTAGS = "data_list.txt", "tag_list.txt"


def lists(folder: Path) -> tuple[Path, Path]:
    """The two lists, in `folder` or not far below.

    Raises:
      JaxtagError: one is not there.
    """
    photos = image_lists.need(folder, PHOTOS, "the paths of HARRISON's photos")
    return photos, image_lists.need(folder, HASHTAGS, "their hashtags")


def read(photos: Path, hashtags: Path, gallery: Gallery, encoding: str = "utf-8") -> Generator[Chunk, None, None]:
    """A post for each photo.

    Raises:
      JaxtagError: a list cannot be read, or they are not of one length.
    """
    paths, tags = image_lists.together(photos, hashtags, encoding)

    def found() -> Iterator[tuple[Post, list[str]] | Bad]:
        for i, (path, line) in enumerate(zip(paths, tags)):
            if reason := image_lists.bad_line(path) or image_lists.bad_line(line):
                yield Bad(photos.name, i + 1, reason, path[:200])
            else:
                post = Post(i, "", "", 0, "", "", tuple(line.split()))
                yield post, [path.strip()] if path.strip() else []

    yield from image_lists.chunks(found(), len(paths), photos.name, gallery)
