"""Reading history: an author's latest strictly earlier posts, their words, no hashtag, wherever it is gathered."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxtag.data import batches, history, order
from jaxtag.data.columns import ragged
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment, Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.recipes import resolve
from jaxtag.training.state import numbers_of
from tests import toy

BATCH, COLUMNS = 16, ("tokens", "history")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(toy.make(tmp_path_factory.mktemp("toy") / "data", 200))


def read(dataset: Dataset, **overrides: object) -> tuple[batches.Reading, Experiment]:
    given = {"data." + name: str(value) for name, value in overrides.items()} | {"training.batch": str(BATCH)}
    experiment, split = resolve("hmemn2n/hmemn2n", "tiny", given), dataset.split()
    return batches.reading(dataset, split, experiment, COLUMNS, split.hashtags), experiment


@pytest.mark.parametrize(("posts", "length"), [(5, 52), (3, 6), (1, 1)])
def test_a_batch_holds_the_words_of_the_latest_earlier_posts(dataset: Dataset, posts: int, length: int) -> None:
    reading, _ = read(dataset, history=posts, history_length=length)
    tokens, author, ids = dataset.column("tokens"), dataset.column("author"), reading.word_ids
    rows = np.array([0, 9, 150, 199, -1])
    found = reading.gather(rows)["history"]
    width = min(length, 16)  # the longest post has 11 words
    assert found.shape == (5, posts, width) and (found[-1] == 0).all()
    for row, mine in zip(rows[:-1], found):
        earlier = [r for r in range(row - 1, -1, -1) if author[r] == author[row]][:posts]  # times rise with rows
        expected = [ids[tokens[r]][:width].tolist() for r in earlier] + [[]] * (posts - len(earlier))
        assert [words[words != 0].tolist() for words in mine] == expected


def test_resident_and_streamed_give_the_same_history_as_the_host(dataset: Dataset) -> None:
    reading, experiment = read(dataset)
    split, mesh = dataset.split(), make_mesh(Parallel(), jax.devices()[:4])
    numbers = numbers_of(experiment, split.train, 12, 16)
    resident, streamed = batches.Resident(reading, mesh), batches.Streamed(reading, mesh, split.train, 0, BATCH)
    for source in (resident, streamed):
        feed = source.feed(3, 2)
        found = jax.jit(source.fetch, static_argnums=4)(feed, numbers, np.int32(4), np.int32(1), BATCH)
        expected = reading.gather(order.rows_of_step_on_host(split.train, 0, 4, BATCH))
        assert set(found) == set(expected) == {"tokens", "history", "hashtags"}
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
        rows = np.array([3, 7, 11, -1])
        np.testing.assert_array_equal(
            jax.jit(source.fetch_rows)(source.feed_rows(rows))["history"], reading.gather(rows)["history"]
        )


def test_bins_have_room_for_the_average_history_and_some_to_spare(dataset: Dataset) -> None:
    reading, _ = read(dataset)
    words = (reading.gather(np.arange(200))["history"] != 0).sum((1, 2))
    assert words.mean() < reading.packed < 1.5 * words.mean() + 8
    tokens = ragged([[1, 2], [3], [4, 5, 6]])
    assert history.history_words(np.array([[2, -1], [0, 1]]), tokens).tolist() == [[3, 0], [2, 1]]


def test_what_is_not_history_is_refused(dataset: Dataset) -> None:
    with pytest.raises(JaxtagError, match="data.history is 9, .* remembers 5 earlier posts; --data.history 5, or"):
        read(dataset, history=9)
    with pytest.raises(JaxtagError, match="data.history is 0; it must be above 0"):
        read(dataset, history=0)
    columns = {name: value for name, value in dataset.info["columns"].items() if name != "history"}
    without = replace(dataset, info=dataset.info | {"columns": columns})
    with pytest.raises(JaxtagError, match="no column 'history'.*jaxtag-prep posts --author COL --time COL"):
        read(without)


@pytest.mark.parametrize(("change", "wrong"), [("later", 1), ("same time", 1), ("another's", 1), ("nobody's", 2)])
def test_history_that_reaches_forward_or_to_others_is_refused(dataset: Dataset, change: str, wrong: int) -> None:
    author = np.array([1, 1, 1, 2])
    time = np.array([10, 20, 30, 5])
    entries = np.array([[-1, -1], [0, -1], [1, 0], [-1, -1]])
    assert history.not_earlier(_Columns(author, time), entries, np.arange(4)) == 0
    match change:
        case "later":
            entries[0, 0] = 2
        case "same time":
            time[1] = 30
        case "another's":
            entries[2, 1] = 3
        case "nobody's":
            author[:] = [0, 0, 1, 2]
            entries[2] = -1, -1
            entries[1] = 0, 0
    assert history.not_earlier(_Columns(author, time), entries, np.arange(4)) == wrong


class _Columns(Dataset):
    def __init__(self, author: np.ndarray, time: np.ndarray):
        object.__setattr__(self, "_columns", {"author": author, "time": time})

    def column(self, name: str) -> np.ndarray:
        return self.__dict__["_columns"][name]


def test_hashtags_among_the_words_are_refused(dataset: Dataset) -> None:
    names = (*dataset.words.entries[:-1], "#word")
    marked = replace(dataset)
    marked.__dict__["words"] = replace(dataset.words, entries=names)
    with pytest.raises(JaxtagError, match="has the hashtag #word among its words"):
        read(marked)


@pytest.mark.realdata
def test_every_history_of_the_real_posts_is_earlier_the_authors_and_without_hashtags(
    shared_data: Path, tmp_path: Path
) -> None:
    from data_prep.cli import main

    columns = ["--text", "content", "--author", "author_id", "--time", "publish_date", "--repost", "post_type=R"]
    told = ["--language", "language", "--language-is", "English", "--out", str(tmp_path / "all")]
    assert main(["posts", "--input", str(shared_data / "posts.parquet"), *columns, *told]) == 0
    dataset = open_dataset(tmp_path / "all")
    reading, _ = read(dataset, history_length=52)
    every = np.arange(dataset.rows)
    assert reading.earlier is not None and dataset.rows > 300_000
    assert history.not_earlier(dataset, reading.earlier, every) == 0
    assert not any("#" in word for word in dataset.words.entries)
    # What is gathered is those posts' words; and their words are their texts' without the hashtags.
    tokens = dataset.column("tokens")
    for rows in np.array_split(every, 40):
        earlier = reading.earlier[rows]
        sizes = np.minimum(history.history_words(earlier, tokens), reading.lengths["history"])
        np.testing.assert_array_equal((reading.gather(rows)["history"] != 0).sum(2), sizes)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    named = np.unique(reading.earlier[reading.earlier >= 0])
    for row, text in zip(sample := np.random.default_rng(0).choice(named, 3000), dataset.text(sample)):
        words = [dataset.words.entries[t] for t in tokens[row]]
        assert words == [word for word in cleaner.with_hashtags(text) if not word.startswith("#")]
