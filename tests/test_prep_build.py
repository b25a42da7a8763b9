"""Making dataset folders: the funnel, repeats, resumption, refusals, bad rows, and what the folder says."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from jaxtag_prep import build, records, tables, workers
from jaxtag_prep.cli import main

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError
from tests.prep import arguments, posts, source, tree


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("made")
    file = source(folder)
    assert main(arguments(file, folder / "out")) == 0
    return file, folder / "out"


def test_funnel_is_brute_force(made: tuple[Path, Path]) -> None:
    rows, dataset = posts(), open_dataset(made[1])
    original = [row for row in rows if row["kind"] != "R"]
    english = [row for row in original if row["lang"] == "English"]
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    distinct = {}
    for row in english:
        cleaned = cleaner(row["text"])
        distinct.setdefault(cleaned.shown, cleaned)
    assert [(step["step"], step["posts"]) for step in dataset.info["funnel"]] == [
        ("rows read", 300), ("readable rows", 300), ("not reposts", len(original)), ("in English", len(english)),
        ("duplicates removed", len(distinct)),
    ]  # fmt: skip
    tagged = [c for c in distinct.values() if c.hashtags]
    long = [c for c in tagged if len(c.words) >= 4]
    uses = {h: sum(h in c.hashtags for c in long) for c in long for h in c.hashtags}
    kept = {h for h, n in uses.items() if n >= 8}
    examples = [c for c in long if kept & set(c.hashtags)]
    split = dataset.split()
    assert [(step["step"], step["posts"]) for step in split.info["funnel"]] == [
        ("posts of the dataset", len(distinct)), ("with a hashtag", len(tagged)), ("at least 4 words", len(long)),
        ("with a hashtag of at least 8 posts", len(examples)),
    ]  # fmt: skip
    assert {dataset.hashtags.entries[i] for i in split.hashtags} == kept
    assert len(split.train) + len(split.validation) + len(split.test) == len(examples)


def test_stored_text_gives_stored_ids(made: tuple[Path, Path]) -> None:
    dataset = open_dataset(made[1])
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    rows, tokens, hashtags = posts(), dataset.column("tokens"), dataset.column("hashtags")
    for row, text in enumerate(dataset.text(np.arange(dataset.rows))):
        assert text == rows[dataset.column("ordinal")[row]]["text"]
        cleaned = cleaner(text)
        assert dataset.words.encode(cleaned.words) == tokens[row].tolist()
        assert [dataset.hashtags.entries[i] for i in hashtags[row]] == list(cleaned.hashtags)


def test_folder_says_what_it_is(made: tuple[Path, Path]) -> None:
    info, text = open_dataset(made[1]).info, (made[1] / "dataset.json").read_text()
    assert str(made[0].parent) not in text
    assert info["sources"][0]["name"] == "posts.jsonl" and info["preset"] == "general" and info["name"] == "posts"
    assert info["columns"]["history"] == {
        "dtype": "int32", "ragged": False, "width": 5, "rows": info["posts"], "values": 5 * info["posts"],
    }  # fmt: skip
    assert info["columns"]["tokens"]["ragged"] and "image" not in info["columns"]
    assert not (made[1] / "rejects.jsonl").exists() and not (made[1] / "preparing.json").exists()
    assert (made[1] / "vocabulary" / "authors.txt").read_text().startswith("<unknown>\t0\n")


def test_two_runs_and_two_processes_are_byte_identical(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(arguments(made[0], tmp_path / "again")) == 0
    assert tree(tmp_path / "again") == tree(made[1])
    pools = []
    monkeypatch.setattr(
        workers, "ProcessPoolExecutor", lambda *given: pools.append(given) or ProcessPoolExecutor(*given)
    )
    monkeypatch.setattr(tables, "ROWS", 30)  # ten chunks: enough for two processes
    assert main(arguments(made[0], tmp_path / "two", "--workers", "2")) == 0
    assert len(pools) == 1 and tree(tmp_path / "two") == tree(made[1])


def test_records_alone_rebuild_the_columns(made: tuple[Path, Path], tmp_path: Path) -> None:
    expected = tree(made[1])
    for name, data in expected.items():
        if name.startswith("records/"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
    build.repack(tmp_path)
    assert tree(tmp_path) == {name: data for name, data in expected.items() if not name.startswith("splits/")}


def test_finished_stages_are_not_done_again(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((records, "write"), (build, "_columns")):
        monkeypatch.setattr(module, name, None)
    before = {p: p.stat().st_mtime_ns for p in made[1].rglob("*") if p.is_file()}
    assert main(arguments(made[0], made[1])) == 0
    assert before == {p: p.stat().st_mtime_ns for p in made[1].rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--history", "3"), "was prepared otherwise: settings.history was 5, now is 3"),
        (("--preset", "zsl"), "preset was 'general', now is 'zsl'"),
        (("--min-hashtag-posts", "9"), "splits/default is there, made by another rule"),
    ],
)
def test_other_settings_are_refused(
    made: tuple[Path, Path], more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(made[1])
    assert main(arguments(made[0], made[1], *more)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert tree(made[1]) == before


def test_another_folder_is_refused(made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    assert main(arguments(made[0], tmp_path)) == 2
    assert "letters.txt, which is no part of a dataset" in capsys.readouterr().err
    assert main(arguments(made[0], tmp_path / "letters.txt")) == 2
    (tmp_path / "half" / "columns").mkdir(parents=True)
    assert main(arguments(made[0], tmp_path / "half")) == 2
    assert "holds columns but no dataset.json" in capsys.readouterr().err


def test_a_split_that_failed_can_be_made_by_another_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = source(tmp_path), tmp_path / "out"
    assert main(arguments(file, out, "--min-hashtag-posts", "500")) == 2
    said = capsys.readouterr().err
    assert "no post is left after step 'with a hashtag of at least 500 posts'" in said
    assert "the most used hashtag has" in said and "lower --min-hashtag-posts" in said
    assert main(arguments(file, out)) == 0
    assert open_dataset(out).split().info["thresholds"]["min_hashtag_posts"] == 8


def test_workers_keep_the_order() -> None:
    assert list(workers.ordered(str, range(50), 2)) == [str(i) for i in range(50)]
    assert list(workers.ordered(str, range(3), 2)) == ["0", "1", "2"]


def test_a_dead_worker_is_said() -> None:
    with pytest.raises(JaxtagError, match="a worker process died.*--workers 1"):
        list(workers.ordered(os._exit, range(50), 2))


def test_zsl_preset(tmp_path: Path) -> None:
    rows = [
        {"text": f"The caf\xe9 {i} is, don't say, a nice @one #{'ab'[i % 2]} #c{i}", "lang": "en"} for i in range(450)
    ]
    rows += [{"text": f"two of them {i} #a #b right", "lang": "en"} for i in range(5)]
    file = source(tmp_path, rows)
    out = tmp_path / "out"
    assert main(["posts", "--input", str(file), "--out", str(out), "--text", "text", "--language", "lang",
                 "--preset", "zsl", "--workers", "1"]) == 0  # fmt: skip
    dataset = open_dataset(out)
    entries = dataset.words.entries
    assert [entries[i] for i in dataset.column("tokens")[0]] == ["caf", "0", ",", "say", ",", "nice", "user"]
    split = dataset.split()
    assert split.info["hashtags_per_post"] == "one" and split.info["counts"]["hashtags"] == 2
    assert sum(split.info["counts"][part] for part in ("train", "validation", "test")) == 450
    assert "the" in dataset.info["settings"]["cleaning"]["stop_words"]
    assert list(dataset.info["columns"]) == ["ordinal", "tokens", "hashtags"]


@pytest.mark.realdata
@pytest.mark.parametrize("preset", ["general", "zsl", "hmemn2n"])
def test_real_posts(shared_data: Path, tmp_path: Path, preset: str) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(shared_data / "posts.parquet").slice(200_000, 30_000)
    pq.write_table(table, tmp_path / "slice.parquet")
    columns = ["--text", "content", "--author", "author_id", "--time", "publish_date", "--repost", "post_type=R"]
    told = ["--language", "language"] if preset != "hmemn2n" else []  # else it is identified
    files = ["--input", str(tmp_path / "slice.parquet"), "--out", str(tmp_path / "out")]
    chosen = ["--preset", preset, "--language-is", "English", "--min-hashtag-posts", "20", "--near-duplicates"]
    assert main(["posts", *files, *columns, *told, *chosen]) == 0
    dataset = open_dataset(tmp_path / "out")
    funnel = {step["step"]: step["posts"] for step in dataset.info["funnel"]}
    assert funnel["rows read"] == len(table)
    if preset == "general":
        language, kind = table["language"].to_pylist(), table["post_type"].to_pylist()
        kept = sum(a == "English" and b != "R" for a, b in zip(language, kind))
        assert 0 <= kept - funnel["in English"] <= dataset.info["rejected"]
    rows = np.random.default_rng(0).integers(0, dataset.rows, 300)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    for row, text in zip(rows.tolist(), dataset.text(rows)):
        cleaned = cleaner(text)
        assert dataset.words.encode(cleaned.words) == dataset.column("tokens")[row].tolist()
        assert [dataset.hashtags.ids[h] for h in cleaned.hashtags] == dataset.column("hashtags")[row].tolist()
    history, time, author = (np.asarray(dataset.column(name)) for name in ("history", "time", "author"))
    row, place = np.nonzero(history >= 0)
    assert (history[:, 0] >= 0).mean() > 0.5 and (time[history[row, place]] < time[row]).all()
    assert (author[history[row, place]] == author[row]).all()
    audit = dataset.split().info["audit"]
    assert audit["hashtags_in_text"] == 0 and audit["history"]["not_earlier"] == 0
    assert audit["near_copies"][0]["of_test"]["posts"] == 0 and len(dataset.split().train) > 500
