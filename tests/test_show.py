"""`jaxtag data show` and `export`: numbers of a made dataset, the splits' audits, width, one JSON document."""

import json
from pathlib import Path

import numpy as np
import pytest
from jaxtag_prep.cli import main as prepare

from jaxtag.cli import main
from jaxtag.data import inspect, show
from jaxtag.data.dataset import open_dataset
from tests import prep


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    assert prepare(prep.arguments(prep.source(folder), folder / "data")) == 0
    assert prepare(["split", "--data", str(folder / "data"), "--name", "fold", "--folds", "2"]) == 0
    assert prepare(["split", "--data", str(folder / "data"), "--name", "unseen", "--unseen-hashtags", "red"]) == 2
    unseen = ["split", "--data", str(folder / "data"), "--name", "zero", "--unseen-hashtags", "red,blue"]
    assert prepare([*unseen, "--min-hashtag-posts", "2"]) == 0
    return folder / "data"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    capsys.readouterr()
    main(list(arguments))
    return capsys.readouterr().out


def test_statistics_are_brute_force(data: Path) -> None:
    dataset, found = open_dataset(data), inspect.describe(data)
    column = dataset.column("hashtags")
    lists = [column[i].tolist() for i in range(dataset.rows)]
    has, some = found["statistics"], [tags for tags in lists if tags]
    assert has["posts_read"] == 300 and has["posts"] == dataset.rows
    assert has["posts_with_hashtag"] == len(some) and has["posts_with_several"] == sum(len(t) > 1 for t in lists)
    uses = [sum(h in tags for tags in lists) for h in range(len(dataset.hashtags))]
    assert has["hashtags"] == sum(n > 0 for n in uses)
    assert has["hashtags_with_posts"] == {str(n): sum(u >= n for u in uses) for n in (20, 50, 200, 1000)}
    assert has["hashtags_per_post"] == round(sum(map(len, some)) / len(some), 2)
    assert (
        has["hashtags_in_posts"]["0"] == sum(not t for t in lists)
        and sum(has["hashtags_in_posts"].values()) == dataset.rows
    )
    words = sorted(len(dataset.column("tokens")[i]) for i in range(dataset.rows))
    assert has["words_per_post"]["100%"] == words[-1] and has["words_per_post"]["0%"] == words[0]
    assert has["authors"] == 7 == len(set(dataset.column("author").tolist()))
    assert has["posts_with_history"] == int((dataset.column("history")[:, 0] >= 0).sum())


def test_splits_are_described(data: Path) -> None:
    found = inspect.describe(data)["splits"]
    assert list(found) == ["default", "fold-0", "fold-1", "zero"]
    for name, split in found.items():
        info = open_dataset(data).split(name).info
        assert split["counts"] == info["counts"] and split["audit"] == info["audit"] and split["rule"] == info["rule"]
        assert split["statistics"]["posts"] == sum(info["counts"][p] for p in ("train", "validation", "test"))
    assert sorted(found["zero"]["unseen"]) == ["blue", "red"]
    assert found["zero"]["audit"]["uses_of_unseen_in_training"] == 0


def test_what_is_printed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "data", "show", str(data))
    assert max(map(len, text.splitlines())) <= show.WIDTH and text.isascii()
    assert "split default (" in text and "near-copies in training" in text and "unseen          2: " in text
    assert text.count("funnel          as of split default") == 2  # the folds'
    found = json.loads(shown(capsys, "data", "show", str(data), "--json"))
    assert found == inspect.describe(data)


def test_the_split_verb_prints_the_same(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    command = ["split", "--data", str(data), "--name", "fold", "--folds", "2"]
    assert prepare(command) == 0
    text = capsys.readouterr().out
    assert "split fold-0 (" in text and "split fold-1 (" in text and "near-copies in training" in text
    assert prepare([*command, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["splits"]
    assert [split["name"] for split in made] == ["fold-0", "fold-1"] and "audit" in made[0]


def test_a_split_with_unseen_hashtags_is_exported(data: Path, tmp_path: Path) -> None:
    split = open_dataset(data).split("zero")
    names = [open_dataset(data).hashtags.entries[h] for h in split.candidates]
    assert inspect.export(data, "zero", "test", tmp_path / "t.jsonl")["posts"] == len(split.test)
    records = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert records and all(set(r["hashtags"]) <= set(names) and r["hashtags"] for r in records)
    inspect.export(data, "zero", "train", tmp_path / "t.jsonl")
    records = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert records and not any(set(r["hashtags"]) & set(names) for r in records)


def test_vectors_and_topics_are_named(data: Path) -> None:
    folder = data / "splits" / "default"
    (folder / "vectors" / "given").mkdir(parents=True)
    ways = {"own": 3, "word": 0, "segmentation": 5, "subwords": 0, "none": 2}
    about = {"files": {}, "setting": "pretrained", "dim": 3, "words_without": 4, "hashtags": ways}
    (folder / "vectors" / "given" / "vectors.json").write_text(json.dumps(about))
    found = inspect.describe(data)["splits"]["default"]
    assert found["vectors"] == [
        {"name": "given", "setting": "pretrained", "dim": 3, "words_without": 4, "hashtags": ways, "output": False}
    ]
    line = "vectors         given: pretrained, 3 dimensions, no output vectors, 4 words without; hashtags: 3"
    assert line in show.render(inspect.describe(data)) and show.hashtags_text(ways).endswith(
        "5 by segmentation, 2 without"
    )
    (folder / "vectors" / "given" / "vectors.json").write_text(json.dumps(about | {"output": True}))
    line = "vectors         given: pretrained, 3 dimensions, input and output, 4 words without"
    assert line in show.render(inspect.describe(data))


def test_topics_in_short() -> None:
    info = {"topics": 10, "passes": 1, "alpha": 0.0, "eta": 0.5, "seed": 3, "words": 1165, "posts": 1187}
    said = "10 of 1,165 words, fitted to 1,187 training posts (1 pass, eta 0.5, seed 3)"
    assert show.topics_text(info) == said
    assert show.topics_text(info | {"passes": 2, "eta": 0.0}).endswith("(2 passes, seed 3)")


def test_spreads() -> None:
    assert inspect._quantiles(np.array([], int)) == {"mean": 0.0}
    assert inspect._quantiles(np.arange(1, 101)) == {
        "mean": 50.5, "0%": 1, "25%": 25, "50%": 50, "75%": 75, "95%": 95, "100%": 100,
    }  # fmt: skip
