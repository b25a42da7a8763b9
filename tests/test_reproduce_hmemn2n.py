"""Reproducing the hmemn2n paper: its numbers, which runs make which table, what is absent, and the pages."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag import crossvalidate
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.metrics import harmonic
from jaxtag.files import read_json, write_json
from jaxtag.reproduce import commands, hmemn2n, hmemn2n_page, hmemn2n_paper, hmemn2n_tables, hmemn2n_work
from jaxtag.reproduce.hmemn2n_work import work_of
from tests import toy
from tests.test_reproduce import make_vectors

pytestmark = pytest.mark.usefixtures("one_device")

SYSTEMS = ("naive_bayes", "svm_history", "hmemn2n")


def test_the_papers_numbers_are_consistent() -> None:
    for table in (hmemn2n_paper.TABLE_2, hmemn2n_paper.TABLE_3):
        for precision, recall, f1 in table.values():
            assert float(harmonic(np.array(precision), np.array(recall))) == pytest.approx(f1, abs=1.1e-3)
    first = {key: number for key, (_, number) in hmemn2n_paper.TABLE_1.items()}
    assert first["train"] + first["validation"] + first["test"] == first["posts"]
    for name in ("cnn_attention", "memn2n", "hmemn2n"):
        hops = 0 if name == "cnn_attention" else 2
        assert hmemn2n_paper.TABLE_3[name, 300, hops] == hmemn2n_paper.TABLE_2[name]
    assert set(hmemn2n_paper.TABLE_2) <= set(hmemn2n_page.NAMES)


def prepared(*arguments: Any) -> None:
    """What `jaxtag-prep vectors` would make, made from the toy posts."""
    options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
    assert arguments[0] == "vectors" and options["model"] == "cbow"
    make_vectors(open_dataset(options["data"]).split(options["split"]), options["name"], int(options["dim"]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = toy.make(tmp_path_factory.mktemp("hmemn2n") / "data", 300)
    info = read_json(path / "dataset.json", "dataset")
    steps = {"funnel": [{"step": "rows read", "posts": 410}, {"step": "kept", "posts": 300}]}
    write_json(path / "dataset.json", info | steps)
    return path


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Of each table a part: what is left out is done by the same lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hmemn2n_tables, "prepare", prepared)
        patch.setattr(hmemn2n_tables, "TABLE_2", {name: hmemn2n_paper.TABLE_2[name] for name in SYSTEMS})
        grid = {row: hmemn2n_paper.TABLE_3[row] for row in [("hmemn2n", 300, 2), ("hmemn2n", 50, 2)]}
        patch.setattr(hmemn2n_work, "TABLE_3", grid)
        yield


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    overrides = {f"hmemn2n.training.{k}": v for k, v in (("batch", "32"), ("steps", "4"))}
    work = work_of(data, tmp_path_factory.mktemp("out") / "hm", "tiny", overrides, seeds=2)
    return work, hmemn2n.reproduce(work)


def test_every_table_is_there_with_the_papers_numbers(made: tuple[Any, dict[str, Any]], data: Path) -> None:
    work, found = made
    assert json.loads((work.out / "hmemn2n.json").read_text()) == json.loads(json.dumps(found))
    split, tables = open_dataset(data).split(), found["tables"]
    first = {row["what"]: row for row in tables["1"]["rows"]}
    assert first["posts collected, of 40,000 authors"] == {
        "what": "posts collected, of 40,000 authors",
        "ours": 410,
        "paper": 77_995_265,
    }
    assert [first[f"{part} posts"]["ours"] for part in ("training", "validation", "test")] == [240, 30, 30]
    each = open_dataset(data).column("hashtags").lengths()
    assert first["hashtags a post"]["ours"] == pytest.approx(each.mean())
    assert first["authors of those"]["ours"] == toy.AUTHORS
    assert tables["1"]["funnel"][:2] == [{"step": "rows read", "posts": 410}, {"step": "kept", "posts": 300}]
    second = {row["system"]: row for row in tables["2"]["rows"]}
    assert list(second) == [*SYSTEMS, "most_used", "authors_most_used", "authors_most_recent"]
    for name in SYSTEMS:
        seeds = range(2) if name == "hmemn2n" else range(1)  # what no seed changes is run once
        runs = [work.out / "table-2" / name / f"seed-{i}" / "fold-0" for i in seeds]
        values = [read_json(run / "evaluation-test.json", "")["f1@3"] for run in runs]
        assert second[name]["f1@3"]["mean"] == pytest.approx(np.mean(values))
        assert second[name]["seeds"] == len(seeds) and second[name]["paper"] == hmemn2n_paper.TABLE_2[name]
        assert len(list((work.out / "table-2" / name).iterdir())) == len(seeds)
    third = tables["3"]["rows"]
    assert [(row["system"], row["dimensions"], row["hops"]) for row in third] == [("hmemn2n", 32, 2), ("hmemn2n", 8, 2)]
    assert {k: third[0][k] for k in ("f1@1", "paper")} == {k: second["hmemn2n"][k] for k in ("f1@1", "paper")}
    assert [p.name for p in (work.out / "table-3").iterdir()] == ["hmemn2n-8-2"]
    assert len(split.test) == tables["3"]["posts"]


def test_pages_show_ours_beside_the_papers(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    text, page = (work.out / "hmemn2n.md").read_text(), (work.out / "index.html").read_text()
    for heading in ("Table 1", "Table 2", "Table 3", "Fig. 2"):
        assert f"## {heading}" in text and heading in page
    line = next(part for part in text.splitlines() if part.startswith("| HMemN2N"))
    f1 = next(r for r in found["tables"]["2"]["rows"] if r["system"] == "hmemn2n")["f1@1"]
    assert f"{f1['mean']:.3f} ± {f1['spread']:.3f}" in line and "0.482" in line
    assert "77,995,265" in text and "8 (for 50)" in text and "hmemn2n.training.steps 4" in text
    assert (work.out / "against-k.png").stat().st_size > 4_000 and page.count("data:image/png") == 1


def test_what_is_done_is_not_done_again(made: tuple[Any, dict[str, Any]], monkeypatch: Any) -> None:
    work, found = made
    before = {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()}
    for module, name in ((crossvalidate, "train"), (crossvalidate, "evaluate"), (hmemn2n_tables, "prepare")):
        monkeypatch.setattr(module, name, None)
    assert hmemn2n.reproduce(work) == found
    assert {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()} == before


def test_a_dataset_without_history_gives_what_it_can(
    made: tuple[Any, dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    work, _ = made
    shutil.copytree(work.data, tmp_path / "data")
    info = read_json(tmp_path / "data" / "dataset.json", "dataset")
    kept = {name: value for name, value in info["columns"].items() if name not in ("author", "history")}
    write_json(tmp_path / "data" / "dataset.json", info | {"columns": kept})
    found = hmemn2n.reproduce(replace(work, data=tmp_path / "data", out=tmp_path / "out"))
    second = {row["system"]: row for row in found["tables"]["2"]["rows"]}
    assert "f1@1" in second["naive_bayes"] and "authors_most_used" not in second
    reason = f"{tmp_path / 'data'} has no authors or no times, and so no history"
    assert second["hmemn2n"]["absent"] == second["svm_history"]["absent"] == reason
    assert found["tables"]["3"] == {"absent": reason}
    text = (tmp_path / "out" / "hmemn2n.md").read_text()
    assert "HMemN2N is left out:" in text and "Left out:" in text and "## Fig. 2" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"seeds": 0}, "seeds is 0; it must be 1 or more"),
        ({"split": "other"}, "has no split 'other'"),
        ({"overrides": {"hmemn.model.hops": "4"}}, "no recipe 'hmemn' in the hmemn2n paper to override fields of"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(data: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"size": "tiny"} | given
    with pytest.raises(JaxtagError, match=message):
        hmemn2n.reproduce(work_of(data, tmp_path, **options))
    with pytest.raises(JaxtagError, match="no table '4' in the hmemn2n paper"):
        hmemn2n.reproduce(work_of(data, tmp_path / "out", "tiny"), ("4",))


def test_size_tiny_takes_a_few_posts_of_a_large_dataset(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def split(*arguments: Any) -> None:
        options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
        assert arguments[0] == "split" and options["cap"] == hmemn2n.TINY[2]
        made.append(options["name"])
        toy.make_split(Path(options["data"]), 100, options["name"])

    monkeypatch.setattr(commands, "prepare", split)
    work = work_of(data, tmp_path / "out", "tiny")
    assert commands.split_of(work.dataset, "tiny", "", *hmemn2n.TINY) == "default" and not made  # small as it is
    monkeypatch.setattr(commands, "SMALL", 200)
    assert commands.split_of(work.dataset, "tiny", "", *hmemn2n.TINY) == "hmemn2n-tiny" == made[0]
    assert commands.split_of(work.dataset, "tiny", "default", *hmemn2n.TINY) == "default"
    assert commands.split_of(work.dataset, "paper", "", *hmemn2n.TINY) == "default" and len(made) == 1
