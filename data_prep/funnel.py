"""The funnel: how many posts are left after each named step, in order, and what to do when none is.

A dataset's funnel has the steps that remove posts, and those of its preset that keep posts from being examples
among them; a split's goes on from there.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtag.errors import JaxtagError

READ = "rows read"
READABLE = "readable rows"
POSTS = "rows that are posts"
UNIQUE = "duplicate ids removed"
ORIGINAL = "not reposts"
DISTINCT = "duplicates removed"
DISSIMILAR = "near-duplicates removed"
WITH_HASHTAG = "with a hashtag"
WITH_IMAGE = "with an image"
NO_CITY = "with one that names no city"

# What empties a step, by how its name starts.
_MENDS = {
    READ: "give a source that has rows",
    READABLE: "see rejects.jsonl beside the dataset for the reasons",
    POSTS: "give a source that has posts",
    ORIGINAL: "check --repost: with a value, --repost COLUMN=VALUE, only rows with that value are reposts",
    "in ": "check --language and --language-is, or keep all languages with --language-is any",
    "by authors of": "lower --min-author-posts",
    WITH_HASHTAG: "check --text, or name the column of hashtags with --hashtags",
    WITH_IMAGE: "name the images with --image and --images, or do without them with --no-with-image",
    "at least": "lower --min-words",
    "at most": "raise --max-hashtags",
    "with a hashtag of": "lower --min-hashtag-posts",
    "with one of the": "check --text, or name the column of hashtags with --hashtags",
    NO_CITY: "keep names of cities with --cities none",
    "with at least": "lower --min-hashtags",
    "with one of at least": "lower --min-hashtag-posts",
    "exactly one": "keep posts with several hashtags with --per-post all, or lower --min-hashtag-posts",
}


def in_languages(names: list[str]) -> str:
    """The name of the step that keeps some languages."""
    return f"in {' or '.join(names)}"


def by_authors(least: int) -> str:
    """The name of the step that keeps authors of `least` posts or more."""
    return f"by authors of at least {least} post{'s' * (least != 1)}"


def long_enough(words: int) -> str:
    """The name of the step that wants `words` words of an example."""
    return f"at least {words} word{'s' * (words != 1)}"


def most_used(hashtags: int) -> str:
    """The name of the step that keeps so many hashtags, and posts with one."""
    return f"with one of the {hashtags} most used hashtags"


def enough_hashtags(least: int) -> str:
    """The name of the step that keeps posts of `least` kept hashtags or more."""
    return f"with at least {least} such hashtag{'s' * (least != 1)}"


def used_enough(posts: int) -> str:
    """The name of the step that keeps hashtags of `posts` posts or more, and posts with one."""
    return f"with one of at least {posts} such post{'s' * (posts != 1)}"


def mapped(hashtags: int) -> str:
    """The name of the step that puts others in the place of `hashtags` hashtags."""
    return f"{hashtags} hashtag{'s' * (hashtags != 1)} mapped to others"


class NothingLeft(JaxtagError):
    """A step of a funnel has left no post."""


class Step(NamedTuple):
    """A step: its name, the posts left after it, and whether they are those that may be examples, not all kept."""

    step: str
    posts: int
    examples: bool = False


@dataclass(frozen=True)
class Funnel:
    """Steps in order, each with the posts left after it."""

    steps: tuple[Step, ...] = ()

    def add(self, step: str, posts: int, examples: bool = False) -> "Funnel":
        """The funnel with one more step."""
        return Funnel((*self.steps, Step(step, posts, examples)))

    def to_json(self) -> list[dict[str, Any]]:
        """As stored: `[{"step": …, "posts": …}, …]`, with `"examples": true` where the posts are possible examples."""
        return [
            {"step": step, "posts": posts} | ({"examples": True} if examples else {})
            for step, posts, examples in self.steps
        ]

    @staticmethod
    def from_json(steps: list[dict[str, Any]]) -> "Funnel":
        """The funnel that `to_json` wrote."""
        return Funnel(tuple(Step(step["step"], step["posts"], step.get("examples", False)) for step in steps))

    def check(self, hint: str = "") -> "Funnel":
        """The funnel itself, when posts are left.

        Args:
          hint: more to say about the step that emptied it, such as the values met.

        Raises:
          NothingLeft: none is left; the message names the step that dropped the last, and the mend.
        """
        before = 0
        for step, posts, _ in self.steps:
            if posts == 0:
                mend = next((m for name, m in sorted(_MENDS.items(), reverse=True) if step.startswith(name)), "")
                raise NothingLeft(f"no post is left after step {step!r} ({before} before it){hint}", mend)
            before = posts
        return self
