"""Systems that say a post's hashtags one after the other: trained on the author's own, they rank by decoding.

Their modules give logits `[B, S, L]` of each step, one more where they have an end token, perhaps with a penalty `[B]`
beside them; and `start` and `step`, of which `jaxtag.layers.decoding` makes lists.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from jaxtag.errors import JaxtagError
from jaxtag.layers import decoding
from jaxtag.systems import System

ORDER = 1 << 30  # apart from the draws of dropout, which count from 0


@dataclass(frozen=True)
class Decoded(System):
    """A system of the output `decode`.

    Attributes:
      shuffled: whether the hashtags of a post are learned in another order each time it is seen.
    """

    shuffled: bool = False

    def loss(
        self, params: Any, collections: Any, batch: dict[str, Any], numbers: dict[str, Any], keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Any]:
        """As of `System`, the hashtags perhaps in another order, and what the module gives beside its logits added."""
        if self.shuffled and keys is not None:
            batch = {**batch, "hashtags": shuffle(batch["hashtags"], keys)}
        found, collections = self.module.apply(
            {"params": params, **collections}, batch, numbers["dropout"], keys, mutable=list(collections)
        )
        logits, penalty = found if isinstance(found, tuple) else (found, 0.0)
        loss, weight = self.objective(logits, batch["hashtags"], numbers["allowed"], numbers["smoothing"], keys)
        return loss + weight * penalty, weight, collections

    def decode(
        self, params: Any, collections: Any, batch: dict[str, Any], k: int, allowed: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The k hashtags of each post, in the order in which they are said, or by probability as its first one.

        Args:
          params, collections: the variables.
          batch: posts, `[B, …]`.
          k: how many at most.
          allowed: among which, `[L]` bool.

        Returns:
          Labels `[B, k]` int32, −1 behind the end of a list, and the log-probability of each given those before it, or
          as the first one, among the candidates `[B, k]` float32, −inf behind the end.
        """
        s, variables = self.module.settings, {"params": params, **collections}

        def step(carry: Any, fixed: Any, previous: jax.Array) -> tuple[Any, jax.Array]:
            return self.module.apply(variables, carry, fixed, previous, method="step")

        start = self.module.apply(variables, batch, method="start")
        if s.lists == "first":
            return decoding.first(step, start, allowed, k)
        # What may be said again is said to the end, and the first k that differ are taken.
        labels, logs = decoding.decode(step, start, allowed, max(k, s.most) if s.repeats else k, s.beam, s.repeats)
        return decoding.distinct(labels, logs, k) if s.repeats else (labels, logs)

    def query(self, params: Any, collections: Any, batch: dict[str, Any]) -> NoReturn:
        """There is none."""
        self._refuse()

    def table(self, params: Any, collections: Any, labels: jax.Array) -> NoReturn:
        """There is none."""
        self._refuse()

    def scores(self, params: Any, collections: Any, batch: dict[str, Any]) -> NoReturn:
        """There are none."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise JaxtagError(
            f"{self.entry.name} says hashtags one after the other and has no score of each",
            "take a system that scores every hashtag, such as zsl/rnn",
        )


def shuffle(labels: jax.Array, keys: jax.Array) -> jax.Array:
    """`labels [B, H]`, −1 padded, each post's in an order drawn by its key of `keys [B]`; padding stays behind."""
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, jnp.uint32(ORDER))
    # One draw a place, so that padding moves none of those before it.
    at = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, jnp.arange(labels.shape[1]))
    drawn = jnp.where(labels < 0, jnp.inf, jax.vmap(jax.vmap(jax.random.uniform))(at))
    return jnp.take_along_axis(labels, jnp.argsort(drawn, axis=1, stable=True), 1)
