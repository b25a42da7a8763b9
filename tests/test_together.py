"""Which runs of a search train together, and that a search ends the same however it was trained, or stopped."""

import json
from pathlib import Path
from typing import Any

import pytest

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.experiment import override
from jaxtag.recipes import resolve
from jaxtag.search import grid, places, population, room, space, together
from jaxtag.search.grid import sweep
from jaxtag.search.members import Member
from jaxtag.search.stacked import mesh_of
from tests import toy

pytestmark = pytest.mark.usefixtures("one_device")

SMALL = {"training.batch": "32", "training.steps": "8", "training.evaluate_every": "2", "model.hidden": "16"}
BASE = resolve("zsl/ann", "tiny", SMALL | {"training.patience": "2"})
RATES = "training.learning_rate=1e-3,1e-2,3e-2"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_folded(tmp_path_factory.mktemp("together") / "data", 2, 120)


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said; members are on one device."""
    said: list[str] = []
    for module in (grid, together, room, population):
        monkeypatch.setattr(module, "say", said.append)
    monkeypatch.setattr(places, "mesh_of", lambda devices: mesh_of(devices[:1]))
    return said


def points(*texts: str, base: Any = BASE) -> list[space.Point]:
    return space.points(base, space.grid(space.parse(texts, base)))


def plain(document: dict[str, Any]) -> Any:
    """A search's document without what differs from one folder, or start, to another."""
    text = json.dumps(document)
    rows = json.loads(text)["points"]
    for row in rows:
        del row["run"]
        for fold in row.get("folds", ()):
            del fold["run"], fold["seconds"]
    return rows, document["best"], document["test"]


@pytest.fixture(scope="module")
def one_by_one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The search of `RATES` on two folds, trained one run after the other."""
    folder = tmp_path_factory.mktemp("alone") / "s"
    return folder, sweep(folder, "zsl/ann", points(RATES), data, "cv", 2, population=1)


def test_a_search_ends_the_same_one_after_the_other_and_together(
    data: Path, one_by_one: tuple[Path, dict[str, Any]], tmp_path: Path, lines: list[str]
) -> None:
    folder, alone = one_by_one
    found = sweep(tmp_path / "s", "zsl/ann", points(RATES), data, "cv", 2)
    assert plain(found) == plain(alone)
    assert "6 runs: 1 program" in lines and not list((tmp_path / "s").glob("population-*"))
    run = Path(found["points"][-1]["folds"][1]["run"])  # not the best: no verb was called on it yet
    other = folder / run.relative_to(tmp_path / "s")
    for name in ("experiment.json", "evaluation-validation.json"):
        mine, theirs = (json.loads((r / name).read_text()) for r in (run, other))
        assert mine == theirs
    assert evaluate(run, "test") == evaluate(other, "test")


def test_a_killed_search_goes_on_with_its_populations_though_it_grew(
    data: Path, one_by_one: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: Any, lines: list[str]
) -> None:
    often = override(BASE, {"training.checkpoint_minutes": 0.0})
    judge, turn = places.Places.judge, iter(range(100))

    def killed(self: Any, due: Any) -> Any:
        if next(turn) == 2:
            raise KeyboardInterrupt
        return judge(self, due)

    with monkeypatch.context() as patch:
        patch.setattr(places.Places, "judge", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path / "s", "zsl/ann", points("training.learning_rate=1e-3,3e-2", base=often), data, "cv", 2)
    assert len(list((tmp_path / "s").glob("population-*"))) == 1
    found = sweep(tmp_path / "s", "zsl/ann", points("training.learning_rate=3e-2,1e-2,1e-3", base=often), data, "cv", 2)
    assert "going on from step 4" in lines and not list((tmp_path / "s").glob("population-*"))
    assert plain(found) == plain(one_by_one[1])


def test_fields_that_change_shapes_make_groups_and_are_named(data: Path, tmp_path: Path, lines: list[str]) -> None:
    search = together.Search(
        tmp_path,
        "zsl/ann",
        points(RATES, "model.hidden=16,8"),
        open_dataset(data),
        [open_dataset(data).split("cv-0")],
        "",
    )
    groups = together._groups(search, {})
    assert [len(group) for group in groups.values()] == [3, 3]
    together._tell(search, [*groups.values()])
    assert lines == ["6 runs: 2 programs; each value of model.hidden is compiled by itself"]
    streamed = override(BASE, {"data.placement": "streamed"})
    search = together.Search(tmp_path, "zsl/ann", points(RATES, base=streamed), search.dataset, search.splits, "")
    assert not together._groups(search, {})
    assert lines[1:] == ["3 runs go one after the other: their posts are streamed from the host"]


def test_too_many_for_memory_are_several_populations(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    dataset = open_dataset(data)
    search = together.Search(
        tmp_path, "zsl/ann", points(RATES), dataset, [dataset.split("cv-0"), dataset.split("cv-1")], ""
    )
    (group,) = together._groups(search, {}).values()
    assert room.divided(group, 0) == [group] and not lines
    assert [len(part) for part in room.divided(group, 4)] == [3, 3]
    each = room.bytes_of(group[0].bound, True)
    assert each == 4 * sum(x.size * x.dtype.itemsize for x in _leaves(group[0]))
    monkeypatch.setattr(room, "free_bytes", lambda: 5 * each)
    assert [len(part) for part in room.divided(group, 0)] == [2, 2, 2]
    assert lines[0] == "6 runs as 2 populations of up to 3: --population 4"
    assert lines[1].startswith("6 runs as 3 populations of up to 2: ") and lines[1].endswith("MiB for a population")
    monkeypatch.setattr(room, "free_bytes", lambda: 0)
    assert len(room.divided(group, 0)) == 6
    monkeypatch.setattr(room, "way_of", lambda platform: "together")
    assert room.bytes_of(group[0].bound, True) > room.bytes_of(group[0].bound, False) > each


def _leaves(member: Member) -> list[Any]:
    import jax

    return jax.tree.leaves(member.bound.abstract)


def test_a_point_that_diverges_is_a_row_that_says_so(data: Path, tmp_path: Path, lines: list[str]) -> None:
    found = sweep(tmp_path / "s", "zsl/ann", points("training.learning_rate=1e-2,1e38"), data, "cv", 2)
    assert [("failed" in row) for row in found["points"]] == [False, True]
    assert found["points"][1]["failed"].startswith("the loss is not finite at step ")
    assert sum("diverged and stops alone" in line for line in lines) == 2


def test_halving_leaves_points_behind_until_it_is_not_asked_for(data: Path, tmp_path: Path) -> None:
    rates = "training.learning_rate=1e-5,1e-4,1e-2,3e-2"
    found = sweep(tmp_path / "s", "zsl/ann", points(rates), data, "cv-0", halving=True)
    halved = [row["folds"][0].get("halved", 0) for row in found["points"]]
    assert halved[0] == 0 and sorted(halved)[1:] == [2, 2, 4][-len(halved) + 1 :]
    assert "halved at 2" in (tmp_path / "s" / "sweep.md").read_text()
    assert sweep(tmp_path / "s", "zsl/ann", points(rates), data, "cv-0", halving=True) == found
    whole = sweep(tmp_path / "s", "zsl/ann", points(rates), data, "cv-0")
    assert not any("halved" in row["folds"][0] for row in whole["points"])
    assert all(row["folds"][0]["steps"] > 4 for row in whole["points"])
    with pytest.raises(JaxtagError, match="--halving goes by evaluation.metric f1@1, and points are judged by f1@2"):
        sweep(tmp_path / "t", "zsl/ann", points(rates), data, "cv-0", metric="f1@2", halving=True)
