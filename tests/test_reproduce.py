"""Reproducing the zsl paper: its numbers, which runs make which table, what is absent, and the pages."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxtag import crossvalidate, runs
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError, Preempted
from jaxtag.files import fingerprint, read_json, seal, write_json
from jaxtag.parallel.mesh import make_mesh
from jaxtag.reproduce import commands, zsl, zsl_page, zsl_paper, zsl_splits, zsl_tables, zsl_work
from jaxtag.reproduce.commands import Absent
from jaxtag.reproduce.zsl_work import work_of
from tests import toy

PROTOCOL = {"top": toy.HASHTAGS, "min_posts": 1, "folds": 2, "seeds": 1, "dim": 8, "settings": ("transductive",)}


SHARES = zsl_splits.SHARES
PREPARE = commands.prepare


def test_the_papers_numbers_are_consistent() -> None:
    for accuracy, *rest in zsl_paper.TABLE_2.values():
        assert set(rest) == {round(accuracy)}  # P, R and F1 are micro averages: the accuracy, rounded
    for (seen, unseen), methods in zsl_paper.TABLE_3.items():
        assert seen + unseen == 50 and set(methods) == {"conse", "eszsl", "dem"}
        for kinds in methods.values():
            assert set(kinds) == {"zero-shot", "few-shot"}
            for hits in kinds.values():
                assert hits == tuple(sorted(hits)) and 100 * 5 / unseen < hits[2] <= 100
            assert all(few >= none for none, few in zip(kinds["zero-shot"], kinds["few-shot"]))
    assert zsl_paper.TABLE_1["posts_with_hashtag"][1] / zsl_paper.TABLE_1["posts"][1] == pytest.approx(0.0972, abs=1e-4)


@pytest.mark.parametrize(
    ("hashtags", "expected"),
    [(50, [(40, 10), (30, 20), (25, 25)]), (10, [(8, 2), (6, 4), (5, 5)]), (8, [(6, 2), (5, 3), (4, 4)])],
)
def test_sizes_keep_the_papers_shares(hashtags: int, expected: list, monkeypatch: Any) -> None:
    monkeypatch.setattr(zsl_splits, "SHARES", SHARES)
    assert zsl_splits.sizes(hashtags) == expected


def test_too_few_hashtags_are_absent_not_wrong() -> None:
    with pytest.raises(Absent, match="7 hashtags have posts enough; at least 8"):
        zsl_splits.sizes(7)


def test_names_of_splits_tell_their_rule() -> None:
    usual = zsl_splits.PROTOCOLS["paper"]
    assert usual.prefix == "zsl"
    assert replace(usual, cap=150).prefix == "zsl-cap150"
    changed = [replace(usual, **{k: v}) for k, v in {"top": 9, "min_posts": 9, "cap": 9, "folds": 9}.items()]
    assert len({p.prefix for p in [usual, *changed]}) == 5


def test_commands_are_run_once_and_their_last_line_is_the_reason(monkeypatch: Any) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess:
        asked.append(words[3:])
        failed = "bad" in words
        return subprocess.CompletedProcess(words, 2 if failed else 0, "", "noise\njaxtag-prep: no such dataset\n\n")

    monkeypatch.setattr(commands, "prepare", PREPARE)
    monkeypatch.setattr(commands.subprocess, "run", run)
    commands.prepare_all([["split", "--seed", 0], ["split", "--seed", 1], ["split", "--seed", 2]])
    assert asked[0] == ["split", "--seed", "0"] and sorted(asked) == [["split", "--seed", str(i)] for i in range(3)]
    with pytest.raises(Absent, match="^jaxtag-prep split failed: no such dataset$"):
        commands.prepare("split", "bad")
    commands.prepare_all([])


def make_vectors(split: Any, name: str, dim: int) -> None:
    """Word vectors of a split, as jaxtag-prep lays them out."""
    folder = split.path / "vectors" / name
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(toy.WORDS + toy.HASHTAGS, dim)).astype(np.float32)
    names = [toy.word(i + 2) for i in range(toy.WORDS)] + [f"#tag{i}" for i in range(toy.HASHTAGS)]
    (folder / "names.txt").write_text("".join(n + "\n" for n in names))
    np.save(folder / "table.npy", table)
    np.save(folder / "words.npy", table[: toy.WORDS])
    np.save(folder / "hashtags.npy", table[toy.WORDS + split.named])
    np.save(folder / "output.npy", table[::-1])
    np.save(folder / "hashtags_output.npy", table[::-1][toy.WORDS + split.named])
    info = {"format": 2, "split": split.fingerprint, "setting": "transductive", "dim": dim, "files": seal(folder)}
    write_json(folder / "vectors.json", info)


def make_unseen(data: Path, name: str, held: int, seed: int, shots: int) -> None:
    """A split whose test posts have the last `held` hashtags, of which `shots` posts each train."""
    dataset = open_dataset(data)
    toy.make_split(data, dataset.rows, name, one=True)
    folder, gold = data / "splits" / name, np.asarray(dataset.column("hashtags").values)
    unseen = np.random.default_rng(seed).permutation(toy.HASHTAGS)[:held]
    rows = np.random.default_rng(seed).permutation(dataset.rows).astype(np.int32)
    old, new = rows[~np.isin(gold[rows], unseen)], rows[np.isin(gold[rows], unseen)]
    few = np.concatenate([new[gold[new] == h][:shots] for h in unseen]).astype(np.int32)
    seen = np.setdiff1d(np.arange(toy.HASHTAGS), unseen)
    parts = {"train": np.append(old[20:], few), "validation": old[:20], "test": np.setdiff1d(new, few)}
    arrays = {key: np.sort(value) for key, value in parts.items()}
    arrays |= {"hashtags": np.arange(toy.HASHTAGS) if shots else seen, "candidates": np.sort(unseen)}
    for key, value in arrays.items():
        np.save(folder / f"{key}.npy", value.astype(np.int32))
    info = read_json(folder / "split.json", "split")
    files = {k: v for k, v in seal(folder).items() if k != "split.json"}
    named = {"seen": [f"tag{i}" for i in seen], "unseen": [f"tag{i}" for i in np.sort(unseen)]}
    write_json(folder / "split.json", info | named | {"files": files, "fingerprint": fingerprint([name, files])})


def prepared(*arguments: Any) -> None:
    """What `jaxtag-prep` would make, made from the toy posts."""
    options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
    data = Path(options["data"])
    if arguments[0] == "vectors":
        make_vectors(open_dataset(data).split(options["split"]), options["name"], int(options["dim"]))
    elif "folds" in options:
        toy.make_folds(data, int(options["folds"]), 300, options["name"], one=True)
    else:
        make_unseen(data, options["name"], int(options["unseen"]), int(options["seed"]), 5 * ("shots" in options))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jaxtag.data.text import Cleaning

    path = toy.make(tmp_path_factory.mktemp("reproduce") / "data", 300, one=True)
    info = read_json(path / "dataset.json", "dataset")
    settings = {"settings": {"cleaning": Cleaning().to_json()}, "funnel": [{"step": "rows read", "posts": 300}]}
    write_json(path / "dataset.json", info | settings)
    return path


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """One device, and of each table a part: what is left out is done by the same lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "make_mesh", lambda parallel, devices=None: make_mesh(parallel, jax.devices()[:1]))
        patch.setattr(commands, "prepare", prepared)
        patch.setattr(zsl_splits, "prepare", prepared)
        patch.setattr(zsl_splits, "SHARES", (0.5,))
        patch.setattr(zsl_tables, "TABLE_3", {(25, 25): zsl_paper.TABLE_3[25, 25]})
        patch.setattr(zsl_tables, "SUPERVISED", ("ann",))
        yield


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A reproduction, its networks as small as they go."""
    overrides = {f"{name}.training.{k}": v for name in ("ann", "cnn") for k, v in (("batch", "32"), ("steps", "4"))}
    overrides |= {"ann.model.hidden": "8", "cnn.model.hidden": "8", "cnn.model.filters": "4", "dem.model.steps": "20"}
    work = work_of(data, tmp_path_factory.mktemp("out") / "zsl", "tiny", "zsl/ann", overrides, **PROTOCOL)
    return work, zsl.reproduce(work)


def test_every_table_is_there_with_the_papers_numbers(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    assert set(found["tables"]) == set(zsl.PARTS) and not any("absent" in t for t in found["tables"].values())
    assert json.loads((work.out / "zsl.json").read_text()) == json.loads(json.dumps(found))
    second = {row["system"]: row for row in found["tables"]["2"]["rows"]}
    for name in zsl_tables.SUPERVISED:
        folds = [read_json(work.out / "table-2" / name / f"fold-{i}" / "evaluation-test.json", "") for i in range(2)]
        assert second[name]["accuracy@1"]["mean"] == pytest.approx(np.mean([f["accuracy@1"] for f in folds]))
        assert (
            second[name]["paper"] == zsl_paper.TABLE_2[name] and second[name]["f1_micro"] == second[name]["accuracy@1"]
        )
    assert "paper" not in second["most_used"]
    third = found["tables"]["3"]["rows"]
    assert len(third) == 2 * (len(zsl_tables.METHODS) + 1)
    for row in third:
        theirs = zsl_paper.TABLE_3[tuple(row["paper_sizes"])].get(row["method"], {}).get(row["kind"])
        assert row["paper"] == theirs and row["seen"] + row["unseen"] == toy.HASHTAGS
        assert (row["vectors"] is None) == (row["method"] == "chance")
        rivals = set() if row["method"] == "chance" else {*zsl_tables.AGAINST} - {row["method"]}
        assert row["ahead"].keys() == rivals
        for other in rivals:
            same = ("seen", "unseen", "kind", "vectors")
            (than,) = (r for r in third if r["method"] == other and all(r[k] == row[k] for k in same))
            apart = np.subtract(row["by_split"], than["by_split"])
            want = {"mean": apart.mean(), "error": apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else 0.0}
            assert row["ahead"][other] == pytest.approx(want)
        assert set(row["hits"]) == {f"hit@{k}" for k in (1, 2, 5) if k <= row["unseen"]}
    assert {(r["seen"], r["unseen"]) for r in third} == {(6, 6)}


def test_hits_are_of_test_posts_of_unseen_hashtags(made: tuple[Any, dict[str, Any]], data: Path) -> None:
    work, found = made
    row = next(r for r in found["tables"]["3"]["rows"] if r["method"] == "eszsl" and r["kind"] == "few-shot")
    folder = work.out / "table-3" / f"{row['seen']}-{row['unseen']}-few-shot-transductive" / "eszsl"
    split = open_dataset(data).split(f"{work.protocol.prefix}-{row['seen']}-{row['unseen']}-0-few")
    with np.load(folder / "fold-0" / "predictions-test.npz") as saved:
        assert set(np.unique(saved["gold"])) - {-1} <= set(split.candidates.tolist())
        assert saved["rows"].tolist() == split.test.tolist()
        first = (saved["ranked"][:, :1] == saved["gold"]).any(1).mean()
    assert row["hits"]["hit@1"]["mean"] == pytest.approx(first)
    shots = split.train[np.isin(open_dataset(data).column("hashtags").values[split.train], split.candidates)]
    assert len(shots) == 5 * row["unseen"]  # a few of them train


def test_methods_of_a_split_share_one_encoder(made: tuple[Any, dict[str, Any]]) -> None:
    work, _ = made
    folders = sorted((work.out / "table-3").glob("*/*/fold-*/encoder"))
    assert len(folders) == 2 * 6  # kinds, methods with an encoder
    assert len({f.resolve() for f in folders}) == 2
    assert all((f / "experiment.json").is_file() for f in folders)


def test_pages_show_ours_beside_the_papers(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    text, page = (work.out / "zsl.md").read_text(), (work.out / "index.html").read_text()
    for heading in ("Table 1", "Table 2", "Table 3", "Table 4", "Section 7.4", "Fig. 1"):
        assert f"## {heading}" in text and heading in page
    assert "805,031" in text and "58 / 69 / 82" in text
    line = next(part for part in text.splitlines() if part.startswith("| ANN"))
    accuracy = next(r for r in found["tables"]["2"]["rows"] if r["system"] == "ann")["accuracy@1"]["mean"]
    assert f"{100 * accuracy:.1f} ±" in line and "40.7" in line
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures == ["hashtags.png", "words.png", "hashtag-map.png"]
    assert all((work.out / name).stat().st_size > 4_000 for name in pictures) and page.count("data:image/png") == 3
    assert "ann.model.hidden 8" in text  # what was changed is said
    rows = found["tables"]["4"]["rows"]
    assert rows and all(set(row["hashtags"]) & set(row["recommended"]) for row in rows)
    assert all(len(row["recommended"]) <= 5 and row["post"] for row in rows)


def test_one_kind_of_splits_alone(made: tuple[Any, dict[str, Any]]) -> None:
    work, found = made
    alone = zsl_tables.table_3(replace(work, protocol=replace(work.protocol, kinds=("few-shot",))))
    assert alone["rows"] == [row for row in found["tables"]["3"]["rows"] if row["kind"] == "few-shot"]
    headings = [b.text for b in zsl_page.table_3(alone) if isinstance(b, zsl_page.Heading)]
    assert len(headings) == 2 and headings[1].startswith("Few-shot")


def test_what_is_done_is_not_done_again(made: tuple[Any, dict[str, Any]], monkeypatch: Any) -> None:
    work, found = made
    before = {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()}

    def fail(*_: object) -> None:
        raise AssertionError("done again")

    for module, name in (
        (crossvalidate, "train"),
        (crossvalidate, "evaluate"),
        (commands, "prepare"),
        (zsl_splits, "prepare"),
    ):
        monkeypatch.setattr(module, name, fail)
    assert zsl.reproduce(work) == found
    assert {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()} == before


def test_a_table_whose_data_is_absent_says_so(
    made: tuple[Any, dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    work, _ = made

    def refuse(*arguments: Any) -> None:
        raise Absent("jaxtag-prep split failed: too few posts")

    monkeypatch.setattr(zsl_splits, "prepare", refuse)
    other = replace(work, out=tmp_path / "out", protocol=replace(work.protocol, cap=3))
    found = zsl.reproduce(other, ("1", "3"))
    assert found["tables"]["3"] == {"absent": "jaxtag-prep split failed: too few posts"}
    text = (tmp_path / "out" / "zsl.md").read_text()
    assert "Left out: jaxtag-prep split failed: too few posts." in text and "805,031" in text
    assert "Left out: the dataset has no split" in text


def test_being_stopped_is_not_absence(made: tuple[Any, dict[str, Any]], tmp_path: Path, monkeypatch: Any) -> None:
    def stop(*_: object) -> None:
        raise Preempted("stopped")

    monkeypatch.setattr(zsl_tables, "over", stop)
    with pytest.raises(Preempted):
        zsl.reproduce(replace(made[0], out=tmp_path / "out"), ("2",))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"encoder": "zsl/rnm"}, "no recipe 'zsl/rnm' to start from; did you mean 'zsl/rnn'"),
        ({"seeds": 0}, "seeds is 0; it must be 1 or more"),
        ({"folds": 1}, "folds is 1; it must be 2 or more"),
        ({"kinds": ("few",)}, "no kind of splits 'few'"),
        ({"settings": ("inductif",)}, "no setting of word vectors 'inductif'; did you mean 'inductive'"),
        (
            {"overrides": {"rnm.model.width": "4"}},
            "no recipe 'rnm' in the zsl paper to override fields of; did you mean 'rnn'",
        ),
        (
            {"overrides": {"dem.encoder.model.width": "4"}},
            "would give one method an encoder of its own.*--ann.model.width",
        ),
    ],
)
def test_what_cannot_be_reproduced_is_refused(data: Path, tmp_path: Path, given: dict, message: str) -> None:
    with pytest.raises(JaxtagError, match=message):
        zsl_work.check_overrides(work_of(data, tmp_path, **({"size": "tiny"} | given)))


def test_an_unknown_table_is_refused(made: tuple[Any, dict[str, Any]]) -> None:
    with pytest.raises(JaxtagError, match="no table '5' in the zsl paper"):
        zsl.reproduce(made[0], ("5",))


def test_names_of_every_row_are_known() -> None:
    assert {*zsl_paper.TABLE_2, *zsl_tables.METHODS, "chance"} <= set(zsl_page.NAMES)
