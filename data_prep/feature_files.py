"""Features of images that others extracted: from .npy, .npz or HDF5 files, by name or in the order of the images."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jaxtag.arrays import open_npy, open_npz
from jaxtag.data import hdf5, images
from jaxtag.data.dataset import open_dataset
from jaxtag.data.extractors import LARGEST, NETWORKS, POOLED
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import crc32

from . import feature_store, image_lists
from .progress import Bar
from .tables import present

ROWS = 1024  # read at a time
_HDF5 = (".h5", ".hdf5", ".he5")


@dataclass(frozen=True)
class Given:
    """Features in files.

    Attributes:
      file: .npy, .npz or HDF5.
      names: a text file with the image of each row, one a line; None takes the names in `file`, or the order of
        the images in images/files.jsonl.
      key: which array of `file`; '' is the only one that can be meant.
      layers: 'pooled', 'grid' or both; none is what there is. The mean of a grid's cells is pooled.
      name: of the features.
      max_bad: the largest fraction of images to put up with that get none.
      network: that they are of, of `jaxtag.data.extractors.NETWORKS`, whose width they must have; '' is `name`.
    """

    file: Path
    names: Path | None = None
    key: str = ""
    layers: tuple[str, ...] = ()
    name: str = ""
    max_bad: float = 0.01
    network: str = ""

    def __post_init__(self) -> None:
        if self.network and self.network not in NETWORKS:
            raise JaxtagError(f"no extractor {self.network!r}", nearest(self.network, NETWORKS))


def load(data: Path, given: Given) -> dict[str, Any]:
    """Give a dataset these features, unless it has just these.

    Returns:
      extractor.json, and `not_in_dataset`, rows of the file that are of no image of the dataset.

    Raises:
      JaxtagError: no such dataset or file, the rows do not go with the images, the width is not the network's, or
        too many images get none.
    """
    dataset = open_dataset(data)
    files, used = images.files(dataset), feature_store.used_rows(dataset)
    if unknown := set(given.layers) - {POOLED, "grid"}:
        raise JaxtagError(f"no layer {sorted(unknown)[0]!r} of given features", "say pooled, grid or both")
    settings = {"source": _identity(given.file), "key": given.key, "layers": list(given.layers)}
    settings |= {"names": _identity(given.names)} if given.names else {}
    settings |= {"network": given.network} if given.network else {}
    if (before := feature_store.existing(dataset, given.name, settings)) is not None:
        return before
    with contextlib.ExitStack() as stack:
        held = _arrays(given.file, stack)
        array = _array(given, held)
        names = _names(given, held, len(array))
        row_of = _rows(given, names, [file["file"] for file in files], len(array))
        shapes = _shapes(given, tuple(array.shape))
        with feature_store.work(dataset, given.name, settings) as side:
            written = feature_store.arrays(side, len(files), shapes)
            good, bad = _copy(array, row_of, written)
            bad |= {row: "no features in the file" for row in used.tolist() if not good[row] and row not in bad}
            wanted = {row: bad[row] for row in used.tolist() if row in bad}
            feature_store.check_bad(wanted, len(used), given.max_bad, files)
            info = feature_store.finish(side, dataset, given.name, settings, shapes, good, wanted)
    return info | {"not_in_dataset": int((row_of < 0).sum())}


def _identity(path: Path) -> dict[str, Any]:
    present(path)
    return {"name": path.name, "bytes": path.stat().st_size, "crc32": crc32(path)}


def _arrays(path: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """The arrays of a file by key; that of a .npy has the key ''. `stack` closes the file.

    Raises:
      JaxtagError: it is of another kind, or damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz", *_HDF5):
        raise JaxtagError(f"cannot tell what kind of features {path.name} is", "name it .npy, .npz or .h5")
    if suffix in _HDF5:
        return hdf5.arrays(stack.enter_context(hdf5.opened(path, "images")))
    try:
        return {"": open_npy(path)} if suffix == ".npy" else open_npz(path)
    except (ValueError, OSError) as error:
        raise JaxtagError(f"{path} is no readable {suffix} file: {error!s:.200}") from None


def _array(given: Given, held: dict[str, Any]) -> Any:
    """The features among the arrays of a file.

    Raises:
      JaxtagError: there are none, or several that may be meant.
    """
    fitting = {key: a for key, a in held.items() if a.dtype.kind in "fiu" and 2 <= len(a.shape) <= 4 and min(a.shape)}
    said = ", ".join(f"{key} {list(a.shape)}" for key, a in held.items()) or "nothing"
    if given.key:
        if given.key not in fitting:
            raise JaxtagError(
                f"{given.file} has no features {given.key!r} (it has: {said})", nearest(given.key, fitting)
            )
        return fitting[given.key]
    if len(fitting) != 1:
        many = (
            "several arrays that may be features" if fitting else "no array [images, width] or [images, cells, width]"
        )
        raise JaxtagError(f"{given.file} has {many} (it has: {said})", "name one with --key" if fitting else "")
    return next(iter(fitting.values()))


def _names(given: Given, held: dict[str, Any], rows: int) -> list[str] | None:
    """The image of each row, where something tells.

    Raises:
      JaxtagError: there are not as many names as rows.
    """
    if given.names is not None:
        names: Sequence[str] = [line.strip() for line in image_lists.lines(given.names)]
        if len(names) != rows:
            raise JaxtagError(f"{given.names} has {len(names)} names, and {given.file} has {rows} rows of features")
        return list(names)
    texts = [a for a in held.values() if len(a.shape) == 1 and len(a) == rows and a.dtype.kind in "SUO"]
    if len(texts) != 1:
        return None
    try:
        values = texts[0][:].tolist()
    except hdf5.DAMAGE as error:
        raise JaxtagError(f"the names of {given.file} cannot be read: {hdf5.reason(error)}") from None
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def _rows(given: Given, names: list[str] | None, files: list[str], rows: int) -> np.ndarray:
    """The row in the dataset's images of each row of the file, −1 none, int64 `[rows]`.

    Raises:
      JaxtagError: nothing tells which row is of which image, or no name is of one.
    """
    if names is None:
        if rows != len(files):
            raise JaxtagError(
                f"{given.file} has {rows} rows of features, and the dataset has {len(files)} images",
                "give the image of each row with --names FILE",
            )
        return np.arange(rows)
    known = by_name(files)
    found, seen = np.full(rows, -1), set[int]()
    for i, name in enumerate(names):
        row = known.get(name, known.get(PurePosixPath(name.replace("\\", "/")).name, -1))
        if row >= 0 and row not in seen:  # of two rows of one image the first counts
            seen.add(row)
            found[i] = row
    if not seen:
        raise JaxtagError(
            f"none of the {rows} names of {given.file} is of an image of the dataset, whose first is {files[0]!r:.80}: "
            f"{names[0]!r:.80}",
            "name the images in both as one does",
        )
    return found


def by_name(files: list[str]) -> dict[str, int]:
    """Rows by path, by name and by name without its ending; a name of several images is none of them."""
    known = {file: row for row, file in enumerate(files)}
    short: dict[str, int] = {}
    for row, file in enumerate(files):
        path = PurePosixPath(file)
        for key in {path.name, path.stem}:
            short[key] = -1 if key in short else row
    return short | known


def _shapes(given: Given, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of a row of what is to be stored.

    Raises:
      JaxtagError: a grid is asked of vectors, or the width is not the network's.
    """
    width, cells = shape[-1], int(np.prod(shape[1:-1]))
    kinds = given.layers or ((POOLED,) if len(shape) == 2 else ("grid",))
    if len(shape) == 2 and "grid" in kinds:
        raise JaxtagError(f"{given.file} has one vector an image, no grid", "leave --layer grid out")
    network = NETWORKS.get(given.network or given.name)
    if network is not None and width not in network.widths:
        wanted = " or ".join(map(str, network.widths))
        raise JaxtagError(
            f"{given.file} has features of width {width}, those of {given.network or given.name} are {wanted} wide"
        )
    shapes = {POOLED: ("vector", (width,)), "grid": ("grid", (cells, width))}
    return dict(shapes[kind] for kind in (POOLED, "grid") if kind in kinds)


def _copy(array: Any, row_of: np.ndarray, written: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[int, str]]:
    """Copy rows to their places.

    Returns:
      Which places have features now, bool; and why others have none, by place.
    """
    good = np.zeros(len(next(iter(written.values()))), bool)
    bad: dict[int, str] = {}
    starts = range(0, len(row_of), ROWS)
    with Bar("image features", len(starts)) as bar:
        for start in bar.over(starts, lambda _: 1):
            rows = row_of[start : start + ROWS]
            try:
                block = array[start : start + ROWS]
            except hdf5.DAMAGE as error:  # a stretch of an HDF5 file is damaged
                raise JaxtagError(f"rows from {start} on cannot be read: {hdf5.reason(error)}") from None
            values = np.asarray(block, np.float32).reshape(len(rows), -1, array.shape[-1])
            fine = np.isfinite(values).all((1, 2)) & (rows >= 0)
            bad |= dict.fromkeys(rows[~fine & (rows >= 0)].tolist(), "features that are no numbers")
            values = np.clip(values[fine], -LARGEST, LARGEST)
            good[rows[fine]] = True
            for kind, out in written.items():
                out[rows[fine]] = values.mean(1) if kind == "vector" else values
    for out in written.values():
        out.flush()  # type: ignore[attr-defined]: a memory map
    return good, bad
