"""Near-copies of posts: MinHash over pairs of neighbouring words, banded, every candidate held against exact Jaccard.

Broder, "On the resemblance and containment of documents" (1997); bands as in Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3. Everything is flat arrays in blocks: a million posts are a minute's work.
"""

import math

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.errors import JaxtagError

from .progress import Bar

FEWEST = 4  # words; two shorter posts that are alike say the same by chance
BANDS = 20
MISSED = 0.005  # of the pairs that are exactly `threshold` alike, at most
_MOST_ROWS = 8  # of a band
_BLOCK = 1 << 20  # words, or pairs of words, worked on at a time


def copies(tokens: Ragged, threshold: float = 0.8, seed: int = 0) -> np.ndarray:
    """For each post the first post of its group of near-copies.

    Two posts are near-copies when the sets of pairs of neighbouring words that they have are at least `threshold`
    alike (Jaccard: common pairs over all pairs of the two). Groups are transitive: a copy of a copy belongs to
    them. No pair below the threshold ever joins a group; one at the threshold is overlooked with a probability
    of at most `MISSED`, one above it with less. A post of fewer than `FEWEST` words is alone.

    Args:
      tokens: word ids of each post `[n]`.
      threshold: above 0, at most 1.
      seed: of the hash functions; only which pairs are overlooked depends on it.

    Returns:
      `[n]` int64: the smallest row of each row's group.

    Raises:
      JaxtagError: the threshold is impossible.
    """
    if not 0 < threshold <= 1:
        raise JaxtagError(f"a likeness of {threshold:g} is not above 0 and at most 1", "say 0.8")
    rows, words = np.flatnonzero(tokens.lengths() >= FEWEST), int(tokens.values.max(initial=0)) + 1
    group = np.arange(len(rows))
    with Bar("finding near-copies", 2 * BANDS) as bar:
        pairs = _word_pairs(tokens, rows)
        keys = _band_keys(pairs, rows_of_a_band(threshold), seed)
        bar.to(BANDS)
        for band, key in enumerate(keys):
            first, second = _possible(pairs, *_candidates(key, keys[band - 1], group), threshold)
            alike = _jaccard(pairs, first, second, words) >= threshold
            group = _joined(group, first[alike], second[alike])
            bar.to(BANDS + band + 1)
    found = np.arange(len(tokens))
    found[rows] = rows[group]
    return found


def rows_of_a_band(threshold: float) -> int:
    """How many minima make the key of a band: as many as overlook at most `MISSED` of the pairs at `threshold`."""
    fitting = [r for r in range(1, _MOST_ROWS + 1) if (1 - threshold**r) ** BANDS <= MISSED]
    return max(fitting, default=1)


def _word_pairs(tokens: Ragged, rows: np.ndarray) -> Ragged:
    """The set of pairs of neighbouring words of each of `rows`, sorted: both ids in one uint64, so none collide."""
    lengths = tokens.lengths(rows)
    offsets, parts = np.zeros(len(rows) + 1, np.int64), []
    for start, stop in _blocks(lengths):
        many = lengths[start:stop] - 1
        row = np.repeat(np.arange(stop - start), many)
        place = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many) + tokens.offsets[rows[start:stop]][row]
        pair = tokens.values[place].astype(np.uint64) << np.uint64(32) | tokens.values[place + 1].astype(np.uint64)
        order = np.lexsort((pair, row))
        pair, row = pair[order], row[order]
        new = np.ones(len(pair), bool)
        new[1:] = (pair[1:] != pair[:-1]) | (row[1:] != row[:-1])
        parts.append(pair[new])
        offsets[start + 1 : stop + 1] = np.bincount(row[new], minlength=stop - start)
    return Ragged(np.concatenate([*parts, np.zeros(0, np.uint64)]), np.cumsum(offsets))


def _band_keys(pairs: Ragged, rows: int, seed: int) -> np.ndarray:
    """A key per band and post, uint64 `[BANDS, n]`: `rows` minima of random hashes of its pairs, mixed."""
    rng = np.random.default_rng(seed)
    factor, shift = rng.integers(0, 2**63, (2, BANDS, rows), dtype=np.uint64)
    factor = factor << np.uint64(1) | np.uint64(1)
    keys = np.zeros((BANDS, len(pairs)), np.uint64)
    for start, stop in _blocks(pairs.lengths()):
        begin, end = pairs.offsets[start], pairs.offsets[stop]
        mixed = _mix(pairs.values[begin:end])
        starts = pairs.offsets[start:stop] - begin
        for band in range(BANDS):
            for a, b in zip(factor[band], shift[band]):
                least = np.minimum.reduceat(mixed * a + b, starts)
                keys[band, start:stop] = _mix(keys[band, start:stop] ^ least)
    return keys


def _mix(value: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit over all of them (the finalizer of SplitMix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _candidates(key: np.ndarray, other: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share a key and are of different groups: each post with the one before it and the first of its bucket.

    Within a bucket posts lie in the order of another band's key, so that copies are neighbours: a bucket of m
    posts gives 2m pairs, however large it is.
    """
    order = np.lexsort((other, key))
    same = np.zeros(len(order), bool)
    same[1:] = key[order[1:]] == key[order[:-1]]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    late = np.flatnonzero(same)
    a, b = np.concatenate([order[late - 1], order[first[late]]]), np.concatenate([order[late]] * 2)
    apart = group[a] != group[b]
    return a[apart], b[apart]


def _possible(pairs: Ragged, a: np.ndarray, b: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Those of the pairs of posts whose sets are not too unequal in size to be `threshold` alike."""
    size = pairs.lengths(a), pairs.lengths(b)
    fits = np.minimum(*size) / np.maximum(*size) >= threshold
    return a[fits], b[fits]


def _jaccard(pairs: Ragged, a: np.ndarray, b: np.ndarray, words: int) -> np.ndarray:
    """How alike the sets of posts `a` and `b` are, float64 `[pairs]`; word ids are below `words`."""
    size = pairs.lengths(a), pairs.lengths(b)
    common = np.zeros(len(a), np.int64)
    known, low = np.uint64(words), np.uint64(0xFFFFFFFF)
    least = _BLOCK * words**2 >> 63  # which of a block's pairs of posts and a pair of words make one uint64
    for start, stop in _blocks(np.maximum(size[0] + size[1], least)):
        parts = []
        for side, lengths in zip((a, b), size):
            many = lengths[start:stop]
            which = np.repeat(np.arange(stop - start), many)
            place = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
            value = pairs.values[place + pairs.offsets[side[start:stop]][which]]
            parts.append((which.astype(np.uint64) * known + (value >> np.uint64(32))) * known + (value & low))
        key = np.sort(np.concatenate(parts))  # four times as fast as sorting by two keys
        twice = key[1:][key[1:] == key[:-1]] // known**2
        common[start:stop] = np.bincount(twice.astype(np.int64), minlength=stop - start)
    return common / (size[0] + size[1] - common)


def _joined(group: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`group`, each number the first post of a group, after the groups of `a` and `b` are made one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(a):
        return group
    links = coo_array((np.ones(len(a), bool), (group[a], group[b])), shape=(len(group), len(group)))
    _, part = connected_components(links, directed=False)
    _, first = np.unique(part, return_index=True)
    return first[part][group]


def _blocks(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of items whose sizes add up to about `_BLOCK`."""
    ends = np.cumsum(sizes)
    blocks = math.ceil((int(ends[-1]) if len(ends) else 0) / _BLOCK)
    cuts = np.unique([0, *np.searchsorted(ends, np.arange(1, blocks) * _BLOCK), len(sizes)])
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist()))
