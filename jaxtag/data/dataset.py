"""A dataset folder and its splits, opened for reading: one corpus under one preset.

DIR/dataset.json      format, name, source, preset and settings, funnel, columns, seal, fingerprint
DIR/columns/          columns over all kept posts (`jaxtag.data.columns`)
DIR/text/             each post's source text once: bytes.npy, offsets.npy; length.npy, words for --min-words
DIR/vocabulary/       words.txt, hashtags.txt, authors.txt: everything seen, with counts
DIR/splits/<name>/    train, validation, test, hashtags, candidates, words .npy; vectors/, topics/; split.json
DIR/records/          the portable form (TFDS array_record); never read here
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns, vocabulary
from jaxtag.data.columns import Ragged
from jaxtag.data.hashtags import AGAIN, VECTORS, Kind, check_kind, of_kind, open_table, rows_of
from jaxtag.data.posts import COLUMNS, FIRST_WORD, FORMAT, UNKNOWN
from jaxtag.documents import SEALED, Each, described, versioned
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import check_seal

PARTS = ("train", "validation", "test")
SPLIT_FORMAT = 2  # of split folders; raised when their layout changes
SETTINGS = ("inductive", "transductive")  # of word vectors trained on the dataset
# What the descriptions are to say, of what is read of them here and elsewhere.
FUNNEL = Each({"step": str, "posts": int}, list)
DATASET = {
    "name": str, "preset": str, "posts": int, "fingerprint": str, "files": SEALED, "columns": Each(dict),
    "settings": dict, "funnel": FUNNEL, "added?": {"wordpieces?": {"pieces": int, "lower": bool}},
}  # fmt: skip
SPLIT = {"dataset": str, "fingerprint": str, "files": SEALED, "funnel?": FUNNEL}


@dataclass(frozen=True)
class Split:
    """A named division of a dataset, with everything that was fitted on its training part.

    Attributes:
      name, path: of its folder.
      info: split.json.
      train, validation, test: row numbers, int32, sorted.
      hashtags: dataset hashtag ids trained on `[L]`; a label is a position in it.
      candidates: dataset hashtag ids that may be recommended.
      words: dataset word ids counted in training posts, most used first `[V]`.
    """

    name: str
    path: Path
    info: dict[str, Any]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hashtags: np.ndarray
    candidates: np.ndarray
    words: np.ndarray

    @property
    def fingerprint(self) -> str:
        """Identifies the split's contents and its dataset."""
        return self.info["fingerprint"]

    def part(self, name: str) -> np.ndarray:
        """Row numbers of part `name`.

        Raises:
          JaxtagError: there is no such part, or it is empty.
        """
        if name not in PARTS:
            raise JaxtagError(f"no part {name!r} in a split", nearest(name, PARTS))
        rows = getattr(self, name)
        if not len(rows):
            raise JaxtagError(f"the {name} part of {self.path} has no posts", "make a split that has some")
        return rows

    def word_ids(self, dataset_words: int, most: int = 0) -> np.ndarray:
        """Table `[dataset_words]` int32 from a dataset word id to the split's: 0 pad, 1 unknown, then `words`.

        Args:
          dataset_words: size of the dataset's vocabulary.
          most: keep only so many of the most used words; 0 keeps all.
        """
        kept = self.words[:most] if most else self.words
        table = np.full(dataset_words, UNKNOWN, np.int32)
        table[0] = 0
        table[kept] = np.arange(FIRST_WORD, FIRST_WORD + len(kept), dtype=np.int32)
        return table

    @property
    def named(self) -> np.ndarray:
        """Dataset ids of every hashtag that the split names: `hashtags`, then the other `candidates`, int32."""
        return np.concatenate([self.hashtags, self.candidates[~np.isin(self.candidates, self.hashtags)]])

    def vectors(self, name: str) -> np.ndarray:
        """Word vectors `[len(words), d]` float32 called `name`, a row for each of `words`.

        Raises:
          JaxtagError: there are none of that name, or they do not fit `words`.
        """
        return self._vectors(name, "words", len(self.words))

    def hashtag_vectors(self, name: str, kind: Kind = "in") -> np.ndarray:
        """Vectors `[len(named), d]` float32 of hashtags, in the order of `named`: the first are those of labels.

        They are from the word vectors called `name`, of a `kind` (`jaxtag.data.hashtags.of_kind`); a hashtag without
        one, listed in vectors.json, has zeros.

        Raises:
          JaxtagError: there are none of that name and kind, or they do not fit `named`.
        """
        check_kind(self.vectors_path(name), self.vectors_info(name), kind)
        files = {"in": "hashtags", "out": "hashtags_output"}
        return of_kind(kind, lambda which: self._vectors(name, files[which], len(self.named)))

    def word_vectors(self, name: str, kind: Kind = "in") -> tuple[np.ndarray, np.ndarray]:
        """Vectors of all words of the dataset, those that the split does not count among them.

        They are of the same training as `vectors`: inductive ones have seen no text of a test.

        Returns:
          `[dataset words, d]` float32 by dataset word id, zeros for a word without a vector, as reserved ids are; and
          which have one, bool `[dataset words]`.

        Raises:
          JaxtagError: there are none of that name and kind.
        """
        words = vocabulary.load(self.path.parents[1] / "vocabulary" / "words.txt").entries
        rows, has = rows_of(words[FIRST_WORD:], open_table(self.vectors_path(name), kind))
        none = np.zeros((FIRST_WORD, rows.shape[1]), np.float32)
        return np.concatenate([none, rows]), np.concatenate([np.zeros(FIRST_WORD, bool), has])

    def vectors_path(self, name: str) -> Path:
        """The folder of the word vectors called `name`.

        Raises:
          JaxtagError: there are none of that name.
        """
        folder = self.path / "vectors" / name
        if Path(name).name != name or not folder.is_dir():
            there = sorted(p.name for p in (self.path / "vectors").glob("*") if (p / "vectors.json").is_file())
            how = f"--setting {name}" if name in SETTINGS else f"--file FILE --name {name}"
            raise JaxtagError(
                f"{self.path} has no word vectors {name!r} (it has: {', '.join(there) or 'none'})",
                f"jaxtag-prep vectors --data {self.path.parents[1]} --split {self.name} {how}",
            )
        return folder

    def vectors_info(self, name: str) -> dict[str, Any]:
        """What vectors.json says of the word vectors called `name`.

        Raises:
          JaxtagError: there are none of that name.
        """
        return described(self.vectors_path(name) / "vectors.json", "description of word vectors", VECTORS, AGAIN)

    def _vectors(self, name: str, which: str, rows: int) -> np.ndarray:
        folder, info = self.vectors_path(name), self.vectors_info(name)
        if f"{which}.npy" not in info["files"]:
            raise JaxtagError(f"{folder} has no {which}.npy: an older version made it", AGAIN)
        check_seal(folder, info["files"], AGAIN)
        table = columns.load(folder / f"{which}.npy")
        if table.ndim != 2 or len(table) != rows:
            raise JaxtagError(f"{folder} has {len(table)} rows where the split has {rows} {which}", AGAIN)
        return table

    def topics(self) -> np.ndarray:
        """Topic proportions `[dataset rows, K]` float16 of every post.

        Raises:
          JaxtagError: the split has none, or the file is damaged.
        """
        folder, make = self.path / "topics", f"jaxtag-prep topics --data {self.path.parents[1]} --split {self.name}"
        if not (folder / "topics.json").is_file():
            raise JaxtagError(f"{self.path} has no topics", make)
        info = described(folder / "topics.json", "description of topics", {"proportions": SEALED.kind}, make)
        check_seal(self.path, {"topics.npy": info["proportions"]}, make)
        return columns.load(self.path / "topics.npy")


@dataclass(frozen=True)
class Dataset:
    """A dataset folder, opened and checked.

    Attributes:
      path: the folder.
      info: dataset.json.
    """

    path: Path
    info: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Identifies the dataset's contents and settings."""
        return self.info["fingerprint"]

    @property
    def rows(self) -> int:
        """How many posts it keeps."""
        return self.info["posts"]

    @cached_property
    def words(self) -> vocabulary.Vocabulary:
        """Every word seen, reserved entries first, then most used first."""
        return vocabulary.load(self.path / "vocabulary" / "words.txt")

    @cached_property
    def hashtags(self) -> vocabulary.Vocabulary:
        """Every hashtag seen, without '#', most used first."""
        return vocabulary.load(self.path / "vocabulary" / "hashtags.txt")

    def has(self, name: str) -> bool:
        """Whether the dataset has column `name`."""
        return name in self.info["columns"] and name in COLUMNS

    def column(self, name: str) -> Any:
        """Column `name`: an array, or a `Ragged`.

        Raises:
          JaxtagError: the dataset lacks it; the message gives the command that adds it.
        """
        if not self.has(name):
            raise JaxtagError(
                f"{self.path} has no column {name!r} (it has: {', '.join(self.info['columns'])})",
                f"add it with {COLUMNS[name].made_by}" if name in COLUMNS else nearest(name, COLUMNS),
            )
        return columns.read(self.path / "columns", name)

    def text(self, rows: np.ndarray) -> list[str]:
        """The source texts of `rows`."""
        data, offsets = self._text
        return [bytes(data[offsets[r] : offsets[r + 1]]).decode("utf-8", "replace") for r in rows]

    def split(self, name: str = "") -> Split:
        """The split called `name`; with no name, the one that preparing made (`default`), or the only one.

        Raises:
          JaxtagError: there is no such split, it belongs to another dataset, or its files are damaged.
        """
        there = sorted(p.parent.name for p in (self.path / "splits").glob("*/split.json"))
        name = name or (there[0] if len(there) == 1 else "default")
        path = self.path / "splits" / name
        if name not in there:
            raise JaxtagError(
                f"{self.path} has no split {name!r} (it has: {', '.join(there) or 'none'})",
                f"make one with jaxtag-prep split --data {self.path} --name {name}",
            )
        mend = "delete it and make the split again with jaxtag-prep split"
        info = versioned(path / "split.json", "split", SPLIT_FORMAT, SPLIT, mend)
        if info["dataset"] != self.fingerprint:
            raise JaxtagError(
                f"{path} was made for dataset {info['dataset']}, this one is {self.fingerprint}",
                "make the split again with jaxtag-prep split",
            )
        check_seal(path, info["files"], "make the split again with jaxtag-prep split")
        arrays = {
            key: np.array(columns.load(path / f"{key}.npy")) for key in (*PARTS, "hashtags", "candidates", "words")
        }
        if len(arrays["train"]) == 0 or len(arrays["hashtags"]) < 2:
            raise JaxtagError(
                f"{path} has {len(arrays['train'])} training posts and {len(arrays['hashtags'])} hashtags; "
                "at least 1 and 2 are needed",
                "lower --min-hashtag-posts",
            )
        return Split(name, path, info, **arrays)

    @cached_property
    def _text(self) -> tuple[np.ndarray, np.ndarray]:
        return columns.load(self.path / "text" / "bytes.npy"), columns.load(self.path / "text" / "offsets.npy")


def open_dataset(path: Path | str) -> Dataset:
    """Open the dataset folder at `path` and hold its files against their seal.

    Raises:
      JaxtagError: there is none, its format is newer than ours, or a file is missing or damaged.
    """
    path = Path(path).resolve()
    if not (path / "dataset.json").is_file():
        raise JaxtagError(
            f"{path} is not a dataset folder: it has no dataset.json",
            "make one with jaxtag-prep, for example jaxtag-prep simulate --out DIR --posts 20000",
        )
    mend = "prepare the dataset again with this version"
    info = versioned(path / "dataset.json", "dataset", FORMAT, DATASET, mend)
    check_seal(path, info["files"], "prepare the dataset again")
    return Dataset(path, info)


__all__ = ["PARTS", "Dataset", "Ragged", "Split", "open_dataset"]
