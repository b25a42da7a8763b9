"""Splits: examples, caps and divisions against brute force; unseen hashtags; folders, names, refusals."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtag_prep import choosing, divisions, splits, unseen
from jaxtag_prep.cli import main
from jaxtag_prep.presets import PRESETS, preset
from jaxtag_prep.rule import Rule

from jaxtag.data.columns import ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.data.vocabulary import Vocabulary
from jaxtag.errors import JaxtagError
from jaxtag.files import read_json, write_json
from tests.prep import tree

LISTS = st.lists(st.lists(st.integers(0, 5), max_size=3, unique=True), min_size=1, max_size=30)


@settings(deadline=None)
@given(LISTS, st.integers(1, 4), st.integers(0, 4), st.sampled_from(["all", "one"]), st.data())
def test_choosing_is_brute_force(
    lists: list[list[int]], least: int, top: int, per_post: Any, data: st.DataObject
) -> None:
    length = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(lists), max_size=len(lists))))
    rule = Rule(min_words=2, min_hashtag_posts=least, top=top, per_post=per_post)
    long = [tags if words >= 2 else [] for tags, words in zip(lists, length)]
    uses = Counter(tag for tags in long for tag in tags)
    kept = sorted((t for t in uses if uses[t] >= least), key=lambda t: (-uses[t], t))[: top or None]
    mine = [[t for t in tags if t in kept] for tags in long]
    rows = [i for i, tags in enumerate(mine) if (len(tags) == 1 if per_post == "one" else tags)]
    uses = Counter(t for i in rows for t in mine[i])
    hashtags = sorted(uses, key=lambda t: (-uses[t], t))
    if len(hashtags) < 2:
        with pytest.raises(JaxtagError, match=r"no post is left|1 hashtag is left"):
            choosing.choose(ragged(lists), length, 6, rule)
        return
    found = choosing.choose(ragged(lists), length, 6, rule)
    assert found.rows.tolist() == rows and found.hashtags.tolist() == hashtags
    assert found.funnel.steps[-1][1] == len(rows)


def of(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Every use: the post's number and the hashtag's."""
    column = ragged(lists)
    return np.repeat(np.arange(len(lists)), column.lengths()), column.values.astype(np.int64)


@settings(deadline=None)
@given(LISTS, st.integers(0, 3), st.randoms())
def test_at_most_is_one_post_after_another(lists: list[list[int]], most: int, random: Any) -> None:
    order = random.sample(range(len(lists)), len(lists))
    left, taken = [most + h % 2 for h in range(6)], []
    for i in order:
        if all(left[h] for h in lists[i]):
            taken.append(i)
            for h in lists[i]:
                left[h] -= 1
    found = choosing.at_most(*of(lists), np.array([most + h % 2 for h in range(6)]), np.array(order))
    assert np.flatnonzero(found).tolist() == sorted(taken)


@settings(deadline=None)
@given(LISTS, st.integers(1, 4), st.integers(0, 3))
def test_a_cap_holds_and_no_more_fits(lists: list[list[int]], cap: int, seed: int) -> None:
    lists = [*lists, [0], [1]]
    length = np.ones(len(lists), int)
    rule = Rule(min_words=0, min_hashtag_posts=1, cap=cap, seed=seed)
    found = choosing.choose(ragged(lists), length, 6, rule)
    uses = Counter(h for i in found.rows for h in lists[i])
    assert max(uses.values()) <= cap
    out = set(range(len(lists))) - set(found.rows.tolist())
    assert all(any(uses[h] == cap for h in lists[i]) for i in out if lists[i])
    assert (choosing.choose(ragged(lists), length, 6, rule).rows == found.rows).all()


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, 0.0), (0.7, 0.0, 0.3)])
def test_dividing_at_random(fractions: tuple[float, float, float]) -> None:
    part = divisions.at_random(1005, fractions, np.random.default_rng(0))
    assert np.abs(np.bincount(part, minlength=3) - 1005 * np.array(fractions)).max() <= 1
    shuffled = np.random.default_rng(0).permutation(1005)
    assert (np.diff(part[shuffled]) >= 0).all()  # the same shuffle as ever, so that splits stay what they were
    assert fractions[0] == 1 or (divisions.at_random(1005, fractions, np.random.default_rng(1)) != part).any()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=60),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (0.4, 0.3, 0.3)]),
)
def test_dividing_by_time(time: list[int], weights: tuple[float, ...]) -> None:
    part, borders = divisions.by_time(np.array(time), weights)
    spans = [[t for t, p in zip(time, part) if p == i] for i in range(3)]
    used = [span for span, weight in zip(spans, weights) if weight]
    assert all(not span for span, weight in zip(spans, weights) if not weight)
    assert all(max(a) <= min(b) for a, b in zip(used, used[1:]) if a and b)
    if len(set(time)) >= len(used):  # then no second need lie in two parts, and no part need be empty
        assert all(used) and all(max(a) < min(b) for a, b in zip(used, used[1:]))
        assert all(spans[i + 1] == [] or min(spans[i + 1]) == borders[i] for i in range(2))


def test_a_border_lies_where_it_is_wanted() -> None:
    part, borders = divisions.by_time(np.arange(100)[::-1], (0.7, 0.1, 0.2))
    assert np.bincount(part).tolist() == [70, 10, 20] and borders == [70, 80] and part[0] == 2
    part, borders = divisions.by_time(np.repeat([1, 2, 3], [30, 60, 10]), (0.8, 0.1, 0.1))
    assert np.bincount(part).tolist() == [30, 60, 10] and borders == [2, 3]  # whole seconds alone


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(0, 5))
def test_dividing_by_author(author: list[int], seed: int) -> None:
    weights = (0.6, 0.2, 0.2)
    part = divisions.by_author(np.array(author), weights, np.random.default_rng(seed))
    assert all(len({p for a, p in zip(author, part) if a == who}) <= 1 for who in range(1, 10))
    largest = max([c for a, c in Counter(author).items() if a] + [1])
    ends = np.cumsum(np.bincount(part, minlength=3))
    assert (np.abs(ends - np.cumsum(weights) * len(author)) <= largest / 2 + 1).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(2, 6), st.integers(0, 3))
def test_folds_of_one_hashtag_a_post_are_even(labels: list[int], folds: int, seed: int) -> None:
    post, label = of([[h] for h in labels])
    part = divisions.stratified(post, label, len(labels), [1] * folds, np.random.default_rng(seed))
    for h in set(labels):
        counts = np.bincount(part[np.array(labels) == h], minlength=folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(part, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    part = divisions.stratified(post, label, len(labels), (0.9, 0.1), np.random.default_rng(seed))
    for h in set(labels):
        mine = part[np.array(labels) == h]
        assert abs((mine == 1).sum() - len(mine) / 10) < 1
    assert abs((part == 1).sum() - len(labels) / 10) <= 1


def test_folds_of_many_hashtags_a_post_are_nearly_even() -> None:
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 41)
    lists = [rng.choice(40, rng.integers(1, 4), replace=False, p=chance / chance.sum()).tolist() for _ in range(2000)]
    post, label = of(lists)
    used = np.bincount(label)
    part = divisions.stratified(post, label, 2000, [1] * 5, rng)
    counts = np.array([np.bincount(part[post[label == h]], minlength=5) for h in range(40)])
    assert np.ptp(counts, axis=1).max() <= 4 and np.ptp(counts[np.argmin(used)]) <= 1
    drawn = rng.integers(0, 5, 2000)
    random = np.array([np.bincount(drawn[post[label == h]], minlength=5) for h in range(40)])
    assert np.ptp(counts, axis=1).mean() < np.ptp(random, axis=1).mean() / 5
    assert np.ptp(np.bincount(part, minlength=5)) <= 0.05 * 400  # hashtags go before sizes


def test_training_words() -> None:
    tokens = ragged([[2, 3, 3], [4, 4, 4, 3], [5, 5], [2, 1]])
    assert splits.training_words(tokens, np.array([0, 1, 3]), 6, 2).tolist() == [3, 4, 2]
    assert splits.training_words(tokens, np.array([2]), 6, 1).tolist() == [5]


@pytest.mark.parametrize(
    "options",
    [{"fractions": (0.5, 0.1, 0.1)}, {"fractions": (0.0, 0.5, 0.5)}, {"fractions": (1.0,)}, {"min_hashtag_posts": 0},
     {"top": -1}, {"seed": -1}, {"history": 0}, {"cap": -1}],
)  # fmt: skip
def test_impossible_settings(options: dict[str, Any]) -> None:
    with pytest.raises(JaxtagError):
        preset("general", options)


def test_presets() -> None:
    assert preset("zsl", {"top": None}) == PRESETS["zsl"]
    assert preset("zsl", {"top": 9, "stop_words": False}).split == Rule(min_hashtag_posts=200, top=9, per_post="one")
    with pytest.raises(JaxtagError, match="no preset 'zls'; did you mean 'zsl'"):
        preset("zls", {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("splits") / "data"
    assert main(["simulate", "--out", str(out), "--posts", "1500", "--workers", "1", "--min-hashtag-posts", "15"]) == 0
    return out


def test_another_split(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["split", "--data", str(data), "--name", "few", "--top", "4", "--per-post", "one", "--seed", "5"]
    assert main(command) == 0
    split = open_dataset(data).split("few")
    assert split.info["thresholds"]["min_hashtag_posts"] == 15  # the default split's
    assert len(split.hashtags) == 4 == len(split.candidates) and split.info["seed"] == 5
    first = (data / "splits" / "few" / "split.json").read_bytes()
    assert main(command) == 0 and (data / "splits" / "few" / "split.json").read_bytes() == first
    capsys.readouterr()
    assert main([*command[:-1], "6"]) == 2
    assert "made by another rule" in capsys.readouterr().err


def parts_of(data: Path, name: str) -> tuple[Any, dict[str, set[int]]]:
    split = open_dataset(data).split(name)
    parts = {part: set(getattr(split, part).tolist()) for part in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == split.info["funnel"][-1]["posts"]
    return split, parts


@pytest.mark.parametrize("division", ["random", "author"])
def test_folds(data: Path, division: str) -> None:
    name = f"fold-{division}"
    assert main(["split", "--data", str(data), "--name", name, "--folds", "3", "--division", division]) == 0
    folds = [parts_of(data, f"{name}-{i}") for i in range(3)]
    everyone = set.union(*folds[0][1].values())
    assert (
        sum(len(parts["test"]) for _, parts in folds) == len(everyone) == len(set.union(*(p["test"] for _, p in folds)))
    )
    author = open_dataset(data).column("author")
    for split, parts in folds:
        assert set.union(*parts.values()) == everyone and split.hashtags.tolist() == folds[0][0].hashtags.tolist()
        assert abs(len(parts["validation"]) - 0.1 * len(everyone - parts["test"])) < 10
        if division == "author":
            who = [set(author[list(rows)].tolist()) for rows in parts.values()]
            assert not (who[0] & who[1] | who[0] & who[2] | who[1] & who[2])
    again, first = data / "splits" / f"{name}-1", tree(data / "splits" / f"{name}-1")
    shutil.rmtree(again)
    assert main(["split", "--data", str(data), "--name", name, "--folds", "3", "--division", division]) == 0
    assert tree(again) == first
    assert folds[0][0].info["summary"].startswith("fold 0 of 3") and not (data / "splits" / name).exists()


def kinds(data: Path, name: str) -> tuple[Any, dict[str, Counter[str]]]:
    """The split, and how often each part's posts have seen, unseen and other hashtags."""
    split, parts = parts_of(data, name)
    dataset = open_dataset(data)
    kind = {dataset.hashtags.ids[h]: what for what in ("seen", "unseen") for h in split.info[what]}
    column = dataset.column("hashtags")
    return split, {p: Counter(kind.get(h, "") for r in rows for h in column[r].tolist()) for p, rows in parts.items()}


def test_unseen_hashtags(data: Path) -> None:
    command = ["split", "--data", str(data), "--unseen", "20", "--seed", "3", "--name"]
    assert main([*command, "zero"]) == 0 and main([*command, "shots", "--shots", "1-2"]) == 0
    assert main([*command, "both", "--generalised"]) == 0
    split, found = kinds(data, "zero")
    names = open_dataset(data).hashtags.entries
    assert len(split.info["unseen"]) == 20 and [names[h] for h in split.candidates] == split.info["unseen"]
    assert [names[h] for h in split.hashtags] == split.info["seen"]
    assert not found["train"]["unseen"] and not found["validation"]["unseen"] and not found["test"]["seen"]
    assert found["test"]["unseen"] and split.info["audit"]["uses_of_unseen_in_training"] == 0
    few, shot = kinds(data, "shots")
    assert few.info["unseen"] == split.info["unseen"] and few.candidates.tolist() == split.candidates.tolist()
    assert {*few.hashtags} == {*split.hashtags, *split.candidates} and not shot["validation"]["unseen"]
    assert shot["train"]["unseen"] + shot["test"]["unseen"] == found["test"]["unseen"] and shot["train"]["unseen"]
    assert few.info["audit"]["uses_of_unseen_in_training"] == shot["train"]["unseen"]
    column = open_dataset(data).column("hashtags")
    per = Counter(h for r in few.train for h in column[r].tolist() if h in set(few.candidates.tolist()))
    assert max(per.values()) <= 2 and set(few.train) >= set(split.train) and set(few.test) < set(split.test)
    both, general = kinds(data, "both")
    assert {*both.candidates} == {
        *split.hashtags,
        *split.candidates,
    } and both.hashtags.tolist() == split.hashtags.tolist()
    assert general["test"]["seen"] and general["test"]["unseen"] == found["test"]["unseen"]
    assert not general["train"]["unseen"] and set(both.test) > set(split.test)


def test_unseen_hashtags_by_name(data: Path, tmp_path: Path) -> None:
    names = open_dataset(data).split("default").info
    first = [open_dataset(data).hashtags.entries[h] for h in open_dataset(data).split("default").hashtags[:6]]
    (tmp_path / "list.txt").write_text("#" + first[0] + "\n\n" + first[1].upper() + "\n" + first[0] + "\n")
    command = ["split", "--data", str(data), "--unseen-hashtags", str(tmp_path / "list.txt"), "--name"]
    assert main([*command, "listed"]) == 0 and names["counts"]["hashtags"] > 6
    assert set(kinds(data, "listed")[0].info["unseen"]) == set(first[:2])
    assert main([*command, "two", "--seen-hashtags", ",".join(first[2:6])]) == 0
    split, found = kinds(data, "two")
    assert len(split.hashtags) == 4 and not found["train"]["unseen"] and found["train"]["seen"]
    assert main(["split", "--data", str(data), "--seen-hashtags", ",".join(first[2:6]), "--name", "rest"]) == 0
    assert len(kinds(data, "rest")[0].candidates) == names["counts"]["hashtags"] - 4


@pytest.mark.parametrize("division", ["time", "author"])
def test_unseen_hashtags_by_time_or_author(data: Path, division: str) -> None:
    options = ["--unseen", "25", "--division", division, "--fractions", "0.4,0.1,0.5"]
    assert main(["split", "--data", str(data), "--name", f"un-{division}", *options]) == 0
    split, found = kinds(data, f"un-{division}")
    values = np.asarray(open_dataset(data).column(division))
    train, test = values[[*split.train, *split.validation]], values[split.test]
    assert train.max() < test.min() if division == "time" else not set(train) & set(test)
    assert not found["train"]["unseen"] and not found["test"]["seen"] and len(split.test)
    assert split.info["funnel"][-1]["step"] == "in a part of their kind"


def test_unseen_after_a_time() -> None:
    #            seen (0, 1) until second 9; 2 and 3 first used later; a post with both kinds
    lists = [[0], [1], [0, 1], [0], [1], [0], [0, 2], [2], [3], [2, 3], [0]]
    time = np.array([1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 16])
    column, names = ragged(lists), Vocabulary(("a", "b", "c", "d"), (6, 3, 3, 2))
    rule = Rule(min_words=0, min_hashtag_posts=1, division="time", unseen_after=10, fractions=(0.5, 0.25, 0.25))
    found = choosing.choose(column, np.ones(11, int), 4, rule)
    which = unseen.labels_unseen(found, rule, names, column, time)
    assert found.hashtags[which[1]].tolist() == [2, 3]
    divided = unseen.divide(found, *which, rule, time, np.zeros(11, int))
    assert divided.part.tolist() == [0, 0, 0, 0, 1, 1, -1, 2, 2, 2, -1]
    assert divided.borders == {"validation": 5, "test": 11} and divided.candidates.tolist() == [2, 3]
    general = replace(rule, generalised=True, shots=(1, 1))
    divided = unseen.divide(found, *which, general, time, np.zeros(11, int))
    assert divided.part.tolist() == [0, 0, 0, 0, 1, 1, -1, 0, 0, 2, 2]  # the earliest posts are the shots
    assert sorted(divided.candidates.tolist()) == [0, 1, 2, 3]


def test_shots_are_drawn_evenly() -> None:
    lists, drawn = [[h] for h in range(4) for _ in range(12)], Counter()
    rule = Rule(min_words=0, min_hashtag_posts=1, unseen=2, shots=(2, 4))
    for seed in range(200):
        rule = replace(rule, seed=seed)
        found = choosing.choose(ragged(lists), np.ones(48, int), 4, rule)
        which = unseen.labels_unseen(found, rule, Vocabulary(tuple("abcd"), (1,) * 4), ragged(lists), None)
        part = unseen.divide(found, *which, rule, np.zeros(48, int), np.zeros(48, int)).part.reshape(4, 12)
        drawn.update((part[np.isin(found.hashtags, found.hashtags[which[1]])] == 0).sum(1).tolist())
    assert set(drawn) == {2, 3, 4} and min(drawn.values()) > 100  # of 400, a third each


REFUSED = [
    ("--unseen 9999", "--unseen 9999 of "),
    ("--unseen 1", "1 of "),
    ("--unseen 4 --unseen-hashtags a", "--unseen and --unseen-hashtags both say which hashtags are unseen"),
    ("--unseen-hashtags a,b --seen-hashtags b,c", "#b is in both lists, seen and unseen (1 in all)"),
    ("--unseen-hashtags nothing,else", "#nothing is not a hashtag of this dataset"),
    ("--unseen-hashtags ,", "--unseen-hashtags names no hashtag"),
    ("--unseen-after 2016-01-05", "--unseen-after divides by time alone"),
    ("--unseen-after soon --division time", "--unseen-after: the time 'soon' is not readable"),
    ("--unseen-after 2090-01-01 --division time", " kept hashtags are unseen, at least 2 are needed"),
    ("--unseen 5 --shots 5-2", "--shots 5-2 is no range of counts"),
    ("--unseen 5 --shots few", "--shots 'few' is no range of counts"),
    ("--unseen 5 --shots 5000", "have too few posts to take training posts from"),
    ("--shots 5", "--shots is of splits with unseen hashtags"),
    ("--generalised", "--generalised is of splits with unseen hashtags"),
    ("--folds 1", "--folds 1 is no number of folds"),
    ("--folds 3 --division time", "folds are random or by author, not by time"),
    ("--folds 3 --unseen 5", "folds have no unseen hashtags"),
    ("--folds 3 --fractions 0.8,0.1,0.1", "folds have no --fractions"),
    ("--folds 3 --validation 1", "--validation 1 is not from 0 to below 1"),
    ("--validation 0.2", "--validation is of folds"),
    ("--cap -1", "--cap -1 is below 0"),
    ("--min-hashtag-posts 5000", "no post is left after step 'with a hashtag of at least 5000 posts'"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_is_refused(data: Path, options: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["split", "--data", str(data), "--name", "refused", *options.split()]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not (data / "splits" / "refused").exists()


def test_a_hashtag_that_is_not_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = open_dataset(data)
    rare = dataset.hashtags.entries[-1]
    assert main(["split", "--data", str(data), "--name", "x", "--unseen-hashtags", rare]) == 2
    assert f"#{rare} is not among the " in capsys.readouterr().err


def test_rules_say_what_they_are() -> None:
    rule = Rule(division="time", unseen_after=86400, top=50, cap=9, per_post="one", shots=(5, 10), generalised=True)
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert rule.sentence() == (
        "posts of seen hashtags by time 80:10 to training and validation; "
        "hashtags first used after 1970-01-02 00:00:00 unseen; posts of 5 words or more; "
        "hashtags of 20 posts or more; the 50 most used hashtags; posts with exactly one hashtag; "
        "at most 9 posts a hashtag; 5-10 training posts of each unseen hashtag; seen hashtags are candidates too; "
        "seed 0"
    )
    said = Rule(seen_hashtags=("a", "b"), generalised=True).sentence()
    assert said.startswith("at random 80/10/10; 2 named hashtags seen, the others unseen; ")
    assert Rule(unseen=3).sentence().startswith("posts of seen hashtags at random 80:10 to training and validation; 3 ")


def test_a_split_of_another_dataset(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "--data", str(data), "--name", "moved", "--top", "5"]) == 0
    path = data / "splits" / "moved" / "split.json"
    write_json(path, read_json(path, "split") | {"dataset": "another"})
    capsys.readouterr()
    assert main(["split", "--data", str(data), "--name", "moved", "--top", "5"]) == 2
    assert "was made for another dataset" in capsys.readouterr().err
    shutil.rmtree(path.parent)


def test_an_older_split_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "--data", str(data), "--name", "old"]) == 0
    path = data / "splits" / "old" / "split.json"
    write_json(path, read_json(path, "split") | {"format": 1})
    capsys.readouterr()
    assert main(["split", "--data", str(data), "--name", "old"]) == 2
    assert "has split format 1, this jaxtag reads format 2; delete it" in capsys.readouterr().err
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("name", ["a/b", "..", "", "x.partial"])
def test_names_that_are_none(data: Path, name: str) -> None:
    with pytest.raises(JaxtagError, match="no name for a split"):
        splits.make(data, name, Rule())


def test_a_failed_split_leaves_nothing(data: Path) -> None:
    with pytest.raises(JaxtagError, match="at least 9999 posts"):
        splits.make(data, "none", Rule(min_hashtag_posts=9999))
    assert not (data / "splits" / "none").exists()


def test_simulated_posts_have_images(data: Path, tmp_path: Path) -> None:
    from jaxtag.data import simulate

    dataset = open_dataset(data)
    images = np.load(data / "images" / "simulated" / "vector.npy", mmap_mode="r")
    posts = list(simulate.posts(1500, 0))
    assert images.dtype == np.float16 and len(images) == 1500 and "images/simulated/vector.npy" in dataset.info["files"]
    ordinal, image = dataset.column("ordinal"), dataset.column("image")
    for row in (0, 7, dataset.rows - 1):
        assert (images[image[row]] == posts[ordinal[row]].image).all()
        assert dataset.text(np.array([row])) == [posts[ordinal[row]].text]
        assert dataset.column("time")[row] == posts[ordinal[row]].time
