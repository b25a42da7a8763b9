"""The images that a source's posts name: found below one folder, checked, and counted once each.

An image's row is its place in the order in which distinct files are met; two files of the same bytes are one image.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtag.data import pictures
from jaxtag.data.images import FILES, FOLDER, UNREADABLE
from jaxtag.data.pictures import BadImage
from jaxtag.errors import JaxtagError
from jaxtag.files import new_folder

from .lines import Bad
from .source import Chunk

SUSPICIOUS = 200  # images named, none of which is there: the folder is a wrong one
MISSING, OUTSIDE = "there is no such file", "outside the folder of images"
_ADDRESS = "an address, not a file"

Place = tuple[str, int]  # a file of the source, and the line there


class Gallery:
    """The distinct images met so far.

    Attributes:
      folder: that the files are in; None takes names for images, whose features are given later.
      files: what is known of each, by row, as images/files.jsonl has it.
      unreadable: what could not be used, as images/unreadable.jsonl has it.
    """

    def __init__(self, folder: Path | None, workers: int = 1):
        if folder is not None and not folder.is_dir():
            raise JaxtagError(f"no folder {folder} of images", "name the one that they are in with --images")
        self.folder, self.workers = folder, workers
        self.files: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, Any]] = []
        self._root = folder.resolve() if folder else Path()
        self._known: dict[str, int | str] = {}  # name in the source: row, or why there is none
        self._paths: dict[str, int | str] = {}  # the same by path below the folder
        self._digests: dict[str, int] = {}
        self._index: dict[str, list[str]] | None = None

    def fill(self, chunk: Chunk, names: Sequence[Sequence[str]], places: Sequence[Place]) -> Chunk:
        """Give the posts of a chunk their images; one left with neither text nor image becomes a bad row.

        Args:
          chunk: posts without images.
          names: of each post's images, best first; the first that can be used is its image.
          places: of each post.

        Raises:
          JaxtagError: hardly an image is where it should be.
        """
        rows = self._rows(names, places, chunk.notes)
        posts, chunk.posts = chunk.posts, []
        for post, row, named, place in zip(posts, rows, names, places):
            if row < 0 and not post.text.strip():
                why = f"{named[0]!r:.80}: {self._known[named[0]]}" if named else "it names none"
                chunk.bad.append(Bad(*place, f"neither text nor image ({why})", post.id))
                continue
            if row < 0 and named:
                chunk.notes["posts whose images cannot be used, kept for their text"] += 1
            chunk.posts.append(replace(post, image=row))
        return chunk

    def has(self, name: str) -> bool:
        """Whether there is a file of that name; always where names are images."""
        return self.folder is None or isinstance(self.find(name), Path)

    def write(self, folder: Path) -> None:
        """Write what is known of the images into `folder`.

        Raises:
          JaxtagError: none could be used.
        """
        if not self.files and self.unreadable:
            self._refuse()
        for name, lines in ((FILES, self.files), (UNREADABLE, self.unreadable)):
            with open(folder / name, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        if self.folder is not None:
            (folder / FOLDER).write_text(f"{self._root}\n", "utf-8")

    def _rows(self, names: Sequence[Sequence[str]], places: Sequence[Place], notes: Counter[str]) -> list[int]:
        """The row of each post's image, −1 where it has none that can be used."""
        rows, left, choice = [-1] * len(names), list(range(len(names))), 0
        while left := [i for i in left if rows[i] < 0 and len(names[i]) > choice]:
            self._meet([(names[i][choice], places[i]) for i in left], notes)
            for i in left:
                found = self._known[names[i][choice]]
                rows[i] = found if isinstance(found, int) else -1
            choice += 1
        several = sum(len(named) > 1 for named in names)
        if several:
            notes["posts with several images, of which the first readable one is taken"] += several
        return rows

    def _meet(self, named: Iterable[tuple[str, Place]], notes: Counter[str]) -> None:
        """Learn of images by name, those not known yet."""
        new: dict[str, Place] = {}
        for name, place in named:
            if name not in self._known:
                new.setdefault(name, place)
        if self.folder is None:
            for name in new:
                self._known[name] = len(self.files)
                self.files.append({"file": name})
            return
        found = {name: self.find(name) for name in new}
        fresh = list(dict.fromkeys(v for v in found.values() if isinstance(v, Path)))
        fresh = [path for path in fresh if path.as_posix() not in self._paths]
        for path, result in zip(fresh, self._checked(fresh)):
            self._paths[path.as_posix()] = self._add(path, result, notes)
        for name, place in new.items():
            path = found[name]
            self._known[name] = path if isinstance(path, str) else self._paths[path.as_posix()]
            if isinstance(why := self._known[name], str):
                kind = "missing" if why == MISSING else "outside their folder" if why == OUTSIDE else "unreadable"
                notes[f"images that are {kind}, all listed in images/{UNREADABLE}"] += 1
                self.unreadable.append({"image": name, "reason": why, "source": place[0], "place": place[1]})
        if not self.files and len(self.unreadable) >= SUSPICIOUS:
            self._refuse()

    def _checked(self, paths: list[Path]) -> list[tuple[dict[str, Any], tuple[str, ...]] | str]:
        """What each file is, and what is unusual about it; or why it cannot be used."""
        if self.workers == 1 or len(paths) < 2:
            return [_check(self._root, path) for path in paths]
        with ThreadPoolExecutor(self.workers) as pool:  # Pillow decodes without Python's lock
            return list(pool.map(lambda path: _check(self._root, path), paths))

    def _add(self, path: Path, result: tuple[dict[str, Any], tuple[str, ...]] | str, notes: Counter[str]) -> int | str:
        if isinstance(result, str):
            return result
        known, remarks = result
        if (row := self._digests.get(known["digest"])) is not None:
            notes["images that are copies of another's file, counted once"] += 1
            return row
        notes.update(remarks)
        self._digests[known["digest"]] = row = len(self.files)
        self.files.append({"file": path.as_posix(), **known})
        return row

    def find(self, name: str) -> Path | str:
        """The path below the folder that `name` is of, or why there is none."""
        name = name.strip().replace("\\", "/")
        if "://" in name:
            return _ADDRESS
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or "\0" in name:
            return MISSING
        try:
            if name.startswith("/") or ".." in parts:
                return self._inside(Path(name) if name.startswith("/") else self._root / name)
            for start in range(len(parts)):  # lists name folders above the one that a user has
                if (path := self._root.joinpath(*parts[start:])).is_file():
                    return self._inside(path)
        except (OSError, ValueError):  # a name longer than any
            return MISSING
        there = self._by_name().get(parts[-1], [])
        if len(parts) > 1:
            there = [path for path in there if path.endswith("/" + "/".join(parts))]
        if len(there) > 1:
            return "several files have this name"
        return self._inside(self._root / there[0]) if there else MISSING

    def _inside(self, path: Path) -> Path | str:
        """A path below the folder, links followed; or why it is none."""
        path = path.resolve()
        if not path.is_relative_to(self._root):
            return OUTSIDE
        return path.relative_to(self._root) if path.is_file() else MISSING

    def _by_name(self) -> dict[str, list[str]]:
        """Paths of all files below the folder by name, and by name without its ending."""
        if self._index is None:
            self._index = defaultdict(list)
            for path in sorted(self._all()):
                name = path.rpartition("/")[2]
                for key in {name, name.rpartition(".")[0] or name}:
                    self._index[key].append(path)
        return self._index

    def _all(self) -> Iterable[str]:
        for folder, _, names in os.walk(self._root):
            yield from (Path(folder, name).relative_to(self._root).as_posix() for name in names)

    def _refuse(self) -> None:
        first = self.unreadable[0]
        raise JaxtagError(
            f"none of the first {len(self.unreadable)} images can be used: {first['image']!r:.80} of "
            f"{first['source']}: {first['reason']} (below {self.folder})",
            "name the folder that they are in with --images",
        )


def _check(root: Path, path: Path) -> tuple[dict[str, Any], tuple[str, ...]] | str:
    """What the image at `path` is, and remarks; or why it cannot be used."""
    try:
        data = pictures.read(root / path)
        seen = pictures.look(data, path.name)
    except BadImage as error:
        return str(error)
    digest = digest_of(data)
    return {"bytes": len(data), "digest": digest, "size": [seen.width, seen.height]}, seen.remarks


def digest_of(data: bytes) -> str:
    """32 hexadecimal digits that identify a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def kept(out: Path, gallery: Gallery, chunks: Generator[Chunk, None, None]) -> Generator[Chunk, None, None]:
    """The chunks; when they end, the gallery is written to `out`/images."""
    with new_folder(out / "images") as folder:
        yield from chunks
        gallery.write(folder)


def identity(folder: Path) -> dict[str, Any]:
    """What tells a folder of files from another of its name: how many, their bytes, and a digest of names and sizes.

    Raises:
      JaxtagError: there is no such folder.
    """
    if not folder.is_dir():
        raise JaxtagError(f"no folder {folder}" if not folder.exists() else f"{folder} is not a folder")
    found: list[tuple[str, int]] = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            found.append((path.relative_to(folder).as_posix(), path.stat().st_size if path.exists() else -1))
    text = "\n".join(f"{name!a}\t{size}" for name, size in sorted(found))
    total = sum(size for _, size in found if size > 0)
    return {"name": folder.name, "files": len(found), "bytes": total, "digest": digest_of(text.encode())}
