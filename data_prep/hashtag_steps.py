"""Steps that leave hashtags out, or put others in their place: which stay, and columns without the others.

Everything is whole arrays over the uses of hashtags.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from jaxtag.data.columns import Ragged


def posts_of(hashtags: Ragged, known: int, counted: np.ndarray) -> np.ndarray:
    """How many of the posts `counted` (bool `[n]`) have each hashtag, int64 `[known]`; a post has it once."""
    return np.bincount(hashtags.values[np.repeat(counted, hashtags.lengths())], minlength=known)


def most_used(posts: np.ndarray, names: Sequence[str], top: int) -> np.ndarray:
    """The `top` hashtags of most posts, bool `[known]`; of equally many the first by code point.

    Args:
      posts: of each `[known]`.
      names: of each.
      top: how many.
    """
    ranked = sorted(np.flatnonzero(posts).tolist(), key=lambda i: (-posts[i], names[i]))
    kept = np.zeros(len(names), bool)
    kept[ranked[:top]] = True
    return kept


def none_of(names: Sequence[str], dropped: Collection[str]) -> np.ndarray:
    """Which hashtags are none of `dropped`, bool `[known]`."""
    gone = set(dropped)
    return np.array([name not in gone for name in names], bool)


def only(hashtags: Ragged, kept: np.ndarray) -> Ragged:
    """The column with those uses alone whose hashtag is kept (bool `[known]`); every post stays, in its order."""
    stays = kept[hashtags.values]
    behind = np.concatenate([[0], np.cumsum(stays)])
    return Ragged(hashtags.values[stays], behind[hashtags.offsets])


def mapped(hashtags: Ragged, names: Sequence[str], mapping: Mapping[str, str]) -> tuple[Ragged, list[str], int]:
    """The column with canonical hashtags in their variants' place, once each in a post, at the first's place.

    Args:
      hashtags: ids into `names`.
      names: of hashtags.
      mapping: variant to canonical; no canonical hashtag is a variant.

    Returns:
      The column, its names, those of new hashtags at their end, and how many hashtags that posts had were mapped.
    """
    found, met = list(names), np.bincount(hashtags.values, minlength=len(names)) > 0
    place = {name: i for i, name in enumerate(found)}
    ids = np.arange(len(found), dtype=np.int32)
    for variant, canonical in mapping.items():
        if variant in place and met[place[variant]]:
            if canonical not in place:
                place[canonical] = len(found)
                found.append(canonical)
            ids[place[variant]] = place[canonical]
    values = ids[hashtags.values]
    post = np.repeat(np.arange(len(hashtags)), hashtags.lengths())
    _, first = np.unique(post * np.int64(len(found)) + values, return_index=True)
    stays = np.zeros(len(values), bool)
    stays[first] = True
    behind = np.concatenate([[0], np.cumsum(stays)])
    return Ragged(values[stays], behind[hashtags.offsets]), found, int((ids != np.arange(len(ids))).sum())
