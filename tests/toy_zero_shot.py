"""The toy posts with word vectors and a split of unseen hashtags, written directly."""

from pathlib import Path

import numpy as np

from jaxtag.data.dataset import SPLIT_FORMAT, open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.data.text import Cleaning
from jaxtag.data.unseen import has
from jaxtag.files import fingerprint, new_folder, read_json, seal, write_json
from tests import toy

UNSEEN, DIM = 3, 8  # the last hashtags are unseen; numbers of a vector
EXTRA = {"extra": 5, "naïve": 6, "日本": 7}  # words that are no hashtag of the dataset, and whose toy hashtag they mean


def make(path: Path, posts: int = 400, one: bool = True, shots: int = 0, missing: tuple[str, ...] = ()) -> Path:
    """The toy dataset with the split `zero`: posts of the last hashtags are tested on, but for `shots` of each.

    Word vectors `inductive` say what a word speaks for, and so do the hashtags', but for those `missing`.
    """
    toy.make(path, posts, one=one)
    info = read_json(path / "dataset.json", "dataset")
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    make_split(path, posts, shots=shots)
    make_vectors(path, missing=missing)
    return path


def make_split(path: Path, posts: int, name: str = "zero", shots: int = 0, words: int = toy.WORDS) -> None:
    """A split of the toy dataset at `path` with its first `words`; a post of both kinds of hashtags is in no part."""
    dataset = open_dataset(path)
    column, every = dataset.column("hashtags"), np.arange(posts, dtype=np.int32)
    unseen = np.arange(toy.HASHTAGS - UNSEEN, toy.HASHTAGS, dtype=np.int32)
    seen = np.arange(toy.HASHTAGS - UNSEEN, dtype=np.int32)
    new, old = (has(column, every, which, toy.HASHTAGS) for which in (unseen, seen))
    test = every[new.any(1) & ~old.any(1)]
    few = np.unique([test[np.flatnonzero(new[test, i])[:shots]] for i in range(UNSEEN)]).astype(np.int32)
    known = every[old.any(1) & ~new.any(1)]
    hashtags = np.arange(toy.HASHTAGS, dtype=np.int32) if shots else seen
    arrays = {
        "train": np.sort(np.concatenate([known[len(known) // 5 :], few])),
        "validation": known[: len(known) // 5],
        "test": np.setdiff1d(test, few),
        "hashtags": hashtags,
        "candidates": unseen,
        "words": np.arange(FIRST_WORD, FIRST_WORD + words),
    }
    info = read_json(path / "splits" / "default" / "split.json", "split")
    with new_folder(path / "splits" / name) as side:
        for key, array in arrays.items():
            np.save(side / f"{key}.npy", array.astype(np.int32))
        named = {"seen": [f"tag{i}" for i in seen], "unseen": [f"tag{i}" for i in unseen]}
        files = seal(side)
        own = {"name": name, "files": files, "fingerprint": fingerprint([dataset.fingerprint, files])}
        write_json(side / "split.json", info | named | own | {"format": SPLIT_FORMAT, "dataset": dataset.fingerprint})


def make_vectors(
    path: Path,
    split: str = "zero",
    name: str = "inductive",
    missing: tuple[str, ...] = (),
    seed: int = 0,
    output: bool = False,
) -> None:
    """Vectors of the toy's words, of its hashtags `tag<i>` by `#tag<i>`, and of the words in `EXTRA`.

    With `output` each also has an output vector of the same meaning.
    """
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(toy.HASHTAGS, DIM))
    words = [toy.word(FIRST_WORD + i) for i in range(toy.WORDS)]
    means = [(FIRST_WORD + i) % toy.HASHTAGS for i in range(toy.WORDS)]
    # Word w speaks for hashtag (w − FIRST_WORD) mod HASHTAGS, as `toy.make` has it.
    means = [(m - FIRST_WORD) % toy.HASHTAGS for m in means]
    tags = [i for i in range(toy.HASHTAGS) if f"tag{i}" not in missing]
    names = [*words, *(f"#tag{i}" for i in tags), *EXTRA]
    about = np.array([*means, *tags, *EXTRA.values()])
    rows = (meaning[about] + 0.3 * rng.normal(size=(len(names), DIM))).astype(np.float32)
    found = open_dataset(path).split(split)
    index = {n: i for i, n in enumerate(names)}
    given = {"": rows}
    if output:
        given["_output"] = (0.4 * meaning[about] + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)
    hashtags = {ending: np.zeros((len(found.named), DIM), np.float32) for ending in given}
    for i, h in enumerate(found.named):
        for ending, table in given.items():
            if f"#tag{h}" in index:
                hashtags[ending][i] = table[index[f"#tag{h}"]]
    with new_folder(found.path / "vectors" / name) as side:
        np.save(side / "words.npy", rows[: len(found.words)])
        for ending, table in given.items():
            np.save(side / (ending[1:] or "table"), table)
            np.save(side / f"hashtags{ending}", hashtags[ending])
        (side / "names.txt").write_text("".join(n + "\n" for n in names), encoding="utf-8")
        write_json(side / "vectors.json", {"format": 2, "setting": name, "files": seal(side)})
