"""Batches: the columns a system asked for, gathered at fixed shapes, on the device or streamed to it.

`Reading` says what is read and how; `Resident` keeps whole columns on every device and gathers there;
`Streamed` gathers on the host, ahead of the device. Both give the same batches in the same order. The
split's ids are put in place of the dataset's while reading: nothing on disk depends on a split.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxtag.data import columns, order
from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.history import earlier_posts, history_words, packed_words, posts_of
from jaxtag.data.image_columns import IMAGE_COLUMNS, ImageColumns, as_read, image_columns, taken, types
from jaxtag.data.posts import COLUMNS, FIRST_WORD, HISTORY, PAD, TOPICS, WORDPIECES, round_up
from jaxtag.data.topics import proportions_of
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.parallel.memory import allowed_mib
from jaxtag.parallel.mesh import by_batch, own_part, put, put_part, replicated

Batch = dict[str, Any]
RESIDENT_STEPS = 1024  # most steps one dispatch may take, when the data are on the device
RESIDENT_VALUES = 4096  # values of a resident column are padded to a multiple of this
STREAMED_STEPS, STREAMED_BYTES = 64, 64 << 20  # the same when they are sent with it


@dataclass(frozen=True)
class Reading:
    """What a system reads of a split.

    Attributes:
      columns: ragged columns by name; `tokens` still holds dataset ids.
      lengths: values a post has in a batch, by name; of `history`, words that each of its posts has.
      word_ids: `[dataset words]`, from a dataset word id to the split's.
      targets: dataset hashtag ids that `hashtags` is expressed in: a value is a position in it.
      earlier: where `history` is read, row numbers of each post's earlier ones `[rows, M]`, −1 none; its words are
        theirs in `tokens`.
      packed: words that a post's history has on average, and some to spare.
      images: features of posts' images, where they are read.
      topics: proportions of topics of every post `[posts, K]` float16, where they are read.
    """

    columns: dict[str, Ragged]
    lengths: dict[str, int]
    word_ids: np.ndarray
    targets: np.ndarray
    earlier: np.ndarray | None = None
    packed: int = 0
    images: ImageColumns | None = None
    topics: np.ndarray | None = None

    @property
    def posts(self) -> int:
        """M, how many earlier posts a batch has of each; 0 where no history is read."""
        return 0 if self.earlier is None else self.earlier.shape[1]

    def gather(self, rows: np.ndarray) -> Batch:
        """The batch of `rows [B]` as host arrays; a row of −1 is all padding."""
        return as_read(self.stored(rows))

    def stored(self, rows: np.ndarray) -> Batch:
        """As `gather`, but features of images as they lie on disk."""
        batch = {}
        for name, length in self.lengths.items():
            if name == HISTORY:
                batch[name] = columns.gather(self.columns["tokens"], posts_of(self.earlier, rows, np), length, PAD)
            else:
                batch[name] = columns.gather(self.columns[name], rows, length, COLUMNS[name].padding)
        batch |= {name: self.word_ids.take(batch[name]) for name in ("tokens", HISTORY) if name in batch}
        batch |= {} if self.topics is None else {TOPICS: proportions_of(self.topics, rows, np)}
        return batch | (self.images.gather(rows) if self.images else {})

    def types(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of a post's values in a `stored` batch, by column."""
        return types(self.lengths, self.posts, self.images.shapes if self.images else {}, self.many_topics)

    @property
    def bytes(self) -> int:
        """Of what is read beside the ragged columns, resident: features of images, and topics."""
        return (self.images.bytes if self.images else 0) + (0 if self.topics is None else self.topics.nbytes)

    @property
    def many_topics(self) -> int:
        """K, how many topics there are; 0 where none are read."""
        return 0 if self.topics is None else self.topics.shape[1]


def reading(
    dataset: Dataset, split: Split, experiment: Experiment, names: tuple[str, ...], targets: np.ndarray
) -> Reading:
    """What a system that reads `names` reads of `split`, with hashtags as positions in `targets`.

    Raises:
      JaxtagError: the dataset lacks one of the columns; the message gives the command that adds it.
    """
    rows = np.concatenate([split.train, split.validation, split.test])
    earlier = earlier_posts(dataset, experiment.data.history, rows) if HISTORY in names else None
    found = {name: dataset.column(name) for name in names if name not in (HISTORY, TOPICS, *IMAGE_COLUMNS)}
    tags = columns.positions_in(dataset.column("hashtags"), targets, len(dataset.hashtags))
    found["hashtags"] = columns.shuffled(tags) if experiment.data.hashtag_order == "shuffled" else tags
    lengths = {name: round_up(int(column.lengths(rows).max(initial=1))) for name, column in found.items()}
    for name in {"tokens", WORDPIECES} & set(lengths):
        lengths[name] = min(lengths[name], experiment.data.length)
    found |= {n: columns.cut(x, lengths[n]) for n, x in found.items() if n == WORDPIECES}
    packed = 0
    if earlier is not None:
        words = history_words(earlier[rows], found["tokens"])
        lengths[HISTORY] = min(round_up(int(words.max(initial=1))), experiment.data.history_length)
        packed = packed_words(np.minimum(words, lengths[HISTORY]))
    word_ids = split.word_ids(len(dataset.words), experiment.data.words)
    images = image_columns(dataset, experiment.data.extractor, names)
    topics = split.topics() if TOPICS in names else None
    return Reading(found, lengths, word_ids, targets, earlier, packed, images, topics)


def word_rows(split: Split, experiment: Experiment) -> int:
    """Rows of a word table for `split`: its words and the two reserved, rounded up to fit every mesh."""
    words = min(len(split.words), experiment.data.words or len(split.words))
    return round_up(words + FIRST_WORD, experiment.parallel.multiple)


def resident_values(values: int) -> int:
    """How many values of a column lie on the device: at least one more, and as many for splits that differ little."""
    return round_up(values + 1, RESIDENT_VALUES)


class Resident:
    """Whole columns on every device; batches are gathered there, inside the compiled step."""

    steps = RESIDENT_STEPS

    def __init__(self, source: Reading, mesh: Mesh):
        """Put the columns of `source` on every device of `mesh`, words as the split's ids."""
        host = {}
        for name, column in source.columns.items():
            values = source.word_ids[column.values] if name == "tokens" else np.asarray(column.values)
            empty = np.full(resident_values(len(values)) - len(values), COLUMNS[name].padding, np.int32)
            host[name] = (np.append(values, empty), column.offsets.astype(np.int32))
        if source.earlier is not None:
            host[HISTORY] = np.asarray(source.earlier)
        if source.topics is not None:
            host[TOPICS] = np.asarray(source.topics)
        self._cells = source.images.cells if source.images else 0
        host |= source.images.whole() if source.images else {}
        self._arrays = put(host, replicated(mesh))
        self.lengths, self._mesh = source.lengths, mesh

    def without_posts(self, placed: bool = True) -> "Resident":
        """What a compiled program keeps of it: how a feed is fetched, and unless it is not `placed`, on which mesh."""
        found = copy(self)
        found._arrays, found._mesh = None, self._mesh if placed else None
        return found

    def feed(self, step: int, steps: int) -> Any:
        """What a dispatch of any steps is given: the columns, always the same arrays."""
        return self._arrays

    def feed_shardings(self) -> Any:
        """Where `feed` lies."""
        return replicated(self._mesh)

    def fetch(self, feed: Any, numbers: Any, step: jax.Array, place: jax.Array, batch: int) -> Batch:
        """The training batch of `step`; traceable."""
        return self._gather(feed, order.rows_of_step(numbers["rows"], numbers["order"], numbers["seed"], step, batch))

    def feed_rows(self, rows: np.ndarray) -> Any:
        """What `fetch_rows` needs for the posts `rows`."""
        return self._arrays, put(rows.astype(np.int32), replicated(self._mesh))

    def fetch_rows(self, feed: Any) -> Batch:
        """The batch of the rows given to `feed_rows`; traceable."""
        return self._gather(*feed)

    def _gather(self, arrays: Any, rows: jax.Array) -> Batch:
        def values_of(name: str, rows: jax.Array, length: int) -> jax.Array:
            values, offsets = arrays[name]
            known = jnp.maximum(rows, 0)
            start = offsets[known]
            size = jnp.where(rows < 0, 0, offsets[known + 1] - start)
            place = jnp.arange(length)
            found = values[jnp.minimum(start[..., None] + place, len(values) - 1)]
            return jnp.where(place < size[..., None], found, COLUMNS[name].padding)

        batch = {
            name: values_of("tokens", posts_of(arrays[HISTORY], rows, jnp), length)
            if name == HISTORY
            else values_of(name, rows, length)
            for name, length in self.lengths.items()
        }
        batch |= taken(arrays, rows, self._cells, jnp) if self._cells else {}
        batch |= {TOPICS: proportions_of(arrays[TOPICS], rows, jnp)} if TOPICS in arrays else {}
        batch = as_read(batch)
        return jax.lax.with_sharding_constraint(batch, by_batch(self._mesh)) if self._mesh else batch


def streamed_steps(types: Mapping[str, tuple[tuple[int, ...], str]], batch: int) -> int:
    """Most steps a dispatch may take when its batches of `types` are sent with it."""
    bytes_a_post = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in types.values())
    return max(1, min(STREAMED_STEPS, STREAMED_BYTES // (batch * bytes_a_post)))


class Streamed:
    """Batches gathered on the host by threads, some steps ahead, and sent a dispatch at a time."""

    def __init__(self, source: Reading, mesh: Mesh, rows: np.ndarray, seed: int, batch: int):
        """Read the training part `rows` in the order of `seed`, `batch` posts a step."""
        self._source, self._mesh, self._rows, self._seed, self._batch = source, mesh, rows, seed, batch
        self.lengths = source.lengths
        self.steps = streamed_steps(source.types(), batch)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="gather")
        self._ahead: deque[tuple[int, Future]] = deque()

    def without_posts(self) -> "Streamed":
        """What a compiled program keeps of it: how a feed is fetched."""
        found = copy(self)
        for name in ("_source", "_threads", "_ahead", "_rows"):
            setattr(found, name, None)
        return found

    def feed(self, step: int, steps: int) -> Any:
        """The batches of `step … step + steps − 1`, stacked, on the device; later ones are begun."""
        if self._ahead and self._ahead[0][0] != step:
            self._ahead.clear()
        first = self._ahead[-1][0] + 1 if self._ahead else step
        for later in range(first, step + steps + self.steps):
            self._ahead.append((later, self._threads.submit(self._gather, later)))
        parts = [self._ahead.popleft()[1].result() for _ in range(steps)]
        # What is behind the last is never read, nor written here: it keeps the shape.
        stacked = {name: np.zeros((self.steps, *x.shape), x.dtype) for name, x in parts[0].items()}
        for name, room in stacked.items():
            np.stack([part[name] for part in parts], out=room[:steps])
        return put_part(stacked, self._mesh, self._batch, leading=1)

    def feed_shardings(self) -> Any:
        """Where `feed` lies."""
        return by_batch(self._mesh, leading=1)

    def fetch(self, feed: Any, numbers: Any, step: jax.Array, place: jax.Array, batch: int) -> Batch:
        """The training batch at `place` of a feed; traceable."""
        return as_read(jax.tree.map(lambda x: x[place], feed))

    def feed_rows(self, rows: np.ndarray) -> Any:
        """The batch of `rows`, on the device."""
        mine = rows[own_part(self._mesh, len(rows))]
        return put_part(self._source.stored(mine), self._mesh, len(rows))

    def fetch_rows(self, feed: Any) -> Batch:
        """The batch that `feed_rows` sent."""
        return as_read(feed)

    def _gather(self, step: int) -> Batch:
        rows = order.rows_of_step_on_host(self._rows, self._seed, step, self._batch)
        return self._source.stored(rows[own_part(self._mesh, self._batch)])


Source = Resident | Streamed


def resident(source: Reading, experiment: Experiment) -> tuple[float, bool]:
    """MiB that whole columns would take on each device, and whether `experiment` has room for them."""
    values = sum(len(column.values) + len(column.offsets) for column in source.columns.values())
    values += 0 if source.earlier is None else source.earlier.size
    mib = (4 * values + source.bytes) / 2**20
    return mib, mib <= allowed_mib(experiment.data.resident_mib)[0] and values < 2**31


def open_source(
    source: Reading, mesh: Mesh, split: Split, experiment: Experiment, say: Callable[[str], None] = lambda _: None
) -> Source:
    """Columns where `experiment.data.placement` wants them, or where they fit.

    Raises:
      JaxtagError: resident is asked for and they are too large to be.
    """
    placement, (mib, fits) = experiment.data.placement, resident(source, experiment)
    most, why = allowed_mib(experiment.data.resident_mib)
    if placement == "resident" and not fits:
        mend = "raise it, or use --data.placement streamed" if "." in why else "use --data.placement streamed"
        raise JaxtagError(f"resident columns would take {mib:.0f} MiB on each device, {why} is {most:.0f}", mend)
    if source.images:
        say(source.images.describe(np.concatenate([split.train, split.validation, split.test])))
    if placement == "resident" or (placement == "auto" and fits):
        say(f"columns: resident, {mib:.1f} MiB on each device")
        return Resident(source, mesh)
    say(f"columns: streamed from the host, {mib:.1f} MiB" + (not fits) * f": on a device {why} is {most:,.0f} MiB")
    return Streamed(source, mesh, split.train, experiment.training.seed, experiment.training.batch)
