"""What the worker processes do: posts to serialised records, each by its own facts alone."""

from collections import Counter
from dataclasses import dataclass, field, replace

from jaxtag.data.text import Cleaned, Cleaner, Cleaning, normal_hashtag

from . import language as languages
from .records import FOREIGN, KEPT, REPOST, Record, serialise
from .source import Post

IDENTIFIED = "posts whose language was identified from the text, for want of metadata"
UNTOLD = "posts removed because nothing told their language, neither metadata nor text"


@dataclass(slots=True)
class Encoded:
    """Some posts as serialised examples, and counts of them.

    Attributes:
      examples: as `records.write` takes them.
      verdicts: how many posts got which.
      languages: codes, how often each was met, where languages are filtered; '' is untold.
      notes: what the reader must know.
    """

    examples: list[bytes]
    verdicts: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Encoder:
    """Callable from posts to their records.

    Attributes:
      cleaning: how text becomes words.
      words_counted: as in `Preset`.
      languages: codes of the languages to keep; none keeps all.
      identify: whether to tell the language from the text where the source does not.
      late: whether a step before reposts and languages reads words and hashtags, so that removed posts have them.
    """

    cleaning: Cleaning
    words_counted: str
    languages: tuple[str, ...] = ()
    identify: bool = False
    late: bool = False

    def __call__(self, posts: list[Post]) -> Encoded:
        """Judge, clean and serialise each post."""
        cleaner, found = Cleaner(self.cleaning), Encoded([])
        for post in posts:
            record = self.record(post, cleaner, found)
            found.verdicts[record.verdict] += 1
            found.examples.append(serialise(record))
        return found

    def record(self, post: Post, cleaner: Cleaner, counts: Encoded) -> Record:
        """The record of one post; what was remarkable about its language is counted in `counts`."""
        if post.repost:
            return self._removed(post, post.language, REPOST, cleaner)
        told, cleaned = post.language, None
        if self.languages:
            spoken = languages.code(told)
            if not spoken and self.identify:
                if not self.cleaning.ascii_only:
                    cleaned = cleaner(post.text)
                prose = cleaned or Cleaner()(post.text)  # deleting characters would make every text English
                spoken = told = languages.identify(_prose(prose, self.cleaning.mention))
                if spoken:
                    counts.notes[IDENTIFIED] += 1
            if not spoken:
                counts.notes[UNTOLD] += 1
            counts.languages[spoken] += 1
            if spoken not in self.languages:
                return self._removed(post, told, FOREIGN, cleaner)
        return self._kept(post, told, cleaned or cleaner(post.text))

    def _removed(self, post: Post, language: str, verdict: int, cleaner: Cleaner) -> Record:
        length, hashtags = 0, []
        if self.late:
            kept = self._kept(post, language, cleaner(post.text))
            length, hashtags = kept.length, kept.hashtags
        author = post.author.encode()
        told = language.encode()
        return Record(post.ordinal, post.id.encode(), author, post.time, told, b"", b"", hashtags, length, -1, verdict)

    def _kept(self, post: Post, language: str, cleaned: Cleaned) -> Record:
        hashtags = cleaned.hashtags
        if post.hashtags is not None:
            given = (normal_hashtag(phrase) for phrase in post.hashtags)
            hashtags = tuple(dict.fromkeys([*filter(None, given), *hashtags]))
        if self.words_counted == "source":
            length = len(post.text.split())
        else:
            length = sum(any(map(str.isalnum, word)) for word in self._counted(post, cleaned).shown.split())
        return Record(
            post.ordinal,
            post.id.encode(),
            post.author.encode(),
            post.time,
            language.encode(),
            post.text.encode(),
            cleaned.shown.encode(),
            [hashtag.encode() for hashtag in hashtags],
            length,
            post.image,
            KEPT,
        )

    def _counted(self, post: Post, cleaned: Cleaned) -> Cleaned:
        """The text whose words count: before mentions and what is not alphabetic are dropped."""
        if self.cleaning.mention and not self.cleaning.alphabetic:
            return cleaned
        return Cleaner(replace(self.cleaning, mention=Cleaning.mention, alphabetic=False))(post.text)


def _prose(cleaned: Cleaned, mention: str) -> str:
    return " ".join(word for word in cleaned.shown.split() if word != mention)
