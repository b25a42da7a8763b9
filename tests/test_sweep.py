"""A search: points share compiled steps and keep their own numbers, validation decides, the test is looked at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxtag import crossvalidate
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import Diverged, JaxtagError
from jaxtag.evaluation import evaluate as evaluating
from jaxtag.experiment import override
from jaxtag.parallel.mesh import replicated
from jaxtag.recipes import resolve
from jaxtag.report.document import to_markdown
from jaxtag.runs import Bound, bind, open_posts
from jaxtag.search import grid, space
from jaxtag.search.grid import blocks, sweep
from jaxtag.training.programs import padded, programs_of, shape_of, without_numbers
from jaxtag.training.state import create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step
from jaxtag.training.train import train
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")

FOLDS = 3
SMALL = {"training.batch": "32", "training.steps": "6", "training.evaluate_every": "2", "model.hidden": "16"}
BASE = resolve("zsl/ann", "tiny", SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("sweep") / "data", FOLDS, 120)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Names of what is compiled while the test runs."""
    names: list[str] = []

    def listen(event: str, duration: float, **kwargs: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(kwargs.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def forget() -> None:
    programs_of.cache_clear()
    evaluating._programs.cache_clear()


def points(*texts: str, base: Any = BASE) -> list[space.Point]:
    return space.points(base, space.grid(space.parse(texts, base)))


@pytest.mark.parametrize(
    ("population", "programs"),
    [(1, ("create", "dispatch", "validation_sums", "_evaluate_batch")), (0, ("create", "dispatch", "judge"))],
    ids=["one after the other", "together"],
)
def test_a_grid_over_numbers_and_folds_compiles_once(
    data: Path, tmp_path: Path, compilations: list[str], population: int, programs: tuple[str, ...]
) -> None:
    forget()
    numbers = points("training.learning_rate=1e-3,1e-2", "model.dropout=0,0.3")
    found = sweep(tmp_path / "s", "zsl/ann", numbers, data, "cv", FOLDS, population=population)
    assert len(found["points"]) == 4 and all(len(row["folds"]) == FOLDS for row in found["points"])
    for name in programs:
        assert sum(name in compiled for compiled in compilations) == 1, (name, compilations)
    results = {json.dumps([fold["metrics"] for fold in row["folds"]]) for row in found["points"]}
    assert len(results) > 2  # they are not one run four times


NUMBERS = {
    "training.learning_rate": 3e-2,
    "training.weight_decay": 0.1,
    "training.l2": 0.05,
    "training.smoothing": 0.2,
    "training.warmup": 3.0,
    "training.seed": 5,
    "model.dropout": 0.4,
}


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_shared_program_learns_what_a_runs_own_does(data: Path, schedule: str) -> None:
    dataset = open_dataset(data)
    with_l2 = override(BASE, {"training.l2": 0.01, "training.schedule": schedule})
    several = [with_l2] + [override(with_l2, {key: value}) for key, value in NUMBERS.items()]
    shapes, ends = [], []
    for experiment in several:
        b = bind(experiment, dataset, dataset.split("cv-0"))
        shared, own = steps_of(b, True), steps_of(b, False)
        for one, other in zip(jax.tree.leaves(shared), jax.tree.leaves(own)):
            np.testing.assert_array_equal(one, other)
        shapes.append(shape_of(b, open_posts(b)))
        ends.append(np.concatenate([np.ravel(x) for x in jax.tree.leaves(shared["params"])]))
    assert len(set(shapes)) == 1
    assert len({end.tobytes() for end in ends}) == len(several)  # each number is heeded


def steps_of(b: Bound, share: bool) -> Any:
    """The state after five steps: by the shared programs, or by those made of the run itself."""
    source, experiment = open_posts(b), b.experiment
    numbers = numbers_of(experiment, b.split.train, len(b.split.hashtags), b.system.sizes.hashtags)
    if share:
        numbers |= {"rows": padded(numbers["rows"])}
        programs = programs_of(shape_of(b, source))
        state, dispatch = programs.create(experiment.training.seed), programs.dispatch
    else:
        state = create(b.system, b.optimizer, b.abstract, experiment.training.seed, b.mesh)
        step = make_train_step(b.system, b.optimizer, b.mesh)
        dispatch = make_dispatch(step, source, experiment.training.batch, b.abstract, b.mesh)
    numbers, steps = jax.device_put((numbers, np.int32(5)), replicated(b.mesh))
    return jax.device_get(dispatch(state, numbers, source.feed(0, 5), steps)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"training.batch": 64},
        {"training.optimizer": "sgd"},
        {"training.l2": 0.1},
        {"training.clip": 1.0},
        {"training.schedule": "linear"},
        {"training.precision": "bfloat16"},
        {"model.hidden": 32},
        {"data.length": 8},
        {"data.words": 20},
        {"data.placement": "streamed"},
    ],
    ids=str,
)
def test_what_is_compiled_in_makes_another_shape(data: Path, change: dict) -> None:
    dataset = open_dataset(data)
    first, other = (
        bind(override(BASE, given), dataset, dataset.split("cv-0"))
        for given in ({"data.words": 40}, {"data.words": 40} | change)
    )
    assert shape_of(first, open_posts(first)) != shape_of(other, open_posts(other))


def test_a_program_keeps_no_posts(data: Path) -> None:
    dataset = open_dataset(data)
    for placement in ("resident", "streamed"):
        b = bind(override(BASE, {"data.placement": placement}), dataset, dataset.split("cv-0"))
        kept = vars(shape_of(b, open_posts(b)).source)
        assert not [v for v in kept.values() if isinstance(v, jax.Array | np.ndarray) or hasattr(v, "columns")]
        assert kept["lengths"] == open_posts(b).lengths
    assert without_numbers(BASE) == without_numbers(override(BASE, NUMBERS | {"training.l2": 0.0}))


def document(value: float, name: str) -> dict[str, Any]:
    metrics = {"accuracy@1": value, "f1@1": 1 - value}
    fold = {"split": name, "metrics": metrics | {"posts": 4}, "best_step": 3, "steps": 6, "seconds": 0.1}
    return {"mean": metrics, "spread": dict.fromkeys(metrics, 0.01), "folds": [fold], "baselines": {}}


def test_validation_decides_and_the_test_is_looked_at_once(data: Path, tmp_path: Path, monkeypatch) -> None:
    asked: list[tuple[str, str]] = []
    scores = {"dropout=0": 0.3, "dropout=0.1": 0.9, "dropout=0.2": 0.9, "dropout=0.3": 0.5}

    def over(
        run: Path, recipe: str, experiment: Any, dataset: Any, name: str, splits: Any, part: str, known: Any = None
    ) -> dict:
        asked.append((run.name, part))
        if run.name == "dropout=0":
            raise Diverged("the loss is not finite at step 3")
        return document(scores[run.name], name) if part == "validation" else document(0.1, name)

    monkeypatch.setattr(grid, "over", over)
    monkeypatch.setattr(grid, "train_together", lambda search, most: grid.Found())
    found = sweep(tmp_path / "s", "zsl/ann", points("model.dropout=0,0.1,0.2,0.3"), data, "", metric="accuracy@1")
    assert [part for _, part in asked] == ["validation"] * 4 + ["test"]
    assert asked[-1][0] == found["best"] == "dropout=0.1"  # the first of two equal ones
    assert [row["point"] for row in found["points"]] == ["dropout=0.1", "dropout=0.2", "dropout=0.3", "dropout=0"]
    assert found["points"][-1]["failed"] == "the loss is not finite at step 3"
    assert found["test"]["mean"]["accuracy@1"] == 0.1
    text = to_markdown(blocks(found))
    assert "**0.9000**" in text and "diverged" in text and text.index("0.9000") < text.index("0.5000")
    assert json.loads((tmp_path / "s" / "sweep.json").read_text()) == found
    assert (tmp_path / "s" / "sweep.png").stat().st_size > 5_000
    asked.clear()
    worse = sweep(tmp_path / "s", "zsl/ann", points("model.dropout=0,0.1,0.2,0.3"), data, "", metric="f1@1")
    assert worse["best"] == "dropout=0.3"
    with pytest.raises(JaxtagError, match="all 1 points diverged; the first: the loss is not finite at step 3"):
        sweep(tmp_path / "t", "zsl/ann", points("model.dropout=0"), data, "")


def test_what_is_done_is_not_done_again_and_a_grid_may_grow(data: Path, tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "s"
    first = sweep(run, "zsl/ann", points("training.learning_rate=1e-3,1e-2"), data, "cv-0")
    trained: list[str] = []
    monkeypatch.setattr(
        crossvalidate, "train", lambda folder, *rest: trained.append(folder.parent.name) or train(folder, *rest)
    )
    again = sweep(run, "zsl/ann", points("training.learning_rate=1e-3,1e-2"), data, "cv-0")
    assert again == first and not trained
    larger = sweep(run, "zsl/ann", points("training.learning_rate=1e-3,1e-2,2e-2"), data, "cv-0")
    assert set(trained) - {larger["best"]} <= {"learning_rate=0.02"} and "learning_rate=0.02" in trained
    assert {json.dumps(row) for row in first["points"]} < {json.dumps(row) for row in larger["points"]}


def test_another_experiment_at_a_point_is_refused(data: Path, tmp_path: Path) -> None:
    sweep(tmp_path / "s", "zsl/ann", points("training.learning_rate=1e-3"), data, "cv-0")
    other = override(BASE, {"training.batch": 16})
    with pytest.raises(
        JaxtagError, match=r"learning_rate=0.001/fold-0 has another experiment: training.batch 32 -> 16"
    ):
        sweep(tmp_path / "s", "zsl/ann", points("training.learning_rate=1e-3", base=other), data, "cv-0")


def test_what_cannot_be_searched_is_refused(data: Path, tmp_path: Path) -> None:
    one = points("training.learning_rate=1e-3")
    with pytest.raises(JaxtagError, match="no metric 'acuracy@1' to judge by; did you mean 'accuracy@1'"):
        sweep(tmp_path / "s", "zsl/ann", one, data, "cv-0", metric="acuracy@1")
    with pytest.raises(JaxtagError, match="no split 'cv-3', one of 4 folds"):
        sweep(tmp_path / "s", "zsl/ann", one, data, "cv", 4)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.json").write_text("{}")
    with pytest.raises(JaxtagError, match="is a run folder, not a search's"):
        sweep(tmp_path / "run", "zsl/ann", one, data, "cv-0")
    (tmp_path / "s").mkdir(exist_ok=True)
    (tmp_path / "s" / "sweep.json").write_text('{"format": 9}')
    with pytest.raises(JaxtagError, match="is not a search of format 1"):
        sweep(tmp_path / "s", "zsl/ann", one, data, "cv-0")
