"""Splits: which posts are examples, which hashtags are kept, and a seeded random division of them.

The filters here keep a post from being an example; it stays in the columns, in its author's history.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import PARTS, Dataset, open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError
from jaxtag.files import fingerprint, new_folder, read_json, seal, write_json

from . import funnel as funnels
from .funnel import Funnel
from .presets import PRESETS
from .rule import Rule

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Examples:
    """The posts that a rule lets be examples: `rows` sorted, and the kept `hashtags`, most used first."""

    rows: np.ndarray
    hashtags: np.ndarray
    funnel: Funnel


def make(data: Path, name: str, rule: Rule) -> dict[str, Any]:
    """Make split `name` of the dataset at `data`, unless it is there already.

    Returns:
      split.json.

    Raises:
      JaxtagError: the name is no name of a folder, another rule made a split of that name, or nothing is left.
    """
    if not _NAME.fullmatch(name) or name.endswith((".partial", ".old")):
        raise JaxtagError(f"{name!r} is no name for a split", "use letters, digits, '.', '_' and '-'")
    dataset = open_dataset(data)
    path = data / "splits" / name
    if (path / "split.json").is_file():
        info = read_json(path / "split.json", "split description")
        if info | _rule(rule) == info and info["dataset"] == dataset.fingerprint:
            return dataset.split(name).info
        raise JaxtagError(f"{path} is there, made by another rule", "choose another --name, or delete it")
    length = np.array(columns.load(data / "text" / "length.npy"))
    examples = choose(dataset.column("hashtags"), length, len(dataset.hashtags), rule)
    parts = divide(examples.rows, rule)
    words = training_words(dataset.column("tokens"), parts["train"], len(dataset.words), rule.min_word_count)
    if not len(parts["train"]):
        raise JaxtagError(f"no training post among {len(examples.rows)} examples", "give more posts")
    (data / "splits").mkdir(exist_ok=True)
    with new_folder(path) as folder:
        arrays = parts | {"hashtags": examples.hashtags, "candidates": examples.hashtags, "words": words}
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array.astype(np.int32))
        info = _describe(dataset, name, rule, arrays, examples.funnel, seal(folder))
        write_json(folder / "split.json", info)
    return info


def choose(hashtags: Ragged, length: np.ndarray, known: int, rule: Rule) -> Examples:
    """The examples of a rule, and its hashtags.

    Args:
      hashtags: the column of dataset hashtag ids.
      length: how many words each post counts.
      known: size of the dataset's vocabulary of hashtags.
      rule: thresholds, and one or all hashtags.

    Raises:
      JaxtagError: no post, or fewer than two hashtags are left.
    """
    counts = hashtags.lengths()
    funnel = Funnel().add("posts of the dataset", len(counts)).add(funnels.WITH_HASHTAG, int((counts > 0).sum()))
    long = length >= rule.min_words
    funnel = funnel.add(f"at least {rule.min_words} words", int((long & (counts > 0)).sum())).check()
    row = np.repeat(np.arange(len(counts)), counts)
    used = np.bincount(hashtags.values[long[row]], minlength=known)
    kept = by_use(used)
    kept = kept[used[kept] >= rule.min_hashtag_posts]
    step = f"with a hashtag of at least {rule.min_hashtag_posts} posts"
    if rule.top and len(kept) > rule.top:
        kept, step = kept[: rule.top], f"{step}, the {rule.top} most used"
    is_kept = np.zeros(known, bool)
    is_kept[kept] = True
    many = np.bincount(row[is_kept[hashtags.values]], minlength=len(counts))
    example = long & (many >= 1)
    funnel = funnel.add(step, int(example.sum())).check(f"; the most used hashtag has {used.max(initial=0)}")
    if rule.per_post == "one":
        example &= many == 1
        funnel = funnel.add("exactly one such hashtag", int(example.sum())).check()
    used = np.bincount(hashtags.values[example[row] & is_kept[hashtags.values]], minlength=known)
    kept = by_use(used)
    if len(kept) < 2:
        raise JaxtagError(
            f"only {len(kept)} hashtag is left after step {step!r}; at least 2 are needed", "lower --min-hashtag-posts"
        )
    return Examples(np.flatnonzero(example), kept, funnel)


def divide(rows: np.ndarray, rule: Rule) -> dict[str, np.ndarray]:
    """`rows` at random into train, validation and test, each sorted."""
    shuffled = np.random.default_rng(rule.seed).permutation(rows)
    ends = np.rint(np.cumsum(rule.fractions) * len(rows)).astype(np.int64)
    starts = (0, *ends[:-1])
    return {part: np.sort(shuffled[a:b]) for part, a, b in zip(PARTS, starts, ends)}


def training_words(tokens: Ragged, train: np.ndarray, known: int, least: int) -> np.ndarray:
    """Dataset word ids that occur at least `least` times in posts `train`, most used first."""
    is_train = np.zeros(len(tokens), bool)
    is_train[train] = True
    counts = np.bincount(tokens.values[np.repeat(is_train, tokens.lengths())], minlength=known)
    counts[:FIRST_WORD] = 0
    ids = by_use(counts)
    return ids[counts[ids] >= least]


def by_use(counts: np.ndarray) -> np.ndarray:
    """Ids with a count, most used first; ties in order of id."""
    ids = np.flatnonzero(counts)
    return ids[np.argsort(-counts[ids], kind="stable")]


def default_rule(dataset: Dataset) -> Rule:
    """The rule that made the dataset's split `default`, or its preset's where there is no such split."""
    path = dataset.path / "splits" / "default" / "split.json"
    if not path.is_file():
        return PRESETS[dataset.info["preset"]].split
    info = read_json(path, "split description")
    return Rule(
        **info["thresholds"], per_post=info["hashtags_per_post"], fractions=tuple(info["fractions"]), seed=info["seed"]
    )


def _rule(rule: Rule) -> dict[str, Any]:
    """The rule as split.json has it."""
    return {
        "rule": "random",
        "seed": rule.seed,
        "fractions": list(rule.fractions),
        "hashtags_per_post": rule.per_post,
        "thresholds": {
            "min_words": rule.min_words,
            "min_hashtag_posts": rule.min_hashtag_posts,
            "top": rule.top,
            "min_word_count": rule.min_word_count,
        },
    }


def _describe(
    dataset: Dataset, name: str, rule: Rule, arrays: dict[str, np.ndarray], funnel: Funnel, files: dict[str, Any]
) -> dict[str, Any]:
    """split.json."""
    info = {"format": FORMAT, "name": name, "dataset": dataset.fingerprint} | _rule(rule)
    info |= {"counts": {key: len(array) for key, array in arrays.items()}, "funnel": funnel.to_json()}
    return info | {"fingerprint": fingerprint({"split": info, "files": files}), "files": files}
