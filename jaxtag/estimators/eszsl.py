"""ESZSL: a bilinear map from features to hashtags' vectors, in closed form (SYSTEMS 1.10).

    W = (X Xᵀ + γ I)⁻¹ X Y Aᵀ (A Aᵀ + λ I)⁻¹          minimises
    ‖XᵀWA − Y‖² + γ ‖WA‖² + λ ‖XᵀW‖² + γλ ‖W‖²

X `[p, m]` has the features as columns, Y `[m, n_s]` a one at each post's hashtag and `neg_label` elsewhere, A
`[s, n_s]` the seen hashtags' vectors as columns. A column of X and row of Y is a (post, hashtag) pair, as for the
objective `pairs`: a post with g hashtags counts g times, each with the one. The posts enter by sums
(`jaxtag.estimators.moments`); with X Xᵀ = Q Λ Qᵀ and A Aᵀ = P M Pᵀ every point of a grid is

    W = Q [ (Qᵀ X Y Aᵀ P)_{ij} / ((Λ_i + γ) (M_j + λ)) ] Pᵀ

in float64. The sums are good to about 1e-7 of the largest eigenvalue of X Xᵀ: below it, γ decides.

Where features and hashtags' vectors are of one space, as mean word vectors are, W may be pulled towards β times the
identity, which is the comparison without training, instead of to zero: W − βI takes the place of W in the three penalty
terms (after Kuzborskij and Orabona 2013). Then W = βI + V, V as above of what βI leaves, Y − β Xᵀ A for Y, and in the
grid only (Qᵀ X Y Aᵀ P)_{ij} − β Λ_i (QᵀP)_{ij} M_j is another number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError
from jaxtag.estimators.moments import Moments
from jaxtag.estimators.vectors import product

GRID = tuple(10.0**power for power in range(-3, 4))  # of γ and of λ
GRID_IDENTITY = ((10.0, 100.0, 1000.0), (1.0, 10.0, 100.0))  # of γ, and of λ, where β is not 0


@dataclass(frozen=True)
class Settings:
    """ESZSL's settings.

    Attributes:
      vectors: name of the split's word vectors that hashtags' vectors are of.
      hashtag_vectors: which of the word vectors' two trainings hashtags have: `in`, `out`, or `sum`, of both
        (`jaxtag.data.hashtags`).
      missing: what becomes of hashtags without a vector: `refuse`, or `last`: not learned from, and ranked last.
      words: without an encoder, of a post, whose vectors are averaged: the `split`'s, or `all` words that have one.
      unit: whether hashtags' vectors are brought to length one.
      gamma, lam: γ and λ; 0 chooses one of `GRID`, or `GRID_IDENTITY`, on pseudo-unseen hashtags.
      identity: β; not 0 only where features are as wide as vectors.
      neg_label: 0, as in the zsl paper, or -1, as in the method's own.
      centre_labels: whether Y has the means of its columns taken away.
      standardise: whether features are brought to mean 0 and deviation 1.
      centre: whether features are brought to length one about their mean over the training posts.
      z_norm: whether every hashtag's scores are brought to mean 0 and variance 1 over the training posts (both:
        `jaxtag.estimators.standard`).
      balance: b, by which hashtags of a few posts weigh more (`jaxtag.estimators.standard`).
      folds: in which the pseudo-unseen are held out; 0 is `n_s / n_u`, rounded, from 2 to 5.
      encoders: whose features the choice goes by (`jaxtag.training.choice`): `shared`, the run's own encoder's; `own`,
        those of one that is trained for each fold, without its hashtags.
    """

    vectors: str = "inductive"
    hashtag_vectors: Literal["in", "out", "sum"] = "in"
    missing: Literal["refuse", "last"] = "refuse"
    words: Literal["split", "all"] = "split"
    unit: bool = False
    gamma: float = 0.0
    lam: float = 0.0
    identity: float = 0.0
    neg_label: int = 0
    centre_labels: bool = False
    standardise: bool = False
    centre: bool = False
    z_norm: bool = False
    balance: float = 0.0
    folds: int = 0
    encoders: Literal["shared", "own"] = "shared"


@dataclass(frozen=True)
class Grid:
    """ESZSL solved for every γ and λ of a grid; a point costs two matrix products.

    Attributes:
      gammas, lams: the values.
      mean: of the features, `[p]`: taken away before the map; zeros where they are not standardised.
      left: Q, its rows divided by the features' deviations where they are standardised `[p, p]`.
      core: Qᵀ X Y Aᵀ P `[p, s]`; or, where hashtags are fewer than s, Qᵀ X Y `[p, n_s]`, which costs less.
      through: what is left of X Y Aᵀ P: the identity `[s, s]`; or Aᵀ P `[n_s, s]`.
      right: Pᵀ `[s, s]`.
      features, vectors: the eigenvalues Λ `[p]` and M `[s]`.
      start: the diagonal of what W is pulled to `[p]`: β, divided by the deviations; zeros where it is zero.
    """

    gammas: tuple[float, ...]
    lams: tuple[float, ...]
    mean: np.ndarray
    left: np.ndarray
    core: np.ndarray
    through: np.ndarray
    right: np.ndarray
    features: np.ndarray
    vectors: np.ndarray
    start: np.ndarray

    def weights(self, gamma: int, lam: int) -> np.ndarray:
        """W `[p, s]` float64 at the positions `gamma` and `lam` of the grid."""
        return self._second(self._first(self.gammas[gamma]), self.lams[lam])

    def points(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Position of γ, position of λ and W, of every point: faster than one by one."""
        for i, gamma in enumerate(self.gammas):
            half = self._first(gamma)
            for j, lam in enumerate(self.lams):
                yield i, j, self._second(half, lam)

    def params(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """What `query` takes, in float32: `mean [p]` and `weights [p, s]`, one of this grid's."""
        return {"mean": self.mean.astype(np.float32), "weights": weights.astype(np.float32)}

    def _first(self, gamma: float) -> np.ndarray:
        return self.left @ (self.core / (self.features + gamma)[:, None])

    def _second(self, half: np.ndarray, lam: float) -> np.ndarray:
        weights = half @ ((self.through / (self.vectors + lam)) @ self.right)
        if self.start.any():
            weights[np.diag_indices(len(weights))] += self.start
        return weights


def solve(
    moments: Moments,
    vectors: np.ndarray,
    gammas: Sequence[float] = GRID,
    lams: Sequence[float] = GRID,
    neg_label: int = 0,
    standardise: bool = False,
    identity: float = 0.0,
    centre_labels: bool = False,
) -> Grid:
    """Fit the map for every γ and λ, from one eigendecomposition of X Xᵀ and one of A Aᵀ.

    Args:
      moments: of the posts of the seen hashtags.
      vectors: of the seen hashtags, by label `[n_s, s]`.
      gammas, lams: regularisation; a single value each for a single fit.
      neg_label: of Y where a pair has not the hashtag: 0, as in the zsl paper, or −1, as in the method's own.
      standardise: use the features less their mean, divided by their standard deviation over the pairs.
      identity: β.
      centre_labels: take the means of its columns over the pairs from Y.

    Raises:
      JaxtagError: a γ or λ is not a positive number.
      ValueError: `neg_label` is another number, there is not a vector for each label, or β is not 0 and features are
        not as wide as vectors.
    """
    check_positive("gamma", gammas)
    check_positive("lambda", lams)
    if neg_label not in (0, -1):
        raise ValueError(f"neg_label {neg_label}")
    vectors = np.asarray(vectors, np.float64)
    if len(vectors) != len(moments.counts):
        raise ValueError(f"{len(vectors)} vectors of {len(moments.counts)} hashtags")
    if identity and vectors.shape[1] != len(moments.shift):
        raise ValueError(f"{len(moments.shift)} features and {vectors.shape[1]} numbers of a vector")
    mean = moments.mean if standardise else np.zeros_like(moments.shift)
    scale = moments.deviation if standardise else np.ones_like(moments.shift)
    used = moments.about(mean)
    features, left = _eigen(used.gram / scale / scale[:, None])
    spread, right = _eigen(vectors.T @ vectors)
    core, through = left.T @ (_with_labels(used, neg_label, centre_labels) / scale).T, vectors @ right
    if identity:
        core = core - identity * features[:, None] * (left.T @ vectors.T)
    if len(vectors) >= vectors.shape[1]:
        core, through = core @ through, np.eye(vectors.shape[1])
    grid = (mean, left / scale[:, None], core, through, right.T, features, spread, identity / scale)
    return Grid(tuple(gammas), tuple(lams), *grid)


def _with_labels(moments: Moments, neg_label: int, centre: bool) -> np.ndarray:
    """(X Y)ᵀ `[n_s, p]`."""
    total, share = moments.by_hashtag.sum(0), moments.counts[:, None] / moments.pairs
    sums, means = moments.by_hashtag, share
    if neg_label == -1:
        sums, means = 2 * sums - total, 2 * share - 1
    return sums - means * total if centre else sums


def check_positive(name: str, values: Sequence[float]) -> None:
    """Refuse regularisation that is not a positive number.

    Raises:
      JaxtagError: naming the first such value.
    """
    for value in values:
        if not (np.isfinite(value) and value > 0):
            raise JaxtagError(f"{name} is {value:g}; it must be a positive number", "10^-3 to 10^3 are usual")
    if not len(values):
        raise JaxtagError(f"the grid has no value of {name}", "give one or more positive numbers")


def query(params: dict[str, jax.Array], features: jax.Array) -> jax.Array:
    """Posts' features `[B, p]` to xᵀ W `[B, s]`."""
    return product(features.astype(jnp.float32) - params["mean"], params["weights"])


def table(vectors: jax.Array) -> jax.Array:
    """Candidates' vectors `[C, s]`, as they are."""
    return vectors.astype(jnp.float32)


def _eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of a matrix that is symmetric, and not negative, but for rounding."""
    values, rows = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.maximum(values, 0), rows
