"""Regions of a dataset's images, as a detector found them: read row by row, checked, and written in blocks.

A run that was killed goes on with the blocks that it had not written, to the same bytes.
"""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jaxtag.data import images
from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import BOXES, REGIONS
from jaxtag.errors import JaxtagError

from . import feature_store, region_files
from .feature_files import by_name
from .gallery import digest_of, identity
from .progress import Bar
from .region_files import Item
from .region_rows import BadRow, Row, checked

BLOCK = 128  # rows
REJECTS, OWNERS, BAD = "rejects.jsonl", "owners.npy", "bad.jsonl"  # the last two of the work, gone in the end
NAMED = 5  # bad rows that are told
_COCO = re.compile(r"(?:COCO_\w+_)?(\d{12})")  # COCO's names of images, which end in their numbers
_NUMBER = re.compile(r"(?:COCO_\w+_)?0*(\d+)")  # what a source may have of them


@dataclass(frozen=True)
class Wanted:
    """Which regions.

    Attributes:
      input: file or folder.
      regions: that an image has room for.
      width: of a region's features.
      name: of the folder below images/.
      max_bad: the largest fraction of images to put up with that get none.
    """

    input: Path
    regions: int = 36
    width: int = 2048
    name: str = REGIONS
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        for option, value in (("--regions", self.regions), ("--width", self.width)):
            if not 1 <= value <= 1 << 16:
                raise JaxtagError(f"{option} {value} is not between 1 and {1 << 16}")
        if not 0 <= self.max_bad <= 1:
            raise JaxtagError(f"--max-bad {self.max_bad} is not between 0 and 1")

    def settings(self) -> dict[str, Any]:
        """What the regions depend on beside the images.

        Raises:
          JaxtagError: there is no such file or folder.
        """
        return {"source": _identity(self.input), "regions": self.regions}


def make(data: Path, wanted: Wanted, workers: int = 1) -> dict[str, Any]:
    """Give a dataset's images regions, unless it has just these.

    Args:
      data: dataset folder.
      wanted: which.
      workers: threads that decode.

    Returns:
      extractor.json: also `bad_rows`, rows of the source that are of no use and `rejects.jsonl` lists, and
      `not_in_dataset`, rows of other images; and `first_bad`, some of the bad ones, and `images_per_second`, where
      something was read.

    Raises:
      JaxtagError: no such dataset or source, no row is of an image of the dataset, or too many images get no regions.
    """
    dataset = open_dataset(data)
    files, used, name, settings = (
        images.files(dataset),
        feature_store.used_rows(dataset),
        wanted.name,
        wanted.settings(),
    )
    if (before := feature_store.existing(dataset, name, settings)) is not None:
        return before
    shapes = {REGIONS: (wanted.regions, wanted.width), BOXES: (wanted.regions, 4), "count": ()}
    with feature_store.work(dataset, name, settings) as side:
        written = feature_store.arrays(side, len(files), shapes)
        work = _Work(side, wanted, files, _names([file["file"] for file in files]), written)
        total = len(used)
        with ThreadPoolExecutor(workers) as pool, Bar("regions", total) as bar:
            rate = work.run(pool, bar)
        present = written["count"] > 0
        bad = {row: work.why.get(row, "no regions in the source") for row in used.tolist() if not present[row]}
        if not work.matched:
            raise JaxtagError(
                f"none of the {work.rows} rows of {wanted.input} is of an image of the dataset, whose first is "
                f"{files[0]['file']!r:.80}" + (f": {work.stranger!r:.80}" if work.stranger else ""),
                "name the images in both as one does" if work.stranger else "give the features that a detector wrote",
            )
        feature_store.check_bad(bad, total, wanted.max_bad, files)
        _list(side, work.rejects)
        told = {"bad_rows": len(work.rejects), "not_in_dataset": work.strangers}
        info = feature_store.finish(side, dataset, name, settings | told, shapes, np.array(present), bad)
    return info | {"first_bad": work.rejects[:NAMED], "images_per_second": rate}


def _identity(path: Path) -> dict[str, Any]:
    """What tells a source from another, by its size and ends: it may be hundreds of gigabytes."""
    if path.is_dir():
        return identity(path)
    if not path.is_file():
        raise JaxtagError(f"no file or folder {path}", "name one with --input")
    size, ends = path.stat().st_size, 1 << 20
    with open(path, "rb") as file:
        data = file.read(ends)
        file.seek(max(0, size - ends))
        data += file.read(ends)
    return {"name": path.name, "bytes": size, "digest": digest_of(data)}


def _names(files: list[str]) -> dict[str, int]:
    """Rows by what a source may call an image: its path, name, stem, or the number in a name of COCO's."""
    numbers: dict[str, int] = {}
    for row, file in enumerate(files):
        if found := _COCO.fullmatch(PurePosixPath(file).stem):
            number = str(int(found[1]))
            numbers[number] = -1 if number in numbers else row
    return numbers | by_name(files)


def _list(side: Path, rejects: list[dict[str, Any]]) -> None:
    """Write the bad rows, and take away what only the work needed."""
    with open(side / REJECTS, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rejects)
    for gone in (OWNERS, BAD):
        (side / gone).unlink(missing_ok=True)


@dataclass
class _Work:
    """Rows of a source to regions of images.

    Attributes:
      side, wanted, files, names, written: where, which, the images, their rows by name, the arrays to fill.
      rejects: bad rows, in the source's order.
      why: an image has no regions, by row.
      rows, matched, strangers: rows read, those of the dataset's images, and those of others.
      stranger: a name of such another.
    """

    side: Path
    wanted: Wanted
    files: list[dict[str, Any]]
    names: dict[str, int]
    written: dict[str, np.ndarray]
    rejects: list[dict[str, Any]] = field(default_factory=list)
    why: dict[int, str] = field(default_factory=dict)
    rows: int = 0
    matched: int = 0
    strangers: int = 0
    stranger: str = ""

    def run(self, pool: ThreadPoolExecutor, bar: Bar) -> float:
        """Write the regions of every row, but of blocks that are done; images a second."""
        done, owners, earlier = feature_store.done(self.side), self._owners(), self._earlier()
        source, begun, started = region_files.rows(self.wanted.input, self.wanted.width), 0, time.monotonic()
        with ThreadPoolExecutor(1) as ahead, open(self.side / BAD, "a", encoding="utf-8") as log:
            for number, block in enumerate(_ahead(ahead, source)):
                placed = [self._place(item) for item in block]
                if number in done:
                    found = earlier.get(number, [])
                else:
                    first = number * BLOCK + 1
                    found = self._write(pool, block, placed, owners, first)
                    log.writelines(json.dumps(row | {"block": number}) + "\n" for row in found)
                    log.flush()
                    feature_store.mark(self.side, number, self.written | {OWNERS: owners})
                    begun += sum(row >= 0 for row in placed)
                for row in found:
                    at = row.pop("at", -1)
                    self.rejects.append({key: value for key, value in row.items() if key != "block"})
                    if at >= 0:
                        self.why.setdefault(at, f"{row['file']} row {row['row']}: {row['reason']}")
                rate = begun / max(time.monotonic() - started, 1e-9)
                bar.to(min(self.matched, len(self.files)), f"{rate:.0f} images/s")
        return round(begun / max(time.monotonic() - started, 1e-9), 1)

    def _place(self, item: Item) -> int:
        """The row of the image that a row is of; −1 of none."""
        self.rows += 1
        if not isinstance(item, Row):
            return -1
        name = item.image.replace("\\", "/")
        row = self.names.get(name, self.names.get(PurePosixPath(name).name, -1))
        if row < 0:
            coco = _NUMBER.fullmatch(PurePosixPath(name).stem)
            row = self.names.get(coco[1], -1) if coco else -1
        self.matched += row >= 0
        if row < 0:
            self.strangers += 1
            self.stranger = self.stranger or item.image
        return row

    def _write(
        self, pool: ThreadPoolExecutor, block: list[Item], placed: list[int], owners: np.ndarray, first: int
    ) -> list[dict[str, Any]]:
        """Write the good rows of a block, whose first row of the source is `first`; the bad ones."""
        bad = []
        decoded = pool.map(partial(_decode, self.wanted, self.files), block, placed)
        for number, (item, row, found) in enumerate(zip(block, placed, decoded), first):
            if isinstance(item, Row) and row < 0:
                continue
            if isinstance(found, tuple) and owners[row] not in (0, number):  # of two good rows the first counts
                found = f"a second row of image {item.image!r:.80}" if isinstance(item, Row) else ""
            if isinstance(found, str):
                file, place = (item.file, item.place) if isinstance(item, Row) else item[:2]
                named = {"image": item.image} if isinstance(item, Row) else {}
                bad.append({"file": file, "row": place, **named, "reason": found, "at": row})
                continue
            features, boxes = found
            self.written[REGIONS][row, : len(features)] = features
            self.written[BOXES][row, : len(boxes)] = boxes
            self.written["count"][row], owners[row] = len(features), number
        return bad

    def _owners(self) -> np.ndarray:
        """Which row of the source, from 1, each image's regions are of; 0 of none yet."""
        path, rows = self.side / OWNERS, len(self.files)
        if path.is_file() and feature_store.done(self.side):
            return np.lib.format.open_memmap(path, mode="r+")
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.int64, shape=(rows,))

    def _earlier(self) -> dict[int, list[dict[str, Any]]]:
        """The bad rows that a run before has found, by block; of a block read twice the last time counts."""
        path, found = self.side / BAD, {}
        lines = path.read_text("utf-8").split("\n")[:-1] if path.is_file() else []
        for row in map(json.loads, lines):
            found.setdefault(row["block"], {})[row["file"], row["row"]] = row
        return {block: list(rows.values()) for block, rows in found.items()}


def _decode(wanted: Wanted, files: list[dict[str, Any]], item: Item, row: int) -> tuple[np.ndarray, np.ndarray] | str:
    """What is to be stored of a row; or why it is bad."""
    if not isinstance(item, Row):
        return item[2]
    if row < 0:
        return ""
    wide, height = files[row].get("size", (0, 0))
    try:
        return checked(item.read(), wanted.regions, wanted.width, (height, wide))
    except BadRow as error:
        return str(error)


def _ahead(pool: ThreadPoolExecutor, source: Iterator[Item]) -> Iterator[list[Item]]:
    """The rows of `source` in blocks, each read while the one before is worked on."""
    read = partial(lambda: list(islice(source, BLOCK)))
    waiting = pool.submit(read)
    while block := waiting.result():
        waiting = pool.submit(read)
        yield block
