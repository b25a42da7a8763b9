"""DEM: hashtags' vectors are carried into the space of posts' features, and the nearest is best (SYSTEMS 1.11).

    g(y) = ReLU(W s(y) + b)
    loss = mean over posts and dimensions of (φ(x) − g(y))²  +  λ ½ (‖W‖² + ‖b‖²)

Where φ is fixed, as in the mode `pretrain_frozen`, the loss depends on the posts only through the mean φ̄_y of each
hashtag's posts and their number n_y: Σ_i ‖φ_i − g(y_i)‖² = Σ_y n_y ‖φ̄_y − g(y)‖² + what no parameter moves. So W and b
can be fitted on n_s means weighted by n_y instead of on every post, to the same optimum; those means are
`Moments.means` of `jaxtag.estimators.moments`. Without the ReLU that optimum would be weighted ridge regression, in
closed form; with it there is none.
"""

import jax
import jax.numpy as jnp

from jaxtag.estimators.vectors import product

Params = dict[str, jax.Array]


def init(key: jax.Array, vectors: int, features: int) -> Params:
    """W, uniform after Glorot and stored as `kernel [vectors, features]`, and `bias [features]`, zeros."""
    kernel = jax.nn.initializers.glorot_uniform()(key, (vectors, features), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(features, jnp.float32)}


def branch(params: Params, vectors: jax.Array) -> jax.Array:
    """g: hashtags' vectors `[n, d]` to the space of features `[n, p]`, none of it negative."""
    return jax.nn.relu(product(vectors, params["kernel"]) + params["bias"])


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
    """Candidates' vectors `[C, d]` to `[2g, −‖g‖²]`, `[C, p + 1]`.

    The products with `query` are −‖φ − g‖² + ‖φ‖²: ranked by them, a post's nearest candidate is first, because ‖φ‖² is
    the same for all of them.
    """
    places = branch(params, vectors)
    return jnp.concatenate([2 * places, -jnp.square(places).sum(1, keepdims=True)], 1)
