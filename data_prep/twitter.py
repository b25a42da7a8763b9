"""Raw posts from Twitter's API, v1.1 and v2, as its responses, its streams and the tools that collect them write it.

Every tweet with a text becomes a post, by SYSTEMS 1.1: the full text of a truncated tweet, the original in place of
a repost. Text is taken whole (`display_text_range` would cut the names that a reply begins with, which are part of
what was written, and count for a text's words as the papers count them), and hashtags are those of the text, so that
recommending on a text finds what preparing found.
"""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtag.errors import JaxtagError

from . import times
from .archives import MOST_EXPANDED, Text
from .cells import body, broken_off, string, whole
from .json_values import values
from .lines import Bad
from .source import MOST_ROWS, Chunk, Post
from .tables import ROWS, present

FIRST_SNOWFLAKE = 1 << 35  # ids below were counted; from November 2010 on they hold the time
SNOWFLAKE_EPOCH = 1288834974657  # milliseconds since 1970 at which that time begins (Twitter's snowflake service)
NO_LANGUAGE = frozenset({"und", "qam", "qct", "qht", "qme", "qst", "zxx", "art"})  # said of text that shows none
MESSAGES = (  # what a stream says beside tweets
    "delete", "limit", "scrub_geo", "warning", "disconnect", "status_withheld", "user_withheld", "user_delete",
    "user_undelete", "user_suspend", "user_protect", "event", "friends", "friends_str", "control", "info",
    "direct_message",
)  # fmt: skip
_WRAPPERS = ("statuses", "data")


@dataclass(frozen=True)
class Reading:
    """How tweets are read.

    Attributes:
      reposts: 'original' puts the tweet that is reposted in the place of the repost, 'drop' marks reposts to be
        dropped, 'keep' takes them as tweets of who reposted.
      encoding: of the files.
      max_expanded: how many times its packed size a file may unpack to.
    """

    reposts: Literal["original", "drop", "keep"] = "original"
    encoding: str = "utf-8"
    max_expanded: float = MOST_EXPANDED

    def to_json(self) -> dict[str, Any]:
        """The reading as JSON values."""
        return {"source": "twitter", **asdict(self)}


def read(paths: Sequence[Path], reading: Reading) -> Generator[Chunk, None, None]:
    """The tweets of the files at `paths`, in order, chunk by chunk; stream messages and errors are only notes.

    Raises:
      JaxtagError: a file cannot be read, or there are too many tweets.
    """
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    total, behind, chunk, ordinal = max(1, sum(sizes)), 0, Chunk(), 0
    for path, size in zip(paths, sizes):
        present(path)
        with contextlib.closing(Text(path, reading.encoding, reading.max_expanded)) as text:
            for found in values(text, _WRAPPERS):
                if isinstance(found, Bad):
                    chunk.bad.append(found)
                    chunk.read += 1
                    broken_off(found, chunk.notes)
                else:
                    _add(chunk, path.name, *found, reading, ordinal)
                if chunk.read >= ROWS or chunk.notes.total() >= 10 * ROWS:
                    chunk.done = (behind + text.done * size) / total
                    ordinal += chunk.read
                    yield _checked(chunk, path, ordinal)
                    chunk = Chunk()
        behind += size
    chunk.done = 1.0
    yield _checked(chunk, paths[-1], ordinal + chunk.read)


def _checked(chunk: Chunk, path: Path, ordinal: int) -> Chunk:
    if ordinal > MOST_ROWS:
        raise JaxtagError(f"{path} goes past {MOST_ROWS} tweets", "split the source into several datasets")
    return chunk


def _add(chunk: Chunk, file: str, place: int, value: Any, reading: Reading, first: int) -> None:
    """Add what the JSON value `value` holds to `chunk`, whose first row has the ordinal `first`."""
    for tweet, others in _tweets(value, chunk.notes):
        ordinal = first + chunk.read
        chunk.read += 1
        try:
            if not isinstance(tweet, dict):
                raise ValueError(f"a JSON {type(tweet).__name__}, not an object")
            chunk.posts.append(_post(tweet, others, reading.reposts, ordinal, chunk.notes))
        except (ValueError, OverflowError) as error:
            chunk.bad.append(Bad(file, place, str(error), _start(tweet)))


def _start(tweet: Any) -> str:
    """How a tweet that cannot be used may be found again."""
    if not isinstance(tweet, dict):
        return f"{tweet!r:.200}" if isinstance(tweet, str | int | float | None) else ""
    said = {key: value for key, value in tweet.items() if isinstance(value, str | int | float | None)}
    return ", ".join(f"{key!r:.40}: {value!r:.80}" for key, value in list(said.items())[:5])


def _tweets(value: Any, notes: Any, within: int = 0) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The tweets of a JSON value, each with the tweets that came beside it, by id; what else there is, to `notes`."""
    if isinstance(value, list) and within < 3:
        for item in value:
            yield from _tweets(item, notes, within + 1)
        return
    if not isinstance(value, dict) or _text_of(value) is not None or "retweeted_status" in value:
        yield value, {}
        return
    if isinstance(errors := value.get("errors") or value.get("error"), list | dict | str):
        notes["errors that the API reported"] += len(errors) if isinstance(errors, list) else 1
    if isinstance(value.get("statuses"), list):
        yield from ((tweet, {}) for tweet in value["statuses"])
    elif isinstance(data := value.get("data"), dict | list):
        includes = value.get("includes")
        beside = includes.get("tweets") if isinstance(includes, dict) else None
        others = {}
        for tweet in beside if isinstance(beside, list) else ():
            if isinstance(tweet, dict) and isinstance(tweet.get("id"), str | int):
                others[whole(tweet["id"])] = tweet
        yield from ((tweet, others) for tweet in (data if isinstance(data, list) else [data]))
    elif message := next((key for key in MESSAGES if key in value), None):
        notes[f"stream messages: {message}"] += 1
    elif isinstance(value.get("message"), dict) and "for_user" in value:
        yield from _tweets(value["message"], notes, within + 1)
    elif not errors and "meta" in value | {} and within < 3:
        notes["responses without tweets"] += 1
    elif not errors:
        yield value, {}


def _post(tweet: dict[str, Any], others: Mapping[str, Any], reposts: str, ordinal: int, notes: Any) -> Post:
    """The post that `tweet` is.

    Raises:
      ValueError: it has no text, no time, or an id that is none; the message tells.
    """
    original = _original(tweet, others)
    repost = original is not None and reposts != "keep"
    remarks = {}
    if original and reposts == "original":
        tweet, repost = original, False
        remarks["reposts, the original put in their place"] = 1
    elif repost and reposts == "original":
        remarks["reposts whose original is not in the source"] = 1
    text = body(_text_of(tweet))
    if tweet.get("truncated") is True and _full(tweet) is None and not repost:
        remarks["texts that the source cut short"] = 1
    if original is None and text.startswith("RT @"):
        remarks["texts that begin with RT @, not marked as reposts"] = 1
    identity, author = whole(tweet.get("id_str") or tweet.get("id")), _author(tweet)
    if not author:
        remarks["tweets without an author"] = 1
    language = string(tweet.get("lang")).strip().lower()
    time = _time(tweet.get("created_at"), identity)
    notes.update(remarks)
    shown = "" if language in NO_LANGUAGE else language
    return Post(ordinal, identity, author, time, shown, text, None, -1, repost)


def _original(tweet: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tweet that `tweet` reposts: empty when it is not in the source, None when `tweet` is no repost."""
    embedded = tweet.get("retweeted_status")
    if isinstance(embedded, dict):
        return embedded if _text_of(embedded) is not None else {}
    references = tweet.get("referenced_tweets")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("type") == "retweeted":
            if _text_of(reference) is not None:  # expanded in its place by `twarc2 flatten`
                return reference
            found = others.get(whole(reference.get("id")), {})
            return found if _text_of(found) is not None else {}
    return None


def _full(tweet: Mapping[str, Any]) -> str | None:
    """The full text of a tweet that may also have a short one."""
    for holder, key in (("extended_tweet", "full_text"), ("note_tweet", "text")):
        inner = tweet.get(holder)
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            return inner[key]
    full = tweet.get("full_text")
    return full if isinstance(full, str) else None


def _text_of(tweet: Mapping[str, Any]) -> Any:
    """The text of a tweet, the full one first; None when there is none."""
    full = _full(tweet)
    return tweet.get("text") if full is None else full


def _author(tweet: Mapping[str, Any]) -> str:
    """The author's id: of the user that v1.1 embeds, by v2's `author_id`, or of the author that twarc2 embeds."""
    for holder in (tweet.get("user"), tweet.get("author")):
        if isinstance(holder, dict) and (found := whole(holder.get("id_str") or holder.get("id"))):
            return found
    return whole(tweet.get("author_id"))


def _time(created_at: Any, identity: str) -> int:
    """Seconds since 1970 of a tweet: as it says, or as its id does when it says nothing."""
    silent, timed = created_at in (None, ""), identity.isascii() and identity.isdigit() and len(identity) < 20
    if silent and timed and FIRST_SNOWFLAKE <= int(identity) < 1 << 63:
        return times.seconds(((int(identity) >> 22) + SNOWFLAKE_EPOCH) // 1000)
    return times.seconds(created_at)
