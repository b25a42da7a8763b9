"""Images of a dataset: which files they are, and features of them from several extractors side by side.

DIR/images/files.jsonl         a line for each distinct image: its file below the folder of images, bytes, digest, size;
                               an image's row is its line, from 0; column `image` holds rows, -1 none
DIR/images/unreadable.jsonl    images that the source names and that could not be used, each with the reason
DIR/images/folder.txt          where the files were when the dataset was made; nobody's data depends on it
DIR/images/<extractor>/        vector.npy [rows, D] and grid.npy [rows, G, D], float16, or of the extractor pixels
                               pixels.npy [rows, S, S, 3], uint8; zeros where an image has none; present.npy [rows],
                               which have; extractor.json, which vouches for them
DIR/images/regions/            what a detector found, up to R regions an image: features.npy [rows, R, D] float16,
                               boxes.npy [rows, R, 4] float32, x1 y1 x2 y2 in 0 … 1 of width and height, count.npy
                               [rows] int32, how many are real; rejects.jsonl, rows of the source that are bad
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns
from jaxtag.data.dataset import Dataset
from jaxtag.documents import SEALED, Each, hold, versioned
from jaxtag.errors import JaxtagError
from jaxtag.files import check_seal

FORMAT = 1  # of folders of features
FILES, UNREADABLE, FOLDER = "files.jsonl", "unreadable.jsonl", "folder.txt"
DESCRIPTION = "extractor.json"
FEATURES = {"images": int, "rows": int, "shapes": dict, "files": SEALED}  # what extractor.json says
KINDS = {
    "vector": (2, "float16"), "grid": (3, "float16"), "pixels": (4, "uint8"),
    "regions": (3, "float16"), "boxes": (3, "float32"), "count": (1, "int32"),
}  # rank and type of the arrays  # fmt: skip


@dataclass(frozen=True)
class Features:
    """Features of a dataset's images by one extractor, memory-mapped.

    Attributes:
      name: of the extractor's folder.
      info: extractor.json; empty for simulated features, which dataset.json vouches for.
      present: which images have features, bool `[rows]`.
      vector: `[rows, D]` float16, or None.
      grid: `[rows, G, D]` float16, cells row by row, or None.
      pixels: decoded images `[rows, S, S, 3]` uint8, red first, or None.
      regions: features of what a detector found `[rows, R, D]` float16, or None.
      boxes: where it found that `[rows, R, 4]` float32, or None.
      count: how many regions are real, int32 `[rows]`, or None.
    """

    name: str
    info: dict[str, Any]
    present: np.ndarray
    vector: np.ndarray | None
    grid: np.ndarray | None
    pixels: np.ndarray | None = None
    regions: np.ndarray | None = None
    boxes: np.ndarray | None = None
    count: np.ndarray | None = None

    def array(self, kind: str) -> np.ndarray:
        """The array of that kind, of `KINDS`.

        Raises:
          JaxtagError: the extractor has no such array.
        """
        found = getattr(self, kind)
        if found is None:
            wanted = {"vector": f"{self.name} --layer pooled", "grid": f"{self.name} --layer grid", "pixels": "pixels"}
            computed = f"images --data DIR --extractor {wanted[kind]}" if kind in wanted else ""
            said = computed or "regions --data DIR --input FILE"
            raise JaxtagError(f"image features {self.name} have no {kind}", f"jaxtag-prep {said}")
        return found

    def rows(self, image: np.ndarray) -> np.ndarray:
        """Values of column `image`, −1 where there are no features, same shape and dtype."""
        return np.where((image >= 0) & self.present[np.maximum(image, 0)], image, -1).astype(image.dtype)


def file_of(kind: str) -> str:
    """The name of the file of an array of that kind."""
    return "features.npy" if kind == "regions" else f"{kind}.npy"


def extractors(dataset: Dataset) -> list[str]:
    """The names of the extractors whose features the dataset has, sorted."""
    there = {path.parent.name for path in (dataset.path / "images").glob(f"*/{DESCRIPTION}")}
    sealed = {name.split("/")[1] for name in dataset.info["files"] if name.startswith("images/") and "/" in name[7:]}
    return sorted(name for name in there | sealed if not name.endswith((".partial", ".old")))


def open_features(dataset: Dataset, name: str) -> Features:
    """The features of the dataset's images called `name`, held against their seal.

    Raises:
      JaxtagError: there are none of that name, they are of other images, or a file is missing, damaged or of another
        shape than its description.
    """
    folder, regions = dataset.path / "images" / name, f"jaxtag-prep regions --data {dataset.path} --input FILE"
    there, make = extractors(dataset), f"jaxtag-prep images --data {dataset.path} --extractor {name}"
    make = regions if name == "regions" else make
    if name not in there:
        raise JaxtagError(f"{dataset.path} has no image features {name!r} (it has: {', '.join(there) or 'none'})", make)
    image = np.asarray(dataset.column("image"))
    if not (folder / DESCRIPTION).is_file():  # simulated: sealed with the dataset
        vector = columns.load(folder / "vector.npy")
        return _checked(folder, Features(name, {}, np.ones(len(vector), bool), vector, None), image)
    info = versioned(folder / DESCRIPTION, "image features", FORMAT, FEATURES, f"delete it; {make}")
    if info["images"] != listing(dataset):
        raise JaxtagError(f"{folder} is of other images than {dataset.path} lists", f"delete it; {make}")
    check_seal(folder, info["files"], f"delete {folder}; {make}")
    arrays = {kind: columns.load(folder / file_of(kind)) for kind in KINDS if kind in info["shapes"]}
    for kind, array in arrays.items():
        if not isinstance(info["shapes"][kind], list) or list(array.shape) != [info["rows"], *info["shapes"][kind]]:
            what = f"{folder / file_of(kind)} is {list(array.shape)}, not as described"
            raise JaxtagError(what, f"delete it; {make}")
    present = np.array(columns.load(folder / "present.npy"))
    return _checked(folder, Features(name, info, present, *(arrays.get(kind) for kind in KINDS)), image)


def _checked(folder: Path, found: Features, image: np.ndarray) -> Features:
    """The features, when they fit the column `image` and each other."""
    for kind, (rank, dtype) in KINDS.items():
        array = getattr(found, kind)
        if array is not None and (array.dtype != dtype or array.ndim != rank or len(array) != len(found.present)):
            raise JaxtagError(
                f"{folder / file_of(kind)} holds {array.dtype} {list(array.shape)}, not {dtype} of rank {rank} and "
                f"{len(found.present)} rows",
                "delete the folder and make the features again",
            )
    if found.present.dtype != np.bool_ or int(image.max(initial=-1)) >= len(found.present):
        raise JaxtagError(
            f"{folder} has {len(found.present)} rows, and a post's image is row {int(image.max(initial=-1))}",
            "delete the folder and make the features again",
        )
    return found


def listing(dataset: Dataset) -> int:
    """What identifies the list of a dataset's images; 0 where it has none."""
    return dataset.info["files"].get(f"images/{FILES}", {}).get("crc32", 0)


def files(dataset: Dataset) -> list[dict[str, Any]]:
    """The dataset's images in the order of their rows, as images/files.jsonl has them.

    Raises:
      JaxtagError: the dataset lists no images.
    """
    path = dataset.path / "images" / FILES
    if f"images/{FILES}" not in dataset.info["files"]:
        raise JaxtagError(
            f"{dataset.path} lists no images",
            "make one that does with jaxtag-prep posts --image COL, harrison, nus-wide or instagram",
        )
    with open(path, encoding="utf-8") as lines:
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                raise JaxtagError(f"{path} line {number} is not JSON", "prepare the dataset again") from None
            hold(
                found[-1], {"file": str, "size?": Each(int, list)}, path, "prepare the dataset again", f"line {number}"
            )
    return found


def describe(dataset: Dataset) -> dict[str, Any]:
    """What `jaxtag data show` shows of images: how many, whose, and the extractors; empty where there are none."""
    if not dataset.has("image"):
        return {}
    image = np.asarray(dataset.column("image"))
    used = np.unique(image[image >= 0])
    found: dict[str, Any] = {
        "posts": int((image >= 0).sum()),
        "images": len(used),
        "unreadable": _lines(dataset.path / "images" / UNREADABLE),
        "extractors": [],
    }
    for name in extractors(dataset):
        features = open_features(dataset, name)
        shapes = {
            kind: list(getattr(features, kind).shape[1:]) for kind in KINDS if getattr(features, kind) is not None
        }
        keys = ("network", "layers", "weights", "source")
        said = {key: features.info[key] for key in keys if key in features.info}
        without = len(used) - int(features.present[used].sum())
        found["extractors"].append({"name": name, "shapes": shapes, "images_without": without, **said})
    return found


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def box_text(box: Sequence[float]) -> str:
    """Where a region is, x1 y1 x2 y2 in 0 … 1, in per cent of the image's width and height."""
    x1, y1, x2, y2 = (round(100 * edge) for edge in box)
    return f"{x1}-{x2} % across, {y1}-{y2} % down"
