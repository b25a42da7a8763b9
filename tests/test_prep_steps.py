"""The steps of the presets against brute force: what they keep, in which order, and what the funnel says of it."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtag_prep.cli import main
from jaxtag_prep.flat import flatten
from jaxtag_prep.funnel import Funnel, NothingLeft
from jaxtag_prep.language import code
from jaxtag_prep.presets import PRESETS, STEPS, preset
from jaxtag_prep.records import FOREIGN, KEPT, REPOST, Record
from jaxtag_prep.steps import OTHER_TEXT, leaders, take_steps

from jaxtag.data.dataset import open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError
from tests.prep import tree


def record(place: int, id: str, author: str, words: str, tags: str, length: int, verdict: int) -> Record:
    text, hashtags = b"", []
    if verdict == KEPT:
        text, hashtags = f"{words} {tags}".encode(), [tag.encode() for tag in tags]
    said = words.encode() if verdict == KEPT else b""
    return Record(place, id.encode(), author.encode(), 0, b"", text, said, hashtags, length, -1, verdict)


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["", "1", "2", "3", "4"]),
        st.sampled_from(["", "ann", "bob"]),
        st.sampled_from(["", "a b", "a c", "b"]),
        st.sampled_from(["", "x", "xy"]),
        st.integers(0, 3),
        st.sampled_from([KEPT, KEPT, KEPT, REPOST, FOREIGN]),
    ),
    min_size=1,
    max_size=20,
)


def brute(records: list[Record], steps: dict[str, Any]) -> tuple[list[Record], list[tuple[str, int, bool]]]:
    """The steps again, post by post on lists."""
    left, funnel, tests = list(records), [], []

    def firsts(key: Any, better: Any) -> list[Record]:
        groups: dict[Any, list[Record]] = {}
        for r in left:
            groups.setdefault(key(r) or ("alone", r.ordinal), []).append(r)
        stay = {min(group, key=lambda r: (better(r), r.ordinal)).ordinal for group in groups.values()}
        return [r for r in left if r.ordinal in stay]

    for step, asked in steps.items():
        if not asked:
            continue
        if step == "ids":
            if not any(r.id for r in records):
                continue
            left, name = firsts(lambda r: r.id, lambda r: r.verdict != KEPT), "duplicate ids removed"
        elif step == "reposts":
            left, name = [r for r in left if r.verdict != REPOST], "not reposts"
        elif step == "language":
            left, name = [r for r in left if r.verdict != FOREIGN], "in English or xx"
        elif step == "authors":
            posts = Counter(r.author for r in left if r.author)
            left, name = (
                [r for r in left if posts[r.author] >= asked],
                f"by authors of at least {asked} post{'s' * (asked != 1)}",
            )
        elif step == "hashtag":
            tests.append(lambda r: r.hashtags)
            name = "with a hashtag"
        elif step == "words":
            tests.append(lambda r, least=asked: r.length >= least)
            name = f"at least {asked} words"
        else:
            left = firsts(lambda r: r.words, lambda r: (not all(t(r) for t in tests), not r.hashtags))  # noqa: B023
            name = "duplicates removed"
        funnel.append((name, sum(all(t(r) for t in tests) for r in left), bool(tests)))
    return left, funnel


@settings(deadline=None, max_examples=200)
@given(RECORDS, st.sampled_from(["general", "zsl", "hmemn2n", "shuffled"]), st.randoms(use_true_random=False))
def test_steps_are_brute_force(posts: list[Any], name: str, rng: random.Random) -> None:
    records = [record(place, *post) for place, post in enumerate(posts)]
    asked = {"ids": True, "reposts": True, "language": ["en", "xx"], "authors": rng.choice([0, 1, 2, 3]),
             "hashtag": True, "words": rng.choice([0, 2]), "duplicates": rng.choice([True, False]),
             "near_duplicates": 0}  # fmt: skip
    order = list(asked) if name == "shuffled" else PRESETS[name].steps
    if name == "shuffled":
        rng.shuffle(order)
    steps = {step: asked[step] for step in order}
    left, funnel = brute(records, steps)
    if 0 in [posts for _, posts, _ in funnel]:
        with pytest.raises(NothingLeft, match=next(step for step, posts, _ in funnel if not posts)):
            take_steps(flatten([records]), steps, Funnel(), True)
        return
    taken = take_steps(flatten([records]), steps, Funnel(), True)
    assert [tuple(step) for step in taken.funnel.steps] == funnel
    assert np.flatnonzero(taken.left).tolist() == [r.ordinal for r in left]


def test_equal_texts_leave_the_first_that_may_be_an_example() -> None:
    key, rank = np.array([7, 7, 7, 0, 0, 8, 8]), np.array([2, 1, 1, 0, 0, 1, 1])
    left = np.array([True, True, True, True, True, False, True])
    assert leaders(key, rank, left).tolist() == [1, 1, 1, 3, 4, 5, 6]


def test_ids_met_twice_with_other_texts_are_told() -> None:
    rows = [("1", "a", "b", ""), ("1", "a", "b", ""), ("1", "a", "c", ""), ("1", "", "d", "x"), ("2", "a", "b", "")]
    records = [record(place, *row, 1, KEPT) for place, row in enumerate(rows)]
    taken = take_steps(flatten([records]), {"ids": True}, Funnel(), False)
    assert taken.notes == {OTHER_TEXT: 2} and np.flatnonzero(taken.left).tolist() == [0, 4]


def test_near_duplicates_leave_the_first_with_a_hashtag() -> None:
    said = ["a b c d e f g h", "a b c d e f g h i", "q r s t u v", "a b c d e f g h i j"]
    records = [record(i, "", "", words, "x" * (i == 1), 8, KEPT) for i, words in enumerate(said)]
    steps = {"duplicates": True, "near_duplicates": 0.8}
    taken = take_steps(flatten([records]), steps, Funnel(), False)
    assert np.flatnonzero(taken.left).tolist() == [1, 2]
    assert [tuple(step)[:2] for step in taken.funnel.steps] == [
        ("duplicates removed", 4), ("near-duplicates removed", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_every_step(name: str) -> None:
    assert set(STEPS) <= set(PRESETS[name].steps) and list(PRESETS[name].step_settings()) == list(PRESETS[name].steps)


def test_the_papers_order_and_numbers() -> None:
    zsl, hm = PRESETS["zsl"], PRESETS["hmemn2n"]
    order = [step for step, asked in zsl.step_settings().items() if asked]
    assert order == ["ids", "reposts", "language", "hashtag", "words", "duplicates"]
    order = [step for step, asked in hm.step_settings().items() if asked]
    assert order == ["ids", "authors", "reposts", "language", "duplicates"] and hm.min_author_posts == 51
    assert [round(part * 281_345) for part in hm.split.fractions] == [232_378, 28_092, 20_875]
    assert preset("zsl", {"min_words": 3, "near_duplicates": 0.9}).step_settings()["near_duplicates"] == 0.9


def corpus(folder: Path) -> Path:
    """Posts of five authors with every reason to be dropped, some without metadata, some with hashtags apart."""
    rng = random.Random(1)
    words = [
        "the",
        "harbour",
        "was",
        "quiet",
        "and",
        "cold",
        "when",
        "every",
        "boat",
        "came",
        "home",
        "before",
        "rain",
        "on",
        "our",
        "long",
        "weekend",
    ]
    german = ["der", "hafen", "war", "gestern", "sehr", "ruhig", "und", "kalt", "als", "alle", "boote", "heim", "kamen"]
    rows = []
    for i in range(900):
        foreign, pool = rng.random() < 0.2, words
        if foreign:
            pool = german
        text = " ".join(rng.choices(pool, k=rng.choice([3, 6, 9]))) + rng.choice(["", "!", " \u2600", " ..."])
        text += rng.choice(["", " #Red", " #blue", " #Red #sea"]) + rng.choice(["", " @you", " https://t.co/x"])
        if rng.random() < 0.2 and rows:
            text = rng.choice(rows)["text"]
        told = rng.choice([None, "", "und", "de" if foreign else "en", "German" if foreign else "en-GB"])
        apart = rng.choice([None, ["given"], ["Red", "two words"]])
        row = {"id": str(rng.randint(1, 5000)), "text": text, "lang": told, "kind": rng.choice(["", "", "", "R"])}
        rows.append(row | {"who": "abcdefgh"[min(int(rng.expovariate(0.6)), 7)], "when": 10**9 + i, "tags": apart})
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


COLUMNS = [
    "--text",
    "text",
    "--author",
    "who",
    "--time",
    "when",
    "--language",
    "lang",
    "--repost",
    "kind=R",
    "--id",
    "id",
    "--hashtags",
    "tags",
    "--workers",
    "1",
    "--min-hashtag-posts",
    "2",
]


@pytest.mark.parametrize("name", PRESETS)
def test_a_stored_text_gives_its_stored_ids(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = corpus(tmp_path), tmp_path / "out"
    english = ["--language-is", "English"]
    few = ["--no-with-image", "--min-hashtags", "1", *english]
    more = {"general": english, "amnn": ["--no-with-image", *english], "lxmert4hashtag": few}.get(name, [])
    assert main(["posts", "--input", str(file), "--out", str(out), "--preset", name, *COLUMNS, *more]) == 0
    said, dataset = capsys.readouterr().out, open_dataset(out)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row, text in enumerate(dataset.text(np.arange(dataset.rows))):
        source, cleaned = rows[dataset.column("ordinal")[row]], cleaner(text)
        assert text == source["text"] and code(source["lang"] or "") in ("", "en")
        assert dataset.words.encode(cleaned.words) == dataset.column("tokens")[row].tolist()
        given = ["given"] if source["tags"] == ["given"] else ["red", "twowords"] if source["tags"] else []
        tags = list(dict.fromkeys([*given, *cleaned.hashtags]))
        assert [dataset.hashtags.entries[i] for i in dataset.column("hashtags")[row]] == tags

    funnel, split = dataset.info["funnel"], dataset.split().info["funnel"]
    counts = [step["posts"] for step in funnel]
    assert counts == sorted(counts, reverse=True) and counts[0] == 900 and min(counts) > 10
    new = [step for step in split[1:] if step["step"] not in {row["step"] for row in funnel}]
    assert all(f"{step['posts']:,}" in said and step["step"] in said for step in [*funnel, *new])
    last = {step["step"]: step["posts"] for step in split}
    after = "at least 5 words" if name in ("zsl", "lxmert4hashtag") else "posts of the dataset"
    assert funnel[-1]["posts"] == last[after] and dataset.info["posts"] == last["posts of the dataset"]
    assert dataset.info["notes"].keys() >= {OTHER_TEXT} and f"note: {OTHER_TEXT}" in said


def test_every_step_is_an_option(tmp_path: Path) -> None:
    file = corpus(tmp_path)

    def funnel(*more: str) -> list[str]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert main(["posts", "--input", str(file), "--out", str(out), *COLUMNS, *more]) == 0
        return [step["step"] for step in open_dataset(out).info["funnel"]][2:]

    assert funnel("--no-duplicates") == ["duplicate ids removed", "not reposts"]
    every = ("--language-is", "en,de", "--min-author-posts", "30", "--near-duplicates")
    assert funnel(*every) == [
        "duplicate ids removed", "not reposts", "in English or German", "by authors of at least 30 posts",
        "duplicates removed", "near-duplicates removed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--min-author-posts", "5000"), "no post is left after step 'by authors of at least 5000 posts'"),
        (("--preset", "zsl", "--min-words", "99"), "no post is left after step 'at least 99 words'"),
        (("--near-duplicates", "1.5"), "--near-duplicates 1.5 is not between 0 and 1; say 0.8"),
        (("--min-author-posts", "-1"), "--min-author-posts -1 is below 0"),
        (("--preset", "hmemn2n", "--author", ""), "but no column tells the author; name it with --author"),
    ],
)
def test_mistakes_leave_the_folder_free(
    more: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = corpus(tmp_path), tmp_path / "out"
    assert main(["posts", "--input", str(file), "--out", str(out), *COLUMNS, *more]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not out.exists()


def test_packing_again_keeps_the_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = corpus(tmp_path), tmp_path / "out"
    assert main(["posts", "--input", str(file), "--out", str(out), *COLUMNS]) == 0
    before = tree(out)
    (out / "columns" / "author.npy").write_bytes(b"spoilt")
    (out / "vocabulary" / "words.txt").unlink()
    with pytest.raises(JaxtagError, match="is missing|has 6 bytes"):
        open_dataset(out)
    assert main(["pack", "--data", str(out)]) == 0
    assert tree(out) == before and open_dataset(out).split().train.size
    info = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(info | {"columns": info["columns"] | {"wordpieces": {}}}))
    capsys.readouterr()
    assert main(["pack", "--data", str(out)]) == 0 and tree(out) == before
    assert "to add again: wordpieces: jaxtag-prep wordpieces" in capsys.readouterr().out
    assert main(["pack", "--data", str(tmp_path)]) == 2
    assert "holds no folder records" in capsys.readouterr().err
