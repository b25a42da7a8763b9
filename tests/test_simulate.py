"""The embedded corpus: the same for everybody, endless, and built so that methods differ."""

import re
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest

from jaxtag.data import simulate
from jaxtag.data.simulated_world import COMMUNITIES, CUES, FUNCTION_WORDS, IMAGE_WIDTH, TOPICS, make_world

COUNT = 12_000


def hashtags(text: str) -> list[str]:
    return re.findall(r"#(\w+)", text)


@pytest.fixture(scope="module")
def corpus():
    return list(simulate.posts(COUNT, seed=0))


@pytest.fixture(scope="module")
def world():
    return make_world(0)


def names(world, places):
    return [str(x).lstrip("#") for x in world.lexicon[np.ravel(places)]]


def same(a, b):
    return a[:4] == b[:4] and np.array_equal(a.image, b.image)


def test_the_first_posts_are_the_same_for_any_count(corpus):
    for count in (1, simulate.BLOCK - 1, simulate.BLOCK, simulate.BLOCK + 1, 5000):
        shorter = list(simulate.posts(count, seed=0))
        assert len(shorter) == count
        assert all(same(a, b) for a, b in zip(shorter, corpus))


def test_the_seed_decides(corpus):
    assert not same(next(simulate.posts(1, seed=1)), corpus[0])
    assert make_world.__wrapped__(0).lexicon.tolist() == make_world(0).lexicon.tolist()
    assert list(simulate.posts(0)) == []
    with pytest.raises(ValueError, match="count -1 "):
        next(simulate.posts(-1))
    with pytest.raises(ValueError, match="vague 1"):
        next(simulate.posts(1, vague=1.0))


def test_vague_texts_leave_their_subject_to_the_image(corpus, world):
    vague = list(simulate.posts(2000, seed=0, vague=0.8))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(vague, corpus))
    exact = {str(world.lexicon[w]) for w in np.ravel(world.concept_words)}

    def share(posts):
        words = [word for p in posts for word in re.sub(r"[#@]\w+", "", p.text).lower().split()]
        return np.mean([word in exact for word in words])

    assert 0 < share(vague) < 0.5 * share(corpus[:2000])


def test_posts_are_streamed():
    assert len(list(islice(simulate.posts(10**12), 10))) == 10


def test_posts_are_well_formed(corpus):
    assert [p.id for p in corpus] == [str(i) for i in range(1, COUNT + 1)]
    assert all(a.time <= b.time for a, b in zip(corpus, corpus[1:]))
    assert all(p.image.shape == (IMAGE_WIDTH,) and p.image.dtype == np.float16 for p in corpus)
    assert all(np.isfinite(p.image).all() for p in corpus)
    assert all(p.text == p.text.strip() and "  " not in p.text for p in corpus)
    lengths = Counter(len(hashtags(p.text)) for p in corpus if not p.text.startswith("RT @"))
    assert set(lengths) == {0, 1, 2, 3, 4}
    assert 0.05 < lengths[0] / COUNT < 0.25
    texts = Counter(p.text for p in corpus)
    assert sum(n - 1 for n in texts.values()) < 0.01 * COUNT
    assert 0 < sum(p.text.startswith("RT @") for p in corpus) < 0.01 * COUNT


def test_hashtags_have_a_long_tail(corpus):
    counts = [n for _, n in Counter(h for p in corpus for h in hashtags(p.text)).most_common()]
    assert 60 <= len(counts) <= 120
    assert counts[0] > 4 * counts[len(counts) // 2] and counts[-1] < counts[0] / 20


def test_words_are_zipfian_and_many(corpus):
    words = Counter(w for p in corpus for w in re.sub(r"[#@]\w+|https?://\S+", " ", p.text).lower().split())
    counts = np.array([n for _, n in words.most_common(2000)])
    slope = np.polyfit(np.log(np.arange(10, 2001)), np.log(counts[9:]), 1)[0]
    assert -1.4 < slope < -0.6
    assert len(words) > 4000
    assert words["the"] == max(words[w] for w in FUNCTION_WORDS)


def test_hashtags_that_only_some_authors_use(corpus, world):
    users = defaultdict(set)
    for p in corpus:
        for h in hashtags(p.text):
            users[h].add(p.author)
    authors = {p.author for p in corpus}
    assert all(len(users[h]) < 0.15 * len(authors) for h in names(world, world.pets))


def test_communities_use_different_synonyms(corpus, world):
    pair = {h: (t, v) for t in range(TOPICS) for v, h in enumerate(names(world, world.general[t]))}
    uses = defaultdict(lambda: [0, 0])
    for p in corpus:
        for h in hashtags(p.text):
            if h in pair:
                uses[p.author, pair[h][0]][pair[h][1]] += 1
    often = np.array([u for u in uses.values() if sum(u) >= 5])
    assert len(often) > 100
    assert (often.max(1) / often.sum(1)).mean() > 0.88  # the author tells which
    overall = np.array([sum((np.array(u) for (_, t), u in uses.items() if t == k), np.zeros(2)) for k in range(TOPICS)])
    assert (overall.min(1) > 0).all()  # and nobody else: both are in use
    assert world.variant.shape == (COMMUNITIES, TOPICS) and (world.variant.min(0) < world.variant.max(0)).all()


def test_an_authors_next_post_is_often_on_the_same_topic(corpus, world):
    topic = {
        h: t for t in range(TOPICS) for h in names(world, [*world.general[t], *world.specific[t], *world.sides[t]])
    }
    found = [(p.author, {topic[h] for h in hashtags(p.text) if h in topic}) for p in corpus]
    before, repeated, chance = {}, [], []
    rng = np.random.default_rng(0)
    for author, topics in found:
        if topics:
            if author in before:
                repeated.append(bool(topics & before[author]))
                chance.append(bool(topics & found[rng.integers(COUNT)][1]))
            before[author] = topics
    assert np.mean(repeated) > 0.6 > 3 * np.mean(chance)


def test_word_order_tells_what_the_words_do_not(corpus, world):
    """'A beats B' and 'B beats A' have the same words; '#Afans' and '#Bfans' are told apart by order alone."""
    by_words, by_order = [], []
    for topic in range(0, TOPICS, 2):
        teams, sides = world.names[topic], names(world, world.sides[topic])
        side_of = {w: s for s in (0, 1) for w in names(world, teams[s])}
        for p in corpus:
            tags = [s for s in (0, 1) if sides[s] in hashtags(p.text)]
            words = re.sub(r"#\w+", " ", p.text).lower().strip(".!?").split()
            said = [side_of[w] for w in words if w in side_of]
            verbs = [w for w in words if w in CUES["beats"] + CUES["trails"]]
            if len(tags) == 1 and len(said) == 2 and len(verbs) == 1 and said[0] != said[1]:
                by_words.append(tags[0])
                by_order.append(tags[0] == said[verbs[0] in CUES["trails"]])
    assert len(by_words) > 300
    assert 0.4 < np.mean(by_words) < 0.6
    assert np.mean(by_order) > 0.95


def test_general_hashtags_stand_before_specific_ones(corpus, world):
    general, specific = set(names(world, world.general)), set(names(world, world.specific))
    both = [
        h
        for p in corpus
        if len({bool(general & set(h := hashtags(p.text))), bool(specific & set(h))}) == 1 and general & set(h)
    ]
    assert len(both) > 200
    kinds = [[h in specific for h in tags if h in general | specific] for tags in both]
    assert all(k == sorted(k) for k in kinds)


def test_hashtags_rise_and_fall(corpus, world):
    events = names(world, world.events)
    span = corpus[-1].time - corpus[0].time
    used = {h: np.zeros(10) for h in events}
    for p in corpus:
        for h in hashtags(p.text):
            if h in used:
                used[h][min(int(10 * (p.time - corpus[0].time) / span), 9)] += 1
    there = [u for u in used.values() if u.sum() >= 30]
    assert there and all((u == 0).sum() >= 3 for u in there)


def test_images_tell_topics_and_what_no_text_says(corpus, world):
    """Nearest mean image, fitted on the first half: of a topic's hashtags, and of the scenes nobody writes about."""
    for group in (world.specific[:, 0], world.scenes):
        label = {h: i for i, h in enumerate(names(world, group))}
        rows = [(p.image.astype(np.float32), label[h]) for p in corpus for h in hashtags(p.text)[-4:] if h in label]
        x, y = np.stack([r[0] for r in rows]), np.array([r[1] for r in rows])
        half = len(y) // 2
        means = np.stack([x[:half][y[:half] == c].mean(0) for c in range(len(label)) if (y[:half] == c).any()])
        kept = [c for c in range(len(label)) if (y[:half] == c).any()]
        guess = np.array(kept)[((x[half:, None] - means) ** 2).sum(2).argmin(1)]
        base = np.bincount(y[:half]).max() / half
        assert (guess == y[half:]).mean() > 1.5 * base
    words = set(names(world, world.scenes))
    assert not any(words & set(re.sub(r"#\w+", " ", p.text).lower().split()) for p in corpus)
