"""A run folder: the experiment it holds, and that experiment bound to its data.

RUN/experiment.json         recipe, resolved settings, versions, the dataset's and split's fingerprints
RUN/metrics.jsonl           one object per logged step
RUN/tensorboard/            the same for TensorBoard, where training.tensorboard asks for it
RUN/checkpoints/            the two newest and the best
RUN/encoder/                of a run with an encoder: the encoder's
RUN/fitted/                 of a fitted run, in place of metrics and checkpoints: what was learned
RUN/choosing/               of a fitted run: those of the encoders that its settings were chosen with, if its own
RUN/evaluation-<part>.json  metrics, ours and the built-in baselines'
RUN/predictions-<part>.npz  what was recommended to every post of the part
RUN/explained-<part>.json   of a system with attention: which words and earlier posts counted, of a few posts of it
"""

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxtag import experiment as experiments
from jaxtag import recipes
from jaxtag.building import build
from jaxtag.data import batches
from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.data.posts import WORDPIECES, round_up
from jaxtag.data.wordpieces import pieces
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.files import held, write_json
from jaxtag.fitted import FittedSystem, Sampled, reads_vectors
from jaxtag.parallel import distributed
from jaxtag.parallel.mesh import check_batch, make_mesh
from jaxtag.systems import Sizes, System, find, given
from jaxtag.training.alike import check_run, check_system
from jaxtag.training.corpus import chain_state
from jaxtag.training.optimizers import Optimizer, optimizer
from jaxtag.training.state import State, abstract_state
from jaxtag.zero_shot import reads_all_words

# A run may go on under other values of these: they change no number of it, or only where it ends.
FREE = (
    "data.placement",
    "data.resident_mib",
    "training.epochs",
    "training.steps",
    "training.patience",
    "training.accumulate",
    "training.by_length",
    "training.checkpoint_minutes",
    "training.checkpoint_steps",
    "training.dispatch_seconds",
    "training.tensorboard",
    "parallel.data",
    "parallel.fsdp",
    "parallel.tensor",
)
MESH = ("data", "fsdp", "tensor")
LENGTH = ("training.epochs", "training.steps")  # not free where the learning rate depends on the number of all steps


@dataclass(frozen=True)
class Bound:
    """An experiment bound to a split and a mesh: all that training, evaluating and recommending need.

    Attributes:
      experiment, dataset, split: what is trained on what.
      mesh: where.
      reading: what is read, hashtags as labels.
      system, optimizer: made ready.
      abstract: shape, type and sharding of the state; of a fitted system, its params, by shape and type.
      encoder: its experiment bound to the same split and mesh, where there is one.
    """

    experiment: Experiment
    dataset: Dataset
    split: Split
    mesh: Mesh
    reading: batches.Reading
    system: System
    optimizer: Optimizer
    abstract: State
    encoder: "Bound | None" = None


def bind(experiment: Experiment, dataset: Dataset, split: Split, devices: Sequence[Any] | None = None) -> Bound:
    """Bind `experiment` to `split` on `devices`, by default all there are.

    Raises:
      JaxtagError: a column is missing, or the mesh does not fit the devices, evaluation.batch or a parameter.
    """
    mesh = make_mesh(experiment.parallel, devices)
    check_batch("evaluation.batch", experiment.evaluation.batch, mesh)
    entry, network = find(experiment.system), experiment.network
    names = find(network.system).reads(network.model)
    reading = batches.reading(dataset, split, network, names, split.named if entry.zero_shot else split.hashtags)
    words = batches.word_rows(split, network)
    if WORDPIECES in names:
        words = round_up(pieces(dataset), network.parallel.multiple)
    if reads_all_words(experiment):
        reading = replace(reading, word_ids=np.arange(len(dataset.words), dtype=np.int32))
        words = round_up(len(dataset.words), network.parallel.multiple)
    sizes = Sizes(
        words,
        round_up(len(split.hashtags), network.parallel.multiple),
        {name: reading.lengths[name] for name in given(network)},
        **_vectors(experiment, split),
        posts=reading.posts,
        packed=reading.packed,
        image=reading.images.shapes if reading.images else {},
        topics=reading.many_topics,
    )
    system, rule, encoder = build(experiment, sizes).on(mesh), optimizer(experiment.training), None
    if experiment.encoder:
        same = {axis: getattr(experiment.parallel, axis) for axis in MESH}
        inner = replace(experiment.encoder, parallel=replace(experiment.encoder.parallel, **same))
        encoder = bind(inner, dataset, split, devices)
    if isinstance(system, FittedSystem):
        abstract = {"params": system.shapes() | (encoder.abstract["params"] if encoder else {})}
    elif isinstance(system, Sampled):
        abstract = chain_state(system, experiment, reading, split.train, mesh)
    else:
        abstract = abstract_state(system, rule, mesh)
    return Bound(experiment, dataset, split, mesh, reading, system, rule, abstract, encoder)


def _vectors(experiment: Experiment, split: Split) -> dict[str, int]:
    """What the split's word vectors decide of a system's sizes."""
    entry = find(experiment.system)
    if entry.zero_shot:
        return dict(zip(("named", "vectors"), split.hashtag_vectors(experiment.model.vectors).shape))
    return {"vectors": split.vectors(experiment.model.vectors).shape[1]} if reads_vectors(experiment, entry) else {}


def open_posts(bound: Bound, say: Callable[[str], None] = lambda _: None) -> batches.Source:
    """Where the posts of `bound` are read from, resident or streamed, as its network's `data` wants them.

    Raises:
      JaxtagError: resident is asked for and they are too large to be.
    """
    experiment = replace(bound.experiment, data=bound.experiment.network.data)
    return batches.open_source(bound.reading, bound.mesh, bound.split, experiment, say)


def parameters(bound: Bound) -> int:
    """How many parameters the system has."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(bound.abstract["params"]))


@contextmanager
def begun(run: Path, recipe: str, bound: Bound) -> Iterator[None]:
    """Hold the folder `run` for this command while the block runs, and `begin` it; it is made where there is none.

    Of several processes the first does so, once all have the same run, experiment, dataset and split.

    Raises:
      JaxtagError: as `begin`; it is in use; or processes differ.
    """
    check_run(run, bound.experiment, bound.dataset, bound.split)
    if not distributed.leads():
        distributed.lead("the run's folder", None)
        yield
        return
    run.mkdir(parents=True, exist_ok=True)
    with held(run):
        begin(run, recipe, bound)
        distributed.lead("the run's folder", None)
        yield


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
        _check_same(run, experiments.read_run(run), description)
    elif any(p.name not in (".lock", "encoder", "choosing") for p in run.iterdir()):
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
    inner = {k.removeprefix("encoder."): v for k, v in now.items() if k.startswith("encoder.")}
    free = _free(now) | {f"encoder.{key}" for key in _free(inner)}
    keys = [*now, *(k for k in before if k not in now)]
    differ = [f"{k} {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k) and k not in free]
    if differ:
        raise JaxtagError(f"{run} has another experiment: {', '.join(differ)}", mend)


def _free(fields: dict[str, Any]) -> set[str]:
    """Which of an experiment's fields may change from one start to the next."""
    if not fields:
        return set()
    planned = fields["training.schedule"] == "linear" or 0 < fields["training.warmup"] < 1
    return {key for key in FREE if not (planned and key in LENGTH)}


def open_run(run: Path, data: Path | None = None) -> tuple[Bound, dict[str, Any]]:
    """The run at `run`, bound to the dataset it was trained on, and its experiment.json.

    Args:
      run: the folder.
      data: where the dataset lies now; by default where it lay when training began.

    Raises:
      JaxtagError: there is no run, or its dataset is gone or has changed.
    """
    info = experiments.read_run(run)
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
    check_run(run, experiment, dataset, split)
    bound = bind(experiment, dataset, split)
    check_system(bound.system)
    return bound, info
