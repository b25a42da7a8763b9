"""Tweets in every shape that the API and its collectors write: hand-made, and the public ones where they are."""

import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtag_prep.cli import main
from jaxtag_prep.source import Chunk, Post
from jaxtag_prep.twitter import Reading, read

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError

NOON = 1539202764  # Wed Oct 10 20:19:24 +0000 2018


def v1(number: int, text: str, **more: Any) -> dict[str, Any]:
    """A tweet of v1.1."""
    identity = 1050118621198921728 + number
    return {
        "created_at": "Wed Oct 10 20:19:24 +0000 2018",
        "id": identity,
        "id_str": str(identity),
        "text": text,
        "truncated": False,
        "user": {"id": 6253282 + number, "id_str": str(6253282 + number), "lang": "de"},
        "entities": {"hashtags": [], "urls": []},
        "lang": "en",
    } | more


def v2(number: int, text: str, **more: Any) -> dict[str, Any]:
    """A tweet of v2."""
    return {
        "id": str(1050118621198921728 + number),
        "text": text,
        "author_id": str(6253282 + number),
        "created_at": "2018-10-10T20:19:24.000Z",
        "lang": "en",
    } | more


def post(ordinal: int, number: int, text: str, **more: Any) -> Post:
    fields = {"id": str(1050118621198921728 + number), "author": str(6253282 + number), "time": NOON, "language": "en"}
    return Post(ordinal, text=text, hashtags=None, **fields | more)


def everything(paths: list[Path] | Path, reposts: Any = "original") -> Chunk:
    whole = Chunk()
    for chunk in read(paths if isinstance(paths, list) else [paths], Reading(reposts)):
        whole.posts += chunk.posts
        whole.bad += chunk.bad
        whole.read += chunk.read
        whole.notes.update(chunk.notes)
        whole.done = chunk.done
    assert whole.done == 1 and whole.read == len(whole.posts) + len(whole.bad)
    assert len({p.ordinal for p in whole.posts}) == len(whole.posts)
    return whole


def lines(folder: Path, *values: Any, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values))
    return path


LONG = "a very long text " * 12 + "#end"
TRUNCATED = v1(1, LONG[:130] + "…", truncated=True, extended_tweet={"full_text": LONG, "entities": {}})
EXTENDED = v1(2, LONG, display_text_range=[5, 200])
EXTENDED["full_text"] = EXTENDED.pop("text")

SHAPES: dict[str, tuple[Any, list[Post]]] = {
    "v1.1": (v1(0, "plain #a"), [post(0, 0, "plain #a")]),
    "compatibility mode": (TRUNCATED, [post(0, 1, LONG)]),
    "extended mode": (EXTENDED, [post(0, 2, LONG)]),
    "repost": (v1(3, "RT @x: plain #a", lang="und", retweeted_status=v1(0, "plain #a")), [post(0, 0, "plain #a")]),
    "repost of a truncated": (v1(3, "RT @x: a very…", retweeted_status=TRUNCATED), [post(0, 1, LONG)]),
    "repost in extended mode": (
        {k: v for k, v in v1(3, "", full_text="RT @x: a ve…", retweeted_status=EXTENDED).items() if k != "text"},
        [post(0, 2, LONG)],
    ),
    "no repost": (v1(3, "mine", retweeted_status=None), [post(0, 3, "mine")]),
    "quote": (
        v1(4, "look https://t.co/x", is_quote_status=True, quoted_status=TRUNCATED),
        [post(0, 4, "look https://t.co/x")],
    ),
    "repost of a quote": (
        v1(5, "RT @y: look", retweeted_status=v1(4, "look", quoted_status=v1(0, "no")), quoted_status=v1(0, "no")),
        [post(0, 4, "look")],
    ),
    "search response": (
        {"statuses": [v1(0, "one"), TRUNCATED], "search_metadata": {"count": 2}},
        [post(0, 0, "one"), post(1, 1, LONG)],
    ),
    "numbers and strings": (
        v1(0, "x", id_str=None, user={"id": 6253282}),
        [post(0, 0, "x")],
    ),
    "v2": (v2(0, "plain #a"), [post(0, 0, "plain #a")]),
    "v2 lookup": ({"data": v2(0, "plain #a")}, [post(0, 0, "plain #a")]),
    "v2 long post": (v2(0, LONG[:200], note_tweet={"text": LONG, "entities": {}}), [post(0, 0, LONG)]),
    "v2 page": (
        {
            "data": [
                v2(3, "RT @x: a v…", referenced_tweets=[{"type": "retweeted", "id": str(1050118621198921728)}]),
                v2(4, "answer", referenced_tweets=[{"type": "replied_to", "id": str(1050118621198921728)}]),
                v2(5, "quote", referenced_tweets=[{"type": "quoted", "id": str(1050118621198921728)}]),
            ],
            "includes": {
                "tweets": [v2(0, "short", note_tweet={"text": LONG})],
                "users": [{"id": "6253282", "username": "x"}],
            },
            "meta": {"result_count": 3, "newest_id": "1"},
            "__twarc": {"url": "https://api.twitter.com/2/tweets/search/recent", "version": "2.14.0"},
        },
        [post(0, 0, LONG), post(1, 4, "answer"), post(2, 5, "quote")],
    ),
    "v2 flattened": (
        v2(
            3,
            "RT @x: a v…",
            author={"id": str(6253282 + 3), "username": "y"},
            referenced_tweets=[{"type": "retweeted", **v2(0, "whole #a", author={"id": "6253282"})}],
            __twarc={"version": "2.14.0"},
        ),
        [post(0, 0, "whole #a")],
    ),
    "v2 stream": (
        {"data": v2(0, "x"), "matching_rules": [{"id": "1", "tag": "t"}], "includes": {"users": []}},
        [post(0, 0, "x")],
    ),
    "several users' stream": ({"for_user": "1", "message": v1(0, "x")}, [post(0, 0, "x")]),
    "no language": (
        [v1(0, "x", lang="und"), v2(1, "y", lang="qme"), v1(2, "z", lang=None)],
        [post(0, 0, "x", language=""), post(1, 1, "y", language=""), post(2, 2, "z", language="")],
    ),
}
LAYOUTS: dict[str, Callable[[Any], str]] = {
    "line": lambda value: json.dumps(value) + "\n",
    "characters": lambda value: json.dumps(value, ensure_ascii=False),
    "array": lambda value: json.dumps(value if isinstance(value, list) else [value]),
    "pretty": lambda value: json.dumps(value, indent=2),
    "pretty array": lambda value: json.dumps(value if isinstance(value, list) else [value], indent=4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(tmp_path: Path, shape: str, layout: str) -> None:
    value, posts = SHAPES[shape]
    path = tmp_path / "tweets"
    path.write_text(LAYOUTS[layout](value))
    found = everything(path)
    assert found.posts == posts and found.bad == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", ["", "gz", "xz", "zst"])
def test_all_shapes_in_one_file(tmp_path: Path, layout: str, packed: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "": bytes, "gz": gzip.compress, "xz": lzma.compress, "zst": lambda data: pa.compress(data, "zstd", asbytes=True)
    }  # fmt: skip
    path = tmp_path / "tweets.json"
    path.write_bytes(pack[packed]("\n".join(LAYOUTS[layout](value) for value, _ in SHAPES.values()).encode()))
    wanted = [(p.id, p.text) for _, posts in SHAPES.values() for p in posts]
    found = everything([path, path])
    assert [(p.id, p.text) for p in found.posts] == wanted * 2 and found.bad == []
    assert [p.ordinal for p in found.posts] == [*range(2 * len(wanted))]


REPOST = v1(3, "RT @x: pl…", retweeted_status=v1(0, "plain"))
LOST = v2(4, "RT @x: pl…", referenced_tweets=[{"type": "retweeted", "id": "17"}])


@pytest.mark.parametrize(
    ("reposts", "posts", "notes"),
    [
        (
            "original",
            [post(0, 0, "plain"), post(1, 4, "RT @x: pl…", repost=True), post(2, 5, "RT @me old way")],
            {"reposts, the original put in their place": 1, "reposts whose original is not in the source": 1},
        ),
        (
            "drop",
            [
                post(0, 3, "RT @x: pl…", repost=True),
                post(1, 4, "RT @x: pl…", repost=True),
                post(2, 5, "RT @me old way"),
            ],
            {},
        ),
        ("keep", [post(0, 3, "RT @x: pl…"), post(1, 4, "RT @x: pl…"), post(2, 5, "RT @me old way")], {}),
    ],
)
def test_reposts(tmp_path: Path, reposts: str, posts: list[Post], notes: dict[str, int]) -> None:
    found = everything(lines(tmp_path, REPOST, LOST, v1(5, "RT @me old way")), reposts)
    assert found.posts == posts and found.notes == notes | {"texts that begin with RT @, not marked as reposts": 1}


def test_what_is_no_tweet_is_noted(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        v1(0, "one"),
        {"delete": {"status": {"id": 1, "id_str": "1", "user_id": 2}, "timestamp_ms": "1"}},
        {"delete": {"status": {"id": 2, "id_str": "2", "user_id": 2}}},
        {"limit": {"track": 17, "timestamp_ms": "1"}},
        {"scrub_geo": {"user_id": 1, "up_to_status_id": 2}},
        {"warning": {"code": "FALLING_BEHIND", "message": "…", "percent_full": 60}},
        {"status_withheld": {"id": 1}},
        {"event": "favorite", "created_at": "…", "target_object": v1(9, "no")},
        "",
        {"errors": [{"code": 88, "message": "Rate limit exceeded"}]},
        {"data": [v2(1, "two")], "errors": [{"title": "Not Found Error", "resource_id": "9"}] * 3, "meta": {}},
        {"meta": {"result_count": 0}, "__twarc": {}},
        {"statuses": []},
        v1(2, "cut…", truncated=True),
        v1(3, "nobody", user=None),
    )
    found = everything(path)
    assert [p.text for p in found.posts] == ["one", "two", "cut…", "nobody"] and found.bad == []
    assert found.notes == {
        "stream messages: delete": 2, "stream messages: limit": 1, "stream messages: scrub_geo": 1,
        "stream messages: warning": 1, "stream messages: status_withheld": 1, "stream messages: event": 1,
        "errors that the API reported": 4, "responses without tweets": 1, "texts that the source cut short": 1,
        "tweets without an author": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "time"),
    [
        ({}, NOON),
        ({"created_at": None}, NOON),  # the id of the fixture was given at that second
        ({"created_at": ""}, NOON),
        ({"created_at": "2018-10-10T20:19:24.000Z"}, NOON),
        ({"created_at": None, "id_str": None, "id": 1050118621198921728}, NOON),
        ({"created_at": "Wed Oct 10 20:19:24 +0000 1969"}, "is not between 1970 and 2099"),
        ({"created_at": "soon"}, "'soon' is not readable"),
        ({"created_at": [1]}, "is not readable"),
        ({"created_at": None, "id_str": "29700859247"}, "the time is missing"),  # an id from before they held times
        ({"created_at": None, "id_str": "9" * 30}, "the time is missing"),
        ({"created_at": None, "id_str": None, "id": 1.05e18}, "a rounded number"),
        ({"user": {"id": 1.5}}, "no whole number"),
        ({"id_str": "", "id": 10**30}, "a rounded number"),
    ],
)
def test_times_and_ids(tmp_path: Path, more: dict[str, Any], time: int | str) -> None:
    found = everything(lines(tmp_path, v1(9, "good"), v1(0, "x", **more)))
    assert found.posts[0].text == "good"
    if isinstance(time, int):
        assert found.posts[1].time == time and found.posts[1].id == "1050118621198921728"
    else:
        assert (
            [b.place for b in found.bad] == [2] and time in found.bad[0].reason and "'text': 'x'" in found.bad[0].start
        )


def test_bad_tweets_are_named_and_the_others_kept(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        v1(0, "zero \0 byte, \u200fright to left, \ud83d alone #\u202b\u05e9\u05dc\u05d5\u05dd"),
        json.dumps(v1(1, "cut"))[:-20],
        json.dumps(v1(2, "wrong"), ensure_ascii=False).replace("wrong", "wr\\qong"),
        {"user": {"id": 1}, "id": 4},
        v1(5, ""),
        v1(6, "x" * 140_000),
        {"statuses": [v1(7, "good"), 17, v1(8, None), None]},  # type: ignore[arg-type]
        v1(9, "deep", entities=json.loads("[" * 500 + "]" * 500)),
        {"data": [{"id": "1", "username": "a user, no tweet"}]},
        v1(10, "#" + "ü" * 300, favorite_count=10**40),
    )
    with open(path, "ab") as file:
        file.write(json.dumps(v1(11, "caf\xe9"), ensure_ascii=False).encode("latin-1") + b"\n")
        file.write(json.dumps(v1(12, "last")).encode() + b"\n")
    found = everything(path)
    assert [p.text[:20] for p in found.posts] == [
        "zero \0 byte, \u200fright ", "good", "deep", "#" + "ü" * 19, "last"
    ]  # fmt: skip
    assert found.posts[0].text.count("\ufffd") == 1
    assert [(b.place, b.reason.partition(":")[0]) for b in found.bad] == [
        (2, "not JSON"), (3, "not JSON"), (4, "the text is missing"), (5, "the text is missing"),
        (6, "a text longer than 131072 characters"), (7, "a JSON int, not an object"), (7, "the text is missing"),
        (7, "a JSON NoneType, not an object"), (9, "the text is missing"), (11, "not utf-8"),
    ]  # fmt: skip
    assert [p.ordinal for p in found.posts] == [0, 6, 10, 12, 14]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["data", "statuses", "includes", "tweets", "text", "id", "id_str", "user", "lang", "created_at", "errors",
         "retweeted_status", "referenced_tweets", "type", "extended_tweet", "full_text", "note_tweet", "message",
         "for_user", "delete", "author_id", "truncated"]), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    over=st.lists(st.tuples(st.sampled_from(sorted(SHAPES)), st.lists(st.integers(0, 9), max_size=3), ANY), max_size=4)
)
def test_any_json_is_read_or_refused(tmp_path: Path, over: list[tuple[str, list[int], Any]]) -> None:
    values = []
    for shape, path, value in over:
        tweet = json.loads(json.dumps(SHAPES[shape][0]))
        inner: Any = tweet
        for step in path:
            keys = sorted(inner) if isinstance(inner, dict) else range(len(inner) if isinstance(inner, list) else 0)
            if not keys:
                break
            holder, key = inner, keys[step % len(keys)]
            inner = inner[key]
        if path:
            holder[key] = value
        values.append(tweet if path else value)
    found = everything(lines(tmp_path, v1(0, "first"), *map(json.dumps, values), v1(1, "last")))
    assert found.posts[0].text == "first" and found.posts[-1].text == "last"
    for p in found.posts:
        assert p.text.strip() and 0 <= p.time < 2**32
        assert (p.text + p.id + p.author + p.language).encode()  # no lone surrogates


def test_the_verb_makes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sun", "moon", "rain", "snow", "wind", "storm", "cloud", "sky"]
    tweets = [v1(i, f"{words[i % 8]} {words[i % 7]} over {words[i % 5]} {i} today #{'ab'[i % 2]}") for i in range(60)]
    path = lines(tmp_path, {"statuses": tweets}, "broken", {"delete": {"status": {"id": 1}}}, name="t.json.gz")
    path.write_bytes(gzip.compress(path.read_bytes()))
    command = ["twitter", "--input", str(path), "--out", str(tmp_path / "out"), "--min-hashtag-posts", "5"]
    assert main([*command, "--workers", "1", "--max-bad", "0.05", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["posts"] == 60 and made["authors"] == 60 and made["hashtags"] == 2 and made["rejected"] == 1
    info = open_dataset(tmp_path / "out").info
    assert info["settings"]["reading"] == {
        "source": "twitter", "reposts": "original", "encoding": "utf-8", "max_expanded": 100.0
    } and info["has"] == ["author", "time"]  # fmt: skip
    assert main([*command, "--max-expanded", "0"]) == 2 and "--max-expanded 0.0 is below 1" in capsys.readouterr().err
    assert main([*command, "--reposts", "twice"]) == 2 and "invalid choice: 'twice'" in capsys.readouterr().err


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, message in ((tmp_path / "no", "no file"), (tmp_path, "is not a file"), (tmp_path / "empty", "is empty")):
        with pytest.raises(JaxtagError, match=message):
            everything(path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count", "ids", "notes"),
    [
        ("stream_2018_extended.jsonl", 72, 71, {"texts that begin with RT @, not marked as reposts": 1}),
        ("search_2016.json", 100, 87, {"reposts, the original put in their place": 74}),
        ("payload_examples.json", 25, 24, {"reposts, the original put in their place": 3}),
    ],
)
def test_all_public_payloads_come_in(shared_data: Path, name: str, count: int, ids: int, notes: dict[str, int]) -> None:
    path = shared_data / "twitter_api" / name
    raw = path.read_text()
    tweets = json.loads(raw)["statuses"] if "search" in name else [json.loads(x) for x in raw.splitlines() if x.strip()]
    taken = [tweet.get("retweeted_status", tweet) for tweet in tweets]
    texts = [tweet.get("extended_tweet", {}).get("full_text", tweet["text"]) for tweet in taken]
    found = everything(path)
    assert found.read == len(tweets) == count and found.bad == [] and found.notes == notes
    assert [p.text for p in found.posts] == texts
    assert [(p.id, p.author) for p in found.posts] == [(str(t["id"]), str(t["user"]["id"])) for t in taken]
    assert len({p.id for p in found.posts}) == ids and not any(p.repost for p in found.posts)
    said = Counter(t["lang"] for t in taken)
    assert Counter(p.language for p in found.posts) == Counter({k.replace("und", ""): n for k, n in said.items()})
