"""The table of systems, and a system made ready: a linen module, its objective and its ranking form.

Training, evaluation, search and recommending know a system by the functions of `System` alone.
"""

import importlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from jaxtag.data.posts import CELLS, HISTORY, IMAGE_COLUMNS, PIXELS, shapes
from jaxtag.errors import JaxtagError, nearest

if TYPE_CHECKING:  # JAX is imported only once a system is used: `jaxtag --help` names none
    import jax

    from jaxtag.experiment import Experiment


@dataclass(frozen=True)
class Indexed:
    """Parameter tables whose rows a batch names: a step needs, and moves, those rows alone.

    Attributes:
      tables: paths of the parameters, all with the same number of rows; a model need not have each.
      columns: of the batch, whose values are row numbers of these tables and nothing else; negative ones are padding.
      size: the field of the system's module, and of `Sizes`, that is the number of rows.
    """

    tables: tuple[str, ...]
    columns: tuple[str, ...]
    size: str


MEMORY_TABLES = ("word_table/table", "key_table/table", "value_table/table", "hop_tables/table")  # those it has
MEMORY = (Indexed(MEMORY_TABLES, ("tokens", HISTORY), "words"),)
WORD_TABLE = (Indexed(("word_table/table",), ("tokens",), "words"),)


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: of the system, as an experiment names it.
      title: one line.
      paper: whose method it is, as in this repository's recipes' files.
      columns: what it reads of a post, beside its hashtags; where its settings decide that, `reads` says.
      output: how it ranks: `table` (query against a table of hashtags), `scores` or `decode`.
      module: where its `Settings` and `Model` are.
      indexed: its tables indexed by columns, for `training.rows`; most have a word table, by tokens.
      zero_shot: whether it ranks hashtags by vectors, and so also those that it did not train on
        (`jaxtag.zero_shot`); it may have an encoder, and then reads what that reads.
      learned: by gradient `steps`; by one `fit`; or in `sweeps` over the training posts, the loop's steps
        (`jaxtag.fitted`).
      gives: with what it recommends: a `probability`, or a `score`, comparable within a post.
    """

    name: str
    title: str
    paper: str
    columns: tuple[str, ...]
    output: Literal["table", "scores", "decode"]
    module: str
    indexed: tuple[Indexed, ...] = WORD_TABLE
    zero_shot: bool = False
    learned: Literal["steps", "fit", "sweeps"] = "steps"
    gives: Literal["probability", "score"] = "probability"

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that hold words, padded on the right, which a batch of short posts may have shorter."""
        return tuple(dict.fromkeys(name for group in self.indexed if group.size == "words" for name in group.columns))

    def reads(self, settings: Any) -> tuple[str, ...]:
        """The columns that it reads with `settings`: their own `columns`, or the row's."""
        return getattr(settings, "columns", self.columns)

    def model(self) -> Any:
        """The linen module's class, of a system that learns by steps."""
        return importlib.import_module(self.module).Model

    def settings(self) -> Any:
        """The dataclass of its model settings."""
        return importlib.import_module(self.module).Settings


def _zero_shot(name: str, title: str) -> Entry:
    return Entry(name, title, "zsl", ("tokens",), "table", f"jaxtag.estimators.{name}", (), True, "fit", "score")


def _estimator(
    name: str, title: str, module: str, output: Literal["table", "scores"] = "scores", **fields: Any
) -> Entry:
    columns = ("tokens", "history") if name.endswith("_history") else ("tokens",)
    fields = {"learned": "fit", "indexed": ()} | fields
    return Entry(name, title, "hmemn2n", columns, output, f"jaxtag.estimators.{module}", **fields)


def _memory(name: str, title: str) -> Entry:
    return Entry(name, title, "hmemn2n", ("tokens", HISTORY), "table", f"jaxtag.models.{name}", MEMORY)


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
        _memory("hmemn2n", "memory network: attention over words and over posts of the author's history"),
        _memory("memn2n", "memory network: attention over posts of the author's history"),
        Entry(
            "cnn_attention",
            "convolutions over words, and a channel of trigger words",
            "hmemn2n",
            ("tokens",),
            "table",
            "jaxtag.models.cnn_attention",
        ),
        _zero_shot("conse", "zero-shot: an encoder's probabilities times hashtags' vectors, by cosine"),
        _zero_shot("eszsl", "zero-shot: a bilinear map from features to hashtags' vectors, in closed form"),
        _zero_shot("dem", "zero-shot: hashtags' vectors carried into the space of features, by distance"),
        _zero_shot("cosine", "zero-shot, untrained: mean word vectors against hashtags' vectors, by cosine"),
        _estimator("naive_bayes", "naive Bayes on counts of words", "naive_bayes"),
        _estimator("naive_bayes_history", "naive Bayes on words of the post and of earlier ones", "naive_bayes"),
        _estimator("svm", "linear SVMs on the sum of word vectors", "svm", "table", gives="score"),
        _estimator("svm_history", "linear SVMs on sums of vectors, earlier posts' too", "svm", "table", gives="score"),
        _estimator(
            "topical_translation",
            "topics and alignments of words with hashtags, by Gibbs sampling",
            "topical_translation",
            learned="sweeps",
        ),
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


def given(experiment: "Experiment") -> list[str]:
    """The columns of any length that the model of `experiment` is given: a decoder, in training, hashtags too."""
    entry = find(experiment.system)
    names = (*entry.reads(experiment.model), *(["hashtags"] if entry.output == "decode" else ()))
    return [name for name in names if name not in IMAGE_COLUMNS]


_STEPLESS = {"fit": "it takes no training steps", "sweeps": "its sweeps are no training steps"}


def find_trained_by_step(experiment: "Experiment", what: str) -> Entry:
    """The row of the experiment's system, where its training steps are all there is to it.

    Raises:
      JaxtagError: it is a zero-shot system or an estimator, of which there is no `what`.
    """
    entry = find(experiment.system)
    if entry.learned != "steps":
        encoder = experiment.encoder and find(experiment.encoder.system)
        mend = f"take its encoder, {encoder.paper}/{encoder.name}" if encoder else _STEPLESS[entry.learned]
        kind = "a zero-shot system" if entry.zero_shot else "an estimator"
        raise JaxtagError(f"there is no {what} of {kind}, {entry.name}", mend)
    return replace(entry, columns=entry.reads(experiment.model))


@dataclass(frozen=True)
class Sizes:
    """What a dataset's split decides of a model's shapes.

    Attributes:
      words: rows of the word table: the split's words and the two reserved, rounded up.
      hashtags: columns of the head: the split's hashtags, rounded up.
      lengths: values per post that a batch has of each ragged column; of `history`, words of each of its posts; of
        `hashtags`, where a model is given them.
      named: of a zero-shot system, how many hashtags the split names.
      vectors: of a system that reads word vectors, how many numbers one has.
      posts: earlier posts of `history`; 0 where it is not read.
      packed: words that a post's history has on average, and some to spare; 0 where it is not read.
      image: shape of a post's values of each image column (`jaxtag.data.image_columns`).
    """

    words: int
    hashtags: int
    lengths: dict[str, int]
    named: int = 0
    vectors: int = 0
    posts: int = 0
    packed: int = 0
    image: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def batch(self) -> dict[str, Any]:
        """A batch of one post without anything in it."""
        import jax.numpy as jnp

        found = {name: jnp.zeros((1, *shape), jnp.int32) for name, shape in shapes(self.lengths, self.posts).items()}
        for name, shape in self.image.items():
            found[name] = jnp.zeros((1, *shape), jnp.uint8 if name == PIXELS else jnp.float32)
        return found | ({CELLS: jnp.zeros(1, jnp.int32)} if self.image else {})


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
        return self.module.init(key, self.sizes.batch(), 0.0, None)

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

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> "jax.Array":
        """The score of every hashtag for every post of a batch `[B, L]` float32."""
        import jax.numpy as jnp

        every = self.table(params, collections, jnp.arange(self.sizes.hashtags))
        return self.query(params, collections, batch) @ every.T

    def features(self, params: Any, collections: Any, batch: dict[str, Any]) -> "jax.Array":
        """Features `[B, p]` of a batch, for estimators fitted on them."""
        return self._apply(params, collections, lambda m: m.features(batch, 0.0, None))

    def explain(self, params: Any, collections: Any, batch: dict[str, Any]) -> dict[str, "jax.Array"]:
        """By column, how much of each step of attention each value of a batch is (`jaxtag.explain`)."""
        return self._apply(params, collections, lambda m: m.explain(batch))

    def _apply(self, params: Any, collections: Any, method: Any) -> Any:
        return self.module.apply({"params": params, **collections}, method=method)


def build(experiment: "Experiment", sizes: Sizes) -> System:
    """The system of `experiment` at `sizes`."""
    from jaxtag.training.objectives import OBJECTIVES

    entry = find(experiment.system)
    if entry.zero_shot:
        from jaxtag import zero_shot

        return zero_shot.make(experiment, sizes)
    if entry.learned != "steps":
        from jaxtag import fitted

        return fitted.make(experiment, sizes)
    entry = replace(entry, columns=entry.reads(experiment.model))
    model = importlib.import_module(entry.module).Model
    module = model(settings=experiment.model, words=sizes.words, hashtags=sizes.hashtags)
    return System(entry, module, OBJECTIVES[experiment.training.objective], sizes)
