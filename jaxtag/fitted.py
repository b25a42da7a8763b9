"""Systems learned without a gradient: fitted at once to what is read of the training posts, or in sweeps over them.

An estimator is a file of `jaxtag.estimators`, and is used by the names in it alone:

    Settings                              its settings, a frozen dataclass
    check(settings, columns)              raises JaxtagError where they are not possible
    READS                                 what it is fitted to: `counts` of words; `features`, numbers of each post
                                          (`jaxtag.estimators.sources`); or `neighbours` by them
    features(settings, batch, words, counted)   of `summed_vectors`: the row
    wanted(settings)                            of `neighbours`: how many
    fit(settings, counts or features, gold)     what is learned, a dictionary of arrays, as its run folder keeps them
    learned(settings, words, hashtags, width)   their shapes, as `jaxtag train` counts parameters
    scores(settings, fitted, batch)             how it ranks, of the output `scores`: `[B, L]`
    scores(settings, fitted, places, hashtags)          of `neighbours`: by theirs
    query(fitted, features), table(fitted, labels)      or of the output `table`

One learned in sweeps has `scores`, of its state's params and collections, and what `jaxtag.training.sweeps` names.
"""

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxtag.data.posts import IMAGE_COLUMNS
from jaxtag.entries import Entry
from jaxtag.errors import JaxtagError
from jaxtag.estimators import sources, tfidf, voters
from jaxtag.parallel.mesh import unbox
from jaxtag.systems import Sizes, System, find

if TYPE_CHECKING:
    from jaxtag.experiment import Experiment


@dataclass(frozen=True)
class FittedSystem(System, ABC):
    """A system fitted at once. Its params are

        encoder    the encoder's params; or `words`, a vector for each word id, and `counted`, which ids have one
        fitted     what was learned

    and its collections the encoder's.

    Attributes:
      settings: its own.
      encoder: whose features it reads; None for what it reads of words.
    """

    settings: Any
    encoder: System | None

    @abstractmethod
    def read(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """What it reads of a batch, `[B, p]` float32."""

    @abstractmethod
    def shapes(self) -> dict[str, Any]:
        """Shape of each array that is learned, beside the encoder's."""


@dataclass(frozen=True)
class Estimator(FittedSystem):
    """An estimator of `jaxtag.estimators`, on counts of words, features, or neighbours by them.

    Attributes:
      mesh: over which neighbours' features are split.
    """

    mesh: Any = None

    def on(self, mesh: Any) -> "Estimator":
        """As of `System`."""
        return replace(self, mesh=mesh)

    @property
    def code(self) -> Any:
        """Its file, as a module."""
        return importlib.import_module(self.entry.module)

    @property
    def width(self) -> int:
        """p: how many numbers it reads of a post; 0 where it reads counts, or sequences of words."""
        kind = getattr(self.settings, "features", "")
        if self.code.READS == "counts" or kind == "tfidf":
            return 0
        if self.encoder is not None:
            return width_of(self.encoder, sources.ENCODED[kind])
        if kind in self.sizes.image:
            return self.sizes.image[kind][0]
        if kind == "mean_vectors":
            return self.sizes.vectors
        batch = self.sizes.batch()
        words = jnp.zeros((1, self.sizes.vectors)), jnp.zeros(1, bool)
        return jax.eval_shape(lambda: self.code.features(self.settings, batch, *words)).shape[-1]

    def read(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Features `[B, p]` float32 of a batch, NaN for a post without any; of `tfidf`, its sequences, int32."""
        kind = self.settings.features
        if self.encoder is not None:
            found = self.encoder.features(params["encoder"], collections, batch, sources.ENCODED[kind])
            return sources.without(kind, found, batch)
        if kind == "tfidf":
            return tfidf.sequences(params["fitted"], batch["tokens"], self.settings.grams)
        if kind == "summed_vectors":
            return self.code.features(self.settings, batch, params["words"], params["counted"])
        return sources.read(kind, batch, params.get("words"), params.get("counted"))

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Queries `[B, d]` of a batch."""
        given = self.read(params, collections, batch)
        return self.code.query(params["fitted"], jnp.where(jnp.isnan(given[:, :1]), 0, given))

    def table(self, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
        """The rows `[len(labels), d]` of the hashtags `labels`."""
        return self.code.table(params["fitted"], labels)

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """The score of every hashtag for every post of a batch, `[B, L]` float32."""
        if self.entry.output == "table":
            return super().scores(params, collections, batch)
        settings, fitted = self.settings, params["fitted"]
        if self.code.READS == "counts":
            return self.code.scores(settings, fitted, batch)
        given = self.read(params, collections, batch)
        places = voters.near(settings, fitted, given, self.code.wanted(settings), self.mesh)
        return self.code.scores(settings, fitted, places, voters.hashtags_of(fitted, places))

    def shapes(self) -> dict[str, Any]:
        """Shape of each array that is learned, beside the encoder's."""
        learned = self.code.learned(self.settings, self.sizes.words, self.sizes.hashtags, self.width)
        return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in learned.items()}


@dataclass(frozen=True)
class Sampled(System):
    """A system learned in sweeps over the training posts: a Markov chain, whose averages rank.

    Attributes:
      settings: its own.
    """

    settings: Any

    @property
    def code(self) -> Any:
        """Its file, as a module."""
        return importlib.import_module(self.entry.module)

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """The log-probability of every hashtag for every post of a batch, `[B, L]` float32."""
        return self.code.scores(self.settings, params, collections, batch)

    def loss(
        self, params: Any, collections: Any, batch: dict[str, Any], numbers: dict[str, Any], keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Any]:
        """−Σ log P(h | post) over each post's hashtags `[B]`, their number `[B]`, and the collections."""
        found, labels = self.scores(params, collections, batch), batch["hashtags"]
        each = jnp.take_along_axis(found, jnp.maximum(labels, 0), axis=1)
        return -jnp.where(labels < 0, 0, each).sum(1), (labels >= 0).sum(1).astype(jnp.float32), collections


def width_of(system: System, which: str = "features") -> int:
    """How many features a gradient system gives by its model's function `which`."""
    batch = system.sizes.batch()

    def features() -> jax.Array:
        variables = unbox(System.init(system, jax.random.key(0)))
        rest = {name: value for name, value in variables.items() if name != "params"}
        return System.features(system, variables["params"], rest, batch, which)

    return jax.eval_shape(features).shape[-1]


def make(experiment: "Experiment", sizes: Sizes, encoder: System | None) -> Estimator | Sampled:
    """The estimator of `experiment` at `sizes`, on the features of `encoder` where there is one."""
    entry, settings = find(experiment.system), experiment.model
    if entry.learned == "sweeps":
        return Sampled(entry, None, None, sizes, settings)
    if encoder is not None:
        entry = replace(entry, columns=encoder.entry.columns, indexed=encoder.entry.indexed)
    else:
        entry = replace(entry, columns=entry.reads(settings))
    return Estimator(entry, None, None, sizes, settings, encoder)


def reads_vectors(experiment: "Experiment", entry: Entry) -> bool:
    """Whether an estimator reads the split's word vectors."""
    kind = getattr(experiment.model, "features", "")
    return entry.learned == "fit" and experiment.encoder is None and kind in sources.WORD_VECTORS


def settled(experiment: "Experiment", encoder: str, features: str) -> "Experiment":
    """The experiment with an encoder and features that go together, where only one of them was asked for.

    Args:
      experiment: of any system.
      encoder: that was asked for, or empty; the experiment has it.
      features: that were asked for, or empty; the experiment has them not yet.
    """
    settings = experiment.model
    if not hasattr(settings, "features"):
        return experiment
    if features:  # a recipe's own encoder is of no use to features that are not an encoder's
        return experiment if features in sources.ENCODED or encoder else replace(experiment, encoder=None)
    if not encoder:
        return experiment
    kind = settings.features
    if experiment.encoder is None:
        kind = settings.word_vectors if kind in sources.ENCODED else kind
    elif not _gives(experiment.encoder, kind):
        kind = "merged"
    return replace(experiment, model=replace(settings, features=kind))


def check(experiment: "Experiment", entry: Entry) -> None:
    """Refuse an estimator with an encoder that it cannot have, or settings that are not possible.

    Raises:
      JaxtagError: saying which.
    """
    code = importlib.import_module(entry.module)
    code.check(experiment.model, entry.columns)
    if experiment.data.vectors:
        mend = "--model.vectors" if hasattr(experiment.model, "vectors") else "leave --data.vectors out"
        raise JaxtagError(f"data.vectors is of a word table, which system {entry.name} has not", mend)
    inner = find(experiment.encoder.system) if experiment.encoder else None
    if inner is not None:
        if getattr(code, "READS", "counts") == "counts":
            raise JaxtagError(f"system {entry.name} has no encoder", "leave --encoder out")
        if inner.learned != "steps":
            raise JaxtagError(f"system {inner.name} cannot be an encoder", "choose one such as --encoder zsl/rnn")
        if named := experiment.data.extractor:
            mend = f"--encoder.data.extractor {named}, or --model.features vector"
            raise JaxtagError(f"data.extractor is {named!r}, but images are read by the encoder", mend)
    if hasattr(experiment.model, "features"):
        _check_features(experiment.model, experiment.encoder)


def _check_features(settings: Any, encoder: "Experiment | None") -> None:
    """Refuse features that an experiment does not have.

    Args:
      settings: of the estimator.
      encoder: None where there is none.

    Raises:
      JaxtagError: features of an encoder without one, others with one, or some that the encoder does not give.
    """
    kind = settings.features
    if encoder is None:
        if kind in sources.ENCODED:
            raise JaxtagError(f"model.features {kind} is of an encoder, and there is none", "--encoder amnn/amnn")
        return
    if kind not in sources.ENCODED:
        raise JaxtagError(f"model.features {kind} is of no encoder", "leave --encoder out, or --model.features merged")
    if not _gives(encoder, kind):
        raise JaxtagError(f"system {encoder.system} gives no {kind} features", "--model.features merged")


def _gives(encoder: "Experiment", kind: str) -> bool:
    """Whether the network of `encoder` has features of the `kind`, and reads what they are of."""
    entry = find(encoder.system)
    if kind not in sources.ENCODED or entry.learned != "steps":
        return False
    reads = set(entry.reads(encoder.model))
    of = {"image": set(IMAGE_COLUMNS), "text": {"tokens"}}.get(kind, reads)
    return bool(reads & of) and hasattr(entry.model(), sources.ENCODED[kind])
