"""Vocabularies as text files: one entry a line, a tab, how many posts or times it was counted.

An entry's id is its line number, from 0. Words start with two reserved lines, `<pad>` and `<unknown>`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jaxtag.data.posts import FIRST_WORD, UNKNOWN
from jaxtag.errors import JaxtagError
from jaxtag.files import write_text

LONGEST = 18  # digits of a count
RESERVED = ("<pad>", "<unknown>")


@dataclass(frozen=True)
class Vocabulary:
    """Entries with their counts; the id of an entry is its place."""

    entries: tuple[str, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Entry to id."""
        return {entry: i for i, entry in enumerate(self.entries)}

    def encode(self, words: Sequence[str]) -> list[int]:
        """Ids of `words`; a word that is not an entry, or is a reserved one, reads as unknown."""
        ids = self.ids
        return [i if (i := ids.get(word, UNKNOWN)) >= FIRST_WORD else UNKNOWN for word in words]

    def save(self, path: Path) -> None:
        """Write the vocabulary to `path` in one step."""
        write_text(path, "".join(f"{e}\t{c}\n" for e, c in zip(self.entries, self.counts)))


def load(path: Path) -> Vocabulary:
    """The vocabulary at `path`.

    Raises:
      JaxtagError: the file is absent, or a line has no count; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise JaxtagError(f"{path} is missing", "prepare the dataset again") from None
    except UnicodeDecodeError as error:
        raise JaxtagError(f"{path} is not UTF-8: {error}", "prepare the dataset again") from None
    entries, counts = [], []
    for number, line in enumerate(lines[:-1], 1):
        entry, tab, count = line.rpartition("\t")
        if not tab or not count.isascii() or not count.isdigit() or len(count) > LONGEST:
            raise JaxtagError(f"{path} line {number} is not an entry, a tab and a count", "prepare the dataset again")
        entries.append(entry)
        counts.append(int(count))
    return Vocabulary(tuple(entries), tuple(counts))
