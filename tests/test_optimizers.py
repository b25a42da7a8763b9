"""Each rule against its equation and other libraries; schedules against theirs; what the plateau remembers."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtag.data import order
from jaxtag.experiment import Training
from jaxtag.training import schedules
from jaxtag.training.memory import Memory
from jaxtag.training.optimizers import PERIOD, SCALINGS, averages, optimizer
from jaxtag.training.row_gradients import RowGradient


def training(**settings: Any) -> Training:
    return Training(**{"clip": 0.0, "steps": 100} | settings)


def numbers(t: Training) -> dict[str, np.float32]:
    return {name: np.float32(getattr(t, name)) for name in ("learning_rate", "weight_decay", "l2")}


def parameters() -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in (("a", (4, 3)), ("b", (5,)))}


def gradients(step: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(step + 1)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), parameters())


def learn(t: Training, steps: int = 20, given: dict[str, Any] | None = None) -> dict[str, jax.Array]:
    rule, params = optimizer(t), parameters()
    state = rule.init(params)
    for step in range(steps):
        updates, state = rule.update(gradients(step), state, params, given or numbers(t))
        params = optax.apply_updates(params, updates)
    return params


def close(found: Any, expected: Any, rtol: float = 1e-6) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sgd", optax.sgd(0.01)),
        ("adam", optax.adam(0.01)),
        ("adagrad", optax.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-10)),
    ],
)
def test_rules_equal_optax(name: str, theirs: optax.GradientTransformation) -> None:
    """Which computes in float64: in float32 its Adam is off by 1e-5 at first, as 1 − 0.999 is there."""
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), tree)  # noqa: E731
        params = wide(parameters())
        state = theirs.init(params)
        for step in range(20):
            updates, state = theirs.update(wide(gradients(step)), state, params)
            params = optax.apply_updates(params, updates)
    close(learn(training(optimizer=name, learning_rate=0.01)), params)


@pytest.mark.parametrize("period", [1, 7, PERIOD])
def test_averages_are_adams_however_often_they_are_rescaled(period: int) -> None:
    """300 steps of gradients of very different sizes, of which a table's are of two rows each."""
    rule = averages(0.9, 0.999, 1e-8, corrected=True, period=period)
    params = {"table": jnp.zeros((9, 3)), "b": jnp.zeros(4)}
    state, update = rule.init(params), jax.jit(rule.update)
    m, v = ({name: np.zeros(x.shape) for name, x in params.items()} for _ in range(2))
    for step in range(1, 301):
        rng = np.random.default_rng(step)
        rows, size = np.sort(rng.choice(9, 2, replace=False)).astype(np.int32), 10.0 ** rng.integers(-6, 3)
        values, b = (np.asarray(size * rng.normal(size=s), np.float32) for s in ((2, 3), (4,)))
        given = {"table": RowGradient(jnp.asarray(rows), jnp.asarray(values)), "b": jnp.asarray(b)}
        moves, state = update(given, state)
        dense = {"table": np.zeros((9, 3)), "b": b.astype(np.float64)}
        dense["table"][rows] = values
        for name, g in dense.items():
            m[name], v[name] = 0.9 * m[name] + 0.1 * g, 0.999 * v[name] + 0.001 * g**2
            u = m[name] / (1 - 0.9**step) / (np.sqrt(v[name] / (1 - 0.999**step)) + 1e-8)
            np.testing.assert_allclose(moves[name], u, rtol=2e-6, atol=1e-7)


@pytest.mark.parity
@pytest.mark.parametrize("start", [0.0, 0.1])
def test_adagrad_equals_pytorch(start: float) -> None:
    import torch

    theirs = [torch.nn.Parameter(torch.tensor(np.asarray(p))) for p in parameters().values()]
    rule = torch.optim.Adagrad(theirs, lr=0.01, initial_accumulator_value=start, weight_decay=0.03)
    for step in range(50):
        for p, g in zip(theirs, gradients(step).values()):
            p.grad = torch.tensor(np.asarray(g))
        rule.step()
    ours = learn(training(optimizer="adagrad", learning_rate=0.01, accumulator=start, l2=0.03), 50)
    close(list(ours.values()), [p.detach().numpy() for p in theirs], rtol=1e-5)


def test_bert_adam_takes_its_first_step_uncorrected() -> None:
    t = training(optimizer="bert_adam", learning_rate=0.01, weight_decay=0.01)
    params, g = parameters(), gradients(0)
    first = learn(t, 1)
    for name, p in params.items():
        u = 0.1 * g[name] / (np.sqrt(0.001) * np.abs(g[name]) + 1e-6)
        np.testing.assert_allclose(first[name], p - 0.01 * (u + 0.01 * p), rtol=1e-6)
        np.testing.assert_allclose(u, 3.16 * np.sign(g[name]), rtol=1e-2)


def test_bert_adam_against_a_transcription() -> None:
    t = training(optimizer="bert_adam", learning_rate=0.01, weight_decay=0.01)
    for name, p in parameters().items():
        p = np.asarray(p, np.float64)
        m, v = np.zeros_like(p), np.zeros_like(p)
        for step in range(20):
            g = np.asarray(gradients(step)[name], np.float64)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            p = p - 0.01 * (m / (np.sqrt(v) + 1e-6) + 0.01 * p)
        np.testing.assert_allclose(learn(t)[name], p, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(SCALINGS))
def test_rates_may_differ_between_members_of_a_population(name: str) -> None:
    t = training(optimizer=name, clip=1.0, l2=0.1)
    rates = {"learning_rate": [0.1, 0.01], "weight_decay": [0.0, 0.1], "l2": [0.1, 0.0]}
    together = jax.vmap(lambda given: learn(t, 5, given))(
        jax.tree.map(jnp.float32, {k: jnp.array(v) for k, v in rates.items()})
    )
    for member in range(2):
        alone = learn(t, 5, {name: np.float32(values[member]) for name, values in rates.items()})
        close(jax.tree.map(lambda x, member=member: x[member], together), alone)


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(SCALINGS))
def test_gradients_of_rows_give_what_dense_ones_give(name: str, l2: float, clip: float) -> None:
    """Rows past the table's end stand for none; a row that is touched once goes on moving by its averages."""
    t = training(optimizer=name, learning_rate=0.01, weight_decay=0.1, l2=l2, clip=clip)
    rule, params = optimizer(t), {"table": jnp.ones((7, 3)), "b": jnp.ones(2)}
    ends = []
    for dense in (True, False):
        learned, state = params, rule.init(params)
        for step in range(6):
            rng = np.random.default_rng(step)
            rows = np.sort(rng.choice(7, 2, replace=False)).astype(np.int32)
            values, b = rng.normal(size=(3, 3)).astype(np.float32), jnp.asarray(rng.normal(size=2), jnp.float32)
            values[2] = 0
            table = RowGradient(jnp.append(rows, 7), jnp.asarray(values))
            given = {"table": jnp.zeros((7, 3)).at[rows].set(values[:2]) if dense else table, "b": b}
            updates, state = rule.update(given, state, learned, numbers(t))
            learned = optax.apply_updates(learned, updates)
        ends.append((learned, state))
    close(ends[1], ends[0])
    assert (np.asarray(ends[0][0]["table"]) != 1).all()


def shares(schedule: str, steps: int, warmup: float, total: float) -> np.ndarray:
    given = {"learning_rate": jnp.float32(1), "warmup": jnp.float32(warmup), "total": jnp.float32(total)}
    return np.array([schedules.rate(training(schedule=schedule), given, jnp.int32(s)) for s in range(steps)])


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant_rises_and_stays(schedule: str) -> None:
    np.testing.assert_array_equal(shares(schedule, 5, 0, 10), 1)
    np.testing.assert_allclose(shares(schedule, 7, 4, 10), [0, 0.25, 0.5, 0.75, 1, 1, 1])


def test_linear_is_berts() -> None:
    """lr · (x / w if x < w, else (x − 1) / (w − 1)) at x = step / total, read before the step is counted."""
    total, w = 20, 0.1
    x = np.arange(25) / total
    expected = np.where(x < w, x / w, np.maximum((x - 1) / (w - 1), 0))
    found = shares("linear", 25, w * total, total)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] == 0 and found[20:].max() == 0
    np.testing.assert_allclose(shares("linear", 3, 0, 2), [1, 0.5, 0])


def test_noam_is_the_papers_with_the_peak_as_learning_rate() -> None:
    d, warmup = 512, 40
    s = np.arange(1, 201)
    expected = d**-0.5 * np.minimum(s**-0.5, s * warmup**-1.5)
    np.testing.assert_allclose((d * warmup) ** -0.5 * shares("noam", 200, warmup, 0), expected, rtol=1e-6)
    assert shares("noam", 200, warmup, 0).argmax() == warmup - 1


def test_the_rate_drops_once_after_so_many_epochs() -> None:
    t = training(schedule="drop", drop_after=1.5, batch=10, plateau_factor=0.25)
    assert schedules.drop_step(t, 105) == 15 == 1.5 * order.steps_per_epoch(105, 10)
    given = {"learning_rate": 2.0, "warmup": 4.0, "total": 30.0, "drop": 15.0, "drop_factor": 0.25}
    numbers_ = {name: jnp.float32(value) for name, value in given.items()}
    found = [float(schedules.rate(t, numbers_, jnp.int32(s))) for s in range(20)]
    assert found == [0, 0.5, 1, 1.5] + [2.0] * 11 + [0.5] * 5


def test_steps_of_a_run_and_of_its_warmup() -> None:
    t = Training(batch=10, epochs=2.5)
    assert schedules.total_steps(t, 105) == 25 == 2.5 * order.steps_per_epoch(105, 10)
    assert schedules.total_steps(dataclasses.replace(t, steps=7), 105) == 7
    assert schedules.warmup_steps(dataclasses.replace(t, warmup=0.1), 105) == 2.5
    assert schedules.warmup_steps(dataclasses.replace(t, warmup=4), 105) == 4


def test_the_plateau_lowers_the_rate_and_counts_anew() -> None:
    t = Training(schedule="plateau", plateau_patience=2, plateau_factor=0.5, patience=0, learning_rate=0.8)
    memory, rates = Memory(), []
    for step, value in enumerate([0.5, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3, 0.6, 0.7], 1):
        memory = memory.judged(value, step, 100, t)
        memory = Memory(**json.loads(json.dumps(dataclasses.asdict(memory))))  # as a checkpoint keeps it
        rates.append(memory.learning_rate(t))
    np.testing.assert_allclose(rates, [0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1])
    assert (memory.best, memory.best_step, memory.worse, memory.drops) == (0.7, 9, 0, 3)
    assert not memory.finished


def test_other_schedules_never_lower_it_on_the_host() -> None:
    t = Training(patience=3)
    memory = Memory(best=1.0)
    for step in range(3):
        memory = memory.judged(0.5, step, 100, t)
    assert memory.learning_rate(t) == t.learning_rate and memory.drops == 0
    assert memory.finished and not memory.ended(3, 100, dataclasses.replace(t, patience=4)).finished


def test_a_memory_of_an_older_checkpoint_is_read() -> None:
    old = {"best": 0.5, "best_step": 3, "worse": 1, "seconds": 2.0, "finished": False}
    assert Memory(**old).drops == 0
