"""Divisions: which part each example goes to. Every function gives the number of a part per post, by weights.

at_random      shuffled and cut
by_time        the earliest first; posts of one second stay together
by_author      authors shuffled and cut; nobody in two parts
stratified     every hashtag divided like the whole (Sechidis, Tsoumakas and Vlahavas, 2011: rarest hashtag first)
"""

from collections.abc import Sequence

import numpy as np


def at_random(posts: int, weights: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Parts of `posts` shuffled posts, whose sizes are the weights' shares to within one post."""
    part = np.empty(posts, np.int64)
    part[rng.permutation(posts)] = np.searchsorted(_ends(posts, weights), np.arange(posts), "right")
    return part


def by_time(time: np.ndarray, weights: Sequence[float]) -> tuple[np.ndarray, list[int]]:
    """Parts by time, the earliest first.

    A border lies where the second changes, nearest to where the weights want it; only where all that is left are
    posts of one second does it cut them, in order of row.

    Args:
      time: seconds of each post `[n]`.
      weights: of the parts; a part without weight is empty.

    Returns:
      The parts, and the time of the first post after each border.
    """
    order = np.argsort(time, kind="stable")
    sorted_time = time[order]
    changes = np.flatnonzero(sorted_time[1:] != sorted_time[:-1]) + 1
    cuts, ends = [0], _ends(len(time), weights)
    for part, end in enumerate(ends[:-1]):
        left = int(np.count_nonzero(weights[part + 1 :]))  # parts that need posts behind this border
        inside = changes[changes > cuts[-1]]
        inside = inside[: len(inside) - left + 1]
        if weights[part] and left and len(inside):
            cuts.append(int(inside[np.argmin(np.abs(inside - end))]))
        else:
            cuts.append(max(int(end), cuts[-1]) if weights[part] else cuts[-1])
    part = np.empty(len(time), np.int64)
    part[order] = np.searchsorted(cuts[1:], np.arange(len(time)), "right")
    return part, [int(sorted_time[min(cut, len(time) - 1)]) for cut in cuts[1:]]


def by_author(author: np.ndarray, weights: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Parts without a common author; posts of unknown author (0) are each on their own.

    Shuffled authors in a row are cut where the sizes are nearest to the weights: a part is off by at most half
    the posts of an author at its border.

    Args:
      author: of each post `[n]`.
      weights: of the parts.
      rng: shuffles the authors.
    """
    alone = np.where(author == 0, -1 - np.arange(len(author)), author)
    _, group, size = np.unique(alone, return_inverse=True, return_counts=True)
    order = rng.permutation(len(size))
    middle = np.cumsum(size[order]) - size[order] / 2
    part = np.empty(len(size), np.int64)
    part[order] = np.searchsorted(_ends(len(author), weights), middle, "right")
    return part[group]


def stratified(
    post: np.ndarray, label: np.ndarray, posts: int, weights: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Parts in which every hashtag has its weights' share of posts, as nearly as its posts' other hashtags let it.

    Hashtags are divided one after another, the rarest first, each post with its rarest one. Posts with one
    hashtag are divided to within one post of its share; so are parts as a whole.

    Args:
      post, label: every use of a hashtag: the post's number and the hashtag's `[uses]`.
      posts: how many there are; every one has a hashtag.
      weights: of the parts.
      rng: shuffles the posts of a hashtag.
    """
    share = np.asarray(weights) / np.sum(weights)
    used = np.bincount(label)
    rank = np.empty(len(used), np.int64)  # 0 is the rarest hashtag
    rank[np.argsort(used, kind="stable")] = np.arange(len(used))
    first, second = _two_rarest(post, rank[label], posts)
    order = np.lexsort((rng.permutation(posts), second, first))
    by_label = np.lexsort((post, rank[label]))
    of_label = np.cumsum(np.bincount(rank[label], minlength=len(used)))
    starts = np.searchsorted(first[order], np.arange(len(used) + 1))
    part, sizes = np.full(posts, -1), np.zeros(len(share), np.int64)
    for at in range(len(used)):
        mine = order[starts[at] : starts[at + 1]]  # not divided yet: this is their rarest hashtag
        if not len(mine):
            continue
        everyone = post[by_label[of_label[at - 1] if at else 0 : of_label[at]]]
        there = part[everyone]
        had = np.bincount(there[there >= 0], minlength=len(share))
        part[mine] = _dealt(share * len(everyone) - had, len(mine), share * sizes.sum() - sizes)
        sizes += np.bincount(part[mine], minlength=len(share))
    return part


def _dealt(wanted: np.ndarray, posts: int, lacking: np.ndarray) -> np.ndarray:
    """Parts for `posts` posts in a row: whole wanted ones first, what is left to the parts that lack most.

    The parts of the row are then mixed evenly, so that neighbours in it go to different ones.
    """
    level = np.round(wanted[:, None] - np.arange(posts), 6)  # what a part wants before its j-th post
    level = np.where((level > 0) & (level < 1), 0.5, level).ravel()
    of = np.repeat(np.arange(len(wanted)), posts)
    lacking = np.round(lacking + wanted % 1, 6)
    chosen = np.lexsort((of, -lacking[of], -level))[:posts]
    many = np.bincount(of[chosen], minlength=len(wanted))
    parts = np.repeat(np.arange(len(wanted)), many)
    turn = np.arange(posts) - np.repeat(np.cumsum(many) - many, many)
    return parts[np.argsort((turn + 0.5) / many[parts], kind="stable")]


def _two_rarest(post: np.ndarray, rank: np.ndarray, posts: int) -> tuple[np.ndarray, np.ndarray]:
    """The two lowest ranks of each post's hashtags `[posts]` each; the highest there are where it has fewer."""
    order = np.lexsort((rank, post))
    post, rank = post[order], rank[order]
    start = np.searchsorted(post, np.arange(posts))
    none = rank.max(initial=0) + 1
    padded = np.append(rank, [none, none])
    many = np.bincount(post, minlength=posts)
    return np.where(many > 0, padded[start], none), np.where(many > 1, padded[start + 1], none)


def _ends(posts: int, weights: Sequence[float]) -> np.ndarray:
    """Where each part ends in a row of posts."""
    return np.rint(np.cumsum(weights) / np.sum(weights) * posts).astype(np.int64)
