"""Objectives: a loss and a weight per post. The step sums both and divides once, by the global weight.

Because nothing is averaged on the way, splitting a batch over devices, hosts or accumulation steps
changes nothing but the order of additions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxtag.layers.comparing import Compared
from jaxtag.layers.decoding import with_end
from jaxtag.layers.packing import unpack
from jaxtag.layers.sequences import Packed, targets

DRAWN = 1 << 31  # apart from the draws of dropout, which count from 0
Loss = Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Objective:
    """What training minimises.

    Attributes:
      loss: of logits, labels, allowed hashtags and smoothing to a loss and a weight per post.
      couples: a post's loss depends on the other posts of its batch, so that the batch cannot be divided.
      independent: each hashtag has a probability of its own, σ of its logit, and they do not sum to 1.
      draws: each time a post is trained on, one of its hashtags is drawn to stand for all.
    """

    loss: Loss
    couples: bool = False
    independent: bool = False
    draws: bool = False

    def __call__(
        self,
        logits: Any,
        labels: jax.Array,
        allowed: jax.Array,
        smoothing: jax.Array,
        keys: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Loss `[B]` and weight `[B]`; keys `[B]`, in training, are for what is drawn."""
        if self.draws and keys is not None:
            labels = one_of(labels, allowed, keys)
        return self.loss(logits, labels, allowed, smoothing)


def log_probabilities(logits: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-softmax of `logits [B, L]` over the hashtags that `allowed [L]` holds; −inf elsewhere."""
    return jax.nn.log_softmax(jnp.where(allowed, logits, -jnp.inf), axis=-1)


def pairs(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy over (post, hashtag) pairs: −Σ_{l∈G} log p_l, weight |G| (SYSTEMS 6, `ce_multi`).

    Args:
      logits: `[B, L]`.
      labels: `[B, H]` int32, −1 padded; those that are not allowed do not count.
      allowed: `[L]` bool.
      smoothing: share of each pair's target spread evenly over the allowed hashtags.

    Returns:
      Loss `[B]` and weight `[B]`, float32.
    """
    logp = log_probabilities(logits.astype(jnp.float32), allowed)
    known = jnp.maximum(labels, 0)
    real = (labels >= 0) & allowed[known]
    gold = jnp.where(real, jnp.take_along_axis(logp, known, axis=1), 0).sum(axis=1)
    weight = real.sum(axis=1).astype(jnp.float32)
    even = jnp.where(allowed, logp, 0).sum(axis=1) / allowed.sum()
    return -(1 - smoothing) * gold - smoothing * weight * even, weight


def single(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Categorical cross-entropy of each post's first hashtag, weight 1 (SYSTEMS 1.3); arguments as `pairs`."""
    return pairs(logits, labels[:, :1], allowed, smoothing)


def evenly(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The mean of `pairs` over a post's own hashtags, weight 1: what a hashtag drawn among them gives on average."""
    loss, weight = pairs(logits, labels, allowed, smoothing)
    return loss / jnp.maximum(weight, 1), jnp.minimum(weight, 1)


def one_of(labels: jax.Array, allowed: jax.Array, keys: jax.Array) -> jax.Array:
    """One of each post's allowed labels, drawn evenly by its key of `keys [B]`: `[B, 1]`, −1 where it has none."""
    real = (labels >= 0) & allowed[jnp.maximum(labels, 0)]
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, jnp.uint32(DRAWN))
    share = jax.vmap(jax.random.uniform)(keys)[:, None]
    count = real.sum(axis=1, keepdims=True)
    wanted = jnp.minimum((share * count).astype(jnp.int32), count - 1)
    chosen = real & (jnp.cumsum(real, axis=1) - 1 == wanted)
    return jnp.where(chosen, labels, -1).max(axis=1, keepdims=True)


def sigmoid(
    logits: jax.Array, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Binary cross-entropy of every allowed hashtag, summed: −Σ_l (y_l log σ_l + (1 − y_l) log(1 − σ_l)), weight 1.

    LXMERT's fine-tuning sums over hashtags (SYSTEMS 3.3); Keras takes the mean, which Adam does not tell from the sum.
    Arguments as `pairs`; with smoothing s the target y is (1 − s) y + s / 2. A post without an allowed hashtag has
    loss and weight 0.
    """
    logits = logits.astype(jnp.float32)
    known = jnp.maximum(labels, 0)
    real = (labels >= 0) & allowed[known]
    posts = jnp.arange(len(labels))[:, None]
    gold = jnp.zeros(logits.shape, bool).at[posts, jnp.where(real, known, logits.shape[1])].set(True, mode="drop")
    target = (1 - smoothing) * gold + smoothing / 2
    each = jax.nn.softplus(logits) - target * logits
    weight = real.any(axis=1).astype(jnp.float32)
    return weight * jnp.where(allowed, each, 0).sum(axis=1), weight


def sequence(
    logits: jax.Array | Packed, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of a post's hashtags as a sequence: −Σ_t log p(H_t | post, H_1 … H_{t−1}), weight 1 (SYSTEMS 2.3).

    Args:
      logits: of each step `[B, S, L]`, or with an end token, which is then said last, `[B, S, L + 1]`; or of the
        steps alone that say something.
      labels: `[B, H]` int32, −1 padded on the right; those past the last step, or not allowed, do not count.
      allowed: `[L]` bool.
      smoothing: share of each step's target spread evenly over what is allowed.

    Returns:
      Loss `[B]` and weight `[B]`, float32; both 0 of a post without hashtags.
    """
    logits, packed = (logits.rows, logits.steps) if isinstance(logits, Packed) else (logits, None)
    steps, width = (logits if packed is None else packed.rows).shape[1], logits.shape[-1]
    wanted = targets(labels, steps, len(allowed) if width > len(allowed) else None)
    if packed is not None:
        wanted = wanted.reshape(-1).at[packed.places].get(mode="fill", fill_value=-1)
    choice, known = with_end(allowed, width), jnp.maximum(wanted, 0)
    logits = jnp.where(choice, logits.astype(jnp.float32), -jnp.inf)
    total = jax.nn.logsumexp(logits, axis=-1)
    gold = jnp.take_along_axis(logits, known[..., None], axis=-1)[..., 0] - total
    even = jnp.where(choice, logits, 0).sum(axis=-1) / choice.sum() - total
    real = (wanted >= 0) & choice[known]
    each = jnp.where(real, -(1 - smoothing) * gold - smoothing * even, 0)
    each = each if packed is None else unpack(each[:, None], packed)[..., 0]
    weight = (labels >= 0).any(axis=1).astype(jnp.float32)
    return each.sum(axis=1), weight


def hinge(found: Compared, labels: jax.Array, allowed: jax.Array, smoothing: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each pair of views a, b, the mean over pairs of what is violated, by row and by column (SYSTEMS 3.9):

    max_j [margin + a_i·b_j − a_i·b_i]₊ + max_j [margin + a_j·b_i − a_i·b_i]₊, weight 1.

    The j are the other posts of the batch that have the view; with `found.others`, but those with the very same
    hashtags, whose view of them is the same. So a post's loss is of its batch: it grows with it, and a batch cannot be
    divided. Without `found.hardest` sums stand for the maxima. A pair of which a post lacks a view adds nothing.

    Args:
      found: the pairs.
      labels: `[B, H]` int32, −1 padded.
      allowed, smoothing: have no part.

    Returns:
      Loss `[B]` and weight `[B]`, float32.
    """
    ordered = jnp.sort(labels, axis=1)
    apart = (ordered[:, None] != ordered[None]).any(2) if found.others else ~jnp.eye(len(labels), dtype=bool)
    scores = jnp.einsum("pbd,pcd->pbc", found.left, found.right)
    own = (found.left * found.right).sum(-1)
    both = found.left_real & found.right_real

    def violated(other: jax.Array, real: jax.Array, counts: jax.Array, axis: int) -> jax.Array:
        each = jnp.where(real & counts & apart, jnp.maximum(found.margin + scores - other, 0), 0)
        return each.max(axis) if found.hardest else each.sum(axis)

    by_row = violated(own[:, :, None], both[:, :, None], found.right_real[:, None], 2)
    by_column = violated(own[:, None], both[:, None], found.left_real[:, :, None], 1)
    return (by_row + by_column).mean(0), both.any(0).astype(jnp.float32)


OBJECTIVES: dict[str, Objective] = {
    "pairs": Objective(pairs),
    "single": Objective(single),
    "random_one": Objective(evenly, draws=True),
    "sigmoid": Objective(sigmoid, independent=True),
    "sequence": Objective(sequence),
    "hinge": Objective(hinge, couples=True),
}
