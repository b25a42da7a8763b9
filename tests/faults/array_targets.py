"""Readers of images and arrays: pictures, columns, features of .npy, .npz and HDF5."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtag_prep import feature_files

from jaxtag.data import columns, pictures
from tests import photos
from tests.faults.made import FEATURES, npy, npz, of_file
from tests.faults.targets import BINARY, Target

WIDTH, REGIONS = 6, 4


def _pictures(folder: Path) -> list[bytes]:
    from PIL import Image

    picture = Image.fromarray(photos.array(1, 4, 5))
    kinds = [photos.encoded(picture, kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP")]
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = photos.encoded(picture.convert("P"), "PNG", transparency=0)
    return [*kinds, photos.encoded(picture, "JPEG", exif=exif), photos.gif(2), clear, photos.bomb()]


def _picture(path: Path) -> bool:
    data = pictures.read(path)
    seen = pictures.look(data, path.name)
    assert pictures.pixels(data, 8).shape == (8, 8, 3) and 0 < seen.width * seen.height <= pictures.MOST_PIXELS
    return True


def _arrays(folder: Path) -> list[bytes]:
    return [
        npy(np.arange(6, dtype=np.int32)),
        npy(FEATURES.astype(np.float16)),
        npy(np.zeros((0, 3))),
        npy(FEATURES.T.copy().T),
    ]


def _column(path: Path) -> bool:
    return columns.load(path).sum() is not None


def hdf5_of(folder: Path, **values: Any) -> list[bytes]:
    import h5py

    path = folder / "seed.h5"
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file.create_dataset(name, data=value)
    return [path.read_bytes()]


def _given(path: Path) -> bool:
    """Features as `feature_files.load` takes them of a file, for a dataset of three images."""
    import contextlib

    given = feature_files.Given(path, name="given")
    with contextlib.ExitStack() as stack:
        held = feature_files._arrays(path, stack)
        array = feature_files._array(given, held)
        rows = feature_files._rows(
            given, feature_files._names(given, held, len(array)), ["a.jpg", "b.jpg", "c.jpg"], len(array)
        )
        shapes = feature_files._shapes(given, tuple(array.shape))
        written: Any = {kind: _flushed((3, *shape)) for kind, shape in shapes.items()}
        good, bad = feature_files._copy(array, rows, written)
    assert not good[list(bad)].any() and all(np.isfinite(out[good]).all() for out in written.values())
    return bool(good.any())


def _flushed(shape: tuple[int, ...]) -> np.ndarray:
    class Flushed(np.ndarray):
        def flush(self) -> None:
            pass

    if np.prod(shape) > 1 << 20:
        raise MemoryError(f"an array {shape} for a small file")
    return np.zeros(shape, np.float16).view(Flushed)


def _feature_npz(folder: Path) -> list[bytes]:
    names = np.array(["a.jpg", "b", "c.jpg"])
    return [
        npz(x=FEATURES, names=names),
        npz(True, feats=np.zeros((3, 2, 2, 2)), other=np.arange(3)),
        npz(x=FEATURES.astype(np.int8)),
    ]


def _feature_hdf5(folder: Path) -> list[bytes]:
    return hdf5_of(folder, x=FEATURES, names=[b"a.jpg", b"b", b"c.jpg"])


TARGETS = (
    Target("pictures", "bytes", BINARY, of_file("a.jpg", _pictures, _picture)),
    Target("columns", "npy", BINARY, of_file("a.npy", _arrays, _column)),
    Target(
        "features.npy",
        "npy",
        BINARY,
        of_file("a.npy", lambda folder: [npy(FEATURES), npy(np.zeros((3, 2, 2)))], _given),
    ),
    Target("features.npz", "zip", BINARY, of_file("a.npz", _feature_npz, _given)),
    Target("features.hdf5", "bytes", BINARY, of_file("a.h5", _feature_hdf5, _given), ("h5py",), True),
)
