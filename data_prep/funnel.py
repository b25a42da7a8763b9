"""The funnel: how many posts are left after each named step, in order, and what to do when none is.

A dataset's funnel has the steps that remove posts; a split's goes on from there, with the steps that keep
posts from being examples.
"""

from dataclasses import dataclass
from typing import Any

from jaxtag.errors import JaxtagError

READ = "rows read"
READABLE = "readable rows"
ORIGINAL = "not reposts"
DISTINCT = "duplicates removed"
WITH_HASHTAG = "with a hashtag"

# What empties a step, by how its name starts.
_MENDS = {
    READ: "give a source that has rows",
    READABLE: "see rejects.jsonl beside the dataset for the reasons",
    ORIGINAL: "check --repost: with a value, --repost COLUMN=VALUE, only rows with that value are reposts",
    "in ": "check --language and --language-is, or keep all languages with --language-is any",
    WITH_HASHTAG: "check --text, or name the column of hashtags with --hashtags",
    "at least": "lower --min-words",
    "with a hashtag of": "lower --min-hashtag-posts",
    "exactly one": "keep posts with several hashtags with --per-post all, or lower --min-hashtag-posts",
}


@dataclass(frozen=True)
class Funnel:
    """Steps in order, each with the posts left after it."""

    steps: tuple[tuple[str, int], ...] = ()

    def add(self, step: str, posts: int) -> "Funnel":
        """The funnel with one more step."""
        return Funnel((*self.steps, (step, posts)))

    def to_json(self) -> list[dict[str, Any]]:
        """As stored: `[{"step": …, "posts": …}, …]`."""
        return [{"step": step, "posts": posts} for step, posts in self.steps]

    @staticmethod
    def from_json(steps: list[dict[str, Any]]) -> "Funnel":
        """The funnel that `to_json` wrote."""
        return Funnel(tuple((step["step"], step["posts"]) for step in steps))

    def check(self, hint: str = "") -> "Funnel":
        """The funnel itself, when posts are left.

        Args:
          hint: more to say about the step that emptied it, such as the values met.

        Raises:
          JaxtagError: none is left; the message names the step that dropped the last, and the mend.
        """
        before = 0
        for step, posts in self.steps:
            if posts == 0:
                mend = next((m for name, m in sorted(_MENDS.items(), reverse=True) if step.startswith(name)), "")
                raise JaxtagError(f"no post is left after step {step!r} ({before} before it){hint}", mend)
            before = posts
        return self
