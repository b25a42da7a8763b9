"""Files of regions, row by row: TSV, folders of .npz and .npy, whole .npz archives, HDF5 and LMDB.

A row is found by reading on, and its values are decoded once they are asked for; nothing is held but a block.
"""

import contextlib
import zipfile
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.arrays import DAMAGE, Objects, checked_text, open_npy, open_npz, read_header
from jaxtag.data import hdf5
from jaxtag.errors import JaxtagError

from . import lmdb_file, region_rows
from .region_rows import BROKEN, BadRow, Found, Row
from .tables import present

LINE = 64 << 20  # bytes of a line, at most
HDF5 = (".h5", ".hdf5", ".he5")
_BESIDE = ("_boxes", "_bbox", "_box")  # of features NAME.npy, boxes in NAME_boxes.npy
Item = Row | tuple[str, int, str]  # a row; or of a bad one its file, its place and why


def rows(path: Path, width: int) -> Iterator[Item]:
    """The rows of a file or folder, in an order that is always the same; region features are `width` wide.

    Raises:
      JaxtagError: it is not there, of an unknown kind or unreadable as a whole, or its library is not installed.
    """
    if path.is_dir():
        yield from _stored(path, width) if (path / "data.mdb").is_file() else _folder(path, width)
        return
    present(path)
    suffix = path.suffix.lower()
    if suffix in (".tsv", ".csv", ".txt"):
        yield from _lines(path, width)
    elif suffix == ".npz":
        yield from _archive(path, width)
    elif suffix in HDF5:
        yield from _hdf5(path, width)
    elif suffix in (".lmdb", ".mdb"):
        yield from _stored(path, width)
    else:
        raise JaxtagError(
            f"cannot tell what kind of regions {path.name} has", "name it .tsv, .npz, .h5 or .lmdb, or give a folder"
        )


def _lines(path: Path, width: int) -> Iterator[Item]:
    with open(path, "rb", buffering=1 << 20) as file:
        place = 0
        while line := file.readline(LINE):
            place += 1
            if len(line) == LINE and not line.endswith(b"\n"):
                while (more := file.readline(LINE)) and not more.endswith(b"\n"):
                    pass
                yield path.name, place, f"a line longer than {LINE} bytes"
                continue
            if place == 1 and line.split(b"\t", 1)[0] in (b"img_id", b"image_id"):
                continue  # a header
            if not line.strip():
                continue
            yield _or_bad(path.name, place, partial(region_rows.of_line, line, path.name, place, width))


def _or_bad(file: str, place: int, make: Any) -> Item:
    try:
        return make()
    except BadRow as error:
        return file, place, str(error)


def _folder(path: Path, width: int) -> Iterator[Item]:
    names = sorted(p.name for p in path.iterdir() if p.suffix.lower() in (".npz", ".npy") and p.is_file())
    if not names:
        raise JaxtagError(f"{path} holds no .npz, no .npy and no data.mdb", "name the folder that has the features")
    boxes = {name for name in names if name.endswith(tuple(f"{end}.npy" for end in _BESIDE))}
    place = 0
    for name in names:
        if name in boxes:
            continue
        place += 1
        yield Row(name, place, Path(name).stem, partial(_file, path / name, width))


def _file(path: Path, width: int) -> Found:
    """What one image's file has."""
    try:
        if path.suffix.lower() == ".npz":
            return region_rows.of_values(open_npz(path), width)
        beside = [path.with_name(f"{path.stem}{end}.npy") for end in _BESIDE]
        where = next((file for file in beside if file.is_file()), None)
        if where is None:
            raise BadRow(f"no boxes: there is no {path.stem}_boxes.npy beside it")
        return region_rows.of_arrays(open_npy(path), open_npy(where), -1, width)
    except BROKEN as error:
        raise BadRow(f"it cannot be read: {hdf5.reason(error):.100}") from None


def _archive(path: Path, width: int) -> Iterator[Item]:
    """The rows of one archive's arrays, read from the front of each."""
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            arrays = {
                n.removesuffix(".npy"): stack.enter_context(_Member(archive, n))
                for n in archive.namelist()
                if n.endswith(".npy")
            }
        except (*DAMAGE, MemoryError) as error:
            raise JaxtagError(f"{path} is no readable .npz file: {hdf5.reason(error)}") from None
        yield from _whole(path, {key: array for key, array in arrays.items() if array.shape}, width)


class _Member:
    """An array of an archive, whose rows are read in order."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        self._file, self._at = archive.open(name), 0
        self.shape: tuple[int, ...] = ()
        with contextlib.suppress(Objects):
            header = read_header(self._file)  # type: ignore[arg-type]: a stream of bytes
            self.dtype = header.dtype
            if not (header.columns_first and len(header.shape) > 1):
                self.shape = header.shape

    def __enter__(self) -> "_Member":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        """Row `row`, at or past the one last asked for."""
        size = self.dtype.itemsize * prod(self.shape[1:])
        if size > LINE:
            raise ValueError(f"a row of {size} bytes")
        while self._at <= row:
            data = self._file.read(size)
            self._at += 1
            if len(data) != size:
                raise EOFError("it ends early")
        return checked_text(np.frombuffer(data, self.dtype).reshape(self.shape[1:]))


def _hdf5(path: Path, width: int) -> Iterator[Item]:
    with hdf5.opened(path, "regions") as file:
        arrays = hdf5.within(file)
        if region_rows.first(arrays, region_rows.FEATURES) is not None:
            yield from _whole(path, arrays, width)
            return
        for place, key in enumerate(file, 1):
            try:  # now: the file is closed when the last rows are decoded
                values = {
                    name: item[()] for name, item in hdf5.within(file[key]).items() if name not in region_rows.IDS
                }
            except (AttributeError, *hdf5.DAMAGE) as error:
                yield path.name, place, f"it cannot be read: {hdf5.reason(error):.100}"
                continue
            yield Row(path.name, place, key, partial(region_rows.of_values, values, width))


def _whole(path: Path, arrays: dict[str, Any], width: int) -> Iterator[Item]:
    """The rows of arrays that have a row for each image."""
    said = ", ".join(f"{key} {list(a.shape)}" for key, a in arrays.items()) or "nothing"
    ids, features = (region_rows.first(arrays, names) for names in (region_rows.IDS, region_rows.FEATURES))
    boxes = region_rows.first(arrays, region_rows.BOXES)
    for what, array, rank in (("features", features, 3), ("boxes", boxes, 3), ("names of images", ids, 1)):
        if array is None or len(array.shape) != rank:
            wanted = {"features": "features [images, regions, width]", "boxes": "boxes [images, regions, 4]"}
            raise JaxtagError(f"{path} has no {wanted.get(what, 'image_id [images]')} (it has: {said})")
    if not len(ids) == len(features) == len(boxes):
        raise JaxtagError(f"{path} has {len(ids)} names, {len(features)} features and {len(boxes)} boxes")
    numbers = {names: region_rows.first(arrays, names) for names in _NUMBERS}
    for row in range(len(ids)):
        try:
            name, seen, where = ids[row], features[row], boxes[row]
            count, height, wide = (_plain(a, row) for a in numbers.values())
        except BROKEN as error:
            yield path.name, row + 1, f"it cannot be read: {hdf5.reason(error):.100}"
            continue
        made = partial(region_rows.of_arrays, seen, where, int(count), width, (max(height, 0.0), max(wide, 0.0)))
        yield Row(path.name, row + 1, _name(name), made)


def _plain(array: Any, row: int) -> float:
    """A number of a row; −1 where there are none.

    Raises:
      ValueError: it is none, or one that no image has.
    """
    found = -1.0 if array is None else float(np.asarray(array[row]).reshape(()))
    if not abs(found) < 2**31:
        raise ValueError(f"a number of {found}")
    return found


_NUMBERS = (region_rows.COUNT, region_rows.HEIGHT, region_rows.WIDTH)


def _name(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _stored(path: Path, width: int) -> Iterator[Item]:
    with lmdb_file.opened(path) as rows:
        for place, (key, value) in enumerate(rows, 1):
            if key in (b"keys", b"__keys__", b"__len__", b"metadata"):
                continue  # lists of the others
            if isinstance(value, str):
                yield path.name, place, value
                continue
            name = key.decode("utf-8", "replace").removesuffix(".npz")
            make = partial(region_rows.of_bytes, value, path.name, place, name, width)
            yield _or_bad(path.name, place, make)
