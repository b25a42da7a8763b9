"""The embedded default corpus: invented, English-like posts with authors, times, images and hashtags.

Made from NumPy alone, so that everything can be tried without any data at hand. What the posts hold,
and which reader can use it:

    topic       words of a topic's own vocabulary, many of them shared with other topics   any text model
    concept     within a topic; several synonyms, some ambiguous                           any text model
    sides       "A beats B", "A trails B": the winner's hashtag                            word order
    stance      "back A", "hardly back A", "doubt A": for or against                       word order
    dialect     a community's slang; communities use different synonymous hashtags         author, history
    habits      an author's few topics, staying on one for a while; an own hashtag         author, history
    image       topic and concept, often where the text is vague; a scene nobody writes of image features
    drift       topics, concepts and events rise and fall                                  time

Posts come in blocks of `BLOCK`. A block depends on the seed, its number and what the authors did
before it, never on how many posts are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jaxtag.data.simulated_world import (
    COMMUNITIES,
    CONCEPTS,
    SCENES,
    TOPICS,
    World,
    is_duel,
    make_world,
)

BLOCK = 2048  # posts made at once
AUTHORS = 500  # writing at any one time
LEAVING = 12  # authors that leave after every block, each replaced by a new one
CONTENT = 13  # most words of a post that carry meaning
VAGUE = 1 / 3
START, SECONDS_APART = 1_451_606_400, 480  # first second of 2016; mean time between posts
DAY = 86_400
ENDINGS = np.array(["", "", "", ".", ".", "!", "?", "...", " \U0001f600", " \u2728"], dtype=object)


class SimulatedPost(NamedTuple):
    """One post as its author wrote it.

    Attributes:
      id: its number in the corpus, from 1, as text.
      author: an invented name, unique to the author.
      time: seconds since 1970, never falling from post to post.
      text: with hashtags, mentions and links written in it.
      image: features of its picture, float16 `[IMAGE_WIDTH]`.
    """

    id: str
    author: str
    time: int
    text: str
    image: np.ndarray


@dataclass
class _Authors:
    """Who writes now, `[AUTHORS]` each; changed in place from block to block."""

    name: np.ndarray
    community: np.ndarray
    taste: np.ndarray  # for topics, [AUTHORS, TOPICS]
    focus: np.ndarray  # on concepts, [AUTHORS, TOPICS, CONCEPTS]
    topic: np.ndarray  # of the latest post
    pet: np.ndarray  # place of the author's own hashtag, 0 none
    zeal: np.ndarray  # how readily hashtags are used
    inside: np.ndarray  # probability that hashtags stand inside the sentence
    capital: np.ndarray  # whether sentences start with a capital
    born: int = 0  # authors so far


@dataclass
class _Draft:
    """A block of posts being written: topics and choices `[B]`, and words with the places they are sorted by."""

    author: np.ndarray
    topic: np.ndarray
    concept: np.ndarray
    side: np.ndarray  # 0 or 1; −1 when the post takes none
    scene: np.ndarray  # −1 none
    vague: np.ndarray  # 0 to 1: how little the text says
    words: list[np.ndarray] = field(default_factory=list)
    keys: list[np.ndarray] = field(default_factory=list)

    def add(self, words: np.ndarray, keys: np.ndarray) -> None:
        """Write `words [B, n]` at sentence places `keys [B, n]`."""
        self.words.append(words)
        self.keys.append(np.broadcast_to(keys, words.shape))


def posts(count: int, seed: int = 0, vague: float = VAGUE) -> Iterator[SimulatedPost]:
    """The first `count` posts of the corpus of `seed`, in the order of their times.

    The first n posts are the same for every count of at least n, and memory does not grow with count.

    Args:
      count: how many posts.
      seed: which corpus; another seed has other words, hashtags and authors.
      vague: above 0 and below 1: how much of a post's subject, on average, is left to its image.

    Raises:
      ValueError: `count` or `seed` is negative, or `vague` is not between 0 and 1.
    """
    if count < 0 or seed < 0 or not 0 < vague < 1:
        raise ValueError(f"count {count} or seed {seed} is below 0, or vague {vague} not between 0 and 1")
    world = make_world(seed)
    authors = _settle(world, np.random.default_rng([seed, 1]))
    time = START
    for first in range(0, count, BLOCK):
        rng = np.random.default_rng([seed, 2, first])
        times = time + np.cumsum(rng.integers(0, 2 * SECONDS_APART + 1, BLOCK))
        time = int(times[-1])
        draft = _choose(world, authors, times, rng)
        draft.vague **= 1 / vague - 1  # evenly drawn from 0 to 1: its mean becomes `vague`
        _write_sentence(world, authors, draft, rng)
        _add_hashtags(world, authors, draft, times, rng)
        texts = _finish(world, authors, draft, rng)
        images = _photograph(world, draft, rng)
        names = authors.name[draft.author].tolist()
        for i, when in enumerate(times[: count - first].tolist()):
            yield SimulatedPost(str(first + i + 1), names[i], when, texts[i], images[i])
        _replace(world, authors, rng.choice(AUTHORS, LEAVING, replace=False), rng)


def _zipf(words: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator, power: float = 1.0) -> np.ndarray:
    """Places `shape` in the last axis of `words`, drawn with probability 1 / rank^power."""
    weight = np.cumsum(1 / np.arange(1, words.shape[-1] + 1) ** power)
    return np.searchsorted(weight, rng.random(shape) * weight[-1])


def _pick(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column number for each row of `weights [B, n]`, drawn in proportion to them."""
    total = np.cumsum(weights, 1)
    return (total < rng.random((len(weights), 1)) * total[:, -1:]).sum(1)


def _settle(world: World, rng: np.random.Generator) -> _Authors:
    """The first authors."""
    n = AUTHORS
    authors = _Authors(
        name=np.empty(n, object), community=np.zeros(n, int), taste=np.zeros((n, TOPICS)),
        focus=np.zeros((n, TOPICS, CONCEPTS)), topic=np.zeros(n, int), pet=np.zeros(n, int), zeal=np.zeros(n),
        inside=np.zeros(n), capital=np.zeros(n, bool),
    )  # fmt: skip
    _replace(world, authors, np.arange(n), rng)
    return authors


def _replace(world: World, authors: _Authors, slots: np.ndarray, rng: np.random.Generator) -> None:
    """Let new authors take `slots`."""
    n = len(slots)
    words = world.lexicon[rng.choice(world.background, n)]
    authors.name[slots] = [f"{word}{authors.born + i}" for i, word in enumerate(words)]
    authors.born += n
    authors.community[slots] = rng.integers(0, COMMUNITIES, n)
    authors.taste[slots] = rng.gamma(0.12, 1, (n, TOPICS)) + 0.005
    authors.focus[slots] = rng.gamma(0.5, 1, (n, TOPICS, CONCEPTS)) + 0.02
    authors.topic[slots] = _pick(authors.taste[slots] * world.popularity, rng)
    authors.pet[slots] = np.where(rng.random(n) < 0.3, rng.choice(world.pets, n), 0)
    authors.zeal[slots] = rng.uniform(0.6, 1.4, n)
    authors.inside[slots] = rng.choice([0.05, 0.3, 0.9], n)
    authors.capital[slots] = rng.random(n) < 0.6


def _choose(world: World, authors: _Authors, times: np.ndarray, rng: np.random.Generator) -> _Draft:
    """Who writes each post and what about; an author's next post keeps the topic three times in five."""
    busy = 1 / np.arange(1, AUTHORS + 1) ** 0.5
    author = rng.choice(AUTHORS, BLOCK, p=busy / busy.sum())
    days = (times - START) / DAY
    trend = world.popularity * np.exp(np.sin(2 * np.pi * (days[:, None] / world.period + world.phase)))
    topic = np.where(rng.random(BLOCK) < 0.6, -1, _pick(authors.taste[author] * trend, rng))
    # Kept topics: behind each author's latest topic stand that author's posts, and a −1 takes what is before it.
    who = np.concatenate([np.arange(AUTHORS), author])
    order = np.argsort(who, kind="stable")
    drawn = np.concatenate([authors.topic, topic])[order]
    source = np.maximum.accumulate(np.where(drawn >= 0, np.arange(len(drawn)), 0))
    known = np.empty_like(drawn)
    known[order] = drawn[source]
    authors.topic[who[order]] = known[order]  # the last write, the latest post, stays
    topic = known[AUTHORS:]
    return _Draft(
        author=author, topic=topic,
        concept=_pick(authors.focus[author, topic] * (0.5, 0.3, 0.2), rng),
        side=np.where(rng.random(BLOCK) < 0.4, rng.integers(0, 2, BLOCK), -1),
        scene=np.where(rng.random(BLOCK) < 0.5, rng.integers(0, SCENES, BLOCK), -1),
        vague=rng.random(BLOCK),
    )  # fmt: skip


def _write_sentence(world: World, authors: _Authors, draft: _Draft, rng: np.random.Generator) -> None:
    """Function words and content words in turn, and the phrase that shows the side taken."""
    shape = (BLOCK, CONTENT)
    topic, concept = draft.topic[:, None], draft.concept[:, None]
    kind, said = rng.random(shape), 1.3 * (1 - draft.vague[:, None])
    common = world.background[_zipf(world.background, shape, rng)]
    slang = world.dialect[authors.community[draft.author][:, None], _zipf(world.dialect, shape, rng, 0.5)]
    topical = world.topic_words[topic, _zipf(world.topic_words, shape, rng, 0.7)]
    exact = world.concept_words[topic, concept, _zipf(world.concept_words, shape, rng, 0.5)]
    content = np.select([kind < 0.32 * said, kind < 0.62 * said, kind > 0.92], [exact, topical, slang], common)
    length = 4 + rng.binomial(CONTENT - 4, 0.4, BLOCK)[:, None]
    place = np.arange(CONTENT)
    joint = np.where(rng.random(shape) < 0.6, world.functions[_zipf(world.functions, shape, rng)], 0)
    draft.add(np.where(place < length, joint, 0), place + 0.0)
    draft.add(np.where(place < length, content, 0), place + 0.1)
    phrase = _phrase(world, draft, rng) * (draft.side >= 0)[:, None]
    at = rng.integers(0, length[:, 0])[:, None] + 0.2
    draft.add(phrase, at + np.arange(phrase.shape[1]) / 100)


def _phrase(world: World, draft: _Draft, rng: np.random.Generator) -> np.ndarray:
    """Words `[B, 5]` whose order tells the side: "A beats B", "B trails A"; "back A", "hardly doubt A"."""
    cue = {kind: rng.choice(places, BLOCK) for kind, places in world.cues.items()}
    side, name = np.maximum(draft.side, 0), rng.integers(0, 2, (2, BLOCK))
    winner, loser = world.names[draft.topic, side, name[0]], world.names[draft.topic, 1 - side, name[1]]
    turned, denied = rng.random((2, BLOCK)) < 0.5
    nothing = np.zeros(BLOCK, int)
    filler = np.where(rng.random(BLOCK) < 0.25, rng.choice(world.background, BLOCK), 0)
    duel = [np.where(turned, loser, winner), filler, np.where(turned, cue["trails"], cue["beats"]), nothing,
            np.where(turned, winner, loser)]  # fmt: skip
    # For and not denied, or against and denied, is side 0.
    verb = np.where((side == 0) ^ denied, cue["for"], cue["against"])
    thing = world.names[draft.topic, 0, name[0]]
    stance = [np.where(denied, cue["denying"], 0), nothing, verb, filler, thing]
    return np.where(is_duel(draft.topic)[:, None], np.stack(duel, 1), np.stack(stance, 1))


def _add_hashtags(world: World, authors: _Authors, draft: _Draft, times: np.ndarray, rng: np.random.Generator) -> None:
    """At most four hashtags, general before specific, inside the sentence or behind it."""
    author, topic, concept = draft.author, draft.topic, draft.concept
    days, zeal = (times - START) / DAY, authors.zeal[author]
    own = rng.random(BLOCK) < 0.88  # the community's variant
    variant = np.where(own, world.variant[authors.community[author], topic], rng.integers(0, 2, BLOCK))
    season = 0.85 + 0.15 * np.sin(2 * np.pi * (days / 90 + world.tag_phase[topic, concept]))
    event = np.argmax(world.event_topic == topic[:, None], 1)
    running = (world.event_topic[event] == topic) & (days / world.event_period[event] % 1 < 0.2)
    offered = np.stack([
        np.where(running, world.events[event], 0), world.general[topic, variant], world.specific[topic, concept],
        np.where(draft.side >= 0, world.sides[topic, draft.side], 0),
        np.where(draft.scene >= 0, world.scenes[draft.scene], 0), authors.pet[author],
    ], 1)  # fmt: skip
    chance = np.stack([
        np.full(BLOCK, 0.3), world.broad[topic] * zeal, world.tagged[topic, concept] * season * zeal,
        np.full(BLOCK, 0.95), 0.2 * zeal, 0.25 * zeal,
    ], 1)  # fmt: skip
    used = np.where(rng.random(offered.shape) < chance, offered, 0)
    used[np.cumsum(used > 0, 1) > 4] = 0
    place = np.sort(rng.random(used.shape) * CONTENT / 2, 1) + 0.3
    inside = rng.random(BLOCK) < authors.inside[author]
    draft.add(used, np.where(inside[:, None], place, 100 + np.arange(used.shape[1])))


def _finish(world: World, authors: _Authors, draft: _Draft, rng: np.random.Generator) -> list[str]:
    """Texts of the block: words in order, with mentions, links, endings, capitals and a few reposts."""
    ending = rng.choice(ENDINGS, BLOCK)
    code = rng.integers(0, 36, (BLOCK, 8))
    link = np.where(rng.random(BLOCK) < 0.2, _links(code), "")
    mention = np.where(rng.random(BLOCK) < 0.15, "@" + authors.name[rng.integers(0, AUTHORS, BLOCK)], "")
    keys = np.concatenate(draft.keys, 1)
    words = np.concatenate(draft.words, 1)
    order = np.argsort(keys, 1, kind="stable")
    trailing = np.take_along_axis(keys, order, 1) >= 100
    strings = world.lexicon[np.take_along_axis(words, order, 1)]
    capital = authors.capital[draft.author].tolist()
    source = np.where(rng.random(BLOCK) < 0.004, rng.integers(0, BLOCK, BLOCK), -1).tolist()
    tails = np.where(trailing, strings, "").tolist()
    heads = np.where(trailing, "", strings).tolist()
    texts: list[str] = []
    for i, (head, tail) in enumerate(zip(heads, tails)):
        body = " ".join(filter(None, head))
        body = (body[:1].upper() + body[1:] if capital[i] else body) + ending[i]
        text = " ".join(filter(None, (mention[i], body, link[i], *tail)))
        if 0 <= source[i] < i:
            text = f"RT @{authors.name[draft.author[source[i]]]}: {texts[source[i]]}"
        texts.append(text)
    return texts


def _links(code: np.ndarray) -> np.ndarray:
    """Short links with the letters of `code [B, 8]`, as an object array `[B]`."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))[code]
    return "https://t.co/" + letters.view("U8")[:, 0].astype(object)


def _photograph(world: World, draft: _Draft, rng: np.random.Generator) -> np.ndarray:
    """Image features `[B, IMAGE_WIDTH]` float16: topic, concept, scene and noise; one in seven is off topic."""
    off = rng.random(BLOCK) < 0.15
    topic = np.where(off, rng.integers(0, TOPICS, BLOCK), draft.topic)
    concept = np.where(off, rng.integers(0, CONCEPTS, BLOCK), draft.concept)
    features = world.topic_image[topic] + world.concept_image[topic, concept]
    features += np.where(draft.scene[:, None] >= 0, world.scene_image[draft.scene], 0)
    return (features + rng.normal(0, 1, features.shape)).astype(np.float16)
