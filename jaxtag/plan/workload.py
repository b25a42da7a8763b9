"""What a dataset decides of a run's shapes: read off a split, or assumed; and a run made ready at these shapes."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxtag.data import batches, order
from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.posts import COLUMNS, FIRST_WORD, round_up
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import check_batch, replicated
from jaxtag.systems import Sizes, System, build, find, find_trained_by_step
from jaxtag.training.optimizers import Optimizer, optimizer
from jaxtag.training.state import State, abstract_state, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step

WORDS, HASHTAGS, POSTS = 60_000, 50, 100_000  # assumed where neither a dataset nor an option says otherwise
VALUES_PER_POST = {"tokens": 12, "hashtags": 2}  # of ragged columns, as short posts have them
MOST_HASHTAGS = 8  # of a post


@dataclass(frozen=True)
class Workload:
    """The numbers of a split that shapes come from.

    Attributes:
      words, hashtags: that the split has.
      posts: of its training part.
      lengths: values a post has in a batch, by column.
      values: values in all of each column, over all posts of the dataset.
      rows: posts of the dataset.
      source: where the numbers are from, for the reader.
    """

    words: int
    hashtags: int
    posts: int
    lengths: dict[str, int]
    values: dict[str, int]
    rows: int
    source: str


def assumed(experiment: Experiment, words: int = 0, hashtags: int = 0, posts: int = 0) -> Workload:
    """A workload for `experiment` without any data; 0 takes what is assumed.

    Raises:
      JaxtagError: a number is negative.
    """
    for name, value in (("words", words), ("hashtags", hashtags), ("posts", posts)):
        if value < 0:
            raise JaxtagError(f"--{name} is {value}; it must be above 0")
    words, hashtags, posts = words or WORDS, hashtags or HASHTAGS, posts or POSTS
    lengths, values = {}, {}
    for name in (*find_trained_by_step(experiment, "plan").columns, "hashtags"):
        most = {"tokens": experiment.data.length, "hashtags": MOST_HASHTAGS}.get(name, COLUMNS[name].width or 1)
        lengths[name] = round_up(most)
        values[name] = posts * min(VALUES_PER_POST.get(name, most), most)
    return Workload(words, hashtags, posts, lengths, values, posts, "assumed")


def of_split(dataset: Dataset, split: Split, experiment: Experiment) -> Workload:
    """The workload of a split.

    Raises:
      JaxtagError: the dataset lacks a column that the system reads.
    """
    columns = find_trained_by_step(experiment, "plan").columns
    reading = batches.reading(dataset, split, experiment, columns, split.hashtags)
    values = {name: len(reading.columns[name].values) for name in reading.lengths}
    source = f"split {split.name} of {dataset.path}"
    return Workload(
        len(split.words), len(split.hashtags), len(split.train), reading.lengths, values, dataset.rows, source
    )


@dataclass(frozen=True)
class Prepared:
    """A run at the shapes of a workload, ready to compile.

    Attributes:
      experiment, workload, mesh: what it is.
      system, optimizer, abstract: as `jaxtag.runs.Bound` has them.
      step: the training step.
      dispatch: many of them, jitted as training has them.
      arguments: of the dispatch, abstract: state, numbers, feed, steps.
      batch: abstract arrays of a batch.
      placement: `resident` or `streamed`.
    """

    experiment: Experiment
    workload: Workload
    mesh: Mesh
    system: System
    optimizer: Optimizer
    abstract: State
    step: Any
    dispatch: Any
    arguments: tuple[Any, ...]
    batch: dict[str, Any]
    placement: str


class _Resident(batches.Resident):
    """Resident columns that are not there: their shapes alone."""

    def __init__(self, workload: Workload, mesh: Mesh):
        whole = replicated(mesh)
        size = lambda n: jax.ShapeDtypeStruct((n,), np.int32, sharding=whole)  # noqa: E731
        values = {name: batches.resident_values(workload.values[name]) for name in workload.lengths}
        self._arrays = {name: (size(many), size(workload.rows + 1)) for name, many in values.items()}
        self.lengths, self._mesh = workload.lengths, mesh


def sizes_of(experiment: Experiment, workload: Workload) -> Sizes:
    """The sizes of a model: tables rounded up as `jaxtag.runs.bind` does."""
    multiple = experiment.parallel.multiple
    words = min(workload.words, experiment.data.words or workload.words)
    lengths = {name: workload.lengths[name] for name in find(experiment.system).columns}
    return Sizes(round_up(words + FIRST_WORD, multiple), round_up(workload.hashtags, multiple), lengths)


def prepare(experiment: Experiment, workload: Workload, mesh: Mesh) -> Prepared:
    """Make `experiment` ready at the shapes of `workload` on `mesh`; nothing is computed.

    Raises:
      JaxtagError: the batch or a parameter does not divide over the mesh.
    """
    check_batch("training.batch", experiment.training.batch, mesh)
    system, rule = build(experiment, sizes_of(experiment, workload)), optimizer(experiment.training)
    abstract = abstract_state(system, rule, mesh)
    source, feed, placement = _source(experiment, workload, mesh)
    shape = lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype)  # noqa: E731
    rows = np.broadcast_to(np.int32(0), workload.posts)
    numbers = jax.tree.map(shape, numbers_of(experiment, rows, workload.hashtags, system.sizes.hashtags))
    numbers["order"] = shape(order.rectangle(workload.posts))
    size = experiment.training.batch
    step = make_train_step(system, rule, mesh)
    return Prepared(
        experiment, workload, mesh, system, rule, abstract, step,
        make_dispatch(step, source, size, abstract, mesh), (abstract, numbers, feed, shape(np.int32(0))),
        {name: jax.ShapeDtypeStruct((size, n), np.int32) for name, n in workload.lengths.items()}, placement,
    )  # fmt: skip


def _source(experiment: Experiment, workload: Workload, mesh: Mesh) -> tuple[batches.Source, Any, str]:
    """Where batches come from, an abstract feed of it, and whether it is resident: by `open_source`'s rule."""
    data, size = experiment.data, experiment.training.batch
    values = sum(workload.values[name] + workload.rows + 1 for name in workload.lengths)
    fits = 4 * values <= data.resident_mib * 2**20
    if data.placement == "resident" or (data.placement == "auto" and fits):
        resident = _Resident(workload, mesh)
        return resident, resident.feed(0, 1), "resident"
    none = np.zeros(0, np.int32)
    streamed = batches.Streamed(batches.Reading({}, workload.lengths, none, none), mesh, none, 0, size)
    shapes = {
        n: jax.ShapeDtypeStruct((streamed.steps, size, length), np.int32) for n, length in workload.lengths.items()
    }
    return streamed, shapes, "streamed"
