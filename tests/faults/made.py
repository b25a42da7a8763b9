"""Files that several tables of readers are tried on: arrays, and what reads HDF5."""

import io
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from jaxtag.data import hdf5
from tests.faults.targets import Read

Made = tuple[list[bytes], Read]
RNG = np.random.default_rng(0)
FEATURES = RNG.random((3, 6), np.float32)
BOXES = np.sort(RNG.random((3, 2, 2), np.float32), 1).reshape(3, 4)


def file_in(folder: Path, name: str) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    return folder / "in" / name


def of_file(name: str, seeds: Callable[[Path], list[bytes]], reader: Callable[[Path], Any]) -> Callable[[Path], Made]:
    """A reader of the file called `name`."""

    def make(folder: Path) -> Made:
        path = file_in(folder, name)

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            with mock.patch.object(hdf5, "tried", lambda *tried: forked(*tried)):
                return bool(reader(path))

        return seeds(folder), read

    return make


def npy(array: Any) -> bytes:
    """The bytes of a .npy file."""
    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=False)
    return out.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    """The bytes of a .npz archive, the same every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = archive.compression
            archive.writestr(info, npy(array))
    return out.getvalue()


def forked(path: Path, _: int) -> tuple[int, str]:
    """As `hdf5.tried`, in a copy of this process for two seconds: starting Python takes longer than all the rest."""
    own, others = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_REAL, 0)
        code = 1
        try:
            with open(others, "w") as out:
                code = hdf5.attempt(str(path), 2, out)  # a copy begins without seconds used
        finally:
            os._exit(code)
    os.close(others)
    with open(own) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text
