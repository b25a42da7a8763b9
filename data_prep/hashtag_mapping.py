"""Mapping lists of hashtags: reading one, variant to canonical, and proposing one by spelling, for a person to check.

Spelling is symspellpy's, which jaxtag segments hashtags by already: lookups by deletions (Garbe's SymSpell), whose time
does not grow with the vocabulary, ranked by how often a word is used, under the MIT licence and still maintained.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.data import vocabulary
from jaxtag.data.hashtags import is_english, pieces, segment
from jaxtag.data.text import normal_hashtag
from jaxtag.errors import JaxtagError
from jaxtag.files import write_text

from .image_lists import lines

COLUMNS = ("variant", "canonical", "variant_posts", "canonical_posts", "distance")
SHORTEST, LONG = 4, 8  # letters from which a hashtag may be misspelt by one edit, and by two
OFTEN = 5  # times the variant's posts that a canonical hashtag has which is not English


def read(path: Path) -> dict[str, str]:
    """The mapping list in a file: tab-separated or CSV, variant and canonical first, what follows is not read.

    A line whose two are the same hashtag maps nothing. Canonical hashtags that are variants themselves are followed.

    Raises:
      JaxtagError: it cannot be read, maps nothing, or a line lacks one of the two, maps a variant of before to
        another hashtag, or maps in a circle.
    """
    found: dict[str, str] = {}
    text = lines(path)
    tabs = any("\t" in line for line in text)
    for place, cells in enumerate(csv.reader(io.StringIO("\n".join(text)), delimiter="\t" if tabs else ","), 1):
        if not any(cell.strip() for cell in cells) or place == 1 and _names(cells):
            continue
        variant, canonical = (normal_hashtag(cell) for cell in (*cells, "", "")[:2])
        if not variant or not canonical:
            raise JaxtagError(
                f"{path} line {place} has no {'canonical hashtag' if variant else 'variant'}",
                "give both, with a tab or comma between them, or delete the line",
            )
        if found.setdefault(variant, canonical) != canonical:
            raise JaxtagError(
                f"{path} line {place} maps #{variant} to #{canonical}, a line before to #{found[variant]}",
                "delete one of them",
            )
    found = {variant: canonical for variant, canonical in found.items() if variant != canonical}
    if not found:
        raise JaxtagError(f"{path} maps no hashtag", "write lines of a variant, a tab, and its canonical hashtag")
    return {variant: _end(variant, found, path) for variant in found}


def propose(out: Path, path: Path) -> int:
    """Write the mapping list that the spelling of a dataset's hashtags suggests; `read` reads it back.

    A hashtag is proposed to be another's misspelling where that one is one edit away, or two of a long hashtag, of the
    same digits, used more, and English, or used far more; hashtags written together from English words never are.

    Args:
      out: the dataset, whose vocabulary has hashtags and their posts.
      path: of the file.

    Returns:
      How many lines it has.
    """
    found = vocabulary.load(out / "vocabulary" / "hashtags.txt")
    posts = dict(zip(found.entries, found.counts))
    rows = proposed(posts)
    text = ["\t".join(COLUMNS), *("\t".join(map(str, row)) for row in rows)]
    write_text(path, "\n".join(text) + "\n")
    return len(rows)


def proposed(posts: Mapping[str, int]) -> list[tuple[str, str, int, int, int]]:
    """The proposal for hashtags with their posts, rows of `COLUMNS`, the most used variants first."""
    spelling = _spelling(posts)
    found: dict[str, tuple[str, int]] = {}
    for variant in sorted(posts, key=lambda name: (-posts[name], name)):
        if len(variant) < SHORTEST or _spelt(variant):
            continue
        near = [
            (other.distance, -other.count, other.term)
            for other in spelling(variant, 2 if len(variant) >= LONG else 1)
            if other.term != variant and _better(other.term, variant, posts)
        ]
        if near:
            distance, _, term = min(near)
            found[variant] = found[term][0] if term in found else term, distance  # those used more came before
    return [(variant, to, posts[variant], posts[to], distance) for variant, (to, distance) in found.items()]


def _better(name: str, variant: str, posts: Mapping[str, int]) -> bool:
    """Whether `variant` may be a misspelling of `name`."""
    digits = [[piece for piece in pieces(word) if piece.isdigit()] for word in (name, variant)]
    often = OFTEN if not _spelt(name) else 1
    return digits[0] == digits[1] and len(name) >= SHORTEST and posts[name] > often * posts[variant]


def _spelt(hashtag: str) -> bool:
    """Whether a hashtag is an English word, or such words of three letters or more."""
    return is_english(hashtag) or all(len(word) > 2 and is_english(word) for word in segment(hashtag))


def _spelling(posts: Mapping[str, int]) -> Any:
    """`(word, most) -> ` hashtags at most so many edits from it."""
    from symspellpy import SymSpell, Verbosity

    found = SymSpell(max_dictionary_edit_distance=2)
    for name, count in posts.items():
        found.create_dictionary_entry(name, count)
    return lambda word, most: found.lookup(word, Verbosity.ALL, max_edit_distance=most)


def _names(cells: list[str]) -> bool:
    """Whether a line names the columns."""
    return [cell.strip().lower() for cell in cells[:2]] == list(COLUMNS[:2])


def _end(variant: str, found: Mapping[str, str], path: Path) -> str:
    """Where following a mapping ends."""
    name = variant
    for _ in found:
        name = found[name]
        if name not in found:
            return name
    raise JaxtagError(f"{path} maps #{variant} in a circle", "make one of them the canonical hashtag of the others")
