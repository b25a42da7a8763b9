"""Readers of posts, of every source."""

import bz2
import gzip
import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxtag_prep import (
    harrison,
    instacities,
    instagram,
    nus_wide,
    posts,
    twitter,
)
from jaxtag_prep.gallery import Gallery
from jaxtag_prep.source import Chunk

from tests import photos
from tests.faults.mutations import SEPARATOR
from tests.faults.targets import TEXT, Read, Target

Made = tuple[list[bytes], Read]

TWEET = {
    "id": 1050118621198921728, "id_str": "1050118621198921728", "created_at": "Wed Oct 10 20:19:24 +0000 2018",
    "text": "rain in the #city http://t.co/x", "truncated": True, "lang": "en", "user": {"id": 7, "id_str": "7"},
    "extended_tweet": {"full_text": "rain in the #city and \u00e9t\u00e9 \ud83d\ude00"},
    "retweeted_status": {"id_str": "5", "full_text": "sun #sea", "user": {"id": 8}, "created_at": "2018-01-01"},
}  # fmt: skip
V2 = {
    "data": [{"id": "12", "text": "RT @a: sun", "author_id": "3", "created_at": "2020-01-01T00:00:00.000Z",
              "lang": "en", "referenced_tweets": [{"type": "retweeted", "id": "13"}], "note_tweet": {"text": "long"}}],
    "includes": {"tweets": [{"id": "13", "text": "sun #sea", "author_id": "4", "created_at": "2020-01-01"}]},
    "errors": [{"title": "x"}], "meta": {"result_count": 1},
}  # fmt: skip
POST = {"text": "rain #a", "who": "u1", "when": "2018-01-01T10:00:00Z", "lang": "en", "tags": ["a", {"text": "b"}],
        "id": "17", "image": "a.jpg", "kind": ""}  # fmt: skip
COLUMNS = posts.Mapping("text", "who", "when", "lang", "tags", "id", "", "kind")


def _checked(chunks: Iterable[Chunk]) -> bool:
    """Whether there was a post; what is given must be fit to be kept."""
    good = 0
    for chunk in chunks:
        good += len(chunk.posts)
        for post in chunk.posts:
            for value in (post.id, post.author, post.language, post.text, *(post.hashtags or ())):
                value.encode()
            assert 0 <= post.time < 1 << 33 and post.ordinal >= 0
        for bad in chunk.bad:
            assert bad.reason and bad.place >= 1 and "\n" not in bad.reason, bad
            json.dumps({"reason": bad.reason, "start": bad.start}).encode()
        assert chunk.read >= len(chunk.posts)
    return good > 0


def _file(folder: Path, name: str) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    return folder / "in" / name


def _lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _twitter(folder: Path) -> Made:
    path = _file(folder, "a.json")
    plain = [
        _lines(TWEET, V2, {"delete": {}}, TWEET["retweeted_status"]),
        json.dumps({"statuses": [TWEET]}, indent=1).encode(),
        json.dumps([TWEET, V2["data"]]).encode(),
        _lines({"message": TWEET, "for_user": 3}, {"limit": {"track": 1}}),
    ]

    def read(data: bytes) -> bool:
        path.write_bytes(data)
        return _checked(twitter.read([path], twitter.Reading(("original", "drop", "keep")[len(data) % 3])))

    return plain, read


def _packed(folder: Path) -> Made:
    import pyarrow as pa

    path, text = _file(folder, "a.jsonl"), _lines(*[POST] * 3)
    packed = [
        gzip.compress(text, mtime=0),
        bz2.compress(text),
        lzma.compress(text),
        pa.compress(text, "zstd", asbytes=True),
    ]

    def read(data: bytes) -> bool:
        path.write_bytes(data)
        return _checked(posts.read([path], COLUMNS))

    return packed, read


def _table(name: str, *seeds: bytes, encoding: str = "utf-8") -> Any:
    def make(folder: Path) -> Made:
        path, mapping = _file(folder, name), posts.Mapping(**{**COLUMNS.__dict__, "encoding": encoding})

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            return _checked(posts.read([path], mapping))

        return list(seeds), read

    return make


CELLS = [
    ["rain, #a", "u1", "1514800800", "en", "a b", "17", "0"],
    ['a "word"\nand one', "u2", "10/31/2017 19:58", "", "['a']", "1", "R"],
]


def _csv(mark: str) -> bytes:
    names = ["text", "who", "when", "lang", "tags", "id", "kind"]
    quoted = [
        ['"' + cell.replace('"', '""') + '"' if set(cell) & set('",\n\t') else cell for cell in row]
        for row in [names, *CELLS]
    ]
    return "".join(mark.join(row) + "\r\n" for row in quoted).encode()


def _parquet(folder: Path) -> Made:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, seeds = _file(folder, "a.parquet"), []
    for kind in ("NONE", "SNAPPY"):
        pq.write_table(
            pa.table({name: [POST[name], POST[name]] for name in POST if name != "tags"}), path, compression=kind
        )
        seeds.append(path.read_bytes())
    mapping = posts.Mapping("text", "who", "when", "lang", "", "id")

    def read(data: bytes) -> bool:
        path.write_bytes(data)
        return _checked(posts.read([path], mapping))

    return seeds, read


def _pictures(folder: Path) -> Path:
    """A folder of images beside which there is something to keep away from."""
    images = folder / "images"
    (images / "below").mkdir(parents=True)
    for name in ("a.jpg", "below/b.jpg", "7.jpg", "london/1.jpg"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(photos.jpeg(len(name)))
    (folder / "outside").mkdir()
    (folder / "outside" / "secret.txt").write_bytes(photos.jpeg(9))
    (images / "link.jpg").symlink_to(folder / "outside" / "secret.txt")
    (images / "linked").symlink_to(folder / "outside", target_is_directory=True)
    return images


def _images(folder: Path) -> Made:
    path, images = _file(folder, "a.jsonl"), _pictures(folder)
    outside = str(folder / "outside" / "secret.txt")
    names: list[Any] = [
        "a.jpg",
        "b",
        "../outside/secret.txt",
        "link.jpg",
        outside,
        ["x.jpg", "below/b.jpg"],
        "linked/secret.txt",
    ]
    seed = _lines(*({"text": "", "image": name} for name in names), {"text": "rain", "image": '["a.jpg"]'})

    def read(data: bytes) -> bool:
        path.write_bytes(data)
        gallery = Gallery(images)
        found = _checked(posts.read([path], posts.Mapping("text", image="image"), gallery))
        assert all(not Path(file["file"]).is_absolute() and ".." not in file["file"] for file in gallery.files)
        assert {file["file"] for file in gallery.files} <= {"a.jpg", "below/b.jpg", "7.jpg", "london/1.jpg"}
        return found

    return [seed], read


def _instagram(folder: Path) -> Made:
    where, images = _file(folder, "x").parent, _pictures(folder)
    stem = "2019-01-01_12-00-00_UTC"
    node = {"shortcode": "Bx", "id": "17", "owner": {"id": "3", "username": "u"}, "taken_at_timestamp": 1546344000,
            "edge_media_to_caption": {"edges": [{"node": {"text": "sun #sea"}}]}, "is_video": False}  # fmt: skip
    other = {
        "node": {"code": "By", "user": {"pk": 3}, "taken_at": 1546344000, "caption": {"text": "x"}},
        "instaloader": {"node_type": "Post"},
    }
    (where / f"{stem}.jpg").write_bytes((images / "a.jpg").read_bytes())

    def read(data: bytes) -> bool:
        files = [*data.split(SEPARATOR), b"", b""]
        (where / f"{stem}.json").write_bytes(files[0])
        (where / f"{stem}.txt").write_bytes(files[1])
        return _checked(instagram.read(where, Gallery(where)))

    return [SEPARATOR.join([json.dumps(one).encode(), "sun #sea é\n".encode()]) for one in (node, other)], read


def _harrison(folder: Path) -> Made:
    photos_list, tags, images = _file(folder, "data_list.txt"), _file(folder, "tag_list.txt"), _pictures(folder)

    def read(data: bytes) -> bool:
        first, _, second = data.partition(SEPARATOR)
        photos_list.write_bytes(first), tags.write_bytes(second)
        return _checked(harrison.read(photos_list, tags, Gallery(images)))

    return [SEPARATOR.join([b"images/a.jpg\n../outside/secret.txt\nbelow/b.jpg\n", b"sea sun\nx\ny\n"])], read


def _nus_wide(folder: Path) -> Made:
    lists, images = (
        [_file(folder, name) for name in (nus_wide.PHOTOS, nus_wide.TAGS, nus_wide.KNOWN)],
        _pictures(folder),
    )

    def read(data: bytes) -> bool:
        for path, part in zip(lists, [*data.split(SEPARATOR), b"", b""]):
            path.write_bytes(part)
        return _checked(nus_wide.read(lists[0], lists[1], lists[2] if len(data) % 2 else None, Gallery(images)))

    return [SEPARATOR.join([b"a\\0001_7.jpg\nb\\0002_9.jpg\n", b"7   sea sun\n9 x \n", b"sea\nsun\n"])], read


def _instacities(folder: Path) -> Made:
    where, images = _file(folder, "captions/london/1.txt").parents[1], _pictures(folder)
    (where / "london").mkdir(parents=True)

    def read(data: bytes) -> bool:
        caption, _, listed = data.partition(SEPARATOR)
        (where / "london" / "1.txt").write_bytes(caption)
        (where.parent / "train.txt").write_bytes(listed)
        layout = instacities.find(where.parent, images)
        wanted = instacities.Wanted(where.parent, tuple(layout.lists) if len(data) % 2 else ())
        return _checked(instacities.read(wanted, layout, Gallery(images)))

    return [
        SEPARATOR.join(["tea in #london é #repost @u\n".encode(), b"london/1,0.5\n../../outside/secret.txt\n1.jpg\n"])
    ], read


TARGETS = (
    Target("twitter", "json", TEXT, _twitter),
    Target("packed", "bytes", TEXT, _packed),
    Target("posts.csv", "bytes", TEXT, _table("a.csv", _csv(","))),
    Target("posts.tsv", "bytes", TEXT, _table("a.tsv", _csv("\t"))),
    Target("posts.utf-16", "bytes", TEXT, _table("a.csv", _csv(",").decode().encode("utf-16"), encoding="utf-16")),
    Target("posts.jsonl", "json", TEXT, _table("a.jsonl", _lines(POST, POST), json.dumps([POST], indent=2).encode())),
    Target("posts.parquet", "bytes", TEXT, _parquet),
    Target("posts.images", "json", TEXT, _images),
    Target("instagram", "files", TEXT, _instagram),
    Target("harrison", "files", TEXT, _harrison),
    Target("nus_wide", "files", TEXT, _nus_wide),
    Target("instacities", "files", TEXT, _instacities),
)  # fmt: skip
