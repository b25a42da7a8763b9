"""ESZSL: a bilinear map from features to hashtags' vectors, in closed form (SYSTEMS 1.10).

    W = (X Xᵀ + γ I)⁻¹ X Y Aᵀ (A Aᵀ + λ I)⁻¹          minimises
    ‖XᵀWA − Y‖² + γ ‖WA‖² + λ ‖XᵀW‖² + γλ ‖W‖²

X `[p, m]` has the features as columns, Y `[m, n_s]` a one at each post's hashtag and `neg_label` elsewhere, A
`[s, n_s]` the seen hashtags' vectors as columns. A column of X and row of Y is a (post, hashtag) pair, as for the
objective `pairs`: a post with g hashtags counts g times, each with the one. The posts enter by sums
(`jaxtag.estimators.moments`); with X Xᵀ = Q Λ Qᵀ and A Aᵀ = P M Pᵀ every point of a grid is

    W = Q [ (Qᵀ X Y Aᵀ P)_{ij} / ((Λ_i + γ) (M_j + λ)) ] Pᵀ

in float64. The sums are good to about 1e-7 of the largest eigenvalue of X Xᵀ: below it, γ decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError
from jaxtag.estimators.moments import Moments
from jaxtag.estimators.vectors import product

GRID = tuple(10.0**power for power in range(-3, 4))  # of γ and of λ


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
        return half @ ((self.through / (self.vectors + lam)) @ self.right)


def solve(
    moments: Moments,
    vectors: np.ndarray,
    gammas: Sequence[float] = GRID,
    lams: Sequence[float] = GRID,
    neg_label: int = 0,
    standardise: bool = False,
) -> Grid:
    """Fit the map for every γ and λ, from one eigendecomposition of X Xᵀ and one of A Aᵀ.

    Args:
      moments: of the posts of the seen hashtags.
      vectors: of the seen hashtags, by label `[n_s, s]`.
      gammas, lams: regularisation; a single value each for a single fit.
      neg_label: of Y where a pair has not the hashtag: 0, as in the zsl paper, or −1, as in the method's own.
      standardise: use the features less their mean, divided by their standard deviation over the pairs.

    Raises:
      JaxtagError: a γ or λ is not a positive number.
      ValueError: `neg_label` is another number, or there is not a vector for each label.
    """
    check_positive("gamma", gammas)
    check_positive("lambda", lams)
    if neg_label not in (0, -1):
        raise ValueError(f"neg_label {neg_label}")
    vectors = np.asarray(vectors, np.float64)
    if len(vectors) != len(moments.counts):
        raise ValueError(f"{len(vectors)} vectors of {len(moments.counts)} hashtags")
    mean = moments.mean if standardise else np.zeros_like(moments.shift)
    scale = moments.deviation if standardise else np.ones_like(moments.shift)
    used = moments.about(mean)
    sums = used.by_hashtag if neg_label == 0 else 2 * used.by_hashtag - used.by_hashtag.sum(0)
    features, left = _eigen(used.gram / scale / scale[:, None])
    spread, right = _eigen(vectors.T @ vectors)
    core, through = left.T @ (sums / scale).T, vectors @ right
    if len(vectors) >= vectors.shape[1]:
        core, through = core @ through, np.eye(vectors.shape[1])
    return Grid(tuple(gammas), tuple(lams), mean, left / scale[:, None], core, through, right.T, features, spread)


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
