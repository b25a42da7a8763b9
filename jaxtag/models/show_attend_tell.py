"""amnn/show_attend_tell: at every hashtag, attention over the cells of an image (Xu et al. 2015; SYSTEMS 2.6).

As the code that the amnn paper names computes it. The LSTM's memory and output start from the mean cell; step t
attends, z_t = Σ_i α_ti a_i, and reads [z_t; E y_{t−1}]; what it says is made of [h_t; z_t; E y_{t−1}] by two layers.
The loss has ½ Σ_i (1 − Σ_t α_ti)² / G beside it, which asks that every cell is looked at. The gate of z_t that Xu et
al. have is not in that code.

Its score of a cell is w · drop(tanh(W_a a_i) + tanh(W_h h_{t−1})), whose second term is the same for every cell: but
for dropout's noise in training, the softmax takes it out, and every step looks at the same cells. With
`attention="additive"` it is w · drop(tanh(W_a a_i + W_h h_{t−1})), and they differ.
"""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxtag.layers.attention import masked_softmax
from jaxtag.layers.dropout import dropout, places, split
from jaxtag.layers.parameters import affine, uniform, zeros
from jaxtag.layers.pooling import pool
from jaxtag.layers.recurrent import lstm
from jaxtag.layers.sequences import HashtagTable, Scores, targets, told

Batch = dict[str, jax.Array]
Weights = dict[str, Any]
SPREAD = 0.08  # of initial values


@dataclass(frozen=True)
class Settings:
    """Sizes of the network.

    Attributes:
      width: of the LSTM's state, and of the two layers before it and of its output.
      attention_width: of the projections that a cell's score is made of.
      output: of the layer before the hashtags.
      hashtag_embedding: of a hashtag's vector.
      attention: how a cell's score is made: `tanh_sum`, as in the code, or `additive`.
      penalty: weight of what asks that every cell is looked at.
      most: hashtags of a post that are learned from at most, the first ones, and that are said.
      end: whether an end token is learned, and ends a list.
      repeats: whether a hashtag may be said again, and is then left out of the list.
      beam: lists that recommending keeps; 1 is greedy.
      lists: what recommending gives: hashtags as they are `said`, or by probability as the `first` one.
      dropout: rate of the layers and of the attention.
      recurrent_share: of that rate, what falls on the LSTM's input, state and output.
    """

    width: int = 512
    attention_width: int = 512
    output: int = 1024
    hashtag_embedding: int = 512
    attention: Literal["tanh_sum", "additive"] = "tanh_sum"
    penalty: float = 0.01
    most: int = 20
    end: bool = True
    repeats: bool = True
    beam: int = 3
    lists: Literal["said", "first"] = "said"
    dropout: float = 0.5
    recurrent_share: float = 0.6


class Layers(nn.Module):
    """The network's weights, by name: a pair W and b, or W alone."""

    settings: Settings

    @nn.compact
    def __call__(self, cell: int) -> Weights:
        """All of them, where a cell has `cell` numbers."""
        s = self.settings
        both = cell + s.hashtag_embedding
        found: Weights = {}
        for name, shape in {
            "memory_in": (cell, s.width),
            "memory": (s.width, s.width),
            "state_in": (cell, s.width),
            "state": (s.width, s.width),
            "cells": (cell, s.attention_width),
            "query": (s.width, s.attention_width),
            "lstm": (both, 4 * s.width),
            "output": (s.width + both, s.output),
        }.items():
            kernel = uniform(self, f"{name}_kernel", shape, ("embed", "hidden"), SPREAD)
            found[name] = (kernel, zeros(self, f"{name}_bias", shape[1], "hidden"))
        found["score"] = uniform(self, "score", (s.attention_width, 1), ("embed", "scalar"), SPREAD)
        found["recurrent"] = uniform(self, "recurrent", (s.width, 4 * s.width), ("embed", "hidden"), SPREAD)
        return found


class Model(nn.Module):
    """An image to scores of its hashtags, step by step; `features` is what the LSTM's state starts from.

    A post without an image looks at nothing: it is ranked by how hashtags are used, and by those before.
    """

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.layers = Layers(s)
        self.table = HashtagTable(self.hashtags, s.hashtag_embedding, start=True)
        self.scores = Scores(self.hashtags, s.output, s.end)

    def features(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """grid `[B, G, D]` and cells `[B]` to `[B, 2 width]`; dropout at `rate` when there are keys `[B]`."""
        grid, seen = _cells(batch)
        return jnp.concatenate(_first(self.layers(grid.shape[-1]), grid, seen, rate, keys), 1)

    def __call__(self, batch: Batch, rate: jax.Array, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """A batch and its hashtags `[B, H]` to logits `[B, S, hashtags + 1]` and a penalty `[B]` on top of the loss.

        Step t's are of what comes after the first t hashtags, the end token's last.
        """
        s, (grid, seen) = self.settings, _cells(batch)
        w = self.layers(grid.shape[-1])
        first, steps, after = split(keys, 3)
        labels = jnp.pad(told(batch["hashtags"], s.most, s.end), ((0, 0), (1, 0)), constant_values=-1)
        y = self.table(labels)
        carry, fixed = _first(w, grid, seen, rate, first), _fixed(w, grid, seen)

        def one(carry: Any, inputs: Any) -> tuple[Any, Any]:
            return _step(s, w, carry, fixed, inputs[0], rate, inputs[1])

        own = places(steps, labels.shape[1])
        given = jax.tree.map(lambda x: x.swapaxes(0, 1), (y, own))
        _, (h, z, weights) = lax.scan(one, carry, given)
        h, z = h.swapaxes(0, 1), z.swapaxes(0, 1)
        logits = self.scores(_said(w, h, z, y, rate, after))
        real = targets(batch["hashtags"], labels.shape[1], self.hashtags if s.end else None) >= 0
        looked = jnp.einsum("tbg,bt->bg", weights, real.astype(weights.dtype))
        missed = jnp.where(seen, (1 - looked) ** 2, 0).sum(1) / jnp.maximum(seen.sum(1), 1)
        return logits, s.penalty / 2 * missed

    def start(self, batch: Batch) -> tuple[Any, Any]:
        """The state before the first step, and what every step has of the post (`jaxtag.layers.decoding`)."""
        grid, seen = _cells(batch)
        w = self.layers(grid.shape[-1])
        return _first(w, grid, seen, jnp.float32(0), None), _fixed(w, grid, seen)

    def step(self, carry: Any, fixed: Any, previous: jax.Array) -> tuple[Any, jax.Array]:
        """A step after the hashtags `previous [B]`, −1 at first, to the state after it and its logits."""
        w, y, rate = self.layers(fixed[0].shape[-1]), self.table(previous), jnp.float32(0)
        carry, (h, z, _) = _step(self.settings, w, carry, fixed, y, rate, None)
        return carry, self.scores(_said(w, h, z, y, rate, None))


def _cells(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Cells `[B, G, D]`, zeros where they are none, and which are some `[B, G]`."""
    seen = jnp.arange(batch["grid"].shape[1]) < batch["cells"][:, None]
    return jnp.where(seen[..., None], batch["grid"], 0), seen


def _first(w: Weights, grid: jax.Array, seen: jax.Array, rate: Any, keys: jax.Array | None) -> tuple[Any, Any]:
    """The LSTM's output and memory before the first step, `[B, width]` each, made of the mean cell."""
    mean, found = pool(grid, seen, "mean"), []
    for name, own in zip(("state", "memory"), split(keys, 2)):
        inner, outer = split(own, 2)
        hidden = dropout(jnp.tanh(affine(w[f"{name}_in"], dropout(mean, rate, inner))), rate, outer)
        found.append(affine(w[name], hidden))
    return found[0], found[1]


def _fixed(w: Weights, grid: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What every step has of the post: the cells, W_a a_i + b, and which cells are some."""
    return grid, affine(w["cells"], grid), seen


def _step(
    s: Settings, w: Weights, carry: Any, fixed: Any, y: jax.Array, rate: Any, keys: jax.Array | None
) -> tuple[Any, Any]:
    """A step that reads `y [B, E]`: the (h, c) after it, and what it gives: h, z, and the weights of the cells."""
    (h, c), (grid, own, seen) = carry, fixed
    drawn, share = split(keys, 4), rate * s.recurrent_share
    asked = affine(w["query"], h)[:, None]
    hidden = jnp.tanh(own) + jnp.tanh(asked) if s.attention == "tanh_sum" else jnp.tanh(own + asked)
    scores = (dropout(hidden, rate, drawn[0]) @ w["score"])[..., 0]
    weights = masked_softmax(scores, seen)
    z = jnp.einsum("bg,bgd->bd", weights, grid)
    x = affine(w["lstm"], dropout(jnp.concatenate([z, y], 1), share, drawn[1]))
    x = x + jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0], x.dtype), s.width)  # the forget gate's bias starts from 1
    h, c = lstm((h, c), (x,), lambda i, factor: x + factor @ w["recurrent"])
    return (dropout(h, share, drawn[2]), c), (dropout(h, share, drawn[3]), z, weights)


def _said(w: Weights, h: jax.Array, z: jax.Array, y: jax.Array, rate: Any, keys: jax.Array | None) -> jax.Array:
    """What the hashtags are scored by: a layer over [h; z; E y] `[..., output]`."""
    before, after = split(keys, 2)
    hidden = jnp.tanh(affine(w["output"], dropout(jnp.concatenate([h, z, y], -1), rate, before)))
    return dropout(hidden, rate, after)
