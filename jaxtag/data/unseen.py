"""Which hashtags of a split are unseen, and that nothing is learned from their posts."""

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import Dataset, Split
from jaxtag.errors import JaxtagError


def unseen_of(dataset: Dataset, split: Split) -> np.ndarray:
    """Dataset ids, sorted, of the hashtags that the split calls unseen, or has as candidates and does not train on."""
    ids = dataset.hashtags.ids
    called = np.array([ids[name] for name in split.info.get("unseen", ())], np.int32)
    return np.union1d(called, split.named[len(split.hashtags) :]).astype(np.int32)


def check_apart(dataset: Dataset, split: Split) -> None:
    """Assert that no training or validation post has an unseen hashtag, but for training posts of few-shot splits.

    `jaxtag-prep split` makes no other splits; whoever writes one by hand may.

    Raises:
      JaxtagError: some have; it says how many, and names a hashtag.
    """
    unseen = unseen_of(dataset, split)
    never = unseen[~np.isin(unseen, split.hashtags)]  # the others have a few posts to train on
    for part, hashtags in (("train", never), ("validation", unseen)):
        which = has(dataset.column("hashtags"), getattr(split, part), hashtags, len(dataset.hashtags))
        if which.any():
            name = dataset.hashtags.entries[hashtags[which.any(0).argmax()]]
            raise JaxtagError(
                f"{which.any(1).sum()} {part} posts of {split.path} have an unseen hashtag, such as #{name}",
                "make the split again with jaxtag-prep split",
            )


def has(column: Ragged, rows: np.ndarray, hashtags: np.ndarray, known: int) -> np.ndarray:
    """Which of some hashtags each post has.

    Args:
      column: of hashtags, of the dataset or as labels.
      rows: row numbers of the posts `[n]`.
      hashtags: ids of the column `[m]`.
      known: how many ids the column may have.

    Returns:
      bool `[n, m]`.
    """
    place = np.full(known, -1)
    place[hashtags] = np.arange(len(hashtags))
    lengths = column.lengths(rows)
    first = np.cumsum(lengths) - lengths
    at = np.arange(lengths.sum()) + np.repeat(column.offsets[rows] - first, lengths)
    post, hashtag = np.repeat(np.arange(len(rows)), lengths), place[column.values[at]]
    found = np.zeros((len(rows), len(hashtags)), bool)
    found[post[hashtag >= 0], hashtag[hashtag >= 0]] = True
    return found
