"""lxmert4hashtag/tweet_embedding: images, texts and hashtags in one space, compared by cosine (SYSTEMS 3.9).

Rivas et al. (J. Big Data 2022), a baseline of the lxmert4hashtag paper, of whose views of a post that paper uses three,
each a vector of length one:

    image      ResNet-152's features, made length one → a linear layer
    text       word vectors, which do not learn → the last state of a GRU
    hashtags   the mean of the hashtags' vectors → a linear layer

A post's own views are drawn together, and away from those of the other posts of its batch (`objectives.hinge`). A
hashtag scores by its cosine with the image or with the text, whichever is greater; so any hashtag with a vector can be
ranked, seen in training or not. A view that a post has not is left out.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtag.layers.comparing import Compared, unit
from jaxtag.layers.parameters import Dense, never_learned
from jaxtag.layers.recurrent import GRU

Views = dict[str, tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Settings:
    """Sizes of the network, and how views are compared.

    Attributes:
      width: of the space, and of the GRU's state.
      vectors: name of the split's word vectors, of words and of hashtags.
      hashtag_vectors: which of them are the hashtags' (`jaxtag.data.hashtags.of_kind`); its authors' are `in`.
      target: which views are drawn together: the `hashtags` with each other one, the best of its authors' results; the
        `average` of a post's views with each; `all`, each two.
      margin: of the hinge.
      hardest: whether the hardest of the other posts counts alone, as in all results of its authors, or all do.
      negatives: what a post's views are kept away from: those of posts with `others` hashtags; of `all` other posts, as
        in its authors' code, where in a small or one-sided batch many are of the very same hashtags.
      similarity: a hashtag's score, `max` of its cosines with the image and with the text, or their `sum`.
    """

    width: int = 1024
    vectors: str = "inductive"
    hashtag_vectors: Literal["in", "out", "sum"] = "in"
    target: Literal["hashtags", "average", "all"] = "hashtags"
    margin: float = 0.2
    hardest: bool = True
    negatives: Literal["others", "all"] = "others"
    similarity: Literal["max", "sum"] = "max"


class Model(nn.Module):
    """Posts to views, and views of a batch to what the objective compares.

    Attributes:
      settings: its settings.
      words: rows of the word vectors.
      named: rows of the hashtags' vectors.
      vectors: numbers of a vector.
    """

    settings: Settings
    words: int
    named: int
    vectors: int

    def setup(self) -> None:
        """Declare the layers, and the vectors."""
        s = self.settings
        self.image, self.hashtag = Dense(s.width), Dense(s.width)
        self.text = GRU(s.width, reset="after")  # as its authors', by PyTorch
        self.word_vectors = never_learned(self, "words", (self.words, self.vectors), ("words", "embed"))
        self.hashtag_vectors = never_learned(self, "hashtags", (self.named, self.vectors), ("embed", "embed"))

    def __call__(self, batch: dict[str, jax.Array], rate: jax.Array, keys: jax.Array | None) -> Compared:
        """A batch, its hashtags among it, to the pairs of views; there is no dropout."""
        s, views = self.settings, self.views(batch) | {"hashtags": self._hashtags(batch)}
        pairs = {
            "hashtags": [("hashtags", "image"), ("hashtags", "text")],
            "average": [("mean", "image"), ("mean", "text"), ("mean", "hashtags")],
            "all": [("image", "text"), ("image", "hashtags"), ("text", "hashtags")],
        }
        if s.target == "average":
            views["mean"] = _mean(views)
        left, right = ([views[pair[side]] for pair in pairs[s.target]] for side in (0, 1))
        seen, real = ([jnp.stack([view[i] for view in side]) for side in (left, right)] for i in (0, 1))
        return Compared(seen[0], seen[1], real[0], real[1], s.margin, s.hardest, s.negatives == "others")

    def views(self, batch: dict[str, jax.Array]) -> Views:
        """The image's and the text's `[B, width]`, and which posts have them `[B]`."""
        vector, tokens = batch["vector"], batch["tokens"]
        x = jnp.take(self.word_vectors, tokens, axis=0, mode="clip").astype(vector.dtype)
        _, last = self.text(x, tokens != 0)  # word 0, padding, is zeros
        image = unit(self.image(unit(vector).astype(vector.dtype)))
        return {"image": (image, batch["cells"] > 0), "text": (unit(last), (x != 0).any((1, 2)))}

    def embed(self, vectors: jax.Array) -> jax.Array:
        """Hashtags' vectors `[..., s]` to their places in the space `[..., width]`."""
        return unit(self.hashtag(vectors))

    def known(self, labels: jax.Array) -> jax.Array:
        """The vectors `[len(labels), s]` of hashtags, by their positions among those that the split names."""
        return self.hashtag_vectors[labels]

    def _hashtags(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """The place of the mean vector of each post's hashtags `[B, width]`, and which posts have one `[B]`."""
        labels = batch.get("hashtags", jnp.full((len(batch["tokens"]), 1), -1))
        vectors = self.hashtag_vectors[jnp.maximum(labels, 0)]
        real = (labels >= 0) & (vectors != 0).any(-1)
        mean = jnp.where(real[..., None], vectors, 0).sum(1) / jnp.maximum(real.sum(1, keepdims=True), 1)
        return self.embed(mean.astype(batch["vector"].dtype)), real.any(1)


def _mean(views: Views) -> tuple[jax.Array, jax.Array]:
    """The direction of the mean of the views that each post has, and which have any."""
    real = jnp.stack([real for _, real in views.values()])
    mean = jnp.where(real[..., None], jnp.stack([view for view, _ in views.values()]), 0).sum(0)
    return unit(mean), real.any(0)
