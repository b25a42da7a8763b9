"""Presets: a paper's filters and cleaning as one value, every part of which is an option of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError, nearest

from .rule import Rule


@dataclass(frozen=True)
class Preset:
    """The settings that make a corpus into a dataset.

    Attributes:
      name: of the preset.
      ascii_only: delete characters outside ASCII from the words.
      stop_words: drop English stop words (the list of the wordcloud package) after tokenising.
      languages: values of the language column to keep; none keeps all.
      words_counted: what `min_words` counts: 'source' pieces between white space in the source text, or
        'cleaned' words with a letter or digit, hashtags and links gone.
      history: how many earlier posts of its author a post remembers.
      split: the rule of the `default` split.
    """

    name: str
    ascii_only: bool = False
    stop_words: bool = False
    languages: tuple[str, ...] = ()
    words_counted: Literal["source", "cleaned"] = "cleaned"
    history: int = 5
    split: Rule = Rule()

    def __post_init__(self) -> None:
        if not 1 <= self.history <= 1000:
            raise JaxtagError(f"--history {self.history} is not between 1 and 1000")

    def cleaning(self) -> Cleaning:
        """How this preset cleans text, the stop words written out."""
        return Cleaning(ascii_only=self.ascii_only, stop_words=english_stop_words() if self.stop_words else ())


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("general"),
        # SYSTEMS 1.1: English, at least five words as the tweet was written, ASCII, no stop words, the
        # fifty most used hashtags of at least 200 tweets, tweets with exactly one of them.
        Preset(
            "zsl",
            ascii_only=True,
            stop_words=True,
            languages=("en", "english"),
            words_counted="source",
            split=Rule(min_hashtag_posts=200, top=50, per_post="one"),
        ),
    )
}


# The fields that are options of their own; `languages` is --language-is.
PRESET_FIELDS = tuple(field.name for field in fields(Preset) if field.name not in ("name", "languages", "split"))


def preset(name: str, options: Mapping[str, Any]) -> Preset:
    """Preset `name` with `options` over it: fields of `Preset` and of its `Rule`; those that are None are not given.

    Raises:
      JaxtagError: there is no such preset, or an option's value is impossible.
    """
    if name not in PRESETS:
        raise JaxtagError(f"no preset {name!r}", nearest(name, PRESETS))
    found = PRESETS[name]
    given = {key: value for key, value in options.items() if value is not None}
    own = {field.name for field in fields(Preset)} - {"name", "split"}
    rule = replace(found.split, **{key: value for key, value in given.items() if key not in own})
    return replace(found, split=rule, **{key: value for key, value in given.items() if key in own})


def english_stop_words() -> tuple[str, ...]:
    """The English stop words of the wordcloud package, sorted."""
    from wordcloud import STOPWORDS

    return tuple(sorted(STOPWORDS))
