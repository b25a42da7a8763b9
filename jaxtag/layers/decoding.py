"""Decoding: from the state of a network that says one hashtag after the other to the hashtags that it says.

Greedy, or the best of a beam; a `lax.scan` over steps of static shapes. What is not a candidate, the network's own
reserved symbols included, is left out before the softmax, as training leaves out the columns that no hashtag has.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# step(carry, fixed, previous [N]) -> (carry, logits [N, L], or with an end token [N, L + 1], the end last).
# `carry` and `fixed` are pytrees of arrays `[N, …]`; a step changes the carry alone. Before the first hashtag,
# `previous` is −1.
Step = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array]]


def log_probabilities(logits: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-softmax of `logits [..., L]`, or `[..., L + 1]` with an end token, over `allowed [L]` and that; float32."""
    return jax.nn.log_softmax(jnp.where(with_end(allowed, logits.shape[-1]), logits.astype(jnp.float32), -jnp.inf))


def with_end(allowed: jax.Array, width: int) -> jax.Array:
    """`allowed [L]` as `[width]`: L, or one more, the end token, which may always be said."""
    return jnp.concatenate([allowed, jnp.ones(width - len(allowed), bool)])


def decode(
    step: Step, start: tuple[Any, Any], allowed: jax.Array, steps: int, beam: int = 1, repeats: bool = False
) -> tuple[jax.Array, jax.Array]:
    """The most probable hashtags of each post, one after the other.

    The probability of a list is the product of those of its hashtags, each given those before it, and of its end where
    it ends early. As in training, it has one hashtag at least. A beam keeps the `beam` most probable lists after every
    step; 1 is greedy.

    Args:
      step: of the network.
      start: its `(carry, fixed)` of B posts before the first step.
      allowed: the candidates, `[L]` bool.
      steps: hashtags a post at most.
      beam: lists that are kept.
      repeats: whether a hashtag may be said again; if not, a list ends where no candidate is left.

    Returns:
      Labels `[B, steps]` int32, −1 behind the end of a list, and the log-probability of each given those before it
      `[B, steps]` float32, −inf behind the end. Of equally probable hashtags the one with the smaller label is said.
    """
    posts, hashtags = len(jax.tree.leaves(start)[0]), len(allowed)
    carry, fixed = jax.tree.map(lambda x: jnp.repeat(x, beam, axis=0), start) if beam > 1 else start
    lists = (posts, beam)

    def one(state: tuple, place: jax.Array) -> tuple[tuple, None]:
        carry, previous, total, used, ended, labels, logs = state
        carry, logits = step(carry, fixed, previous.reshape(-1))
        each = _choices(log_probabilities(logits, allowed).reshape(*lists, -1), used, ended, place)
        total, best = lax.top_k((total[..., None] + each).reshape(posts, -1), beam)
        parent, said = best // (hashtags + 1), best % (hashtags + 1)
        log = jnp.take_along_axis(each.reshape(posts, -1), best, 1)
        if beam > 1:
            own = (jnp.arange(posts)[:, None] * beam + parent).reshape(-1)
            carry = jax.tree.map(lambda x: x[own], carry)
            used, labels, logs = (x.reshape(-1, x.shape[2])[own].reshape(x.shape) for x in (used, labels, logs))
        ended = said == hashtags
        if not repeats:
            used = used | (said[..., None] == jnp.arange(hashtags))
        label = jnp.where(ended, -1, said)
        labels = labels.at[..., place].set(label)
        logs = logs.at[..., place].set(jnp.where(ended, -jnp.inf, log))
        # What is said after the end is read by nobody; −1 would be a start.
        return (carry, jnp.maximum(label, 0), total, used, ended, labels, logs), None

    *_, labels, logs = lax.scan(one, (carry, *_empty(lists, hashtags, steps)), jnp.arange(steps))[0]
    return labels[:, 0], logs[:, 0]


def first(step: Step, start: tuple[Any, Any], allowed: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k hashtags most probable as a post's first one, whatever is said after it: one step instead of k.

    Where posts have one or two hashtags, later steps have little to learn from, and this order recalls more.

    Args:
      step, start, allowed: as of `decode`.
      k: hashtags a post; fewer candidates are padded.

    Returns:
      Labels `[B, k]` int32 and their log-probabilities among the candidates `[B, k]` float32; −1 and −inf where there
      are fewer candidates. Of equally probable hashtags the one with the smaller label comes first.
    """
    posts, hashtags = len(jax.tree.leaves(start)[0]), len(allowed)
    _, logits = step(*start, jnp.full(posts, -1, jnp.int32))
    logs, labels = lax.top_k(log_probabilities(logits, allowed)[:, :hashtags], min(k, hashtags))
    labels = jnp.where(jnp.isfinite(logs), labels, -1)
    grow = ((0, 0), (0, max(0, k - hashtags)))
    return jnp.pad(labels, grow, constant_values=-1), jnp.pad(logs, grow, constant_values=-jnp.inf)


def _empty(lists: tuple[int, int], hashtags: int, steps: int) -> tuple[jax.Array, ...]:
    """Before the first step: what was said last, the lists' log-probabilities, what is used, which ended, and they."""
    return (
        jnp.full(lists, -1, jnp.int32),
        jnp.zeros(lists).at[:, 1:].set(-jnp.inf),  # one empty list, not as many as the beam has room for
        jnp.zeros((*lists, hashtags), bool),
        jnp.zeros(lists, bool),
        jnp.full((*lists, steps), -1, jnp.int32),
        jnp.full((*lists, steps), -jnp.inf),
    )


def _choices(each: jax.Array, used: jax.Array, ended: jax.Array, place: jax.Array) -> jax.Array:
    """Log-probabilities `[..., L + 1]` of what a list may go on with, the last of ending; a list that is over ends.

    Args:
      each: of the network's, `[..., L]` or `[..., L + 1]`.
      used: what is not said again `[..., L]`.
      ended: which lists are over `[...]`; so are those that nothing is left for.
      place: how many hashtags a list has; one without any does not end.
    """
    hashtags = used.shape[-1]
    rest = each[..., hashtags:] if each.shape[-1] > hashtags else jnp.full((*ended.shape, 1), -jnp.inf)
    rest = jnp.where(place == 0, -jnp.inf, rest)
    each = jnp.concatenate([jnp.where(used, -jnp.inf, each[..., :hashtags]), rest], -1)
    over = ended | ~jnp.isfinite(each).any(-1)
    return jnp.where(over[..., None], jnp.where(jnp.arange(hashtags + 1) < hashtags, -jnp.inf, 0.0), each)


def distinct(labels: jax.Array, logs: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The first k different labels of each list `[B, S]` in their order, and their `logs`; −1 and −inf behind them."""
    steps = labels.shape[1]
    before = jnp.tril(jnp.ones((steps, steps), bool), -1)
    again = ((labels[:, :, None] == labels[:, None, :]) & before).any(2)
    order = jnp.argsort(again | (labels < 0), axis=1, stable=True)[:, :k]
    kept = jnp.take_along_axis(~again & (labels >= 0), order, 1)
    taken = (jnp.take_along_axis(x, order, 1) for x in (labels, logs))
    labels, logs = (jnp.where(kept, x, none) for x, none in zip(taken, (-1, -jnp.inf)))
    grow = ((0, 0), (0, max(0, k - steps)))
    return jnp.pad(labels, grow, constant_values=-1), jnp.pad(logs, grow, constant_values=-jnp.inf)
