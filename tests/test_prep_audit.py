"""The leakage audit on a dataset made by hand, with leaks planted one by one."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import audit, near

from jaxtag.data.columns import ragged
from jaxtag.data.vocabulary import RESERVED, Vocabulary

WORDS = (*RESERVED, "sun", "sea", "sand", "salt", "boat", "red", "#stray", "#red")
NAMES = ("red", "green", "blue")
SUN, SEA, SAND, SALT, BOAT, RED, STRAY, MARKED = range(2, 10)


@dataclass(frozen=True)
class Made:
    """A dataset as the audit asks it: rows 0 to 3 train, 4 and 5 validate, 6 to 9 test, 10 is no example."""

    tokens: list[list[int]] = field(
        default_factory=lambda: [
            [SUN, SEA, SAND, SALT, BOAT],  # 0
            [SEA, SUN, SALT, BOAT],
            [SAND, SUN, SUN],
            [SUN],
            [SUN, SEA, SAND, SALT, BOAT],  # 4: a copy of 0
            [BOAT, BOAT, SEA, SEA],
            [BOAT, SALT, SAND, SEA, SUN],  # 6
            [SEA, SUN, SALT, BOAT, RED],  # 7: nearly 1; says red, and is red
            [RED, STRAY],  # 8: says red, and is green; #stray is no hashtag here
            [SUN],
            [SUN],
        ]
    )
    hashtags: Any = field(default_factory=lambda: Vocabulary(NAMES, (1, 1, 1)))
    words: Any = field(default_factory=lambda: Vocabulary(WORDS, (1,) * len(WORDS)))
    gold: tuple[int, ...] = (0, 1, 0, 1, 0, 1, 0, 0, 1, 2, 2)
    author: tuple[int, ...] = (1, 1, 2, 0, 1, 3, 2, 4, 0, 1, 1)
    time: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 35, 80, 90, 100, 110)
    history: tuple[tuple[int, int], ...] = (
        (-1, -1), (0, -1), (-1, -1), (-1, -1), (1, 0), (-1, -1), (2, -1), (-1, -1), (-1, -1), (4, 1), (9, 4),
    )  # fmt: skip
    lacks: tuple[str, ...] = ()
    path: Path = Path("made")
    rows: int = 11

    def has(self, name: str) -> bool:
        return name not in self.lacks

    def column(self, name: str) -> Any:
        if name in ("tokens", "hashtags"):
            return ragged(self.tokens if name == "tokens" else [[h] for h in self.gold])
        return np.array(getattr(self, name))


ROWS = np.arange(10)
PART = np.array([0] * 4 + [1] * 2 + [2] * 4)


def look(made: Made, part: np.ndarray = PART, unseen: tuple[int, ...] = (), shots: bool = False) -> dict[str, Any]:
    groups = [near.copies(ragged(made.tokens[:10]), likeness) for likeness in audit.LIKENESSES]
    return audit.audit(made, ROWS, part, groups, np.arange(3), np.array(unseen, int), shots)  # pyright: ignore


def test_every_leak_is_counted() -> None:
    assert look(Made()) == {
        "near_copies": [
            {"likeness": 0.8, "of_validation": {"posts": 1, "share": 0.5}, "of_test": {"posts": 0, "share": 0.0}},
            {"likeness": 0.5, "of_validation": {"posts": 1, "share": 0.5}, "of_test": {"posts": 1, "share": 0.25}},
        ],
        "hashtags_in_text": 0,
        "hashtag_as_word": {"posts": 1, "share": 0.25},  # row 7
        "untrained_hashtags": {"count": 1, "first": ["blue"]},
        "authors": {"in_train_and_test": 2, "test_posts": {"posts": 2, "share": 0.5}},  # rows 6 and 9
        "history": {"not_earlier": 0, "test_posts_that_hold_held_out": {"posts": 1, "share": 0.25}},  # row 9 holds 4
        "time": {
            "train": [10, 40],
            "validation": [50, 60],
            "test": [35, 100],
            "test_posts_not_later": {"posts": 1, "share": 0.25},
        },
    }


def test_what_a_dataset_lacks_is_left_out() -> None:
    found = look(Made(lacks=("author", "time", "history")))
    assert not {"authors", "history", "time"} & set(found) and found["near_copies"][1]["of_test"]["posts"] == 1


def test_a_part_may_be_empty() -> None:
    found = look(Made(), np.zeros(10, int))
    assert found["near_copies"][0]["of_test"] == {"posts": 0, "share": 0.0} and set(found["time"]) == {
        "train",
        "test_posts_not_later",
    }


def test_a_hashtag_left_in_text_is_a_bug() -> None:
    tokens = [[*row] for row in Made().tokens]
    tokens[2].append(MARKED)
    with pytest.raises(AssertionError, match="row 2 of made has a hashtag left in its text"):
        look(Made(tokens=tokens))
    tokens[2].pop()
    tokens[10].append(MARKED)  # no example
    assert look(Made(tokens=tokens))["hashtags_in_text"] == 0


@pytest.mark.parametrize("entry", [(10, 4), (9, 1), (2, -1)])  # its own second, another author, itself
def test_history_that_reaches_forward_is_a_bug(entry: tuple[int, int]) -> None:
    history = list(Made().history)
    history[10 if entry[0] == 10 else 9 if entry[0] == 9 else 7] = entry
    with pytest.raises(AssertionError, match="1 entries of the history of made"):
        look(Made(history=tuple(history)))


def test_training_on_unseen_hashtags_is_a_bug_but_for_shots() -> None:
    assert look(Made(), unseen=(2,))["uses_of_unseen_in_training"] == 0
    seen = replace(Made(), gold=(2, *Made().gold[1:]))
    with pytest.raises(AssertionError, match="uses of unseen hashtags"):
        look(seen, unseen=(2,))
    assert look(seen, unseen=(2,), shots=True)["uses_of_unseen_in_training"] == 1
    with pytest.raises(AssertionError, match="uses of unseen hashtags"):
        look(replace(Made(), gold=(*Made().gold[:4], 2, *Made().gold[5:])), unseen=(2,), shots=True)
