"""DEM's branch on the features of an encoder that learns no more: from the means of each hashtag's posts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxtag.errors import JaxtagError
from jaxtag.estimators import dem, standard
from jaxtag.estimators.moments import Moments


def branch(settings: dem.Settings, moments: Moments, vectors: np.ndarray, decay: float, seed: int) -> dem.Params:
    """g at the λ `decay`: `kernel` and `bias`, float32.

    Args:
      settings: DEM's.
      moments: of the features of the posts of the hashtags trained on.
      vectors: of those hashtags, as the settings want them `[n, s]`.
      decay: λ.
      seed: of the initial values of the form `relu`.

    Raises:
      JaxtagError: fewer than two hashtags have posts, or what is found is not finite.
    """
    real = moments.counts > 0
    if real.sum() < 2:
        raise JaxtagError("fewer than two hashtags have posts to fit DEM to", "choose hashtags that have posts")
    means, vectors, counts = moments.means[real], vectors[real], moments.counts[real]
    weight = counts * standard.balance(counts, settings.balance)
    if settings.form == "linear":
        arrays = dem.fit_linear(means, moments.mean, vectors, weight, decay, settings.identity)
        found = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    else:
        sums = (jnp.asarray(x, jnp.float32) for x in (means, vectors, weight))
        numbers = (np.float32(decay), np.float32(settings.learning_rate), np.int32(settings.steps))
        found = _fit_branch(jax.random.key(seed, impl="threefry2x32"), *sums, *numbers)
    if not all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found)):
        raise JaxtagError(
            f"DEM's fit is not finite at model.decay {decay:g}", "lower model.learning_rate or model.decay"
        )
    return found


def fit_branch(
    key: jax.Array,
    means: jax.Array,
    vectors: jax.Array,
    weight: jax.Array,
    decay: jax.Array,
    rate: jax.Array,
    steps: jax.Array,
) -> dem.Params:
    """The form `relu`, by Adam whose learning rate goes down to 0 in a line.

    Args:
      key: of the initial values.
      means: of the features of each hashtag's posts `[n, p]`.
      vectors: of the hashtags `[n, s]`.
      weight: of the hashtags `[n]`: the number of its posts, or as they are balanced.
      decay: λ.
      rate: the first learning rate.
      steps: how many.
    """
    rule = optax.scale_by_adam()
    params = dem.init(key, vectors.shape[1], means.shape[1])

    def body(i: jax.Array, carry: tuple) -> tuple:
        params, state = carry
        updates, state = rule.update(jax.grad(dem.loss)(params, means, vectors, weight, decay), state)
        now = -rate * (1 - i / steps)
        return jax.tree.map(lambda p, u: p + now * u, params, updates), state

    return lax.fori_loop(0, steps, body, (params, rule.init(params)))[0]


_fit_branch = jax.jit(fit_branch)
