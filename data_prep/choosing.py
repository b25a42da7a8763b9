"""Which posts a split's rule lets be examples, and which hashtags it keeps.

What is left out here keeps a post from being an example; it stays in the columns, in its author's history.
"""

from dataclasses import dataclass

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.errors import JaxtagError

from . import funnel as funnels
from .funnel import Funnel
from .rule import Rule

CAP, UNSEEN, SHOTS, FOLDS = range(1, 5)  # what else is drawn beside the division: each has random numbers of its own


@dataclass(frozen=True)
class Examples:
    """The posts that a rule lets be examples.

    Attributes:
      rows: row numbers, sorted `[n]`.
      hashtags: dataset ids of the kept hashtags, most used first `[L]`.
      post, label: every use of a kept hashtag in an example, in order of posts: positions in `rows` and `hashtags`.
      funnel: how many posts each step left.
    """

    rows: np.ndarray
    hashtags: np.ndarray
    post: np.ndarray
    label: np.ndarray
    funnel: Funnel


def rng_of(rule: Rule, what: int) -> np.random.Generator:
    """The random numbers for one kind of drawing; `what` is one of the constants above."""
    return np.random.default_rng((rule.seed, what))


def choose(hashtags: Ragged, length: np.ndarray, known: int, rule: Rule, image: np.ndarray | None = None) -> Examples:
    """The examples of a rule, and its hashtags.

    Args:
      hashtags: the column of dataset hashtag ids.
      length: how many words each post counts.
      known: size of the dataset's vocabulary of hashtags.
      rule: thresholds, one or all hashtags, and the cap.
      image: the column of images, where the rule asks for one.

    Raises:
      JaxtagError: no post, or fewer than two hashtags are left.
    """
    counts = hashtags.lengths()
    long, funnel = _fitting(counts, length, rule, image)
    row = np.repeat(np.arange(len(counts)), counts)
    used = np.bincount(hashtags.values[long[row]], minlength=known)
    kept = by_use(used)
    kept = kept[used[kept] >= rule.min_hashtag_posts]
    step = f"with a hashtag of at least {rule.min_hashtag_posts} post{'s' * (rule.min_hashtag_posts != 1)}"
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
    if rule.max_hashtags:
        example &= many <= rule.max_hashtags
        funnel = funnel.add(f"at most {rule.max_hashtags} such hashtags", int(example.sum())).check()
    if rule.cap:
        rows = np.flatnonzero(example)
        example[rows] = _capped(*uses(hashtags, rows, kept, known), len(rows), rule)
        funnel = funnel.add(f"at most {rule.cap} posts a hashtag", int(example.sum()))
    used = np.bincount(hashtags.values[example[row] & is_kept[hashtags.values]], minlength=known)
    kept = by_use(used)
    if len(kept) < 2:
        raise JaxtagError(
            f"only {len(kept)} hashtag is left after step {step!r}; at least 2 are needed", "lower --min-hashtag-posts"
        )
    rows = np.flatnonzero(example)
    return Examples(rows, kept, *uses(hashtags, rows, kept, known), funnel)


def _fitting(counts: np.ndarray, length: np.ndarray, rule: Rule, image: np.ndarray | None) -> tuple[np.ndarray, Funnel]:
    """Which posts are long enough and show what they must, bool `[n]`, and how many of them have a hashtag."""
    tagged = counts > 0
    funnel = Funnel().add("posts of the dataset", len(counts)).add(funnels.WITH_HASHTAG, int(tagged.sum())).check()
    fitting = length >= rule.min_words
    if rule.min_words:
        funnel = funnel.add(funnels.long_enough(rule.min_words), int((fitting & tagged).sum())).check()
    if rule.with_image:
        assert image is not None
        fitting &= image >= 0
        funnel = funnel.add(funnels.WITH_IMAGE, int((fitting & tagged).sum())).check()
    return fitting, funnel


def uses(hashtags: Ragged, rows: np.ndarray, kept: np.ndarray, known: int) -> tuple[np.ndarray, np.ndarray]:
    """Every use of a hashtag of `kept` in a post of `rows`, sorted: positions in `rows`, and positions in `kept`."""
    place = np.full(len(hashtags), -1)
    place[rows] = np.arange(len(rows))
    position = np.full(known, -1)
    position[kept] = np.arange(len(kept))
    post, label = np.repeat(place, hashtags.lengths()), position[hashtags.values]
    both = (post >= 0) & (label >= 0)
    return post[both], label[both]


def at_most(post: np.ndarray, label: np.ndarray, most: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Posts taken one by one in `order`, each unless one of its hashtags has its most already.

    Done in rounds on whole arrays, to the same result: a post is taken once it fits even if all that wait before
    it were taken, and left once what is surely taken before it fills a hashtag; the first that waits is always
    one of these.

    Args:
      post, label: every use of a hashtag: the post's number and the hashtag's `[uses]`.
      most: of each hashtag `[L]`.
      order: the posts' numbers, first to be considered first `[n]`.

    Returns:
      Which posts are taken, bool `[n]`.
    """
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    sort = np.lexsort((place[post], label))
    post, label = post[sort], label[sort]
    taken, waits = np.zeros(len(order), bool), np.ones(len(order), bool)
    while waits.any():
        sure = _before(taken[post], label)
        full = sure >= most[label]
        unsure = sure + _before(waits[post], label) >= most[label]
        taken |= waits & ~_any(unsure, post, len(order))
        waits &= ~taken & ~_any(full, post, len(order))
        alive = (taken | waits)[post]
        post, label = post[alive], label[alive]
    return taken


def by_use(counts: np.ndarray) -> np.ndarray:
    """Ids with a count, most used first; ties in order of id."""
    ids = np.flatnonzero(counts)
    return ids[np.argsort(-counts[ids], kind="stable")]


def rarest(post: np.ndarray, label: np.ndarray, posts: int) -> np.ndarray:
    """How often the rarest hashtag of each post is used, int64 `[posts]`; the largest number where it has none."""
    found = np.full(posts, np.iinfo(np.int64).max)
    np.minimum.at(found, post, np.bincount(label)[label] if len(label) else label)
    return found


def _capped(post: np.ndarray, label: np.ndarray, posts: int, rule: Rule) -> np.ndarray:
    """Which posts a cap leaves: drawn at random, those with the rarest hashtags first."""
    order = np.lexsort((rng_of(rule, CAP).permutation(posts), rarest(post, label, posts)))
    return at_most(post, label, np.full(label.max(initial=0) + 1, rule.cap), order)


def _before(marked: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How many marked uses of its hashtag lie before each use; `label` is sorted."""
    if not len(label):
        return np.zeros(0, np.int64)
    before = np.cumsum(marked) - marked
    first = np.ones(len(label), bool)
    first[1:] = label[1:] != label[:-1]
    return before - before[np.maximum.accumulate(np.where(first, np.arange(len(label)), 0))]


def _any(marked: np.ndarray, post: np.ndarray, posts: int) -> np.ndarray:
    """Which posts have a marked use."""
    return np.bincount(post[marked], minlength=posts) > 0
