"""A population: its members are the runs that they are alone, stop alone, and leave run folders like any."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError, Preempted
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.experiment import override
from jaxtag.recipes import resolve
from jaxtag.runs import bind
from jaxtag.search import places, population
from jaxtag.search.members import Member, Progress, from_json, halved, to_json
from jaxtag.search.population import train_population
from jaxtag.search.stacked import mesh_of
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.memory import Memory
from jaxtag.training.restored import restore_best
from jaxtag.training.train import train
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")

SMALL = {
    "training.batch": 32, "training.steps": 9, "training.evaluate_every": 2, "training.patience": 2, "model.hidden": 16,
    "training.dispatch_seconds": 1e-9, "model.dropout": 0.2,
}  # fmt: skip
BASE = override(resolve("zsl/ann", "tiny"), SMALL)
NUMBERS: list[dict[str, Any]] = [
    {"training.learning_rate": 1e-2},
    {"training.learning_rate": 3e-1},
    {"training.seed": 4, "model.dropout": 0.5},
    {"training.patience": 1, "training.steps": 5},
    {"training.smoothing": 0.2, "training.weight_decay": 0.1, "training.warmup": 3.0, "training.evaluate_every": 3},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("population") / "data", 2, 120)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All members on one device."""
    monkeypatch.setattr(places, "mesh_of", lambda devices: mesh_of(devices[:1]))


def members(data: Path, folder: Path, *numbers: dict[str, Any], base: Any = BASE) -> list[Member]:
    """A member for each of the numbers, on the first fold and on the second by turns."""
    dataset = open_dataset(data)
    found = []
    for i, fields in enumerate(numbers):
        bound = bind(override(base, fields), dataset, dataset.split(f"cv-{i % 2}"))
        found.append(Member(f"point-{i}", folder / f"m{i}", bound))
    return found


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The members trained alone."""
    folder = tmp_path_factory.mktemp("alone")
    for member in members(data, folder, *NUMBERS):
        train(member.folder, "zsl/ann", member.bound)
    return folder


def states(member: Member) -> dict[str, Any]:
    """The member's best and newest states, and what was remembered with them."""
    checkpoints = Checkpoints(member.folder / "checkpoints")
    steps = {"best": checkpoints.best(), "newest": checkpoints.newest()}
    found = {name: checkpoints.restore(step, member.bound.abstract) for name, step in steps.items() if step}
    checkpoints.close()
    return {
        name: (steps[name], jax.device_get(state), memory | {"seconds": 0}) for name, (state, memory) in found.items()
    }


def evaluations(run: Path) -> list[dict[str, float]]:
    """What metrics.jsonl says of evaluations."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["kind"] == "validation"]


def same(one: Any, other: Any, check: Callable[..., None] = np.testing.assert_array_equal) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name][0] == other[name][0] and one[name][2] == other[name][2]
        for a, b in zip(jax.tree.leaves(one[name][1]), jax.tree.leaves(other[name][1]), strict=True):
            check(a, b)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_members_are_the_runs_that_they_are_alone(data: Path, runs: Path, tmp_path: Path, alone: None) -> None:
    together = members(data, tmp_path, *NUMBERS)
    progress = train_population(tmp_path / "p", "zsl/ann", together, places=6)
    before = [{p.name for p in m.folder.iterdir()} for m in members(data, runs, *NUMBERS)]
    for m, other, p, files in zip(together, members(data, runs, *NUMBERS), progress, before):
        same(states(m), states(other))
        mine, theirs = evaluations(m.folder), evaluations(other.folder)
        for row, wanted in zip(mine, theirs, strict=True):
            assert row.pop("loss") == pytest.approx(wanted.pop("loss"), rel=1e-6)
            assert row == wanted
        assert p.found == {
            k: v for k, v in theirs[p.step and p.memory.best_step // m.every - 1].items() if k in p.found
        }
        assert {q.name for q in m.folder.iterdir()} == files
    assert len({p.step for p in progress}) > 1  # some stopped early


def test_spread_over_devices_they_are_but_for_rounding(data: Path, runs: Path, tmp_path: Path) -> None:
    together = members(data, tmp_path, *NUMBERS)
    train_population(tmp_path / "p", "zsl/ann", together)
    for m, other in zip(together, members(data, runs, *NUMBERS)):
        same(states(m), states(other), close)


def test_computed_together_they_are_but_for_rounding(
    data: Path, runs: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    move = places.Places.move
    monkeypatch.setattr(
        places.Places, "move", lambda self, on, size: (sizes.append((len(on), size)), move(self, on, size))
    )
    together = members(data, tmp_path, *NUMBERS)
    train_population(tmp_path / "p", "zsl/ann", together, way="together")
    assert sizes and all(on <= size for on, size in sizes) and all(size & (size - 1) == 0 for _, size in sizes)
    for m, other in zip(together, members(data, runs, *NUMBERS)):
        same(states(m), states(other), close)


@pytest.mark.parametrize("way", ["in turn", "together"])
def test_a_killed_population_goes_on_and_ends_the_same(
    data: Path, runs: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    base = override(BASE, {"training.checkpoint_minutes": 0.0})
    together = members(data, tmp_path, *NUMBERS, base=base)
    judge, turn = places.Places.judge, iter(range(100))

    def killed(self: Any, due: Any) -> Any:
        if next(turn) == 2:
            raise KeyboardInterrupt
        return judge(self, due)

    with monkeypatch.context() as patch:
        patch.setattr(places.Places, "judge", killed)
        with pytest.raises(KeyboardInterrupt):
            train_population(tmp_path / "p", "zsl/ann", together, way=way)
    lines = []
    monkeypatch.setattr(population, "say", lines.append)
    train_population(tmp_path / "p", "zsl/ann", together, way=way)
    assert any(line.startswith("going on from step") for line in lines)
    for m, other in zip(together, members(data, runs, *NUMBERS)):
        same(states(m), states(other), np.testing.assert_array_equal if way == "in turn" else close)
        rows = evaluations(m.folder)
        assert [row["step"] for row in rows] == [row["step"] for row in evaluations(other.folder)]


def test_one_that_diverges_stops_alone(
    data: Path, runs: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(population, "say", lines.append)
    numbers = [*NUMBERS[:1], {"training.learning_rate": 1e38}]
    together = members(data, tmp_path, *numbers)
    good, bad = train_population(tmp_path / "p", "zsl/ann", together)
    assert bad.failed.startswith("the loss is not finite at step ") and not good.failed
    named = [line for line in lines if "diverged" in line]
    assert len(named) == 1 and named[0].startswith("point-1 on cv-1 diverged and stops alone: the loss is not finite")
    same(states(together[0]), states(members(data, runs, *NUMBERS)[0]))
    assert "newest" not in states(together[1]) or bad.found


def test_a_member_is_evaluated_and_trained_on_like_any_run(data: Path, runs: Path, tmp_path: Path, alone: None) -> None:
    member = members(data, tmp_path, NUMBERS[0])[0]
    train_population(tmp_path / "p", "zsl/ann", [member])
    other = members(data, runs, NUMBERS[0])[0]
    assert evaluate(member.folder, "test") == evaluate(other.folder, "test")
    longer = replace(member, bound=members(data, tmp_path, NUMBERS[0] | {"training.steps": 13})[0].bound)
    train(longer.folder, "zsl/ann", longer.bound)
    straight = members(data, tmp_path / "straight", NUMBERS[0] | {"training.steps": 13})[0]
    train(straight.folder, "zsl/ann", straight.bound)
    for a, b in zip(*(jax.tree.leaves(restore_best(m.folder, m.bound)) for m in (longer, straight)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_halving_keeps_the_better_half_by_points(data: Path, tmp_path: Path, alone: None) -> None:
    m = members(data, tmp_path, *[{}] * 6)
    pairs = [replace(member, point=f"p{i // 2}") for i, member in enumerate(m)]
    best = [0.1, 0.9, 0.6, 0.6, 0.2, 0.3]
    progress = [Progress(step=4, memory=Memory(best=b, finished=i == 3)) for i, b in enumerate(best)]
    after = halved(pairs, progress)
    assert [p.halved for p in after] == [0, 0, 0, 0, 4, 4]
    assert [p.halved for p in halved(pairs, after)] == [4, 4, 0, 0, 4, 4]
    assert from_json(json.loads(json.dumps(to_json(after)))) == after
    numbers = [{"training.learning_rate": lr} for lr in (1e-5, 1e-2, 1e-4, 1e-3)]
    together = members(data, tmp_path / "h", *numbers, base=override(BASE, {"training.patience": 0}))
    progress = train_population(tmp_path / "p", "zsl/ann", together, halving=True)
    assert sorted(p.step for p in progress) == [2, 2, 4, 9]
    assert [p.halved for p in progress if p.step == 9] == [0]


def test_a_signal_saves_and_another_runs_folder_is_refused(
    data: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = members(data, tmp_path, NUMBERS[0])
    asked = SimpleNamespace(set=lambda: None, is_set=lambda: True)
    monkeypatch.setattr(population, "threading", SimpleNamespace(Event=lambda: asked))
    with pytest.raises(Preempted, match="the population is stopped and saved"):
        train_population(tmp_path / "p", "zsl/ann", together)
    assert [p.name for p in (tmp_path / "p" / "1").iterdir() if p.name.isdigit()] == ["1"]
    other = [replace(together[0], bound=members(data, tmp_path, {"model.dropout": 0.4})[0].bound)]
    with pytest.raises(JaxtagError, match="m0 has another experiment: model.dropout 0.2 -> 0.4"):
        train_population(tmp_path / "q", "zsl/ann", other)
    assert asdict(Progress())["memory"]["best"] == -1.0
