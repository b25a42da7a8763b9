"""hmemn2n/memn2n: an end-to-end memory network over an author's earlier posts (Sukhbaatar et al. 2015; SYSTEMS 4.4).

A memory is an earlier post's bag of words, m_i = Σ_j B w_ij and c_i = Σ_j C w_ij. At hop h

    p_i = softmax_i(o_hᵀ m_i),  u = Σ_i p_i c_i,  o_{h+1} = o_h + u,

and what is before and after the hops is as in `jaxtag.models.hmemn2n`. The options are the original's.
"""

import math
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.attention import masked_softmax
from jaxtag.layers.bags import Bins, Table, Tables, bag, side_by_side
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.parameters import Dense, glorot, normal

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Settings:
    """Sizes of the network, and the original's options, which the hmemn2n paper leaves out.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      hops: H.
      tying: `shared`: the same B and C at every hop; `adjacent`: A, then a table a hop, of which each is the next
        hop's B: T_0 = A, m_i by T_h, c_i by T_{h+1}.
      position_encoding: whether word j of J counts by l_kj = 1 + 4 (k − (d+1)/2) (j − (J+1)/2) / (d J) in dimension k
        of d, so that order matters.
      temporal: whether m_i and c_i have learned vectors T_A(i), T_C(i) of the place of post i added, the latest first.
      time_noise: in training, of so many empty places for each post, put at random between the posts, which moves later
        ones to later places; only with `temporal`.
      relu: whether half of the values of o_{h+1} go through a ReLU.
      between: whether o_{h+1} = H o_h + u with learned H.
      hidden: rows of W_f; 0 for as many as `embedding`.
      scale: standard deviation of the tables' initial values.
      dropout: rate on o_0 and on [o_0; o_H].
    """

    embedding: int = 300
    trainable: bool = True
    hops: int = 2
    tying: Literal["shared", "adjacent"] = "shared"
    position_encoding: bool = False
    temporal: bool = False
    time_noise: float = 0.0
    relu: bool = False
    between: bool = False
    hidden: int = 0
    scale: float = 0.1
    dropout: float = 0.2


class Places(nn.Module):
    """Learned vectors of the places of earlier posts, for each of `count` tables."""

    count: int
    width: int
    scale: float

    @nn.compact
    def __call__(self, posts: int) -> jax.Array:
        """The vectors of `posts` places `[count, posts, width]`."""
        shape, axes = (self.count, posts, self.width), ("layers", "window", "embed")
        return normal(self, "vectors", shape, axes, self.scale)


class Model(nn.Module):
    """Words of a post and of its author's earlier ones to scores over hashtags; `features` is W_f f + b_f."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the tables and weights."""
        s = self.settings
        self.word_table = Table(self.words, s.embedding, s.scale, s.trainable)
        if s.tying == "adjacent":
            self.hop_tables = Tables(self.words, s.hops, s.embedding, s.scale, s.trainable)
        else:
            self.key_table = Table(self.words, s.embedding, s.scale, s.trainable)
            self.value_table = Table(self.words, s.embedding, s.scale, s.trainable)
        self.places = Places(s.hops + 1 if s.tying == "adjacent" else 2, s.embedding, s.scale) if s.temporal else None
        if s.between:
            self.between = glorot(self, "between_kernel", (s.embedding, s.embedding), ("embed", "hidden"))
        self.joined = Dense(s.hidden or s.embedding)
        self.head = SoftmaxHead(self.hashtags, s.hidden or s.embedding, biased=False)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, history `[B, M, N]` to `[B, hidden]`; dropout at `rate` when there are keys `[B]`."""
        before, after, noise = split(keys, 3)
        first = dropout(self._post(batch["tokens"]), rate, before)
        last, _ = self._hops(batch["history"], first, noise)
        return self.joined(dropout(jnp.concatenate([first, last], -1), rate, after))

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, history `[B, M, N]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: Batch) -> Batch:
        """Of `history`, at each hop, how much of u an earlier post is: p_i `[B, H, M]`."""
        return {"history": self._hops(batch["history"], self._post(batch["tokens"]), None)[1]}

    def _hops(self, words: jax.Array, o: jax.Array, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """o_H `[B, d]` from o_0, and each hop's weights of posts `[B, H, M]`."""
        s = self.settings
        mask, bags, found = (words != 0).any(-1), self._memories(words, keys), []
        for hop in range(s.hops):
            memory, value = (bags[hop], bags[hop + 1]) if s.tying == "adjacent" else bags
            weights = masked_softmax(jnp.einsum("bmd,bd->bm", memory, o), mask)
            u = jnp.einsum("bm,bmd->bd", weights, value)
            o = (o @ self.between if s.between else o) + u
            if s.relu:
                o = o.at[:, : s.embedding // 2].set(nn.relu(o[:, : s.embedding // 2]))
            found.append(weights)
        return o, jnp.stack(found, 1) if found else jnp.zeros((len(o), 0, words.shape[1]), o.dtype)

    def _memories(self, words: jax.Array, keys: jax.Array | None) -> list[jax.Array]:
        """The bags `[B, M, d]` of B and C, or of T_0 … T_H, with their vectors of places."""
        s = self.settings
        if s.tying == "adjacent":
            more = self.hop_tables()
            tables = [self.word_table(), *(more[:, hop] for hop in range(s.hops))]
        else:
            tables = [self.key_table(), self.value_table()]
        bins = side_by_side(words)
        bags = [self._bags(table, bins) for table in tables]
        if self.places is None:
            return bags
        vectors, at = self.places(words.shape[1]), self._places(words.shape[1], keys)
        return [b + v[at] for b, v in zip(bags, vectors)]

    def _places(self, posts: int, keys: jax.Array | None) -> jax.Array:
        """The place of each of the M posts `[M]`, or with noise `[B, M]`; those past the last are the last."""
        place = jnp.arange(posts)
        more = math.ceil(self.settings.time_noise * posts)
        if keys is None or not more:
            return place
        drawn = jax.vmap(lambda key: jnp.sort(jax.random.permutation(key, posts + more)[:posts]))(keys)
        return jnp.minimum(drawn, posts - 1)

    def _post(self, words: jax.Array) -> jax.Array:
        """Σ_j l_j ⊙ A w_j of a post's `words [B, T]`, `[B, d]`."""
        table, mask = self.word_table(), words != 0
        plain = bag(table, words, mask.astype(table.dtype))
        if not self.settings.position_encoding:
            return plain
        weights = by_place(jnp.arange(1, words.shape[1] + 1), mask.sum(-1, keepdims=True))
        return plain + bag(table, words, (weights * mask).astype(table.dtype)) * by_dimension(table)

    def _bags(self, table: jax.Array, bins: Bins) -> jax.Array:
        """Σ_j l_j ⊙ table[w_ij] of earlier posts, `[B, M, d]`."""
        rows = jnp.take(table, bins.words, axis=0, mode="clip")
        plain = bins.totals(rows)
        if not self.settings.position_encoding:
            return plain
        slots = bins.slots()
        counts = jnp.zeros(len(bins.back) * bins.shape[0], jnp.int32).at[slots].add(1, mode="drop")
        weights = by_place(bins.place % bins.shape[1] + 1, counts.at[slots].get(mode="fill", fill_value=1))
        return plain + bins.totals(rows, weights.astype(table.dtype)) * by_dimension(table)


def by_place(place: jax.Array, count: jax.Array) -> jax.Array:
    """(j − (J+1)/2) / J of the word of place j, from 1 on, in a text of J words: `place` and `count`, of one shape.

    l_kj is 1 plus this times what depends on k, so that Σ_j l_j ⊙ v_j is a sum of two bags of words.
    """
    return (place - (count + 1) / 2) / jnp.maximum(count, 1)


def by_dimension(table: jax.Array) -> jax.Array:
    """4 (k − (d+1)/2) / d of the dimensions k = 1 … d of `table [V, d]`."""
    width = table.shape[1]
    return (4 * (jnp.arange(1, width + 1) - (width + 1) / 2) / width).astype(table.dtype)
