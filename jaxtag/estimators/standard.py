"""What a method may do to features before it, and to scores behind it, so that no hashtag is near every post.

Centring: z = unit(x − μ), μ the mean of x over the training posts: what all posts share says nothing of any of them
(after Suzuki et al. 2013).

Standard scores: a hashtag that scores zᵀu is ranked by (zᵀu − mᵀu) / √(uᵀΣu) instead, m and Σ the mean and covariance
of z over the training posts: over these every hashtag's scores have mean 0 and variance 1, and one that is near every
post is first for no more of them than others (after Dinu et al. 2015). Nothing of the posts that are ranked is used.

Balance: a (post, hashtag) pair weighs (n̄ / n_y)^b, n_y the pairs of its hashtag and n̄ their mean: 0 weighs all posts
the same, 1 all hashtags, so that those of a few posts count.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.estimators.moments import Moments
from jaxtag.estimators.vectors import product, unit

LEAST = 1e-6  # deviation of a score, as a part of the largest there can be, below which it is 0: rounding


def centred(features: jax.Array, mean: jax.Array | None) -> jax.Array:
    """Features `[B, p]` less `mean [p]`, of length one; as they are where there is none."""
    return features if mean is None else unit(features.astype(jnp.float32) - mean)


def scoring(moments: Moments) -> dict[str, np.ndarray]:
    """What standard scores need of the training posts: `z_mean`, m `[p]`, and `z_spread [p, p]`, R with RᵀR = Σ."""
    values, rows = np.linalg.eigh(moments.covariance)
    spread = np.sqrt(np.maximum(values, 0))[:, None] * rows.T
    return {"z_mean": moments.mean.astype(np.float32), "z_spread": spread.astype(np.float32)}


def query(fitted: dict[str, Any], features: jax.Array) -> jax.Array:
    """Features `[B, p]` to z − m."""
    return features.astype(jnp.float32) - fitted["z_mean"]


def table(fitted: dict[str, Any], rows: jax.Array) -> jax.Array:
    """Hashtags' u `[C, p]` to u / √(uᵀΣu); zeros where all training posts score the same."""
    rows, spread = unit(rows), fitted["z_spread"]
    deviation = jnp.linalg.norm(product(rows, spread.T), axis=1, keepdims=True)
    some = deviation > LEAST * jnp.linalg.norm(spread, axis=1).max()
    return jnp.where(some, rows / jnp.where(some, deviation, 1), 0)


def balance(counts: np.ndarray, power: float) -> np.ndarray:
    """Weights `[n]` of hashtags with `counts` pairs `[n]`: (n̄ / n_y)^`power`; 0 for those without any."""
    some = counts > 0
    return np.where(some, (counts[some].mean() / np.where(some, counts, 1)) ** power, 0)
