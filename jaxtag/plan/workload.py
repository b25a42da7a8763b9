"""What a dataset decides of a run's shapes: read off a split, or assumed; and a run made ready at these shapes."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxtag.building import build
from jaxtag.data import batches, order
from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.history import packed_words
from jaxtag.data.image_columns import COUNT, IMAGE_ROWS, ImageColumns, as_read, cells_of, stored, types, usual_shapes
from jaxtag.data.posts import COLUMNS, FIRST_WORD, HISTORY, IMAGE_COLUMNS, PIECES, REGIONS, TOPICS, WORDPIECES, round_up
from jaxtag.data.wordpieces import pieces
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.parallel.mesh import check_batch, replicated
from jaxtag.systems import Sizes, System, find, find_trained_by_step, given
from jaxtag.training.optimizers import Optimizer, optimizer
from jaxtag.training.state import State, abstract_state, numbers_of
from jaxtag.training.step import make_dispatch, make_train_step

WORDS, HASHTAGS, POSTS = 60_000, 50, 100_000  # assumed where neither a dataset nor an option says otherwise
VALUES_PER_POST = {"tokens": 12, WORDPIECES: 20, "hashtags": 2}  # of ragged columns, as short posts have them
MOST_HASHTAGS = 8  # of a post
MANY_TOPICS = 100  # of `jaxtag-prep topics`
VECTOR_WIDTH = 300  # of word vectors


@dataclass(frozen=True)
class Workload:
    """The numbers of a split that shapes come from.

    Attributes:
      words, hashtags: that the split has; of a system that reads WordPieces, how many of these there are.
      posts: of its training part.
      lengths: values a post has in a batch, by column; of `history`, words of each of its posts.
      values: values in all of each column, over all posts of the dataset.
      rows: posts of the dataset.
      source: where the numbers are from, for the reader.
      earlier: posts of `history`; 0 where it is not read.
      packed: words that a post's history has on average, and some to spare.
      image: shapes of image columns.
      images: distinct images of the dataset.
      topics: proportions of topics of a post; 0 where they are not read.
      vectors: numbers of a word vector; 0 where none are read.
    """

    words: int
    hashtags: int
    posts: int
    lengths: dict[str, int]
    values: dict[str, int]
    rows: int
    source: str
    earlier: int = 0
    packed: int = 0
    image: dict[str, tuple[int, ...]] = field(default_factory=dict)
    images: int = 0
    topics: int = 0
    vectors: int = 0

    def types(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of a post's values in a batch as it is sent, by column."""
        return types(self.lengths, self.earlier, self.image, self.topics)


def assumed(experiment: Experiment, words: int = 0, hashtags: int = 0, posts: int = 0) -> Workload:
    """A workload for `experiment` without any data; 0 takes what is assumed.

    Raises:
      JaxtagError: a number is negative.
    """
    for name, value in (("words", words), ("hashtags", hashtags), ("posts", posts)):
        if value < 0:
            raise JaxtagError(f"--{name} is {value}; it must be above 0")
    names = find_trained_by_step(experiment, "plan").columns
    words = words or (PIECES if WORDPIECES in names else WORDS)
    hashtags, posts = hashtags or HASHTAGS, posts or POSTS
    lengths, values, data = {}, {}, experiment.data
    for name in (*(name for name in names if name not in (TOPICS, *IMAGE_COLUMNS)), "hashtags"):
        most = {"tokens": data.length, WORDPIECES: data.length, HISTORY: data.history_length, "hashtags": MOST_HASHTAGS}
        lengths[name] = most.get(name, COLUMNS[name].width or 1)
        many = data.history if name == HISTORY else lengths[name]
        values[name] = posts * min(VALUES_PER_POST.get(name, many), many)
    earlier = experiment.data.history if HISTORY in lengths else 0
    each = min(VALUES_PER_POST["tokens"], experiment.data.history_length)
    packed = packed_words(np.full((1, earlier), each)) if earlier else 0
    image = usual_shapes(data.extractor, names)
    own = {"image": image, "images": posts, "topics": MANY_TOPICS if TOPICS in names else 0}
    own["vectors"] = assumed_vectors(experiment)
    return Workload(words, hashtags, posts, lengths, values, posts, "assumed", earlier, packed, **own)


def assumed_vectors(experiment: Experiment) -> int:
    """Numbers of a word vector, of a system that learns by steps and reads some; 0 of others."""
    return VECTOR_WIDTH if find(experiment.system).zero_shot else 0


def of_split(dataset: Dataset, split: Split, experiment: Experiment) -> Workload:
    """The workload of a split.

    Raises:
      JaxtagError: the dataset lacks a column that the system reads.
    """
    columns = find_trained_by_step(experiment, "plan").columns
    reading = batches.reading(dataset, split, experiment, columns, split.hashtags)
    values = {name: len(column.values) for name, column in reading.columns.items()}
    if reading.earlier is not None:
        values[HISTORY] = reading.earlier.size
    source = f"split {split.name} of {dataset.path}"
    words = pieces(dataset) if WORDPIECES in columns else len(split.words)
    return Workload(
        words, len(split.hashtags), len(split.train), reading.lengths, values, dataset.rows, source,
        reading.posts, reading.packed, *image_sizes(reading.images), reading.many_topics,
        split.vectors(experiment.model.vectors).shape[1] if find(experiment.system).zero_shot else 0,
    )  # fmt: skip


def image_sizes(images: ImageColumns | None) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shapes of image columns, and how many images there are."""
    return (images.shapes, len(next(iter(images.arrays.values()))[0])) if images else ({}, 0)


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
        size = lambda *shape: jax.ShapeDtypeStruct(shape, np.int32, sharding=whole)  # noqa: E731
        values = {name: batches.resident_values(workload.values[name]) for name in workload.lengths if name != HISTORY}
        self._arrays: Any = {name: (size(many), size(workload.rows + 1)) for name, many in values.items()}
        if workload.earlier:
            self._arrays[HISTORY] = size(workload.rows, workload.earlier)
        self._cells = cells_of(workload.image)
        for name, (shape, dtype) in stored(workload.image).items():
            if name in IMAGE_COLUMNS:
                self._arrays[name] = jax.ShapeDtypeStruct((workload.images, *shape), np.dtype(dtype), sharding=whole)
        if workload.image:
            self._arrays[IMAGE_ROWS] = size(workload.rows)
        if REGIONS in workload.image:
            self._arrays[COUNT] = size(workload.images)
        if workload.topics:
            self._arrays[TOPICS] = jax.ShapeDtypeStruct((workload.rows, workload.topics), np.float16, sharding=whole)
        self.lengths, self._mesh = workload.lengths, mesh


class _Streamed(batches.Streamed):
    """Streamed batches that are not there."""

    def __init__(self, workload: Workload, mesh: Mesh, batch: int):
        self.lengths, self._mesh = workload.lengths, mesh
        self.steps = batches.streamed_steps(workload.types(), batch)


def sizes_of(experiment: Experiment, workload: Workload) -> Sizes:
    """The sizes of a model: tables rounded up as `jaxtag.runs.bind` does."""
    multiple = experiment.parallel.multiple
    words = min(workload.words, experiment.data.words or workload.words) + FIRST_WORD
    words = workload.words if WORDPIECES in workload.lengths else words
    lengths = {name: workload.lengths[name] for name in given(experiment)}
    tables = round_up(words, multiple), round_up(workload.hashtags, multiple)
    own = {"posts": workload.earlier, "packed": workload.packed, "image": workload.image, "topics": workload.topics}
    own |= {"named": workload.hashtags, "vectors": workload.vectors} if workload.vectors else {}
    return Sizes(*tables, lengths, **own)


def prepare(experiment: Experiment, workload: Workload, mesh: Mesh) -> Prepared:
    """Make `experiment` ready at the shapes of `workload` on `mesh`; nothing is computed.

    Raises:
      JaxtagError: the batch or a parameter does not divide over the mesh.
    """
    check_batch("training.batch", experiment.training.batch, mesh)
    system, rule = build(experiment, sizes_of(experiment, workload)).on(mesh), optimizer(experiment.training)
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
        _as_read(workload, size), placement,
    )  # fmt: skip


def _source(experiment: Experiment, workload: Workload, mesh: Mesh) -> tuple[batches.Source, Any, str]:
    """Where batches come from, an abstract feed of it, and whether it is resident: by `open_source`'s rule."""
    data, size = experiment.data, experiment.training.batch
    values = sum(workload.values[name] + (name != HISTORY) * (workload.rows + 1) for name in workload.lengths)
    types = workload.types()
    each = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in stored(workload.image).values())
    fits = 4 * values + each * workload.images + 2 * workload.topics * workload.rows <= data.resident_mib * 2**20
    if data.placement == "resident" or (data.placement == "auto" and fits):
        resident = _Resident(workload, mesh)
        return resident, resident.feed(0, 1), "resident"
    streamed = _Streamed(workload, mesh, size)
    feed = {
        name: jax.ShapeDtypeStruct((streamed.steps, size, *shape), np.dtype(dtype))
        for name, (shape, dtype) in types.items()
    }
    return streamed, feed, "streamed"


def _as_read(workload: Workload, size: int) -> dict[str, Any]:
    """Abstract arrays of a batch of `size` posts."""
    stored = {name: jax.ShapeDtypeStruct((size, *shape), dtype) for name, (shape, dtype) in workload.types().items()}
    return jax.eval_shape(as_read, stored)
