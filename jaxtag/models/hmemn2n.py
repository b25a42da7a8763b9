"""hmemn2n/hmemn2n: a memory network with attention over an author's earlier posts and over their words (SYSTEMS 4.2).

Tables A, B, C of word vectors and the other weights are shared by all hops. A post is o_0 = Σ_i A w_i. At hop h, of
each earlier post i with words w_ij

    p_ij = softmax_j(o_hᵀ B w_ij),  s_i = Σ_j p_ij C w_ij,
    q_i = softmax_i(w_msᵀ tanh(W_o o_h + W_s s_i)),  u = Σ_i q_i s_i,  o_{h+1} = o_h + u,

and the hashtags' scores are θᵀ(W_f [o_0; o_H] + b_f). An earlier post without words has no part; u = 0 where there is
none.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.attention import masked_softmax
from jaxtag.layers.bags import Table, bag, side_by_side
from jaxtag.layers.dropout import dropout, split
from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.parameters import Dense, glorot

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Settings:
    """Sizes of the network, and what its equations leave open.

    Attributes:
      embedding: width of a word vector.
      trainable: whether word vectors learn.
      hops: H; 0 is a classifier of bags of words.
      attention: rows of W_o and W_s; 0 for as many as `embedding`.
      hidden: rows of W_f; 0 for as many as `embedding`.
      scale: standard deviation of the tables' initial values; the paper does not say, 0.1 is MemN2N's.
      activation: after W_f; the paper has none.
      dropout: rate on o_0 and on [o_0; o_H].
    """

    embedding: int = 300
    trainable: bool = True
    hops: int = 2
    attention: int = 0
    hidden: int = 0
    scale: float = 0.1
    activation: Literal["none", "tanh", "relu"] = "none"
    dropout: float = 0.2


class Model(nn.Module):
    """Words of a post and of its author's earlier ones to scores over hashtags; `features` is W_f f + b_f."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the tables and weights."""
        s = self.settings
        tables = [Table(self.words, s.embedding, s.scale, s.trainable) for _ in range(3)]
        self.word_table, self.key_table, self.value_table = tables
        shape, axes = (s.embedding, s.attention or s.embedding), ("embed", "hidden")
        self.own, self.past = glorot(self, "own", shape, axes), glorot(self, "past", shape, axes)
        self.score = glorot(self, "score", (shape[1], 1), ("hidden", "scalar"))
        self.joined = Dense(s.hidden or s.embedding)
        self.head = SoftmaxHead(self.hashtags, s.hidden or s.embedding, biased=False)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, history `[B, M, N]` to `[B, hidden]`; dropout at `rate` when there are keys `[B]`."""
        before, after = split(keys, 2)
        first = dropout(self._post(batch), rate, before)
        last, _ = self._hops(batch, first)
        joined = self.joined(dropout(jnp.concatenate([first, last], -1), rate, after))
        return ACTIVATIONS[self.settings.activation](joined)

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """tokens `[B, T]`, history `[B, M, N]` to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: Batch) -> Batch:
        """Of `history`, at each hop, how much of u a word is: q_i p_ij `[B, H, M, N]`."""
        shape = batch["history"].shape
        hops = [(among[..., None] * within[:, 0]).sum(1) for among, within in self._hops(batch, self._post(batch))[1]]
        return {"history": jnp.stack(hops, 1).reshape(len(hops[0]), -1, *shape[1:])} if hops else {}

    def _post(self, batch: Batch) -> jax.Array:
        table = self.word_table()
        return bag(table, batch["tokens"], (batch["tokens"] != 0).astype(table.dtype))

    def _hops(self, batch: Batch, o: jax.Array) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
        """o_H `[B, d]` from o_0, and of each hop q `[B, M]` and p, by bins `[G, P, M, W]`."""
        bins, some, found = side_by_side(batch["history"]), (batch["history"] != 0).any(-1), []
        keys, values = (
            jnp.take(table(), bins.words, axis=0, mode="clip") for table in (self.key_table, self.value_table)
        )
        belongs = bins.belongs()
        for _ in range(self.settings.hops):
            scores = jnp.einsum("gwd,gpd->gpw", keys, bins.given(o))
            within = masked_softmax(jnp.broadcast_to(scores[:, :, None], belongs.shape), belongs)
            posts = bins.sums(within, values)
            hidden = jnp.tanh((o @ self.own)[:, None] + posts @ self.past)
            among = masked_softmax((hidden @ self.score)[..., 0], some)
            o = o + jnp.einsum("bm,bmd->bd", among, posts)
            found.append((among, within))
        return o, found


ACTIVATIONS = {"none": lambda x: x, "tanh": jnp.tanh, "relu": nn.relu}
