"""InstaCities and the lxmert4hashtag preset: each of the paper's steps on hand-made captions, their order, bad rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import hashtag_mapping, hashtag_steps
from jaxtag_prep.cli import main
from jaxtag_prep.encoding import Encoded, Encoder
from jaxtag_prep.flat import flatten
from jaxtag_prep.funnel import Funnel, NothingLeft
from jaxtag_prep.instacities import is_repost
from jaxtag_prep.presets import PRESETS, preset
from jaxtag_prep.records import KEPT, Record
from jaxtag_prep.source import Post
from jaxtag_prep.steps import EMPTIED, State, take_steps

from jaxtag.data.columns import ragged
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError
from tests import photos
from tests.prep import tree

PAPER = PRESETS["lxmert4hashtag"]


def taken(posts: list[str], steps: Mapping[str, Any], words: int = 9) -> tuple[State, list[str]]:
    """The state after `steps` on posts with these hashtags, and the hashtags of each post that is left."""
    records = [
        Record(i, b"", b"", 0, b"", b"p%d" % i, b"w%d" % i, tags.encode().split(), words, -1, KEPT)
        for i, tags in enumerate(posts)
    ]
    state = take_steps(flatten([records]), steps, Funnel(), False)
    names, column = state.flat.hashtag_names, state.flat.hashtags
    return state, [" ".join(names[i] for i in column[row]) for row in np.flatnonzero(state.left)]


# 1: five words of text: hashtags at the end are none, mentions and numbers are, as they go only after.
@pytest.mark.parametrize(
    ("text", "words", "length"),
    [
        ("one two three four #five #six", "one two three four", 4),
        ("one two #three four five", "one two three four five", 5),
        ("at 5 pm with @ann http://t.co/x !!! #sun", "at pm with", 5),
        ("2016 @a 3 @b 4 #sun", "", 5),
    ],
)
def test_words_are_counted_before_text_is_cleaned(text: str, words: str, length: int) -> None:
    encoder = Encoder(PAPER.cleaning(), PAPER.words_counted)
    record = encoder.record(Post(0, "", "", 0, "", text, None), Cleaner(PAPER.cleaning()), Encoded([]))
    assert (record.words.decode(), record.length) == (words, length)


# 2: the dataset has no mark of reposts: the captions say it.
@pytest.mark.parametrize(
    ("text", "repost"),
    [
        ("great view #repost @ann", True),
        ("Repost from @ann with @repostapp", True),
        ("RT @ann: hello", True),
        ("#Regram so lovely", True),
        ("reposted via @ann", True),
        ("art @ann made", False),
        ("please repost this", False),
        ("#art #reporter", False),
    ],
)
def test_reposts_say_so(text: str, repost: bool) -> None:
    assert is_repost(text) == repost


# 3 to 5 and 7.
def test_the_most_used_hashtags_stay() -> None:
    state, left = taken(["a b", "a c", "b c a", "d", ""], {"top": 2})
    assert left == ["a b", "a", "b a", "", ""]  # b and c have two posts each: the first by code point
    assert [tuple(s) for s in state.funnel.steps] == [("with one of the 2 most used hashtags", 3, True)]
    assert state.emptied == [(3, "none of its hashtags (1) is left by the step 'with one of the 2 most used hashtags'")]
    assert state.notes == {EMPTIED: 1}  # the last post never had one
    first, last = state.hashtags
    assert (first["hashtags"], first["uses"], last["hashtags"], last["uses"]) == (4, 8, 2, 5)


def test_hashtags_of_short_posts_are_not_counted() -> None:
    posts = [("x", 1), ("x", 1), ("y", 9), ("z y", 9), ("z", 9)]
    records = [
        Record(i, b"", b"", 0, b"", b"t", b"w%d" % i, tags.encode().split(), words, -1, KEPT)
        for i, (tags, words) in enumerate(posts)
    ]
    state = take_steps(flatten([records]), {"words": 5, "top": 2}, Funnel(), False)
    assert [tuple(s)[:2] for s in state.funnel.steps] == [
        ("at least 5 words", 3), ("with one of the 2 most used hashtags", 3),
    ]  # fmt: skip
    assert state.hashtags[-1]["hashtags"] == 2 and state.flat.hashtags.lengths().tolist() == [0, 0, 1, 2, 1]


def test_names_of_cities_go_after_the_most_used_are_chosen() -> None:
    posts = ["nyc a", "nyc b", "nyc b", "a c"]
    _, left = taken(posts, {"top": 2, "cities": ["nyc", "london"]})
    assert left == ["a", "", "", "a"]  # nyc took one of the two places: a and b have two posts each
    _, left = taken(posts, {"cities": ["nyc", "london"], "top": 2})
    assert left == ["a", "b", "b", "a"]


def test_few_hashtags_are_counted_after_cities_and_before_the_floor() -> None:
    posts = ["a b nyc", "a b c", "a b d", "a b e", "a"]
    _, left = taken(posts, {"cities": ["nyc"], "few": 3, "rare": 2})
    assert left == ["a b", "a b", "a b"]  # c, d and e have a post each, and their posts stay with two
    with pytest.raises(NothingLeft, match="with at least 3 such hashtags.*lower --min-hashtags"):
        taken(posts, {"rare": 2, "few": 3})


def test_the_floor_counts_the_posts_that_are_left() -> None:
    posts = ["a b", "a b", "a c", "c"]
    _, left = taken(posts, {"few": 2, "rare": 2})
    assert left == ["a b", "a b", "a"]
    _, left = taken(posts, {"rare": 2, "few": 2})
    assert left == ["a b", "a b", "a c"]


def test_variants_are_mapped_after_all_counting() -> None:
    posts = ["a sunsett sunset", "sunsett b", "b a"]
    state, left = taken(posts, {"rare": 2, "mapping": {"sunsett": "sunset", "never": "a"}})
    assert left == ["a sunset", "sunset b", "b a"]  # sunset itself had gone, with one post, and is back
    assert state.funnel.steps[-1].step == "1 hashtag mapped to others"
    _, left = taken(posts, {"mapping": {"sunsett": "sunset", "never": "a"}, "rare": 2})
    assert left == ["a sunset", "sunset b", "b a"]
    _, left = taken(["b sunsett a sunset"], {"mapping": {"sunsett": "sunset"}})
    assert left == ["b sunset a"]  # once each, at the first's place


def test_the_column_of_mapped_hashtags_is_brute_force() -> None:
    rng = np.random.default_rng(0)
    names = [f"h{i}" for i in range(12)]
    mapping = {"h3": "h1", "h4": "new", "h5": "new", "h11": "h0"}
    posts = [rng.permutation(12)[: rng.integers(0, 8)].tolist() for _ in range(60)]
    found, known, _ = hashtag_steps.mapped(ragged(posts), names, mapping)
    right = [list(dict.fromkeys(mapping.get(names[i], names[i]) for i in post)) for post in posts]
    assert [[known[i] for i in found[row]] for row in range(len(posts))] == right


# 6 and 8.
@pytest.mark.parametrize(
    ("text", "shown", "plain"),
    [
        ("Walking in the #Sunset with @ann, at 5pm! #nyc", "walking in the sunset with at", "walking in the with at"),
        ("#love #nyc my day", "love nyc my day", "my day"),
        ("only these #a #b !!! \u2600 @c", "only these", "only these"),
        ("don't look, a well-known caf\xe9 www.x.y #4th of", "don't look a well-known caf\xe9 of",
         "don't look a well-known caf\xe9 of"),
        ("#a", "", ""),
    ],
)  # fmt: skip
def test_text_is_cleaned_and_hashtags_within_it_stay_words(text: str, shown: str, plain: str) -> None:
    cleaned = Cleaner(PAPER.cleaning())(text)
    assert cleaned.shown == shown == " ".join(cleaned.words)
    off = preset("lxmert4hashtag", {"inline_hashtags": False}).cleaning()
    assert Cleaner(off)(text).shown == plain and Cleaner(off)(text).hashtags == cleaned.hashtags
    words = Cleaner(PAPER.cleaning()).with_hashtags(text)
    assert " ".join(w for w in words if w[0] != "#") == shown and {w[1:] for w in words if w[0] == "#"} == {
        *cleaned.hashtags
    }


def test_what_came_later_is_only_said_where_it_is_asked() -> None:
    assert set(Cleaning().to_json()) == {"ascii_only", "stop_words", "special_characters", "mention", "rules"}
    assert Cleaning.from_json(PAPER.cleaning().to_json()) == PAPER.cleaning() != Cleaning()
    assert [step for step in PRESETS["general"].step_settings() if step in ("top", "cities", "few", "mapping")] == []
    asked = preset("general", {"min_hashtags": 2, "cities": ("nyc",)}).step_settings()
    assert list(asked)[-2:] == ["cities", "few"]


def test_the_papers_steps_in_their_order() -> None:
    steps = [step for step, asked in PAPER.step_settings().items() if asked]
    assert steps == ["ids", "words", "reposts", "duplicates", "hashtag", "top", "cities", "few", "rare"]
    assert (PAPER.split.top, PAPER.min_hashtags, PAPER.split.min_words) == (500, 5, 5)


# The folders.
def insta(folder: Path, captions: dict[str, str], images: str = "img_resized", texts: str = "captions") -> Path:
    """Captions by CITY/ID, each with a picture of its own."""
    for i, (key, text) in enumerate(captions.items()):
        for path, data in ((folder / texts / f"{key}.txt", text.encode()), (folder / images / f"{key}.jpg", None)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photos.jpeg(i) if data is None else data)
    return folder


SMALL = ("--top", "4", "--min-hashtag-posts", "2", "--min-hashtags", "2", "--min-word-count", "1", "--workers", "1",
         "--max-bad", "1", "--cities", "none")  # fmt: skip
CAPTIONS = {
    f"newyork/{i}": f"the {word} is so #red and very {word} today {tags} #blue"
    for i, (word, tags) in enumerate(
        zip(
            ("sky", "sea", "sun", "hill", "lake", "moon", "wood", "rain"), ("#blue", "#green", "@ann", "#mountians") * 2
        )
    )
}


def prepared(folder: Path, *more: str) -> tuple[int, Path]:
    out = folder.parent / f"out-{len(list(folder.parent.glob('out-*')))}"
    return main(["instacities", "--input", str(folder), "--out", str(out), *SMALL, *more]), out


def hashtags_of(dataset: Dataset, row: int) -> str:
    return " ".join(dataset.hashtags.entries[i] for i in dataset.column("hashtags")[row])


def test_from_folders_to_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reposts = {"newyork/8": "RT @ann #never", "newyork/9": "a #repost of @ann is not so new to us #red"}
    code, out = prepared(insta(tmp_path / "ny", CAPTIONS | reposts))
    assert code == 0, capsys.readouterr().err
    dataset = open_dataset(out)
    cleaner = Cleaner(Cleaning.from_json(dataset.info["settings"]["cleaning"]))
    for row, text in enumerate(dataset.text(np.arange(dataset.rows))):
        assert dataset.words.encode(cleaner(text).words) == dataset.column("tokens")[row].tolist()
        assert text == CAPTIONS[f"newyork/{dataset.column('ordinal')[row]}"]
    right = ["red blue", "red green blue", "red blue", "red mountians blue"]
    assert [hashtags_of(dataset, row) for row in range(4)] == right
    assert (dataset.column("image")[:] == np.arange(8)).all() and dataset.rows == 8
    files = [json.loads(line)["file"] for line in (out / "images" / "files.jsonl").read_text().splitlines()]
    assert files[0] == "img_resized/newyork/0.jpg"
    steps = {row["step"]: row["posts"] for row in dataset.info["funnel"]}
    assert (steps["rows read"], steps["at least 5 words"], steps["not reposts"]) == (10, 9, 8)  # a repost has 2 words
    assert steps["with at least 2 such hashtags"] == 8
    assert dataset.info["hashtag_steps"][0] == {"step": "rows read", "hashtags": 6, "uses": 23}  # the reposts' too
    assert set(dataset.hashtags.entries) == {"red", "blue", "green", "mountians"}
    before = tree(out)
    assert main(["pack", "--data", str(out)]) == 0 and tree(out) == before


@pytest.mark.parametrize(
    ("images", "texts"),
    [("img_resized_1M/cities_instagram", "captions_resized_1M/cities_instagram"), ("x", "x"), ("photos", "texts")],
)
def test_folders_may_have_any_name(images: str, texts: str, tmp_path: Path) -> None:
    folder = insta(tmp_path / "ny", CAPTIONS, images, texts)
    (folder / "train.txt").write_text("newyork/1,0.2\n2.jpg\n")
    code, out = prepared(folder)
    assert code == 0 and open_dataset(out).rows == 8
    assert (open_dataset(out).column("image")[:] >= 0).all()


def test_lists_say_which_posts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = insta(tmp_path / "ny", CAPTIONS)
    lines = ["newyork/3", "1", "2.jpg", "", "newyork/77", "newyork/0,label", "newyork/4", "newyork/5", "newyork/6"]
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    code, out = prepared(folder, "--list", str(folder / "train.txt"), "--json")
    said = json.loads(capsys.readouterr().out)
    assert code == 0 and said["posts"] == 7 and said["notes"]["captions that no given list names, left out"] == 1
    (bad,) = map(json.loads, (out / "rejects.jsonl").read_text().splitlines())
    assert (bad["file"], bad["line"], bad["reason"]) == ("train.txt", 5, "a post that has no caption")
    assert [t.split()[1] for t in open_dataset(out).text(np.arange(3))] == ["hill", "sea", "sun"]


def test_what_is_missing_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = insta(tmp_path / "ny", CAPTIONS)
    (folder / "img_resized" / "newyork" / "1.jpg").unlink()
    (folder / "img_resized" / "newyork" / "2.jpg").write_bytes(b"no image")
    (folder / "captions" / "newyork" / "3.txt").unlink()
    (folder / "captions" / "newyork" / "4.txt").write_bytes(b"caf\xe9 in the deep wide lake #red #blue")
    (folder / "captions" / "newyork" / "5.txt").write_text("")
    (folder / "val.txt").write_text("newyork/0\nlondon/8\n")
    code, out = prepared(folder, "--json")
    said = json.loads(capsys.readouterr().out)
    assert code == 0 and said["rejected"] == 2 and said["posts"] == 6  # the post without a caption has no hashtags
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [(bad["file"], bad["reason"]) for bad in rejects] == [
        ("img_resized/newyork/3.jpg", "an image without a caption"), ("val.txt", "a post that has no caption"),
    ]  # fmt: skip
    gone = [json.loads(line)["image"] for line in (out / "images" / "unreadable.jsonl").read_text().splitlines()]
    assert sorted(gone) == ["img_resized/newyork/2.jpg", "newyork/1.jpg"]
    assert any("bytes that are not of the encoding" in note for note in said["notes"])
    assert main(["instacities", "--input", str(folder), "--out", str(tmp_path / "o"), "--workers", "1"]) == 2
    assert "2 of 9 rows are bad, more than --max-bad 0.01 allows" in capsys.readouterr().err


def test_emptied_lists_are_named_with_their_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = CAPTIONS | {"newyork/91": "five words are in here #lonely #alone"}
    code, out = prepared(insta(tmp_path / "ny", captions), "--json")
    said = json.loads(capsys.readouterr().out)
    (line,) = map(json.loads, (out / "emptied.jsonl").read_text().splitlines())
    assert code == 0 and said["notes"][EMPTIED] == 1 and line["row"] == 9 and "lonely" in line["text"]
    assert line["reason"] == "none of its hashtags (2) is left by the step 'with one of the 4 most used hashtags'"


def test_what_is_of_no_post_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = insta(tmp_path / "ny", CAPTIONS)
    for i, path in enumerate(("img_resized/london/1.jpg", "again/newyork/0.jpg", "flat/7.jpg")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(photos.jpeg(90 + i))
    (folder / "README.txt").write_text("five words on these photos")
    (folder / "img_resized" / "newyork" / "7.jpg").unlink()
    code, out = prepared(folder, "--json")
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert code == 0 and open_dataset(out).rows == 8
    assert notes["images of folders without any caption, left out"] == 1
    assert notes["files of a city and name that another has too, left out"] == 1
    files = [json.loads(line)["file"] for line in (out / "images" / "files.jsonl").read_text().splitlines()]
    assert files[0] == "again/newyork/0.jpg" and files[-1] == "flat/7.jpg"  # the first by path; by name alone


def test_names_alone_wait_for_features(tmp_path: Path) -> None:
    folder = insta(tmp_path / "ny", CAPTIONS)
    code, out = prepared(folder, "--images", "none")
    assert code == 0 and "newyork/0.jpg" in (out / "images" / "files.jsonl").read_text()


# The mapping list.
def test_a_proposal_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = dict(CAPTIONS)
    captions |= {f"newyork/{i}": f"on the old road to {i} seven #mountains #blue" for i in range(20, 27)}
    folder, file = insta(tmp_path / "ny", captions), tmp_path / "mapping.tsv"
    code, out = prepared(folder, "--top", "9", "--propose-mapping", str(file))
    assert code == 0 and "mapping list proposed" in capsys.readouterr().out
    assert file.read_text() == (
        "variant\tcanonical\tvariant_posts\tcanonical_posts\tdistance\nmountians\tmountains\t2\t7\t1\n"
    )
    code, mapped = prepared(folder, "--top", "9", "--mapping", str(file))
    assert code == 0 and "mountians" in open_dataset(out).hashtags.ids
    dataset = open_dataset(mapped)
    assert "mountians" not in dataset.hashtags.ids and hashtags_of(dataset, 3 + 7) in ("red mountains blue",)
    assert dataset.info["settings"]["steps"]["mapping"] == {"mountians": "mountains"}
    assert dataset.info["funnel"][-1] == {"step": "1 hashtag mapped to others", "posts": 15, "examples": True}


def test_what_is_proposed() -> None:
    posts = {"beautiful": 50, "beatiful": 3, "streetphotography": 40, "streetphotgrapy": 2, "sunset": 9, "sunsets": 4,
             "instagood": 100, "instagod": 3, "y2015": 100, "y2016": 2, "dogs": 5, "dog": 20, "photoftheday": 30,
             "nofilter": 30, "nofiter": 8, "nofitler": 1, "nofiller": 2}  # fmt: skip
    found = {variant: (canonical, distance) for variant, canonical, _, _, distance in hashtag_mapping.proposed(posts)}
    assert found == {
        "instagod": ("instagood", 1), "beatiful": ("beautiful", 1), "streetphotgrapy": ("streetphotography", 2),
        "nofiller": ("nofilter", 1), "nofitler": ("nofilter", 1),
    }  # fmt: skip
    assert hashtag_mapping.proposed(dict(reversed(posts.items()))) == hashtag_mapping.proposed(posts)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("variant\tcanonical\tdistance\n#Sun_set\tSunset\t1\n\nsame\tsame\n", {"sun_set": "sunset"}),
        ("a,b\nb,c\n", {"a": "c", "b": "c"}),
        ("new york,newyork\n", None),
        ("a\n", "line 1 has no canonical hashtag; give both"),
        ("a,b\n,c\n", "line 2 has no variant"),
        ("a,b\na,c\n", "line 2 maps #a to #c, a line before to #b"),
        ("a,b\nb,c\nc,a\n", "maps #a in a circle"),
        ("variant,canonical\n", "maps no hashtag"),
        ("", "is empty"),
    ],
)
def test_mapping_lists(text: str, found: Any, tmp_path: Path) -> None:
    path = tmp_path / "mapping.tsv"
    path.write_text(text)
    if isinstance(found, str):
        with pytest.raises(JaxtagError, match=found):
            hashtag_mapping.read(path)
    elif found is None:
        with pytest.raises(JaxtagError, match="maps no hashtag"):  # both are one hashtag already
            hashtag_mapping.read(path)
    else:
        assert hashtag_mapping.read(path) == found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--cities", "no.txt"), "no file no.txt"),
        (("--mapping", "no.tsv"), "no file no.tsv"),
        (("--propose-mapping", "no/m.tsv"), "no folder no for --propose-mapping"),
        (("--min-hashtags", "-1"), "--min-hashtags -1 is below 0"),
        (("--min-hashtags", "9"), "no post is left after step 'with at least 9 such hashtags'"),
        (("--list", "no.txt"), "no file no.txt"),
        (("--images", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_leave_nothing(
    more: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = prepared(insta(tmp_path / "ny", CAPTIONS), *more)
    said = capsys.readouterr().err
    assert code == 2 and message in said and said.count("\n") == 1 and not out.exists()
    assert main(["instacities", "--input", str(tmp_path / "ny" / "img_resized"), "--out", str(out)]) == 2
    assert "no caption below" in capsys.readouterr().err


def test_a_list_of_cities(tmp_path: Path) -> None:
    (tmp_path / "cities.txt").write_text("Red\n# blue \n\n")
    code, out = prepared(
        insta(tmp_path / "ny", CAPTIONS), "--cities", str(tmp_path / "cities.txt"), "--min-hashtags", "1"
    )
    assert code == 0 and set(open_dataset(out).hashtags.entries) == {"green", "mountians"}
    assert open_dataset(out).info["settings"]["steps"]["cities"] == ["red", "blue"]
