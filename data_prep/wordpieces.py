"""WordPiece for a finished dataset: a vocabulary trained on its texts or given, and the column `wordpieces`.

What is added lies beside what was there, and dataset.json names it in one step at the end: until then the dataset is
what it was. Its fingerprint stays, so that its splits do; what was added has one of its own.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns
from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.data.posts import COLUMNS, FIRST_WORD
from jaxtag.data.text import Cleaner, Cleaning
from jaxtag.data.vocabulary import Vocabulary
from jaxtag.data.wordpieces import CONTINUING, SPECIAL, WordPieces, check, parts
from jaxtag.documents import Each, described, hold
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32, fingerprint, held, new_folder, read_json, write_json

from .progress import Bar
from .workers import ordered

TEXTS = 2_000  # at a time
LEAST_SIZE = 100
MOST_CHARACTERS = 1000  # different ones, the most used
_FILES = ("vocabulary/wordpieces.txt", "columns/wordpieces.values.npy", "columns/wordpieces.offsets.npy")


@dataclass(frozen=True)
class Wanted:
    """Which vocabulary.

    Attributes:
      size: pieces to train, the special ones among them; fewer where the texts do not give so many.
      vocabulary: a vocab.txt, or a folder with one or with a tokenizer.json, to take instead; None trains.
      lower: fold case and accents; None is as the given folder says, else yes.
      min_count: occurrences that two pieces need to be joined.
    """

    size: int = 30522
    vocabulary: Path | None = None
    lower: bool | None = None
    min_count: int = 2

    def __post_init__(self) -> None:
        if self.size < LEAST_SIZE:
            raise JaxtagError(f"--size {self.size} is below {LEAST_SIZE}")
        if self.min_count < 1:
            raise JaxtagError(f"--min-count {self.min_count} is below 1")


def make(data: Path, wanted: Wanted, workers: int = 1) -> dict[str, Any]:
    """Give a dataset the column `wordpieces`, unless it has just this one; another one is replaced.

    Args:
      data: dataset folder.
      wanted: which vocabulary.
      workers: processes that clean and cut text; their number changes no byte.

    Returns:
      What dataset.json says of it under 'added'.

    Raises:
      JaxtagError: no such dataset, another process is at it, or the vocabulary cannot be used.
    """
    dataset = open_dataset(data)
    with held(dataset.path / "columns"):
        settings, entries = _settings(wanted)
        before = dataset.info.get("added", {}).get("wordpieces", {})
        if settings.items() <= before.items():
            return before
        if before:
            _describe(dataset, None, {}, {})  # until the end the dataset has neither
        cleaning = Cleaning.from_json(dataset.info["settings"].get("cleaning"))
        trained = entries or _train(dataset, cleaning, wanted, settings["lower"], workers)
        return _add(dataset, WordPieces(trained, settings["lower"], cleaning), settings, workers)


def _add(dataset: Dataset, pieces: WordPieces, settings: dict[str, Any], workers: int) -> dict[str, Any]:
    """Cut every text, write the files, and name them in dataset.json."""
    counts, lengths = np.zeros(len(pieces.entries), np.int64), []
    with new_folder(dataset.path / "columns" / "wordpieces") as side:
        with open(side / "values", "wb") as values:
            encode = partial(_encode, pieces)
            for ids, sizes in _over(dataset, encode, "cutting texts into pieces", workers):
                values.write(ids.data)
                counts += np.bincount(ids, minlength=len(counts))
                lengths.append(sizes)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([[], *lengths]).astype(np.int64))]).astype(np.int64)
        flat = np.memmap(side / "values", np.int32, "r", shape=(int(offsets[-1]),))
        columns.write(side, "wordpieces", flat, offsets)
        Vocabulary(pieces.entries, tuple(counts.tolist())).save(side / "wordpieces.txt")
        del flat
        for name in _FILES:
            (side / Path(name).name).replace(dataset.path / name)
        (side / "values").unlink()
    (dataset.path / "columns" / "wordpieces").rmdir()
    files = {name: {"bytes": (p := dataset.path / name).stat().st_size, "crc32": crc32(p)} for name in _FILES}
    column = COLUMNS["wordpieces"]
    described = {"dtype": column.dtype, "ragged": True, "width": 0, "rows": dataset.rows, "values": int(offsets[-1])}
    unknown = int(counts[pieces.entries.index("[UNK]")])
    added = settings | {"pieces": len(pieces.entries), "values": int(offsets[-1]), "unknown": unknown}
    added["fingerprint"] = fingerprint({"dataset": dataset.fingerprint, "files": files, "settings": settings})
    _describe(dataset, described, files, {"wordpieces": added})
    return added


def _describe(dataset: Dataset, column: dict[str, Any] | None, files: dict[str, Any], added: dict[str, Any]) -> None:
    """Write dataset.json with `column` and `files` in place of what it had of wordpieces; with None, without any."""
    info = read_json(dataset.path / "dataset.json", "dataset description")
    info["columns"] = {name: value for name, value in info["columns"].items() if name != "wordpieces"}
    info["files"] = {name: value for name, value in info["files"].items() if name not in _FILES} | files
    info["added"] = {name: value for name, value in info.get("added", {}).items() if name != "wordpieces"} | added
    if column:
        info["columns"]["wordpieces"] = column
    write_json(dataset.path / "dataset.json", info)


def _settings(wanted: Wanted) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the column depends on beside the dataset, and the given pieces."""
    lower = True if wanted.lower is None else wanted.lower
    if wanted.vocabulary is None:
        return {"size": wanted.size, "min_count": wanted.min_count, "lower": lower}, ()
    path = wanted.vocabulary
    if path.is_dir():
        config = path / "tokenizer_config.json"
        if wanted.lower is None and config.is_file():
            lower = (
                described(config, "description of a tokenizer", {"do_lower_case?": bool}).get("do_lower_case")
                is not False
            )
        path = path / "vocab.txt" if (path / "vocab.txt").is_file() else path / "tokenizer.json"
    if not path.is_file():
        raise JaxtagError(f"no vocabulary at {wanted.vocabulary}", "give a vocab.txt, or a folder that has one")
    entries = _json_pieces(path) if path.suffix == ".json" else _text_pieces(path)
    check(entries, path)
    return {"vocabulary": {"name": path.name, "crc32": crc32(path), "pieces": len(entries)}, "lower": lower}, entries


def _text_pieces(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise JaxtagError(f"{path} is not UTF-8: {error}", "give a WordPiece vocabulary, one piece a line") from None
    return tuple(line.removesuffix("\r") for line in lines)


def _json_pieces(path: Path) -> tuple[str, ...]:
    mend = "give a WordPiece vocabulary"
    model = described(path, "tokenizer", {"model": dict}, mend)["model"]
    if model.get("type", "WordPiece") != "WordPiece":
        raise JaxtagError(f"{path} is of kind {model['type']!r:.40}, not WordPiece", mend)
    hold(model, {"vocab": Each(int)}, path, mend, "model")
    ids = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise JaxtagError(f"{path} does not number its {len(ids)} pieces from 0 on", "give a vocab.txt")
    return tuple(sorted(ids, key=ids.__getitem__))


def _over(dataset: Dataset, function: Any, what: str, workers: int) -> Iterator[Any]:
    """`function` of the source texts, some at a time."""
    starts = range(0, dataset.rows, TEXTS)
    texts = (dataset.text(np.arange(start, min(start + TEXTS, dataset.rows))) for start in starts)
    with Bar(what, len(starts)) as bar:
        yield from bar.over(ordered(function, texts, workers), lambda _: 1)


def _encode(pieces: WordPieces, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    ids = pieces(texts)
    return np.fromiter(chain.from_iterable(ids), np.int32), np.array([len(some) for some in ids], np.int64)


def _shown(cleaning: Cleaning, texts: list[str]) -> list[str]:
    cleaner = Cleaner(cleaning)
    return [cleaner(text).shown for text in texts]


def _train(dataset: Dataset, cleaning: Cleaning, wanted: Wanted, lower: bool, workers: int) -> tuple[str, ...]:
    """Pieces trained on the dataset's texts: the special ones, single characters, then joined ones in their order.

    Raises:
      JaxtagError: there is nothing to train on.
    """
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = parts(lower)
    characters = _characters(dataset, cleaning, tokenizer.normalizer, min(MOST_CHARACTERS, wanted.size // 4))
    trainer = trainers.WordPieceTrainer(
        vocab_size=wanted.size,
        min_frequency=wanted.min_count,
        # Left to itself the trainer numbers characters inside words as its hash map happens to order them, and joins
        # pieces of equal counts by those numbers: no two runs are alike. What is special has numbers in this order.
        special_tokens=[*SPECIAL, *characters, *(CONTINUING + character for character in characters)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        continuing_subword_prefix=CONTINUING,
        show_progress=False,
    )
    texts = _over(dataset, partial(_shown, cleaning), "training a WordPiece vocabulary", workers)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab(with_added_tokens=True)
    if len(ids) <= len(SPECIAL):
        raise JaxtagError(f"{dataset.path} has no text to train a vocabulary on", "give one with --vocabulary")
    return tuple(sorted(ids, key=ids.__getitem__))


def _characters(dataset: Dataset, cleaning: Cleaning, normalizer: Any, most: int) -> list[str]:
    """The `most` used characters of the dataset's words, in order of their code points."""
    counts = Counter[str]()
    words = zip(
        (*dataset.words.entries[FIRST_WORD:], *cleaning.stop_words),
        (*dataset.words.counts[FIRST_WORD:], *[1] * len(cleaning.stop_words)),
    )
    for word, count in words:
        for character in normalizer.normalize_str(word):
            counts[character] += count
    used = sorted((c for c in counts if not c.isspace()), key=lambda character: (-counts[character], character))
    return sorted(used[:most])
