"""What networks that say one hashtag after the other share: hashtags as inputs, their scores, steps and targets.

Step 0 is told of the post, step t of its t-th hashtag; what step t says is the (t + 1)-th hashtag or, of a network with
an end token, the end.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.packing import Packing, by_word, leaves_padding_out, pack, packing_or_none
from jaxtag.layers.parameters import affine, glorot, zeros


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Packed:
    """Logits of the steps at which a post says something, without those of other steps.

    Attributes:
      rows: logits `[N, …]` of what is said, in the order of `steps`.
      steps: where each step's row is.
    """

    rows: jax.Array
    steps: Packing


def told(labels: jax.Array, most: int, end: bool) -> jax.Array:
    """The hashtags that steps 1, 2, … are told, of `labels [B, H]`, −1 padded: `[B, steps − 1]`.

    The last of `most` is told only for the end to be said after it.
    """
    steps = min(labels.shape[1], most)
    return labels[:, : steps if end else steps - 1]


def targets(labels: jax.Array, steps: int, end: int | None = None) -> jax.Array:
    """What each of `steps` is to say, of `labels [B, H]`, −1 padded; −1 where nothing is: `[B, steps]`.

    Args:
      labels: of the posts.
      steps: of the network.
      end: its end token, said after a post's last hashtag where there is a step for it, and no hashtag is said at the
        last step; None where it has none.
    """
    known = labels[:, : steps if end is None else steps - 1]
    known = jnp.pad(known, ((0, 0), (0, steps - known.shape[1])), constant_values=-1)
    if end is None:
        return known
    count = (labels >= 0).sum(axis=1, keepdims=True)
    return jnp.where((jnp.arange(steps) == count) & (count > 0), end, known)


def computed(labels: jax.Array, steps: int, end: int | None = None) -> jax.Array:
    """Which of a post's steps are computed `[B, steps]` bool: all; those that say something, where padding is left out.

    Arguments as `targets`.
    """
    says = targets(labels, steps, end) >= 0
    return says if leaves_padding_out() else jnp.ones_like(says)


class HashtagTable(nn.Module):
    """Vectors of hashtags as inputs.

    Attributes:
      hashtags: rows.
      width: of a vector.
      start: whether −1, which comes before the first hashtag, has a vector of its own; without one it reads as zeros.
    """

    hashtags: int
    width: int
    start: bool = False

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        """Labels `[...]` to vectors `[..., width]`."""
        table = glorot(self, "table", (self.hashtags, self.width), ("hashtags", "embed"))
        rows = jnp.take(table, jnp.maximum(labels, 0), axis=0)
        start = glorot(self, "start", (1, self.width), ("scalar", "embed")) if self.start else 0
        return jnp.where(labels[..., None] < 0, start, rows)


class Scores(nn.Module):
    """What a step says: logits over hashtags and, last, of an end token where there is one.

    Attributes:
      hashtags: columns of the head.
      width: of a step's state.
      end: whether there is an end token.
    """

    hashtags: int
    width: int
    end: bool = False

    def setup(self) -> None:
        """Declare the head, and the end's own column."""
        self.head = SoftmaxHead(self.hashtags, self.width)
        if self.end:
            self.over = glorot(self, "end_kernel", (self.width, 1), ("embed", "scalar"))
            self.over_bias = zeros(self, "end_bias", 1, "scalar")

    def __call__(self, states: jax.Array) -> jax.Array:
        """States `[..., width]` to logits `[..., hashtags]`, or `[..., hashtags + 1]`."""
        return affine(self._columns(), states)

    def of_steps(self, states: jax.Array, steps: jax.Array) -> jax.Array | Packed:
        """States `[B, S, width]` to logits `[B, S, …]`; where padding is left out, of the `steps` `[B, S]` that are."""
        packed = packing_or_none(steps)
        if packed is None:
            return self(states)
        return Packed(by_word(affine, self._columns(), pack(states, packed), packed), packed)

    def _columns(self) -> tuple[jax.Array, jax.Array]:
        """The head's kernel and bias with the end's: a product with both together copies no logits."""
        kernel, bias = self.head.kernel, self.head.bias
        assert bias is not None
        if not self.end:
            return kernel, bias
        return jnp.concatenate([kernel, self.over], 1), jnp.concatenate([bias, self.over_bias])
