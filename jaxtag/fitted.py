"""Systems learned without a gradient: fitted at once to what is read of the training posts, or in sweeps over them.

An estimator is a file of `jaxtag.estimators`, and is used by the names in it alone:

    Settings                              its settings, a frozen dataclass
    check(settings, columns)              raises JaxtagError where they are not possible
    READS                                 what it is fitted to: `counts` of words, or `features`, numbers of each post
    features(settings, batch, words, counted)   of `features`: the row, from word vectors; an encoder's is another's
    fit(settings, counts or features, gold)     what is learned, a dictionary of arrays, as its run folder keeps them
    learned(settings, words, hashtags, width)   their shapes, as `jaxtag train` counts parameters
    scores(settings, fitted, batch or features)         how it ranks, of the output `scores`: `[B, L]`
    query(fitted, features), table(fitted, labels)      or of the output `table`

One learned in sweeps has `scores`, of its state's params and collections, and what `jaxtag.training.sweeps` names.
"""

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxtag.errors import JaxtagError
from jaxtag.parallel.mesh import unbox
from jaxtag.systems import Entry, Sizes, System, build, find

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
    """An estimator of `jaxtag.estimators`, on counts of words, word vectors or an encoder's features."""

    @property
    def code(self) -> Any:
        """Its file, as a module."""
        return importlib.import_module(self.entry.module)

    @property
    def width(self) -> int:
        """p: how many numbers it reads of a post; 0 where it reads counts."""
        if self.code.READS == "counts":
            return 0
        if self.encoder is not None:
            return width_of(self.encoder)
        batch = self.sizes.batch()
        words = jnp.zeros((1, self.sizes.vectors)), jnp.zeros(1, bool)
        return jax.eval_shape(lambda: self.code.features(self.settings, batch, *words)).shape[-1]

    def read(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Features `[B, p]` float32 of a batch."""
        if self.encoder is not None:
            return self.encoder.features(params["encoder"], collections, batch).astype(jnp.float32)
        return self.code.features(self.settings, batch, params["words"], params["counted"])

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """Queries `[B, d]` of a batch."""
        return self.code.query(params["fitted"], self.read(params, collections, batch))

    def table(self, params: Any, collections: Any, labels: jax.Array) -> jax.Array:
        """The rows `[len(labels), d]` of the hashtags `labels`."""
        return self.code.table(params["fitted"], labels)

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> jax.Array:
        """The score of every hashtag for every post of a batch, `[B, L]` float32."""
        if self.entry.output == "table":
            return super().scores(params, collections, batch)
        given = batch if self.code.READS == "counts" else self.read(params, collections, batch)
        return self.code.scores(self.settings, params["fitted"], given)

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


def width_of(system: System) -> int:
    """How many features a gradient system gives."""
    batch = system.sizes.batch()

    def features() -> jax.Array:
        variables = unbox(System.init(system, jax.random.key(0)))
        rest = {name: value for name, value in variables.items() if name != "params"}
        return System.features(system, variables["params"], rest, batch)

    return jax.eval_shape(features).shape[-1]


def make(experiment: "Experiment", sizes: Sizes) -> Estimator | Sampled:
    """The estimator of `experiment` at `sizes`."""
    entry, settings = find(experiment.system), experiment.model
    if entry.learned == "sweeps":
        return Sampled(entry, None, None, sizes, settings)
    encoder = build(experiment.encoder, replace(sizes, vectors=0)) if experiment.encoder else None
    if encoder is not None:
        entry = replace(entry, columns=encoder.entry.columns, indexed=encoder.entry.indexed)
    return Estimator(entry, None, None, sizes, settings, encoder)


def reads_vectors(experiment: "Experiment", entry: Entry) -> bool:
    """Whether an estimator reads the split's word vectors."""
    return entry.learned == "fit" and experiment.encoder is None and hasattr(experiment.model, "vectors")


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
    if experiment.encoder is None:
        return
    if getattr(code, "READS", "") != "features":
        raise JaxtagError(f"system {entry.name} has no encoder", "leave --encoder out")
    inner = find(experiment.encoder.system)
    if inner.learned != "steps":
        raise JaxtagError(f"system {inner.name} cannot be an encoder", "choose one such as --encoder zsl/rnn")
