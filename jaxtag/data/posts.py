"""What a post is, as columns: names, types, shapes, padding, and the command that adds each."""

from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = 2  # of dataset folders; raised when their layout changes
LENGTH_MULTIPLE = 8  # lengths in a batch are rounded up to a multiple of this
PAD, UNKNOWN = 0, 1  # the first two word ids, of a dataset's vocabulary and of a split's alike
FIRST_WORD = 2
VECTOR, GRID, PIXELS, CELLS = "vector", "grid", "pixels", "cells"  # of a post's image (`jaxtag.data.image_columns`)
REGIONS, BOXES = "regions", "boxes"  # what a detector found in it
IMAGE_COLUMNS = (VECTOR, GRID, PIXELS, REGIONS, BOXES)
REGION_COLUMNS = (REGIONS, BOXES)
WORDPIECES, PIECES = "wordpieces", 30_522  # and how many BERT has
HISTORY = "history"  # whose values in a batch are words of the posts that it names
TOPICS = "topics"  # the proportions of them that a post has, of a split's own `jaxtag-prep topics`


@dataclass(frozen=True)
class Column:
    """One column of a dataset folder.

    Attributes:
      name: its name in a batch, and of its files under `columns/`.
      dtype: NumPy dtype of its values on disk.
      ragged: whether a post has any number of values (flat values and offsets) or just `width`.
      width: values per post of a column that is not ragged; 0 is a scalar.
      padding: what fills the rest of a row in a batch.
      made_by: the command that adds it to a dataset that lacks it.
      meaning: one line for `jaxtag data show`.
    """

    name: str
    dtype: str
    ragged: bool
    width: int
    padding: int
    made_by: str
    meaning: str


COLUMNS = {
    column.name: column
    for column in (
        Column("tokens", "int32", True, 0, PAD, "jaxtag-prep posts", "word ids of the dataset's vocabulary"),
        Column("wordpieces", "int32", True, 0, PAD, "jaxtag-prep wordpieces", "WordPiece ids, [CLS] first, [SEP] last"),
        Column("hashtags", "int32", True, 0, -1, "jaxtag-prep posts", "dataset hashtag ids, in the author's order"),
        Column(
            "history",
            "int32",
            False,
            5,
            -1,
            "jaxtag-prep posts --author COL --time COL",
            "rows of the author's latest strictly earlier posts, newest first",
        ),
        Column("author", "int32", False, 0, 0, "jaxtag-prep posts --author COL", "author id, 0 unknown"),
        Column("time", "int64", False, 0, 0, "jaxtag-prep posts --time COL", "seconds since 1970, on the host only"),
        Column("ordinal", "int32", False, 0, 0, "jaxtag-prep posts", "place in the source"),
        Column("image", "int32", False, 0, -1, "jaxtag-prep posts --image COL --images DIR", "row in images/, -1 none"),
    )
}


def shapes(lengths: Mapping[str, int], posts: int) -> dict[str, tuple[int, ...]]:
    """The shape of a post's values in a batch, by column, where `history` has `posts` posts of its length each."""
    return {name: (posts, n) if name == HISTORY else (n,) for name, n in lengths.items()}


def round_up(length: int, multiple: int = LENGTH_MULTIPLE) -> int:
    """`length` rounded up to a multiple of `multiple`, and at least one multiple."""
    return max(1, -(-length // multiple)) * multiple
