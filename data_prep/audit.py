"""The leakage audit of a split: what its training part gives away of the others, counted; stored in split.json.

Some of it must be zero, and is asserted: hashtags left in text, history that reaches forward, training posts of
an unseen hashtag. The rest is what the reader of a result must know.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import PARTS, Dataset

from .flat import take

LIKENESSES = (0.8, 0.5)  # of near-copies (`near.copies`): a word or two changed; most of the post kept
NAMED = 10  # hashtags named in a list of many
_ROWS = 1 << 18  # of the history looked at at a time


def audit(
    dataset: Dataset,
    rows: np.ndarray,
    part: np.ndarray,
    groups: Sequence[np.ndarray],
    candidates: np.ndarray,
    unseen: np.ndarray,
    shots: bool,
) -> dict[str, Any]:
    """The audit as JSON values; shares are of the posts of the part that is named.

    Args:
      dataset: whose columns are looked at; what it lacks is left out.
      rows: row numbers of the split's examples `[n]`.
      part: of each, 0 training, 1 validation, 2 test, −1 none `[n]`.
      groups: of near-copies among these rows, for each of `LIKENESSES`, as `near.copies` gives them `[n]`.
      candidates: dataset ids of what may be recommended.
      unseen: dataset ids of unseen hashtags.
      shots: whether some training posts of theirs are meant.

    Raises:
      AssertionError: something that must be zero is not: a bug.
    """
    found: dict[str, Any] = {
        "near_copies": [
            {"likeness": likeness, **_copied(group, part)} for likeness, group in zip(LIKENESSES, groups, strict=True)
        ]
    }
    rows_of = {name: rows[part == i] for i, name in enumerate(PARTS)}
    found |= _words(dataset, rows_of, candidates) | _hashtags(dataset, rows_of, candidates, unseen, shots)
    if dataset.has("author"):
        found["authors"] = _authors(np.asarray(dataset.column("author")), rows_of)
    if dataset.has("history"):
        found["history"] = _history(dataset, rows_of)
    if dataset.has("time"):
        found["time"] = _time(np.asarray(dataset.column("time")), rows_of)
    return found


def _copied(group: np.ndarray, part: np.ndarray) -> dict[str, Any]:
    """Posts of validation and test with a training post in their group."""
    trained = np.zeros(len(group), bool)
    trained[group[part == 0]] = True
    copied = trained[group]
    return {"of_validation": _counted(copied[part == 1]), "of_test": _counted(copied[part == 2])}


def _counted(marked: Any) -> dict[str, Any]:
    """How many posts, and what share of those looked at."""
    return {"posts": int(marked.sum()), "share": round(float(marked.mean()), 4) if len(marked) else 0.0}


def _words(dataset: Dataset, rows_of: dict[str, np.ndarray], candidates: np.ndarray) -> dict[str, Any]:
    """Hashtags left in text as `#x`, and test posts that say a candidate that is theirs as a plain word."""
    hashtags, words = dataset.hashtags, dataset.words
    marked = np.array([word[:1] == "#" and word[1:] in hashtags.ids for word in words.entries], bool)
    tokens, everyone = dataset.column("tokens"), np.concatenate(list(rows_of.values()))
    text = take(tokens, everyone)
    left = _any(text, marked[text.values])
    assert not left.any(), f"row {everyone[np.argmax(left)]} of {dataset.path} has a hashtag left in its text"
    said = np.full(len(hashtags), -1)
    said[candidates] = [words.ids.get(hashtags.entries[h], -1) for h in candidates]
    text, gold = take(tokens, rows_of["test"]), take(dataset.column("hashtags"), rows_of["test"])
    wanted = said[gold.values]
    again = np.isin(_pairs(gold, wanted, len(words)), _pairs(text, text.values, len(words))) & (wanted >= 0)
    return {"hashtags_in_text": int(left.sum()), "hashtag_as_word": _counted(_any(gold, again))}


def _hashtags(
    dataset: Dataset, rows_of: dict[str, np.ndarray], candidates: np.ndarray, unseen: np.ndarray, shots: bool
) -> dict[str, Any]:
    """Candidates that a test post has and no training post, and training posts' uses of unseen hashtags."""
    column, known = dataset.column("hashtags"), len(dataset.hashtags)
    uses = {name: np.bincount(take(column, rows).values, minlength=known) for name, rows in rows_of.items()}
    names = [
        dataset.hashtags.entries[h]
        for h in candidates[(uses["train"] == 0)[candidates] & (uses["test"] > 0)[candidates]]
    ]
    found: dict[str, Any] = {"untrained_hashtags": {"count": len(names), "first": names[:NAMED]}}
    if len(unseen):
        leaked = {name: int(uses[name][unseen].sum()) for name in ("train", "validation")}
        assert not leaked["validation"] and (shots or not leaked["train"]), f"uses of unseen hashtags: {leaked}"
        found["uses_of_unseen_in_training"] = leaked["train"]
    return found


def _authors(author: np.ndarray, rows_of: dict[str, np.ndarray]) -> dict[str, Any]:
    train, test = author[rows_of["train"]], author[rows_of["test"]]
    known = np.unique(train[train > 0])
    return {"in_train_and_test": len(np.intersect1d(known, test)), "test_posts": _counted(np.isin(test, known))}


def _history(dataset: Dataset, rows_of: dict[str, np.ndarray]) -> dict[str, Any]:
    """Entries of the history that are not earlier posts of the author, of all posts; and what test posts' hold."""
    history, author, time = (dataset.column(name) for name in ("history", "author", "time"))
    wrong = 0
    for start in range(0, len(history), _ROWS):
        mine = np.asarray(history[start : start + _ROWS])
        here = slice(start, start + len(mine))
        later = (time[mine] >= time[here, None]) | (author[mine] != author[here, None])
        wrong += int((later & (mine >= 0)).sum())
    assert not wrong, f"{wrong} entries of the history of {dataset.path} are no earlier posts of their author"
    held = np.zeros(dataset.rows + 1, bool)  # the last for -1
    held[rows_of["validation"]] = held[rows_of["test"]] = True
    reaching = held[np.asarray(history[rows_of["test"]])].any(1)
    return {"not_earlier": wrong, "test_posts_that_hold_held_out": _counted(reaching)}


def _time(time: np.ndarray, rows_of: dict[str, np.ndarray]) -> dict[str, Any]:
    """First and last second of each part, and the test posts that are not later than all training posts."""
    found: dict[str, Any] = {
        name: [int(time[rows].min()), int(time[rows].max())] for name, rows in rows_of.items() if len(rows)
    }
    train, test = time[rows_of["train"]], time[rows_of["test"]]
    return found | {"test_posts_not_later": _counted(test <= train.max(initial=-1))}


def _any(column: Ragged, marked: np.ndarray) -> np.ndarray:
    """Which rows of a ragged column have a marked value."""
    row = np.repeat(np.arange(len(column)), column.lengths())
    return np.bincount(row[marked], minlength=len(column)) > 0


def _pairs(column: Ragged, values: np.ndarray, most: int) -> np.ndarray:
    """Row and value of each of `values` as one number."""
    return np.repeat(np.arange(len(column)), column.lengths()) * (most + 1) + values
