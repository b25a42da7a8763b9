"""Programs that the runs of one process share: those of runs that differ in numbers alone are traced and compiled once.

A program is made of a run's shape: its experiment with the numbers taken out, its tables' sizes, its mesh, and how its
batches come. What is taken out is not there to be read while the program is traced; it reaches it as an argument, so a
run alone and a run among many are the same program.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxtag import experiment as experiments
from jaxtag.building import build
from jaxtag.data.batches import Source
from jaxtag.data.posts import round_up
from jaxtag.experiment import Data, Evaluation, Experiment, Parallel
from jaxtag.runs import Bound
from jaxtag.systems import Sizes, System
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import State, make_create
from jaxtag.training.step import make_dispatch, make_train_step
from jaxtag.training.validation import make_sums

KEPT = 8  # shapes whose programs are kept
ROWS = 4096  # row numbers of a training part are padded to a multiple of this: folds differ by a few posts

# Of `training`: arguments of the step, and what the host alone reads.
NUMBERS = (
    "learning_rate", "weight_decay", "smoothing", "warmup", "epochs", "steps", "seed", "plateau_factor",
    "plateau_patience", "drop_after", "evaluate_every", "patience", "checkpoint_minutes", "checkpoint_steps",
    "dispatch_seconds", "tensorboard",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What a run's programs depend on; equal shapes have the same programs.

    Attributes:
      key: the rest as text, but for the mesh.
      mesh: where they run.
      experiment: without numbers.
      sizes: of the model.
      abstract: shape, type and sharding of the state.
      source: how a batch is fetched; it holds no posts.
    """

    key: str
    mesh: Mesh
    experiment: Experiment = field(compare=False)
    sizes: Sizes = field(compare=False)
    abstract: State = field(compare=False)
    source: Source = field(compare=False)

    @property
    def system(self) -> System:
        """The system of this shape."""
        return build(self.experiment, self.sizes).on(self.mesh)


@dataclass(frozen=True)
class Programs:
    """Training's compiled functions.

    Attributes:
      create: the state before the first step, of seed and word vectors (`jaxtag.training.state.make_create`).
      dispatch: steps (`jaxtag.training.step.make_dispatch`).
      loss: sums of loss and weight over posts (`jaxtag.training.validation.make_sums`).
    """

    create: Callable[..., State]
    dispatch: Callable[..., tuple[State, Any]]
    loss: Callable[..., Any]


def shape_of(bound: Bound, source: Source) -> Shape:
    """The shape of a run whose batches come from `source`."""
    sizes, experiment = bound.system.sizes, without_numbers(bound.experiment)
    said = [experiments.to_json(experiment), dataclasses.asdict(sizes), type(source).__name__, source.steps]
    key = json.dumps([*said, source.lengths], sort_keys=True)
    return Shape(key, bound.mesh, experiment, sizes, bound.abstract, source.without_posts())


def without_numbers(experiment: Experiment) -> Experiment:
    """`experiment` with whatever a program is told, or never asks, at its default.

    What `data`, `evaluation` and `parallel` decide of a program is in sizes, source and mesh, but for hashtags that the
    step itself shuffles. An l2 above 0 is 1: that there is one is compiled.
    """
    training, model = experiment.training, experiment.model
    defaults = {f.name: f.default for f in dataclasses.fields(training) if f.name in NUMBERS}
    training = replace(training, **defaults, l2=float(training.l2 > 0))
    if hasattr(model, "dropout"):
        model = replace(model, dropout=0.0)
    order = experiment.data.hashtag_order
    data = Data(hashtag_order=order) if order == "shuffled_each_time" else Data()
    rest: dict[str, Any] = {"data": data, "evaluation": Evaluation(), "parallel": Parallel()}
    if experiment.encoder:
        rest["encoder"] = without_numbers(experiment.encoder)
    return replace(experiment, model=model, training=training, **rest)


@lru_cache(maxsize=KEPT)
def programs_of(shape: Shape) -> Programs:
    """The programs of a shape; compiled when they are first called."""
    system, rule, mesh = shape.system, optimizer(shape.experiment.training), shape.mesh
    step = make_train_step(system, rule, mesh)
    return Programs(
        make_create(system, rule, shape.abstract, mesh),
        make_dispatch(step, shape.source, shape.experiment.training.batch, shape.abstract, mesh),
        make_sums(system, shape.source, mesh),
    )


def padded(rows: np.ndarray) -> np.ndarray:
    """Row numbers `[n]` and zeros after them: parts of nearly the same size then have one shape."""
    return np.pad(rows, (0, round_up(len(rows), ROWS) - len(rows)))
