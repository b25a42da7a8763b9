"""The trainer's promises: one program, the same numbers on every mesh and after every interruption."""

import dataclasses
import json
import os
import signal
import struct
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxtag.data.batches import open_source
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError, Preempted
from jaxtag.evaluation.evaluate import _programs, evaluate
from jaxtag.parallel.mesh import put, replicated
from jaxtag.recipes import resolve
from jaxtag.runs import Bound, bind
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.loop import Trainer, train
from jaxtag.training.objectives import Objective, pairs
from jaxtag.training.parts import lengths_up_to
from jaxtag.training.programs import padded, programs_of, shape_of
from jaxtag.training.state import numbers_of
from tests import toy

RECIPES = ("zsl/cnn", "zsl/rnn_attention")
# Everything at once: some of these steps have more than 32 distinct words, some fewer.
WRAPPED = {
    "training__optimizer": "adagrad",
    "training__rows": 32,
    "training__batch": 8,
    "training__accumulate": 2,
    "training__schedule": "plateau",
    "training__plateau_patience": 1,
    "training__plateau_factor": 0.5,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy") / "data", 400)


def bound(path: Path, recipe: str = "zsl/cnn", devices: int = 1, **overrides: object) -> Bound:
    opened = open_dataset(path)
    settings = {"training.batch": 32, "evaluation.batch": 64} | {k.replace("__", "."): v for k, v in overrides.items()}
    return bind(resolve(recipe, "tiny", settings), opened, opened.split(), jax.devices()[:devices])


def run_steps(b: Bound, chunks: list[int]) -> tuple[object, np.ndarray]:
    """Steps in dispatches of the given lengths, by the loop's own programs; the state and each step's mean loss."""
    source = open_source(b.reading, b.mesh, b.split, b.experiment)
    programs = programs_of(shape_of(b, source))
    numbers = numbers_of(b.experiment, b.split.train, len(b.split.hashtags), b.system.sizes.hashtags)
    numbers = put(numbers | {"rows": padded(numbers["rows"])}, replicated(b.mesh))
    state = programs.create(b.experiment.training.seed)
    losses, done = [], 0
    for steps in chunks:
        count = put(np.int32(steps), replicated(b.mesh))
        state, sums = programs.dispatch(state, numbers, source.feed(done, steps), count)
        losses.append((np.asarray(sums["loss"]) / np.maximum(sums["weight"], 1))[:steps])
        done += steps
    assert programs.dispatch._cache_size() == 1
    return state, np.concatenate(losses)


def same_bits(a: object, b: object) -> bool:
    left, right = jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b))
    return len(left) == len(right) and all(np.array_equal(x, y) for x, y in zip(left, right))


def test_devices_and_meshes_give_the_same_losses(dataset: Path, recipe: str = "zsl/cnn") -> None:
    _, alone = run_steps(bound(dataset, recipe), [10])
    # Devices, data, fsdp, tensor; each is a program of its own to compile.
    for devices, data, fsdp, tensor in ((2, 2, 1, 1), (4, 1, 4, 1), (8, 2, 2, 2)):
        b = bound(dataset, recipe, devices, parallel__data=data, parallel__fsdp=fsdp, parallel__tensor=tensor)
        state, losses = run_steps(b, [10])
        np.testing.assert_allclose(losses, alone, rtol=1e-6)
        for leaf, abstract in zip(jax.tree.leaves(state), jax.tree.leaves(b.abstract)):
            assert leaf.sharding.is_equivalent_to(abstract.sharding, leaf.ndim)
    assert not np.allclose(alone[0], alone[-1])


def test_tables_are_really_split(dataset: Path) -> None:
    b = bound(dataset, devices=8, parallel__data=2, parallel__fsdp=2, parallel__tensor=2)
    params = b.abstract["params"]
    for table, axis in ((params["word_table"]["table"], 0), (params["head"]["kernel"], 1)):
        assert table.sharding.shard_shape(table.shape)[axis] == table.shape[axis] // 4
    moments = jax.tree.leaves(b.abstract["opt_state"])
    assert any(
        m.shape == params["head"]["kernel"].shape and m.sharding == params["head"]["kernel"].sharding for m in moments
    )


def test_parts_by_length_are_the_same_on_every_mesh(dataset: Path) -> None:
    _, alone = run_steps(bound(dataset, training__by_length=2), [4])
    mesh = {"parallel__data": 2, "parallel__fsdp": 2, "parallel__tensor": 2}
    _, found = run_steps(bound(dataset, devices=8, training__by_length=2, **mesh), [4])
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_saved_on_one_mesh_restored_on_another(dataset: Path, tmp_path: Path) -> None:
    first = bound(dataset, devices=8, parallel__data=2, parallel__fsdp=2, parallel__tensor=2)
    state, _ = run_steps(first, [3])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state, {}, 0.5)
    checkpoints.wait()
    for step, (devices, fsdp) in enumerate(((1, 1), (8, 1), (8, 2), (4, 4)), 3):  # and saved again on each
        other = bound(dataset, devices=devices, parallel__fsdp=fsdp)
        found, _ = checkpoints.restore(step, other.abstract)
        assert same_bits(found, state)
        assert jax.tree.leaves(found)[1].sharding.mesh.shape == other.mesh.shape
        checkpoints.save(step + 1, found, {}, 0.5)
        checkpoints.wait()
    checkpoints.close()


@pytest.mark.parametrize("recipe", RECIPES)
def test_chunks_and_placement_change_no_bit(dataset: Path, recipe: str) -> None:
    whole, losses = run_steps(bound(dataset, recipe), [24])
    ways = [("resident", [8, 8, 8]), ("resident", [23, 1]), ("streamed", [24]), ("streamed", [1] * 24)]
    for placement, chunks in ways if recipe == "zsl/cnn" else [("streamed", [23, 1])]:
        state, found = run_steps(bound(dataset, recipe, data__placement=placement), chunks)
        np.testing.assert_array_equal(found, losses)
        assert same_bits(state, whole)


def test_seeds_differ(dataset: Path) -> None:
    _, first = run_steps(bound(dataset), [3])
    _, second = run_steps(bound(dataset, training__seed=1), [3])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("recipe", RECIPES)
def test_bfloat16_trains_and_keeps_float32_masters(dataset: Path, recipe: str) -> None:
    _, full = run_steps(bound(dataset, recipe), [40])
    state, losses = run_steps(bound(dataset, recipe, training__precision="bfloat16"), [40])
    assert {x.dtype.name for x in jax.tree.leaves(state)} == {"float32", "int32"}
    assert not np.array_equal(losses, full)
    assert abs(losses[0] - full[0]) < 0.02 * full[0]
    assert losses[-5:].mean() < 0.9 * losses[0]


def test_chunks_and_placement_change_no_bit_with_every_wrapper(dataset: Path) -> None:
    whole, losses = run_steps(bound(dataset, **WRAPPED, training__accumulator=0.01), [24])
    for placement, chunks in (("resident", [5, 19]), ("streamed", [24])):
        b = bound(dataset, data__placement=placement, **WRAPPED, training__accumulator=0.01)
        state, found = run_steps(b, chunks)
        np.testing.assert_array_equal(found, losses)
        assert same_bits(state, whole)


def test_devices_and_meshes_give_the_same_losses_with_every_wrapper(dataset: Path) -> None:
    _, alone = run_steps(bound(dataset, **WRAPPED, training__accumulator=0.01), [10])
    b = bound(dataset, devices=4, parallel__data=2, parallel__tensor=2, **WRAPPED, training__accumulator=0.01)
    np.testing.assert_allclose(run_steps(b, [10])[1], alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "parts"),
    [
        ("zsl/cnn", {"accumulate": 2}),
        ("zsl/cnn", {"accumulate": 8}),
        ("zsl/cnn", {"by_length": 4}),
        ("zsl/cnn", {"accumulate": 2, "by_length": 4}),
        ("zsl/cnn", {"by_length": 2, "optimizer": "adagrad", "rows": 64, "accumulator": 0.01, "learning_rate": 0.01}),
        ("zsl/rnn_attention", {"by_length": 1}),
        ("zsl/rnn_attention", {"by_length": 4}),
    ],
)
def test_a_batch_in_parts_equals_the_whole(dataset: Path, recipe: str, parts: dict) -> None:
    whole = {"accumulate": 1, "by_length": 0}
    both = {"optimizer": "sgd", "learning_rate": 0.1} | {k: v for k, v in parts.items() if k not in whole}
    settings = {f"training__{k}": v for k, v in both.items()}
    expected, losses = run_steps(
        bound(dataset, recipe, **settings, **{f"training__{k}": v for k, v in whole.items()}), [8]
    )
    given = {f"training__{k}": v for k, v in (whole | parts).items() if k in whole}
    state, found = run_steps(bound(dataset, recipe, **settings, **given), [8])
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(state["params"]), jax.tree.leaves(expected["params"])):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_lengths_grow_by_halves_and_end_at_the_longest() -> None:
    assert lengths_up_to(8) == [8] and lengths_up_to(40) == [8, 12, 16, 24, 32, 40]
    assert lengths_up_to(5) == [5] and lengths_up_to(24) == [8, 12, 16, 24]


def test_an_objective_that_couples_posts_refuses_parts(dataset: Path, tmp_path: Path) -> None:
    b = bound(dataset, training__accumulate=2)
    coupled = dataclasses.replace(b.system, objective=Objective(pairs, couples=True))
    with pytest.raises(JaxtagError, match="compares its posts with each other"):
        train(tmp_path / "run", "zsl/cnn", dataclasses.replace(b, system=coupled))


def rows_of(run: Path, kind: str) -> list[dict]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row for row in lines if row["kind"] == kind]


def test_the_validation_loss_is_the_objectives_mean(dataset: Path, tmp_path: Path) -> None:
    b = bound(dataset, training__steps=5, training__smoothing=0.1)
    train(tmp_path / "run", "zsl/cnn", b)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    state, _ = checkpoints.restore(5, b.abstract)
    checkpoints.close()
    numbers = numbers_of(b.experiment, b.split.train, len(b.split.hashtags), b.system.sizes.hashtags)
    batch = b.reading.gather(b.split.validation)
    loss, weight, _ = b.system.loss(state["params"], state["collections"], batch, numbers, None)
    found = rows_of(tmp_path / "run", "validation")[-1]["loss"]
    np.testing.assert_allclose(found, loss.sum() / weight.sum(), rtol=1e-5)


def test_the_plateau_lowers_the_learning_rate_of_later_steps(dataset: Path, tmp_path: Path) -> None:
    settings = {"training__schedule": "plateau", "training__plateau_patience": 1, "training__patience": 0}
    b = bound(dataset, training__steps=12, training__evaluate_every=2, training__learning_rate=1e-9, **settings)
    train(tmp_path / "run", "zsl/cnn", b)  # nothing is learned, so that every evaluation but the first is no better
    rates = {row["step"]: row["learning_rate"] for row in rows_of(tmp_path / "run", "train")}
    np.testing.assert_allclose([rates[2], rates[4], rates[6], rates[12]], [1e-9, 1e-9, 1e-10, 1e-13], rtol=1e-5)


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Tag, step and value of every scalar in TensorBoard's files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in folder.iterdir():
        data, at = file.read_bytes(), 0
        while at < len(data):  # a record: its length, a checksum, the record, another checksum
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 16 + size
    return found


def test_tensorboard_has_every_step_once_after_a_resumption(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run = tmp_path / "run"
    for steps in (6, 12):
        train(run, "zsl/cnn", bound(dataset, training__steps=steps, training__evaluate_every=3,
                                    training__tensorboard=True, training__patience=0))  # fmt: skip
    found = events(run / "tensorboard")
    assert len({(tag, step) for tag, step, _ in found}) == len(found)
    assert [step for tag, step, _ in found if tag == "validation/f1_at_1"] == [3, 6, 9, 12]
    logged = {row["step"]: row["loss"] for row in rows_of(run, "train")}
    shown = {step: value for tag, step, value in found if tag == "train/loss"}
    assert shown == {step: pytest.approx(loss, rel=1e-6) for step, loss in logged.items()}


def test_tensorboard_without_its_library_is_refused_in_a_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(JaxtagError, match=r"tensorboardX, which is not installed; pip install 'jaxtag\[tensorboard\]'"):
        train(tmp_path / "run", "zsl/cnn", bound(dataset, training__tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_a_run_whose_rate_is_planned_to_its_end_is_not_made_longer(dataset: Path, tmp_path: Path) -> None:
    settings = {"training__schedule": "linear", "training__warmup": 0.5}
    train(tmp_path / "run", "zsl/cnn", bound(dataset, training__steps=2, **settings))
    with pytest.raises(JaxtagError, match="another experiment: training.steps 2 -> 4"):
        train(tmp_path / "run", "zsl/cnn", bound(dataset, training__steps=4, **settings))
    assert [row["learning_rate"] for row in rows_of(tmp_path / "run", "train")][0] == 0


@pytest.fixture
def compilations() -> list[str]:
    """Names of what is compiled while the test runs."""
    names: list[str] = []

    def listen(event: str, duration: float, **kwargs: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(kwargs.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_one_compilation_for_training_and_one_for_evaluation(
    dataset: Path, tmp_path: Path, compilations: list[str]
) -> None:
    programs_of.cache_clear()  # other tests have runs of this shape
    _programs.cache_clear()
    b = bound(dataset, training__epochs=3, training__evaluate_every=7)
    train(tmp_path / "run", "zsl/cnn", b)
    assert sum("dispatch" in n for n in compilations) == 1, compilations
    assert sum("_evaluate_batch" in n for n in compilations) == 1, compilations


def test_training_learns_and_a_second_start_finds_it_done(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train(
        run, "zsl/rnn_attention", bound(dataset, "zsl/rnn_attention", training__epochs=40, training__patience=0)
    )
    found = evaluate(run)
    assert found["f1@1"] > 0.45
    assert found["posts"] == 40
    again = train(
        run, "zsl/rnn_attention", bound(dataset, "zsl/rnn_attention", training__epochs=40, training__patience=0)
    )
    assert again == first
    saved = np.load(run / "predictions-test.npz")
    assert saved["ranked"].shape == (40, 5)
    hits = (saved["ranked"][:, :1] == saved["gold"]).any(1)
    assert np.isclose(hits.mean(), found["precision@1"])


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_checkpoint(dataset: Path, tmp_path: Path) -> None:
    b = bound(dataset, training__learning_rate=1e30, training__clip=0, training__evaluate_every=1)
    with pytest.raises(JaxtagError, match=r"the loss is not finite at step \d+; the checkpoint of step \d+ is kept"):
        train(tmp_path / "run", "zsl/cnn", b)
    assert Checkpoints(tmp_path / "run" / "checkpoints").newest()


@pytest.mark.parametrize("options", [{}, WRAPPED], ids=["plain", "wrapped"])
def test_sigterm_saves_and_the_same_command_goes_on(
    dataset: Path, tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {name: tmp_path / name for name in ("whole", "stopped")}
    settings = {"training__steps": 60, "training__patience": 0, "training__evaluate_every": 7} | options
    go = lambda run: train(run, "zsl/cnn", bound(dataset, **settings))  # noqa: E731
    whole = go(runs["whole"])
    launch = Trainer._launch

    def interrupted(self: Trainer, steps: int) -> None:
        launch(self, steps)
        if self._step >= 31:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(Preempted, match="stopped at step"):
        patched.setattr(Trainer, "_launch", interrupted)
        go(runs["stopped"])
    resumed = go(runs["stopped"])
    assert {k: v for k, v in resumed.items() if k not in ("run", "seconds")} == {
        k: v for k, v in whole.items() if k not in ("run", "seconds")
    }
    assert rows_of(runs["stopped"], "validation") == rows_of(runs["whole"], "validation")
    states = []
    for run in runs.values():
        checkpoints = Checkpoints(run / "checkpoints")
        states.append(checkpoints.restore(60, bound(dataset, **settings).abstract)[0])
        checkpoints.close()
    assert same_bits(*states)
    if options:
        last = rows_of(runs["stopped"], "train")[-1]
        assert last["learning_rate"] < 0.25 * bound(dataset).experiment.training.learning_rate
        assert sum(row["overflowed"] for row in rows_of(runs["whole"], "train")) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training__batch": 16}, "another experiment: training.batch 32 -> 16"),
        ({"model__dropout": 0.5}, "another experiment: model.dropout 0.2 -> 0.5"),
        ({"recipe": "zsl/rnn_attention"}, "trains system cnn, not rnn_attention"),
    ],
)
def test_a_run_of_another_experiment_is_refused(dataset: Path, tmp_path: Path, change: dict, said: str) -> None:
    run = tmp_path / "run"
    train(run, "zsl/cnn", bound(dataset, training__steps=2))
    with pytest.raises(JaxtagError) as caught:
        train(run, "zsl/cnn", bound(dataset, **({"training__steps": 2} | change)))
    assert said in str(caught.value)
    assert "--run" in str(caught.value)


def test_an_empty_validation_part_is_refused_before_anything_is_made(dataset: Path, tmp_path: Path) -> None:
    b = bound(dataset)
    empty = dataclasses.replace(b, split=dataclasses.replace(b.split, validation=b.split.validation[:0]))
    with pytest.raises(JaxtagError, match="the validation part of .* has no posts"):
        train(tmp_path / "run", "zsl/cnn", empty)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(dataset: Path, tmp_path: Path) -> None:
    from jaxtag.files import held

    with held(tmp_path), pytest.raises(JaxtagError, match="is in use by another process"):
        train(tmp_path, "zsl/cnn", bound(dataset, training__steps=2))
    train(tmp_path, "zsl/cnn", bound(dataset, training__steps=2))


def test_a_folder_of_something_else_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(JaxtagError, match="is not empty and is not a run folder"):
        train(tmp_path, "zsl/cnn", bound(dataset, training__steps=2))


def test_a_run_of_another_split_or_dataset_is_refused(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, "zsl/cnn", bound(dataset, training__steps=2))
    other = toy.make(tmp_path / "other", 400, seed=3)
    with pytest.raises(JaxtagError, match="was trained on dataset"):
        train(run, "zsl/cnn", bound(other, training__steps=2))
    with pytest.raises(JaxtagError, match="was trained on dataset"):
        evaluate(run, data=other)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"parallel__data": 3}, "a mesh of data 3, fsdp 1, tensor 1 does not fit 8 devices"),
        ({"training__batch": 12}, "training.batch is 12, which does not divide over the mesh's 8 parts"),
        (
            {
                "model__hidden": (12, 6),
                "parallel__data": 4,
                "parallel__tensor": 2,
                "parallel__multiple": 1,
                "model__filters": 3,
            },
            "axis 'hidden' of 3 does not divide over tensor = 2",
        ),
        ({"training__batch": 4096}, "training.batch is 4096"),
        (
            {"training__accumulate": 8, "training__by_length": 0},
            "training.batch / 8, by training.accumulate 8, is 4, which does not divide",
        ),
        ({"training__accumulate": 4}, "training.batch / 8, by training.accumulate 4 and training.by_length 2, is 4"),
        ({"training__objective": "single"}, "needs posts with exactly one hashtag"),
        ({"data__vectors": "glove"}, "has no word vectors 'glove'"),
        ({"data__placement": "resident", "data__resident_mib": 0}, "resident columns would take"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    dataset: Path, tmp_path: Path, overrides: dict, said: str
) -> None:
    with pytest.raises(JaxtagError) as caught:
        train(tmp_path / "run", "zsl/cnn", bound(dataset, devices=8, **overrides))
    assert said in str(caught.value)
