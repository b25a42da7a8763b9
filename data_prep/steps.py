"""Steps: which posts a dataset keeps, decided across posts by the records alone, and the funnel that counts them.

Everything is whole arrays over the records in source order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import funnel as funnels
from . import hashtag_steps
from .flat import Flat, take
from .funnel import Funnel
from .language import name
from .presets import HASHTAG_STEPS
from .records import FOREIGN, KEPT, REPOST

EMPTIED = "posts whose hashtags were all left out, listed in emptied.jsonl"
OTHER_TEXT = "posts with an earlier post's id but another text, removed"


@dataclass
class State:
    """What the steps taken so far have left.

    Attributes:
      flat: all records `[n]`, with the hashtags that are left.
      left: which of them are left, bool `[n]`.
      example: which may still be examples, bool `[n]`, left or not.
      rank: which of several equal posts is to stay: the first of those of the lowest rank, int8 `[n]`.
      funnel: the steps.
      notes: what else the reader must know, counted.
      narrowed: whether a step has narrowed the examples.
      hashtags: how many different ones there are and how often they are used in the posts left, at first and after each
        step that changed it.
      emptied: rows of posts whose hashtags were all left out, and why.
    """

    flat: Flat
    left: np.ndarray
    example: np.ndarray
    rank: np.ndarray
    funnel: Funnel
    notes: dict[str, int]
    narrowed: bool = False
    hashtags: list[dict[str, Any]] = field(default_factory=list)
    emptied: list[tuple[int, str]] = field(default_factory=list)

    def count(self, step: str) -> None:
        """Count what is left after `step`: of what may be examples, where a step before has narrowed that."""
        self.funnel = self.funnel.add(step, int((self.left & self.example).sum()), self.narrowed)


def take_steps(flat: Flat, steps: Mapping[str, Any], funnel: Funnel, reposts: bool, pictured: bool = False) -> State:
    """The posts that `steps` leave.

    Args:
      flat: all records.
      steps: what each step asks, in order, as `Preset.step_settings` says; a step that asks nothing is not taken.
      funnel: what came before.
      reposts: whether the source tells reposts, so that their step is told even when there was none.
      pictured: whether a row of images is a distinct image: posts that show different ones are no duplicates.

    Raises:
      NothingLeft: a step has left no post.
    """
    count = len(flat.plain["ordinal"])
    tagged = flat.hashtags.lengths() > 0
    state = State(flat, np.ones(count, bool), np.ones(count, bool), (~tagged).astype(np.int8), funnel, {})
    if any(steps.get(step) for step in HASHTAG_STEPS):
        _count_hashtags(state, funnels.READ)
    for step, asked in steps.items():
        if not asked or (step == "reposts" and not reposts and not (flat.plain["verdict"] == REPOST).any()):
            continue
        if step == "ids":
            if flat.plain["id"].any():
                _ids(state)
        elif step == "reposts":
            state.left &= flat.plain["verdict"] != REPOST
            state.count(funnels.ORIGINAL)
        elif step == "language":
            state.left &= flat.plain["verdict"] != FOREIGN
            state.count(funnels.in_languages([name(code) for code in asked]))
        elif step == "authors":
            _authors(state, asked)
        elif step == "hashtag":
            _narrow(state, tagged, funnels.WITH_HASHTAG)
        elif step == "words":
            _narrow(state, flat.plain["length"] >= asked, funnels.long_enough(asked))
        elif step == "duplicates":
            key = shown(flat.plain["key"], flat.plain["image"]) if pictured else flat.plain["key"]
            state.left &= _is_leader(leaders(key, state.rank, state.left))
            state.count(funnels.DISTINCT)
        elif step in HASHTAG_STEPS:
            _by_hashtags(state, step, asked)
        else:
            _near(state, asked, pictured)
    if state.emptied:
        state.notes[EMPTIED] = len(state.emptied)
    state.funnel.check()
    return state


def leaders(key: np.ndarray, rank: np.ndarray, left: np.ndarray) -> np.ndarray:
    """For each row the row that stays in its stead: of the rows left with its key, the first of the lowest rank.

    Rows with key 0, and rows that are not left, are alone.

    Args:
      key, rank, left: `[n]`.

    Returns:
      Row numbers, int64 `[n]`.
    """
    rows = np.flatnonzero(left & (key != 0))
    order = rows[np.lexsort((rank[rows], key[rows]))]  # stable: rows of one key and rank stay in order
    begins = np.ones(len(order), bool)
    begins[1:] = key[order[1:]] != key[order[:-1]]
    found = np.arange(len(key))
    found[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    return found


def shown(key: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Keys of posts that are equal where both what was equal before and the images are; int64 `[n]`.

    Args:
      key: equal for posts that say the same, 0 for those that say nothing `[n]`.
      image: rows of images, −1 none `[n]`; a post without one keeps its key.
    """
    mixed = (key.astype(np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= (image + 1).astype(np.uint64) * np.uint64(0x94D049BB133111EB)  # odd factors: nothing is lost
    return np.where(image < 0, key, mixed.view(np.int64))


def _is_leader(leader: np.ndarray) -> np.ndarray:
    return leader == np.arange(len(leader))


def _ids(state: State) -> None:
    """Remove posts whose id another has; of a kept and a removed one the kept one stays."""
    verdict = state.flat.plain["verdict"]
    leader = leaders(state.flat.plain["id"], (verdict != KEPT).astype(np.int8), state.left)
    again = np.flatnonzero(state.left & ~_is_leader(leader) & (verdict == KEPT))
    text, lengths = state.flat.text, state.flat.text.lengths()
    differ = lengths[again] != lengths[leader[again]]
    same = again[~differ]
    others = sum(not np.array_equal(text[row], text[first]) for row, first in zip(same, leader[same]))
    if found := int(differ.sum()) + others:
        state.notes[OTHER_TEXT] = found
    state.left &= _is_leader(leader)
    state.count(funnels.UNIQUE)


def _authors(state: State, least: int) -> None:
    author = state.flat.plain["author"]
    posts = np.bincount(author[state.left], minlength=len(state.flat.authors))
    posts[0] = 0  # nobody: posts that name no author are not one author's
    state.left &= posts[author] >= least
    state.count(funnels.by_authors(least))


def _narrow(state: State, passes: np.ndarray, step: str) -> None:
    state.example &= passes
    state.rank += 2 * (~passes & (state.rank < 2)).astype(np.int8)
    state.narrowed = True
    state.count(step)


def _near(state: State, threshold: float, pictured: bool) -> None:
    from . import near

    rows = np.flatnonzero(state.left)
    group = np.zeros(len(state.left), np.int64)
    group[rows] = 1 + near.copies(take(state.flat.words, rows), threshold)
    if pictured:
        group[rows] = shown(group[rows], state.flat.plain["image"][rows])
    state.left &= _is_leader(leaders(group, state.rank, state.left))
    state.count(funnels.DISSIMILAR)


def _by_hashtags(state: State, step: str, asked: Any) -> None:
    """Take one of `HASHTAG_STEPS`; posts are counted for a hashtag where they are left and may be examples."""
    hashtags, names = state.flat.hashtags, state.flat.hashtag_names
    posts = hashtag_steps.posts_of(hashtags, len(names), state.left & state.example)
    if step == "few":
        state.left &= hashtags.lengths() >= asked
        state.count(funnels.enough_hashtags(asked))
        return
    if step == "mapping":
        hashtags, names, changed = hashtag_steps.mapped(hashtags, names, asked)
        state.flat = replace(state.flat, hashtags=hashtags, hashtag_names=names)
        state.count(funnels.mapped(changed))
        _count_hashtags(state, funnels.mapped(changed))
        return
    if step == "top":
        kept, said = hashtag_steps.most_used(posts, names, asked), funnels.most_used(asked)
    elif step == "cities":
        kept, said = hashtag_steps.none_of(names, asked), funnels.NO_CITY
    else:
        kept, said = posts >= asked, funnels.used_enough(asked)
    _leave_out(state, kept, said)


def _leave_out(state: State, kept: np.ndarray, said: str) -> None:
    """Leave out hashtags that are not kept (bool `[known]`); posts without any are no examples any more."""
    before = state.flat.hashtags.lengths()
    state.flat = replace(state.flat, hashtags=hashtag_steps.only(state.flat.hashtags, kept))
    after = state.flat.hashtags.lengths()
    for row in np.flatnonzero(state.left & state.example & (before > 0) & (after == 0)).tolist():
        state.emptied.append((row, f"none of its hashtags ({before[row]}) is left by the step {said!r}"))
    _narrow(state, after > 0, said)
    _count_hashtags(state, said)


def _count_hashtags(state: State, step: str) -> None:
    hashtags, known = state.flat.hashtags, len(state.flat.hashtag_names)
    posts = hashtag_steps.posts_of(hashtags, known, state.left)
    state.hashtags.append({"step": step, "hashtags": int((posts > 0).sum()), "uses": int(posts.sum())})
