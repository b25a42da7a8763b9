"""What every importer gives: posts as their source has them, in chunks, with what could not be read."""

from collections import Counter
from dataclasses import dataclass, field

from .tables import Bad

MOST_ROWS = 2**31 - 1  # an ordinal is an int32


@dataclass(frozen=True, slots=True)
class Post:
    """One post as its source has it, before cleaning.

    Attributes:
      ordinal: its place in the whole source, from 0, bad rows counted.
      id, author, language: as the source writes them; '' where it does not.
      time: seconds since 1970; 0 where the source has no times.
      text: the source text, hashtags and all.
      hashtags: given apart from the text; None where the text alone has them.
      image: row in the dataset's images; -1 none.
      repost: whether it repeats another's post, and is no post of its author's own.
    """

    ordinal: int
    id: str
    author: str
    time: int
    language: str
    text: str
    hashtags: tuple[str, ...] | None
    image: int = -1
    repost: bool = False


@dataclass(slots=True)
class Chunk:
    """A stretch of a source: every readable post, the bad rows, and counts of what was remarkable.

    Attributes:
      posts: in source order.
      bad: rows that could not be used.
      read: how many rows there were, whatever became of them.
      notes: what else the reader must know, counted, such as texts that the source cut short.
      done: how much of the whole source is behind it, 0 to 1.
    """

    posts: list[Post] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    read: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    done: float = 0.0
