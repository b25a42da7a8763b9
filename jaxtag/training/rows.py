"""Row-sparse tables: a step gathers the table rows that its batch names, learns on them, and scatters them back.

The step itself, the model and the optimizer are not told: they see tables of `training.rows` rows, and a batch whose
ids are places among them. Gradients of an id that occurs often are combined by the gather's own transpose, the clip
norm is taken over what is combined, and an optimizer slot is a leaf like its table, gathered and scattered with it.

Against dense tables, `sgd` and `adagrad` give the same numbers, but for rounding. l2 and weight decay differ: they
reach the rows of the batch, and the row of padding, instead of all. `lazy_adam` is the rule that this makes of Adam.

Where one CPU has the whole batch, words of history lie in bins that are nearly full (`jaxtag.layers.bags`).

A batch with more distinct ids than `training.rows`, or more words of history than the bins have room for, takes the
whole tables through the same step, rows that it does not name masked: slower, the same numbers, nothing dropped. Either
way is a loop of no or one turn: XLA updates what a loop carries in place, where `lax.cond` copies the tables
(tests/benchmarks/rows.py). Under vmap a loop runs both for members that differ, and copies the tables to choose between
them.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from jaxtag.data.posts import HISTORY
from jaxtag.entries import Indexed
from jaxtag.experiment import Training
from jaxtag.layers import bags
from jaxtag.parallel.mesh import replicated
from jaxtag.systems import System
from jaxtag.training.parts import Gradient, packs
from jaxtag.training.row_gradients import RowGradient

Step = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, jax.Array]]]

# Tables of fewer than this times `training.rows` rows stay dense. Milliseconds a step, dense against row-sparse, by
# tests/benchmarks/rows.py on two busy CPU cores: bag of 300 wide vectors, rows 16,384, at 24,576 words 102 : 119, at
# 32,768 143 : 164 (of the fastest steps 109 : 73), at 49,152 191 : 113; rnn_attention, rows 4,096, at 8,192 words
# 288 : 243, at 16,384 330 : 271, at 32,768 514 : 263.
PAYS = 2


def sparse_tables(system: System, training: Training) -> tuple[Indexed, ...]:
    """The tables that `training.rows` makes row-sparse: those large enough to pay; under `lazy_adam`, all."""
    if not training.rows:
        return ()
    lazy = training.optimizer == "lazy_adam"
    found = (g for g in system.entry.indexed if g.tables)
    return tuple(g for g in found if lazy or getattr(system.sizes, g.size) >= PAYS * training.rows)


def by_rows(system: System, sized: Callable[[System], Step], training: Training, mesh: Mesh | None) -> Step:
    """The step of `system` on the rows that a batch names; `sized(system)` where no table is row-sparse.

    Args:
      system: whose step.
      sized: makes the step of a system, whatever the size of its tables.
      training: whose `rows` is the capacity.
      mesh: where; what is gathered lies on every device of it.
    """
    groups = sparse_tables(system, training)
    if not groups:
        return sized(system)
    capacity = {g: min(training.rows, getattr(system.sizes, g.size)) for g in groups}
    room = system.sizes.packed if _packs(training, mesh) else 0
    compact, whole = sized(system.resized(**{g.size: capacity[g] for g in groups})), sized(system)

    def everywhere(x: jax.Array) -> jax.Array:
        return x if mesh is None else lax.with_sharding_constraint(x, replicated(mesh))

    def train_step(state: Any, numbers: Any, batch: Any) -> tuple[Any, dict[str, jax.Array]]:
        ids = {g: everywhere(_ids(batch, g.columns)) for g in groups}
        found = {g: distinct(ids[g], getattr(system.sizes, g.size), capacity[g]) for g in groups}
        count = jnp.stack([found[g][2] for g in groups])
        over = (count > jnp.array([capacity[g] for g in groups])).any()
        over |= room > 0 and ~bags.fits(batch[HISTORY], room)

        def few(state: Any) -> tuple[Any, dict[str, jax.Array]]:
            rows = {table: found[g][0] for g in groups for table in g.tables}
            part = _at(rows, lambda r, x: everywhere(x.at[r].get(mode="fill", fill_value=0)), state)
            places = {name: p for g in groups for name, p in _places(batch, g.columns, found[g][1]).items()}
            with bags.packed_words(room):
                new, sums = compact(part, numbers, batch | places)
            put = lambda r, n, x: x.at[r].set(n, mode="drop", unique_indices=True)  # noqa: E731
            return _at(rows, put, new, state), sums

        def many(state: Any) -> tuple[Any, dict[str, jax.Array]]:
            used = {g: jnp.zeros((getattr(system.sizes, g.size), 1), bool).at[ids[g]].set(True) for g in groups}
            rows = {table: used[g] for g in groups for table in g.tables}
            new, sums = whole(_at(rows, lambda u, x: jnp.where(u, x, 0), state), numbers, batch)
            return _at(rows, jnp.where, new, state), sums

        if not room and all(capacity[g] >= len(ids[g]) for g in groups):  # never too many: no second program
            state, sums = few(state)
            return state, sums | {"rows": count.max().astype(jnp.float32)}
        carry = (state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(few, state)[1]))
        carry = lax.fori_loop(0, 1 - over.astype(jnp.int32), lambda _, c: few(c[0]), carry)
        state, sums = lax.fori_loop(0, over.astype(jnp.int32), lambda _, c: many(c[0]), carry)
        return state, sums | {"rows": count.max().astype(jnp.float32)}

    return train_step


def _packs(training: Training, mesh: Mesh | None) -> bool:
    """Whether a step's batch is computed in one piece that may be put in bins."""
    whole = training.accumulate == 1 and not training.by_length
    return whole and packs(mesh) and bags.can_pack(training.batch)


def gradient_by_rows(system: System, sized: Callable[[System], Gradient], mesh: Mesh | None) -> Gradient:
    """The gradient of `system` through the table rows that a batch names, a `RowGradient` of each such table.

    What is summed over parts of a batch, and clipped, is then as small as the batch, not as its tables.

    Args:
      system: whose gradient.
      sized: makes the gradient of a system, whatever the size of its tables.
      mesh: where; what is gathered lies on every device of it.
    """
    whole = sized(system)

    def everywhere(x: jax.Array) -> jax.Array:
        return x if mesh is None else lax.with_sharding_constraint(x, replicated(mesh))

    def gradient(params: Any, collections: Any, batch: Any, numbers: Any, keys: jax.Array) -> Any:
        ids = {g: _ids(batch, g.columns) for g in system.entry.indexed if g.tables}
        ids = {g: everywhere(x) for g, x in ids.items() if getattr(system.sizes, g.size) >= PAYS * x.size}
        if not ids:
            return whole(params, collections, batch, numbers, keys)
        found = {g: distinct(x, getattr(system.sizes, g.size), x.size) for g, x in ids.items()}
        rows = {table: found[g][0] for g in ids for table in g.tables}
        few = _at(rows, lambda r, x: everywhere(x.at[r].get(mode="fill", fill_value=0)), {"": params})[""]
        for g in ids:
            batch = batch | _places(batch, g.columns, found[g][1])
        told, grads = sized(system.resized(**{g.size: x.size for g, x in ids.items()}))(
            few, collections, batch, numbers, keys
        )
        return told, _at(rows, RowGradient, {"": grads})[""]

    return gradient


def distinct(ids: jax.Array, size: int, capacity: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The distinct values of `ids` in rising order, without a sort.

    Ids are marked in an array of bits; the place of an id is the number of bits set in the words before its own,
    a cumulative sum, and below it in that word. For 39,937 ids of 300,000 this takes 0.4 ms on two CPU cores, a
    cumulative sum over marks of whole rows 1.2 ms, a sort 2.9 ms and `jnp.unique` 8.6 ms. That values rise makes
    gathering and scattering the rows a third faster than the order in which they occur.

    Args:
      ids: `[n]` int32 in 0 … size − 1.
      size: rows of the table.
      capacity: C.

    Returns:
      Values `[C]` int32, past the last of them numbers from `size` on, all different; the place of each id among
      them `[n]`; and how many there are. Values past the first C are left out.
    """
    marks = jnp.zeros(-(-size // 32) * 32, bool).at[ids].set(True).reshape(-1, 32)
    words = (marks.astype(jnp.uint32) << jnp.arange(32, dtype=jnp.uint32)).sum(axis=1, dtype=jnp.uint32)
    counts = lax.population_count(words).astype(jnp.int32)
    upto = jnp.cumsum(counts)
    word, bit = ids >> 5, (ids & 31).astype(jnp.uint32)
    below = lax.population_count(words[word] & ((jnp.uint32(1) << bit) - jnp.uint32(1)))
    place = (upto - counts)[word] + below.astype(jnp.int32)
    values = (size + jnp.arange(capacity, dtype=jnp.int32)).at[place].set(ids, mode="drop")
    return values, place, upto[-1]


def _ids(batch: dict[str, jax.Array], columns: Iterable[str]) -> jax.Array:
    """Padding and all ids of `columns`, `[1 + n]`: id 0 is always among them, so that its place stays 0."""
    flat = [jnp.maximum(batch[name], 0).reshape(-1) for name in columns]
    return jnp.concatenate([jnp.zeros(1, jnp.int32), *flat])


def _places(batch: dict[str, jax.Array], columns: Iterable[str], place: jax.Array) -> dict[str, jax.Array]:
    """The columns with ids replaced by their places; negative ones stay."""
    changed, start = {}, 1
    for name in columns:
        ids = batch[name]
        changed[name] = jnp.where(ids < 0, ids, place[start : start + ids.size].reshape(ids.shape))
        start += ids.size
    return changed


def _at(rows: dict[str, jax.Array], change: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`tree` with `change(rows[table], leaf, …)` in place of a table and of its slots: leaves whose path ends so."""

    def one(path: Any, leaf: jax.Array, *others: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for table, at in rows.items():
            if name.endswith(f"/{table}"):
                return change(at, leaf, *others)
        return leaf

    return jax.tree_util.tree_map_with_path(one, tree, *rest)
