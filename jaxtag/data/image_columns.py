"""Images as columns of a batch: features of the image that a post has, read from the extractors' memory-mapped arrays.

    vector [B, D]         pooled features; of several extractors, side by side
    grid [B, G, D]        features of the cells of a grid, row by row; of several extractors, side by side
    pixels [B, S, S, 3]   decoded images, uint8
    regions [B, R, D]     features of what a detector found in the image
    boxes [B, R, 4]       where that is: x1 y1 x2 y2 in 0 … 1
    cells [B]             with any of these: how many of the image's vectors are real, 0 where a post has no image

The arrays lie on disk and on the device as they were stored, float16 or uint8; a batch has float32 for float16. What a
batch has where a post has no image is zeros, which a model leaves out by `cells`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxtag.data.dataset import Dataset
from jaxtag.data.extractors import NETWORKS
from jaxtag.data.images import extractors, open_features
from jaxtag.data.posts import BOXES, CELLS, GRID, IMAGE_COLUMNS, PIXELS, REGION_COLUMNS, REGIONS, TOPICS, VECTOR, shapes
from jaxtag.errors import JaxtagError, nearest

IMAGE_ROWS, COUNT = "image", "count"  # of a resident feed: the row of each post's image, and regions by row
USUAL_REGIONS = {REGIONS: (36, 2048), BOXES: (36, 4)}  # of the detector that LXMERT was trained with


def stored(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of a post's values as they lie on disk, and of `cells`, where image columns have `shapes`."""
    kinds = {PIXELS: "uint8", BOXES: "float32"}
    found = {name: (shape, kinds.get(name, "float16")) for name, shape in shapes.items()}
    return found | ({CELLS: ((), "int32")} if shapes else {})


def types(
    lengths: Mapping[str, int], posts: int, image: Mapping[str, tuple[int, ...]], topics: int = 0
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of a post's values as they are sent to a device, by column.

    Args:
      lengths, posts: as of `shapes`.
      image: shapes of image columns.
      topics: how many proportions of topics a post has.
    """
    found = {name: (shape, "int32") for name, shape in shapes(lengths, posts).items()} | stored(image)
    return found | ({TOPICS: ((topics,), "float16")} if topics else {})


def usual_shapes(extractor: str, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of the image columns among `names` as `jaxtag-prep images` makes them by default, without a dataset.

    Raises:
      JaxtagError: an extractor is none of jaxtag's own.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name in (name for name in names if name in IMAGE_COLUMNS):
        if name == PIXELS or name in REGION_COLUMNS:
            found[name] = USUAL_REGIONS.get(name, (224, 224, 3))
            continue
        width, cells = 0, 0
        for called in extractor.split(","):
            if called.strip() not in NETWORKS:
                raise JaxtagError(
                    f"no image features {called!r} are known without a dataset", nearest(called, NETWORKS)
                )
            network = NETWORKS[called.strip()]
            width += network.widths[0 if name == VECTOR else -1]
            cells = (network.side // 32 - (network.side == 299)) ** 2  # Inception-V3's grid is 8 x 8 of 299 pixels
        found[name] = (width,) if name == VECTOR else (cells, width)
    return found


@dataclass(frozen=True)
class ImageColumns:
    """Features of a dataset's images, for every post.

    Attributes:
      names: of the extractors.
      rows: of each post's image in the arrays, int32 `[posts]`; −1 where it has none, or none with features.
      arrays: by column, one `[images, …]` of each extractor, to be joined along the last axis.
      counts: where regions are read, how many an image has, int32 `[images]`.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    arrays: dict[str, tuple[np.ndarray, ...]]
    counts: np.ndarray | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a post's values, by column."""
        return {
            name: (*parts[0].shape[1:-1], sum(part.shape[-1] for part in parts)) for name, parts in self.arrays.items()
        }

    @property
    def bytes(self) -> int:
        """Of all that a device holds where they are resident."""
        return self.rows.nbytes + sum(part.nbytes for parts in self.arrays.values() for part in parts)

    @property
    def cells(self) -> int:
        """How many vectors an image has, at most."""
        return cells_of(self.shapes)

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of the posts `rows [B]` as they are stored, and `cells`; a row of −1 has no image."""
        at = np.where(rows < 0, -1, self.rows[np.maximum(rows, 0)])
        none, known = at < 0, np.maximum(at, 0)
        found = {}
        for name, parts in self.arrays.items():
            found[name] = parts[0][known] if len(parts) == 1 else np.concatenate([part[known] for part in parts], -1)
            found[name][none] = 0
        cells = self.cells if self.counts is None else self.counts[known]
        return found | {CELLS: np.where(none, 0, cells).astype(np.int32)}

    def whole(self) -> dict[str, np.ndarray]:
        """The arrays, those of several extractors joined, and the row of each post's image."""
        joined = {n: parts[0] if len(parts) == 1 else np.concatenate(parts, -1) for n, parts in self.arrays.items()}
        return joined | {IMAGE_ROWS: self.rows} | ({} if self.counts is None else {COUNT: self.counts})

    def describe(self, rows: np.ndarray) -> str:
        """A line on what is read of the posts `rows`, and how many of them have no image."""
        shapes = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in self.shapes.items())
        none = int((self.rows[rows] < 0).sum())
        without = f"; {none:,} of {len(rows):,} posts have none, and are read without" if none else ""
        return f"images: {' and '.join(self.names)}, {shapes}{without}"


def image_columns(dataset: Dataset, extractor: str, names: Iterable[str]) -> ImageColumns | None:
    """The image columns among `names`, of the extractors that `extractor` names, separated by commas; None of none.

    Raises:
      JaxtagError: no extractor is named, the dataset has no images or lacks the features, or they are damaged.
    """
    wanted = [name for name in names if name in IMAGE_COLUMNS]
    if not wanted:
        return None
    dataset.column("image")  # refuses a dataset without images, with the command that makes one
    called = tuple(filter(None, (name.strip() for name in extractor.split(","))))
    if not called:
        has = ", ".join(extractors(dataset)) or "none: jaxtag-prep images --data DIR --extractor resnet50"
        raise JaxtagError("data.extractor names no image features", f"the dataset has {has}")
    opened = [open_features(dataset, name) for name in called]
    image = np.asarray(dataset.column("image"), np.int32)
    rows = image
    for features in opened:
        rows = np.where(features.rows(image) < 0, -1, rows)
    counts = None
    if found := set(wanted) & set(REGION_COLUMNS):
        if len(called) > 1:
            raise JaxtagError(f"data.extractor names {extractor}, and {min(found)} are of one", "name one of them")
        opened[0].array(min(found))  # which says what is missing better
        counts = np.asarray(opened[0].array(COUNT))
    return ImageColumns(called, rows, {name: tuple(f.array(name) for f in opened) for name in wanted}, counts)


def cells_of(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many vectors an image has, at most, where image columns have `shapes`; 0 where there are none."""
    many = next((shapes[name][0] for name in (GRID, *REGION_COLUMNS) if name in shapes), 1)
    return many if shapes else 0


def taken(arrays: dict[str, Any], rows: Any, cells: int, xp: Any) -> dict[str, Any]:
    """The columns of the posts `rows [B]` from `whole`'s arrays on the device, as stored; and `cells`; traceable."""
    at = xp.where(rows < 0, -1, arrays[IMAGE_ROWS][xp.maximum(rows, 0)])
    none, found = at < 0, {}
    for name in IMAGE_COLUMNS:
        if name in arrays:
            values = arrays[name][xp.maximum(at, 0)]
            found[name] = xp.where(none.reshape(-1, *[1] * (values.ndim - 1)), xp.zeros((), values.dtype), values)
    real = arrays[COUNT][xp.maximum(at, 0)] if COUNT in arrays else cells
    return found | {CELLS: xp.where(none, 0, real).astype(xp.int32)}


def as_read(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch, float16 features as float32."""
    return {name: x.astype(np.float32) if x.dtype == np.float16 else x for name, x in batch.items()}
