"""Rules: how a split chooses its examples and divides them; every part is an option of `jaxtag-prep split`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from jaxtag.errors import JaxtagError

Division = Literal["random", "time", "author"]


@dataclass(frozen=True)
class Rule:
    """How a split is made.

    Attributes:
      min_words: words that a post must have to be an example.
      min_hashtag_posts: examples that a hashtag must have to be kept.
      top: keep only so many of the most used hashtags; 0 keeps all.
      per_post: 'all' keeps posts with any kept hashtags, 'one' only posts with exactly one of them.
      max_hashtags: only posts with so many kept hashtags or fewer; 0 is any number.
      with_image: only posts with an image.
      cap: at most so many examples of a hashtag, drawn at random; 0 is no cap.
      min_word_count: how often a word must occur in training posts to be known.
      division: 'random'; 'time', the earliest posts train and the latest test; 'author', no author in two parts.
      fractions: of training, validation and test; they add up to 1. Folds have none.
      folds: how many folds; 0 is no folds. Each tests on its own share of the examples.
      fold: which of them, from 0.
      validation: share of a fold's other posts that is its validation part.
      unseen: how many kept hashtags, drawn at random, are unseen: no training or validation post has one.
      unseen_hashtags, seen_hashtags: the same by name; where only one list is given the others are the rest.
      unseen_after: a time in seconds; hashtags first used after it are unseen. 0 is no such time.
      shots: how many posts of each unseen hashtag train all the same, drawn evenly from this range; (0, 0) is none.
      generalised: seen hashtags are candidates too, and the test part holds posts of theirs.
      seed: of everything drawn.
    """

    min_words: int = 5
    min_hashtag_posts: int = 20
    top: int = 0
    per_post: Literal["all", "one"] = "all"
    max_hashtags: int = 0
    with_image: bool = False
    cap: int = 0
    min_word_count: int = 2
    division: Division = "random"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 0
    fold: int = 0
    validation: float = 0.1
    unseen: int = 0
    unseen_hashtags: tuple[str, ...] = ()
    seen_hashtags: tuple[str, ...] = ()
    unseen_after: int = 0
    shots: tuple[int, int] = (0, 0)
    generalised: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.fractions) != 3 or not min(self.fractions) >= 0 or not abs(sum(self.fractions) - 1) <= 1e-6:
            raise JaxtagError(f"fractions {self.fractions} are not three numbers that add up to 1", "say 0.8,0.1,0.1")
        if self.fractions[0] == 0:
            raise JaxtagError("fractions leave nothing to train on", "say 0.8,0.1,0.1")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise JaxtagError(f"--{name.replace('_', '-')} {getattr(self, name)} is below {least}")
        if self.folds == 1 or not self.fold < max(self.folds, 1):
            raise JaxtagError(f"--folds {self.folds} is no number of folds", "give 2 or more")
        if not 0 <= self.validation < 1:
            raise JaxtagError(f"--validation {self.validation:g} is not from 0 to below 1", "say 0.1")
        if self.folds and self.division == "time":
            raise JaxtagError("folds are random or by author, not by time", "leave --folds or --division time out")
        _check_unseen(self)

    @property
    def has_unseen(self) -> bool:
        """Whether some hashtags are unseen."""
        return bool(self.unseen or self.unseen_hashtags or self.seen_hashtags or self.unseen_after)

    def to_json(self) -> dict[str, Any]:
        """The rule as split.json has it."""
        # What came later is said only where it is asked: the splits that were made before it stay what they are.
        said = {key: value for key, value in asdict(self).items() if value or key not in _LATER}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Rule":
        """The rule that `to_json` wrote."""
        found: dict[str, Any] = {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
        return Rule(**found)

    def sentence(self) -> str:
        """The rule as one line for a reader."""
        said = [_division(self)]
        said += [f"posts of {self.min_words} words or more"] if self.min_words > 1 else []
        said += [f"hashtags of {self.min_hashtag_posts} posts or more"] if self.min_hashtag_posts > 1 else []
        said += [f"the {self.top} most used hashtags"] if self.top else []
        said += ["posts with exactly one hashtag"] if self.per_post == "one" else []
        said += [f"posts of {self.max_hashtags} hashtags or fewer"] if self.max_hashtags else []
        said += ["posts with an image"] if self.with_image else []
        said += [f"at most {self.cap} posts a hashtag"] if self.cap else []
        low, high = self.shots
        said += [f"{low}-{high} training posts of each unseen hashtag"] if high else []
        said += ["seen hashtags are candidates too"] if self.generalised else []
        return "; ".join([*said, f"seed {self.seed}"])


_LEAST = {"min_words": 0, "min_hashtag_posts": 1, "top": 0, "cap": 0, "min_word_count": 1, "seed": 0, "folds": 0,
          "fold": 0, "unseen": 0, "unseen_after": 0, "max_hashtags": 0}  # fmt: skip
_LATER = ("max_hashtags", "with_image")


_UNSEEN = ("unseen", "unseen_hashtags", "unseen_after")


def _check_unseen(rule: Rule) -> None:
    """Raises JaxtagError where what is said of unseen hashtags contradicts itself."""
    given = [f"--{name.replace('_', '-')}" for name in _UNSEEN if getattr(rule, name)]
    if len(given) > 1:
        raise JaxtagError(f"{given[0]} and {given[1]} both say which hashtags are unseen", "give one of them")
    if rule.unseen_after and (rule.division != "time" or rule.seen_hashtags):
        raise JaxtagError("--unseen-after divides by time alone", "give --division time, and no list of hashtags")
    if both := sorted(set(rule.unseen_hashtags) & set(rule.seen_hashtags)):
        raise JaxtagError(f"#{both[0]} is in both lists, seen and unseen ({len(both)} in all)", "take it out of one")
    low, high = rule.shots
    if rule.shots != (0, 0) and not 1 <= low <= high:
        raise JaxtagError(f"--shots {low}-{high} is no range of counts", "say 5-10")
    for name, value in (("--shots", high), ("--generalised", rule.generalised)):
        if value and not rule.has_unseen:
            raise JaxtagError(f"{name} is of splits with unseen hashtags", "say which, for example --unseen 10")
    if rule.folds and rule.has_unseen:
        raise JaxtagError(
            "folds have no unseen hashtags", "repeat an unseen split under other names with --seed 1, --seed 2, ..."
        )


def _division(rule: Rule) -> str:
    way = {"random": "at random", "time": "by time", "author": "by author"}[rule.division]
    if rule.folds:
        how = "stratified by hashtag" if rule.division == "random" else "by author"
        return f"fold {rule.fold} of {rule.folds}, {how}, {rule.validation:.0%} of the rest for validation"
    shares = [f"{100 * part:.3g}" for part in rule.fractions]
    if rule.has_unseen and (rule.unseen_after or rule.division == "random" and not rule.generalised):
        said = f"posts of seen hashtags {way} {shares[0]}:{shares[1]} to training and validation"
    else:
        said = f"{way} {'/'.join(shares)}"
    if rule.unseen_after:
        after = datetime.fromtimestamp(rule.unseen_after, UTC)
        return f"{said}; hashtags first used after {after:%Y-%m-%d %H:%M:%S} unseen"
    if rule.unseen:
        said += f"; {rule.unseen} hashtags unseen, drawn"
    elif rule.unseen_hashtags:
        said += f"; {len(rule.unseen_hashtags)} named hashtags unseen"
    if rule.seen_hashtags:
        said += f"; {len(rule.seen_hashtags)} named hashtags seen"
        said += "" if rule.unseen or rule.unseen_hashtags else ", the others unseen"
    return said


# Options of every verb that makes a split, and those of `jaxtag-prep split` alone (`fold` is nobody's option).
RULE_FIELDS = (
    "min_words", "min_hashtag_posts", "top", "per_post", "max_hashtags", "with_image", "cap", "min_word_count",
    "fractions", "seed",
)  # fmt: skip
SPLIT_FIELDS = tuple(field.name for field in fields(Rule) if field.name not in (*RULE_FIELDS, "fold"))
