"""What every zero-shot method shares: rows of length one, and hashtags that have no vector."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError

NAMED = 3  # hashtags without a vector that a message names


def unit(rows: jax.Array) -> jax.Array:
    """`rows [..., d]` divided by their lengths, float32; a row of zeros stays as it is."""
    rows = rows.astype(jnp.float32)
    # By the largest number first: the squares of large and of tiny ones have no float32.
    largest = jnp.abs(rows).max(-1, keepdims=True)
    rows = rows / jnp.where(largest > 0, largest, 1)
    length = jnp.sqrt((rows * rows).sum(-1, keepdims=True))
    return rows / jnp.where(length > 0, length, 1)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """`left [n, d] @ right [d, m]` in float32, at the highest precision that the device has."""
    return jnp.matmul(left.astype(jnp.float32), right.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)


def without_vector(vectors: np.ndarray) -> np.ndarray:
    """Positions of the rows of `vectors [n, d]` that are none: all zeros, or not finite."""
    vectors = np.asarray(vectors)
    return np.flatnonzero(~(np.isfinite(vectors).all(1) & vectors.any(1)))


def check_vectors(vectors: np.ndarray, names: Sequence[str], option: str) -> None:
    """Refuse hashtags without a vector: no zero-shot method can rank one, or learn from it.

    Args:
      vectors: `[n, d]`, zeros for a hashtag that has none.
      names: of the hashtags, without '#'.
      option: what the user adds to have them left out.

    Raises:
      JaxtagError: some have none; it says how many and names up to three.
    """
    missing = without_vector(vectors)
    if len(missing):
        some = ", ".join(f"#{names[i]}" for i in missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
        have = "has" if len(missing) == 1 else "have"
        raise JaxtagError(
            f"{len(missing)} of {len(names)} hashtags {have} no vector: {some}",
            f"leave such hashtags out with {option}, or make vectors that cover them with jaxtag-prep vectors",
        )
