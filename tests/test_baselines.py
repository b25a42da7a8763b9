"""The built-in baselines against plain Python."""

import time
from collections import Counter

import numpy as np
import pytest

from jaxtag.data import columns
from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.vocabulary import Vocabulary
from jaxtag.evaluation import baselines


def make(folder, posts, seed=0, authors=6, hashtags=9, kept=6, missing=()):
    """A dataset on disk with what the baselines read, a split, and the candidates."""
    rng = np.random.default_rng(seed)
    lists = [list(rng.choice(hashtags, rng.integers(0, 4), replace=False)) for _ in range(posts)]
    values = {"author": rng.integers(0, authors, posts), "time": rng.integers(0, max(posts // 3, 2), posts),
              "ordinal": rng.permutation(posts)}  # fmt: skip
    (folder / "columns").mkdir()
    (folder / "vocabulary").mkdir()
    ragged = columns.ragged(lists)
    columns.write(folder / "columns", "hashtags", ragged.values, ragged.offsets)
    for name, array in values.items():
        if name not in missing:
            columns.write(folder / "columns", name, array)
    Vocabulary(tuple(f"h{i}" for i in range(hashtags)), (1,) * hashtags).save(folder / "vocabulary" / "hashtags.txt")
    there = [n for n in ("hashtags", *values) if n not in missing]
    dataset = Dataset(folder, {"columns": {n: {} for n in there}})
    order = rng.permutation(posts)
    train, test = np.sort(order[: posts // 2]).astype(np.int32), np.sort(order[posts // 2 :]).astype(np.int32)
    candidates = rng.permutation(hashtags)[:kept].astype(np.int32)
    none = np.zeros(0, np.int32)
    split = Split("s", folder, {}, train, none, test, candidates, candidates, none)
    return dataset, split, candidates, lists, values


def by_hand(row, split, candidates, lists, values, k):
    """The three rankings of one post, hashtag by hashtag."""
    place = {int(h): i for i, h in enumerate(candidates)}
    use = lambda r: [place[int(h)] for h in lists[r] if int(h) in place]  # noqa: E731
    overall = Counter(h for r in split.train for h in use(r))
    common = sorted(place.values(), key=lambda h: (-overall[h], h))
    author = values["author"][row]
    mine = [r for r in split.train if author and values["author"][r] == author]
    own = Counter(h for r in mine for h in use(r))
    most = sorted(own, key=lambda h: (-own[h], common.index(h)))
    past = sorted((r for r in mine if values["time"][r] < values["time"][row]),
                  key=lambda r: (values["time"][r], values["ordinal"][r]), reverse=True)  # fmt: skip
    recent = [h for r in past for h in use(r)]
    fill = lambda best: (list(dict.fromkeys([*best, *common])) + [-1] * k)[:k]  # noqa: E731
    return {"most_used": fill([]), "authors_most_used": fill(most[:k]), "authors_most_recent": fill(recent)}


@pytest.mark.parametrize("seed,k", [(0, 1), (1, 3), (2, 6), (3, 8)])
def test_equal_plain_python(tmp_path, seed, k):
    dataset, split, candidates, lists, values = make(tmp_path, 90, seed)
    found = baselines.rankings(dataset, split, split.test, candidates, k)
    assert list(found) == ["most_used", "authors_most_used", "authors_most_recent"]
    for name, ranked in found.items():
        assert ranked.shape == (len(split.test), k) and ranked.dtype == np.int32
        for row, ours in zip(split.test, ranked):
            assert list(ours) == by_hand(row, split, candidates, lists, values, k)[name], name


def test_only_the_past_is_recent(tmp_path):
    """A training post asked about itself sees what is strictly earlier, not itself."""
    dataset, split, candidates, lists, values = make(tmp_path, 60, 5, authors=3)
    ranked = baselines.rankings(dataset, split, split.train, candidates, 3)["authors_most_recent"]
    for row, ours in zip(split.train, ranked):
        assert list(ours) == by_hand(row, split, candidates, lists, values, 3)["authors_most_recent"]


@pytest.mark.parametrize("missing,names", [
    (("author",), ["most_used"]),
    (("time",), ["most_used", "authors_most_used"]),
])  # fmt: skip
def test_rows_that_the_dataset_cannot_give_are_left_out(tmp_path, missing, names):
    dataset, split, candidates, *_ = make(tmp_path, 30, missing=missing)
    assert list(baselines.rankings(dataset, split, split.test, candidates, 2)) == names


def test_no_training_post_has_a_candidate(tmp_path):
    dataset, split, candidates, *_ = make(tmp_path, 30)
    empty = Split(**{**vars(split), "train": split.train[:0]})
    for ranked in baselines.rankings(dataset, empty, split.test, candidates, 3).values():
        assert (ranked == [0, 1, 2]).all()


def test_a_hundred_thousand_posts_in_seconds(tmp_path):
    dataset, split, candidates, *_ = make(tmp_path, 200_000, authors=2000, hashtags=150, kept=120)
    started = time.perf_counter()
    baselines.rankings(dataset, split, split.test, candidates, 5)
    assert time.perf_counter() - started < 6
