"""Decoding against every list that there is, and on a network whose next hashtag depends on all those before."""

from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.layers.decoding import decode, distinct, first, log_probabilities

HASHTAGS, POSTS = 5, 6
ALLOWED = np.array([True, True, False, True, True])
KEYS = jax.random.split(jax.random.key(3), 4)
W, START, U = (np.asarray(jax.random.normal(key, (8, 8))) * 1.5 for key in KEYS[:3])
OUT = np.asarray(jax.random.normal(KEYS[3], (8, HASHTAGS + 1))) * 2


def step(carry, fixed, previous):
    """A small recurrent network; its end token is the last logit."""
    told = jnp.where(previous[:, None] < 0, jnp.asarray(START)[0], jnp.asarray(W)[previous])
    carry = jnp.tanh(carry @ jnp.asarray(U) + told + fixed)
    return carry, carry @ jnp.asarray(OUT)


def without_end(carry, fixed, previous):
    carry, logits = step(carry, fixed, previous)
    return carry, logits[:, :-1]


def posts() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((POSTS, 8), np.float32), np.asarray(jax.random.normal(jax.random.key(7), (POSTS, 8)))


_step = {True: jax.jit(step), False: jax.jit(without_end)}


def log_of(said: tuple[int, ...], ends: bool, fixed: np.ndarray) -> list[float]:
    """The log-probability of each of `said`, and of the end where the network has one and the list is over."""
    carry, previous, found = np.zeros((1, 8), np.float32), -1, []
    for label in said:
        carry, logits = _step[ends](carry, fixed[None], np.array([previous]))
        found.append(float(log_probabilities(logits, jnp.asarray(ALLOWED))[0, label]))
        previous = label
    return found


def every_list(steps: int, ends: bool, repeats: bool):
    """Every list of at most `steps` candidates, those that end early with the end, HASHTAGS, behind them."""
    names = np.flatnonzero(ALLOWED).tolist()
    for length in range(1 if ends else steps, steps + 1):
        for said in product(names, repeat=length) if repeats else permutations(names, length):
            yield (*said, HASHTAGS) if length < steps else said


def oracle_greedy(steps: int, ends: bool, repeats: bool, fixed: np.ndarray) -> list[int]:
    said: list[int] = []
    for _ in range(steps):
        choices = [c for c in np.flatnonzero(ALLOWED) if repeats or c not in said] + [HASHTAGS] * (ends and said != [])
        if not choices:
            break
        best = max(choices, key=lambda c: log_of((*said, int(c)), ends, fixed)[-1])
        if best == HASHTAGS:
            break
        said.append(int(best))
    return said


def padded(said, steps: int) -> list[int]:
    said = [label for label in said if label != HASHTAGS]
    return [*said, *[-1] * (steps - len(said))]


@pytest.mark.parametrize(("ends", "repeats"), [(True, False), (False, False), (True, True)])
def test_greedy_says_the_most_probable_candidate_at_every_step(ends: bool, repeats: bool) -> None:
    start, steps = posts(), 3 if repeats else 5  # four candidates: without repeats, the fifth place stays empty
    labels, logs = jax.jit(lambda s: decode(_step[ends], s, jnp.asarray(ALLOWED), steps, repeats=repeats))(start)
    for said, log, fixed in zip(np.asarray(labels).tolist(), np.asarray(logs), start[1]):
        expected = oracle_greedy(steps, ends, repeats, fixed)
        assert said == padded(expected, steps)
        np.testing.assert_allclose(log[: len(expected)], log_of(tuple(expected), ends, fixed), rtol=1e-5, atol=1e-6)
        assert np.isneginf(log[len(expected) :]).all()
        if not repeats:
            assert len(set(expected)) == len(expected)


@pytest.mark.parametrize(("ends", "repeats"), [(True, False), (False, False), (True, True)])
def test_a_wide_beam_finds_the_most_probable_list(ends: bool, repeats: bool) -> None:
    start, steps = posts(), 3
    run = jax.jit(lambda s, beam: decode(_step[ends], s, jnp.asarray(ALLOWED), steps, beam, repeats), static_argnums=1)
    whole = []
    for beam in (1, 2, 64):
        labels, logs = run(start, beam)
        whole.append([])
        for said, log, fixed in zip(np.asarray(labels).tolist(), np.asarray(logs), start[1]):
            named = tuple(label for label in said if label >= 0)
            ended = (*named, HASHTAGS) if len(named) < steps else named
            whole[-1].append(sum(log_of(ended, ends, fixed)))
            np.testing.assert_allclose(log[: len(named)], log_of(named, ends, fixed), rtol=1e-5, atol=1e-6)
            if beam == 64:
                best = max(every_list(steps, ends, repeats), key=lambda said: sum(log_of(said, ends, fixed)))
                assert said == padded(best, steps)
    assert (np.array(whole[2]) >= np.array(whole[0]) - 1e-6).all() and np.sum(whole[2]) > np.sum(whole[0])


@pytest.mark.parametrize("ends", [True, False])
def test_by_probability_as_the_first_one(ends: bool) -> None:
    start = posts()
    labels, logs = jax.jit(lambda s: first(_step[ends], s, jnp.asarray(ALLOWED), 6))(start)
    for said, log, fixed in zip(np.asarray(labels).tolist(), np.asarray(logs), start[1]):
        each = {h: log_of((h,), ends, fixed)[0] for h in range(HASHTAGS) if ALLOWED[h]}
        expected = sorted(each, key=lambda h: -each[h])
        assert said == padded(expected, 6)
        np.testing.assert_allclose(log[: len(expected)], [each[h] for h in expected], rtol=1e-5, atol=1e-6)
        assert np.isneginf(log[len(expected) :]).all()


def test_lists_without_repetitions_keep_their_order() -> None:
    labels = jnp.array([[3, 3, 1, 3, 0], [2, -1, -1, -1, -1], [4, 4, 4, 4, 4]])
    logs = jnp.arange(15.0).reshape(3, 5)
    found, kept = distinct(labels, logs, 3)
    assert found.tolist() == [[3, 1, 0], [2, -1, -1], [4, -1, -1]]
    assert kept.tolist() == [[0, 2, 4], [5, -np.inf, -np.inf], [10, -np.inf, -np.inf]]
    assert distinct(labels, logs, 7)[0].shape == (3, 7)
