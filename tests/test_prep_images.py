"""Importers of posts with images: which file a post's image is, what cannot be used, and the papers' filters."""

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import image_lists, instagram, nus_wide, steps
from jaxtag_prep.cli import main
from jaxtag_prep.gallery import MISSING, OUTSIDE, Gallery
from jaxtag_prep.presets import preset
from jaxtag_prep.rule import Rule

from jaxtag.data import images, inspect, show
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.errors import JaxtagError
from tests import photos, prep


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.folder(tmp_path_factory.mktemp("pictures") / "photos")


def prepared(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    """The JSON that `jaxtag-prep` prints."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json", "--workers", "1"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def shown(dataset: Dataset) -> list[str]:
    """The file of each post's image, '' for none."""
    listed = images.files(dataset)
    return [listed[row]["file"] if row >= 0 else "" for row in dataset.column("image").tolist()]


WAYS = {
    "a.jpg": "a.jpg",
    "a": "a.jpg",  # a name without its ending
    "deep.jpg": "below/deep.jpg",  # a name alone
    "below/deep.jpg": "below/deep.jpg",
    "published/at/below/deep.jpg": "below/deep.jpg",  # a list's folders above ours
    "below\\deep.jpg": "below/deep.jpg",
    "one/twice.jpg": "far/one/twice.jpg",  # the end of one path alone
    "./b.png": "b.png",
    "below/../b.png": "b.png",
}
NONE = {
    "../secret.jpg": OUTSIDE,
    "link.jpg": OUTSIDE,
    "/etc/passwd": OUTSIDE,
    "nothing.jpg": MISSING,
    "below": MISSING,
    "other/deep.jpg": MISSING,
    "twice.jpg": "several files have this name",
    "http://example.org/a.jpg": "an address, not a file",
    "a" * 5000: MISSING,
    "nul\0.jpg": MISSING,
}


def test_ways_to_name_an_image(pictures: Path, tmp_path: Path) -> None:
    folder = photos.folder(tmp_path / "photos")
    (tmp_path / "secret.jpg").write_bytes(photos.GOOD["a.jpg"])
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for place in ("one", "two"):
        (folder / "far" / place).mkdir(parents=True)
        (folder / "far" / place / "twice.jpg").write_bytes(photos.GOOD["a.jpg"])
    gallery = Gallery(folder)
    for name, found in WAYS.items():
        assert str(gallery.find(name)) == found
    assert str(gallery.find(str(folder / "a.jpg"))) == "a.jpg"
    assert {name: gallery.find(name) for name in NONE} == NONE


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Posts with every good and bad picture, several in one, a copy, none, and neither text nor image."""
    names = [*photos.GOOD, *photos.BAD, "copy.jpg", "absent.jpg", "", ["absent.jpg", "b.png", "a.jpg"], '["a.jpg"]']
    rows = [{"text": f"words of post {i} #one #two", "photo": name} for i, name in enumerate(names)]
    rows += [{"text": "", "photo": "a.jpg"}, {"text": "", "photo": "empty.jpg"}, {"text": None, "photo": None}]
    return photos.posts(tmp_path_factory.mktemp("table") / "posts.jsonl", rows), rows


def test_posts_with_images(
    table: tuple[Path, list[dict[str, Any]]], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, rows = table
    command = ["posts", "--input", file, "--text", "text", "--image", "photo", "--images", pictures]
    command += ["--min-words", "1", "--min-hashtag-posts", "2", "--max-bad", "0.2"]
    made = prepared(capsys, *command, "--out", tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    wanted = {"copy.jpg": "a.jpg", "['absent.jpg', 'b.png', 'a.jpg']": "b.png", '["a.jpg"]': "a.jpg"}
    wanted |= {name: name for name in photos.GOOD}
    ordinals = dataset.column("ordinal").tolist()
    assert ordinals == list(range(len(rows) - 2))
    assert shown(dataset) == [wanted.get(str(rows[i]["photo"]), "") for i in ordinals]
    assert len(images.files(dataset)) == len(photos.GOOD)
    assert dataset.info["rejected"] == 2 and "image" in dataset.info["has"]
    rejects = [json.loads(line)["reason"] for line in (tmp_path / "data" / "rejects.jsonl").read_text().splitlines()]
    assert rejects == [
        "neither text nor image ('empty.jpg': the file is empty)",
        "neither text nor image (it names none)",
    ]
    bad = [json.loads(line) for line in (dataset.path / "images" / "unreadable.jsonl").read_text().splitlines()]
    assert [line["image"] for line in bad] == [*photos.BAD, "absent.jpg"]
    assert bad[-1] == {"image": "absent.jpg", "reason": MISSING, "source": "posts.jsonl", "place": 15}
    notes = made["notes"]
    assert notes["posts whose images cannot be used, kept for their text"] == len(photos.BAD) + 1
    assert notes["images that are missing, all listed in images/unreadable.jsonl"] == 1
    assert notes["images that are unreadable, all listed in images/unreadable.jsonl"] == len(photos.BAD)
    assert notes["images that are copies of another's file, counted once"] == 1
    for remark in ("grey images", "images in CMYK", "images whose name says another format"):
        assert notes[remark] == 1
    said = show.render(inspect.describe(dataset.path))
    assert f"images          {len(photos.GOOD)} distinct ones in " in said and "no features yet" in said
    assert prepared(capsys, *command, "--out", tmp_path / "data")["fingerprint"] == made["fingerprint"]
    prepared(capsys, *command[:-2], "--max-bad", "0.2", "--out", tmp_path / "again")
    assert prep.tree(tmp_path / "again") == prep.tree(tmp_path / "data")
    assert "photos" not in (dataset.path / "dataset.json").read_text().replace('"name": "photos"', "")


def test_packing_again_gives_the_same(
    table: tuple[Path, list[dict[str, Any]]], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["posts", "--input", table[0], "--image", "photo", "--text", "text", "--images", pictures]
    command += ["--min-words", "1", "--min-hashtag-posts", "2", "--max-bad", "0.2"]
    prepared(capsys, *command, "--out", tmp_path / "data")
    (tmp_path / "data" / "images" / "added").mkdir()
    (tmp_path / "data" / "images" / "added" / images.DESCRIPTION).write_text("{}")
    (tmp_path / "data" / "images" / "begun.partial").mkdir()
    (tmp_path / "data" / "images" / "begun.partial" / "vector.npy").write_bytes(b"x")
    before = (tmp_path / "data" / "dataset.json").read_bytes()
    assert main(["pack", "--data", str(tmp_path / "data")]) == 0
    assert (tmp_path / "data" / "dataset.json").read_bytes() == before


def test_names_alone(
    table: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["posts", "--input", table[0], "--text", "text", "--image", "photo", "--images", "none"]
    command += ["--min-words", "1", "--min-hashtag-posts", "2", "--max-bad", "0.2"]
    prepared(capsys, *command, "--out", tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    names = [*photos.GOOD, *photos.BAD, "copy.jpg", "absent.jpg"]
    assert [line["file"] for line in images.files(dataset)] == names
    assert shown(dataset)[: len(names)] == names


def test_duplicates_are_of_text_and_image(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("good morning", "a.jpg"), ("good morning", "b.png"), ("good morning", "copy.jpg"), ("", "b.png")]
    rows += [("", "b.png"), ("good morning", ""), ("good morning", "")]
    file = photos.posts(tmp_path / "p.jsonl", [{"text": t, "photo": p, "tags": "x y"} for t, p in rows])
    command = [
        "posts",
        "--input",
        file,
        "--text",
        "text",
        "--image",
        "photo",
        "--images",
        pictures,
        "--hashtags",
        "tags",
    ]
    command += ["--min-words", 0, "--min-hashtag-posts", 1]
    prepared(capsys, *command, "--out", tmp_path / "data")
    assert open_dataset(tmp_path / "data").column("ordinal").tolist() == [0, 1, 3, 5]
    prepared(capsys, *command, "--near-duplicates", "--no-duplicates", "--out", tmp_path / "near")
    assert open_dataset(tmp_path / "near").column("ordinal").tolist() == list(range(7))  # too few words to tell


def test_keys_of_text_and_image_are_brute_force() -> None:
    rng = np.random.default_rng(0)
    key, image = rng.integers(-2, 3, 400) << 40, rng.integers(-1, 4, 400)
    found = steps.shown(key, image)
    pairs = list(zip(key.tolist(), image.tolist()))
    assert len(set(found.tolist())) == len(set(pairs))
    assert len(set(zip(found.tolist(), pairs))) == len(set(pairs))
    assert (found[image < 0] == key[image < 0]).all()


def test_mistakes_of_the_command(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photos.posts(tmp_path / "p.jsonl", [{"text": f"post {i} #a #b", "photo": f"{i}.jpg"} for i in range(300)])
    out, base = tmp_path / "data", ["posts", "--input", file, "--out", tmp_path / "data"]
    assert "--images DIR" in refused(capsys, *base, "--text", "text", "--image", "photo")
    assert "name it with --image" in refused(capsys, *base, "--text", "text", "--images", pictures)
    assert "name the column with --text" in refused(capsys, *base)
    given = [*base, "--text", "text", "--image", "photo", "--images"]
    assert "no folder" in refused(capsys, *given, tmp_path / "nowhere")
    said = refused(capsys, *given, pictures)
    assert "none of the first 300 images can be used: '0.jpg' of p.jsonl: there is no such file" in said
    assert "--no-with-image" in refused(capsys, *base, "--text", "text", "--preset", "amnn")
    assert not out.exists()


def test_one_good_image_is_enough_to_go_on(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"post {i} #a #b", "photo": "a.jpg" if i == 9 else f"{i}.jpg"} for i in range(300)]
    file = photos.posts(tmp_path / "p.jsonl", rows)
    given = ["--text", "text", "--image", "photo", "--images", pictures, "--min-words", "1"]
    made = prepared(capsys, "posts", "--input", file, "--out", tmp_path / "data", *given)
    assert made["notes"]["images that are missing, all listed in images/unreadable.jsonl"] == 299


def harrison(folder: Path, names: list[str], tags: list[str]) -> Path:
    (folder / "HARRISON").mkdir(parents=True)
    (folder / "HARRISON" / "data_list.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "HARRISON" / "tag_list.txt").write_text("".join(f"{line} \n" for line in tags))
    return folder


def test_harrison(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"instagram_dataset/{name}" for name in photos.GOOD] + ["instagram_dataset/gone.jpg"]
    many = " ".join(f"t{i}" for i in range(11))
    tags = ["sea sun", "sun sea", "sea", many, "", "sun", "sea sun", "sun"]
    source = harrison(tmp_path, names, tags)
    made = prepared(
        capsys, "harrison", "--input", source, "--images", pictures, "--out", tmp_path / "d", "--max-bad", 0.5
    )
    dataset = open_dataset(tmp_path / "d")
    assert shown(dataset) == list(photos.GOOD)
    entries = dataset.hashtags.entries
    assert [[entries[h] for h in dataset.column("hashtags")[i]] for i in range(3)] == [
        ["sea", "sun"],
        ["sun", "sea"],
        ["sea"],
    ]
    assert made["rejected"] == 1 and made["preset"] == "amnn"
    assert len(dataset.column("tokens").values) == 0
    funnel = [(row["step"], row["posts"]) for row in dataset.split().info["funnel"]]
    assert funnel == [
        ("posts of the dataset", 7), ("with a hashtag", 6), ("with an image", 6),
        ("with a hashtag of at least 1 post", 6), ("at most 10 such hashtags", 5),
    ]  # fmt: skip


def test_harrison_lists_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = harrison(tmp_path, ["a.jpg", "b.jpg"], ["sea"])
    said = refused(capsys, "harrison", "--input", source, "--images", "none", "--out", tmp_path / "d")
    assert "has 2 lines and" in said and "has 1" in said
    (source / "HARRISON" / "tag_list.txt").unlink()
    assert "holds no tag_list.txt" in refused(capsys, "harrison", "--input", source, "--out", tmp_path / "d")
    assert "no folder" in refused(capsys, "harrison", "--input", tmp_path / "none", "--out", tmp_path / "d")


def test_nus_wide(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("actor/0001_12.jpg", "34.jpg"):  # as published; by its id alone
        (tmp_path / "Flickr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Flickr" / name).write_bytes(photos.jpeg(len(name)))
    (tmp_path / "Imagelist.txt").write_text(
        "actor\\0001_12.jpg\nsea\\0002_34.jpg\nsea\\0003_56.jpg\nsea\\0004_78.jpg\n"
    )
    (tmp_path / "All_Tags.txt").write_text("0000012 sea sun odd\n34\tsun sea\n56 sun\n99 sea\n")
    (tmp_path / "Final_Tag_List.txt").write_text("sea\nsun\n")
    made = prepared(capsys, "nus-wide", "--input", tmp_path, "--out", tmp_path / "d", "--max-bad", "0.6", "--seed", 1)
    dataset = open_dataset(tmp_path / "d")
    assert shown(dataset) == ["Flickr/actor/0001_12.jpg", "Flickr/34.jpg"]
    assert dataset.hashtags.entries == ("sea", "sun") and made["rejected"] == 2
    rejects = [json.loads(line)["reason"] for line in (tmp_path / "d" / "rejects.jsonl").read_text().splitlines()]
    assert sorted(rejects) == [
        "All_Tags.txt is about photo 99 here",
        f"neither text nor image ('sea\\\\0003_56.jpg': {MISSING})",
    ]


def test_parts_of_nus_wide_are_joined_by_id(tmp_path: Path) -> None:
    (tmp_path / "Imagelist.txt").write_text("a\\0001_12.jpg\nb\\0002_34.jpg\nc.jpg\n")
    (tmp_path / "All_Tags.txt").write_text("34 sea\n12 sun sky\n")
    (chunk,) = nus_wide.read(*nus_wide.lists(tmp_path), Gallery(None))
    assert [(post.id, post.hashtags) for post in chunk.posts] == [("12", ("sun", "sky")), ("34", ("sea",))]
    assert [(bad.place, bad.reason) for bad in chunk.bad] == [(3, "no Flickr id at the end of the name")]


def node(i: int, caption: str | None, **more: Any) -> dict[str, Any]:
    edges = [] if caption is None else [{"node": {"text": caption}}]
    about = {
        "shortcode": f"c{i}",
        "taken_at_timestamp": 1_500_000_000 + i,
        "owner": {"id": str(i % 2), "username": "u"},
    }
    return {
        "node": about | {"edge_media_to_caption": {"edges": edges}} | more,
        "instaloader": {"node_type": "Post"},
    }


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Instaloader leaves: a post each of several kinds, and files that are no posts."""
    folder = tmp_path_factory.mktemp("instaloader") / "downloads"
    (folder / "#sea").mkdir(parents=True)

    def write(stem: str, name: str, data: bytes) -> None:
        (folder / "#sea" / f"2019-01-0{stem}_12-00-00_UTC{name}").write_bytes(data)

    def json_of(value: Any) -> bytes:
        return json.dumps(value).encode()

    write("1", ".json.xz", lzma.compress(json_of(node(1, "one word #sea #sun"))))
    write("1", ".txt", b"not this one")
    write("1", ".jpg", photos.jpeg(1))
    write("2", ".json", json_of(node(2, "several #sea #sky")))
    for i in (10, 2, 1):
        write("2", f"_{i}.jpg", photos.jpeg(20 + i) if i > 1 else b"")
    write("3", ".txt", b"caption alone #sun #sky\n")
    write("3", ".jpg", photos.jpeg(3))
    write("4", ".json", json_of(node(4, "a film #sea", is_video=True)))
    write("4", ".jpg", photos.jpeg(4))
    write("4", ".mp4", b"film")
    write("5", ".json.xz", lzma.compress(json_of(node(5, "broken")))[:40])
    write("6", ".json", json_of(node(6, None)))
    write("7", ".json", json_of(node(7, "no picture #sea")))
    write("8", ".json", json_of({"node": {}, "instaloader": {"node_type": "Profile"}}))
    write("8", "_comments.json", b"[]")
    write("9", ".jpg", photos.jpeg(9))  # of no post
    write("9", "_profile_pic.jpg", photos.jpeg(9))
    return folder


def test_instagram(downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["instagram", "--input", downloads, "--max-bad", "0.5", "--min-hashtag-posts", "1"]
    made = prepared(capsys, *command, "--out", tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    texts = dataset.text(np.arange(dataset.rows))
    assert texts == [
        "one word #sea #sun",
        "several #sea #sky",
        "caption alone #sun #sky",
        "a film #sea",
        "no picture #sea",
    ]
    start = "#sea/2019-01-0"
    stems = ["1_12-00-00_UTC.jpg", "2_12-00-00_UTC_2.jpg", "3_12-00-00_UTC.jpg", "4_12-00-00_UTC.jpg"]
    assert shown(dataset) == [*(start + stem for stem in stems), ""]
    assert dataset.column("time").tolist() == [
        1_500_000_001,
        1_500_000_002,
        1_546_516_800,
        1_500_000_004,
        1_500_000_007,
    ]
    assert (dataset.column("author") > 0).tolist() == [True, True, False, True, True]
    assert made["rejected"] == 2
    assert made["notes"]["videos, of which the preview is taken"] == 1
    assert made["notes"]["files about something else than posts: Profile"] == 1
    assert made["notes"]["posts with several images, of which the first readable one is taken"] == 1
    rejects = {
        json.loads(line)["file"][14:]: json.loads(line)["reason"] for line in (tmp_path / "d" / "rejects.jsonl").open()
    }
    assert "truncated" in rejects["5_12-00-00_UTC.json.xz"]
    assert rejects["6_12-00-00_UTC.json"] == "neither text nor image (it names none)"
    rows = np.concatenate([getattr(dataset.split(), part) for part in ("train", "validation", "test")])
    assert 4 not in rows  # the post without a picture


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "the file is empty"),
        (b"[1]", "a JSON list, not an object"),
        (b'{"node": 3}', "metadata without a node"),
        (b'{"node": {"taken_at_timestamp": "soon"}}', "time"),
        (b'{"node": {"id": 1.5}}', "no whole number"),
        (b'{"node": ', "not JSON"),
        (b"\xfd7zXZ\0 and so on", "archive"),
    ],
)
def test_bad_metadata_of_instagram(tmp_path: Path, value: bytes, reason: str) -> None:
    (tmp_path / "post.json").write_bytes(value)
    (tmp_path / "good.txt").write_text("fine #a")
    (chunk,) = instagram.read(tmp_path, Gallery(tmp_path))
    assert [post.text for post in chunk.posts] == ["fine #a"]
    assert len(chunk.bad) == 1 and reason in chunk.bad[0].reason and chunk.bad[0].file == "post.json"


def test_a_folder_without_posts(tmp_path: Path) -> None:
    with pytest.raises(JaxtagError, match="no post of Instaloader's"):
        instagram.find(tmp_path)
    with pytest.raises(JaxtagError, match="no folder"):
        instagram.find(tmp_path / "none")


def test_lists_are_found_nearest_first(tmp_path: Path) -> None:
    for place in ("a/b/c", "a", "a/b/c/d"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / "a/b/c/d/list.txt").write_text("x")
    assert image_lists.find(tmp_path, "list.txt") is None  # too deep
    (tmp_path / "a/b/c/List.txt").write_text("x\n\ny\n\n")
    assert image_lists.find(tmp_path, "list.txt") == tmp_path / "a/b/c/List.txt"
    assert image_lists.lines(tmp_path / "a/b/c/List.txt") == ["x", "", "y"]


def test_the_preset_by_source() -> None:
    paper = preset("amnn", {})
    assert paper.split == Rule(
        min_words=1, min_hashtag_posts=3, top=1000, max_hashtags=30, with_image=True, fractions=(0.81, 0.09, 0.1)
    )
    assert preset("amnn", {}, "instagram") == paper
    assert preset("amnn", {}, "harrison").split.max_hashtags == 10
    assert preset("amnn", {"top": 5}, "nus-wide").split.top == 5
    assert preset("amnn", {}, "nus-wide").split.min_words == 0
    assert preset("general", {}, "harrison") == preset("general", {})


def test_rules_of_before_are_said_as_before() -> None:
    assert not {"max_hashtags", "with_image"} & set(Rule().to_json())
    later = Rule(max_hashtags=4, with_image=True)
    assert Rule.from_json(later.to_json()) == later and "posts with an image" in later.sentence()
    with pytest.raises(JaxtagError, match="--max-hashtags -1"):
        Rule(max_hashtags=-1)
