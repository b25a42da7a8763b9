"""ConSE: a post is where its probable seen hashtags lie, and is near unseen ones by cosine (SYSTEMS 1.9).

    f(x) = 1/Z Σ_{t=1…T} p(ŷ_t | x) s(ŷ_t),   Z = Σ_{t=1…T} p(ŷ_t | x)

ŷ_t is the t-th most probable seen hashtag of the post and s its vector. The paper takes all of them, T = n_s, and
then f is the matrix product of the probabilities with the vectors.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.estimators.vectors import product, unit


@dataclass(frozen=True)
class Settings:
    """ConSE's settings.

    Attributes:
      vectors: name of the split's word vectors that hashtags' vectors are of.
      hashtag_vectors: which of the word vectors' two trainings hashtags have: `in`, `out`, or `sum`, of both
        (`jaxtag.data.hashtags`).
      missing: what becomes of hashtags without a vector: `refuse`, or `last`: not learned from, and ranked last.
      balance: b, by which hashtags of a few posts weigh more (`jaxtag.estimators.standard`): an encoder hardly ever
        finds those probable.
      most: T; 0 is all hashtags that the encoder knows, as in the paper, -1 chooses it on pseudo-unseen hashtags.
      folds: in which the pseudo-unseen are held out; 0 is `n_s / n_u`, rounded, from 2 to 5.
      encoders: whose probabilities the choice goes by (`jaxtag.training.choice`): `shared`, the run's own encoder's;
        `own`, those of one that is trained for each fold, without its hashtags.
    """

    vectors: str = "inductive"
    hashtag_vectors: Literal["in", "out", "sum"] = "in"
    missing: Literal["refuse", "last"] = "refuse"
    balance: float = 0.0
    most: int = 0
    folds: int = 0
    encoders: Literal["shared", "own"] = "shared"


def place(probabilities: jax.Array, vectors: jax.Array, most: int | None = None) -> jax.Array:
    """f(x): where each post lies among the hashtags' vectors.

    Args:
      probabilities: of the seen hashtags `[B, n_s]`.
      vectors: of the seen hashtags `[n_s, d]`.
      most: T, how many of the most probable; None, or n_s and more, is all of them. Of equally probable ones the
        first is taken.

    Returns:
      `[B, d]` float32.

    Raises:
      ValueError: `most` is below 1.
    """
    probabilities = probabilities.astype(jnp.float32)
    if most is not None and most < 1:
        raise ValueError(f"the {most} most probable hashtags")
    if most is not None and most < probabilities.shape[1]:
        kept, labels = lax.top_k(probabilities, most)
        rows = jnp.arange(len(labels))[:, None]
        probabilities = jnp.zeros_like(probabilities).at[rows, labels].set(kept)
    return product(probabilities, vectors) / probabilities.sum(1, keepdims=True)


def query(probabilities: jax.Array, vectors: jax.Array, most: int | None = None) -> jax.Array:
    """Posts to rows `[B, d]` of length one; arguments as `place`."""
    return unit(place(probabilities, vectors, most))


def table(vectors: jax.Array) -> jax.Array:
    """Candidates' vectors `[C, d]` to rows of length one."""
    return unit(vectors)
