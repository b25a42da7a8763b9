"""Word vectors of a split, in named settings that are never mixed: trained here by gensim, or given.

    inductive      no text of a validation or test post, nor of a post with an unseen hashtag; no hashtag in them
    transductive   every text, its hashtags in their places as `#x`, as the papers do; gives hashtags vectors too; the
                   same for every split, so that only the first one's are trained
    pretrained     a file's, whatever they were trained on

The words are those that systems read: a stop word that is no token has no vector and is in no window. A folder
holds words.npy (a row for each of the split's words), names.txt and table.npy (every word that has a vector: what
hashtags named only later are looked up in), hashtags.npy (a row for each of the split's `named` hashtags) with
hashtags.txt (how each got it), subwords.npy (of fastText) and vectors.json. Trained ones have output.npy and
hashtags_output.npy too: the output vectors (`jaxtag.data.hashtags`), row by row beside table.npy and hashtags.npy.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.data.hashtags import HOW, VECTORS, WordTable, means, open_table, pieces, rows_of, segment, vectors_of
from jaxtag.documents import described
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32, new_folder, seal, write_json

from . import vector_files
from .progress import Bar
from .vector_training import Tokens, Training, train, with_hashtags

FORMAT = 2
MOST_WORDS = 1_000_000  # of a file, kept beside those that the dataset has
_SENTENCES = "sentences.txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def make(data: Path, split_name: str, training: Training, workers: int = 1, name: str = "") -> dict[str, Any]:
    """Train word vectors for a split; earlier ones of that name are replaced.

    Args:
      data: dataset folder.
      split_name: of the split; '' is its default one.
      training: how.
      workers: gensim's threads; only with 1 do two runs give the same bytes.
      name: of the vectors; '' is that of the setting.

    Returns:
      vectors.json.

    Raises:
      JaxtagError: no such dataset or split, a name that is none, or no word is frequent enough.
    """
    dataset, split, folder = _place(data, split_name, name or training.setting)
    with new_folder(folder) as side:
        table = _of_another_split(dataset, folder, training) if workers == 1 else None
        if table is None:
            if training.setting == "inductive":
                texts: Iterable[list[str]] = Tokens(dataset, inductive_rows(dataset, split))
            else:
                texts = with_hashtags(dataset, side / _SENTENCES, workers)
            table = train(texts, training, workers)
            (side / _SENTENCES).unlink(missing_ok=True)
        np.save(side / "table.npy", table.rows)
        if table.output is not None:
            np.save(side / "output.npy", table.output)
        info: dict[str, Any] = asdict(training) | {"workers": workers, "trained": len(table.names)}
        if table.subwords:
            np.save(side / "subwords.npy", table.subwords.rows)
            info["subwords"] = {"shortest": table.subwords.shortest, "longest": table.subwords.longest}
        return _store(side, dataset, split, table, training.seed, info)


def load(
    data: Path, split_name: str, file: Path, name: str = "", most_words: int = MOST_WORDS, max_bad: float = 0.01
) -> dict[str, Any]:
    """Take word vectors for a split from a file; earlier ones of that name are replaced.

    Args:
      data: dataset folder.
      split_name: of the split; '' is its default one.
      file: word2vec, GloVe or fastText, as `vector_files` tells them.
      name: of the vectors; '' is 'pretrained'.
      most_words: keep so many of the file's first words, beside those of the dataset and of its hashtags.
      max_bad: the largest fraction of bad lines to put up with.

    Returns:
      vectors.json.

    Raises:
      JaxtagError: no such dataset or split, a name that is none, or the file cannot be used.
    """
    if most_words < 1:
        raise JaxtagError(f"--most-words {most_words} is below 1")
    if not 0 <= max_bad <= 1:
        raise JaxtagError(f"--max-bad {max_bad} is not between 0 and 1")
    dataset, split, folder = _place(data, split_name, name or "pretrained")
    with new_folder(folder) as side:
        given = vector_files.read(file, side, _needed(dataset), most_words, max_bad)
        table = WordTable(tuple(given.names), np.load(side / "table.npy", mmap_mode="r"), given.subwords)
        source = {"name": file.name, "bytes": file.stat().st_size, "crc32": crc32(file), "kind": given.kind}
        info: dict[str, Any] = {"setting": "pretrained", "file": source, "dim": given.dim}
        info |= {"read": given.read, "kept": len(given.names), "bad": given.bad, "bad_lines": given.lines}
        if given.subwords:
            info["subwords"] = {"shortest": given.subwords.shortest, "longest": given.subwords.longest}
        return _store(side, dataset, split, table, 0, info)


def _of_another_split(dataset: Dataset, folder: Path, training: Training) -> WordTable | None:
    """What the same training gave another split, where it is transductive: such vectors depend on no split."""
    wanted = asdict(training) | {"workers": 1, "dataset": dataset.fingerprint, "format": FORMAT}
    for path in sorted(dataset.path.glob("splits/*/vectors/*/vectors.json")):
        info = described(path, "description of word vectors", VECTORS) if training.setting == "transductive" else {}
        same = all(info.get(key) == value for key, value in wanted.items()) and "output.npy" in info["files"]
        if path.parent != folder and same:
            return open_table(path.parent)
    return None


def inductive_rows(dataset: Dataset, split: Split) -> np.ndarray:
    """Rows whose texts vectors may be trained on without seeing a test, sorted.

    Those of no validation or test post, and of no post with an unseen hashtag (one that split.json calls so, or a
    candidate that is not trained on), but that every training post counts: a few-shot split's few are among them.
    """
    hashtags = dataset.column("hashtags")
    unseen = np.zeros(len(dataset.hashtags), bool)
    unseen[split.named[len(split.hashtags) :]] = True
    unseen[[dataset.hashtags.ids[name] for name in split.info.get("unseen", ())]] = True
    allowed = np.ones(dataset.rows, bool)
    allowed[np.repeat(np.arange(dataset.rows), hashtags.lengths())[unseen[hashtags.values]]] = False
    allowed[split.train] = True
    allowed[split.validation] = False
    allowed[split.test] = False
    return np.flatnonzero(allowed)


def _place(data: Path, split_name: str, name: str) -> tuple[Dataset, Split, Path]:
    """The dataset, the split, and the folder for its vectors `name`."""
    if not _NAME.fullmatch(name) or name.endswith((".partial", ".old")):
        raise JaxtagError(f"{name!r} is no name for word vectors", "use letters, digits, '.', '_' and '-'")
    dataset = open_dataset(data)
    split = dataset.split(split_name)
    return dataset, split, split.path / "vectors" / name


def _needed(dataset: Dataset) -> set[str]:
    """What to keep of a file wherever it stands: the dataset's words and hashtags, and what those are made of."""
    hashtags = dataset.hashtags.entries
    needed = {*dataset.words.entries, *hashtags, *("#" + hashtag for hashtag in hashtags)}
    for hashtag in hashtags:
        needed.update(pieces(hashtag))
        needed.update(segment(hashtag))
    return needed


def _store(
    side: Path, dataset: Dataset, split: Split, table: WordTable, seed: int, info: dict[str, Any]
) -> dict[str, Any]:
    """Write what a folder of vectors holds beside table.npy, output.npy and subwords.npy.

    Returns:
      vectors.json.
    """
    with open(side / "names.txt", "w", encoding="utf-8", newline="\n") as file:
        file.writelines(name + "\n" for name in table.names)
    words, missing, guessed = _word_rows([dataset.words.entries[i] for i in split.words], table, seed)
    np.save(side / "words.npy", words)
    hashtags = [dataset.hashtags.entries[i] for i in split.named]
    with Bar("vectors of hashtags", len(hashtags)) as bar:
        found = vectors_of(hashtags, table, bar.to)
    np.save(side / "hashtags.npy", found.vectors)
    if table.output is not None:
        parts = [[table.index[part] for part in parts] for parts in found.parts]
        np.save(side / "hashtags_output.npy", means(table.output, parts))
    with open(side / "hashtags.txt", "w", encoding="utf-8", newline="\n") as file:
        for hashtag, how, parts in zip(hashtags, found.how, found.parts):
            file.write(f"{hashtag}\t{HOW[how]}\t{' '.join(parts)}\n")
    described = {"format": FORMAT, "dataset": dataset.fingerprint, "split": split.fingerprint} | info
    described |= {"output": table.output is not None}
    described |= {"words": len(words), "words_without": missing, "words_by_subwords": guessed}
    described["hashtags"] = found.counts()
    described["hashtags_without"] = [h for h, how in zip(hashtags, found.how) if HOW[how] == "none"]
    described["files"] = seal(side)
    write_json(side / "vectors.json", described)
    return described


def _word_rows(names: list[str], table: WordTable, seed: int) -> tuple[np.ndarray, int, int]:
    """A row `[dim]` for each name: of the table, else by its subwords, else small and random, from the seed.

    Returns:
      The rows, how many are random, and how many by subwords.
    """
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-0.5 / table.dim, 0.5 / table.dim, (len(names), table.dim)).astype(np.float32)
    found, has = rows_of(names, table)
    rows[has] = found[has]
    missing = int((~has).sum())
    return rows, missing, sum(name not in table.index for name in names) - missing
