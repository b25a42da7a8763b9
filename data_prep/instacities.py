"""InstaCities1M and InstaNY100K: posts of Instagram by city, a caption and an image of one name each, in two folders.

    captions_resized_1M/cities_instagram/london/1481255189662056249.txt     of InstaCities1M
    img_resized_1M/cities_instagram/london/1481255189662056249.jpg
    captions/newyork/1481255189662056249.txt, img_resized/newyork/...jpg    of InstaNY100K

The names of the outer folders do not matter: a caption is a .txt below a folder that is named for captions or, where
there is none, any .txt that is no list; what it is of is told by the folder that it lies in, the city, and its name. A
list (train.txt, val.txt, test.txt) has a city and a name, or a name, in each line.
"""

import os
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from jaxtag.errors import JaxtagError

from . import image_lists
from .gallery import Gallery
from .instagram import caption
from .lines import LONGEST, Bad
from .source import MOST_ROWS, Chunk, Post
from .tables import ROWS

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
ELSEWHERE = "images of folders without any caption, left out"
UNLISTED = "captions that no given list names, left out"
TWICE = "files of a city and name that another has too, left out"
UNTEXTED = "captions with bytes that are not of the encoding, left out of the text"
_LIST = re.compile(r"(train|val|valid|validation|dev|test)([_-].*)?", re.IGNORECASE)
_ABOUT = re.compile(r"(readme|licen[cs]e).*", re.IGNORECASE)
_REPOST = re.compile(
    r"#(?:repost|regram|regrann|reposted)\w*"
    r"|\b(?:repost(?:ed)?|regram(?:med)?|rt)\b\W{0,3}(?:(?:from|by|via)\b)?\W{0,3}@\w",
    re.IGNORECASE,
)

Key = tuple[str, str]  # a city and a name, of a post


@dataclass
class Layout:
    """The files of a dataset's posts.

    Attributes:
      captions: path below the folder, by city and name, in order of cities and names.
      images: the same below the folder of images.
      lists: paths of lists of posts, in the order train, validation, test.
      twice: files that another of the same city and name comes before.
      elsewhere: images of folders that have no caption.
    """

    captions: dict[Key, str] = field(default_factory=dict)
    images: dict[Key, str] = field(default_factory=dict)
    lists: list[Path] = field(default_factory=list)
    twice: int = 0
    elsewhere: int = 0


@dataclass(frozen=True)
class Wanted:
    """What is read.

    Attributes:
      folder: that captions are below.
      lists: of the posts to take; none takes all.
      reposts: whether posts that say that they repeat another's are left for the steps to `drop`, or to `keep`.
      encoding: of captions and lists.
    """

    folder: Path
    lists: tuple[Path, ...] = ()
    reposts: str = "drop"
    encoding: str = "utf-8"


def find(folder: Path, images: Path | None) -> Layout:
    """The files of the posts below `folder`, and of their images below `images`, if that is a folder.

    Raises:
      JaxtagError: there is no such folder, or no caption.
    """
    if not folder.is_dir():
        raise JaxtagError(f"no folder {folder}" if not folder.exists() else f"{folder} is not a folder")
    found, texts = Layout(), [path for path in _files(folder) if path.endswith(".txt")]
    named = [path for path in texts if any("caption" in part.lower() for part in PurePosixPath(path).parts[:-1])]
    aside = {path for path in set(texts) - set(named) if not _ABOUT.fullmatch(PurePosixPath(path).stem)}
    lists = [p for p in aside if _LIST.fullmatch(PurePosixPath(p).stem)]
    captions = named or sorted(aside - set(lists))
    _add(found, found.captions, captions)
    if not captions:
        raise JaxtagError(f"no caption below {folder}", "name the folder that has a .txt for each post with --input")
    _add(found, found.images, [path for path in _files(images) if path.lower().endswith(IMAGES)] if images else [])
    names = _by_name(found.captions)
    for key in [key for key in found.images if key not in found.captions]:  # images that do not lie by city
        if len(there := names.get(key[1], ())) == 1 and there[0] not in found.images:
            found.images[there[0]] = found.images.pop(key)
    cities = {city for city, _ in found.captions}
    for key in [key for key in found.images if key[0] not in cities]:
        found.elsewhere += 1
        del found.images[key]
    order = {"tr": 0, "va": 1, "de": 1, "te": 2}
    lists.sort(key=lambda path: (order[PurePosixPath(path).name[:2].lower()], path))
    found.lists = [folder / path for path in lists]
    return found


def read(wanted: Wanted, layout: Layout, gallery: Gallery) -> Generator[Chunk, None, None]:
    """The posts, by city and name or in the order of the lists; images without a caption, and lines of lists
    without a post, are bad rows.

    Raises:
      JaxtagError: a list cannot be read, there are too many posts, or hardly an image is where it should be.
    """
    total = max(len(layout.captions), 1)
    if total > MOST_ROWS:
        raise JaxtagError(f"{wanted.folder} has more than {MOST_ROWS} posts", "split the source into several datasets")
    source, begun, notes = _found(wanted, layout), 0, {TWICE: layout.twice, ELSEWHERE: layout.elsewhere}
    if wanted.lists:
        listed = {key for keys in _listed(wanted, layout).values() for key in keys}
        notes[UNLISTED] = len(layout.captions.keys() - listed)
    while some := list(islice(source, ROWS)):
        chunk, names, places = Chunk(read=len(some)), [], []
        for ordinal, item in enumerate(some, begun):
            if not isinstance(item, Bad):
                item = _post(wanted, layout, item, ordinal, gallery, chunk)
            if isinstance(item, Bad):
                chunk.bad.append(item)
            else:
                post, file, image = item
                chunk.posts.append(post)
                names.append([image])
                places.append((file, 1))
        begun += len(some)
        chunk.done = min(1.0, begun / total)
        if begun == len(some):
            chunk.notes.update({note: count for note, count in notes.items() if count})
        yield gallery.fill(chunk, names, places)


def is_repost(text: str) -> bool:
    """Whether a caption says that it repeats another's: #repost, #regram and their like, 'Repost from @x', 'RT @x'.

    The dataset tells it nowhere else.
    """
    return bool(_REPOST.search(text))


def _files(folder: Path) -> Iterator[str]:
    """Paths of all files below a folder, in order."""
    for place, below, names in os.walk(folder):
        below.sort()
        at = Path(place).relative_to(folder)
        yield from ((at / name).as_posix() for name in sorted(names) if not name.startswith("."))


def _add(layout: Layout, files: dict[Key, str], paths: Iterable[str]) -> None:
    for path in sorted(paths, key=_key):
        if files.setdefault(_key(path), path) != path:
            layout.twice += 1


def _key(path: str) -> Key:
    parts = PurePosixPath(path)
    return parts.parent.name, parts.stem


def _found(wanted: Wanted, layout: Layout) -> Iterator[Key | Bad]:
    """The posts to read, and what has no post."""
    if not wanted.lists:
        yield from layout.captions
        for key, path in layout.images.items():
            if key not in layout.captions:
                yield Bad(path, 1, "an image without a caption", "/".join(key))
    for file, keys in _listed(wanted, layout).items():
        for place, key in enumerate(keys, 1):
            if key[1] and key not in layout.captions:
                yield Bad(file, place, "a post that has no caption", "/".join(key).lstrip("/"))
            elif key[1] and wanted.lists:
                yield key


def _listed(wanted: Wanted, layout: Layout) -> dict[str, list[Key]]:
    """The posts of each line of each list, by its name; of an empty line one without a name."""
    names, found = _by_name(layout.captions), {}
    for path in wanted.lists or layout.lists:
        keys = []
        for line in image_lists.lines(path, wanted.encoding):
            said = re.split(r"[,;\t ]", line.strip(), maxsplit=1)[0].replace("\\", "/")
            parts = PurePosixPath(said)
            name = parts.stem if parts.suffix.lower() in (*IMAGES, ".txt") else parts.name
            key = (parts.parent.name, name)
            there = names.get(name, ())
            keys.append(there[0] if key not in layout.captions and not key[0] and len(there) == 1 else key)
        found[path.name] = keys
    return found


def _by_name(files: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in files:
        found.setdefault(key[1], []).append(key)
    return found


def _post(
    wanted: Wanted, layout: Layout, key: Key, ordinal: int, gallery: Gallery, chunk: Chunk
) -> tuple[Post, str, str] | Bad:
    """A post, the file of its caption and the name of its image."""
    file = layout.captions[key]
    try:
        text = caption(wanted.folder / file, encoding=wanted.encoding)
    except (ValueError, OSError) as error:
        return Bad(file, 1, str(error), key[1])
    if len(text) > LONGEST:
        return Bad(file, 1, f"a text longer than {LONGEST} characters", text)
    if "\ufffd" in text:
        chunk.notes[UNTEXTED] += 1
    image = layout.images.get(key, f"{key[0]}/{key[1]}.jpg") if gallery.folder else f"{key[0]}/{key[1]}.jpg"
    repost = wanted.reposts == "drop" and is_repost(text)
    return Post(ordinal, key[1], "", 0, "", text, None, -1, repost), file, image
