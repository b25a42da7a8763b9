"""Languages: ways of writing one, and telling it from the text where no metadata does."""

import json
from pathlib import Path

import numpy as np
import pytest
from jaxtag_prep import language
from jaxtag_prep.cli import main
from jaxtag_prep.encoding import IDENTIFIED, UNTOLD, Encoded, Encoder
from jaxtag_prep.records import FOREIGN, KEPT, REPOST
from jaxtag_prep.source import Post

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaner, Cleaning


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"), ("English", "en"), (" EN-gb ", "en"), ("en_US", "en"), ("Farsi (Persian)", "fa"), ("in", "id"),
        ("und", ""), ("LANGUAGE UNDEFINED", ""), ("", ""), ("zxx", "zxx"), ("Klingon", "klingon"), ("nb", "no"),
    ],
)  # fmt: skip
def test_code(written: str, code: str) -> None:
    assert language.code(written) == code


def test_codes_and_names() -> None:
    assert language.codes(["German", "de", " any"]) == ("de", "any")
    assert language.name("de") == "German" and language.name("tlh") == "tlh"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("where are you going tonight my friends", "en"),
        ("der Hafen war gestern sehr ruhig und kalt", "de"),
        ("сегодня в городе очень холодно", "ru"),
        ("今日はとても寒いですね", "ja"),
        ("", ""), ("12 !! 34", ""), ("\U0001f600", ""),
    ],
)  # fmt: skip
def test_identify(text: str, code: str) -> None:
    assert language.identify(text) == code


ENGLISH, GERMAN = "where are you going tonight #heute #morgen", "@where der Hafen war gestern sehr ruhig"


@pytest.mark.parametrize(
    ("told", "text", "repost", "verdict", "stored", "notes"),
    [
        ("English", GERMAN, False, KEPT, b"English", {}),  # metadata goes before text
        ("de", ENGLISH, False, FOREIGN, b"de", {}),
        ("", ENGLISH, False, KEPT, b"en", {IDENTIFIED: 1}),
        ("und", GERMAN, False, FOREIGN, b"de", {IDENTIFIED: 1}),
        ("", "https://t.co/x #heute", False, FOREIGN, b"", {UNTOLD: 1}),
        ("", ENGLISH, True, REPOST, b"", {}),
    ],
)
def test_verdicts(told: str, text: str, repost: bool, verdict: int, stored: bytes, notes: dict[str, int]) -> None:
    post = Post(7, "3", "ann", 60, told, text, ("x",), 4, repost)
    counts = Encoded([])
    found = Encoder(Cleaning(ascii_only=True), "cleaned", ("en",), True).record(post, Cleaner(), counts)
    assert (found.verdict, found.language, dict(counts.notes)) == (verdict, stored, notes)
    assert (found.ordinal, found.id, found.author, found.time) == (7, b"3", b"ann", 60)
    if verdict != KEPT:
        assert (found.text, found.words, found.hashtags, found.length, found.image) == (b"", b"", [], 0, -1)


def test_letters_outside_ascii_count_for_the_language() -> None:
    post = Post(0, "", "", 0, "", "сегодня в городе очень холодно ok", None)
    counts = Encoded([])
    Encoder(Cleaning(ascii_only=True), "source", ("en",), True).record(post, Cleaner(Cleaning(ascii_only=True)), counts)
    assert counts.languages == {"ru": 1}


@pytest.mark.parametrize(("more", "posts", "note"), [((), 30, IDENTIFIED), (("--no-identify-language",), 0, UNTOLD)])
def test_no_language_column_is_needed(
    more: tuple[str, ...], posts: int, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"{text} {i} #a #b{i % 2}"} for i in range(30) for text in (ENGLISH, GERMAN)]
    file, out = tmp_path / "p.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["posts", "--input", str(file), "--out", str(out), "--text", "text", "--workers", "1"]
    code = main([*arguments, "--language-is", "English", "--min-hashtag-posts", "2", *more])
    if not posts:
        said = capsys.readouterr().err
        assert (
            code == 2 and "after step 'in English' (60 before it); languages met: untold 60; check --language" in said
        )
        return
    info = open_dataset(out).info
    assert code == 0 and info["posts"] == posts and info["notes"] == {note: 60}
    assert info["identified_by"].startswith("py3langid ")


@pytest.mark.realdata
def test_agrees_with_metadata(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(shared_data / "posts.parquet", columns=["language", "content"])
    told = np.array(table["language"].to_pylist(), object)
    rng, english = np.random.default_rng(0), told == "English"
    rows = [rng.choice(np.flatnonzero(some), 1500, replace=False) for some in (english, ~english)]
    cleaner, right = Cleaner(), []
    for row in np.concatenate(rows).tolist():
        words = [word for word in cleaner(table["content"][row].as_py() or "").shown.split() if word != "user"]
        if len(words) >= 5:
            right.append((language.identify(" ".join(words)) == "en") == english[row])
    assert len(right) > 2000 and np.mean(right) > 0.97
