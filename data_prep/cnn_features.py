"""Features of a dataset's images by a network: decoded ahead in threads, computed in batches, block by block.

A run that was killed goes on with the blocks that it had not written, in the same batches, to the same bytes.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import extractors, images, pictures
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.extractors import Extractor
from jaxtag.data.images import FOLDER
from jaxtag.data.pictures import BadImage
from jaxtag.data.posts import PIXELS
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import crc32

from . import feature_store
from .gallery import Gallery, digest_of
from .progress import Bar

BATCHES = 8  # of a block


@dataclass(frozen=True)
class Wanted:
    """Which features.

    Attributes:
      extractor: the network, of `jaxtag.data.extractors.NETWORKS`; or `pixels`, the decoded images themselves.
      layers: as for `jaxtag.data.extractors.build`; none is the network's own.
      weights: 'imagenet', 'none' or a file.
      side: pixels of a side; 0 is the network's own.
      name: of the folder; '' is the network's.
      batch: images computed at a time.
      seed: of random weights.
      max_bad: the largest fraction of images to put up with that cannot be read any more.
    """

    extractor: str
    layers: tuple[str, ...] = ()
    weights: str = "imagenet"
    side: int = 0
    name: str = ""
    batch: int = 32
    seed: int = 0
    max_bad: float = 0.01

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 4096:
            raise JaxtagError(f"--batch {self.batch} is not between 1 and 4096", "say 32")
        if self.side < 0 or self.seed < 0:
            raise JaxtagError(f"--size {self.side} or --seed {self.seed} is below 0")
        if not 0 <= self.max_bad <= 1:
            raise JaxtagError(f"--max-bad {self.max_bad} is not between 0 and 1")

    def settings(self) -> dict[str, Any]:
        """What the features depend on beside the images.

        Raises:
          JaxtagError: there is no such network, or no such file of weights.
        """
        if self.extractor == PIXELS:
            return {"network": PIXELS, "side": self.side or extractors.SIDE, "batch": self.batch}
        if self.extractor not in extractors.NETWORKS:
            known = (*extractors.NETWORKS, PIXELS)
            raise JaxtagError(f"no extractor {self.extractor!r}", nearest(self.extractor, known))
        network, weights = extractors.NETWORKS[self.extractor], self.weights
        if weights == "none":
            weights = f"none (random, seed {self.seed})"
        elif weights != "imagenet":
            file = Path(weights)
            if not file.is_file():
                raise JaxtagError(f"no file {weights} of weights", "give --weights imagenet, none, or a file")
            weights = f"{file.name} ({crc32(file):08x})"
        return {
            "network": self.extractor,
            "layers": list(self.layers or network.layers),
            "weights": weights,
            "side": self.side or network.side,
            "batch": self.batch,
        }

    def given(self) -> dict[str, Any]:
        """Where an image given to a recommender finds the same weights; of `pixels`, which has none, nothing."""
        if self.extractor == PIXELS:
            return {}
        named = self.weights in ("imagenet", "none")
        weights = self.weights if named else str(Path(self.weights).resolve())
        return {"given": {"weights": weights, "seed": self.seed}}


def make(
    data: Path, wanted: Wanted, folder: Path | None = None, workers: int = 1, extractor: Extractor | None = None
) -> dict[str, Any]:
    """Give a dataset features of its images, unless it has just these.

    Args:
      data: dataset folder.
      wanted: which.
      folder: that the images are in; None is where they were when the dataset was made.
      workers: threads that decode.
      extractor: what computes, in place of the network that `wanted` names (for tests).

    Returns:
      extractor.json, and `images_per_second` where something was computed.

    Raises:
      JaxtagError: no such dataset or images, Keras or the weights are not to be had, or too many images are bad.
    """
    dataset = open_dataset(data)
    files, used, name = images.files(dataset), feature_store.used_rows(dataset), wanted.name or wanted.extractor
    settings = wanted.settings()
    if (before := feature_store.existing(dataset, name, settings)) is not None:
        return before
    gallery = Gallery(folder or _folder(dataset))
    with feature_store.work(dataset, name, settings) as side:
        if extractor is None:
            built = (wanted.layers, wanted.weights, wanted.side, wanted.seed)
            extractor = extractors.build(wanted.extractor, *built, devices=_devices(wanted.batch))
        written = feature_store.arrays(side, len(files), extractor.shapes)
        work = _Work(gallery, files, extractor, wanted, written)
        bad, rate = work.run(side, used, workers)
        present = np.zeros(len(files), bool)
        present[used] = True
        present[list(bad)] = False
        described = settings | wanted.given()
        info = feature_store.finish(side, dataset, name, described, extractor.shapes, present, bad)
    return info | {"images_per_second": rate}


def _devices(batch: int) -> int:
    """How many of this host's devices can share a batch evenly."""
    import jax

    many = jax.local_device_count()
    return next(n for n in range(many, 0, -1) if batch % n == 0)


def _folder(dataset: Dataset) -> Path:
    """Where the images were when the dataset was made.

    Raises:
      JaxtagError: nobody knows, or they are gone.
    """
    path = dataset.path / "images" / FOLDER
    if not path.is_file():
        raise JaxtagError(
            f"{dataset.path} does not know where its images are",
            "name the folder with --images, or give features with --features",
        )
    folder = Path(path.read_text("utf-8").removesuffix("\n"))
    if not folder.is_dir():
        raise JaxtagError(f"the images were in {folder}, which is gone", "name the folder that has them with --images")
    return folder


@dataclass(frozen=True)
class _Work:
    """Images to features."""

    gallery: Gallery
    files: list[dict[str, Any]]
    extractor: Extractor
    wanted: Wanted
    written: dict[str, np.ndarray]

    def run(self, side: Path, used: np.ndarray, workers: int) -> tuple[dict[int, str], float]:
        """Write the features of the rows `used`, but of blocks that are done.

        Returns:
          Why images have none, by row; and images a second.
        """
        size, done, bad = self.wanted.batch * BATCHES, feature_store.done(side), {}
        blocks = [used[start : start + size] for start in range(0, len(used), size)]
        left = [number for number in range(len(blocks)) if number not in done]
        place = len(used) - sum(len(blocks[number]) for number in left)
        begun, started = place, time.monotonic()
        with ThreadPoolExecutor(workers) as pool, Bar("image features", len(used)) as bar:
            for number, loaded in zip(left, self._ahead(pool, [blocks[number] for number in left])):
                found = {row: reason for row, reason in loaded.items() if isinstance(reason, str)}
                bad |= found
                feature_store.check_bad(bad, len(used), self.wanted.max_bad, self.files)
                self._compute(loaded)
                if not found:  # what could not be read may be there next time
                    feature_store.mark(side, number, self.written)
                place += len(loaded)
                bar.to(place, f"{(place - begun) / (time.monotonic() - started):.1f} images/s")
        return bad, round((place - begun) / max(time.monotonic() - started, 1e-9), 1)

    def _ahead(self, pool: ThreadPoolExecutor, blocks: list[np.ndarray]) -> Iterator[dict[int, np.ndarray | str]]:
        """The pixels of each block's images, or why there are none, by row; one block ahead."""
        waiting: deque[dict[int, Future[np.ndarray | str]]] = deque()
        for block in blocks:
            waiting.append({row: pool.submit(self._load, row) for row in block.tolist()})
            if len(waiting) > 1:
                yield {row: future.result() for row, future in waiting.popleft().items()}
        while waiting:
            yield {row: future.result() for row, future in waiting.popleft().items()}

    def _load(self, row: int) -> np.ndarray | str:
        known = self.files[row]
        path = self.gallery.find(known["file"])
        if isinstance(path, str):
            return path
        assert self.gallery.folder is not None
        try:
            data = pictures.read(self.gallery.folder / path)
            if known.get("digest", digest := digest_of(data)) != digest:
                return "the file is another one than when the dataset was made"
            return pictures.pixels(data, self.extractor.side)
        except BadImage as error:
            return str(error)

    def _compute(self, loaded: dict[int, np.ndarray | str]) -> None:
        """Write the features of a block's images; those without pixels stay zeros."""
        rows, size, side = list(loaded), self.wanted.batch, self.extractor.side
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            batch = np.zeros((size, side, side, 3), np.uint8)  # a last batch is filled up: one shape, one compilation
            good = [i for i, row in enumerate(some) if not isinstance(loaded[row], str)]
            for i in good:
                batch[i] = loaded[some[i]]
            for kind, values in self.extractor.call(batch).items():
                if not np.isfinite(values[good]).all():
                    raise JaxtagError(
                        f"{self.wanted.extractor} gives features that are no numbers",
                        "these weights are not of this network: give others with --weights",
                    )
                self.written[kind][[some[i] for i in good]] = values[good]
