"""Near-copies: against all pairs by brute force, recall of copies that were made, big buckets, short posts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtag_prep import near

from jaxtag.data.columns import Ragged, ragged
from jaxtag.errors import JaxtagError


def brute(tokens: Ragged, threshold: float) -> np.ndarray:
    """The first row of each row's group, by holding all pairs of rows against each other."""
    sets = [set(zip(row[:-1], row[1:])) if len(row) >= near.FEWEST else set() for row in map(list, tokens)]  # pyright: ignore
    group = list(range(len(sets)))
    for i, one in enumerate(sets):
        for j in range(i):
            if one and sets[j] and len(one & sets[j]) / len(one | sets[j]) >= threshold:
                low, high = sorted((group[i], group[j]))
                group = [low if g == high else g for g in group]
    return np.array(group)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(2, 4), max_size=9), min_size=1, max_size=25),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    st.integers(0, 3),
)
def test_no_post_joins_another_group(lists: list[list[int]], threshold: float, seed: int) -> None:
    tokens = ragged(lists)
    found, true = near.copies(tokens, threshold, seed), brute(tokens, threshold)
    assert (true[found] == true).all()  # a group found lies within one group
    assert (found <= np.arange(len(lists))).all() and (found[found] == found).all()
    if threshold == 1.0:
        assert found.tolist() == true.tolist()


def made(posts: int, seed: int) -> tuple[Ragged, np.ndarray]:
    """Posts of 12 to 20 words in random order, a third of them copies of an earlier one with a word more or fewer."""
    rng = np.random.default_rng(seed)
    texts, source = [], np.arange(posts)
    for i in range(posts):
        if i and rng.random() < 1 / 3:
            source[i] = rng.integers(i)
            text = texts[source[i]]
            texts.append(text[:-1] if rng.random() < 0.5 and len(text) > 12 else [*text, int(rng.integers(2, 5000))])
        else:
            texts.append(rng.integers(2, 5000, rng.integers(12, 21)).tolist())
    order = rng.permutation(posts)
    place = np.argsort(order)
    return ragged([texts[i] for i in order]), place[source[order]]


@pytest.mark.parametrize("seed", [0, 1])
def test_made_copies_are_found(seed: int) -> None:
    tokens, source = made(1200, seed)
    found = near.copies(tokens, 0.8, seed)
    assert (found[source] == found).all()  # each beside the post it is a copy of
    assert found.tolist() == brute(tokens, 0.8).tolist()
    assert (near.copies(tokens, 0.8, seed) == found).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, _ = made(300, 5)
    whole = near.copies(tokens, 0.5)
    monkeypatch.setattr(near, "_BLOCK", 100)
    assert (near.copies(tokens, 0.5) == whole).all()


def test_a_bucket_gives_two_pairs_a_post() -> None:
    key, group = np.zeros(1000, np.uint64), np.arange(1000)
    first, second = near._candidates(key, np.arange(1000).astype(np.uint64), group)
    assert len(first) == 2 * 999 and set(first[999:].tolist()) == {0}
    assert len(near._candidates(key, key, np.zeros(1000, np.int64))[0]) == 0  # one group already


def test_short_posts_and_empty_columns() -> None:
    tokens = ragged([[2, 3, 4], [2, 3, 4], [], [2, 3, 4, 5], [2, 3, 4, 5], [5, 5, 5, 5], [5, 5, 5, 5, 5]])
    assert near.copies(tokens).tolist() == [0, 1, 2, 3, 3, 5, 5]
    assert near.copies(ragged([])).tolist() == [] and near.copies(ragged([[], [2]])).tolist() == [0, 1]


def test_the_chance_of_overlooking() -> None:
    assert [near.rows_of_a_band(t) for t in (0.01, 0.3, 0.5, 0.8, 1.0)] == [1, 1, 2, 6, 8]
    # Two posts exactly at the threshold, under many seeds: 8 common pairs of 10.
    tokens = ragged([range(2, 11), [*range(2, 11), 20, 21]])
    missed = sum(near.copies(tokens, 0.8, seed)[1] for seed in range(600))
    assert missed <= 600 * near.MISSED * 3


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_impossible_thresholds(threshold: float) -> None:
    with pytest.raises(JaxtagError, match="is not above 0 and at most 1"):
        near.copies(ragged([[2]]), threshold)


@pytest.mark.parametrize("scale", [1, 5_000_000, 400_000_000])
def test_numbers_of_words_change_nothing(scale: int) -> None:
    lists = [[2, 3, 4, 5], [2, 3, 4, 5, 2], [5, 4, 3, 2], [2, 3, 4, 4], [5, 4, 3, 2, 5], [3, 4, 5, 2]] * 3
    found = near.copies(ragged([[word * scale for word in row] for row in lists]), 0.5)
    assert found.tolist() == near.copies(ragged(lists), 0.5).tolist()
    assert len(set(found.tolist())) < 6
