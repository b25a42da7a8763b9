"""Row-sparse tables give the dense tables' numbers, whatever is repeated, overflows, or lies on several devices."""

import re
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.entries import Entry, Indexed
from jaxtag.experiment import Experiment, Parallel, Training
from jaxtag.layers.embedding import SoftmaxHead, WordTable
from jaxtag.parallel.mesh import make_mesh, replicated
from jaxtag.systems import Sizes, System
from jaxtag.training import rows as sparse
from jaxtag.training.objectives import OBJECTIVES
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step

WORDS, HASHTAGS, BATCH, LENGTH, EARLIER = 480, 16, 16, 9, 4
IDS = BATCH * (LENGTH + EARLIER) + 1  # with padding: no step can have more


@dataclass(frozen=True)
class Settings:
    dropout: float = 0.0


class Bag(nn.Module):
    """The mean vector of a post's words and another table's mean of an earlier post's, softmax."""

    settings: Settings
    words: int
    hashtags: int

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], rate: Any, key: Any) -> jax.Array:
        own, mask = WordTable(self.words, 6, name="word_table")(batch["tokens"])
        past, known = WordTable(self.words, 6, name="history_table")(jnp.maximum(batch["earlier"], 0))
        sums = jnp.concatenate([own.sum(1), past.sum(1)], 1)
        counts = jnp.repeat(jnp.stack([mask.sum(1), known.sum(1)], 1), 6, axis=1)
        return SoftmaxHead(self.hashtags, 12, name="head")(sums / jnp.maximum(counts, 1))


BOTH = (Indexed(("word_table/table", "history_table/table"), ("tokens", "earlier"), "words"),)


class Drawn:
    """Steps' batches, drawn once: Zipf-distributed words, padding among them, −1 for no earlier post."""

    steps = 100

    def __init__(self, mesh: Any, seed: int = 0):
        rng = np.random.default_rng(seed)
        p = 1 / np.arange(1, WORDS + 1) ** 1.3
        draw = lambda n: rng.choice(WORDS, (self.steps, BATCH, n), p=p / p.sum()).astype(np.int32)  # noqa: E731
        gold = rng.integers(-1, HASHTAGS, (self.steps, BATCH, 2)).astype(np.int32)
        gold[..., 0] = np.maximum(gold[..., 0], 0)
        earlier = draw(EARLIER)
        earlier[rng.random(earlier.shape[:2]) < 0.3] = -1
        self.host = {"tokens": draw(LENGTH), "earlier": earlier, "hashtags": gold}
        self._mesh = mesh
        self.arrays = jax.device_put(self.host, replicated(mesh))

    def distinct(self) -> np.ndarray:
        """Distinct ids of every step, padding included."""
        ids = np.concatenate([self.host[n].reshape(self.steps, -1) for n in ("tokens", "earlier")], 1)
        return np.array([len(np.unique(np.append(np.maximum(row, 0), 0))) for row in ids])

    def feed_shardings(self) -> Any:
        return replicated(self._mesh)

    def fetch(self, feed: Any, numbers: Any, step: jax.Array, place: jax.Array, batch: int) -> Any:
        return jax.tree.map(lambda x: x[step], feed)


@dataclass(frozen=True)
class Made:
    system: System
    rule: Any
    step: Any
    state: Any
    numbers: dict[str, Any]
    source: Any
    dispatch: Any

    def run(self, steps: int = 100) -> tuple[Any, dict[str, np.ndarray]]:
        state, sums = self.dispatch(self.state, self.numbers, self.source.arrays, np.int32(steps))
        return jax.device_get(state), jax.device_get(sums)


def made(devices: int = 1, parallel: Parallel | None = None, **settings: Any) -> Made:
    training = Training(**{"optimizer": "adagrad", "learning_rate": 0.01, "batch": BATCH, "steps": 100} | settings)
    mesh = make_mesh(parallel or Parallel(), jax.devices()[:devices])
    entry = Entry("bag", "", "", ("tokens", "earlier"), "table", "", BOTH)
    sizes = Sizes(WORDS, HASHTAGS, {"tokens": LENGTH, "earlier": EARLIER})
    system = System(entry, Bag(Settings(), WORDS, HASHTAGS), OBJECTIVES["pairs"], sizes)
    rule = optimizer(training)
    abstract = abstract_state(system, rule, mesh)
    numbers = numbers_of(Experiment("bag", Settings(), training=training), np.arange(BATCH), HASHTAGS, HASHTAGS)
    source: Any = Drawn(mesh)
    step = make_train_step(system, rule, mesh)
    dispatch = make_dispatch(step, source, BATCH, abstract, mesh)
    state = create(system, rule, abstract, 0, mesh)
    return Made(system, rule, step, state, jax.device_put(numbers, replicated(mesh)), source, dispatch)


def close(found: Any, expected: Any) -> None:
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=jax.tree_util.keystr(path))


def used(source: Any, steps: int) -> np.ndarray:
    """Which rows the first `steps` batches name, padding included."""
    found = np.zeros(WORDS, bool)
    found[[0, *np.concatenate([np.maximum(source.host[n][:steps], 0).ravel() for n in ("tokens", "earlier")])]] = True
    return found


def capacity(share: float) -> int:
    """Rows that this share of the steps overflows."""
    return int(np.quantile(Drawn(make_mesh(Parallel(), jax.devices()[:1])).distinct(), 1 - share))


@pytest.mark.parametrize(("size", "n", "room"), [(400, 300, 400), (37, 5, 8), (64, 64, 10), (1000, 1, 4)])
def test_distinct_ids_and_their_places(size: int, n: int, room: int) -> None:
    ids = np.random.default_rng(n).integers(0, size, n).astype(np.int32)
    values, place, count = jax.jit(sparse.distinct, static_argnums=(1, 2))(ids, size, room)
    expected, inverse = np.unique(ids, return_inverse=True)
    assert count == len(expected)
    np.testing.assert_array_equal(place, inverse)
    kept = min(room, len(expected))
    np.testing.assert_array_equal(values[:kept], expected[:kept])
    assert (np.diff(values) > 0).all() and (values[kept:] >= size).all()


@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_equals_dense_over_100_steps(rule: str, clip: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "PAYS", 0)
    dense, told = made(optimizer=rule, clip=clip).run()
    assert not told["rows"].any()
    if clip:
        assert (told["gradient_norm"] > clip).mean() > 0.5
    for share in (0.0, 0.5, 1.0):
        rows = capacity(share) + (share == 0) - (share == 1)
        found, sums = made(optimizer=rule, clip=clip, rows=rows).run()
        close(found, dense)
        np.testing.assert_allclose(sums["gradient_norm"], told["gradient_norm"], rtol=1e-5)
        distinct = Drawn(make_mesh(Parallel(), jax.devices()[:1])).distinct()
        np.testing.assert_array_equal(sums["rows"], distinct)
        over = (distinct > rows).mean()
        assert over == share if share in (0, 1) else 0.2 < over < 0.8


def test_weight_decay_and_l2_reach_the_rows_of_the_batch_and_of_padding_alone() -> None:
    settings = {"optimizer": "sgd", "l2": 0.05, "weight_decay": 0.02, "clip": 0.3}
    before = jax.device_get(made(**settings).state["params"])
    expected, _ = made(**settings | {"clip": 0.0}).run(1)
    roomy, _ = made(**settings | {"clip": 0.0}, rows=180).run(1)
    touched = used(Drawn(make_mesh(Parallel(), jax.devices()[:1])), 1)
    for name in ("word_table", "history_table"):
        table = roomy["params"][name]["table"]
        np.testing.assert_array_equal(table[~touched], before[name]["table"][~touched])
        np.testing.assert_allclose(table[touched], expected["params"][name]["table"][touched], rtol=1e-6, atol=1e-7)
        assert not np.array_equal(table[0], before[name]["table"][0])
    close(made(**settings, rows=8).run(20)[0], made(**settings, rows=180).run(20)[0])  # overflowed or not


def test_lazy_adam_leaves_the_moments_of_other_rows_alone() -> None:
    settings = {"optimizer": "lazy_adam", "learning_rate": 0.01, "weight_decay": 0.01}
    m = made(**settings, rows=WORDS)
    start = jax.device_get(m.state)
    one, _ = m.run(1)
    dense, _ = made(**settings | {"optimizer": "adam", "weight_decay": 0.0}).run(1)
    lazy, _ = made(**settings | {"weight_decay": 0.0}, rows=WORDS).run(1)
    close(lazy, dense)  # from moments of 0 the first step is Adam's
    more, _ = made(**settings, rows=WORDS).run(30)
    over, _ = made(**settings, rows=8).run(30)
    close(over, more)
    untouched, never = ~used(m.source, 1), ~used(m.source, 30)
    assert 0 < never.sum() < untouched.sum() < WORDS
    for state, same in ((one, untouched), (more, never)):
        for name in ("word_table", "history_table"):
            assert not state["opt_state"][1].second[name]["table"][same].any()
            now, then = (s["params"][name]["table"][same] for s in (state, start))
            np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("rows", [180, 45])
def test_accumulating_takes_the_union_of_the_parts(rows: int) -> None:
    # Sums of squares start above 0, or AdaGrad makes whole steps of gradients that are rounding alone.
    whole, told = made(rows=rows, accumulator=0.01).run(40)
    parts, sums = made(rows=rows, accumulator=0.01, accumulate=4).run(40)
    close(parts, whole)
    np.testing.assert_array_equal(sums["rows"], told["rows"])


@pytest.mark.parametrize("axes", [(2, 1, 1), (1, 4, 1), (2, 2, 2)])
def test_a_table_split_over_devices_equals_one_device(axes: tuple[int, int, int]) -> None:
    rows = 50
    alone, told = made(rows=rows, accumulator=0.01).run(30)
    assert 0 < (told["rows"][:30] > rows).mean() < 1
    m = made(int(np.prod(axes)), Parallel(*axes), rows=rows, accumulator=0.01)
    found, sums = m.run(30)
    close(found, alone)
    np.testing.assert_array_equal(sums["rows"], told["rows"])


def hlo(m: Made) -> str:
    return m.dispatch.lower(m.state, m.numbers, m.source.arrays, np.int32(2)).compile().as_text()


def test_a_step_copies_no_table() -> None:
    """Donated and updated in place, so that a step's cost does not grow with the table."""
    table = rf"= f32\[{WORDS},6\]\S* "
    text = hlo(made(rows=IDS))
    assert set(re.findall(table + r"([\w-]+)\(", text)) <= {"parameter", "get-tuple-element", "scatter", "fusion"}
    assert not re.findall(rf"= f32\[{WORDS},6\]\S* fusion\((?!.*scatter)", text)
    # With a way out for batches of more distinct ids: copies only where that way makes a dense gradient.
    for computation in re.split(r"\n(?=\S)", hlo(made(rows=50))):
        if re.search(table + r"copy\(", computation):
            assert re.search(table + r"\S+\(.*broadcast", computation)


def test_devices_exchange_the_rows_of_a_batch_and_no_table() -> None:
    text = hlo(made(4, Parallel(1, 4, 1), rows=50))
    assert re.search(rf"f32\[{WORDS // 4},6\]\S* scatter\(", text)
    gathered = re.findall(r"(\S+) = \S*?f32\[([\d,]+)\]\S* all-gather\(", text)
    assert not [shape for _, shape in gathered if shape.startswith(str(WORDS))]


def test_small_tables_stay_dense_except_under_lazy_adam() -> None:
    m = made(rows=WORDS // sparse.PAYS)
    assert sparse.sparse_tables(m.system, m.rule.training) == BOTH
    more = replace(m.rule.training, rows=WORDS // sparse.PAYS + 1)
    assert sparse.sparse_tables(m.system, more) == ()
    assert sparse.sparse_tables(m.system, replace(more, optimizer="lazy_adam")) == BOTH
    assert sparse.sparse_tables(m.system, replace(more, rows=0)) == ()


def test_members_of_a_population_equal_the_same_runs_alone() -> None:
    """Rates are traced: one program under vmap, where members overflow at different steps."""
    rates = np.array([0.1, 0.02], np.float32)
    m = made(rows=45)
    given = [{name: jnp.stack([x[i], x[i + 6]]) for name, x in m.source.host.items()} for i in range(6)]
    numbers = m.numbers | {"learning_rate": jnp.asarray(rates), "l2": jnp.array([0.0, 0.01], jnp.float32)}
    axes = {name: 0 if name in ("learning_rate", "l2") else None for name in numbers}
    together = jax.jit(jax.vmap(m.step, in_axes=(0, axes, 0)))
    state = jax.tree.map(lambda x: jnp.stack([x, x]), m.state)
    for batch in given:
        state, sums = together(state, numbers, batch)
    assert sums["rows"].shape == (2,)
    alone = jax.jit(m.step)
    for member in range(2):
        mine = {name: x[member] if axes[name] == 0 else x for name, x in numbers.items()}
        one = m.state
        for i in range(6):
            one, _ = alone(one, mine, {name: x[i + 6 * member] for name, x in m.source.host.items()})
        close(jax.tree.map(lambda x, member=member: x[member], state), one)
