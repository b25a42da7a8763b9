"""Splits as folders: examples chosen and divided by a rule, the words of the training part, and the leakage audit."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import PARTS, SPLIT_FORMAT, Dataset, open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.documents import described
from jaxtag.errors import JaxtagError
from jaxtag.files import fingerprint, new_folder, seal, write_json

from . import audit, divisions, near, unseen
from .choosing import FOLDS, Examples, by_use, choose, rng_of
from .flat import take
from .presets import PRESETS
from .rule import Rule
from .unseen import Divided

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of splits, and of other folders that users name


@dataclass(frozen=True)
class Work:
    """What the splits of one rule share, made once: all folds have the same examples."""

    dataset: Dataset
    rule: Rule

    @cached_property
    def examples(self) -> Examples:
        """The rule's examples."""
        length = np.array(columns.load(self.dataset.path / "text" / "length.npy"))
        image = np.asarray(self.dataset.column("image")) if self.rule.with_image else None
        return choose(self.dataset.column("hashtags"), length, len(self.dataset.hashtags), self.rule, image)

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """The groups of near-copies among the examples, for each likeness that the audit asks."""
        tokens = take(self.dataset.column("tokens"), self.examples.rows)
        return [near.copies(tokens, likeness) for likeness in audit.LIKENESSES]


def make(data: Path, name: str, rule: Rule) -> dict[str, Any]:
    """Make split `name` of the dataset at `data`, unless it is there already.

    Returns:
      split.json.

    Raises:
      JaxtagError: the name is no name of a folder, another rule made a split of that name, the dataset lacks a
        column that the rule needs, or nothing is left.
    """
    dataset = open_dataset(data)
    return _make(Work(dataset, rule), name, rule)


def make_folds(data: Path, name: str, rule: Rule) -> list[dict[str, Any]]:
    """Make the splits `name`-0, `name`-1, … of a rule with folds; as `make` each.

    Returns:
      The split.json of each.
    """
    work = Work(open_dataset(data), rule)
    return [_make(work, f"{name}-{fold}", replace(rule, fold=fold)) for fold in range(rule.folds)]


def _make(work: Work, name: str, rule: Rule) -> dict[str, Any]:
    if not NAME.fullmatch(name) or name.endswith((".partial", ".old")):
        raise JaxtagError(f"{name!r} is no name for a split", "use letters, digits, '.', '_' and '-'")
    dataset = work.dataset
    path = dataset.path / "splits" / name
    if (path / "split.json").is_file():
        info = described(path / "split.json", "split description", {})
        if info.get("format") == SPLIT_FORMAT and info.get("rule") != rule.to_json():
            raise JaxtagError(f"{path} is there, made by another rule", "choose another --name, or delete it")
        if info.get("format") == SPLIT_FORMAT and info.get("dataset") != dataset.fingerprint:
            raise JaxtagError(f"{path} was made for another dataset than {dataset.path} now holds", "delete it first")
        return dataset.split(name).info
    divided = divide(dataset, work.examples, rule)
    rows = work.examples.rows
    parts = {part: rows[divided.part == i] for i, part in enumerate(PARTS)}
    words = training_words(dataset.column("tokens"), parts["train"], len(dataset.words), rule.min_word_count)
    for part in ("train", "test")[: 2 if rule.folds else 1]:
        if not len(parts[part]):
            raise JaxtagError(f"no {part} post among {len(rows)} examples", "give more posts")
    found = audit.audit(dataset, rows, divided.part, work.groups, divided.candidates, divided.unseen, rule.shots[1] > 0)
    (dataset.path / "splits").mkdir(exist_ok=True)
    with new_folder(path) as folder:
        arrays = parts | {"hashtags": divided.hashtags, "candidates": divided.candidates, "words": words}
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array.astype(np.int32))
        info = _describe(dataset, name, rule, divided, {k: len(a) for k, a in arrays.items()}, seal(folder))
        info["audit"] = found
        write_json(folder / "split.json", info)
    return info


def divide(dataset: Dataset, examples: Examples, rule: Rule) -> Divided:
    """Examples divided by `rule`.

    Raises:
      JaxtagError: the dataset lacks a column that the rule needs, or no post is left in a part that needs some.
    """
    posts = len(examples.rows)
    need = {name: np.asarray(dataset.column(name)) for name in ("time", "author") if rule.division == name}
    time, author = (need[name][examples.rows] if name in need else np.zeros(posts, int) for name in ("time", "author"))
    if rule.has_unseen:
        which = unseen.labels_unseen(examples, rule, dataset.hashtags, dataset.column("hashtags"), need.get("time"))
        return unseen.divide(examples, *which, rule, time, author)
    borders: dict[str, int] = {}
    rng = np.random.default_rng(rule.seed)
    if rule.folds:
        part = _fold(examples, rule, author)
    elif rule.division == "time":
        part, times = divisions.by_time(time, rule.fractions)
        borders = {"validation": times[0], "test": times[1]}
    elif rule.division == "author":
        part = divisions.by_author(author, rule.fractions, rng)
    else:
        part = divisions.at_random(posts, rule.fractions, rng)
    return Divided(examples, part, examples.hashtags, examples.hashtags, borders)


def _fold(examples: Examples, rule: Rule, author: np.ndarray) -> np.ndarray:
    """The parts of a fold: its share of the examples is tested on, a share of the others validates."""
    everyone, equal = rng_of(rule, FOLDS), [1.0] * rule.folds
    own = np.random.default_rng((rule.seed, FOLDS, rule.fold))
    weights = (1 - rule.validation, rule.validation)
    posts = len(examples.rows)
    if rule.division == "author":
        part = np.where(divisions.by_author(author, equal, everyone) == rule.fold, 2, 0)
        part[part == 0] = divisions.by_author(author[part == 0], weights, own)
        return part
    folds = divisions.stratified(examples.post, examples.label, posts, equal, everyone)
    part = np.where(folds == rule.fold, 2, 0)
    rest = part == 0
    mine = rest[examples.post]
    place = np.cumsum(rest) - 1
    part[rest] = divisions.stratified(place[examples.post[mine]], examples.label[mine], int(rest.sum()), weights, own)
    return part


def training_words(tokens: Ragged, train: np.ndarray, known: int, least: int) -> np.ndarray:
    """Dataset word ids that occur at least `least` times in posts `train`, most used first."""
    is_train = np.zeros(len(tokens), bool)
    is_train[train] = True
    counts = np.bincount(tokens.values[np.repeat(is_train, tokens.lengths())], minlength=known)
    counts[:FIRST_WORD] = 0
    ids = by_use(counts)
    return ids[counts[ids] >= least]


def default_rule(dataset: Dataset) -> Rule:
    """The rule that made the dataset's split `default`, or its preset's where there is no such split."""
    path = dataset.path / "splits" / "default" / "split.json"
    if not path.is_file():
        return PRESETS[dataset.info["preset"]].split
    return Rule.from_json(dataset.split("default").info["rule"])


def _describe(
    dataset: Dataset, name: str, rule: Rule, divided: Divided, counts: dict[str, int], files: dict[str, Any]
) -> dict[str, Any]:
    """split.json but for the audit, which does not identify a split."""
    names = dataset.hashtags.entries
    info = {
        "format": SPLIT_FORMAT,
        "name": name,
        "dataset": dataset.fingerprint,
        "summary": rule.sentence(),
        "rule": rule.to_json(),
        "seed": rule.seed,
        "hashtags_per_post": rule.per_post,
        "thresholds": {k: getattr(rule, k) for k in ("min_words", "min_hashtag_posts", "top", "min_word_count")},
        "caps": {"hashtag_posts": rule.cap},
        "counts": counts,
        "funnel": divided.examples.funnel.to_json(),
    }
    if divided.borders:
        info["borders"] = divided.borders
    if len(divided.unseen):
        info["seen"], info["unseen"] = ([names[h] for h in ids] for ids in (divided.seen, divided.unseen))
    return info | {"fingerprint": fingerprint({"split": info, "files": files}), "files": files}
