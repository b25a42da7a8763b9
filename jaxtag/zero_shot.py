"""Zero-shot systems: they rank hashtags by vectors, and so also hashtags that they never trained on.

`Fitted` is fitted, without gradients of its own, to an encoder's features or probabilities, or to mean word vectors.
`Joint` is DEM where the encoder and the hashtags' branch learn together: a gradient system like any other. So is
`Embedding`, which has posts and hashtags in one space and no encoder.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxtag.entries import Entry
from jaxtag.errors import JaxtagError
from jaxtag.estimators import cosine, dem
from jaxtag.estimators.methods import METHODS, Method
from jaxtag.fitted import FittedSystem, width_of
from jaxtag.fitted import check as check_estimator
from jaxtag.layers.parameters import CONSTANTS
from jaxtag.models import tweet_embedding
from jaxtag.systems import Sizes, System, find

if TYPE_CHECKING:
    from jaxtag.experiment import Experiment

LAST = -1e30  # what a hashtag without a vector scores: below any other, and finite
BRANCH = "hashtag_branch"
ABSENT = -4.0  # what a view that a post has not scores, beside cosines


def with_last(query: jax.Array) -> jax.Array:
    """Queries `[B, d]` with a one behind each, which a table's last column is multiplied with."""
    return jnp.concatenate([query.astype(jnp.float32), jnp.ones((len(query), 1), jnp.float32)], 1)


def last_without_vector(rows: jax.Array, vectors: jax.Array) -> jax.Array:
    """A table's rows `[C, d]` with `LAST` behind those whose hashtag has no vector, all zeros, and 0 behind others."""
    none = ~(vectors != 0).any(1, keepdims=True)
    return jnp.concatenate([jnp.where(none, 0, rows.astype(jnp.float32)), jnp.where(none, LAST, 0.0)], 1)


@dataclass(frozen=True)
class Fitted(FittedSystem):
    """A fitted zero-shot system: it reads an encoder's features or probabilities, or mean word vectors.

    Its params have `hashtags` too: vectors of the split's `named` hashtags, zeros for those without.

    Attributes:
      method: how it ranks, by what was learned (`jaxtag.estimators.methods`).
    """

    method: Method

    def read(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """What the method reads of a batch, `[B, p]` float32."""
        if self.encoder is None:
            return cosine.mean_vectors(batch["tokens"], params["words"], params["counted"])
        if self.method.reads == "features":
            return self.encoder.features(params["encoder"], collections, batch).astype(jnp.float32)
        labels = jnp.arange(len(params["fitted"]["vectors"]))
        query = self.encoder.query(params["encoder"], collections, batch)
        return jax.nn.softmax(query @ self.encoder.table(params["encoder"], collections, labels).T, axis=-1)

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Queries `[B, d + 1]` of a batch."""
        given = self.read(params, collections, batch)
        return with_last(self.method.query(self.settings, params["fitted"], given))

    def table(self, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
        """The rows `[len(labels), d + 1]` of hashtags, by their positions among the split's `named`."""
        return self.place(params, params["hashtags"][labels])

    def place(self, params: Any, vectors: jax.Array) -> jax.Array:
        """The rows `[C, d + 1]` of any hashtags, by their vectors `[C, s]`."""
        return last_without_vector(self.method.table(self.settings, params["fitted"], vectors), vectors)

    @property
    def width(self) -> int:
        """p: how many numbers the method reads of a post."""
        if self.encoder is None:
            return self.sizes.vectors
        return width_of(self.encoder) if self.method.reads == "features" else self.sizes.hashtags

    def shapes(self) -> dict[str, Any]:
        """Shape of each array that is learned, beside the encoder's."""
        learned = self.method.learned(self.width, self.sizes.vectors)
        return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in learned.items()}


@dataclass(frozen=True)
class Joint(System):
    """DEM whose encoder learns too: loss (φ(x) − g(y))², averaged over dimensions, for each of a post's hashtags.

    Its params are the encoder's, and `hashtag_branch`; its collections the encoder's, and `constants`, which hold the
    vectors of the split's `named` hashtags.

    Attributes:
      decay: λ of g.
      classifies: whether the encoder's objective is added (`finetune`).
    """

    decay: float
    classifies: bool

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The encoder's initial variables, and those of the branch; the constants are zeros."""
        variables = dict(super().init(key))
        made = dem.init(jax.random.fold_in(key, 1), self.sizes.vectors, width_of(self))
        branch = {"kernel": nn.LogicallyPartitioned(made["kernel"], ("embed", "hidden")), "bias": made["bias"]}
        vectors = jnp.zeros((self.sizes.named, self.sizes.vectors), jnp.float32)
        boxed = nn.LogicallyPartitioned(vectors, ("embed", "embed"))
        params = {**variables.pop("params"), BRANCH: branch}
        return {"params": params, **variables, CONSTANTS: {"hashtags": boxed}}

    def loss(
        self, params: Any, collections: Any, batch: dict[str, Any], numbers: dict[str, Any], keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Any]:
        """Loss `[B]`, weight `[B]` and the updated collections of a batch; as of `System`."""
        inner, own = _without(params, BRANCH), _without(collections, CONSTANTS)

        def both(module: Any) -> tuple[jax.Array, jax.Array]:
            features = module.features(batch, numbers["dropout"], keys)
            return features, module.head(features)

        (features, logits), own = self.module.apply({"params": inner, **own}, mutable=list(own), method=both)
        vectors, labels = collections[CONSTANTS]["hashtags"], batch["hashtags"]
        known = jnp.clip(labels, 0, len(numbers["allowed"]) - 1)
        real = (labels == known) & numbers["allowed"][known] & (vectors[known] != 0).any(-1)
        places = dem.branch(params[BRANCH], vectors[known])
        error = jnp.square(features.astype(jnp.float32)[:, None] - places).mean(-1)
        weight = real.sum(1).astype(jnp.float32)
        loss = jnp.where(real, error, 0).sum(1) + weight * dem.penalty(params[BRANCH], self.decay)
        if self.classifies:
            loss += self.objective(logits, jnp.where(real, labels, -1), numbers["allowed"], numbers["smoothing"])[0]
        return loss, weight, {**own, CONSTANTS: collections[CONSTANTS]}

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Queries `[B, p + 2]` of a batch."""
        features = super().features(_without(params, BRANCH), _without(collections, CONSTANTS), batch)
        return with_last(dem.query(features))

    def table(self, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
        """The rows `[len(labels), p + 2]` of hashtags, by their positions among the split's `named`."""
        return self.place(params, collections[CONSTANTS]["hashtags"][labels])

    def place(self, params: Any, vectors: jax.Array) -> jax.Array:
        """The rows `[C, p + 2]` of any hashtags, by their vectors `[C, s]`."""
        return last_without_vector(dem.table(params[BRANCH], vectors), vectors)


@dataclass(frozen=True)
class Embedding(System):
    """Posts' views and hashtags in one space (`jaxtag.models.tweet_embedding`), compared by cosine.

    Its collections have `constants`: the vectors of the split's words, and of the hashtags that it names.
    """

    def loss(
        self, params: Any, collections: Any, batch: dict[str, Any], numbers: dict[str, Any], keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Any]:
        """As of `System`; hashtags that are not allowed do not count."""
        labels = batch["hashtags"]
        known = jnp.clip(labels, 0, len(numbers["allowed"]) - 1)
        real = (labels == known) & numbers["allowed"][known]
        batch = {**batch, "hashtags": jnp.where(real, labels, -1)}
        return super().loss(params, collections, batch, numbers, keys)

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Queries `[B, views, d + 2]`, of which the greatest product counts; of the similarity `sum`, `[B, d + 2]`.

        A view that a post has not scores `ABSENT`, below every cosine; to a sum it adds nothing.
        """
        found = self._apply(params, collections, lambda m: m.views(batch))
        views, real = (jnp.stack(x, 1) for x in zip(*found.values()))
        most = self.module.settings.similarity == "max"
        last = jnp.stack([jnp.ones(real.shape), jnp.where(real | (not most), 0, ABSENT)], -1)
        query = jnp.concatenate([jnp.where(real[..., None], views, 0), last], -1)
        return query if most else query.sum(1)

    def table(self, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
        """The rows `[len(labels), d + 2]` of hashtags, by their positions among the split's `named`."""
        return self.place(params, self._apply(params, collections, lambda m: m.known(labels)))

    def place(self, params: Any, vectors: jax.Array) -> jax.Array:
        """The rows `[C, d + 2]` of any hashtags, by their vectors `[C, s]`."""
        none = {CONSTANTS: {"words": vectors[:1], "hashtags": vectors[:1]}}  # the vectors given are all there is
        rows = self._apply(params, none, lambda m: m.embed(vectors))
        return jnp.pad(last_without_vector(rows, vectors), ((0, 0), (0, 1)), constant_values=1)

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """The score of every named hashtag for every post of a batch `[B, named]` float32."""
        every = self.table(params, collections, jnp.arange(self.sizes.named))
        products = self.query(params, collections, batch) @ every.T
        return products.max(1) if products.ndim == 3 else products


ZeroShot = Fitted | Joint | Embedding


def make(experiment: "Experiment", sizes: Sizes, encoder: System | None, objective: Any) -> ZeroShot:
    """The zero-shot system of `experiment` at `sizes`; `objective` is the one that its training names.

    Raises:
      JaxtagError: it has an identity, and features are not as wide as vectors.
    """
    entry, settings = find(experiment.system), experiment.model
    if entry.learned == "steps":
        module = tweet_embedding.Model(settings, sizes.words, sizes.named, sizes.vectors)
        return Embedding(entry, module, objective, sizes)
    if encoder is not None:
        entry = replace(entry, columns=encoder.entry.columns, indexed=encoder.entry.indexed)
    if is_joint(experiment):
        assert encoder is not None  # `check` refuses it
        return Joint(entry, encoder.module, encoder.objective, sizes, settings.decay, settings.mode == "finetune")
    system = Fitted(entry, None, None, sizes, settings, encoder, METHODS[entry.name])
    if getattr(settings, "identity", 0) and system.width != sizes.vectors:
        raise JaxtagError(
            f"model.identity is {settings.identity:g}, but posts have {system.width} features and hashtags' vectors "
            f"{sizes.vectors} numbers",
            "--encoder vectors, or --model.identity 0",
        )
    return system


def reads_all_words(experiment: "Experiment") -> bool:
    """Whether posts are read by the dataset's words, not by those that the split counts."""
    return getattr(experiment.model, "words", "split") == "all"


def is_joint(experiment: "Experiment") -> bool:
    """Whether the experiment's encoder learns together with the zero-shot method."""
    return getattr(experiment.model, "mode", "pretrain_frozen") != "pretrain_frozen"


def check(experiment: "Experiment", entry: Entry) -> None:
    """Refuse a system with an encoder that it cannot have, or settings that are not possible.

    Raises:
      JaxtagError: saying which.
    """
    encoder = experiment.encoder
    if reads_all_words(experiment) and (encoder or experiment.data.words):
        mend = "--encoder vectors" if encoder else "leave --data.words out"
        raise JaxtagError("model.words all is of the mean of all words that have a vector", mend)
    if not entry.zero_shot or entry.learned == "steps":
        if entry.learned != "steps":
            check_estimator(experiment, entry)
        elif encoder is not None:
            raise JaxtagError(f"system {entry.name} has no encoder", "leave --encoder out")
        elif entry.zero_shot and experiment.data.vectors:
            raise JaxtagError(f"data.vectors is of a word table, which system {entry.name} has not", "--model.vectors")
        return
    METHODS[entry.name].check(experiment.model)
    if encoder is None:
        if METHODS[entry.name].reads == "probabilities" or is_joint(experiment):
            raise JaxtagError(f"system {entry.name} needs an encoder that learns", "--encoder zsl/rnn")
        return
    if entry.name == "cosine":
        raise JaxtagError("system cosine compares mean word vectors, it has no encoder", "leave --encoder out")
    if find(encoder.system).learned != "steps" or find(encoder.system).zero_shot:
        raise JaxtagError(f"system {encoder.system} cannot be an encoder", "choose one such as --encoder zsl/rnn")


def _without(tree: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != name}
