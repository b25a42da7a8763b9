"""Reading: what a batch holds, wherever it is gathered."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxtag.data import batches, columns, order
from jaxtag.data.columns import ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Parallel
from jaxtag.parallel import memory
from jaxtag.parallel.mesh import make_mesh
from jaxtag.recipes import resolve
from jaxtag.training.state import numbers_of
from tests import toy

BATCH = 16


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    dataset = open_dataset(toy.make(tmp_path_factory.mktemp("toy") / "data", 200))
    return dataset, dataset.split()


def read(opened: tuple, **overrides: str) -> tuple[batches.Reading, object]:
    dataset, split = opened
    experiment = resolve("zsl/cnn", "tiny", {k.replace("__", "."): v for k, v in overrides.items()})
    return batches.reading(dataset, split, experiment, ("tokens",), split.hashtags), experiment


def test_a_batch_holds_the_posts_in_the_splits_ids(opened: tuple) -> None:
    dataset, split = opened
    reading, _ = read(opened, data__length="8", data__words="20")
    rows = np.array([5, 0, 199, -1])
    batch = reading.gather(rows)
    tokens, hashtags = dataset.column("tokens"), dataset.column("hashtags")
    kept = split.words[:20].tolist()
    labels = split.hashtags.tolist()
    for i, row in enumerate(rows):
        words = [kept.index(t) + 2 if t in kept else 1 for t in tokens[row].tolist()][:8] if row >= 0 else []
        assert batch["tokens"][i].tolist() == words + [0] * (8 - len(words))
        gold = [labels.index(h) for h in hashtags[row].tolist()] if row >= 0 else []
        assert batch["hashtags"][i].tolist() == gold + [-1] * (8 - len(gold))


def test_hashtags_outside_the_targets_leave_no_gap() -> None:
    found = columns.positions_in(ragged([[3, 1, 4], [], [1], [2, 0]]), np.array([4, 3, 0]), 5)
    assert [found[i].tolist() for i in range(4)] == [[1, 0], [], [], [2]]


def test_resident_and_streamed_give_the_same_batches_as_the_host(opened: tuple) -> None:
    _, split = opened
    reading, experiment = read(opened, training__batch=str(BATCH))
    mesh = make_mesh(Parallel(), jax.devices()[:4])
    numbers = numbers_of(experiment, split.train, 12, 16)
    resident = batches.Resident(reading, mesh)
    streamed = batches.Streamed(reading, mesh, split.train, 0, BATCH)
    for first, steps in ((0, 3), (3, 5), (40, 2), (0, 1)):
        feeds = resident.feed(first, steps), streamed.feed(first, steps)
        for i in range(steps):
            expected = reading.gather(order.rows_of_step_on_host(split.train, 0, first + i, BATCH))
            for source, feed in zip((resident, streamed), feeds):
                step, place = np.int32(first + i), np.int32(i)
                found = jax.jit(source.fetch, static_argnums=4)(feed, numbers, step, place, BATCH)
                for name in expected:
                    np.testing.assert_array_equal(found[name], expected[name])
                    assert len(found[name].sharding.device_set) == 4


def test_rows_for_evaluation_are_the_same_and_padded(opened: tuple) -> None:
    _, split = opened
    reading, _ = read(opened)
    mesh = make_mesh(Parallel(), jax.devices()[:2])
    rows = np.array([3, 7, 11, -1])
    expected = reading.gather(rows)
    for source in (batches.Resident(reading, mesh), batches.Streamed(reading, mesh, split.train, 0, 4)):
        found = jax.jit(source.fetch_rows)(source.feed_rows(rows))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_what_does_not_fit_on_the_device_is_streamed(opened: tuple) -> None:
    _, split = opened
    mesh = make_mesh(Parallel(), jax.devices()[:1])
    said: list[str] = []
    for mib, kind in ((1, batches.Resident), (0, batches.Streamed)):
        reading, experiment = read(opened, data__resident_mib=str(mib))
        assert isinstance(batches.open_source(reading, mesh, split, experiment, said.append), kind)
    assert "resident" in said[0] and "streamed" in said[1] and said[1].endswith(" data.resident_mib is 0 MiB")


def test_what_is_more_than_half_of_a_devices_memory_is_streamed(opened: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    _, split = opened
    mesh = make_mesh(Parallel(), jax.devices()[:1])
    said: list[str] = []
    reading, experiment = read(opened)
    small = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 1000})
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [small, SimpleNamespace(memory_stats=lambda: None)])
    assert isinstance(batches.open_source(reading, mesh, split, experiment, said.append), batches.Streamed)
    (line,) = said
    assert line.startswith("columns: streamed from the host") and line.endswith("half of its memory is 0 MiB")
    _, experiment = read(opened, data__placement="resident")
    with pytest.raises(JaxtagError, match="resident columns would take .* half of its memory is 0"):
        batches.open_source(reading, mesh, split, experiment)
