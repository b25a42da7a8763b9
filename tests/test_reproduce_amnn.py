"""Reproducing the amnn paper: its numbers, which runs make which row, what is absent, and the pages."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag import crossvalidate
from jaxtag.cli import main
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.files import read_json
from jaxtag.reproduce import amnn, amnn_page, amnn_paper, amnn_runs, amnn_tables, amnn_work, commands, paper
from jaxtag.reproduce.amnn_work import Row, work_of
from jaxtag.reproduce.seeded import AT_K
from tests import toy
from tests.test_reproduce import make_vectors

pytestmark = pytest.mark.usefixtures("one_device")

POSTS, DIM = 200, 6
Reproduced = tuple[amnn_work.Work, dict[str, Any]]
EXTRACTORS = {"resnet50": "seen", "inception_v3": "other", "vgg16": "seen"}
SMALL = {"training.steps": "4", "model.width": "8", "model.embedding": "6", "model.hashtag_embedding": "6"}


def test_the_papers_numbers_are_consistent() -> None:
    for counted in amnn_paper.TABLE_2.values():
        assert counted["hashtags"] / counted["posts"] == pytest.approx(counted["mean"], abs=0.04)
        assert counted["least"] <= counted["mean"] <= counted["most"]
    assert amnn_paper.TABLE_6["words"] / amnn_paper.TABLE_2["mm_ins"]["posts"] == pytest.approx(12.04, abs=5e-3)
    tables = [amnn_paper.TABLE_3, amnn_paper.TABLE_4, amnn_paper.TABLE_5, amnn_paper.TABLE_7]
    for table in (*tables, *amnn_paper.SHUFFLED.values()):
        below = {name for name, (precision, _, accuracy) in table.items() if accuracy < precision}
        assert below == (set(amnn_paper.ERRATA) if table is amnn_paper.TABLE_5 else set())
    systems: Any = (amnn_tables.IMAGE_ONLY, amnn_tables.IMAGE_ONLY, amnn_tables.BOTH[:-1])
    for rows, table in zip(systems, tables):
        assert [row.key for row in rows] == list(table)  # in the paper's order
    assert amnn_tables.BOTH[-1] == Row("amnn_text")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("amnn") / "data", POSTS, pictured=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[Path, Experiment]:
    """Runs that only say what they were asked: every number of a row is 0.25, and lists have 5 hashtags or 2."""
    found: dict[Path, Experiment] = {}

    def over_seeds(folder: Path, recipe: str, experiment: Experiment, *_: Any) -> dict[str, Any]:
        assert found.setdefault(folder, experiment) == experiment and recipe.startswith("amnn/")
        run = folder / "seed-0" / "fold-0"
        run.mkdir(parents=True, exist_ok=True)
        ranked = np.array([[0, 1, 2, 3, 4], [1, 0, -1, -1, -1], [5, 6, 7, 8, 9]])
        np.savez(run / "predictions-test.npz", rows=np.arange(3), ranked=ranked, gold=np.array([[0], [1], [6]]))
        metrics = {name: {"mean": 0.25, "spread": 0.0} for name in AT_K}
        return {"metrics": metrics, "baselines": {"most_used": metrics}, "seeds": 1}

    monkeypatch.setattr(amnn_runs, "over_seeds", over_seeds)
    monkeypatch.setattr(amnn_runs, "prepare", prepared)
    return found


def prepared(*arguments: Any) -> None:
    """What `jaxtag-prep vectors` would make, made from the toy posts."""
    options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
    assert arguments[0] == "vectors" and ("model" in options) != ("file" in options)
    make_vectors(open_dataset(options["data"]).split(options["split"]), options["name"], int(options.get("dim", 9)))


def test_every_row_is_run_as_the_paper_has_it(data: Path, tmp_path: Path, asked: dict[Path, Experiment]) -> None:
    files = {"fasttext": tmp_path / "wiki simple.vec"}
    files["fasttext"].write_text("")
    given: dict[str, Any] = {"extractors": EXTRACTORS, "files": files, "dim": DIM}
    work = work_of({"mm_ins": data, "harrison": data}, tmp_path / "out", "tiny", {"amnn.model.dropout": "0.1"}, **given)
    found = amnn.reproduce(work)["tables"]
    assert list(found) == ["II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    assert found["IV"] == {"absent": "NUS-WIDE is not given (--data nus_wide=DIR)"}
    for number, table in (("III", amnn_paper.TABLE_3), ("V", amnn_paper.TABLE_5)):
        there = [row for row in found[number]["rows"] if row.get("paper")]
        assert [row["paper"] for row in there] == list(table.values())
        absent = {row["system"] for row in there if "absent" in row}
        assert absent == {"vgg_object_scene"}  # vgg16 is there by another name, vgg16_places is not
    (without,) = (row["absent"] for row in found["III"]["rows"] if "absent" in row)
    assert without.startswith(f"{data} has no image features 'vgg16_places'; jaxtag-prep images --data {data} ")
    assert "--extractor vgg16_places --weights FILE; --extractor vgg16_places=NAME takes" in without
    of = {str(folder.relative_to(work.out)): experiment for folder, experiment in asked.items()}
    assert of["mm_ins/amnn-seen"].data.extractor == "seen" and of["mm_ins/amnn-other"].data.extractor == "other"
    assert of["mm_ins/svm-seen"].encoder == of["mm_ins/amnn-seen"]  # the user's dropout too
    assert of["mm_ins/amnn-seen"].model.dropout == 0.1 != of["mm_ins/amnn_text"].model.dropout
    assert of["harrison/neighbour_voting-seen"].encoder == of["harrison/amnn_image-seen"]
    for name, kind in (("harrison", "amnn_image"), ("mm_ins", "amnn")):
        for features in EXTRACTORS["inception_v3"], EXTRACTORS["resnet50"]:
            shuffled = of.pop(f"{name}/{kind}-{features}-shuffled-once")
            plain = of[f"{name}/{kind}-{features}"]
            assert shuffled == replace(plain, data=replace(plain.data, hashtag_order="shuffled"))
    fixed = {name: e for name, e in of.items() if not getattr(e.model, "trainable", True)}
    kinds = {
        "fasttext-wiki_simple.vec": ("amnn-fasttext-wiki_simple.vec", 9),
        "word2vec": (f"amnn-skipgram-{DIM}", DIM),
    }
    assert set(fixed) == {f"mm_ins/amnn-seen-{kind}{end}" for kind in kinds for end in ("", "-mean")}
    for name, experiment in fixed.items():
        vectors, width = kinds[name.removeprefix("mm_ins/amnn-seen-").removesuffix("-mean")]
        assert (experiment.data.vectors, experiment.model.embedding) == (vectors, width)
        assert experiment.model.text_recurrent is not name.endswith("-mean")
    seventh = {(row.get("vectors"), row.get("recurrent")): row for row in found["VII"]["rows"]}
    assert (
        seventh["fasttext", True]["paper"] == amnn_paper.TABLE_7["fasttext"]
        and seventh["fasttext", False]["paper"] is None
    )
    assert seventh["glove", True]["absent"] == "no glove vectors are given (--pretrained glove=FILE)"
    (enough, every) = (row for row in found["V"]["rows"] if row["system"] == "show_attend_tell")
    assert enough["posts"] == "2 of 3 with 5 recommendations or more" and every["posts"] == "all"
    assert (enough["precision@1"]["mean"], enough["recall@2"]["mean"]) == (0.5, 1.0)  # of the first and the third post
    assert every["precision@1"]["mean"] == 0.25
    eighth = {(row["dataset"], row["shuffled"]): row for row in found["VIII"]["rows"]}
    assert eighth["mm_ins", False]["paper"] == amnn_paper.TABLE_5["amnn inception_v3"]
    assert eighth["nus_wide", True] == {
        "dataset": "nus_wide", "system": "amnn_image", "images": ["inception_v3"], "shuffled": True,
        "absent": "NUS-WIDE is not given (--data nus_wide=DIR)", "paper": (22.82, 13.41, 48.28),
    }  # fmt: skip
    check_pages(work.out, found)


def check_pages(out: Path, found: dict[str, Any]) -> None:
    """Ours beside the paper's, the reasons of what is left out, and both figures."""
    text, page = (out / "amnn.md").read_text(), (out / "index.html").read_text()
    for heading in (*(f"Table {number}" for number in found), "Fig. 3", "Fig. 4"):
        assert f"## {heading}" in text and heading in page
    line = next(part for part in text.splitlines() if part.startswith("| Neighbour voting"))
    assert "**25.00**" in line and "27.04" in line and "ResNet-50 (seen)" in line
    assert "VGG-Object + VGG-Scene is left out: " in text and "the text, by which AMNN gains about 28, has 37.5" in text
    assert "| fastText, wiki simple.vec " in text and "amnn.model.dropout 0.1" in text
    assert "test posts with long lists: 2 of 3 with 5 recommendations or more." in text
    assert all((out / name).stat().st_size > 4_000 for name in ("against-k.png", "hashtags-a-post.png"))
    assert page.count("data:image/png") == 2


def test_datasets_are_counted(data: Path, tmp_path: Path) -> None:
    found = amnn.reproduce(work_of({"harrison": data}, tmp_path, "tiny"), ("II", "VI"))["tables"]
    many = open_dataset(data).column("hashtags").lengths()
    rows = {row["dataset"]: row for row in found["II"]["rows"]}
    assert rows["harrison"]["ours"] == {
        "labels": toy.HASHTAGS, "posts": POSTS, "images": POSTS, "hashtags": many.sum(),
        "mean": round(many.mean(), 2), "least": many.min(), "most": many.max(),
    }  # fmt: skip
    assert rows["harrison"]["lengths"] == {str(n): int((many == n).sum()) for n in np.unique(many)}
    assert "ours" not in rows["mm_ins"] and found["VI"] == {"absent": "MM-INS is not given (--data mm_ins=DIR)"}
    text = (tmp_path / "amnn.md").read_text()
    assert "667,227" in text and "MM-INS is not given (--data mm_ins=DIR)." in text
    assert "Left out: Table V was not asked for." in text
    words = amnn.reproduce(work_of({"mm_ins": data}, tmp_path / "words", "tiny"), ("VI",))["tables"]["VI"]
    tokens = open_dataset(data).column("tokens")
    assert words["ours"]["words"] == words["all_words"] == len(tokens.values)
    assert words["ours"]["distinct"] == len(np.unique(tokens.values))
    assert (words["ours"]["least"], words["ours"]["most"]) == (tokens.lengths().min(), tokens.lengths().max())


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """Runs of one network, and of what starts from it."""
    rows = (Row("mlknn"), Row("svm", ("resnet50",)), Row("amnn", ("resnet50",)))
    overrides = {f"amnn.{key}": value for key, value in SMALL.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(amnn_tables.TABLES, "V", lambda work: amnn_tables._systems("mm_ins", rows, {}, work))
        out = tmp_path_factory.mktemp("out") / "amnn"
        work = work_of({"mm_ins": data}, out, "tiny", overrides, extractors=EXTRACTORS, seeds=2)
        return work, amnn.reproduce(work, ("V", "IX"))


def test_rows_are_of_runs(made: Reproduced) -> None:
    work, found = made
    assert json.loads((work.out / "amnn.json").read_text()) == json.loads(json.dumps(found))
    rows = {row["system"]: row for row in found["tables"]["V"]["rows"]}
    assert list(rows) == ["mlknn", "svm", "amnn", "most_used", "authors_most_used", "authors_most_recent"]
    for name, folder, seeds in (("mlknn", "mlknn", 1), ("svm", "svm-seen", 2), ("amnn", "amnn-seen", 2)):
        runs = [work.out / "mm_ins" / folder / f"seed-{i}" / "fold-0" for i in range(seeds)]
        values = [read_json(run / "evaluation-test.json", "")["recall@5"] for run in runs]
        assert rows[name]["recall@5"]["mean"] == pytest.approx(np.mean(values)) and rows[name]["seeds"] == seeds
    for seed in range(2):  # what it starts from is a row's own run
        encoder = work.out / "mm_ins" / "svm-seen" / f"seed-{seed}" / "fold-0" / "encoder"
        assert encoder.resolve() == (work.out / "mm_ins" / "amnn-seen" / f"seed-{seed}" / "fold-0").resolve()
        assert read_json(encoder / "experiment.json", "")["experiment"]["training"]["seed"] == seed
    ninth = {row["shuffled"]: row for row in found["tables"]["IX"]["rows"] if row["dataset"] == "mm_ins"}
    assert ninth[False]["recall@5"] == rows["amnn"]["recall@5"]
    shuffled = read_json(work.out / "mm_ins/amnn-seen-shuffled-once/seed-1/fold-0/experiment.json", "")
    assert shuffled["experiment"]["data"]["hashtag_order"] == "shuffled"


def test_what_is_done_is_not_done_again(made: Reproduced, monkeypatch: Any) -> None:
    work, found = made
    before = {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()}
    for module, name in ((crossvalidate, "train"), (crossvalidate, "evaluate"), (amnn_runs, "prepare")):
        monkeypatch.setattr(module, name, None)
    rows = (Row("mlknn"), Row("svm", ("resnet50",)), Row("amnn", ("resnet50",)))
    monkeypatch.setitem(amnn_tables.TABLES, "V", lambda work: amnn_tables._systems("mm_ins", rows, {}, work))
    assert amnn.reproduce(work, ("V", "IX")) == found
    assert {p: p.read_bytes() for p in work.out.iterdir() if p.is_file()} == before


def test_features_without_a_grid_leave_their_rows_out(
    data: Path, tmp_path: Path, asked: dict[Path, Experiment]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    file = tmp_path / "data" / "images" / "seen" / "extractor.json"
    info = read_json(file, "")
    info["shapes"].pop("grid")
    file.write_text(json.dumps(info))
    work = work_of({"mm_ins": tmp_path / "data"}, tmp_path / "out", "tiny", extractors=EXTRACTORS)
    rows = {
        (row["system"], *row.get("features", ())): row for row in amnn.reproduce(work, ("V",))["tables"]["V"]["rows"]
    }
    assert rows["amnn", "seen"]["absent"] == "image features seen have no grid; jaxtag-prep images --data DIR " + (
        "--extractor seen --layer grid"
    )
    assert "absent" not in rows["nic", "seen"] and "absent" not in rows["amnn", "other"]


def test_size_tiny_takes_a_few_posts_to_run_on_and_counts_all(
    data: Path, tmp_path: Path, asked: dict[Path, Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    shutil.copytree(data, path)

    def split(*arguments: Any) -> None:
        options = {str(a)[2:]: b for a, b in zip(arguments[1:], arguments[2:]) if str(a).startswith("--")}
        assert arguments[0] == "split" and options["cap"] == amnn_tables.TINY_CAP
        toy.make_split(Path(options["data"]), 100, options["name"])

    monkeypatch.setattr(commands, "prepare", split)
    monkeypatch.setattr(commands, "SMALL", 100)
    work = work_of({"mm_ins": path}, tmp_path / "out", "tiny", extractors=EXTRACTORS)
    found = amnn.reproduce(work, ("II", "V"))
    assert found["protocol"]["splits"] == {"mm_ins": "amnn-tiny"} and found["tables"]["V"]["posts"] == 10
    assert found["tables"]["II"]["rows"][0]["ours"]["posts"] == POSTS
    named = amnn_tables.with_splits(work_of({"mm_ins": path}, tmp_path / "out", "tiny", split="default"))
    assert dict(named.splits) == {"mm_ins": "default"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"seeds": 0}, "seeds is 0; it must be 1 or more"),
        ({"split": "other"}, "has no split 'other'"),
        ({"shuffle": "each"}, "the amnn paper has no order of hashtags 'each'; did you mean 'each_time'"),
        ({"extractors": {"resnet50": "sen"}}, "none of the datasets has image features 'sen'.* did you mean 'seen'"),
        ({"files": {"glove": Path("none.txt")}}, "no file none.txt of glove vectors; --pretrained glove=FILE"),
        ({"overrides": {"amn.model.width": "4"}}, "no recipe 'amn' in the amnn paper.*did you mean 'amnn'"),
        (
            {"overrides": {"svm.encoder.model.width": "4"}},
            "is of an encoder, which is a row of its own; --amnn.model.w",
        ),
        ({"overrides": {"nic.data.extractor": "seen"}}, "would be of every row; --extractor resnet50=NAME"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(data: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(JaxtagError, match=message):
        options: dict[str, Any] = {"size": "tiny"} | given
        amnn.reproduce(work_of({"mm_ins": data}, tmp_path, **options), ("II",))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["mmins=DIR"], "jaxtag: --data mmins=DIR: there is no 'mmins'; did you mean 'mm_ins'?"),
        (["mm_ins=DIR", "DIR"], "jaxtag: --data names mm_ins twice; name it once"),
        (["harrison="], "jaxtag: --data harrison= has nothing behind the name; --data harrison=..."),
    ],
)
def test_names_of_datasets_are_checked(
    given: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part.replace("DIR", str(data)) for part in given]
    with pytest.raises(SystemExit) as stopped:
        main(["reproduce", "amnn", "--data", *arguments, "--out", str(tmp_path)])
    assert stopped.value.code == 2 and capsys.readouterr().err == message.replace("DIR", str(data)) + "\n"


@pytest.mark.parametrize("write", [lambda p: str(p), lambda p: f"mm_ins={p}"])
def test_a_folder_alone_is_of_mm_ins(data: Path, tmp_path: Path, write: Callable[[Path], str]) -> None:
    folder = tmp_path / "a=b"  # an equals sign within a path is no name
    folder.symlink_to(data, target_is_directory=True)
    assert paper.named([write(folder)], "--data", list(amnn_paper.NAMES), "mm_ins") == {"mm_ins": str(folder)}


def test_names_of_every_row_are_known() -> None:
    systems = {row.system for row in amnn_tables.BOTH}
    assert systems <= set(amnn_page.SYSTEMS) and systems <= set(amnn_page.READS)
    assert set(amnn_work.IMAGES) == set(amnn_page.IMAGES) and set(amnn_work.TEXTS) == set(amnn_page.VECTORS)
