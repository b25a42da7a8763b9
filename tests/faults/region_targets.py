"""Readers of regions: TSV, .npz, folders, HDF5, and values of LMDB."""

import base64
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtag_prep import region_files
from jaxtag_prep.region_rows import BadRow, Row, checked

from tests.faults.array_targets import hdf5_of
from tests.faults.made import BOXES, FEATURES, Made, file_in, npy, npz, of_file
from tests.faults.mutations import SEPARATOR
from tests.faults.targets import BINARY, TEXT, Target

WIDTH, REGIONS = 6, 4


def _regions(path: Path) -> bool:
    """Whether a row of a file or folder of regions can be used."""
    good = 0
    for item in region_files.rows(path, WIDTH):
        if isinstance(item, Row):
            item.image.encode()
            try:
                features, boxes = checked(item.read(), REGIONS, WIDTH, (40, 80))
            except BadRow as error:
                assert str(error) and "\n" not in str(error), str(error)
                continue
            assert np.isfinite(features).all() and (boxes >= 0).all() and (boxes <= 1).all()
            good += 1
        else:
            assert item[2] and item[1] >= 1 and "\n" not in item[2], item
    return good > 0


def _encoded(array: np.ndarray) -> bytes:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes())


def _region_lines(folder: Path) -> list[bytes]:
    ten = b"\t".join([b"a.jpg", b"40", b"80", b"x", b"x", b"x", b"x", b"3", _encoded(BOXES), _encoded(FEATURES)])
    six = b"\t".join([b"b", b"80", b"40", b"3", _encoded(BOXES * 40), _encoded(FEATURES)])
    return [ten + b"\n" + six + b"\n", b"img_id\tx\n" + six + b"\n"]


def _region_npz(folder: Path) -> list[bytes]:
    whole = {"image_id": np.array(["a", "b"]), "features": np.stack([FEATURES] * 2), "boxes": np.stack([BOXES] * 2)}
    return [npz(**whole, num_boxes=np.array([3, 2])), npz(True, **whole)]


def _region_folder(folder: Path) -> Made:
    where = file_in(folder, "a.npz").parent

    def read(data: bytes) -> bool:
        files = [*data.split(SEPARATOR), b"", b""]
        for name, content in zip(("a.npz", "b.npy", "b_boxes.npy"), files):
            (where / name).write_bytes(content)
        return _regions(where)

    return [SEPARATOR.join([npz(x=FEATURES, bbox=BOXES, image_h=40), npy(FEATURES), npy(BOXES)])], read


def _region_hdf5(folder: Path) -> list[bytes]:
    import h5py

    whole = hdf5_of(folder, image_id=[b"a", b"b"], features=np.stack([FEATURES] * 2), boxes=np.stack([BOXES] * 2))
    with h5py.File(folder / "groups.h5", "w") as file:
        file.create_group("a").create_dataset("features", data=FEATURES)
        file["a"].create_dataset("boxes", data=BOXES)
    return [*whole, (folder / "groups.h5").read_bytes()]


def pickled(value: Any, protocol: int = 4) -> bytes:
    """A pickle, such as a store of regions holds, without what is put aside."""
    import pickle  # noqa: S403 (written here, never read)

    return pickletools.optimize(pickle.dumps(value, protocol))


def _value(folder: Path) -> Made:
    """A value of a key-value store."""
    from jaxtag_prep import region_rows

    said = {
        "img_id": b"a",
        "num_boxes": 3,
        "features": _encoded(FEATURES),
        "boxes": _encoded(BOXES),
        "img_h": 40,
        "img_w": 80,
    }
    seeds = [
        pickled(said),
        pickled(said | {"img_id": "a"}, 2),
        npz(features=FEATURES, boxes=BOXES),
        *_region_lines(folder),
    ]

    def read(data: bytes) -> bool:
        try:
            row = region_rows.of_bytes(data, "a.lmdb", 1, "a", WIDTH)
            row.image.encode()
            checked(row.read(), REGIONS, WIDTH, (40, 80))
        except BadRow as error:
            assert str(error) and "\n" not in str(error), str(error)
            return False
        return True

    return seeds, read


def store(values: dict[bytes, bytes], size: int = 512) -> bytes:
    """The bytes of an LMDB store of pages of `size` bytes: a root, a leaf for each key, pages for long values."""
    pages: list[bytes] = [b"", b""]  # two about the store
    leaves = []
    for key, value in values.items():
        flags = len(value) + len(key) > size - 64
        if flags:
            own = b"".join([struct.pack("<QHHI", len(pages), 0, 4, -(-(len(value) + 16) // size)), value])
            said = struct.pack("<Q", len(pages))
            pages += [own[at : at + size].ljust(size, b"\0") for at in range(0, len(own), size)]
        node = (
            struct.pack("<4H", len(value) & 0xFFFF, len(value) >> 16, flags, len(key))
            + key
            + (said if flags else value)
        )
        leaves.append((key, len(pages)))
        pages.append(_page(len(pages), 2, [node], size))
    nodes = [struct.pack("<4H", page, 0, 0, len(key)) + key for key, page in leaves]
    pages.append(_page(len(pages), 1, nodes, size))
    for number, page in ((0, size), (1, 0)):
        trees = (
            struct.pack("<IHH5Q", page, 8, 0, 0, 0, 0, 0, 2**64 - 1),
            struct.pack("<IHH5Q", 0, 0, 2, 1, 1, 0, 2, len(pages) - 1),
        )
        meta = (
            struct.pack("<2I2Q", 0xBEEFC0DE, 1, 0, 1 << 20)
            + b"".join(trees)
            + struct.pack("<2Q", len(pages) - 1, number)
        )
        pages[number] = (struct.pack("<QHHI", number, 0, 8, 0) + meta).ljust(size, b"\0")
    return b"".join(pages)


def _page(number: int, flags: int, nodes: list[bytes], size: int) -> bytes:
    """A page of a tree: where its nodes begin, and they, from the end on."""
    ends = [size - sum(map(len, nodes[: i + 1])) for i in range(len(nodes))]
    head = struct.pack("<Q4H", number, 0, flags, 16 + 2 * len(nodes), min(ends)) + struct.pack(f"<{len(ends)}H", *ends)
    return head.ljust(ends[-1], b"\0") + b"".join(reversed(nodes))


def _store(folder: Path) -> list[bytes]:
    return [store({b"a": npz(features=FEATURES, boxes=BOXES), b"b": _region_lines(folder)[0].split(b"\n")[0]})]


TARGETS = (
    Target("regions.tsv", "bytes", TEXT, of_file("a.tsv", _region_lines, _regions)),
    Target("regions.value", "bytes", TEXT, _value),
    Target("regions.npz", "zip", BINARY, of_file("a.npz", _region_npz, _regions)),
    Target("regions.folder", "bytes", BINARY, _region_folder),
    Target("regions.hdf5", "bytes", BINARY, of_file("a.h5", _region_hdf5, _regions), ("h5py",), True),
    Target("regions.lmdb", "bytes", BINARY, of_file("a.lmdb", _store, _regions)),
)
