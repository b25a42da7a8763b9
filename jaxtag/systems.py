"""The table of systems, and a system made ready: a linen module, its objective and its ranking form.

Training, evaluation, search and recommending know a system by the functions of `System` alone.
"""

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from jaxtag.errors import JaxtagError, nearest

if TYPE_CHECKING:  # JAX is imported only once a system is used: `jaxtag --help` names none
    import jax

    from jaxtag.experiment import Experiment


@dataclass(frozen=True)
class Indexed:
    """Parameter tables whose rows a batch names: a step needs, and moves, those rows alone.

    Attributes:
      tables: paths of the parameters, all with the same number of rows.
      columns: of the batch, whose values are row numbers of these tables and nothing else; negative ones are padding.
      size: the field of the system's module, and of `Sizes`, that is the number of rows.
    """

    tables: tuple[str, ...]
    columns: tuple[str, ...]
    size: str


WORD_TABLE = (Indexed(("word_table/table",), ("tokens",), "words"),)


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: of the system, as an experiment names it.
      title: one line.
      paper: whose method it is, as in this repository's recipes' files.
      columns: what it reads of a post, beside its hashtags.
      output: how it ranks: `table` (query against a table of hashtags), `scores` or `decode`.
      module: where its `Settings` and `Model` are.
      indexed: its tables indexed by columns, for `training.rows`; most have a word table, by tokens.
      zero_shot: whether it ranks hashtags by vectors, and so also those that it did not train on
        (`jaxtag.zero_shot`); it may have an encoder, and then reads what that reads.
    """

    name: str
    title: str
    paper: str
    columns: tuple[str, ...]
    output: Literal["table", "scores", "decode"]
    module: str
    indexed: tuple[Indexed, ...] = WORD_TABLE
    zero_shot: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that hold words, padded on the right, which a batch of short posts may have shorter."""
        return tuple(dict.fromkeys(name for group in self.indexed if group.size == "words" for name in group.columns))

    def settings(self) -> Any:
        """The dataclass of its model settings."""
        return importlib.import_module(self.module).Settings


def _zero_shot(name: str, title: str) -> Entry:
    return Entry(name, title, "zsl", ("tokens",), "table", f"jaxtag.estimators.{name}", (), True)


SYSTEMS = {
    entry.name: entry
    for entry in (
        Entry("ann", "mean of word vectors, one hidden layer", "zsl", ("tokens",), "table", "jaxtag.models.ann"),
        Entry("cnn", "convolutions over words", "zsl", ("tokens",), "table", "jaxtag.models.cnn"),
        Entry("rnn", "two GRUs over words", "zsl", ("tokens",), "table", "jaxtag.models.rnn"),
        Entry(
            "rnn_attention", "GRU over words with attention", "zsl", ("tokens",), "table", "jaxtag.models.rnn_attention"
        ),
        Entry(
            "transformer", "transformer encoder over words", "zsl", ("tokens",), "table", "jaxtag.models.transformer"
        ),
        _zero_shot("conse", "zero-shot: an encoder's probabilities times hashtags' vectors, by cosine"),
        _zero_shot("eszsl", "zero-shot: a bilinear map from features to hashtags' vectors, in closed form"),
        _zero_shot("dem", "zero-shot: hashtags' vectors carried into the space of features, by distance"),
        _zero_shot("cosine", "zero-shot, untrained: mean word vectors against hashtags' vectors, by cosine"),
    )
}


def find(name: str) -> Entry:
    """The table's row of system `name`.

    Raises:
      JaxtagError: there is none.
    """
    if name not in SYSTEMS:
        raise JaxtagError(f"no system {name!r}", nearest(name, SYSTEMS))
    return SYSTEMS[name]


def find_trained_by_step(experiment: "Experiment", what: str) -> Entry:
    """The row of the experiment's system, where its training steps are all there is to it.

    Raises:
      JaxtagError: it is a zero-shot system, of which there is no `what`.
    """
    entry = find(experiment.system)
    if entry.zero_shot:
        encoder = experiment.encoder and find(experiment.encoder.system)
        mend = f"take its encoder, {encoder.paper}/{encoder.name}" if encoder else "it takes no training steps"
        raise JaxtagError(f"there is no {what} of a zero-shot system, {entry.name}", mend)
    return entry


@dataclass(frozen=True)
class Sizes:
    """What a dataset's split decides of a model's shapes.

    Attributes:
      words: rows of the word table: the split's words and the two reserved, rounded up.
      hashtags: columns of the head: the split's hashtags, rounded up.
      lengths: values per post that a batch has of each ragged column.
      named: of a zero-shot system, how many hashtags the split names.
      vectors: of a zero-shot system, how many numbers a hashtag's vector has.
    """

    words: int
    hashtags: int
    lengths: dict[str, int]
    named: int = 0
    vectors: int = 0


@dataclass(frozen=True)
class System:
    """A system bound to an experiment and to sizes; every method is pure and traceable.

    Attributes:
      entry: its row of the table.
      module: the linen module.
      objective: loss and weight per post (`jaxtag.training.objectives`).
      sizes: of its inputs and outputs.
    """

    entry: Entry
    module: Any
    objective: Any
    sizes: Sizes

    def resized(self, **sizes: int) -> "System":
        """The same system with other table sizes, such as `words=8192`."""
        return replace(self, module=self.module.clone(**sizes), sizes=replace(self.sizes, **sizes))

    def init(self, key: "jax.Array") -> dict[str, Any]:
        """Initial variables `{"params": …}` and perhaps other collections, in boxes of logical axes."""
        import jax.numpy as jnp

        batch = {name: jnp.zeros((1, length), jnp.int32) for name, length in self.sizes.lengths.items()}
        return self.module.init(key, batch, 0.0, None)

    def loss(
        self, params: Any, collections: Any, batch: dict[str, Any], numbers: dict[str, Any], keys: "jax.Array | None"
    ) -> tuple["jax.Array", "jax.Array", Any]:
        """Loss `[B]`, weight `[B]` and the updated collections of a batch; no dropout without keys `[B]`."""
        logits, collections = self.module.apply(
            {"params": params, **collections}, batch, numbers["dropout"], keys, mutable=list(collections)
        )
        return *self.objective(logits, batch["hashtags"], numbers["allowed"], numbers["smoothing"]), collections

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> "jax.Array":
        """Queries `[B, d]` of a batch; their products with `table`'s rows are the scores."""
        return self._apply(params, collections, lambda m: m.head.query(m.features(batch, 0.0, None)))

    def table(self, params: Any, collections: Any, labels: "jax.Array") -> "jax.Array":
        """The rows `[len(labels), d]` of the hashtags `labels`."""
        return self._apply(params, collections, lambda m: m.head.table(labels))

    def features(self, params: Any, collections: Any, batch: dict[str, Any]) -> "jax.Array":
        """Features `[B, p]` of a batch, for estimators fitted on them."""
        return self._apply(params, collections, lambda m: m.features(batch, 0.0, None))

    def _apply(self, params: Any, collections: Any, method: Any) -> "jax.Array":
        return self.module.apply({"params": params, **collections}, method=method)


def build(experiment: "Experiment", sizes: Sizes) -> System:
    """The system of `experiment` at `sizes`."""
    from jaxtag.training.objectives import OBJECTIVES

    entry = find(experiment.system)
    if entry.zero_shot:
        from jaxtag import zero_shot

        return zero_shot.make(experiment, sizes)
    model = importlib.import_module(entry.module).Model
    module = model(settings=experiment.model, words=sizes.words, hashtags=sizes.hashtags)
    return System(entry, module, OBJECTIVES[experiment.training.objective], sizes)
