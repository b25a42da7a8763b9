"""A run folder: the experiment it holds, and that experiment bound to its data.

RUN/experiment.json         recipe, resolved settings, versions, the dataset's and split's fingerprints
RUN/metrics.jsonl           one object per logged step
RUN/tensorboard/            the same for TensorBoard, where training.tensorboard asks for it
RUN/checkpoints/            the two newest and the best
RUN/evaluation-<part>.json  metrics, ours and the built-in baselines'
RUN/predictions-<part>.npz  what was recommended to every post of the part
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxtag import experiment as experiments
from jaxtag import recipes
from jaxtag.data import batches
from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.data.posts import round_up
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.files import read_json, write_json
from jaxtag.parallel.mesh import check_batch, make_mesh
from jaxtag.systems import Sizes, System, build, find
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.logs import check_tensorboard
from jaxtag.training.optimizers import Optimizer, optimizer
from jaxtag.training.state import State, abstract_state

# A run may go on under other values of these: they change no number of it, or only where it ends.
FREE = (
    "data.placement",
    "data.resident_mib",
    "training.epochs",
    "training.steps",
    "training.patience",
    "training.checkpoint_minutes",
    "training.dispatch_seconds",
    "training.tensorboard",
    "parallel.data",
    "parallel.fsdp",
    "parallel.tensor",
)
LENGTH = ("training.epochs", "training.steps")  # not free where the learning rate depends on the number of all steps


@dataclass(frozen=True)
class Bound:
    """An experiment bound to a split and a mesh: all that training, evaluating and recommending need.

    Attributes:
      experiment, dataset, split: what is trained on what.
      mesh: where.
      reading: what is read, hashtags as labels.
      system, optimizer: made ready.
      abstract: shape, type and sharding of the state.
    """

    experiment: Experiment
    dataset: Dataset
    split: Split
    mesh: Mesh
    reading: batches.Reading
    system: System
    optimizer: Optimizer
    abstract: State


def bind(experiment: Experiment, dataset: Dataset, split: Split, devices: Sequence[Any] | None = None) -> Bound:
    """Bind `experiment` to `split` on `devices`, by default all there are.

    Raises:
      JaxtagError: a column is missing, or the mesh does not fit the devices, evaluation.batch or a parameter.
    """
    mesh = make_mesh(experiment.parallel, devices)
    check_batch("evaluation.batch", experiment.evaluation.batch, mesh)
    names = find(experiment.system).columns
    reading = batches.reading(dataset, split, experiment, names, split.hashtags)
    lengths = {name: reading.lengths[name] for name in names}
    sizes = Sizes(
        batches.word_rows(split, experiment), round_up(len(split.hashtags), experiment.parallel.multiple), lengths
    )
    system = build(experiment, sizes)
    rule = optimizer(experiment.training)
    return Bound(experiment, dataset, split, mesh, reading, system, rule, abstract_state(system, rule, mesh))


def check_training(bound: Bound) -> None:
    """Refuse to train what cannot be trained.

    Raises:
      JaxtagError: the batch or a part of it does not divide over the mesh or is larger than the training part,
        the validation part is empty, the split or accumulation does not fit the objective, or tensorboardX is
        asked for and absent.
    """
    training, split = bound.experiment.training, bound.split
    split.part("validation")  # what early stopping and the best checkpoint go by
    check_batch("training.batch", training.batch, bound.mesh)
    if training.batch > len(split.train):
        raise JaxtagError(
            f"training.batch is {training.batch}, {split.path} has {len(split.train)} training posts",
            "make the batch smaller",
        )
    _check_parts(bound)
    if unseen := len(np.setdiff1d(split.candidates, split.hashtags)):
        raise JaxtagError(
            f"{bound.experiment.system} ranks only hashtags that it trains on, and {unseen} of the "
            f"{len(split.candidates)} candidates of {split.path} are unseen",
            "train on a split whose candidates are all seen",
        )
    if training.tensorboard:
        check_tensorboard()
    if training.objective == "single" and split.info["hashtags_per_post"] != "one":
        raise JaxtagError(
            f"training.objective single needs posts with exactly one hashtag, {split.path} keeps all",
            f"jaxtag-prep split --data {bound.dataset.path} --name single --per-post one, "
            "or --training.objective pairs",
        )


def _check_parts(bound: Bound) -> None:
    training = bound.experiment.training
    made = {"accumulate": training.accumulate, "by_length": training.by_length or 1}
    if (parts := made["accumulate"] * made["by_length"]) == 1:
        return
    by = " and ".join(f"training.{name} {n}" for name, n in made.items() if n > 1)
    check_batch(f"training.batch / {parts}, by {by},", training.batch // parts, bound.mesh)
    if bound.system.objective.couples:
        raise JaxtagError(
            f"{by} would divide a batch, but training.objective {training.objective} compares its posts with each "
            "other",
            "--training.accumulate 1 --training.by_length 0",
        )


def parameters(bound: Bound) -> int:
    """How many parameters the system has."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(bound.abstract["params"]))


def begin(run: Path, recipe: str, bound: Bound) -> None:
    """Make `run`, an existing folder, a new run's, or check that the one there is this run's.

    Raises:
      JaxtagError: it is of another dataset, split or experiment; the message says what differs.
    """
    description = {
        "format": experiments.FORMAT,
        "recipe": recipe,
        "experiment": experiments.to_json(bound.experiment),
        "parameters": parameters(bound),
        "dataset": {
            "path": str(bound.dataset.path),
            "name": bound.dataset.info["name"],
            "fingerprint": bound.dataset.fingerprint,
        },
        "split": {"name": bound.split.name, "fingerprint": bound.split.fingerprint},
        "versions": {p: importlib.metadata.version(p) for p in ("jaxtag", "jax", "flax", "optax", "orbax-checkpoint")},
        "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
    }
    if (run / "experiment.json").exists():
        _check_same(run, read_json(run / "experiment.json", "experiment"), description)
    elif any(p.name != ".lock" for p in run.iterdir()):
        raise JaxtagError(
            f"{run} is not empty and is not a run folder: it has no experiment.json", "name a new folder with --run"
        )
    write_json(run / "experiment.json", description)


def _check_same(run: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    mend = "name a new folder with --run, or give the same settings"
    for what in ("dataset", "split"):
        if old[what]["fingerprint"] != new[what]["fingerprint"]:
            raise JaxtagError(
                f"{run} was trained on {what} {old[what]['name']} ({old[what]['fingerprint']}), "
                f"this is {new[what]['name']} ({new[what]['fingerprint']})",
                mend,
            )
    if old["experiment"]["system"] != new["experiment"]["system"]:
        raise JaxtagError(f"{run} trains system {old['experiment']['system']}, not {new['experiment']['system']}", mend)
    before, now = (experiments.fields_of(recipes.from_json(d["experiment"])) for d in (old, new))
    planned = now["training.schedule"] == "linear" or 0 < now["training.warmup"] < 1
    free = set(FREE) - set(LENGTH if planned else ())
    differ = [f"{k} {before[k]} -> {now[k]}" for k in now if before[k] != now[k] and k not in free]
    if differ:
        raise JaxtagError(f"{run} has another experiment: {', '.join(differ)}", mend)


def open_run(run: Path, data: Path | None = None) -> tuple[Bound, dict[str, Any]]:
    """The run at `run`, bound to the dataset it was trained on, and its experiment.json.

    Args:
      run: the folder.
      data: where the dataset lies now; by default where it lay when training began.

    Raises:
      JaxtagError: there is no run, or its dataset is gone or has changed.
    """
    if not (run / "experiment.json").is_file():
        raise JaxtagError(f"{run} is not a run folder: it has no experiment.json", "train one with jaxtag train")
    info = read_json(run / "experiment.json", "experiment")
    if info.get("format") != experiments.FORMAT:
        raise JaxtagError(
            f"{run} has experiment format {info.get('format')}, this jaxtag reads {experiments.FORMAT}",
            "train again with this version",
        )
    path = data or Path(info["dataset"]["path"])
    if not path.is_dir():
        raise JaxtagError(f"the dataset of {run} is no longer at {path}", "give its folder with --data")
    dataset = open_dataset(path)
    split = dataset.split(info["split"]["name"])
    for what, found in (("dataset", dataset.fingerprint), ("split", split.fingerprint)):
        if info[what]["fingerprint"] != found:
            raise JaxtagError(
                f"{run} was trained on {what} {info[what]['fingerprint']}, {path} now has {found}",
                "give the dataset it was trained on with --data",
            )
    # Evaluating needs no particular mesh: all devices share the posts.
    whole = {"parallel.data": -1, "parallel.fsdp": 1, "parallel.tensor": 1}
    experiment = experiments.override(recipes.from_json(info["experiment"]), whole)
    return bind(experiment, dataset, split), info


def restore_best(run: Path, bound: Bound) -> State:
    """The state at the run's best checkpoint.

    Raises:
      JaxtagError: it has none yet, or it is damaged.
    """
    checkpoints = Checkpoints(run / "checkpoints")
    try:
        step = checkpoints.best()
        if step is None:
            raise JaxtagError(f"{run} has no checkpoint yet", "train it first")
        return checkpoints.restore(step, bound.abstract)[0]
    finally:
        checkpoints.close()
