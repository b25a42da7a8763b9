"""An image's regions as files of detectors have them: decoded, checked, boxes as shares of width and height."""

import binascii
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jaxtag.arrays import DAMAGE, open_npz
from jaxtag.data.extractors import LARGEST
from jaxtag.data.hdf5 import reason
from jaxtag.training import opcodes

SLACK = 1e-3  # of a side by which a box may reach over it: what rounding does
# What files call an image's values, the usual first.
FEATURES = ("features", "regions", "x", "feat", "feats", "image_features")
BOXES = ("boxes", "bbox", "bboxes", "image_bb", "norm_bb")
COUNT = ("num_boxes", "num_bbox", "count")
HEIGHT, WIDTH = ("img_h", "image_h", "height", "h"), ("img_w", "image_w", "width", "w")
IDS = ("img_id", "image_id", "image_ids", "img_ids", "post_id", "ids", "names", "id")
# Fields of a line: the image, its height and width, how many boxes, boxes, features.
LAYOUTS = {10: (0, 1, 2, 7, 8, 9), 6: (0, 2, 1, 3, 4, 5)}
BROKEN = (*DAMAGE, RecursionError)


class BadRow(Exception):
    """A row that cannot be used, and why."""


@dataclass(frozen=True)
class Found:
    """What a detector found in an image, as its file says it.

    Attributes:
      features: `[n, D]` float32.
      boxes: `[n, 4]` float32, x1 y1 x2 y2 in pixels or already as shares.
      size: height and width of the image in pixels; zeros where nothing says.
    """

    features: np.ndarray
    boxes: np.ndarray
    size: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Attributes:
      file, place: where it is: the number of its line or row in the file, from 1.
      image: the image's name.
      read: gives what was found in it, or raises `BadRow`.
    """

    file: str
    place: int
    image: str
    read: Callable[[], Found]


def checked(found: Found, most: int, width: int, size: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Features `[n, width]` float16 and boxes `[n, 4]` float32 in 0 … 1 of a row.

    Args:
      found: in it.
      most: regions that there is room for.
      width: of a region's features.
      size: height and width of the image, where the row does not say them; zeros where nobody does.

    Raises:
      BadRow: it cannot be used.
    """
    features, boxes = found.features, found.boxes
    if not 1 <= len(features) <= most:
        raise BadRow(f"{len(features)} regions, not 1 to {most}")
    if features.shape != (len(features), width):
        raise BadRow(f"features {list(features.shape)}, not of width {width}")
    if boxes.shape != (len(features), 4):
        raise BadRow(f"boxes {list(boxes.shape)} of {len(features)} regions")
    if not np.isfinite(features).all() or not np.isfinite(boxes).all():
        raise BadRow("features that are no numbers" if np.isfinite(boxes).all() else "boxes that are no numbers")
    if boxes.max() > 1 + SLACK:
        height, wide = found.size if min(found.size) > 0 else size
        if not (0 < height < np.inf and 0 < wide < np.inf):
            raise BadRow("boxes in pixels, and nothing says how large the image is")
        boxes = boxes / np.array([wide, height, wide, height], np.float32)
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise BadRow("a box whose right or lower edge lies before its left or upper one")
    if boxes.min() < -SLACK or boxes.max() > 1 + SLACK:
        raise BadRow("a box outside the image")
    return np.clip(features, -LARGEST, LARGEST).astype(np.float16), np.clip(boxes, 0, 1)


def of_line(line: bytes, file: str, place: int, width: int) -> Row:
    """The row of a tab-separated line of 10 or 6 columns with base64 in them.

    Raises:
      BadRow: it has another number of columns, or no name.
    """
    fields = line.rstrip(b"\r\n").split(b"\t")
    if len(fields) not in LAYOUTS:
        raise BadRow(f"{len(fields)} columns, not 10 or 6")
    name, height, wide, count, boxes, features = (fields[i] for i in LAYOUTS[len(fields)])
    if not name.strip():
        raise BadRow("no name of an image")
    read = partial(_encoded, height, wide, count, boxes, features, width)
    return Row(file, place, name.decode("utf-8", "replace").strip(), read)


def _encoded(height: bytes, wide: bytes, count: bytes, boxes: bytes, features: bytes, width: int) -> Found:
    numbers = {"height": height, "width": wide, "number of boxes": count}
    for what, text in numbers.items():
        if not text.isdigit() or len(text) > 9:
            raise BadRow(f"a {what} of {text.decode('utf-8', 'replace')!r:.40}")
    many = int(count)
    if not int(height) or not int(wide):
        raise BadRow(f"an image of {int(wide)} x {int(height)} pixels")
    if not many:
        raise BadRow("no regions")
    where, seen = _floats(boxes, (many, 4), "boxes"), _floats(features, (many, width), "features")
    return Found(seen, where, (float(height), float(wide)))


def _floats(text: bytes | str, shape: tuple[int, int], what: str) -> np.ndarray:
    """The float32 numbers of that shape that `text` is the base64 of."""
    due = 4 * shape[0] * shape[1]
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise BadRow(f"{what} that are no base64: {error}") from None
    if len(data) != due:
        raise BadRow(f"{what} of {len(data)} bytes, not the {due} of {shape[0]} x {shape[1]} numbers")
    return np.frombuffer(data, "<f4").reshape(shape)


def of_values(values: Mapping[str, Any], width: int) -> Found:
    """What was found by the values of one image, arrays or base64, under the names that files have for them.

    Raises:
      BadRow: features or boxes are missing, or of no usable shape.
    """
    features, boxes = first(values, FEATURES), first(values, BOXES)
    if features is None or boxes is None:
        lacking = "features" if features is None else "boxes"
        raise BadRow(f"no {lacking} (it has: {', '.join(map(str, values)) or 'nothing'})")
    counted, size = first(values, COUNT), (_number(first(values, HEIGHT)), _number(first(values, WIDTH)))
    many = int(_number(counted)) if counted is not None else -1
    if isinstance(features, bytes | str) or isinstance(boxes, bytes | str):
        if many < 1:
            raise BadRow("no number of boxes above 0")
        return Found(_floats(features, (many, width), "features"), _floats(boxes, (many, 4), "boxes"), size)
    return of_arrays(features, boxes, many, width, size)


def of_arrays(features: Any, boxes: Any, many: int, width: int, size: tuple[float, float] = (0.0, 0.0)) -> Found:
    """What was found by features `[n, width]` or `[width, n]` and boxes `[n, 4 or more]`, the first `many` real.

    With `many` below 0, all are.

    Raises:
      BadRow: they have other axes, or fewer rows.
    """
    seen, where = np.asarray(features), np.asarray(boxes)
    if seen.dtype.kind not in "fiu" or where.dtype.kind not in "fiu" or seen.ndim != 2 or where.ndim != 2:
        raise BadRow(f"features {seen.dtype} {list(seen.shape)} and boxes {where.dtype} {list(where.shape)}")
    if seen.shape[1] != width and seen.shape[0] == width:
        seen = seen.T
    if where.shape[1] < 4:
        raise BadRow(f"boxes {list(where.shape)}")
    many = len(seen) if many < 0 else many
    if many > min(len(seen), len(where)):
        raise BadRow(f"{many} regions, but {len(seen)} features and {len(where)} boxes")
    return Found(seen[:many].astype(np.float32), where[:many, :4].astype(np.float32), size)


def of_bytes(value: bytes, file: str, place: int, key: str, width: int) -> Row:
    """The row of a value of a key-value store: an .npz archive, a line of columns, or a pickled dictionary.

    Of a pickle, text, bytes and numbers are taken, nothing that it names is imported or called.

    Raises:
      BadRow: it is of another kind.
    """
    if value[:2] == b"PK":
        return Row(file, place, key, lambda: _archive(value, width))
    if value[:1] == b"\x80":
        try:
            held = opcodes.read(io.BytesIO(value), len(value))
        except BROKEN as error:
            raise BadRow(f"a pickle that cannot be read as plain values: {reason(error):.100}") from None
        if not isinstance(held, dict):
            raise BadRow("a pickle of no dictionary")
        held = {name: one for name, one in held.items() if isinstance(one, str | bytes | int | float)}
        named = first(held, IDS)
        return Row(file, place, key if named is None else _text(named), lambda: of_values(held, width))
    if b"\t" in value:
        return of_line(value, file, place, width)
    raise BadRow("a value of no known kind")


def _archive(value: bytes, width: int) -> Found:
    try:
        return of_values(open_npz(io.BytesIO(value)), width)
    except BROKEN as error:
        raise BadRow(f"no readable archive: {reason(error):.100}") from None


def first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value under the first of `names` that there is; None of none."""
    return next((values[name] for name in names if name in values), None)


def _number(value: Any) -> float:
    """A number given as itself, as an array of one or as text; 0 of anything else."""
    try:
        return float(np.asarray(value).reshape(-1)[0]) if value is not None else 0.0
    except (ValueError, TypeError, IndexError):
        return 0.0


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
