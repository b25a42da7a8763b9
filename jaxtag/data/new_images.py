"""Features of images that are in no dataset, made as those of a dataset's images were made."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import extractors, pictures
from jaxtag.data.dataset import Dataset
from jaxtag.data.extractors import Extractor
from jaxtag.data.image_columns import ImageColumns, as_read, stored
from jaxtag.data.images import DESCRIPTION
from jaxtag.data.pictures import BadImage
from jaxtag.data.posts import CELLS
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32, read_json

BATCH = 32  # images computed at a time, of more than one


class NewImages:
    """Image columns of new images, by the extractors that a dataset's own features are from."""

    def __init__(self, dataset: Dataset, columns: ImageColumns):
        """Make what `columns` has, features of the images of `dataset`."""
        self._dataset, self._columns = dataset, columns

    def __call__(self, images: Sequence[bytes], rows: int) -> dict[str, np.ndarray]:
        """The image columns of `images`, files of images, empty for none, as a batch of `rows` posts has them.

        Raises:
          JaxtagError: the dataset's features were not computed here, or their network or its weights are not to be had.
        """
        types = stored(self._columns.shapes)
        batch = {name: np.zeros((rows, *shape), dtype) for name, (shape, dtype) in types.items()}
        there = [row for row, image in enumerate(images) if image]
        size = 1 if len(there) == 1 else BATCH
        for start in range(0, len(there), size):
            some = there[start : start + size]
            found = self._features([images[row] for row in some], size)
            for name, values in found.items():
                batch[name][some] = values[: len(some)]
            batch[CELLS][some] = self._columns.cells
        return as_read(batch)

    def _features(self, images: Sequence[bytes], size: int) -> dict[str, np.ndarray]:
        """Image columns of `images`, filled up to `size`: one shape, one compilation."""
        parts = []
        for extractor in self._extractors:
            pixels = np.zeros((size, extractor.side, extractor.side, 3), np.uint8)
            for place, image in enumerate(images):
                pixels[place] = pictures.pixels(image, extractor.side)
            parts.append(extractor.call(pixels))
        return {name: np.concatenate([part[name] for part in parts], -1) for name in self._columns.arrays}

    @cached_property
    def _extractors(self) -> list[Extractor]:
        return [_extractor(self._dataset, name) for name in self._columns.names]


def read(path: Path) -> bytes:
    """The bytes of an image's file, once it is known that it can be decoded.

    Raises:
      BadImage: it cannot.
    """
    data = pictures.read(path)
    pictures.look(data)
    return data


def read_named(path: Path) -> bytes:
    """The same of a file that a user named.

    Raises:
      JaxtagError: it cannot be decoded.
    """
    try:
        return read(path)
    except BadImage as error:
        raise JaxtagError(f"{path} cannot be used as an image: {error}") from None


def _extractor(dataset: Dataset, name: str) -> Extractor:
    """What the features `name` of a dataset's images were made by."""
    path = dataset.path / "images" / name / DESCRIPTION
    info: dict[str, Any] = read_json(path, "description of image features") if path.is_file() else {}
    if info.get("network") != extractors.PIXELS and "given" not in info:
        raise JaxtagError(
            f"image features {name} of {dataset.path} were not computed by jaxtag-prep images, so that a new image "
            "cannot be given any",
            "train on features that were",
        )
    if info["network"] == extractors.PIXELS:
        return extractors.build(extractors.PIXELS, side=info["side"])
    given = info["given"]
    _check_weights(given["weights"], info["weights"], name)
    return extractors.build(info["network"], info["layers"], given["weights"], info["side"], given["seed"], devices=1)


def _check_weights(weights: str, said: str, name: str) -> None:
    """Refuse another file of weights than the one that features were computed with."""
    if weights in ("imagenet", "none"):
        return
    file = Path(weights)
    if not file.is_file() or f"({crc32(file):08x})" not in said:
        what = "is gone" if not file.is_file() else "is another file now"
        raise JaxtagError(f"{file}, by whose weights image features {name} were computed, {what}", "put it back there")
