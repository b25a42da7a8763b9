"""Hashtags that a user names to choose among: as a list, in a file, or by how much a dataset uses them."""

from pathlib import Path

import numpy as np

from jaxtag.data.dataset import Dataset
from jaxtag.data.text import normal_hashtag
from jaxtag.errors import JaxtagError

DAY = 24 * 60 * 60
TRENDING = 100  # how many trending hashtags, where no number is given
BY_USE = ("trending", "popular")


def named(listed: str | None, file: Path | None) -> list[str]:
    """The hashtags of a list with commas and of a file with one a line, as datasets store them, once each.

    Raises:
      JaxtagError: there is none, one is no hashtag, or the file cannot be read.
    """
    names = listed.split(",") if listed else []
    if file is not None:
        try:
            names += file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise JaxtagError(f"candidates file {file} cannot be read: {error}") from None
    names = [name.strip() for name in names]
    normal = [normal_hashtag(name) for name in names if name.strip("#＃ ")]
    if "" in normal:
        wrong = next(name for name in names if name.strip("#＃ ") and not normal_hashtag(name))
        raise JaxtagError(f"candidate {wrong!r:.80} is no hashtag: it has no letter", "leave it out")
    unique = list(dict.fromkeys(normal))
    if not unique:
        raise JaxtagError("the list of candidates is empty", "name some, separated by commas")
    return unique


def by_use(dataset: Dataset, asked: str, among: np.ndarray | None = None) -> np.ndarray:
    """Dataset ids of the hashtags that `asked` is for, most used first; of equally used ones the most used of all.

    Args:
      dataset: whose posts count, all of them.
      asked: `popular:N`, the N most used; `trending:DAYS` or `trending:DAYS:N`, the N (100) most used in the DAYS days
        before the dataset's latest post.
      among: dataset ids to choose from; None is all.

    Raises:
      JaxtagError: `asked` is neither, the dataset has no times, or no hashtag is left.
    """
    kind, *given = asked.split(":")
    example = {"popular": "popular:100", "trending": "trending:7 or trending:7:50"}[kind]
    try:
        days, most = (0.0, int(*given)) if kind == "popular" else (float(given[0]), int(*given[1:] or [TRENDING]))
    except (TypeError, ValueError, IndexError):
        raise JaxtagError(f"--candidates {asked!r} cannot be read", f"say {example}") from None
    if most < 1 or not (kind == "popular" or 0 < days < float("inf")):
        raise JaxtagError(f"--candidates {asked!r} asks for nothing", f"say {example}")
    column, late = dataset.column("hashtags"), np.ones(dataset.rows, bool)
    if kind == "trending":
        time = np.asarray(dataset.column("time"))
        late = time > time.max(initial=0) - days * DAY
    counts = np.bincount(column.values[np.repeat(late, column.lengths())], minlength=len(dataset.hashtags))
    ids = np.arange(len(counts)) if among is None else np.sort(among)
    ids = ids[counts[ids] > 0]
    found = ids[np.argsort(-counts[ids], kind="stable")][:most]  # ids are numbered by use
    if not len(found):
        raise JaxtagError(f"--candidates {asked!r} finds no hashtag that this run can rank", "ask for more")
    return found.astype(np.int32)
