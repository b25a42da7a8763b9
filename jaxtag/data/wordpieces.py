"""WordPiece: from a cleaned text to the ids of its pieces, for preparing and recommending alike.

The pieces are those of the dataset's `shown` text (`jaxtag.data.text`): no hashtag and no link in it. The
`tokenizers` library cuts them; it is imported when a `WordPieces` first meets a text. Its special names are no part
of a text here: a post that says [CLS] has brackets and letters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtag.data import vocabulary
from jaxtag.data.dataset import Dataset
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.errors import JaxtagError

PADDING, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PADDING, UNKNOWN, START, END, "[MASK]")
CONTINUING = "##"  # begins a piece that is not the first of its word
LONGEST_WORD = 100  # characters beyond which a word is unknown, as in BERT


@dataclass(frozen=True)
class WordPieces:
    """Callable from source texts to piece ids.

    Attributes:
      entries: the pieces; the id of a piece is its place.
      lower: fold case and accents before cutting, as an uncased vocabulary expects.
      cleaning: how source text is cleaned first.
    """

    entries: tuple[str, ...]
    lower: bool
    cleaning: Cleaning

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces of each source text, [CLS] first and [SEP] last."""
        cleaner = Cleaner(self.cleaning)
        return self.encode([cleaner(text).shown for text in texts])

    def encode(self, shown: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces of each cleaned text, [CLS] first and [SEP] last."""
        start, end = self.entries.index(START), self.entries.index(END)
        return [[start, *found.ids, end] for found in self._tokenizer.encode_batch(list(shown))]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models

        ids = {piece: i for i, piece in enumerate(self.entries)}
        found = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD))
        found.normalizer, found.pre_tokenizer = parts(self.lower)
        return found


def parts(lower: bool) -> tuple[Any, Any]:
    """How BERT evens out a text and cuts it into words: a normalizer and a pre-tokenizer of `tokenizers`."""
    from tokenizers import normalizers, pre_tokenizers

    return normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()


def check(entries: Sequence[str], path: Path) -> None:
    """Hold a vocabulary against what encoding needs.

    Raises:
      JaxtagError: an entry is there twice or empty, a special one is missing, or padding is not the first.
    """
    ids: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        if not entry or entry in ids:
            what = f"{entry!r}, which line {ids[entry] + 1} has already" if entry else "empty"
            raise JaxtagError(f"{path} line {number} is {what}", "give a WordPiece vocabulary, one piece a line")
        ids[entry] = number - 1
    for name in (PADDING, UNKNOWN, START, END):
        if name not in ids:
            raise JaxtagError(f"{path} has no {name} among its {len(ids)} lines", "give a WordPiece vocabulary")
    if ids[PADDING]:
        raise JaxtagError(f"{path} has {PADDING} at line {ids[PADDING] + 1}", f"{PADDING} must be the first")


def pieces(dataset: Dataset) -> int:
    """How many WordPieces there are of a dataset that has a column of them."""
    return _described(dataset)["pieces"]


def _described(dataset: Dataset) -> dict[str, Any]:
    """What dataset.json says of its WordPieces.

    Raises:
      JaxtagError: there are none.
    """
    found = (dataset.info.get("added") or {}).get("wordpieces")
    if not found or not dataset.has("wordpieces"):
        raise JaxtagError(
            f"{dataset.path} has no WordPiece vocabulary", f"jaxtag-prep wordpieces --data {dataset.path}"
        )
    return found


def open_wordpieces(dataset: Dataset) -> WordPieces:
    """The WordPiece vocabulary of a dataset, as its column `wordpieces` was made.

    Raises:
      JaxtagError: the dataset has none.
    """
    settings = _described(dataset)
    entries = vocabulary.load(dataset.path / "vocabulary" / "wordpieces.txt").entries
    return WordPieces(entries, settings["lower"], Cleaning.from_json(dataset.info["settings"].get("cleaning")))
