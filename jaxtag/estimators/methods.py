"""The fitted methods under one form: what each reads of a post, what it learns, and how it ranks.

A method's parameters are a dictionary of arrays, `fitted`, as its run folder keeps them. Ranking is `query`, posts to
`[B, d]`, and `table`, hashtags' vectors to `[C, d]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxtag.errors import JaxtagError
from jaxtag.estimators import conse, cosine, dem, eszsl, standard
from jaxtag.estimators.vectors import product, unit

Fitted = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
Query = Callable[[Any, Fitted, jax.Array], jax.Array]

FROZEN = ("form", "identity", "distance", "centre", "z_norm", "balance", "unit")  # DEM's, where its encoder is fixed


@dataclass(frozen=True)
class Method:
    """A fitted method.

    Attributes:
      reads: of a post: `features`, or `probabilities` of the hashtags trained on.
      query: of settings, fitted and what it reads `[B, p]`, to `[B, d]`.
      table: of settings, fitted and hashtags' vectors `[C, s]`, to `[C, d]`.
      learned: of p and s, the shapes of what it learns by name, without what it keeps beside.
      check: of settings; raises JaxtagError where one is not possible.
    """

    reads: Literal["features", "probabilities"]
    query: Query
    table: Callable[[Any, Fitted, jax.Array], jax.Array]
    learned: Callable[[int, int], Shapes]
    check: Callable[[Any], None]


def most_probable(probabilities: jax.Array, most: jax.Array | int) -> jax.Array:
    """`probabilities [B, n]` with only the `most` greatest of each post, the others 0; of equal ones the first."""
    order = jnp.argsort(-probabilities, axis=1, stable=True)
    return jnp.where(jnp.argsort(order, axis=1, stable=True) < most, probabilities, 0)


def scaled(settings: Any, vectors: jax.Array) -> jax.Array:
    """Hashtags' vectors as ESZSL's and DEM's settings want them: of length one, or as they are."""
    return unit(vectors) if settings.unit else vectors.astype(jnp.float32)


def _query(ordinary: Query) -> Query:
    """`ordinary`, of features centred as the settings want them, or standard scores' in its place."""

    def query(settings: Any, fitted: Fitted, given: jax.Array) -> jax.Array:
        given = standard.centred(given, fitted["centre"] if settings.centre else None)
        return standard.query(fitted, given) if settings.z_norm else ordinary(settings, fitted, given)

    return query


def _conse_query(settings: conse.Settings, fitted: Fitted, given: jax.Array) -> jax.Array:
    weighed = given * fitted["balance"] if settings.balance else given
    return conse.query(most_probable(weighed, fitted["most"]), fitted["vectors"])


def _eszsl_table(settings: Any, fitted: Fitted, vectors: jax.Array) -> jax.Array:
    rows = scaled(settings, vectors)
    return standard.table(fitted, product(rows, fitted["weights"].T)) if settings.z_norm else eszsl.table(rows)


def _dem_query(settings: Any, fitted: Fitted, given: jax.Array) -> jax.Array:
    if settings.distance == "euclid":
        return dem.query(given)
    return unit(given - fitted["bias"] if settings.form == "linear" else given)


def _dem_table(settings: Any, fitted: Fitted, vectors: jax.Array) -> jax.Array:
    rows = scaled(settings, vectors)
    places = dem.linear(fitted, rows) if settings.form == "linear" else dem.branch(fitted, rows)
    if settings.z_norm:
        return standard.table(fitted, places)
    if settings.distance == "cosine":
        return unit(places)
    return dem.near(places + fitted["bias"] if settings.form == "linear" else places)


def _cosine_table(settings: Any, fitted: Fitted, vectors: jax.Array) -> jax.Array:
    return standard.table(fitted, vectors) if settings.z_norm else cosine.table(vectors)


def check_least(name: str, value: float, least: float, meaning: str) -> None:
    """Refuse a value of model.`name` that is no number or below `least`.

    Raises:
      JaxtagError: with the value and what it may be.
    """
    if not least <= value < float("inf"):
        raise JaxtagError(f"model.{name} is {value:g}; it must be {meaning}")


def _check_folds(settings: Any) -> None:
    check_least("folds", settings.folds, 0, "2 or more, or 0, which goes by the numbers of hashtags")
    if settings.folds == 1:
        raise JaxtagError("model.folds is 1; it must be 2 or more, or 0, which goes by the numbers of hashtags")


def _check_conse(settings: conse.Settings) -> None:
    _check_folds(settings)
    _check_balance(settings)
    check_least("most", settings.most, -1, "1 or more, 0 for all hashtags, or -1, which chooses")


def _check_eszsl(settings: eszsl.Settings) -> None:
    for name in ("gamma", "lam"):
        check_least(name, getattr(settings, name), 0, "a positive number, or 0, which chooses one")
    _check_shared(settings)
    if settings.neg_label not in (0, -1):
        raise JaxtagError(f"model.neg_label is {settings.neg_label}; it must be 0 or -1")


def _check_shared(settings: eszsl.Settings | dem.Settings) -> None:
    _check_folds(settings)
    check_least("identity", settings.identity, 0, "0 or more")
    _check_balance(settings)


def _check_balance(settings: conse.Settings | eszsl.Settings | dem.Settings) -> None:
    check_least("balance", settings.balance, 0, "0 or more: 0 weighs posts the same, 1 hashtags")


def _check_dem(settings: dem.Settings) -> None:
    _check_shared(settings)
    if settings.identity and settings.form == "relu":
        raise JaxtagError(f"model.identity is {settings.identity:g}, of the linear form", "--model.form linear")
    plain = dem.Settings()
    for name in FROZEN if settings.mode != "pretrain_frozen" else ():
        if getattr(settings, name) != getattr(plain, name):
            raise JaxtagError(
                f"model.{name} is of the mode pretrain_frozen, not {settings.mode}", f"leave --model.{name} out"
            )
    check_least("learning_rate", settings.learning_rate, 0, "0 or more")
    check_least("steps", settings.steps, 1, "1 or more")
    if settings.decay == -1 and settings.mode == "pretrain_frozen":
        return
    check_least("decay", settings.decay, 0, "0 or more, or -1 in the mode pretrain_frozen, which chooses")


METHODS: dict[str, Method] = {
    "conse": Method(
        "probabilities",
        _conse_query,
        lambda settings, fitted, vectors: conse.table(vectors),
        lambda p, s: {},
        _check_conse,
    ),
    "eszsl": Method(
        "features",
        _query(lambda settings, fitted, given: eszsl.query(fitted, given)),
        _eszsl_table,
        lambda p, s: {"mean": (p,), "weights": (p, s)},
        _check_eszsl,
    ),
    "dem": Method(
        "features",
        _query(_dem_query),
        _dem_table,
        lambda p, s: {"kernel": (s, p), "bias": (p,)},
        _check_dem,
    ),
    "cosine": Method(
        "features",
        _query(lambda settings, fitted, given: unit(given)),
        _cosine_table,
        lambda p, s: {},
        lambda settings: None,
    ),
}
