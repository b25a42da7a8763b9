"""Splits: rules against brute force, exact sizes, seeds, names, refusals."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtag_prep import splits
from jaxtag_prep.cli import main
from jaxtag_prep.presets import PRESETS, preset
from jaxtag_prep.rule import Rule

from jaxtag.data.columns import ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError

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
            splits.choose(ragged(lists), length, 6, rule)
        return
    found = splits.choose(ragged(lists), length, 6, rule)
    assert found.rows.tolist() == rows and found.hashtags.tolist() == hashtags
    assert found.funnel.steps[-1][1] == len(rows)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, 0.0), (0.7, 0.0, 0.3)])
def test_dividing(fractions: tuple[float, float, float]) -> None:
    rows = np.arange(0, 2010, 2)
    parts = splits.divide(rows, Rule(fractions=fractions))
    for part, fraction in zip(("train", "validation", "test"), fractions):
        assert abs(len(parts[part]) - fraction * 1005) <= 1 and (np.diff(parts[part]) > 0).all()
    assert sorted(np.concatenate(list(parts.values()))) == rows.tolist()
    again, other = (
        splits.divide(rows, Rule(fractions=fractions)),
        splits.divide(rows, Rule(fractions=fractions, seed=1)),
    )
    assert (again["train"] == parts["train"]).all()
    assert fractions[0] == 1 or (other["train"] != parts["train"]).any()


def test_training_words() -> None:
    tokens = ragged([[2, 3, 3], [4, 4, 4, 3], [5, 5], [2, 1]])
    assert splits.training_words(tokens, np.array([0, 1, 3]), 6, 2).tolist() == [3, 4, 2]
    assert splits.training_words(tokens, np.array([2]), 6, 1).tolist() == [5]


@pytest.mark.parametrize(
    "options",
    [{"fractions": (0.5, 0.1, 0.1)}, {"fractions": (0.0, 0.5, 0.5)}, {"fractions": (1.0,)}, {"min_hashtag_posts": 0},
     {"top": -1}, {"seed": -1}, {"history": 0}],
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
