"""Rules: how a split chooses its examples and divides them; every part is an option of `jaxtag-prep split`."""

from dataclasses import dataclass, fields
from typing import Literal

from jaxtag.errors import JaxtagError


@dataclass(frozen=True)
class Rule:
    """How a random split is made.

    Attributes:
      min_words: words that a post must have to be an example.
      min_hashtag_posts: examples that a hashtag must have to be kept.
      top: keep only so many of the most used hashtags; 0 keeps all.
      per_post: 'all' keeps posts with any kept hashtags, 'one' only posts with exactly one of them.
      min_word_count: how often a word must occur in training posts to be known.
      fractions: of training, validation and test; they add up to 1.
      seed: of the division.
    """

    min_words: int = 5
    min_hashtag_posts: int = 20
    top: int = 0
    per_post: Literal["all", "one"] = "all"
    min_word_count: int = 2
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise JaxtagError(f"fractions {self.fractions} are not three numbers that add up to 1", "say 0.8,0.1,0.1")
        if self.fractions[0] == 0:
            raise JaxtagError("fractions leave nothing to train on", "say 0.8,0.1,0.1")
        for name, least in (("min_words", 0), ("min_hashtag_posts", 1), ("top", 0), ("min_word_count", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise JaxtagError(f"--{name.replace('_', '-')} {getattr(self, name)} is below {least}")


RULE_FIELDS = tuple(field.name for field in fields(Rule))
