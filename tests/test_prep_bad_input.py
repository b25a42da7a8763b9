"""Bad input to jaxtag-prep: steps that leave nothing, bad rows kept apart, sources that are given up."""

import json
from pathlib import Path
from typing import Any

import pytest
from jaxtag_prep import build
from jaxtag_prep.cli import main
from jaxtag_prep.plan import Plan
from jaxtag_prep.presets import PRESETS
from jaxtag_prep.source import Chunk
from jaxtag_prep.tables import Bad

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from tests.prep import arguments, posts, source


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([{"text": "a b", "lang": "x"}], (), "after step 'in English' (1 before it); languages met: x 1; check --lang"),
        ([{"text": "a", "kind": "R"}], (), "after step 'not reposts' (1 before it); check --repost"),
        ([{"text": "one two three four", "lang": "English"}], (), "after step 'with a hashtag' (1 before it)"),
        ([{"text": "#a b", "lang": "English"}], (), "after step 'at least 4 words' (1 before it); lower --min-words"),
        ([{"text": f"one two three four {i} #a", "lang": "English"} for i in range(9)], (), "only 1 hashtag is left"),
        ([{"text": "#a #b one two three four", "lang": "English"}], ("--per-post", "one", "--min-hashtag-posts", "1"),
         "after step 'exactly one such hashtag' (1 before it)"),
    ],
)  # fmt: skip
def test_step_that_empties_is_named(
    tmp_path: Path, rows: list[dict[str, Any]], more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [{"who": "u", "when": 1, "lang": "", "kind": ""} | row for row in rows]
    assert main(arguments(source(tmp_path, whole), tmp_path / "out", *more)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def spoilt(folder: Path, bad: int) -> Path:
    lines = [json.dumps(row) for row in posts(400)]
    for i in range(bad):
        lines[20 + i] = lines[20 + i][:-3]
    path = folder / "posts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_few_bad_rows_are_kept_apart(tmp_path: Path) -> None:
    assert main(arguments(spoilt(tmp_path, 3), tmp_path / "out")) == 0
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [(r["file"], r["line"]) for r in rejects] == [("posts.jsonl", 21), ("posts.jsonl", 22), ("posts.jsonl", 23)]
    assert rejects[0]["reason"].startswith("not JSON") and rejects[0]["text"].startswith('{"text"')
    info = open_dataset(tmp_path / "out").info
    assert info["rejected"] == 3 and info["funnel"][1] == {"step": "readable rows", "posts": 397}


def test_many_bad_rows_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = spoilt(tmp_path, 8), tmp_path / "out"
    assert main(arguments(file, out)) == 2
    said = capsys.readouterr().err
    assert "8 of 400 rows are bad, more than --max-bad 0.01 allows: posts.jsonl line 21: not JSON" in said
    assert said.count("\n") == 1 and [p.name for p in out.iterdir()] == ["rejects.jsonl"]
    assert main(arguments(file, out, "--max-bad", "0.02")) == 0  # the same folder, whose rejects are made anew
    assert len((out / "rejects.jsonl").read_text().splitlines()) == 8


def test_a_bad_source_is_given_up_early(tmp_path: Path) -> None:
    taken = []

    def chunks() -> Any:
        for number in range(100):
            taken.append(number)
            yield Chunk(bad=[Bad("f", i, "not utf-8", "") for i in range(50)], read=500)

    plan = Plan("n", "", [], {"text": "t"}, (), PRESETS["general"])
    with pytest.raises(JaxtagError, match=r"50 of 500 rows are bad.*line 0: not utf-8; .*--encoding cp1252"):
        build.build(tmp_path / "out", plan, chunks(), 1)
    assert len(taken) == 1
