"""DEM: hashtags' vectors are carried into the space of posts' features, and the nearest is best (SYSTEMS 1.11).

    g(y) = ReLU(W s(y) + b)
    loss = mean over posts and dimensions of (φ(x) − g(y))²  +  λ ½ (‖W‖² + ‖b‖²)

Where φ is fixed, as in the mode `pretrain_frozen`, the loss depends on the posts only through the mean φ̄_y of each
hashtag's posts and their number n_y: Σ_i ‖φ_i − g(y_i)‖² = Σ_y n_y ‖φ̄_y − g(y)‖² + what no parameter moves. So W and b
can be fitted on n_s means weighted by n_y instead of on every post, to the same optimum; those means are
`Moments.means` of `jaxtag.estimators.moments`. With the ReLU there is no closed form. Without it there is, the `linear`
form, which may also start from β times the identity where features and hashtags' vectors are of one space, as mean word
vectors are: the ReLU cannot reach what they have below zero.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.estimators.vectors import product


@dataclass(frozen=True)
class Settings:
    """DEM's settings.

    Attributes:
      vectors: name of the split's word vectors that hashtags' vectors are of.
      hashtag_vectors: which of the word vectors' two trainings hashtags have: `in`, `out`, or `sum`, of both
        (`jaxtag.data.hashtags`).
      missing: what becomes of hashtags without a vector: `refuse`, or `last`: not learned from, and ranked last.
      words: without an encoder, of a post, whose vectors are averaged: the `split`'s, or `all` words that have one.
      mode: `pretrain_frozen`: the encoder is trained to classify, and g is fitted to its features; `finetune`: after
        it, both learn on, by the squared error and the classification together; `joint_mse`: both by the squared error
        alone, from the start. The last two learn as `training` says; for `finetune`, a learning rate of a tenth of the
        encoder's is meant.
      decay: λ; -1, in the mode `pretrain_frozen`, chooses it on pseudo-unseen hashtags.
      learning_rate, steps: of Adam in the mode `pretrain_frozen`, whose rate goes down to 0 in a line.
      form: of g: `relu`, the paper's, or `linear` (`fit_linear`). This and what follows, to `unit`, only in the mode
        `pretrain_frozen`.
      identity: β of the linear form; not 0 only where features are as wide as vectors.
      distance: by which posts are near: `euclid`, or `cosine`, in the linear form about its b.
      centre: whether features are brought to length one about their mean over the training posts.
      z_norm: whether every hashtag's scores are brought to mean 0 and variance 1 over the training posts (both:
        `jaxtag.estimators.standard`).
      balance: b, by which hashtags of a few posts weigh more (`jaxtag.estimators.standard`).
      unit: whether hashtags' vectors are brought to length one.
      folds: in which the pseudo-unseen are held out; 0 is `n_s / n_u`, rounded, from 2 to 5.
      encoders: whose features the choice goes by (`jaxtag.training.choice`): `shared`, the run's own encoder's; `own`,
        those of one that is trained for each fold, without its hashtags.
    """

    vectors: str = "inductive"
    hashtag_vectors: Literal["in", "out", "sum"] = "in"
    missing: Literal["refuse", "last"] = "refuse"
    words: Literal["split", "all"] = "split"
    mode: Literal["pretrain_frozen", "finetune", "joint_mse"] = "pretrain_frozen"
    decay: float = 1e-3
    learning_rate: float = 1e-3
    steps: int = 3000
    form: Literal["relu", "linear"] = "relu"
    identity: float = 0.0
    distance: Literal["euclid", "cosine"] = "euclid"
    centre: bool = False
    z_norm: bool = False
    balance: float = 0.0
    unit: bool = False
    folds: int = 0
    encoders: Literal["shared", "own"] = "shared"


Params = dict[str, jax.Array]


def init(key: jax.Array, vectors: int, features: int) -> Params:
    """W, uniform after Glorot and stored as `kernel [vectors, features]`, and `bias [features]`, zeros."""
    kernel = jax.nn.initializers.glorot_uniform()(key, (vectors, features), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(features, jnp.float32)}


def branch(params: Params, vectors: jax.Array) -> jax.Array:
    """g: hashtags' vectors `[n, d]` to the space of features `[n, p]`, none of it negative."""
    return jax.nn.relu(product(vectors, params["kernel"]) + params["bias"])


def fit_linear(
    means: np.ndarray, mean: np.ndarray, vectors: np.ndarray, weight: np.ndarray, decay: float, identity: float = 0.0
) -> dict[str, np.ndarray]:
    """The linear form g(y) = W s(y) + b with b the mean of all posts, in float64.

    W minimises Σ_y w_y ‖φ̄_y − g(y)‖² / p + λ ½ ‖W − βcI‖², which is the loss above, about βcI; c is the multiple of the
    identity that is best alone, Σ_y w_y s_yᵀ(φ̄_y − b) / Σ_y w_y ‖s_y‖². Where λ is 0, the W nearest to βcI is taken.

    Args:
      means: φ̄ of each hashtag's posts `[n, p]`.
      mean: b `[p]`.
      vectors: s of the hashtags `[n, d]`.
      weight: w of the hashtags `[n]`, not all zero; they are divided by their sum.
      decay: λ.
      identity: β; not 0 only where p = d.

    Returns:
      `kernel [d, p]` and `bias [p]`, as of `init`.
    """
    weight = np.asarray(weight, np.float64) / np.sum(weight)
    vectors, rest = np.asarray(vectors, np.float64), np.asarray(means, np.float64) - mean
    weighted, start = vectors * weight[:, None], np.zeros((vectors.shape[1], rest.shape[1]))
    if identity:
        start = identity * np.sum(weighted * rest) / np.sum(weighted * vectors) * np.eye(len(start))
    ridge = decay * rest.shape[1] / 2
    within, wanted = weighted.T @ vectors + ridge * np.eye(len(start)), weighted.T @ (rest - vectors @ start)
    kernel = start + (np.linalg.solve(within, wanted) if decay else np.linalg.pinv(within, hermitian=True) @ wanted)
    return {"kernel": kernel, "bias": np.asarray(mean, np.float64)}


def linear(params: Params, vectors: jax.Array) -> jax.Array:
    """g of the linear form less its b, W s `[n, p]`: a direction from the mean of all posts."""
    return product(vectors, params["kernel"])


def distance(params: Params, features: jax.Array, vectors: jax.Array) -> jax.Array:
    """The mean over dimensions of the squared error, `[B]`: the loss of a post and one of its hashtags.

    Args:
      params: from `init`.
      features: φ, of the posts `[B, p]`.
      vectors: of their hashtags `[B, d]`.
    """
    return jnp.square(features.astype(jnp.float32) - branch(params, vectors)).mean(1)


def penalty(params: Params, decay: jax.Array | float) -> jax.Array:
    """λ ½ (‖W‖² + ‖b‖²), with `decay` λ."""
    return decay * 0.5 * (jnp.square(params["kernel"]).sum() + jnp.square(params["bias"]).sum())


def loss(
    params: Params, features: jax.Array, vectors: jax.Array, weight: jax.Array, decay: jax.Array | float
) -> jax.Array:
    """The loss of a batch: `distance`, averaged with `weight [B]` that is not all zero, and `penalty`."""
    return (weight * distance(params, features, vectors)).sum() / weight.sum() + penalty(params, decay)


def query(features: jax.Array) -> jax.Array:
    """Posts' features `[B, p]` to `[φ, 1]`, `[B, p + 1]`."""
    features = features.astype(jnp.float32)
    return jnp.concatenate([features, jnp.ones((len(features), 1))], 1)


def table(params: Params, vectors: jax.Array) -> jax.Array:
    """Candidates' vectors `[C, d]` to the rows `[C, p + 1]` of `near`."""
    return near(branch(params, vectors))


def near(places: jax.Array) -> jax.Array:
    """Candidates' g `[C, p]` to `[2g, −‖g‖²]`, `[C, p + 1]`.

    The products with `query` are −‖φ − g‖² + ‖φ‖²: ranked by them, a post's nearest candidate is first, because ‖φ‖² is
    the same for all of them.
    """
    return jnp.concatenate([2 * places, -jnp.square(places).sum(1, keepdims=True)], 1)
