"""The Gibbs sampler: its counts, draws against the enumerated posterior, what ranks, and posts of its own story."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln

from jaxtag.data.batches import Reading
from jaxtag.data.columns import ragged
from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators import gibbs, naive_bayes
from jaxtag.estimators.topical_translation import Settings, check
from jaxtag.experiment import Experiment, Training
from jaxtag.fitted import Sampled
from jaxtag.systems import Sizes, find
from jaxtag.training import corpus as corpora
from jaxtag.training.counts import counts

WORDS, HASHTAGS = 9, 4


def reading(tokens: list[list[int]], hashtags: list[list[int]], words: int, known: int) -> Reading:
    lengths = {"tokens": max(map(len, tokens)), "hashtags": max(map(len, hashtags))}
    columns = {"tokens": ragged(tokens), "hashtags": ragged(hashtags)}
    return Reading(columns, lengths, np.arange(words + FIRST_WORD), np.arange(known))


def system(settings: Settings) -> Sampled:
    return Sampled(find("topical_translation"), None, None, Sizes(0, 0, {}), settings)


def corpus(settings: Settings, source: Reading, rows: np.ndarray, block: int) -> corpora.Corpus:
    experiment = Experiment("topical_translation", settings, training=Training(batch=block))
    return corpora.corpus_of(system(settings), experiment, source, rows)


def some(posts: int = 21, seed: int = 0) -> Reading:
    """Posts with repeated and unknown words, repeated hashtags, none of either; two without a known word."""
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(1, WORDS + FIRST_WORD, rng.integers(1, 7)).tolist() for _ in range(posts)]
    tokens[3], tokens[5] = [1, 1], [1]
    return reading(tokens, [rng.integers(0, HASHTAGS, rng.integers(1, 4)).tolist() for _ in tokens], WORDS, HASHTAGS)


def chained(settings: Settings, made: corpora.Corpus, sweeps: int, block: int) -> Any:
    """The chain as it begins, and after each sweep, with what the sweep told."""
    posts = jax.tree.map(jnp.asarray, made.posts)
    chain = jax.jit(lambda key: gibbs.first(settings, posts, made.sizes, key))(jax.random.key(0))
    step = jax.jit(lambda chain, key: gibbs.sweep(settings, chain, posts, key, block))
    yield chain, None
    for number in range(sweeps):
        chain, told = step(chain, jax.random.key(number + 1))
        yield chain, told


def recount(settings: Settings, made: corpora.Corpus, chain: Any) -> dict[str, np.ndarray]:
    """The counts of a chain, one post, word and hashtag after the other."""
    found = {name: np.zeros(np.shape(x), int) for name, x in chain["counts"].items()}
    z, y, a = (np.asarray(chain[name]) for name in "zya")
    p = made.posts
    for d in np.flatnonzero(made.rows >= 0):
        k, many = z[d], p["many"][d]
        found["topics"][k] += 1
        for n in range(many):
            w = p["words"][d, n]
            if y[d, n]:
                found["topical"][w, k] += 1
                found["totals"][k] += 1
            else:
                found["background"][w] += 1
        for m in range(p["tags"][d]):
            at = p["start"][d] + (m * many + a[d, m] if settings.by_word else m)
            found["pairs"][p["place"][at], k] += 1
            found["aligned"][p["words"][d, a[d, m]] if settings.by_word else 0, k] += 1
            assert a[d, m] < many and (y[d, a[d, m]] or not y[d].any() or not settings.by_word)
    return found


@pytest.mark.parametrize(("translation", "block"), [("word", 1), ("word", 8), ("topic_only", 8)])
def test_counts_equal_a_recount_after_every_sweep(translation: Any, block: int) -> None:
    settings = Settings(topics=3, translation=translation)
    source = some()
    made = corpus(settings, source, np.arange(21), block)
    known = [i for i in range(21) if max(source.columns["tokens"][i]) >= FIRST_WORD]
    assert sorted(made.rows[made.rows >= 0]) == known and not {3, 5} & set(known)
    for chain, told in chained(settings, made, 6, block):
        for name, expected in recount(settings, made, chain).items():
            np.testing.assert_array_equal(chain["counts"][name], expected, name)
        assert told is None or (np.isfinite(told["loss"]) and told["words"] == made.posts["many"].sum())


def test_pairs_are_those_of_the_posts() -> None:
    made = corpus(Settings(), some(), np.arange(21), 4)
    p, source = made.posts, some()
    for d in np.flatnonzero(made.rows >= 0):
        row = made.rows[d]
        words = [w for w in source.columns["tokens"][row] if w >= FIRST_WORD]
        tags = list(dict.fromkeys(source.columns["hashtags"][row].tolist()))
        assert p["words"][d, : p["many"][d]].tolist() == words
        for m, n in product(range(len(tags)), range(len(words))):
            place = p["place"][p["start"][d] + m * len(words) + n]
            assert made.constants["hashtags"][place] == tags[m]
            assert made.constants["offsets"][words[n]] <= place < made.constants["offsets"][words[n] + 1]


def log_joint(settings: Settings, posts: list[tuple[list[int], list[int]]], z: Any, y: Any, a: Any) -> float:
    """log P(z, y, a, words, hashtags), everything else summed out; posts of words from 0 and hashtags."""
    s, words, found = settings, 3, 0.0
    dirichlet = lambda n, prior: (  # noqa: E731
        gammaln(prior * len(n)) - gammaln(prior * len(n) + sum(n)) + sum(gammaln(prior + np.array(n)) - gammaln(prior))
    )
    topical, background = np.zeros((s.topics, words)), np.zeros(words)
    pairs = np.zeros((s.topics, words, 2))
    for (text, tags), k, switches, aligned in zip(posts, z, y, a):
        free = [n for n in range(len(text)) if switches[n]] or list(range(len(text)))
        for w, on in zip(text, switches):
            (topical[k] if on else background)[w] += 1
        for h, n in zip(tags, aligned):
            if s.by_word and n not in free:
                return -np.inf
            pairs[k, text[n] if s.by_word else 0, h] += 1
            found -= np.log(len(free)) if s.by_word else np.log(len(text))
    found += dirichlet(np.bincount(z, minlength=s.topics), s.alpha)
    found += dirichlet([background.sum(), topical.sum()], s.delta) + dirichlet(background, s.beta)
    return (
        found
        + sum(dirichlet(row, s.beta) for row in topical)
        + sum(dirichlet(row, s.gamma) for k in pairs for row in k)
    )


@pytest.mark.parametrize("translation", ["word", "topic_only"])
def test_one_post_a_block_draws_from_the_posterior(translation: Any) -> None:
    s = Settings(topics=2, alpha=0.7, beta=0.6, gamma=0.5, delta=0.8, translation=translation)
    posts = [([0, 1], [0, 1]), ([0, 2, 0], [0])]
    states, weights = [], []
    for z in product(range(2), repeat=2):
        for y in product([False, True], repeat=5):
            for a in product(range(2), range(2), range(3)) if s.by_word else [(0, 0, 0)]:
                states.append((*z, *y, *a, z[0] == z[1], y[0] == y[1], y[0] == y[2], z[0] == y[3]))
                weights.append(log_joint(s, posts, z, (y[:2], y[2:]), (a[:2], a[2:])))
    weights = np.exp(np.array(weights) - max(weights))
    expected = np.array(states, float).T @ weights / weights.sum()
    source = reading([[w + FIRST_WORD for w in text] for text, _ in posts], [tags for _, tags in posts], 3, 2)
    made = corpus(s, source, np.arange(2), 1)
    posts_made = jax.tree.map(jnp.asarray, made.posts)

    def run(key: jax.Array) -> jax.Array:
        def one(chain: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            chain, _ = gibbs.sweep(s, chain, posts_made, jax.random.fold_in(key, number), 1)
            z, y, a = (chain[name] for name in "zya")
            more = [z[0] == z[1], y[0, 0] == y[0, 1], y[0, 0] == y[1, 0], z[0] == y[1, 1]]
            own = [*z, *y[0, :2], *y[1, :3], *(a[0, :2] * s.by_word), a[1, 0] * s.by_word, *more]
            return chain, jnp.stack([x.astype(jnp.float32) for x in own])

        return jax.lax.scan(one, gibbs.first(s, posts_made, made.sizes, key), jnp.arange(150))[1][30:].mean(0)

    found = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), 400)), np.float64)
    error = found.std(0) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - expected) < 4 * error + 1e-9).all(), (found.mean(0), expected)
    assert error.max() < 0.012  # far less than what a wrong factor changes


def random_counts(s: Settings, made: corpora.Corpus, rng: np.random.Generator) -> dict[str, jax.Array]:
    """Sums of counts that could be some chain's."""
    vocabulary, pairs, _ = made.sizes
    of_pairs = rng.integers(0, 5, (pairs, s.topics))
    words = np.repeat(np.arange(len(made.constants["offsets"]) - 1), np.diff(made.constants["offsets"]))
    aligned = np.zeros((vocabulary if s.by_word else 1, s.topics))
    np.add.at(aligned, words if s.by_word else np.zeros(pairs, int), of_pairs)
    topical, background = rng.integers(0, 9, (vocabulary, s.topics)), rng.integers(0, 9, vocabulary)
    topical[:FIRST_WORD], background[:FIRST_WORD] = 0, 0
    counts = {"topics": rng.integers(0, 9, s.topics), "topical": topical, "background": background}
    return {n: jnp.asarray(x, jnp.float32) for n, x in (counts | {"pairs": of_pairs, "aligned": aligned}).items()}


def test_scores_are_the_formulas_and_add_up_to_one() -> None:
    rng = np.random.default_rng(3)
    for translation in ("word", "topic_only"):
        s = Settings(topics=3, interpolation=0.7, smoothing=0.02, translation=translation)
        made = corpus(s, some(), np.arange(21), 4)
        params = random_counts(s, made, rng) | {"samples": jnp.float32(2)}
        tokens = rng.integers(0, WORDS + FIRST_WORD, (5, 6)).astype(np.int32)
        tokens[4] = [1, 1, 0, 0, 0, 0]
        constants = {"constants": jax.tree.map(jnp.asarray, made.constants)}
        own = system(s).scores(params, constants, {"tokens": jnp.asarray(tokens)})
        c = {name: np.asarray(x, np.float64) / 2 for name, x in params.items()}
        eta = np.zeros((WORDS + FIRST_WORD, 3, HASHTAGS))
        word = np.repeat(np.arange(len(made.constants["offsets"]) - 1), np.diff(made.constants["offsets"]))
        word = word if s.by_word else np.zeros(len(c["pairs"]), int)
        np.add.at(eta, (word, slice(None), made.constants["hashtags"]), c["pairs"])
        smooth = lambda x: (x + 0.02) / (x.sum(-1, keepdims=True) + HASHTAGS * 0.02)  # noqa: E731
        both = s.interpolation * smooth(eta) + (1 - s.interpolation) * smooth(eta.sum(1, keepdims=True))
        for row, found in zip(tokens, np.exp(np.asarray(own, np.float64))):
            words = row[row >= FIRST_WORD]
            assert found.sum() == pytest.approx(1, abs=1e-5)
            if not len(words):
                np.testing.assert_allclose(found, smooth(made.constants["uses"]), rtol=1e-5)
                continue
            share = (c["topical"].sum() + s.delta) / (c["topical"].sum() + c["background"].sum() + 2 * s.delta)
            phi = share * (c["topical"][words] + s.beta) / (c["topical"].sum(0) + s.beta * WORDS)
            rest = (1 - share) * (c["background"][words] + s.beta) / (c["background"].sum() + s.beta * WORDS)
            topic = (c["topics"] + s.alpha) * np.prod(phi + rest[:, None], 0)
            r = phi / (phi + rest[:, None])
            of_words = both[words] if translation == "word" else both[[0] * len(words)]
            expected = np.einsum("k,nk,nkh->h", topic / topic.sum(), r / r.sum(0), of_words)
            np.testing.assert_allclose(found, expected, rtol=2e-5)


def story(posts: int, rng: np.random.Generator) -> tuple[list[list[int]], list[list[int]]]:
    """Posts drawn from the model's own story: what a word is translated to depends on the topic."""
    topics, words, known = 4, 24, 12
    phi, background = rng.dirichlet([0.3] * words, topics), rng.dirichlet([1.0] * words)
    eta = rng.dirichlet([0.02] * known, (topics, words))
    tokens, hashtags = [], []
    for _ in range(posts):
        z, y = rng.integers(topics), rng.random(7) < 0.7
        y[0] = True
        text = np.where(y, rng.choice(words, 7, p=phi[z]), rng.choice(words, 7, p=background))
        aligned = rng.choice(np.flatnonzero(y), rng.integers(1, 3))
        tokens.append((text + FIRST_WORD).tolist())
        hashtags.append(list(dict.fromkeys(int(rng.choice(known, p=eta[z, text[n]])) for n in aligned)))
    return tokens, hashtags


def test_blocks_are_as_good_as_single_posts_and_both_beat_naive_bayes_on_their_own_story() -> None:
    source = reading(*story(900, np.random.default_rng(11)), 24, 12)
    train, test = np.arange(200), np.arange(200, 900)
    s = Settings(topics=4, burn_in=0)
    batch = jax.tree.map(jnp.asarray, source.gather(test))
    loss, hits = {}, {}
    for block in (1, 20):
        made = corpus(s, source, train, block)
        posts = jax.tree.map(jnp.asarray, made.posts)

        def run(seed: jax.Array, block: int = block, made: Any = made, posts: Any = posts) -> Any:
            def one(i: jax.Array, carry: Any) -> Any:
                chain, params = carry
                chain, _ = gibbs.sweep(s, chain, posts, jax.random.fold_in(jax.random.key(seed), i), block)
                return chain, gibbs.kept(params, chain["counts"], i > 25)

            chain = gibbs.first(s, posts, made.sizes, jax.random.key(seed))
            none = {name: jnp.zeros(chain["counts"][name].shape) for name in gibbs.COUNTED}
            params = jax.lax.fori_loop(0, 50, one, (chain, none | {"samples": jnp.float32(0)}))[1]
            constants = {"constants": jax.tree.map(jnp.asarray, made.constants)}
            each, weight, _ = system(s).loss(params, constants, batch, {}, None)
            return each.sum() / weight.sum(), system(s).scores(params, constants, batch).argmax(1)

        losses, best = jax.jit(jax.vmap(run))(jnp.arange(8, dtype=jnp.uint32))
        loss[block] = np.asarray(losses, np.float64)
        hits[block] = float((best[:, :, None] == batch["hashtags"]).any(2).mean())
    bags, gold = counts(source, train, ("tokens",))
    fitted = naive_bayes.fit(naive_bayes.Settings(), bags, gold)
    bayes = naive_bayes.scores(naive_bayes.Settings(), fitted, batch)
    theirs = float((bayes.argmax(1)[:, None] == batch["hashtags"]).any(1).mean())
    assert min(hits.values()) > theirs + 0.03
    # Chains settle in different places: they agree as far as eight of each can tell.
    error = np.sqrt((loss[1].var(ddof=1) + loss[20].var(ddof=1)) / 8)
    assert error < 0.03 and abs(loss[1].mean() - loss[20].mean()) < 3 * error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(topics=0), "model.topics is 0; it must be above 0"),
        (Settings(gamma=-1), "model.gamma is -1; it must be above 0"),
        (Settings(interpolation=2), "model.interpolation is 2; it must be from 0 to 1"),
        (Settings(burn_in=-1), "model.burn_in is -1; it must be 0 or more"),
    ],
)
def test_impossible_settings_are_refused(settings: Settings, message: str) -> None:
    with pytest.raises(Exception, match=message):
        check(settings, ("tokens",))
