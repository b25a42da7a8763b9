"""The trainer's promises: one program, the same numbers on every mesh and after every interruption."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxtag.data.batches import open_source
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.evaluate import evaluate
from jaxtag.parallel.mesh import replicated
from jaxtag.recipes import resolve
from jaxtag.runs import Bound, bind
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.loop import Trainer, train
from jaxtag.training.state import create, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step
from tests import toy

RECIPES = ("zsl/cnn", "zsl/rnn_attention")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy") / "data", 400)


def bound(path: Path, recipe: str = "zsl/cnn", devices: int = 1, **overrides: object) -> Bound:
    opened = open_dataset(path)
    settings = {"training.batch": 32, "evaluation.batch": 64} | {k.replace("__", "."): v for k, v in overrides.items()}
    return bind(resolve(recipe, "tiny", settings), opened, opened.split(), jax.devices()[:devices])


def run_steps(b: Bound, chunks: list[int], state: object = None) -> tuple[object, np.ndarray]:
    """Steps in dispatches of the given lengths; the state and each step's mean loss."""
    source = open_source(b.reading, b.mesh, b.split, b.experiment)
    numbers = numbers_of(b.experiment, b.split.train, len(b.split.hashtags), b.system.sizes.hashtags)
    numbers = jax.device_put(numbers, replicated(b.mesh))
    state = create(b.system, b.optimizer, b.abstract, b.experiment.training.seed, b.mesh) if state is None else state
    step = make_train_step(b.system, b.optimizer)
    dispatch = make_dispatch(step, source, b.experiment.training.batch, b.abstract, b.mesh)
    losses, done = [], 0
    for steps in chunks:
        count = jax.device_put(np.int32(steps), replicated(b.mesh))
        state, sums = dispatch(state, numbers, source.feed(done, steps), count)
        losses.append((np.asarray(sums["loss"]) / np.maximum(sums["weight"], 1))[:steps])
        done += steps
    assert dispatch._cache_size() == 1
    return state, np.concatenate(losses)


def same_bits(a: object, b: object) -> bool:
    left, right = jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b))
    return len(left) == len(right) and all(np.array_equal(x, y) for x, y in zip(left, right))


@pytest.mark.parametrize("recipe", RECIPES)
def test_devices_and_meshes_give_the_same_losses(dataset: Path, recipe: str) -> None:
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
def test_the_first_loss_is_near_ln_of_the_hashtags(dataset: Path, recipe: str) -> None:
    _, losses = run_steps(bound(dataset, recipe), [1])
    # zsl/cnn starts .23 above it: softplus features are all positive, so that its first logits are not small.
    assert abs(losses[0] - np.log(toy.HASHTAGS)) < 0.3


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_parameter_learns(dataset: Path, recipe: str) -> None:
    b = bound(dataset, recipe)
    before = create(b.system, b.optimizer, b.abstract, 0, b.mesh)["params"]
    after = run_steps(b, [5])[0]["params"]
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after)):
        assert not np.array_equal(old, new), jax.tree_util.keystr(path)


def test_saved_on_one_mesh_restored_on_another(dataset: Path, tmp_path: Path) -> None:
    first = bound(dataset, devices=8, parallel__data=2, parallel__fsdp=2, parallel__tensor=2)
    state, _ = run_steps(first, [3])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state, {}, 0.5)
    checkpoints.wait()
    for devices, fsdp in ((1, 1), (4, 4), (8, 2)):
        other = bound(dataset, devices=devices, parallel__fsdp=fsdp)
        found, _ = checkpoints.restore(3, other.abstract)
        assert same_bits(found, state)
        assert jax.tree.leaves(found)[1].sharding.mesh.shape == other.mesh.shape
    checkpoints.close()


@pytest.fixture
def compilations() -> list[str]:
    """Names of what is compiled while the test runs."""
    names: list[str] = []

    def listen(event: str, duration: float, **kwargs: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(kwargs.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.clear_event_listeners()


def test_one_compilation_for_training_and_one_for_evaluation(
    dataset: Path, tmp_path: Path, compilations: list[str]
) -> None:
    b = bound(dataset, training__epochs=3, training__evaluate_every=7)
    train(tmp_path / "run", "zsl/cnn", b)
    assert sum("dispatch" in n for n in compilations) == 1, compilations
    assert sum("_evaluate_batch" in n for n in compilations) == 1, compilations


SCRIPT = """
import os, sys, threading, time
import jax
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.test_training import bound
from jaxtag.training import loop
data, run, when = Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
trainer_run = loop.Trainer.run
def timed(self):
    if when:
        threading.Thread(target=lambda: (time.sleep(when), os.kill(os.getpid(), 9)), daemon=True).start()
    return trainer_run(self)
loop.Trainer.run = timed
loop.train(run, "zsl/cnn", bound(data, training__epochs=12, training__patience=0, training__evaluate_every=13,
                                training__dispatch_seconds=0.02, training__checkpoint_minutes=0.005))
"""


def test_killed_and_resumed_is_bit_identical(dataset: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[1]

    def go(run: str, when: float) -> int:
        command = [sys.executable, "-c", SCRIPT, str(root), str(dataset), str(tmp_path / run), str(when)]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ).returncode

    assert go("whole", 0) == 0
    killed = [go("killed", when) for when in (0.6, 0.25)]
    assert killed[0] == -signal.SIGKILL
    assert go("killed", 0) == 0
    b = bound(dataset)
    states = []
    for run in ("whole", "killed"):
        checkpoints = Checkpoints(tmp_path / run / "checkpoints")
        states.append(checkpoints.restore(checkpoints.newest(), b.abstract)[0])
        checkpoints.close()
    assert same_bits(*states)
    rows = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "killed")
    ]
    validations = [[r for r in found if r["kind"] == "validation"] for found in rows]
    assert validations[0] == validations[1]
    steps = [r["step"] for r in rows[1]]
    assert steps == sorted(steps)


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


def test_sigterm_saves_and_the_same_command_goes_on(dataset: Path, tmp_path: Path) -> None:
    from jaxtag.errors import Preempted

    run = tmp_path / "run"
    args = {"training__epochs": 4, "training__patience": 0}
    whole = train(tmp_path / "whole", "zsl/cnn", bound(dataset, **args))
    launch = Trainer._launch

    def interrupted(self: Trainer, steps: int) -> None:
        launch(self, steps)
        if self._step >= 5:
            os.kill(os.getpid(), signal.SIGTERM)

    Trainer._launch = interrupted
    try:
        with pytest.raises(Preempted, match="stopped at step"):
            train(run, "zsl/cnn", bound(dataset, **args))
    finally:
        Trainer._launch = launch
    resumed = train(run, "zsl/cnn", bound(dataset, **args))
    assert {k: v for k, v in resumed.items() if k not in ("run", "seconds")} == {
        k: v for k, v in whole.items() if k not in ("run", "seconds")
    }


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
