"""The table of systems, and a system made ready: a linen module, its objective and its ranking form.

Training, evaluation, search and recommending know a system by the functions of `System` alone.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from jaxtag.data.posts import CELLS, HISTORY, IMAGE_COLUMNS, PIXELS, TOPICS, shapes
from jaxtag.entries import MEMORY, WORD_TABLE, Entry, Indexed
from jaxtag.errors import JaxtagError, nearest

if TYPE_CHECKING:  # JAX is imported only once a system is used: `jaxtag --help` names none
    import jax

    from jaxtag.experiment import Experiment


def _zero_shot(name: str, title: str) -> Entry:
    return Entry(name, title, "zsl", ("tokens",), "table", f"jaxtag.estimators.{name}", (), True, "fit", "score")


def _estimator(
    name: str, title: str, module: str, output: Literal["table", "scores"] = "scores", **fields: Any
) -> Entry:
    columns = ("tokens", "history") if name.endswith("_history") else ("tokens",)
    fields = {"paper": "hmemn2n", "learned": "fit", "indexed": ()} | fields
    return Entry(name, title, fields.pop("paper"), columns, output, f"jaxtag.estimators.{module}", **fields)


def _neighbours(name: str, title: str) -> Entry:
    return _estimator(name, title, name, paper="amnn", gives="score")


def _said(name: str, title: str, paper: str = "zsl") -> Entry:
    return Entry(name, title, paper, ("tokens",), "table", f"jaxtag.models.{name}")


def _memory(name: str, title: str) -> Entry:
    return Entry(name, title, "hmemn2n", ("tokens", HISTORY), "table", f"jaxtag.models.{name}", MEMORY)


def _seen(name: str, title: str, *columns: str, **fields: Any) -> Entry:
    fields = {"indexed": ()} | fields
    return Entry(name, title, "amnn", columns, "table", f"jaxtag.models.{name}", **fields)


def _sequence(name: str, title: str, *columns: str, **fields: Any) -> Entry:
    fields = {"indexed": ()} | fields
    return Entry(name, title, "amnn", columns, "decode", f"jaxtag.models.{name}", **fields)


LXMERT = Entry(
    "lxmert",
    "cross-modal transformer over WordPieces and regions of the image, a probability a hashtag",
    "lxmert4hashtag",
    ("wordpieces", "regions", "boxes"),
    "table",
    "jaxtag.models.lxmert",
    (Indexed(("encoder/text/words",), ("wordpieces",), "words"),),
)
TAB_LSTM = Entry(
    "tab_lstm",
    "LSTM over words, attention guided by the post's topics",
    "lxmert4hashtag",
    ("tokens", TOPICS),
    "table",
    "jaxtag.models.tab_lstm",
)
TWEET_EMBEDDING = Entry(
    "tweet_embedding",
    "zero-shot: images, texts and hashtags in one space, by cosine",
    "lxmert4hashtag",
    ("tokens", "vector"),
    "table",
    "jaxtag.models.tweet_embedding",
    (Indexed((), ("tokens",), "words"),),  # whose vectors do not learn
    zero_shot=True,
    gives="score",
)
LSTM_CNN = Entry(
    "lstm_cnn",
    "LSTM over words beside the image's features, a probability a hashtag",
    "lxmert4hashtag",
    ("tokens", "vector"),
    "table",
    "jaxtag.models.lstm_cnn",
)
SYSTEMS = {
    entry.name: entry
    for entry in (
        _said("ann", "mean of word vectors, one hidden layer"),
        _said("cnn", "convolutions over words"),
        _said("rnn", "two GRUs over words"),
        _said("rnn_attention", "GRU over words with attention"),
        _said("transformer", "transformer encoder over words"),
        _memory("hmemn2n", "memory network: attention over words and over posts of the author's history"),
        _memory("memn2n", "memory network: attention over posts of the author's history"),
        _said("cnn_attention", "convolutions over words, and a channel of trigger words", "hmemn2n"),
        _seen("vgg_object_scene", "objects and scene of the image, a probability a hashtag", "vector", couples=True),
        _seen("multilabel_resnet", "ResNet-50's view of the image, a probability a hashtag", "vector"),
        _seen("coattention", "attention over words and over cells of the image", "tokens", "grid", indexed=WORD_TABLE),
        _sequence("amnn", "hashtags one after the other, of words and cells", "tokens", "grid", indexed=WORD_TABLE),
        _sequence("nic", "hashtags one after the other, of the image", "vector"),
        _sequence("show_attend_tell", "hashtags one after the other, each with attention over cells", "grid"),
        LXMERT,
        TAB_LSTM,
        LSTM_CNN,
        TWEET_EMBEDDING,
        _zero_shot("conse", "zero-shot: an encoder's probabilities times hashtags' vectors, by cosine"),
        _zero_shot("eszsl", "zero-shot: a bilinear map from features to hashtags' vectors, in closed form"),
        _zero_shot("dem", "zero-shot: hashtags' vectors carried into the space of features, by distance"),
        _zero_shot("cosine", "zero-shot, untrained: mean word vectors against hashtags' vectors, by cosine"),
        _estimator("naive_bayes", "naive Bayes on counts of words", "naive_bayes"),
        _estimator("naive_bayes_history", "naive Bayes on words of the post and of earlier ones", "naive_bayes"),
        _neighbours("neighbour_voting", "votes of the training posts that are nearest"),
        _neighbours("mlknn", "ML-kNN: posteriors given how many of the nearest training posts have a hashtag"),
        _estimator("svm", "linear SVMs on sums of word vectors, or other features", "svm", "table", gives="score"),
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
    return [name for name in names if name not in (TOPICS, *IMAGE_COLUMNS)]


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
      topics: proportions of topics that a post has; 0 where they are not read.
    """

    words: int
    hashtags: int
    lengths: dict[str, int]
    named: int = 0
    vectors: int = 0
    posts: int = 0
    packed: int = 0
    image: dict[str, tuple[int, ...]] = field(default_factory=dict)
    topics: int = 0

    def batch(self) -> dict[str, Any]:
        """A batch of one post without anything in it."""
        import jax.numpy as jnp

        found = {name: jnp.zeros((1, *shape), jnp.int32) for name, shape in shapes(self.lengths, self.posts).items()}
        for name, shape in self.image.items():
            found[name] = jnp.zeros((1, *shape), jnp.uint8 if name == PIXELS else jnp.float32)
        found |= {TOPICS: jnp.zeros((1, self.topics))} if self.topics else {}
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
        told = self.objective(logits, batch["hashtags"], numbers["allowed"], numbers["smoothing"], keys)
        return *told, collections

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

    def features(self, params: Any, collections: Any, batch: dict[str, Any], which: str = "features") -> "jax.Array":
        """Features `[B, p]` of a batch, for estimators fitted on them, of the model's function `which`."""
        return self._apply(params, collections, lambda m: getattr(m, which)(batch, 0.0, None))

    def on(self, mesh: Any) -> "System":
        """The same system on `mesh`, for one that needs to know where it is."""
        return self

    def explain(self, params: Any, collections: Any, batch: dict[str, Any]) -> dict[str, "jax.Array"]:
        """By column, how much of each step of attention each value of a batch is (`jaxtag.explain`)."""
        return self._apply(params, collections, lambda m: m.explain(batch))

    def _apply(self, params: Any, collections: Any, method: Any) -> Any:
        return self.module.apply({"params": params, **collections}, method=method)
