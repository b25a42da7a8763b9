"""Sweeps of the topical translation model's collapsed Gibbs sampler (`jaxtag.estimators.topical_translation`).

Posts come as arrays, sorted by their number of words, so that a block's posts are about as long:

    words [D, T]   known word ids, 0 behind them        many, tags [D]   how many words and hashtags each has
    place [Q]      of each post's hashtags m and words n the pair's place in the table, at start + m · many + n;
    start [D]      with topic_only the hashtag's label, at start + m
    known          L, how many hashtags there are

The chain is z `[D]`, y `[D, T]`, a `[D, H]`, and the counts that follow from them, whole numbers.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.data.posts import FIRST_WORD
from jaxtag.estimators.topical_translation import COUNTED, Settings

Arrays = dict[str, jax.Array]
TOLD = ("loss", "weight", "moved", "topical", "words")  # what a sweep tells


def first(s: Settings, posts: Arrays, sizes: tuple[int, int, int], key: jax.Array) -> Any:
    """A chain begun at random: topics evenly, half of the words topical, alignments among those.

    Args:
      s: settings.
      posts: as above; those of no words are padding.
      sizes: rows of the vocabulary, pairs, and most hashtags of a post.
      key: of the draws.
    """
    words, (vocabulary, table, most) = posts["words"], sizes
    uniform = jax.random.uniform(key, (len(words), 1 + words.shape[1] + most))
    z = (uniform[:, 0] * s.topics).astype(jnp.int32)
    real = words != 0
    y = real & (uniform[:, 1 : 1 + words.shape[1]] < 0.5)
    allowed = jnp.where(y.any(1, keepdims=True), y, real).astype(jnp.float32)
    a = lax.map(lambda u: _drawn(u, allowed), uniform[:, 1 + words.shape[1] :].T).T
    a = a * (jnp.arange(most) < posts["tags"][:, None]) * s.by_word
    zeros = lambda *shape: jnp.zeros(shape, jnp.int32)  # noqa: E731
    counts = {
        "topics": zeros(s.topics), "background": zeros(vocabulary), "topical": zeros(vocabulary, s.topics),
        "pairs": zeros(table, s.topics), "aligned": zeros(vocabulary if s.by_word else 1, s.topics),
        "totals": zeros(s.topics),
    }  # fmt: skip
    return {"z": z, "y": y, "a": a, "counts": _added(s, counts, posts, (z, y, a), 1)}


def sweep(s: Settings, chain: Any, posts: Arrays, key: jax.Array, block: int) -> tuple[Any, Arrays]:
    """Every post once, `block` of them at a time; the chain, and sums of what is told of the posts.

    `loss` is −Σ_d log P(topical words and hashtags of d | all other posts), `weight` their number; `moved` posts
    changed their topic; `topical` of `words` words are.
    """

    def at(number: jax.Array, carry: tuple[Any, Arrays]) -> tuple[Any, Arrays]:
        chain, told = carry
        cut = lambda x: lax.dynamic_slice_in_dim(x, number * block, block)  # noqa: E731
        own = {name: x if name in ("place", "known") else cut(x) for name, x in posts.items()}
        old = tuple(cut(chain[name]) for name in "zya")
        counts, new, more = _block(s, chain["counts"], own, old, jax.random.fold_in(key, number))
        counts = _added(s, _added(s, counts, own, old, -1), own, new, 1)
        put = lambda x, y: lax.dynamic_update_slice_in_dim(x, y, number * block, 0)  # noqa: E731
        chain = {name: put(chain[name], x) for name, x in zip("zya", new)} | {"counts": counts}
        return chain, {name: told[name] + more[name] for name in TOLD}

    blocks = len(posts["words"]) // block
    return lax.fori_loop(0, blocks, at, (chain, {name: jnp.float32(0) for name in TOLD}))


def kept(params: Arrays, counts: Arrays, after: jax.Array) -> Arrays:
    """Sums of counts with those of a sweep: alone until `after` (a truth value), added from then on."""
    mine = {name: counts[name].astype(jnp.float32) for name in COUNTED} | {"samples": jnp.float32(1)}
    return {name: jnp.where(after, params[name], 0) + value for name, value in mine.items()}


def _block(s: Settings, counts: Arrays, posts: Arrays, old: Any, key: jax.Array) -> tuple[Arrays, Any, Arrays]:
    """The counts as they were, new z, y and a of a block of posts, and what is told of it."""
    length = posts["words"].shape[1]
    uniform = jax.random.uniform(key, (len(old[0]), 1 + length + old[2].shape[1]))
    counts, z, found = _topics(s, counts, posts, old, uniform[:, 0])
    counts, y = _switches(s, counts, posts, old, z, uniform[:, 1 : 1 + length])
    if s.by_word:
        counts, a = _alignments(s, counts, posts, old, z, y, uniform[:, 1 + length :])
    else:
        a = old[2]
    real = posts["many"] > 0
    told = {
        "loss": -jnp.where(real, found, 0).sum(), "weight": jnp.where(real, old[1].sum(1) + posts["tags"], 0).sum(),
        "moved": (real & (z != old[0])).sum(), "topical": y.sum(), "words": posts["many"].sum(),
    }  # fmt: skip
    return counts, (z, y, a), {name: value.astype(jnp.float32) for name, value in told.items()}


def _each(many: jax.Array, body: Any, counts: Arrays, start: Any) -> tuple[Arrays, Any]:
    """`body(counts, i, x)` for i below `many`, from x = `start`; the counts, and the last x.

    The counts go through the loop, and are used behind it as it gives them: read from without, they would be copied
    whole before they are changed.
    """

    def one(i: jax.Array, carry: tuple[Arrays, Any]) -> tuple[Arrays, Any]:
        counts = lax.optimization_barrier(carry[0])  # or it would be found out to be the same, and taken out again
        return counts, body(counts, i, carry[1])

    return lax.fori_loop(0, many, one, (counts, start))


def _topics(
    s: Settings, counts: Arrays, posts: Arrays, old: Any, uniform: jax.Array
) -> tuple[Arrays, jax.Array, jax.Array]:
    """z of each post `[B]` by `uniform [B]`, given y and a; the log-probability of its topical words and hashtags."""
    (z, y, a), words = old, posts["words"]
    mine = jax.nn.one_hot(z, s.topics, dtype=jnp.float32)
    less = lambda count, many: count - many[:, None] * mine  # noqa: E731

    def word(counts: Arrays, n: jax.Array, logit: jax.Array) -> jax.Array:
        same = y & (words == words[:, n, None])
        rank = (same & (jnp.arange(words.shape[1]) < n)).sum(1)
        there = less(counts["topical"][words[:, n]], same.sum(1)) + rank[:, None] + s.beta
        return logit + jnp.where(y[:, n, None], jnp.log(there), 0)

    sources, valid = _sources(s, posts, a), jnp.arange(a.shape[1]) < posts["tags"][:, None]

    def hashtag(counts: Arrays, m: jax.Array, logit: jax.Array) -> jax.Array:
        same = valid & (sources == sources[:, m, None])
        rank = (same & (jnp.arange(a.shape[1]) < m)).sum(1)
        there = less(counts["pairs"][_place(s, posts, m, a[:, m, None])[:, 0]], jnp.ones(len(z))) + s.gamma
        every = less(counts["aligned"][sources[:, m]], same.sum(1)) + rank[:, None] + posts["known"] * s.gamma
        return logit + jnp.where(valid[:, m, None], jnp.log(there / every), 0)

    many, smoothing = y.sum(1).astype(jnp.float32), s.beta * (len(counts["background"]) - FIRST_WORD)
    totals = less(counts["totals"], many) + smoothing
    given = jax.scipy.special.gammaln(totals) - jax.scipy.special.gammaln(totals + many[:, None])
    counts, given = _each(posts["many"].max(), word, counts, given)
    counts, given = _each(posts["tags"].max(), hashtag, counts, given)
    prior = less(counts["topics"], jnp.ones(len(z))) + s.alpha
    logit = given + jnp.log(prior)
    drawn = _drawn(uniform, jnp.exp(logit - logit.max(1, keepdims=True)))
    return counts, drawn, jax.nn.logsumexp(logit, axis=1) - jnp.log(prior.sum(1))


def _switches(
    s: Settings, counts: Arrays, posts: Arrays, old: Any, z: jax.Array, uniform: jax.Array
) -> tuple[Arrays, jax.Array]:
    """y of each post `[B, T]` by `uniform [B, T]`, given its z and a, one word after the other."""
    (was, before, a), words = old, posts["words"]
    real, tags = words != 0, posts["tags"]
    stayed, smoothing = z == was, s.beta * (len(counts["background"]) - FIRST_WORD)
    aligned = jnp.arange(a.shape[1]) < tags[:, None]
    topical, rest = counts["totals"].sum(), counts["background"].sum()

    def word(counts: Arrays, n: jax.Array, y: jax.Array) -> jax.Array:
        w, other = words[:, n], jnp.arange(words.shape[1]) != n
        same = real & (words == w[:, None])
        # Of the post's own words: what the counts have of them, taken away, and what the others are now.
        more = lambda now, then: (now & other).sum(1) - then.sum(1)  # noqa: E731
        off, off_before = real & ~y, real & ~before
        background = rest + more(off, off_before), counts["background"][w] + more(off & same, off_before & same)
        share = topical + more(y, before)
        left = jnp.where(stayed[:, None], before, False)
        own = counts["totals"][z] + more(y, left), counts["topical"][w, z] + more(y & same, left & same)
        p0 = (background[0] + s.delta) * (background[1] + s.beta) / (background[0] + smoothing)
        p1 = (share + s.delta) * (own[1] + s.beta) / (own[0] + smoothing)
        if s.by_word:
            others, here = (y & other).sum(1), aligned & (a == n)
            all_free = jnp.where(others > 0, others, posts["many"])
            p1 = p1 * ((all_free / (others + 1.0)) ** tags)  # over what p0 has
            p0 = jnp.where(here.any(1) & (others > 0), 0, p0)
            p1 = jnp.where((aligned & (a != n)).any(1) & (others == 0), 0, p1)
        drawn = uniform[:, n] * (p0 + p1) < p1
        return y.at[:, n].set(jnp.where(real[:, n], drawn, y[:, n]))

    return _each(posts["many"].max(), word, counts, before)


def _alignments(
    s: Settings, counts: Arrays, posts: Arrays, old: Any, z: jax.Array, y: jax.Array, uniform: jax.Array
) -> tuple[Arrays, jax.Array]:
    """a of each post `[B, H]` by `uniform [B, H]`, given its z and y, one hashtag after the other."""
    was, _, before = old
    words, stayed = posts["words"], (z == was)[:, None]
    allowed = jnp.where(y.any(1, keepdims=True), y, words != 0)
    valid = jnp.arange(before.shape[1]) < posts["tags"][:, None]
    positions, sources = jnp.arange(words.shape[1])[None], jnp.where(valid, _sources(s, posts, before), -1)
    # How many hashtags translate each word: as the counts have it, and as the loop goes.
    then = (sources[:, :, None] == words[:, None]).sum(1)

    def hashtag(counts: Arrays, m: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        (a, now), on = carry, valid[:, m, None]
        now = now - (on & (words == jnp.take_along_axis(words, a[:, m, None], 1)))
        place = jnp.where(allowed, _place(s, posts, m, positions), 0)  # what is not read is not looked up
        there = counts["pairs"][place, z[:, None]] - (stayed & (place == _place(s, posts, m, before[:, m, None])))
        every = counts["aligned"][words, z[:, None]] - jnp.where(stayed, then, 0) + now
        weights = jnp.where(allowed, (there + s.gamma) / (every + posts["known"] * s.gamma), 0)
        a = a.at[:, m].set(jnp.where(on[:, 0], _drawn(uniform[:, m], weights), a[:, m]))
        return a, now + (on & (words == jnp.take_along_axis(words, a[:, m, None], 1)))

    counts, (a, _) = _each(posts["tags"].max(), hashtag, counts, (before, then))
    return counts, a


def _added(s: Settings, counts: Arrays, posts: Arrays, chain: Any, sign: int) -> Arrays:
    """The counts with those of posts added, or taken away where `sign` is −1."""
    z, y, a = chain
    words, topic = posts["words"], z[:, None]
    real = posts["many"] > 0
    valid = sign * (jnp.arange(a.shape[1]) < posts["tags"][:, None]) * real[:, None]
    place = _place(s, posts, jnp.arange(a.shape[1]), a)
    on = sign * y
    return {
        "topics": counts["topics"].at[z].add(sign * real),
        "background": counts["background"].at[words].add(sign * ((words != 0) & ~y)),
        "topical": counts["topical"].at[words, topic].add(on),
        "totals": counts["totals"].at[z].add(on.sum(1)),
        "pairs": counts["pairs"].at[place, topic].add(valid),
        "aligned": counts["aligned"].at[_sources(s, posts, a), topic].add(valid),
    }


def _sources(s: Settings, posts: Arrays, a: jax.Array) -> jax.Array:
    """The words that hashtags translate `[B, H]`; 0 where they translate none."""
    return jnp.take_along_axis(posts["words"], a, axis=1) if s.by_word else jnp.zeros_like(a)


def _place(s: Settings, posts: Arrays, m: jax.Array, n: jax.Array) -> jax.Array:
    """Where the counts are of hashtags `m` (one of each post's, or `[X]`) with words `n [B, X]`: `[B, X]`."""
    start, many = posts["start"][:, None], posts["many"][:, None]
    index = start + m * many + n if s.by_word else start + m + 0 * n
    return posts["place"][jnp.clip(index, 0, len(posts["place"]) - 1)]


def _drawn(uniform: jax.Array, weights: jax.Array) -> jax.Array:
    """The place of a draw from each row of `weights [B, n]`, by `uniform [B]`; 0 of a row of zeros."""
    ends = jnp.cumsum(weights, axis=1)
    return (ends > uniform[:, None] * ends[:, -1:]).argmax(1).astype(jnp.int32)
