"""What attention counted, and history as a recommender is given it: by the command, as JSON, in the report."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.explain import Explainer, check, explains, render
from jaxtag.files import read_json, write_json
from jaxtag.recipes import resolve
from jaxtag.recommend import open_recommender
from jaxtag.report import explained, tables
from jaxtag.requests import Reader, Request, parse
from jaxtag.runs import bind, open_run
from jaxtag.systems import SYSTEMS
from jaxtag.training.state import create
from tests import toy
from tests.toy_command import call


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset and an evaluated run that reads history."""
    folder = tmp_path_factory.mktemp("explain")
    data, run = toy.make(folder / "data", 200), folder / "run"
    info = read_json(data / "dataset.json", "dataset")
    write_json(data / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    small = ["--model.embedding", 8, "--training.batch", 32, "--training.steps", 12, "--evaluation.batch", 32]
    call("train", "hmemn2n/hmemn2n", "--size", "tiny", "--data", data, "--run", run, *small)
    call("evaluate", run)
    return data, run


def test_an_author_stands_for_the_latest_posts_of_the_dataset(trained: tuple[Path, Path]) -> None:
    data, run = trained
    recommender, dataset = open_recommender(run, 3, explain=True), open_dataset(data)
    author = np.asarray(dataset.column("author"))
    latest = np.flatnonzero(author == 4)[::-1][:5]  # times rise with rows
    texts = tuple(dataset.text(latest))
    by_name, by_texts, nobody, stranger = recommender.answer(
        [Request("worda", "author4"), Request("worda", history=texts), Request("worda"), Request("worda", "author77")]
    )
    assert by_name == by_texts and nobody == stranger and by_name["hashtags"] != nobody["hashtags"]
    assert [post["text"] for post in by_name["explanation"]["history"]] == list(texts)
    assert nobody["explanation"] == {"history": []}
    more = recommender.answer([Request("worda", history=(*texts, "wordac wordad"))])[0]
    assert more["explanation"] == by_texts["explanation"]  # of what is given, the latest count


def test_weights_are_shares_and_of_the_words_that_were_read(trained: tuple[Path, Path]) -> None:
    bound, _ = open_run(trained[1])
    posts = read_json(trained[1] / "explained-test.json", "explanations")
    assert len(posts) == 5 and bound.reading.earlier is not None
    for post in posts:
        earlier = [r for r in bound.reading.earlier[post["row"]] if r >= 0]
        assert len(post["history"]) == len(earlier) and post["text"] == bound.dataset.text(np.array([post["row"]]))[0]
        for found, row in zip(post["history"], earlier):
            words = [bound.dataset.words.entries[t] for t in bound.dataset.column("tokens")[row]]
            assert [w["word"] for w in found["words"]] == words and len(found["steps"]) == 2
            assert sum(w["weight"] for w in found["words"]) == pytest.approx(found["weight"], abs=2e-3)
        if earlier:
            assert sum(found["weight"] for found in post["history"]) == pytest.approx(1, abs=1e-3)


def test_the_command_explains(trained: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    text = ("recommend", trained[1], "wordac wordad", "-k", 2, "--author", "author2")
    assert call(*text, "--explain", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["author"] == "author2" and len(found["hashtags"]) == 2 and found["explanation"]["history"]
    assert call(*text, "--explain") == 0
    said = capsys.readouterr().out
    assert said.startswith("#tag") and "\n\nearlier posts that counted:\n  0." in said
    assert call("recommend", trained[1], "wordac", "--author", "who", "--explain") == 0
    said = capsys.readouterr()
    assert "none, the author has none here" in said.out
    assert said.err == "jaxtag: --author who: an author without posts in the dataset: ranked as a new author's, " \
        "without history\n"  # fmt: skip
    assert call("recommend", trained[1], "--author", "author2") == 2
    assert '--author goes with a TEXT; in JSON lines, name each line\'s "author"' in capsys.readouterr().err


def test_lines_may_have_an_author_or_a_history(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    lines: list[Any] = [
        {"text": "wordac", "author": "author2", "id": 7}, {"text": "wordac", "author": "who"},
        {"text": "wordac", "history": ["wordad", ""]}, {"text": "wordac", "history": "wordad"},
        {"text": "wordac", "history": [1]}, {"text": "wordac", "author": ["author2"]}, {"author": "author2"},
        {"text": "wordac", "author": "who", "history": []}, {"text": "wordac", "author": None, "history": None},
    ]  # fmt: skip
    given = "\n".join(map(json.dumps, lines)).encode()
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": io.BytesIO(given)}))
    assert call("recommend", trained[1], "-k", 1, "--explain") == 0
    said = capsys.readouterr()
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [found.index(row) for row in found if "error" in row] == [3, 4, 5, 6]
    assert found[0]["id"] == 7 and found[0]["explanation"]["history"] and not found[1]["explanation"]["history"]
    assert [post["weight"] for post in found[2]["explanation"]["history"]] == [1, 0]
    assert found[3]["error"] == 'line 4: "history" is not a list of texts, the latest first'
    assert found[5]["error"] == 'line 6: "author" is not a name'
    assert "4 of 9 lines could not be read" in said.err and "1 of 9 lines have an author without posts" in said.err
    reader = Reader(open_run(trained[1])[0])
    assert parse(1, b'{"text": "a", "author": 12}', reader)[1] == Request("a", "12")


def test_every_system_with_attention_explains_and_the_others_are_refused(trained: tuple[Path, Path]) -> None:
    assert {name for name, entry in SYSTEMS.items() if explains(entry)} == {
        "rnn_attention", "hmemn2n", "memn2n", "cnn_attention", "coattention", "amnn", "lxmert", "tab_lstm",
    }  # fmt: skip
    with pytest.raises(JaxtagError, match="ann has no attention to explain; systems that have: rnn_attention"):
        check(SYSTEMS["ann"])
    dataset = open_dataset(trained[0])
    for recipe in ("zsl/rnn_attention", "hmemn2n/cnn_attention"):
        experiment = resolve(recipe, "tiny", {"model.embedding": "4"})
        b = bind(experiment, dataset, dataset.split(), jax.devices()[:1])
        state = create(b.system, b.optimizer, b.abstract, 0, b.mesh)
        assert not Reader(b).reads_history and not Reader(b).knows("author2")
        batch, reads = Reader(b)([Request("wordac wordad word", "author2")], 2)
        (found,) = Explainer(b.system, state)(batch, reads)
        assert set(found) == {"words"} and [w["word"] for w in found["words"]] == ["wordac", "wordad", "word"]
        assert sum(w["weight"] for w in found["words"]) == pytest.approx(1, abs=1e-3)


def test_the_report_shows_where_attention_lay(trained: tuple[Path, Path], tmp_path: Path) -> None:
    assert call("report", trained[1], "--out", tmp_path / "report") == 0
    page, text = ((tmp_path / "report" / name).read_text() for name in ("index.html", "report.md"))
    assert "Where attention lay on the test part" in text and "What hmemn2n/hmemn2n looked at" in text
    assert '<span style="background: rgb(226 142 36 / 0.75)">' in page


def test_explanations_in_a_report_are_checked_and_escaped(tmp_path: Path) -> None:
    weighed = tables.Weighed((("<b>", 0.2), ("calm", 0.1), ("sea", 0.05)))
    assert tables.html([{"a": weighed}], ["a"]).count("&lt;b&gt;") == 1
    assert "**&lt;b&gt;** **calm** sea" in tables.markdown([{"a": weighed}], ["a"])
    file = tmp_path / "explained-test.json"
    for damaged in ('[{"row": 1}]', '[{"text": "a", "history": [{"text": "b"}]}]', "{", '{"a": 1}', "3"):
        file.write_text(damaged)
        with pytest.raises(JaxtagError, match=r"explained-test.json .*; jaxtag evaluate RUN"):
            explained._read(file, "jaxtag evaluate RUN")


def test_an_explanation_as_text() -> None:
    words = [{"word": w, "weight": x} for w, x in (("sea", 0.2), ("of", 0.001), ("calm", 0.7))]
    post = {"text": "calm " * 30, "weight": 0.6, "words": words}
    assert render({"words": words, "history": [post | {"weight": 0.4}, post]}).splitlines() == [
        "words that counted: calm 0.70, sea 0.20",
        "earlier posts that counted:",
        f"  0.60  {('calm ' * 30)[:59]}…  (calm 0.70, sea 0.20)",
        f"  0.40  {('calm ' * 30)[:59]}…  (calm 0.70, sea 0.20)",
    ]
    assert render({"words": []}) == "words that counted: none"
