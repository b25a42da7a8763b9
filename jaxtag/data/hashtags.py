"""Vectors of words, and from them of hashtags, by their text alone: of any hashtag, also of one no dataset has seen.

In this order: the hashtag's own vector (`#x`), that of the same word (`x`), the mean over the words that it is
written together from, the mean over its character n-grams (fastText), none. Segmentation is symspellpy's, by its
packaged list of 82,765 English words without spelling correction; `_` and digits part words first.

word2vec learns two vectors for each word: the input one, which predicts its neighbours (what is meant by word vectors
without more), and the output one, which is predicted (gensim's `syn1neg`). A hashtag's `out` vector compared with
the mean of a post's input vectors says how well the post's words predict it (DESM, Mitra et al. 2016); `sum`
adds both, each made length one first (Levy, Goldberg and Dagan 2015, section 3.3, add unscaled ones). Vectors of
either kind all lean one way, each its own: what is compared with output ones is a post's mean less that of all posts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jaxtag.data import columns
from jaxtag.documents import SEALED, described
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import check_seal

Kind = Literal["in", "out", "sum"]
HOW = ("own", "word", "segmentation", "subwords", "none")
LONGEST = 64  # letters beyond which a hashtag is not segmented: segmenting takes time in its length
MOST_PARTS = 16  # of the words of one hashtag, the first so many are averaged
BLOCK = 4096  # hashtags whose rows are averaged at a time
CACHED = 1 << 16
AGAIN = "make the vectors again with jaxtag-prep vectors"
VECTORS = {"files": SEALED, "subwords?": {"shortest": int, "longest": int}, "output?": bool}  # what vectors.json says
_TRAINED = ("setting", "model", "dim", "epochs", "window", "min_count", "seed")  # options of training, in vectors.json


@dataclass(frozen=True)
class Subwords:
    """fastText's character n-grams.

    Attributes:
      rows: a vector for each bucket `[buckets, d]` float32.
      shortest, longest: characters of an n-gram, the marks of a word's ends among them.
    """

    rows: np.ndarray
    shortest: int
    longest: int

    def buckets(self, word: str) -> list[int]:
        """Buckets of the n-grams of `word`; none for a word without n-grams."""
        from gensim.models.fasttext import ft_ngram_hashes

        return [int(bucket) for bucket in ft_ngram_hashes(word, self.shortest, self.longest, len(self.rows))]


@dataclass(frozen=True)
class WordTable:
    """Words and their vectors; those of hashtags are named `#x`.

    Attributes:
      names: `[n]`, most used first.
      rows: their input vectors `[n, d]` float32.
      subwords: for words that are not among `names`, or None; they have input vectors alone.
      output: their output vectors `[n, d]` float32; None where they are not known.
      kind: which vectors of the table are meant.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    subwords: Subwords | None = None
    output: np.ndarray | None = None
    kind: Kind = "in"

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.rows.shape[1]

    @cached_property
    def index(self) -> dict[str, int]:
        """Name to row."""
        return {name: row for row, name in enumerate(self.names)}

    def _of_kind(self, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What `read` makes of the rows of this kind."""
        given = {"in": self.rows, "out": self.output}
        return of_kind(self.kind, lambda which: read(given[which]))


@dataclass(frozen=True)
class HashtagVectors:
    """What `vectors_of` found.

    Attributes:
      vectors: `[n, d]` float32; zeros for a hashtag that has none.
      how: `[n]` uint8, positions in `HOW`.
      parts: the words that each vector is of: `('#x',)`, `('x',)`, the words of a segmentation; else empty.
    """

    vectors: np.ndarray
    how: np.ndarray
    parts: list[tuple[str, ...]]

    def counts(self) -> dict[str, int]:
        """How many hashtags got their vector in each way."""
        return dict(zip(HOW, np.bincount(self.how, minlength=len(HOW)).tolist()))


def open_table(folder: Path, kind: Kind = "in") -> WordTable:
    """The whole table of the word vectors in `folder`, memory-mapped.

    Args:
      folder: `splits/SPLIT/vectors/NAME`.
      kind: which of them hashtags and words get.

    Raises:
      JaxtagError: there is none, or none of that kind, it was made by an older version, or a file is damaged.
    """
    info = described(folder / "vectors.json", "description of word vectors", VECTORS, AGAIN)
    check_kind(folder, info, kind)
    if "table.npy" not in info["files"]:
        raise JaxtagError(f"{folder} has no table of its own: an older version made it", AGAIN)
    check_seal(folder, info["files"], AGAIN)
    names = tuple((folder / "names.txt").read_text(encoding="utf-8").split("\n")[:-1])
    rows = columns.load(folder / "table.npy")
    if len(names) != len(rows):
        raise JaxtagError(f"{folder} has {len(rows)} vectors for {len(names)} names", AGAIN)
    subwords = None
    if info.get("subwords"):
        shortest, longest = info["subwords"]["shortest"], info["subwords"]["longest"]
        subwords = Subwords(columns.load(folder / "subwords.npy"), shortest, longest)
    output = columns.load(folder / "output.npy") if "output.npy" in info["files"] else None
    return WordTable(names, rows, subwords, output, kind)


def check_kind(folder: Path, info: Mapping[str, Any], kind: str) -> None:
    """Refuse a kind of vectors that a folder does not hold.

    Args:
      folder: `splits/SPLIT/vectors/NAME`.
      info: its vectors.json.
      kind: as of `of_kind`.

    Raises:
      JaxtagError: there is no such kind, or the folder has no output vectors; the message gives the command.
    """
    if kind not in get_args(Kind):
        raise JaxtagError(f"no kind {kind!r} of word vectors", nearest(kind, get_args(Kind)))
    if kind == "in" or "output.npy" in info["files"]:
        return
    command = f"jaxtag-prep vectors --data {folder.parents[3]} --split {folder.parents[1].name}"
    if info.get("setting") == "pretrained":
        raise JaxtagError(f"{folder} has no output vectors: a file gives input vectors alone", f"train some: {command}")
    options = [f"--{key.replace('_', '-')} {info[key]}" for key in _TRAINED if key in info]
    raise JaxtagError(
        f"{folder} has no output vectors: an older version made it",
        " ".join([command, f"--name {folder.name}", *options]),
    )


def of_kind(kind: Kind, read: Callable[[Literal["in", "out"]], np.ndarray]) -> np.ndarray:
    """Vectors `[n, d]` float32 of a kind.

    Args:
      kind: `in`, `out`, or `sum`: both made length one, added, and the sum made length one again.
      read: gives the input or the output vectors.
    """
    return read(kind) if kind != "sum" else unit(unit(read("in")) + unit(read("out")))


def unit(rows: np.ndarray) -> np.ndarray:
    """`rows [n, d]` made length one, float32; zeros stay zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def rows_of(names: Sequence[str], table: WordTable) -> tuple[np.ndarray, np.ndarray]:
    """A vector for each word: of the table, else the mean of its subwords.

    Returns:
      `[n, d]` float32, zeros for a word that has none; and which have one, bool `[n]`.
    """
    places = np.array([table.index.get(name, -1) for name in names], np.int64)
    rows, has = np.zeros((len(names), table.dim), np.float32), places >= 0
    rows[has] = table._of_kind(lambda given: given[places[has]])
    if table.subwords is not None:
        buckets = {i: found for i in np.flatnonzero(~has).tolist() if (found := table.subwords.buckets(names[i]))}
        rows[list(buckets)] = means(table.subwords.rows, list(buckets.values()))
        has[list(buckets)] = True
    return rows, has


def vectors_of(
    hashtags: Sequence[str], table: WordTable, done: Callable[[int], None] = lambda _: None
) -> HashtagVectors:
    """A vector for each hashtag: the same bits whatever others stand beside it.

    Args:
      hashtags: as datasets store them: lower case, without '#' (`jaxtag.data.text.normal_hashtag`).
      table: where words have vectors; of its `kind` are the hashtags'.
      done: told how many hashtags are done, now and then.
    """
    vectors = np.zeros((len(hashtags), table.dim), np.float32)
    how = np.full(len(hashtags), HOW.index("none"), np.uint8)
    parts: list[tuple[str, ...]] = []
    for start in range(0, len(hashtags), BLOCK):
        block = hashtags[start : start + BLOCK]
        found = [_words(hashtag, table.index) for hashtag in block]
        parts += [words for _, words in found]
        ids = [[table.index[word] for word in words] for _, words in found]
        vectors[start : start + len(block)] = table._of_kind(lambda rows, ids=ids: means(rows, ids))
        kinds = np.array([HOW.index(kind) for kind, _ in found], np.uint8)
        if table.subwords is not None and (left := np.flatnonzero(kinds == HOW.index("none"))).size:
            buckets = [table.subwords.buckets(block[i]) for i in left.tolist()]
            vectors[start + left] = means(table.subwords.rows, buckets)
            kinds[left[[bool(b) for b in buckets]]] = HOW.index("subwords")
        how[start : start + len(block)] = kinds
        done(start + len(block))
    return HashtagVectors(vectors, how, parts)


def means(rows: np.ndarray, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """The mean of `rows[i]` for each list of ids `[n, d]` float32, added in their order; zeros for an empty list."""
    counts = np.array([len(some) for some in ids], np.int64)
    out = np.zeros((len(ids), rows.shape[1]), np.float32)
    filled = np.flatnonzero(counts)
    if len(filled):
        flat = np.concatenate([np.asarray(ids[i], np.int64) for i in filled.tolist()])
        starts = np.cumsum(counts[filled]) - counts[filled]
        out[filled] = np.add.reduceat(rows[flat], starts, axis=0) / counts[filled, None].astype(np.float32)
    return out


def segment(hashtag: str) -> tuple[str, ...]:
    """The English words and the numbers that `hashtag` is written together from; what is not English stays whole."""
    words: list[str] = []
    for piece in pieces(hashtag):
        words += _segment(piece) if piece.isascii() and piece.isalpha() else (piece,)
    return tuple(words)


def is_english(word: str) -> bool:
    """Whether `word` is in the packaged English list."""
    return word in _symspell().words


def pieces(hashtag: str) -> list[str]:
    """Its runs of letters and its runs of digits, in order; '_' goes."""
    return _piece_pattern().findall(hashtag)


def _words(hashtag: str, index: dict[str, int]) -> tuple[str, tuple[str, ...]]:
    """How `hashtag` gets its vector, and the words of the table that it is the mean of."""
    if (own := "#" + hashtag) in index:
        return "own", (own,)
    if hashtag in index:
        return "word", (hashtag,)
    if len(hashtag) <= LONGEST:
        words: list[str] = []
        for piece in pieces(hashtag):
            words += (piece,) if piece in index else segment(piece)
        # A letter that was left over says nothing, and half a hashtag may say another thing than the whole.
        known = [word for word in words if word in index and (len(word) > 1 or word in "ai" or word.isdigit())]
        if 2 * sum(map(len, known)) > sum(map(len, words)) and any(not word.isdigit() for word in known):
            return "segmentation", tuple(known[:MOST_PARTS])
    return "none", ()


@lru_cache(maxsize=CACHED)
def _segment(letters: str) -> tuple[str, ...]:
    return tuple(_symspell().word_segmentation(letters, max_edit_distance=0).corrected_string.split())


@lru_cache(maxsize=1)
def _symspell() -> Any:
    import importlib.resources

    from symspellpy import SymSpell

    found = SymSpell(max_dictionary_edit_distance=0)
    words = importlib.resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    with importlib.resources.as_file(words) as path:
        found.load_dictionary(str(path), term_index=0, count_index=1, encoding="utf-8")
    return found


@lru_cache(maxsize=1)
def _piece_pattern() -> Any:
    import regex  # unlike re's, its \w has the vowel signs of Indic scripts

    return regex.compile(r"\d+|[^\W\d_]+")
