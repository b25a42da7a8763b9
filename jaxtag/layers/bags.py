"""Texts as bags of words: the words of an author's earlier posts side by side, and sums of rows of word tables.

Earlier posts are short: of the places that a batch `[B, M, N]` has for their words, most are padding, for which a row
of each table would be gathered. `side_by_side` lays the real words of a post's M earlier ones next to each other, and
where `packed_words` says so those of several posts, long histories with short ones, in bins that are nearly full.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.layers.parameters import normal

POSTS_A_BIN = 4
_packed: ContextVar[int] = ContextVar("packed", default=0)


@contextmanager
def packed_words(words: int) -> Iterator[None]:
    """While tracing inside, history lies in bins with room for `words` words for each post of theirs.

    Its batches must be whole on one device, and have no fuller bin (`fits`); 0 packs nothing.
    """
    token = _packed.set(words)
    try:
        yield
    finally:
        _packed.reset(token)


class Table(nn.Module):
    """A table of word vectors, normally distributed at first.

    Attributes:
      words: rows, the reserved two included.
      width: of a vector.
      scale: standard deviation of the initial values.
      trainable: whether it learns; a frozen one gets no gradient.
    """

    words: int
    width: int
    scale: float = 0.1
    trainable: bool = True

    @nn.compact
    def __call__(self) -> jax.Array:
        """The table `[words, width]`."""
        table = normal(self, "table", (self.words, self.width), ("words", "embed"), self.scale)
        return table if self.trainable else lax.stop_gradient(table)


class Tables(nn.Module):
    """Several tables of word vectors side by side, normally distributed at first.

    Attributes:
      words, width, scale, trainable: as of `Table`.
      count: how many.
    """

    words: int
    count: int
    width: int
    scale: float = 0.1
    trainable: bool = True

    @nn.compact
    def __call__(self) -> jax.Array:
        """The tables `[words, count, width]`."""
        shape, axes = (self.words, self.count, self.width), ("words", "layers", "embed")
        tables = normal(self, "table", shape, axes, self.scale)
        return tables if self.trainable else lax.stop_gradient(tables)


def bag(table: jax.Array, words: jax.Array, weights: jax.Array) -> jax.Array:
    """Σ_j weights_j · table[words_j]: table `[V, d]`, ids and weights `[..., N]`, zeros where padded, to `[..., d]`."""
    return jnp.einsum("...n,...nd->...d", weights, jnp.take(table, words, axis=0, mode="clip"))


class Bins(NamedTuple):
    """The words of a batch's earlier posts in G bins, each of P posts.

    Attributes:
      words: ids `[G, W]`, 0 where there is none.
      place: in its post's history, m·N + n of each `[G, W]`.
      owner: which of the bin's posts it is of `[G, W]`.
      posts: of the batch, those of each bin `[G, P]`.
      back: where each post of the batch is among G·P `[B]`.
      shape: M and N.
    """

    words: jax.Array
    place: jax.Array
    owner: jax.Array
    posts: jax.Array
    back: jax.Array
    shape: tuple[int, int]

    def belongs(self) -> jax.Array:
        """Which words are of which of the M earlier posts, bool `[G, P, M, W]`."""
        posts, (earlier, length) = self.posts.shape[1], self.shape
        post = self.owner * earlier + self.place // length
        every = jnp.arange(posts * earlier)[:, None]
        found = (post[:, None] == every) & (self.words != 0)[:, None]
        return found.reshape(len(self.words), posts, earlier, -1)

    def given(self, queries: jax.Array) -> jax.Array:
        """What belongs to a post `[B, d]`, by bins `[G, P, d]`."""
        return queries[self.posts] if self.posts.shape[1] > 1 else queries[:, None]

    def sums(self, weights: jax.Array, rows: jax.Array) -> jax.Array:
        """Σ_w weights · rows: weights `[G, P, M, W]` and rows of the words `[G, W, d]` to `[B, M, d]`."""
        found = jnp.einsum("gpmw,gwd->gpmd", weights, rows)
        flat = found.reshape(-1, *found.shape[2:])
        return flat[self.back] if self.posts.shape[1] > 1 else flat

    def slots(self) -> jax.Array:
        """Which of the batch's earlier posts, b·M + m, each word is of, int32 `[G, W]`; B·M where there is no word."""
        earlier, length = self.shape
        post = jnp.take_along_axis(self.posts, self.owner, 1) * earlier + self.place // length
        return jnp.where(self.words != 0, post, len(self.back) * earlier)

    def totals(self, rows: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """Σ weight · row of an earlier post's words: rows `[G, W, d]`, weights `[G, W]`, 1 by default, to `[B, M, d]`.

        Where bins are packed, each row is added to its post's: a product with the words that belong to a post, which a
        mesh can divide, takes longer.
        """
        if self.posts.shape[1] == 1:
            belongs = self.belongs().astype(rows.dtype)
            return self.sums(belongs if weights is None else belongs * weights[:, None, None], rows)
        posts, width = len(self.back) * self.shape[0], rows.shape[-1]
        given = (rows if weights is None else weights[..., None] * rows).reshape(-1, width)
        sums = jnp.zeros((posts, width), jnp.float32).at[self.slots().reshape(-1)].add(given, mode="drop")
        return sums.reshape(-1, self.shape[0], width).astype(rows.dtype)


def side_by_side(history: jax.Array) -> Bins:
    """The bins of `history [B, M, N]`: a post each, or `POSTS_A_BIN`, where `packed_words` allows and they divide."""
    batch, earlier, length = history.shape
    flat, room = history.reshape(batch, -1), _packed.get() * POSTS_A_BIN
    own = jnp.arange(batch, dtype=jnp.int32)
    if not room or not can_pack(batch) or room >= POSTS_A_BIN * earlier * length:
        place = jnp.broadcast_to(jnp.arange(earlier * length, dtype=jnp.int32), flat.shape)
        return Bins(flat, place, jnp.zeros_like(flat), own[:, None], own, (earlier, length))
    bins, real = batch // POSTS_A_BIN, flat != 0
    posts = dealt(real.sum(1))
    back = jnp.zeros(batch, jnp.int32).at[posts.reshape(-1)].set(own)
    # Of each bin: the words of its posts one after the other, and where each goes among them.
    mine = real[posts].reshape(bins, -1)
    at = jnp.where(mine, jnp.cumsum(mine, 1) - 1, room)
    every = jnp.broadcast_to(jnp.arange(at.shape[1], dtype=jnp.int32), at.shape)
    source = jax.vmap(lambda at, every: jnp.full(room, -1, jnp.int32).at[at].set(every, mode="drop"))(at, every)
    owner, place = jnp.maximum(source, 0) // flat.shape[1], jnp.maximum(source, 0) % flat.shape[1]
    words = jnp.where(source < 0, 0, flat[jnp.take_along_axis(posts, owner, 1), place])
    return Bins(words, place, owner, posts, back, (earlier, length))


def dealt(sizes: jax.Array) -> jax.Array:
    """Posts of `sizes [B]` in bins of nearly equal sums `[B / P, P]`: by size, dealt forth and back."""
    rounds = jnp.argsort(sizes).reshape(POSTS_A_BIN, -1)
    return jnp.stack([row[::-1] if i % 2 else row for i, row in enumerate(rounds)], 1).astype(jnp.int32)


def fits(history: jax.Array, words: int) -> jax.Array:
    """Whether the bins of `history [B, M, N]` have room where `packed_words` is `words`; bool."""
    sizes = (history != 0).sum((1, 2))
    return sizes[dealt(sizes)].sum(1).max() <= words * POSTS_A_BIN


def can_pack(batch: int) -> bool:
    """Whether so many posts are dealt in bins."""
    return batch % POSTS_A_BIN == 0
