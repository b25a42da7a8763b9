"""The rows that every comparison has: most used hashtags, and an author's most used and most recent.

They are fitted on a split's training rows alone. Where an author has too few hashtags, or is unknown, the
most used hashtags of all fill the list.
"""

from itertools import islice

import numpy as np

from jaxtag.data.dataset import Dataset, Split


def rankings(dataset: Dataset, split: Split, rows: np.ndarray, candidates: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """What the built-in baselines recommend for posts.

    Args:
      dataset: the dataset; without authors and times, only `most_used` is there.
      split: whose training rows are counted.
      rows: row numbers of the posts `[n]`.
      candidates: dataset hashtag ids that may be recommended `[C]`.
      k: how many to recommend.

    Returns:
      By name, positions in `candidates` `[n, k]` int32, best first; −1 where there are fewer than k candidates.
      `most_used`: in most training posts. `authors_most_used`: in most training posts of the author.
      `authors_most_recent`: newest in the author's training posts of a strictly earlier time. Ties go to the
      hashtag that is most used by all, then to the first candidate; of posts with one time the last ordinal is
      the newest, and of a post's hashtags the one that it names first.
    """
    post, hashtag = _training_hashtags(dataset, split, candidates)
    counts = np.bincount(hashtag, minlength=len(candidates))
    common = np.argsort(-counts, kind="stable").astype(np.int32)
    found = {"most_used": _fill(np.full((len(rows), 0), -1, np.int32), common, k)}
    if dataset.has("author"):
        author = np.asarray(dataset.column("author"))
        own = _most_used(author[post], hashtag, author[rows], common, k)
        found["authors_most_used"] = _fill(own, common, k)
    if dataset.has("author") and dataset.has("time"):
        own = _most_recent(dataset, post, hashtag, rows, k)
        found["authors_most_recent"] = _fill(own, common, k)
    return found


def _training_hashtags(dataset: Dataset, split: Split, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each use of a candidate in a training post: row numbers and positions in `candidates`, in written order."""
    column = dataset.column("hashtags")
    position = np.full(len(dataset.hashtags) + 1, -1, np.int32)
    position[candidates] = np.arange(len(candidates), dtype=np.int32)
    lengths = column.lengths(split.train)
    first = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) + np.repeat(column.offsets[split.train] - first, lengths)
    hashtag = position[column.values[places]]
    return np.repeat(split.train, lengths)[hashtag >= 0], hashtag[hashtag >= 0]


def _most_used(author: np.ndarray, hashtag: np.ndarray, asked: np.ndarray, common: np.ndarray, k: int) -> np.ndarray:
    """The hashtags used most by each of the authors `asked [n]`, `[n, k]`; −1 where there are fewer."""
    rank = np.empty(len(common), np.int64)
    rank[common] = np.arange(len(common))
    pair, count = np.unique(author.astype(np.int64) * len(common) + rank[hashtag], return_counts=True)
    who, what = pair // max(len(common), 1), pair % max(len(common), 1)
    order = np.lexsort((what, -count, who))
    who, what = who[order], common[what[order]]
    place = np.searchsorted(who, asked)[:, None] + np.arange(k)
    inside = (place < np.searchsorted(who, asked, "right")[:, None]) & (asked > 0)[:, None]
    if not len(what):
        return np.full(place.shape, -1, np.int32)
    return np.where(inside, what[np.minimum(place, len(what) - 1)], -1).astype(np.int32)


def _most_recent(dataset: Dataset, post: np.ndarray, hashtag: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """The author's hashtags before each of `rows [n]`, newest first, `[n, k]`; −1 where there are fewer.

    Uses and questions are walked in the order of author and time, questions before uses of the same time; a
    dict keeps an author's hashtags in the order of their latest use.
    """
    author, time, ordinal = (np.asarray(dataset.column(name)) for name in ("author", "time", "ordinal"))
    at = np.concatenate([post, rows])
    asks = np.arange(len(at)) >= len(post)
    # The hashtag a post names first must be the newest of the post: its uses are walked backwards.
    order = np.lexsort((-np.arange(len(at)), ordinal[at], ~asks, time[at], author[at]))
    order = order[author[at[order]] > 0]
    result = np.full((len(rows), k), -1, np.int32)
    walk = zip(author[at[order]].tolist(), np.where(asks, -1, np.append(hashtag, rows))[order].tolist(), order.tolist())
    recent: dict[int, None] = {}
    current = 0
    for who, what, index in walk:
        if who != current:
            current, recent = who, {}
        if what >= 0:
            recent.pop(what, None)
            recent[what] = None
        elif recent:
            newest = list(islice(reversed(recent), k))
            result[index - len(post), : len(newest)] = newest
    return result


def _fill(own: np.ndarray, common: np.ndarray, k: int) -> np.ndarray:
    """`own [n, m]` with its gaps taken by the first of `common` that are not in it, `[n, k]`."""
    filling = common[: k + own.shape[1]]
    repeated = np.zeros((len(own), len(filling)), bool)
    for column in own.T:
        repeated |= column[:, None] == filling
    offered = np.concatenate([own, np.where(repeated, -1, filling)], 1)
    if offered.shape[1] < k:
        gaps = np.full((len(offered), k - offered.shape[1]), -1, offered.dtype)
        offered = np.concatenate([offered, gaps], 1)
    order = np.argsort(offered < 0, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(offered, order, 1).astype(np.int32)
