"""lxmert4hashtag/lxmert: LXMERT (Tan & Bansal 2019) over WordPieces and an image's objects (SYSTEMS 3).

A batch has `wordpieces [B, T]`, [CLS] first; `regions [B, R, features]`, `boxes [B, R, 4]`, x1 y1 x2 y2 in 0 … 1; and
`cells [B]`, how many of the R are real: none where a post has no image. With `modality="text"` a batch has words alone.
"""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.cross_modal import CrossModalStack, ObjectEmbedding, Pair, TextEmbedding
from jaxtag.layers.dropout import split
from jaxtag.layers.embedding import SoftmaxHead
from jaxtag.layers.parameters import Dense
from jaxtag.layers.transformer import ACTIVATIONS, LayerNorm, TransformerStack

EPS, SPREAD, ACTIVATION = 1e-12, 0.02, "gelu"  # of every normalisation, kernel and feed-forward layer, as BERT's
COLUMNS = ("wordpieces", "regions", "boxes")  # that it reads


@dataclass(frozen=True)
class Settings:
    """Sizes of the network; by default those of the published weights.

    Attributes:
      width, heads, inner: of every layer; `inner` is the feed-forward layers' width.
      language_layers, object_layers: that read words alone, and objects alone.
      cross_layers: in which words and objects read each other.
      places: longest text, in WordPieces.
      features: numbers that a detector gives of an object.
      head: what reads the words' last states: `vqa`, as in LXMERT's question answering, the pooled one, a hidden layer
        of twice the width and a linear one; `linear`, a linear layer on the state of [CLS]. The paper does not say.
      remat: whether a layer's inner values are computed again for the gradient, which saves memory.
      unroll: whether the program has every layer written out, which runs faster and compiles longer than a loop.
      dropout: rate on embeddings, attention weights and what every sub-layer gives.
      spread: standard deviation of the encoder's kernels and tables at first; narrow layers need more than BERT's.
      modality: `both`, or `text`: the same network, where no post has an image.
      init: what the encoder starts from: `scratch`; `lxmert:PATH`, published weights in a folder of Hugging Face's or
        the original authors' file; `bert:PATH`, a plain BERT's, for the layers that read words alone.
    """

    width: int = 768
    heads: int = 12
    inner: int = 3072
    language_layers: int = 9
    object_layers: int = 5
    cross_layers: int = 5
    places: int = 512
    features: int = 2048
    head: Literal["vqa", "linear"] = "vqa"
    remat: bool = False
    unroll: bool = False
    dropout: float = 0.1
    spread: float = SPREAD
    modality: Literal["both", "text"] = "both"
    init: str = "scratch"

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of a post."""
        return COLUMNS if self.modality == "both" else COLUMNS[:1]


class Encoder(nn.Module):
    """Words and objects to their states, and the state of [CLS] to the pooled one.

    Attributes:
      settings: its sizes.
      words: rows of the word table.
    """

    settings: Settings
    words: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.text = TextEmbedding(self.words, s.places, s.width, EPS, s.spread)
        self.objects = ObjectEmbedding(s.width, EPS, s.spread)
        sizes = (s.width, s.heads, s.inner, ACTIVATION, EPS, True)
        self.language = TransformerStack(s.language_layers, *sizes, s.remat, s.unroll, s.spread)
        self.vision = TransformerStack(s.object_layers, *sizes, s.remat, s.unroll, s.spread)
        self.cross = CrossModalStack(s.cross_layers, *sizes, s.spread, s.remat, s.unroll)
        self.pooler = Dense(s.width, s.spread)

    def __call__(
        self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None, whole: bool = True
    ) -> Pair:
        """A batch to its words' states `[B, T, d]` and its objects' `[B, R, d]`.

        Without `whole`, to the state of [CLS] `[B, 1, d]`, and the objects' as the last layer is given them.
        """
        k = split(keys, 5)
        return self.cross(*self._apart(batch, rate, k), rate, k[4], whole)

    def looked(self, batch: dict[str, jax.Array]) -> jax.Array:
        """How much [CLS] reads of each object in the last layer, `[B, R]`: zeros where a post has none."""
        rate = jnp.float32(0)
        return self.cross(*self._apart(batch, rate, split(None, 5)), rate, None, looked=True)

    def _apart(self, batch: dict[str, jax.Array], rate: jax.Array, k: Any) -> tuple[jax.Array, jax.Array, Pair]:
        """Words and objects before they read each other, and their masks."""
        language, words = self.text(batch["wordpieces"], rate, k[0])
        batch = self._with_objects(batch, language.dtype)
        objects = jnp.arange(batch["regions"].shape[1]) < batch["cells"][:, None]
        vision = self.objects(batch["regions"], batch["boxes"], objects, rate, k[1])
        language = self.language(language, words, rate, k[2])
        return language, self.vision(vision, objects, rate, k[3]), (words, objects)

    def _with_objects(self, batch: dict[str, jax.Array], dtype: Any) -> dict[str, jax.Array]:
        """The batch; where it is of words alone, with room for one object and none in it."""
        if "regions" in batch:
            return batch
        posts = len(batch["wordpieces"])
        none = {n: jnp.zeros((posts, 1, d), dtype) for n, d in (("regions", self.settings.features), ("boxes", 4))}
        return batch | none | {"cells": jnp.zeros(posts, jnp.int32)}

    def pool(self, first: jax.Array) -> jax.Array:
        """tanh(W h + b) of the state h of [CLS], `[B, d]` to `[B, d]`."""
        return jnp.tanh(self.pooler(first))


class Model(nn.Module):
    """Posts to scores over hashtags; `features` is what the last linear layer reads."""

    settings: Settings
    words: int
    hashtags: int

    def setup(self) -> None:
        """Declare the layers."""
        s = self.settings
        self.encoder = Encoder(s, self.words)
        width = s.width * (2 if s.head == "vqa" else 1)
        if s.head == "vqa":
            self.hidden, self.norm = Dense(width, s.spread), LayerNorm(EPS)
        self.head = SoftmaxHead(self.hashtags, width, spread=SPREAD)

    def features(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """A batch to `[B, 2 width]`, `[B, width]` of a linear head; dropout at `rate` when there are keys `[B]`."""
        first = self.encoder(batch, rate, keys, whole=False)[0][:, 0]
        if self.settings.head == "linear" and not self.is_initializing():  # which declares the pooler too
            return first
        pooled = self.encoder.pool(first)
        return self.norm(ACTIVATIONS[ACTIVATION](self.hidden(pooled))) if self.settings.head == "vqa" else first

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> jax.Array:
        """A batch to logits `[B, hashtags]`."""
        return self.head(self.features(batch, rate, keys))

    def explain(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Of `regions`, how much [CLS] reads of each in the last layer `[B, 1, R]`; nothing where none are read."""
        return {} if self.settings.modality == "text" else {"regions": self.encoder.looked(batch)[:, None]}

    def encode(
        self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A batch to its words' states `[B, T, d]`, its objects' `[B, R, d]` and the pooled state `[B, d]`."""
        language, vision = self.encoder(batch, rate, keys)
        return language, vision, self.encoder.pool(language[:, 0])
