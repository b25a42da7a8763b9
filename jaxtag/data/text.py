"""From a post's source text to its words and hashtags: one pure function, for preparing and recommending alike.

A dataset stores the `Cleaning` it was prepared with, so that cleaning a stored post's source text
again gives its stored words. NLTK, whose `TweetTokenizer` cuts the words, is imported only when a
`Cleaner` first meets a word (it takes two seconds); training never cleans text.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from jaxtag.errors import JaxtagError

RULES = 1  # of this module; raised when any text would give other words or hashtags
LONGEST_PIECE = 200  # an unbroken run is cut here: the tokenizer's patterns are not linear in it
MOST_MARKS = 30  # combining marks in a row (Unicode's stream-safe limit): sorting more takes quadratic time
CACHED_PIECES = 1 << 18

# Entities as HTML writes them. html.unescape also takes unfinished and endless ones, in quadratic time.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINK = re.compile(
    r"(?:https?:/|www\.|pic\.twitter\.com/)\S*"
    r"|\b(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,13}/\S*"  # t.co/x, bit.ly/x
    r"|\bht{1,2}ps?:?/{0,2}…"  # a link that the source cut off
)
_MENTION = re.compile(r"(?<!\w)@\w+")
_JOINERS = "\u200c\u200d"  # inside a word in some scripts, meaningless at its ends


def _characters() -> dict[int, Any]:
    """What becomes of single characters: None removes one."""
    table: dict[int, Any] = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0xFFFD), " ")
    table |= dict.fromkeys(range(0xD800, 0xE000), " ")  # lone surrogates: halves of broken characters
    # Soft hyphen, zero-width space, direction marks and overrides, invisible operators, byte order mark,
    # and the selectors of a character's coloured or plain form.
    hidden = (0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xFE0E, 0xFE0F)
    table |= dict.fromkeys(hidden)
    table |= str.maketrans("‘’ʼ“”＃＠", "'''\"\"#@")
    return table


_CHARACTERS = _characters()


@dataclass(frozen=True)
class Cleaning:
    """How source text becomes words.

    Attributes:
      ascii_only: delete every character outside ASCII from the words (hashtags keep theirs).
      stop_words: words to drop after tokenising, sorted; the list itself, so that no package's next version matters.
      special_characters: keep words without a letter or a digit.
      mention: the word that stands for every `@name`; empty, none does.
      rules: version of the rules of this module.
      alphabetic: keep only words of letters, with single apostrophes and hyphens between them.
      inline_hashtags: a hashtag that a word follows, hashtags between them or not, is a word of the text too.
    """

    ascii_only: bool = False
    stop_words: tuple[str, ...] = ()
    special_characters: bool = True
    mention: str = "user"
    rules: int = RULES
    alphabetic: bool = False
    inline_hashtags: bool = False

    def drops(self, words: Iterable[str]) -> Set[str]:
        """Those of `words` that are not to be tokens."""
        stop = _as_set(self.stop_words)
        if self.special_characters:
            return stop.intersection(words)
        return {word for word in words if word in stop or not any(map(str.isalnum, word))}

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; `from_json` reads them back."""
        # What came later is said only where it is asked: datasets prepared before it stay what they are.
        said = {key: value for key, value in asdict(self).items() if value or key not in _LATER}
        return said | {"stop_words": list(self.stop_words)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Cleaning":
        """The settings that `to_json` wrote.

        Raises:
          JaxtagError: they are not such settings, or come from other rules than this version has.
        """
        names = set(Cleaning.__dataclass_fields__)
        if not isinstance(value, Mapping) or not names - _LATER <= set(value) <= names:
            raise JaxtagError(f"cleaning settings {value!r:.200} do not have just the keys {', '.join(sorted(names))}")
        if value["rules"] != RULES:
            raise JaxtagError(
                f"the text was cleaned by rules {value['rules']}, this jaxtag has rules {RULES}",
                "prepare the dataset again with this version",
            )
        for name, kind in (("stop_words", list), ("mention", str), *((name, bool) for name in names - _NOT_FLAGS)):
            if not isinstance(value.get(name, False), kind):
                raise JaxtagError(f"cleaning settings have {name} {value[name]!r:.80}", "prepare the dataset again")
        return Cleaning(**{**value, "stop_words": tuple(map(str, value["stop_words"]))})


_LATER = {"alphabetic", "inline_hashtags"}
_NOT_FLAGS = {"stop_words", "mention", "rules"}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a source text says.

    Attributes:
      words: its words, after stop words and the like went.
      shown: its words before that, joined by single spaces; no link in it, and no hashtag but as a plain word.
      hashtags: its hashtags in the author's order, once each: lower case, no '#', NFC.
    """

    words: tuple[str, ...]
    shown: str
    hashtags: tuple[str, ...]


@dataclass(frozen=True)
class Cleaner:
    """Callable from a source text to its `Cleaned` form: deterministic, for any string, in linear time."""

    cleaning: Cleaning = field(default_factory=Cleaning)

    def __call__(self, text: str) -> Cleaned:
        """Clean `text`."""
        shown: list[str] = []
        hashtags: list[str] = []
        for part, hashtag in self._parts(text):
            shown += part
            if hashtag:
                hashtags.append(hashtag)
        return Cleaned(self._keep(shown), " ".join(shown), tuple(dict.fromkeys(hashtags)))

    def with_hashtags(self, text: str) -> tuple[str, ...]:
        """The words of `text`, its hashtags left in their places as `#x` (for transductive word vectors)."""
        words: list[str] = []
        for part, hashtag in self._parts(text):
            words += part
            if hashtag:
                words.append("#" + hashtag)
        return self._keep(words)

    def _keep(self, words: list[str]) -> tuple[str, ...]:
        if dropped := self.cleaning.drops(words):
            words = [word for word in words if word not in dropped]
        return tuple(words)

    def _parts(self, text: str) -> Iterator[tuple[list[str], str]]:
        """The text as alternating words and hashtags: (words, the hashtag that ends them, or '')."""
        return self._inline(list(self._cut(text))) if self.cleaning.inline_hashtags else self._cut(text)

    def _inline(self, parts: list[tuple[list[str], str]]) -> Iterator[tuple[list[str], str]]:
        """The parts, each hashtag that a word follows a word as well, right after itself."""
        follows = False
        for i in range(len(parts) - 1, 0, -1):
            words, hashtag = parts[i][0], parts[i - 1][1]
            follows = follows or any(map(_is_word, words))
            if follows:
                parts[i] = (self._tokens(hashtag) + words, parts[i][1])
        return iter(parts)

    def _cut(self, text: str) -> Iterator[tuple[list[str], str]]:
        text = _even(text)
        if "/" in text or "www." in text or "…" in text:
            text = _LINK.sub(" ", text)
        if "#" not in text:
            yield self._tokens(text), ""
            return
        start = 0
        for match in _hashtag_pattern().finditer(text):
            if hashtag := _tidy(match[1]):
                yield self._tokens(text[start : match.start()]), hashtag
                start = match.end()
        yield self._tokens(text[start:]), ""

    def _tokens(self, text: str) -> list[str]:
        if "#" in text:  # of numbers, and of no word at all
            text = text.replace("#", " ")
        if "@" in text:
            text = _MENTION.sub(f" {self.cleaning.mention} ", text)
        if self.cleaning.ascii_only and not text.isascii():
            text = text.encode("ascii", "ignore").decode()
        tokens: list[str] = []
        for piece in text.split():
            if piece.isalpha() and len(piece) <= LONGEST_PIECE:
                tokens.append(piece)  # what the tokenizer would say
            else:
                tokens += tokenize(piece)
        return list(filter(_is_alphabetic, tokens)) if self.cleaning.alphabetic else tokens


def normal_hashtag(phrase: str) -> str:
    """`phrase` as a hashtag: lower case, NFC, only letters, digits, marks and '_'; '' if no letter is left.

    For hashtags that a source gives apart from the text, with or without '#', in one word or several.
    """
    return _tidy("".join(_word_pattern().findall(_even(phrase))))


def tokenize(piece: str) -> tuple[str, ...]:
    """NLTK's TweetTokenizer on one run of characters without white space.

    None of the tokenizer's patterns but dotted ellipses and phone numbers spans white space, so that
    tokenising run by run is tokenising the text (phone numbers are left to be numbers), and as words
    repeat, most runs are met in the cache.
    """
    if len(piece) <= LONGEST_PIECE:
        return _tokenize(piece)
    cuts = range(0, len(piece), LONGEST_PIECE)
    return tuple(token for start in cuts for token in _tokenize(piece[start : start + LONGEST_PIECE]))


@lru_cache(maxsize=CACHED_PIECES)
def _tokenize(piece: str) -> tuple[str, ...]:
    return tuple(" ".join(_tokenizer()(piece)).split())


@lru_cache(maxsize=1)
def _tokenizer() -> Callable[[str], list[str]]:
    from nltk.tokenize.casual import TweetTokenizer

    return TweetTokenizer(match_phone_numbers=False).tokenize


@lru_cache(maxsize=8)
def _as_set(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words)


@lru_cache(maxsize=1)
def _hashtag_pattern() -> Any:
    import regex  # unlike re's, its \w has the vowel signs of Indic scripts and the joiners of Persian

    return regex.compile(r"#(\w+)")


def _is_word(token: str) -> bool:
    return any(map(str.isalnum, token))


def _is_alphabetic(token: str) -> bool:
    return token.isalpha() or bool(_alphabetic_pattern().fullmatch(token))


@lru_cache(maxsize=1)
def _alphabetic_pattern() -> Any:
    import regex

    return regex.compile(r"[\p{L}\p{M}]+(?:['-][\p{L}\p{M}]+)*")


@lru_cache(maxsize=1)
def _word_pattern() -> Any:
    import regex

    return regex.compile(r"\w+")


@lru_cache(maxsize=1)
def _marks_pattern() -> Any:
    import regex

    return regex.compile(rf"(\p{{M}}{{{MOST_MARKS}}})\p{{M}}+")


def _even(text: str) -> str:
    """`text` with entities read, unprintable characters gone, NFC and in lower case."""
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if text.isascii():
        return _CONTROL.sub(" ", text).lower()
    text = text.translate(_CHARACTERS)
    if len(text) > MOST_MARKS * 10:
        text = _marks_pattern().sub(r"\1", text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _tidy(hashtag: str) -> str:
    hashtag = hashtag.strip(_JOINERS)
    return hashtag if any(map(str.isalpha, hashtag)) else ""
