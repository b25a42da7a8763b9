"""The command line of jaxtag-prep: help, one JSON document, one line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jaxtag_prep import cli

from jaxtag.errors import Stopped

VERBS = (
    "posts", "twitter", "instagram", "instacities", "harrison", "nus-wide", "simulate", "pack", "split", "vectors",
    "topics", "wordpieces", "images", "regions",
)  # fmt: skip
HEAVY = (
    "jax",
    "tensorflow_datasets",
    "gensim",
    "nltk",
    "pyarrow",
    "numpy",
    "matplotlib",
    "tqdm",
    "tokenizers",
    "symspellpy",
    "scipy",
)


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from jaxtag_prep.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([verb, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0 and f"examples:\n  jaxtag-prep {verb} " in said and "--json" in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "required: VERB"),
        ("simulat", "no verb 'simulat'; did you mean 'simulate'?"),
        ("simulate --out x --post 3", "has no option --post; did you mean '--posts'?"),
        ("simulate --out x", "required: --posts; see jaxtag-prep simulate --help"),
        ("simulate --out x --posts many", "invalid int value: 'many'"),
        ("simulate --out OUT --posts 0", "--posts 0 is not between 1 and"),
        ("simulate --out OUT --posts 5 --seed -1", "--seed -1 is below 0"),
        ("simulate --out OUT --posts 5 --vague 1", "--vague 1 is not between 0 and 1"),
        ("simulate --out OUT --posts 5 --workers 0", "--workers 0 is below 1"),
        ("simulate --out OUT --posts 5 --preset genral", "no preset 'genral'; did you mean 'general'?"),
        ("simulate --out OUT --posts 5 --fractions 1;2", "invalid numbers value: '1;2'"),
        ("simulate --out OUT --posts 5 --fractions 1,2,3", "are not three numbers that add up to 1; say 0.8,0.1,0.1"),
        ("posts --input no.csv --out OUT --text t", "no file no.csv"),
        ("posts --input no.csv --out OUT --text t --max-bad 3", "--max-bad 3.0 is not between 0 and 1"),
        ("split --data OUT --name x", "is not a dataset folder"),
        ("vectors --data OUT --dim 0", "--dim 0 is below 1"),
        ("vectors --data OUT --setting both", "invalid choice: 'both'"),
        ("vectors --data OUT --max-bad 0.1", "--max-bad needs --file"),
        ("topics --data OUT --topics 1", "--topics 1 is below 2"),
        ("wordpieces --data OUT --size 9", "--size 9 is below 100"),
    ],
)
def test_mistakes_are_one_line(command: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command.replace("OUT", str(tmp_path / "out")).split()) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert said.err.startswith("jaxtag-prep: ") and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (Stopped(), 75, "jaxtag-prep: stopped; the same command does what is left\n"),
        (KeyError("a bug"), 1, "Traceback"),
        (OSError(28, "No space left", "x"), 2, "x could not be written: the disk is full; make room"),
        (OSError("9 requested and 3 written"), 2, " could not be written: the disk is full; make room"),
        (
            OSError(13, "Permission denied", "x"),
            2,
            "x cannot be used: permission denied; give yourself the right to it",
        ),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("jaxtag.data.dataset.open_dataset", fail)
    assert cli.main(["split", "--data", "x", "--name", "y"]) == code
    found = capsys.readouterr().err
    assert said in found if said else found == ""


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert (
        cli.main(["simulate", "--out", out, "--posts", "600", "--min-hashtag-posts", "5", "--workers", "1", "--json"])
        == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["posts"] <= 600 == made["funnel"][0]["posts"] and made["split"]["hashtags"] > 1 and made["seconds"] > 0
    assert cli.main(["split", "--data", out, "--name", "b", "--seed", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 2
    assert cli.main(["split", "--data", out, "--name", "c", "--seed", "2"]) == 0
    assert "; seed 2\n" in capsys.readouterr().out


def test_a_mapped_column_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.csv").write_text("content,author_id\nhello,ann\n")
    out = tmp_path / "out"
    assert cli.main(["posts", "--input", str(tmp_path / "p.csv"), "--out", str(out), "--text", "contents"]) == 2
    said = capsys.readouterr().err
    assert "no column 'contents' (it has: content, author_id); did you mean 'content'?" in said
    assert not out.exists()
