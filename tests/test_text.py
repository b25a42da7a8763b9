"""Cleaning: exact cases, totality on any string, linear time, and the tokenizer's own words."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxtag.data.text import Cleaned, Cleaner, Cleaning, _even, normal_hashtag, tokenize
from jaxtag.errors import JaxtagError

STOP = Cleaning(ascii_only=True, stop_words=("a", "don't", "is", "the"))


@pytest.mark.parametrize(
    ("text", "shown", "hashtags"),
    [
        ("Hello World", "hello world", ()),
        ("Good day #London #LONDON #Paris!", "good day !", ("london", "paris")),
        ("#b then #a", "then", ("b", "a")),
        ("see https://t.co/abc#x and www.x.org/y, bit.ly/abc", "see and", ()),
        ("cut off https://… and ht…", "cut off and ht …", ()),
        ("RT @Bob_1: hi .@ann's", "rt user : hi . user ' s", ()),
        ("mail foo@bar.com", "mail foo@bar.com", ()),
        ("fish &amp; chips &lt;3 &#39;ok&#39;", "fish & chips <3 ' ok '", ()),
        ("&#35;tag &quot;x&quot;", '" x "', ("tag",)),
        ("＃日本 ＠name", "user", ("日本",)),
        ("#cafe\u0301 caf\xe9", "caf\xe9", ("caf\xe9",)),
        ("#\u0939\u093f\u0928\u094d\u0926\u0940", "", ("\u0939\u093f\u0928\u094d\u0926\u0940",)),
        ("#1 #2016 #c3 # ##x", "1 2016", ("c3", "x")),
        ("a#b#c", "a", ("b", "c")),
        ("don\u2019t \u201cstop\u201d", 'don\'t " stop "', ()),
        ("zero\u200bwidth \u202ertl\u202c a\x00b \ufeffc", "zerowidth rtl a b c", ()),
        ("half \ud83d here \ufffd", "half here", ()),
        ("!!!!!! ok :-) ", "! ! ! ok :-)", ()),
        ("", "", ()),
        (" \t\n ", "", ()),
    ],
)
def test_general(text: str, shown: str, hashtags: tuple[str, ...]) -> None:
    assert Cleaner()(text) == Cleaned(tuple(shown.split()), shown, hashtags)


def test_ascii_and_stop_words() -> None:
    found = Cleaner(STOP)("The caf\xe9 is a nice place, don\u2019t you #Caf\xe9 \U0001f600 http://x.y/z")
    assert found.shown == "the caf is a nice place , don't you"
    assert found.words == ("caf", "nice", "place", ",", "you")
    assert found.hashtags == ("caf\xe9",)


def test_hashtags_left_in() -> None:
    assert Cleaner()("Go #Team go #1").hashtags == ("team",)
    assert Cleaner().with_hashtags("Go #Team go #1") == ("go", "#team", "go", "1")
    assert Cleaner(STOP).with_hashtags("the #The day") == ("#the", "day")


@pytest.mark.parametrize(
    ("phrase", "hashtag"),
    [("#London", "london"), ("world cup", "worldcup"), ("12", ""), ("", ""), ("#\ud800", ""), ("A_1!", "a_1")],
)
def test_normal_hashtag(phrase: str, hashtag: str) -> None:
    assert normal_hashtag(phrase) == hashtag


def test_settings_round_trip() -> None:
    assert Cleaning.from_json(STOP.to_json()) == STOP
    with pytest.raises(JaxtagError, match="rules 99"):
        Cleaning.from_json(STOP.to_json() | {"rules": 99})
    with pytest.raises(JaxtagError, match="just the keys"):
        Cleaning.from_json({"ascii_only": True})


ANY = st.text(st.characters(codec=None, categories=None), max_size=60)
TWEETS = st.lists(
    st.sampled_from(
        ["#tag", "#", "@you", "&amp;", "http://x.y/z", "word", " ", "don't", "\u0301", "\u200d", "\ud800", "é"]
    )
    | ANY,
    max_size=8,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(TWEETS)
def test_total_and_consistent(text: str) -> None:
    cleaner = Cleaner(STOP)
    found = cleaner(text)
    assert cleaner(text) == found
    assert found.shown == " ".join(found.shown.split())
    assert "#" not in found.shown
    assert found.shown.isascii()
    assert found.words == tuple(word for word in found.shown.split() if word not in STOP.stop_words)
    assert len(set(found.hashtags)) == len(found.hashtags)
    for hashtag in found.hashtags:
        assert "#" not in hashtag and hashtag == unicodedata.normalize("NFC", hashtag)
        assert any(character.isalpha() for character in hashtag) and len(hashtag.split()) == 1
    found.shown.encode()
    "".join(found.hashtags).encode()
    left = Cleaner().with_hashtags(text)
    assert tuple(dict.fromkeys(word[1:] for word in left if word.startswith("#"))) == found.hashtags
    assert " ".join(word for word in left if not word.startswith("#")) == Cleaner()(text).shown


@settings(max_examples=200, deadline=None)
@given(TWEETS)
def test_run_by_run_is_the_tokenizer(text: str) -> None:
    from nltk.tokenize.casual import TweetTokenizer

    text = " ".join(_even(text).replace("#", " ").split())
    whole = " ".join(TweetTokenizer(match_phone_numbers=False).tokenize(text)).split()
    assert [token for run in text.split() for token in tokenize(run)] == whole


@pytest.mark.parametrize(
    "unit",
    ["a", "9", "#", "#a", "@a", "_", "a-", "1.", "a.b/", "&", "&#", "http://", "(", "<", ". ", "\u0301\u0323",
     "x\u0301", "#\u0301", "\U0001f600\u200d", "\u200d", "\ud800", "\x00", "\u202e"],
)  # fmt: skip
def test_linear_time(unit: str) -> None:
    cleaner = Cleaner()
    cleaner("warm-up #x")
    started = time.perf_counter()
    cleaner(unit * (100_000 // len(unit)))
    assert time.perf_counter() - started < 2  # quadratic ones took minutes
