"""Preparing with Apache Beam: every file as local processes make it, of every source; mistakes in the same line."""

import gzip
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from jaxtag_prep.cli import main
from jaxtag_prep.encoding import Encoded

from tests.prep import arguments, posts, source, tree


def without(command: list[str], option: str) -> list[str]:
    at = command.index(option)
    return command[:at] + command[at + 2 :]


def csv_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    lines.insert(40, "too,few")
    lines.insert(90, '"opened, and never closed,u1,1500000000,English,')
    path.write_text("\n".join(lines) + "\n")
    return path


def parquet_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    rows[7] = rows[7] | {"text": None}
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def packed_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows[:30] + [{}] + rows[30:]).encode()))
    return path


def tweets_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = []
    for i, row in enumerate(rows):
        tweet = {"id_str": str(1050118621198921728 + i // 2 * 2), "text": row["text"], "lang": "en" if i % 5 else "und"}
        tweet |= {"created_at": "Wed Oct 10 20:19:24 +0000 2018", "user": {"id_str": row["who"][1:]}}
        lines.append(tweet if i % 9 else {"statuses": [tweet, 3]})
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"delete": {}}]))
    return path


MANY = [row | {"text": f"{row['text']} {row['who']}"} for row in posts(1250)]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("sources")
    files = [csv_of(folder / "a.csv", MANY), parquet_of(folder / "b.parquet", posts(200, 1))]
    files.append(packed_of(folder / "c.jsonl.gz", posts(150, 2)))
    tables = arguments(files[0], Path("OUT"), "--max-bad", "0.1")
    tables[2:3] = map(str, files)
    tweets = ["twitter", "--input", str(tweets_of(folder / "a.jsonl", posts(300))), "--out", "OUT", "--max-bad", "0.2"]
    tweets.insert(2, str(tweets_of(folder / "b.jsonl", posts(1100, 3))))
    tweets += ["--language-is", "en", "--min-hashtag-posts", "8"]
    return {
        "tables": tables,
        "json": arguments(source(folder), Path("OUT"), "--preset", "zsl", "--top", "3"),
        "tweets": tweets,
        "simulated": ["simulate", "--out", "OUT", "--posts", "1500", "--min-hashtag-posts", "5"],
    }


def run(command: list[str], out: Path, *more: str) -> int:
    return main([part.replace("OUT", str(out)) for part in command] + list(more))


@pytest.mark.parametrize("name", ["tables", "json", "tweets", "simulated"])
def test_every_byte_is_as_local_processes_make_it(name: str, commands: dict[str, list[str]], tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    assert run(commands[name], tmp_path / "local", "--workers", "1") == 0
    assert run(commands[name], tmp_path / "beam", "--beam", "runner=DirectRunner") == 0
    local, beam = tree(tmp_path / "local"), tree(tmp_path / "beam")
    assert sorted(beam) == sorted(local)
    assert not [path for path in local if beam[path] != local[path]]
    bad = local["rejects.jsonl"].count(b"\n") if "rejects.jsonl" in local else 0
    assert bad == json.loads(local["dataset.json"])["rejected"] > 0 or name in ("json", "simulated")


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_mistakes_are_the_same_line(commands: dict[str, list[str]], tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    broken = tmp_path / "broken.csv"
    broken.write_text("other,columns\n1,2\n")
    file = source(tmp_path)
    cases = {
        "no column": ["posts", "--input", str(file), str(broken), "--text", "text"],
        "bad rows": arguments(csv_of(tmp_path / "a.csv", posts(60)), tmp_path / "x")[:-8],
        "no post": ["posts", "--input", str(file), "--text", "text", "--language", "lang", "--language-is", "French"],
        "all bad": ["posts", "--input", str(parquet_of(tmp_path / "p.parquet", [{"text": ""}] * 8)), "--text", "text"],
        "absent": ["posts", "--input", str(file), str(tmp_path / "absent.csv"), "--text", "text"],
        "no posts": ["simulate", "--posts", "0"],
    }
    for case, command in cases.items():
        command = without(command, "--out") if "--out" in command else command
        out = tmp_path / "out"
        local, beam = (said([*command, "--out", str(out), *how], capsys) for how in ((), ("--beam",)))
        assert beam == local, case
        assert not any(path.is_dir() for path in out.glob("*")), case


def test_stopped_and_given_again(commands: dict[str, list[str]], tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    command = commands["simulated"]
    code = "import os, sys; from jaxtag_prep import beam, cli\nold = beam.Done.encoded\n"
    code += "def killed(self):\n    yield next(old(self))\n    os.kill(os.getpid(), 9)\n"
    code += "beam.Done.encoded = killed\nsys.exit(cli.main(sys.argv[1:]))"
    out = tmp_path / "out"
    mine = [part.replace("OUT", str(out)) for part in command]
    done = subprocess.run([sys.executable, "-c", code, *mine, "--beam"], capture_output=True)
    assert done.returncode == -9 and (out / "records.partial" / "beam").is_dir()
    shutil.copytree(out, tmp_path / "other")
    assert run(command, out, "--beam") == run(command, tmp_path / "other", "--workers", "1") == 0
    assert run(command, tmp_path / "whole", "--workers", "1") == 0
    assert tree(out) == tree(tmp_path / "other") == tree(tmp_path / "whole")


def test_options_are_beams(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    command = arguments(source(tmp_path), tmp_path / "out")
    assert "Beam has no option 'runer'" in (error := said([*command, "--beam", "runer=DirectRunner"], capsys))
    assert "did you mean 'runner'?" in error
    assert "--beam" in said([*command, "--beam", "direct_num_workers=many"], capsys)
    assert "without images" in said([*command, "--image", "text", "--images", "none", "--beam"], capsys)
    assert not (tmp_path / "out").exists()


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name in ("apache_beam", "apache_beam.options", "apache_beam.options.pipeline_options"):
        monkeypatch.setitem(sys.modules, name, None)
    error = said([*arguments(source(tmp_path), tmp_path / "out"), "--beam"], capsys)
    assert "pip install 'jaxtag[beam]'" in error
    assert not (tmp_path / "out").exists()


def test_counts_add_up_in_any_order() -> None:
    from jaxtag_prep.beam import merged

    rng = random.Random(0)
    some = [Encoded([], *(Counter(rng.choices(range(9), k=rng.randint(0, 9))) for _ in range(3))) for _ in range(20)]
    whole = merged(some)
    for _ in range(10):
        rng.shuffle(some)
        cuts = sorted(rng.sample(range(20), 3))
        parts = [merged(some[a:b]) for a, b in zip([0, *cuts], [*cuts, 20])]
        assert merged(parts) == whole == merged([merged(parts[:2]), merged(parts[2:])])
    assert sum(whole.verdicts.values()) == sum(sum(one.verdicts.values()) for one in some)


@pytest.mark.slow
def test_several_processes_of_beams(commands: dict[str, list[str]], tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    options = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"
    for name, command in commands.items():
        assert run(command, tmp_path / f"{name} local", "--workers", "1") == 0
        assert run(command, tmp_path / f"{name} beam", "--beam", options) == 0
        assert tree(tmp_path / f"{name} beam") == tree(tmp_path / f"{name} local"), name
