"""Arithmetic on the real words of a padded batch alone, where posts come sorted by length.

Arrays are time first, `[T, B, …]`, and posts rise in length, so that the real words of a stretch of time are the last
rows of the batch. A `Plan` cuts time into phases by how many last rows are enough; a phase is a loop of a traced number
of steps over a fixed number of rows. Whatever the order, every real word is among the rows of its phase: an unsorted
batch costs time, nothing else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

CHUNK = 2  # steps of time that a product takes at once
_sorted: ContextVar[bool] = ContextVar("sorted", default=False)


@contextmanager
def sorted_by_length(whole: bool = True) -> Iterator[None]:
    """While tracing inside, layers may take batches to be sorted by length, each whole on one device."""
    token = _sorted.set(whole)
    try:
        yield
    finally:
        _sorted.reset(token)


def is_sorted() -> bool:
    """Whether a batch that is traced now is sorted by length."""
    return _sorted.get()


class Plan(NamedTuple):
    """Phases of a batch: phase i covers the steps `upto[i]` … `upto[i + 1]` − 1 with the last `rows(B)[i]` rows.

    Attributes:
      upto: steps of time, in multiples of the chunk, `[phases + 1]` int32; the first is 0.
    """

    upto: jax.Array


def rows(batch: int) -> list[int]:
    """How many last rows each phase has, falling: the whole batch, seven eighths, … one eighth of it."""
    return sorted({batch * part // 8 or 1 for part in range(8, 0, -1)}, reverse=True)


def chunk_of(steps: int) -> int:
    """Steps that are taken at once, which must divide all of them."""
    return CHUNK if steps % CHUNK == 0 else 1


def plan(mask: jax.Array) -> Plan:
    """The phases of a batch whose real words are `mask` `[T, B]`."""
    steps, batch = mask.shape
    chunk = chunk_of(steps)
    need = jnp.where(mask.any(axis=1), batch - jnp.argmax(mask, axis=1), 0)
    need = lax.cummax(need.reshape(-1, chunk).max(axis=1), reverse=True)
    fewer = jnp.array([*rows(batch)[1:], 0])
    upto = chunk * (need[:, None] > fewer).sum(axis=0)
    return Plan(jnp.concatenate([jnp.zeros(1, jnp.int32), upto.astype(jnp.int32)]))


def over_steps(
    phases: Plan, batch: int, reverse: bool, step: Callable[[jax.Array, Any, int], Any], start: Any, stride: int = 1
) -> Any:
    """Fold `step(t, carry, rows)` over every real step of time, in order or from the last to the first."""
    found = list(enumerate(rows(batch)))
    carry = start
    for i, many in reversed(found) if reverse else found:
        low, high = phases.upto[i], phases.upto[i + 1]

        def body(n: jax.Array, carry: Any, low: Any = low, high: Any = high, many: int = many) -> Any:
            return step(high - stride * (n + 1) if reverse else low + stride * n, carry, many)

        carry = lax.fori_loop(0, (high - low) // stride, body, carry)
    return carry


def taken(x: jax.Array, t: jax.Array, many: int, steps: int = 1) -> jax.Array:
    """`steps` steps from `t` of the last `many` rows of `x`, `[steps, many, …]`."""
    return lax.dynamic_slice(x, (t, x.shape[1] - many, 0), (steps, many, x.shape[2]))


def put(x: jax.Array, new: jax.Array, t: jax.Array) -> jax.Array:
    """`x` with `new` `[steps, many, …]` as its steps from `t` of the last rows."""
    return lax.dynamic_update_slice(x, new, (t, x.shape[1] - new.shape[1], 0))


def plan_if_sorted(mask: jax.Array) -> Plan | None:
    """The phases of `mask` `[T, B]` where the batch is sorted; None where it is not known to be."""
    return plan(mask) if is_sorted() else None


def project(x: jax.Array, kernel: jax.Array, phases: Plan | None) -> jax.Array:
    """x W, `[T, B, e]` to `[T, B, n]`; with `phases`, at real words: other places hold zeros or what they would."""
    return x @ kernel if phases is None else _project(x, kernel, phases)


def products(x: jax.Array, g: jax.Array, phases: Plan | None) -> jax.Array:
    """Σ xᵀ g over time and posts, `[T, B, e]` and `[T, B, n]` to `[e, n]`; g is zero where there is no real word."""
    if phases is None:
        return jnp.einsum("tbe,tbn->en", x, g)
    chunk = chunk_of(len(x))

    def step(t: jax.Array, sums: jax.Array, many: int) -> jax.Array:
        return sums + jnp.einsum("tbe,tbn->en", taken(x, t, many, chunk), taken(g, t, many, chunk))

    return over_steps(phases, x.shape[1], False, step, jnp.zeros((x.shape[2], g.shape[2]), x.dtype), chunk)


def _rows_by(x: jax.Array, kernel: jax.Array, phases: Plan) -> jax.Array:
    chunk = chunk_of(len(x))

    def step(t: jax.Array, out: jax.Array, many: int) -> jax.Array:
        return put(out, taken(x, t, many, chunk) @ kernel, t)

    start = jnp.zeros((*x.shape[:2], kernel.shape[1]), x.dtype)
    return over_steps(phases, x.shape[1], False, step, start, chunk)


def _back(residuals: Any, g: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x, kernel, phases = residuals
    return _rows_by(g, kernel.T, phases), products(x, g, phases), None


_project = jax.custom_vjp(_rows_by)
_project.defvjp(lambda x, kernel, phases: (_rows_by(x, kernel, phases), (x, kernel, phases)), _back)
