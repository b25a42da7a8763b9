"""Simulated posts as a source: jaxtag's embedded default, with image features of its own."""

from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxtag.data import simulate
from jaxtag.errors import JaxtagError
from jaxtag.files import new_folder

from .source import MOST_ROWS, Chunk, Post
from .tables import ROWS

EXTRACTOR = "simulated"  # name of the folder of image features


def read(out: Path, count: int, seed: int, vague: float | None = None) -> Generator[Chunk, None, None]:
    """The first `count` simulated posts of `seed`; their image features go to `out`/images/simulated/vector.npy.

    Raises:
      JaxtagError: `count`, `seed` or `vague` is impossible.
    """
    if not 1 <= count <= MOST_ROWS:
        raise JaxtagError(f"--posts {count} is not between 1 and {MOST_ROWS}")
    if seed < 0:
        raise JaxtagError(f"--seed {seed} is below 0")
    vague = simulate.VAGUE if vague is None else vague
    if not 0 < vague < 1:
        raise JaxtagError(f"--vague {vague:g} is not between 0 and 1")
    source = simulate.posts(count, seed, vague)
    rows = 0
    with new_folder(out / "images") as folder:
        (folder / EXTRACTOR).mkdir()
        with open(folder / EXTRACTOR / "vector.npy", "wb") as file:
            width = 0
            while some := list(islice(source, ROWS)):
                vectors = np.stack([post.image for post in some]).astype(np.float16)
                if not rows:
                    width = vectors.shape[1]
                    _header(file, count, width)
                file.write(vectors.tobytes())
                posts = [
                    Post(i, post.id, post.author, post.time, "", post.text, None, i)
                    for i, post in enumerate(some, rows)
                ]
                rows += len(some)
                yield Chunk(posts, read=len(posts), done=rows / count)


def _header(file: BinaryIO, rows: int, width: int) -> None:
    """Begin a .npy file of `[rows, width]` float16, whose rows follow as they come."""
    form = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, form)
