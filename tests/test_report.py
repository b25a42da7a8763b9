"""Reports on made-up run folders: what they say, what they refuse, and that hostile text stays text."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.transforms import Bbox

from jaxtag.data import columns
from jaxtag.data.dataset import SPLIT_FORMAT
from jaxtag.data.posts import FORMAT
from jaxtag.data.vocabulary import RESERVED, Vocabulary
from jaxtag.errors import JaxtagError
from jaxtag.files import seal
from jaxtag.report import corpus, datasets, plots, tables
from jaxtag.report.page import write
from jaxtag.report.runs import read, read_all

HOSTILE = '<script>alert("x")</script> | **b** ![i](http://evil.example/p.png) \u202egnp\n# h <img src=x onerror=y>'
HASHTAGS = ("cats", "<b>dogs</b>", "$5$", "日本語", "a|b")
PNG = b"\x89PNG\r\n\x1a\n"


def make_dataset(folder: Path, fingerprint: str = "d1", posts: int = 12) -> Path:
    """A dataset folder with just what a report reads."""
    rng = np.random.default_rng(0)
    for inner in ("columns", "text", "vocabulary", "splits/default"):
        (folder / inner).mkdir(parents=True)
    for name, lists in (
        ("hashtags", [list(rng.choice(5, 2, replace=False)) for _ in range(posts)]),
        ("tokens", [[2, 3, 2]] * posts),
    ):
        ragged = columns.ragged(lists)
        columns.write(folder / "columns", name, ragged.values, ragged.offsets)
    texts = [f"{HOSTILE} {i}".encode() for i in range(posts)]
    np.save(folder / "text" / "bytes.npy", np.frombuffer(b"".join(texts), np.uint8))
    np.save(folder / "text" / "offsets.npy", np.cumsum([0, *map(len, texts)]))
    Vocabulary(HASHTAGS, (3,) * 5).save(folder / "vocabulary" / "hashtags.txt")
    Vocabulary((*RESERVED, "w", "v"), (0, 0, 2, 1)).save(folder / "vocabulary" / "words.txt")
    arrays = {"train": range(6), "validation": range(6, 8), "test": range(8, posts), "hashtags": range(5),
              "candidates": range(5), "words": (2, 3)}  # fmt: skip
    for name, values in arrays.items():
        np.save(folder / "splits" / "default" / f"{name}.npy", np.array(values, np.int32))
    funnel = [{"step": "rows read", "posts": 20}, {"step": "duplicates removed", "posts": posts}]
    split = {"format": SPLIT_FORMAT, "name": "default", "dataset": fingerprint, "fingerprint": "s1", "files": {},
             "rule": "random", "funnel": [funnel[-1], {"step": "with a hashtag", "posts": posts}]}  # fmt: skip
    info = {"format": FORMAT, "name": "made & up", "preset": "general", "posts": posts, "fingerprint": fingerprint,
            "files": {}, "columns": {"hashtags": {}, "tokens": {}}, "settings": {}, "funnel": funnel}  # fmt: skip
    (folder / "splits" / "default" / "split.json").write_text(json.dumps(split))
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def make_run(folder: Path, recipe: str, data: Path, score: float = 0.5, fingerprint: str = "d1", seed: int = 0) -> Path:
    """A run folder as `jaxtag train` and `jaxtag evaluate` leave it."""
    folder.mkdir(parents=True)
    scores = {f"{s}@{k}": score / k for s in ("precision", "recall", "f1", "accuracy") for k in (1, 2)}
    evaluation = {"recipe": recipe, "part": "test", "posts": 4, **scores, "f1_macro": score}
    baselines = {"most_used": {**scores, "posts": 4, "f1@1": 0.1}, "authors_most_used": {**scores, "f1@1": 0.2}}
    experiment = {"system": "cnn", "training": {"seed": seed, "learning_rate": 0.001}, "evaluation": {"metric": "f1@1"}}
    info = {"format": 1, "recipe": recipe, "experiment": experiment, "parameters": 1234567, "versions": {"jax": "0.10"},
            "dataset": {"path": str(data), "name": "made & up", "fingerprint": fingerprint},
            "split": {"name": "default", "fingerprint": "s1"}}  # fmt: skip
    rows = [
        {"kind": "train", "step": s, "epoch": s / 10, "loss": 3 / s, "posts_per_second": 100.0} for s in range(1, 81)
    ]
    rows += [{"kind": "validation", "step": s, "epoch": s / 10, "f1@1": s / 100, "loss": 1.0} for s in (20, 40, 80)]
    rng = np.random.default_rng(seed)
    ranked = rng.permuted(np.tile(np.arange(5), (4, 1)), axis=1)[:, :3].astype(np.int32)
    gold = np.array([[0, 1], [2, -1], [3, 4], [-1, -1]], np.int32)
    np.savez(folder / "predictions-test.npz", rows=np.arange(8, 12, dtype=np.int32), ranked=ranked, gold=gold)
    (folder / "evaluation-test.json").write_text(json.dumps(evaluation | {"baselines": baselines}))
    (folder / "experiment.json").write_text(json.dumps(info))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


class Page(HTMLParser):
    """What a browser would make of a page: tags, and whether all are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.attributes, self.text = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def two(tmp_path):
    data = make_dataset(tmp_path / "data")
    return [
        make_run(tmp_path / "a", "zsl/cnn", data, 0.5),
        make_run(tmp_path / "b", "zsl/rnn_attention", data, 0.6, seed=1),
    ]


def test_a_report_of_two_runs(two, tmp_path):
    out = tmp_path / "out" / "deep"
    found = write(two, out)
    assert found["runs"] == 2 and json.dumps(found)
    names = {p.name for p in out.iterdir()}
    pictures = {"against-k-test.png", "differences-test.png", "learning-curves.png", "hashtags.png", "words.png"}
    assert names == pictures | {"report.md", "report.json", "index.html"}
    assert all((out / p).read_bytes().startswith(PNG) for p in pictures)
    page = Page((out / "index.html").read_text())
    assert page.tags.count("img") == 5 and "script" not in page.tags
    sources = [v for k, v in page.attributes if k in ("src", "href")]
    assert len(sources) == 5 and all(v.startswith("data:image/png;base64,") for v in sources)
    markdown = (out / "report.md").read_text()
    assert "Training and validation loss" in markdown and "no vectors of hashtags" in markdown
    lines = [line for line in markdown.split("\n") if line.startswith("| zsl/") or "(baseline)" in line]
    assert [line.split("|")[1].strip() for line in lines[:4]] == [
        "zsl/rnn_attention", "zsl/cnn", "author's most used (baseline)", "most used (baseline)"]  # fmt: skip
    assert "**0.600**" in lines[0] and "**" not in lines[1]
    assert "1,234,567" in markdown and "rows read" in markdown and "with a hashtag" in markdown
    saved = json.loads((out / "report.json").read_text())
    (difference,) = saved["groups"][0]["parts"]["test"]["differences"]
    assert (
        difference["a"] == "zsl/rnn_attention" and difference["low"] <= difference["difference"] <= difference["high"]
    )


def test_hostile_text_stays_text(two, tmp_path):
    write(two, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    page = Page(text)
    assert "script" not in page.tags and "b" not in page.tags and "onerror" not in dict(page.attributes)
    assert any("<script>" in t for t in page.text)  # it is there to read
    assert "\u202e" not in text
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "<" not in markdown and "\u202e" not in markdown and "http://" not in markdown
    examples = [line for line in markdown.split("\n") if "alert" in line]
    assert examples and all(line.replace("\\|", "").count("|") == 5 for line in examples)  # four cells


def test_one_run_alone_and_recipes_that_repeat(two, tmp_path):
    write(two[:1], tmp_path / "one")
    assert not (tmp_path / "one" / "differences-test.png").exists()
    again = make_run(tmp_path / "c", "zsl/cnn", tmp_path / "data", seed=2)
    assert [r.name for r in read_all([*two, again])] == ["zsl/cnn (a)", "zsl/rnn_attention", "zsl/cnn (c)"]
    other = make_run(tmp_path / "deep" / "a", "zsl/cnn", tmp_path / "data")
    assert len({r.name for r in read_all([two[0], other])}) == 2


def test_runs_of_other_datasets_stand_apart(two, tmp_path):
    far = make_run(tmp_path / "far", "zsl/ann", tmp_path / "gone", fingerprint="d2")
    write([*two, far], tmp_path / "out")
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "2 different datasets or splits" in markdown
    assert "no longer at" in markdown
    assert {"1-against-k-test.png", "2-against-k-test.png", "1-hashtags.png"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    assert not (tmp_path / "out" / "2-hashtags.png").exists()


def test_a_dataset_that_changed_is_not_shown(two, tmp_path):
    info = tmp_path / "data" / "splits" / "default" / "split.json"
    info.write_text(info.read_text().replace('"s1"', '"s2"'))
    write(two, tmp_path / "out")
    assert "has changed since" in (tmp_path / "out" / "report.md").read_text()


def test_a_part_that_one_run_lacks_is_named(two, tmp_path):
    for name in ("evaluation-{}.json", "predictions-{}.npz"):
        (two[0] / name.format("validation")).write_bytes((two[0] / name.format("test")).read_bytes())
    write(two, tmp_path / "out")
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "Not evaluated on the validation part: zsl/rnn_attention." in markdown
    assert markdown.index("Results on the test part") < markdown.index("Results on the validation part")


DAMAGE = {
    "experiment.json": [(None, "not a run folder"), (b"{", "not readable"), (b'{"format": 9}', "format 9"),
                        (b'{"format": 1}', "no recipe"), (b"[]", "format None")],
    "metrics.jsonl": [(None, "missing"), (b'{"kind": "train"\n{"kind": "train", "step": 1}\n', "line 1"),
                      (b'{"step": 1}\n', "line 1"), (b"\xff\n", "not UTF-8")],
    "evaluation-test.json": [(None, "no evaluation"), (b"{}", "no posts"), (b"[]", "not an evaluation"),
                             (b'{"posts": 4, "f1@1": 0.1, "f1@9": 0.1}', "is of 9")],
    "predictions-test.npz": [(None, "missing"), (b"PK", "corrupt"), (b"", "corrupt"), (b"\x80\x04.", "corrupt")],
}  # fmt: skip


@pytest.mark.parametrize("file,content,message", [(f, *case) for f, cases in DAMAGE.items() for case in cases])
def test_damaged_files_are_named(tmp_path, file, content, message):
    run = make_run(tmp_path / "run", "zsl/cnn", tmp_path / "gone")
    (run / file).unlink()
    if content is not None:
        (run / file).write_bytes(content)
    with pytest.raises(JaxtagError, match=message) as caught:
        write([run], tmp_path / "out")
    assert str(run) in caught.value.message and caught.value.mend
    assert not (tmp_path / "out").exists()


def test_predictions_of_another_dataset_or_shape(two, tmp_path):
    saved = dict(np.load(two[0] / "predictions-test.npz"))
    np.savez(two[0] / "predictions-test.npz", **saved | {"ranked": saved["ranked"] + 90})
    with pytest.raises(JaxtagError, match="names hashtag"):
        write(two[:1], tmp_path / "out")
    np.savez(two[0] / "predictions-test.npz", **saved | {"rows": saved["rows"][:2]})
    with pytest.raises(JaxtagError, match="other shapes"):
        write(two[:1], tmp_path / "out")


def test_wrong_requests(two, tmp_path):
    with pytest.raises(JaxtagError, match="no run"):
        write([], tmp_path / "out")
    with pytest.raises(JaxtagError, match="named twice"):
        write([two[0], two[0]], tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxtagError, match="is a file"):
        write(two, tmp_path / "file")


def test_a_line_being_written_is_left_out(two):
    with open(two[0] / "metrics.jsonl", "a") as file:
        file.write('{"kind": "tra')
    assert len(read(two[0]).training) == 80


def test_markdown_tables():
    rows = [{"a": "x_y_ *z*", "n": 0.25, "m": 1200}, {"a": None, "n": 0.5, "m": None}]
    assert tables.markdown(rows, {"a": "name", "n": "score", "m": "m"}, best=["n"]) == (
        "| name        |     score |     m |\n"
        "| ----------- | --------: | ----: |\n"
        "| x_y\\_ \\*z\\* |     0.250 | 1,200 |\n"
        "| –           | **0.500** |     – |"
    )


def test_metrics_table_sorts_and_marks():
    table = tables.metrics_table({"a": {"f1@1": 0.1, "recall@5": 0.9, "f1@5": 0.2}, "b": {"f1@1": 0.3, "f1@5": 0.1}})
    header, _, first, second = table.split("\n")
    assert [title.strip() for title in header.split("|")[1:-1]] == [
        "system",
        "P@1",
        "R@1",
        "F1@1",
        "F1@5",
        "R@5",
        "Acc@5",
    ]
    assert first.startswith("| b") and "**0.300**" in first and "**0.200**" in second and "–" in first


def test_escaping():
    assert tables.escape_html("<a href='x'>&\u200b") == "&lt;a href=&#x27;x&#x27;&gt;&amp;\ufffd"
    assert tables.escape_markdown("a\n\n# b [c](https://d) www.e") == "a # b \\[c\\](https&#58;//d) www&#46;e"
    assert tables.title_of("precision@5") == "P@5" and tables.title_of("f1_macro") == "F1 macro"


@pytest.mark.parametrize("points", [0, 1, 500])
def test_curves_of_any_length(tmp_path, points):
    steps, values = list(range(points)), [1.0] * points
    path = plots.learning_curves({"a": (steps, values)}, {"a": (steps[:1], values[:1])}, "f1@1", tmp_path / "x.png")
    assert path.read_bytes().startswith(PNG)


def test_pictures_of_hostile_names(tmp_path):
    names = [*HASHTAGS, "$\\frac{", "x" * 300]
    assert plots.hashtag_bars(names, range(7), tmp_path / "h.png").exists()
    assert plots.differences([(n, 0.1, -0.1, 0.2) for n in names], "F1@1", tmp_path / "d.png").exists()
    assert plots.against_k({n: {"f1@1": 0.1, "f1@2": 0.2} for n in names}, names[:2], tmp_path / "k.png").exists()


def test_hashtags_with_vectors_are_on_a_map(two, tmp_path):
    vectors = tmp_path / "data" / "splits" / "default" / "vectors" / "transductive"
    vectors.mkdir(parents=True)
    np.save(vectors / "hashtags.npy", np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
    (vectors / "vectors.json").write_text(json.dumps({"files": seal(vectors)}))
    write(two, tmp_path / "out")
    assert (tmp_path / "out" / "hashtag-map.png").read_bytes().startswith(PNG)
    assert "t-SNE of their transductive vectors" in (tmp_path / "out" / "report.md").read_text()
    (vectors / "hashtags.npy").write_bytes(b"broken")  # damaged vectors cost the map alone
    write(two, tmp_path / "again")
    assert not (tmp_path / "again" / "hashtag-map.png").exists()


def test_uses_are_those_of_training_posts(two, tmp_path):
    data = datasets.open_for(read(two[0]))
    column, split = data.dataset.column("hashtags"), data.split
    kept = np.array([3, 0])
    expected = [sum(list(column[int(row)]).count(h) for row in split.train) for h in kept]
    assert datasets._uses(data.dataset, split.train, "hashtags", kept, 5).tolist() == expected


def test_a_map_is_the_same_again_and_leaves_out_who_has_no_vector(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32)
    vectors[7] = 0
    names, counts = [f"tag{i}" for i in range(30)], list(range(30, 0, -1))
    one, two = (corpus.hashtag_map(names, counts, vectors, tmp_path / f"{i}.png") for i in "ab")
    assert one.read_bytes() == two.read_bytes()
    less = [i for i in range(30) if i != 7]
    without = corpus.hashtag_map([names[i] for i in less], [counts[i] for i in less], vectors[less], tmp_path / "c.png")
    assert without.read_bytes() == one.read_bytes()
    assert corpus.hashtag_map(names[:6], counts[:6], np.zeros((6, 3)), tmp_path / "d.png") is None


def test_names_on_a_map_hide_nothing():
    frame = Bbox([[0, 0], [100, 100]])
    dots = np.array([[60.0, 45, 70, 55]])
    centre, nothing = np.array([50.0, 50.0]), np.empty((0, 4))
    free = corpus._free(centre, 2.0, 20.0, 8.0, frame, dots, nothing)
    assert free is not None and not corpus._hides(free, dots).any() and free[2] <= 50 + 20
    everywhere = np.array([[0.0, 0, 100, 100]])
    assert corpus._free(centre, 2.0, 20.0, 8.0, frame, everywhere, nothing) is None
    assert corpus._free(centre, 2.0, 200.0, 8.0, frame, nothing, nothing) is None
    assert corpus._hides(np.array([0, 0, 2, 2]), np.array([[1, 1, 3, 3], [2, 2, 3, 3]])).tolist() == [True, False]


def test_a_cloud_leaves_out_what_says_nothing_or_cannot_be_drawn(tmp_path):
    assert corpus.word_cloud(["the", "!!", "\U0010fffd", "and"], [9, 8, 7, 6], tmp_path / "a.png") is None
    assert corpus.word_cloud(["the", "harbour", "été"], [9, 8, 0], tmp_path / "b.png").read_bytes().startswith(PNG)
