"""Published image collections as lists: a line for each image, and files whose lines go with those."""

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from jaxtag.errors import JaxtagError

from .archives import Text
from .gallery import Gallery
from .lines import LONGEST, Bad, Lines, escaped
from .source import MOST_ROWS, Chunk, Post
from .tables import ROWS, present

_DEEPEST = 3  # folders below the one given in which a list is looked for


def find(folder: Path, name: str) -> Path | None:
    """The file called `name`, whatever its case, in `folder` or not far below it; the nearest, then the first by name.

    Raises:
      JaxtagError: there is no such folder.
    """
    if not folder.is_dir():
        raise JaxtagError(f"no folder {folder}" if not folder.exists() else f"{folder} is not a folder")
    for depth in range(_DEEPEST + 1):
        there = sorted(p for p in _at(folder, depth) if p.name.lower() == name.lower() and p.is_file())
        if there:
            return there[0]
    return None


def need(folder: Path, name: str, what: str) -> Path:
    """As `find`.

    Raises:
      JaxtagError: there is none; `what` says what it would be.
    """
    found = find(folder, name)
    if found is None:
        raise JaxtagError(f"{folder} holds no {name}, {what}", "name the folder that has it with --input")
    return found


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file without their ends, empty ones at the end left out.

    Raises:
      JaxtagError: it is no file, or empty.
    """
    present(path)
    with contextlib.closing(Text(path, encoding)) as text:
        reader, found = Lines(text), []
        for line in reader:
            reader.clear()
            found.append(line.rstrip("\r\n"))
    while found and not found[-1].strip():
        found.pop()
    return found


def together(first: Path, second: Path, encoding: str) -> tuple[list[str], list[str]]:
    """The lines of two files of which line i is about the same image.

    Raises:
      JaxtagError: one has more than the other, so that nobody knows which belong together.
    """
    a, b = lines(first, encoding), lines(second, encoding)
    if len(a) != len(b):
        raise JaxtagError(
            f"{first} has {len(a)} lines and {second} has {len(b)}, so which belong together is not known",
            "give the lists as they were published",
        )
    return a, b


def bad_line(line: str) -> str:
    """Why a line cannot be used, or ''."""
    if len(line) > LONGEST:
        return f"a line longer than {LONGEST} characters"
    return "not utf-8" if escaped(line) else ""


def chunks(
    found: Iterable[tuple[Post, list[str]] | Bad], total: int, file: str, gallery: Gallery
) -> Generator[Chunk, None, None]:
    """Posts with the names of their images, or bad lines, as chunks of posts with their images.

    Args:
      found: for each line of the list, in order, each post with its ordinal.
      total: how many there are.
      file: the name of the list.

    Raises:
      JaxtagError: there are too many, or hardly an image is where it should be.
    """
    if total > MOST_ROWS:
        raise JaxtagError(f"{file} goes past {MOST_ROWS} lines", "split the source into several datasets")
    source, read = iter(found), 0
    while some := list(islice(source, ROWS)):
        good = [item for item in some if not isinstance(item, Bad)]
        read += len(some)
        chunk = Chunk([post for post, _ in good], [item for item in some if isinstance(item, Bad)], len(some))
        chunk.done = read / max(1, total)
        yield gallery.fill(chunk, [names for _, names in good], [(file, post.ordinal + 1) for post, _ in good])


def _at(folder: Path, depth: int) -> Iterator[Path]:
    """What lies just `depth` folders below `folder`."""
    try:
        with os.scandir(folder) as entries:
            there = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in there:
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _at(Path(entry.path), depth - 1)
        elif not depth:
            yield Path(entry.path)
