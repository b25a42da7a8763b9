"""Seen and unseen hashtags: which are which, and which posts may train, validate or test on them.

Training and validation posts have seen hashtags alone, test posts unseen ones alone; a post with both is no
example. A few posts of each unseen hashtag may train all the same (few-shot), and posts of seen hashtags may be
tested on too (generalised). SYSTEMS 1.12.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.vocabulary import Vocabulary
from jaxtag.errors import JaxtagError, nearest

from . import divisions
from .choosing import SHOTS, UNSEEN, Examples, at_most, rng_of
from .rule import Rule

LEAST = 2  # hashtags that are seen, and that are not: ranking one says nothing


@dataclass(frozen=True)
class Divided:
    """Examples divided into parts.

    Attributes:
      examples: with one more step in the funnel where posts were left out.
      part: of each example 0, 1 or 2: training, validation, test; −1 is none `[n]`.
      hashtags, candidates: dataset ids, most used first.
      borders: the time at which validation and test begin, where the division is by time.
      seen, unseen: dataset ids; both empty where all hashtags are alike.
    """

    examples: Examples
    part: np.ndarray
    hashtags: np.ndarray
    candidates: np.ndarray
    borders: dict[str, int]
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    unseen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def labels_unseen(
    examples: Examples, rule: Rule, names: Vocabulary, hashtags: Ragged, time: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which kept hashtags are seen and which unseen, bool `[L]` each; with two lists some are neither.

    Args:
      examples: of the rule.
      rule: says which.
      names: the dataset's hashtags.
      hashtags: the column; where the rule goes by time, the first use in any post counts.
      time: of every post, where there are times.

    Raises:
      JaxtagError: a name is no kept hashtag, or too few are seen or unseen.
    """
    many = len(examples.hashtags)
    seen = _named(rule.seen_hashtags, examples, names, rule)
    if rule.unseen:
        free = np.flatnonzero(~seen)
        if rule.unseen > len(free) - (0 if rule.seen_hashtags else LEAST):
            raise JaxtagError(
                f"--unseen {rule.unseen} of {len(free)} hashtags leaves fewer than {LEAST} seen ones",
                "give fewer, or lower --min-hashtag-posts",
            )
        unseen = np.zeros(many, bool)
        unseen[rng_of(rule, UNSEEN).permutation(free)[: rule.unseen]] = True
    elif rule.unseen_after:
        assert time is not None
        first = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(first, hashtags.values, np.repeat(time, hashtags.lengths()))
        unseen = first[examples.hashtags] > rule.unseen_after
    else:
        unseen = _named(rule.unseen_hashtags, examples, names, rule) if rule.unseen_hashtags else ~seen
    if not rule.seen_hashtags:
        seen = ~unseen
    for what, which in (("seen", seen), ("unseen", unseen)):
        if which.sum() < LEAST:
            raise JaxtagError(
                f"{which.sum()} of {many} kept hashtags are {what}, at least {LEAST} are needed",
                "say otherwise which are unseen, or lower --min-hashtag-posts",
            )
    return seen, unseen


def _named(wanted: tuple[str, ...], examples: Examples, names: Vocabulary, rule: Rule) -> np.ndarray:
    """Which kept hashtags are listed, bool `[L]`."""
    ids = names.ids
    listed = np.zeros(len(names), bool)
    kept = {names.entries[h] for h in examples.hashtags}
    for name in wanted:
        if name not in ids:
            raise JaxtagError(f"#{name} is not a hashtag of this dataset", nearest(name, kept) if kept else "")
        if name not in kept:
            raise JaxtagError(
                f"#{name} is not among the {len(kept)} hashtags that the split keeps",
                f"lower --min-hashtag-posts (now {rule.min_hashtag_posts}) or raise --top, or leave it out",
            )
        listed[ids[name]] = True
    return listed[examples.hashtags]


def divide(
    examples: Examples, seen: np.ndarray, unseen: np.ndarray, rule: Rule, time: np.ndarray, author: np.ndarray
) -> Divided:
    """Divide examples with unseen hashtags.

    Drawn at random, all posts of unseen hashtags are tested on, and those of seen ones go to training and
    validation in the proportion of their fractions (generalised: to all three parts). By time or author the
    division comes first, of all posts alike, and a post in a part that is not of its kind is left out. With
    `unseen_after`, that time is where the test part begins.

    Args:
      examples: of the rule.
      seen, unseen: which hashtags, bool `[L]`.
      rule: the division.
      time, author: of each example `[n]`; not read where the division is another.

    Raises:
      JaxtagError: no post is left to train or test on, or an unseen hashtag has too few posts.
    """
    posts = len(examples.rows)
    has_seen, has_unseen = (
        np.bincount(examples.post[which[examples.label]], minlength=posts) > 0 for which in (seen, unseen)
    )
    old, new = has_seen & ~has_unseen, has_unseen & ~has_seen
    funnel = examples.funnel.add("hashtags all seen, or all unseen", int((old | new).sum()))
    part, borders = _parts(old, new, rule, time, author)
    free = new if rule.division == "time" else new & (part == (0 if rule.division == "author" else 2))
    shots = _shots(examples, unseen, free, rule, time)
    test = (part == 2) & (new | old if rule.generalised else new)
    part = np.where(old & (part >= 0) & (part < 2), part, np.where(test, 2, -1))
    part[shots] = 0
    if (left := int((part >= 0).sum())) < funnel.steps[-1][1]:
        funnel = funnel.add("in a part of their kind", left)
    for what, many in (("train", part == 0), ("test", part == 2)):
        if not many.any():
            raise JaxtagError(
                f"no post is left to {what} on: {old.sum()} posts have seen hashtags, {new.sum()} unseen ones",
                "choose other hashtags, or a larger fraction",
            )
    trained = (seen | unseen) if rule.shots[1] else seen
    candidates = (seen | unseen) if rule.generalised else unseen
    ids = examples.hashtags
    return Divided(
        replace(examples, funnel=funnel), part, ids[trained], ids[candidates], borders, ids[seen], ids[unseen]
    )


def _parts(
    old: np.ndarray, new: np.ndarray, rule: Rule, time: np.ndarray, author: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """The part of each post before its kind is asked, and the borders in time; −1 for posts with both kinds."""
    part = np.full(len(old), -1)
    borders: dict[str, int] = {}
    training = (*rule.fractions[:2], 0.0)
    rng = np.random.default_rng(rule.seed)
    if rule.unseen_after:
        late = time > rule.unseen_after
        part[old & ~late], times = divisions.by_time(time[old & ~late], training)
        part[(old | new) & late] = 2
        borders = {"validation": times[0] if times else 0, "test": rule.unseen_after + 1}
    elif rule.division == "time":
        part[old | new], times = divisions.by_time(time[old | new], rule.fractions)
        borders = {"validation": times[0], "test": times[1]}
    elif rule.division == "author":
        part[old | new] = divisions.by_author(author[old | new], rule.fractions, rng)
    else:
        part[old] = divisions.at_random(int(old.sum()), rule.fractions if rule.generalised else training, rng)
        part[new] = 2
    return part, borders


def _shots(examples: Examples, unseen: np.ndarray, free: np.ndarray, rule: Rule, time: np.ndarray) -> np.ndarray:
    """Posts of unseen hashtags that move to training: of each hashtag a number drawn evenly from the range.

    They are drawn at random, by time the earliest; by author among those of authors who train. A post of several
    unseen hashtags counts for each: none gets more than its number, and some may get fewer.

    Raises:
      JaxtagError: a hashtag has no post left to test on, or too few.
    """
    low, high = rule.shots
    if not high:
        return np.zeros(0, np.int64)
    rng = rng_of(rule, SHOTS)
    most = np.where(unseen, rng.integers(low, high + 1, len(unseen)), 0)
    mine = free[examples.post] & unseen[examples.label]
    post, label = examples.post[mine], examples.label[mine]
    there = np.bincount(label, minlength=len(unseen))
    least = most + (rule.division != "author")  # by author, what is tested on is elsewhere
    if (there < least)[unseen].any():
        short = unseen & (there < least)
        fewest = int(np.argmin(np.where(short, there - least, 0)))
        raise JaxtagError(
            "unseen hashtags have too few posts to take training posts from (one with a seen hashtag too is no "
            f"example): {short.sum()} in all, the scarcest with {there[fewest]} where --shots {low}-{high} needs "
            f"{least[fewest]}",
            "ask for fewer, raise --min-hashtag-posts, or choose hashtags with --unseen-hashtags",
        )
    order = rng.permutation(len(free))
    if rule.division == "time":
        order = order[np.argsort(time[order], kind="stable")]
    return np.flatnonzero(at_most(post, label, most, order) & (np.bincount(post, minlength=len(free)) > 0))
