"""An estimator and its peer on the same made-up posts: functions that fit, predict, and give each test post's first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.bench.posts import LENGTHS, SHORTEST
from jaxtag.data.columns import Ragged, gather
from jaxtag.data.posts import FIRST_WORD, PAD
from jaxtag.data.topics import Topics
from jaxtag.estimators import mlknn, naive_bayes, neighbours, svm, tfidf, voters

OWN = 20  # words that posts with a hashtag have more often
TOPICS = 50
AT_ONCE = 1024  # posts that are predicted in one call


@dataclass(frozen=True)
class Setup:
    """What is made up and measured.

    Attributes:
      posts, tests: to fit on, and to predict.
      words, hashtags: how many there are; a post has one hashtag.
      features: numbers of a post, of those that read some.
      rounds: pairs of runs.
      seed: of what is made up.
    """

    posts: int = 20_000
    tests: int = 4_096
    words: int = 30_000
    hashtags: int = 50
    features: int = 300
    rounds: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Made:
    """Made-up posts, the first `setup.posts` of them to fit on.

    Attributes:
      tokens: word ids `[n, T]`, 0 behind the last.
      label: of each post.
      features: `[n, p]` float32.
      setup: what was asked for.
    """

    tokens: np.ndarray
    label: np.ndarray
    features: np.ndarray
    setup: Setup

    def counts(self, part: slice) -> Any:
        """How often each post of `part` has each word id, sparse."""
        from scipy.sparse import csr_array

        tokens = self.tokens[part]
        row, at = np.nonzero(tokens >= FIRST_WORD)
        shape = (len(tokens), FIRST_WORD + self.setup.words)
        found = csr_array((np.ones(len(row)), (row, tokens[row, at])), shape=shape)
        found.sum_duplicates()
        return found

    def gold(self) -> Any:
        """The hashtags of the training posts, sparse ones."""
        from scipy.sparse import csr_array

        label = self.label[self.train]
        where = (np.arange(len(label)), label)
        return csr_array((np.ones(len(label)), where), shape=(len(label), self.setup.hashtags))

    @property
    def train(self) -> slice:
        """Posts to fit on."""
        return slice(0, self.setup.posts)

    @property
    def test(self) -> slice:
        """Posts to predict."""
        return slice(self.setup.posts, None)


def make(setup: Setup) -> Made:
    """Posts as long as real ones, words by Zipf's law, of which every third is one of the hashtag's own."""
    draw, count = np.random.default_rng(setup.seed), setup.posts + setup.tests
    lengths = draw.choice(np.arange(SHORTEST, SHORTEST + len(LENGTHS)), count, p=np.array(LENGTHS) / sum(LENGTHS))
    weight = np.cumsum(1.0 / np.arange(1, setup.words + 1))
    words = np.searchsorted(weight, draw.random(lengths.sum()) * weight[-1], "right").clip(0, setup.words - 1)
    label = draw.integers(0, setup.hashtags, count)
    label[: setup.hashtags] = np.arange(setup.hashtags)  # each trains at least one post
    own = draw.integers(0, setup.words, (setup.hashtags, OWN))
    about = np.repeat(label, lengths)
    words = np.where(draw.random(len(words)) < 1 / 3, own[about, draw.integers(0, OWN, len(words))], words)
    column = Ragged((FIRST_WORD + words).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]))
    tokens = gather(column, np.arange(count), int(lengths.max()), PAD)
    centres = draw.standard_normal((setup.hashtags, setup.features), np.float32)
    features = 0.3 * centres[label] + draw.standard_normal((count, setup.features), np.float32)
    return Made(tokens, label, features, setup)


Sides = tuple[Callable[[], Any], Callable[[], Any]]


def _in_parts(function: Callable[[Any], Any], rows: np.ndarray) -> np.ndarray:
    """`function` of parts of one size, so that it is compiled once."""
    size = min(AT_ONCE, len(rows))
    found = []
    for start in range(0, len(rows), size):
        part = np.zeros((size, *rows.shape[1:]), rows.dtype)
        part[: len(rows) - start] = rows[start : start + size]
        found.append(np.asarray(function(part)))
    return np.concatenate(found)[: len(rows)]


def _naive_bayes(made: Made) -> Sides:
    from sklearn.naive_bayes import MultinomialNB

    settings, bags, gold = naive_bayes.Settings(), made.counts(made.train), made.gold()
    asked, label = made.counts(made.test)[:, FIRST_WORD:], made.label[made.train]
    best = jax.jit(lambda fitted, tokens: naive_bayes.scores(settings, fitted, {"tokens": tokens}).argmax(1))

    def ours() -> np.ndarray:
        fitted = jax.device_put(naive_bayes.fit(settings, {"tokens": bags}, gold))
        return _in_parts(partial(best, fitted), made.tokens[made.test])

    def theirs() -> np.ndarray:
        model: Any = MultinomialNB().fit(bags[:, FIRST_WORD:], label)
        return model.predict_joint_log_proba(asked).argmax(1)

    return ours, theirs


def _svm(made: Made) -> Sides:
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    settings, gold, x, asked = svm.Settings(), made.gold(), made.features[made.train], made.features[made.test]
    every = jnp.arange(made.setup.hashtags)
    best = jax.jit(lambda f, x: (svm.query(f, x) @ svm.table(f, every).T).argmax(1))

    def ours() -> np.ndarray:
        fitted = jax.device_put(svm.fit(settings, x, gold))
        return _in_parts(partial(best, fitted), asked)

    def theirs() -> np.ndarray:
        machine: Any = LinearSVC
        model = OneVsRestClassifier(machine(C=settings.penalty, dual=False)).fit(x, gold.tocsr())
        return model.decision_function(asked).argmax(1)

    return ours, theirs


def _neighbours(made: Made) -> Sides:
    from sklearn.neighbors import NearestNeighbors

    settings, gold, x, asked = mlknn.Settings(), made.gold(), made.features[made.train], made.features[made.test]
    hashtags = jax.device_put(voters.kept(made.label[made.train][:, None]))
    best = jax.jit(lambda f, p: mlknn.scores(settings, f, p, voters.hashtags_of(hashtags, p)).argmax(1))

    def learned(near: Callable[[], np.ndarray], places: Callable[[], np.ndarray]) -> np.ndarray:
        fitted = jax.device_put(mlknn.fit(settings, near, gold))
        return _in_parts(partial(best, fitted), places().astype(np.int32))

    def ours() -> np.ndarray:
        near = lambda: neighbours.search(x, x, settings.k, exclude_self=True)[0]  # noqa: E731
        return learned(near, lambda: neighbours.search(asked, x, settings.k)[0])

    def theirs() -> np.ndarray:
        model = NearestNeighbors(n_neighbors=settings.k, algorithm="brute").fit(x)
        near = lambda: model.kneighbors(return_distance=False)  # noqa: E731
        return learned(near, lambda: model.kneighbors(asked, return_distance=False))

    return ours, theirs


def _tfidf(made: Made) -> Sides:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    longest, k, vocabulary = 3, 5, FIRST_WORD + made.setup.words
    train, asked = made.tokens[made.train], made.tokens[made.test]
    texts = [" ".join(map(str, row[row >= FIRST_WORD].tolist())) for row in made.tokens]

    @jax.jit
    def nearest_of(fitted: Any, tokens: jax.Array) -> jax.Array:
        grams, own = tfidf.sequences(fitted, tokens, longest), jnp.full(len(tokens), -1, jnp.int32)
        return tfidf.nearest(fitted, grams, k, len(train), own)[0][:, 0]

    def ours() -> np.ndarray:
        fitted = jax.device_put(tfidf.fit(train, longest, vocabulary)[0])
        return _in_parts(partial(nearest_of, fitted), asked)

    def theirs() -> np.ndarray:
        vectorizer = TfidfVectorizer(ngram_range=(1, longest), token_pattern=r"\S+")
        model = NearestNeighbors(n_neighbors=k, metric="cosine").fit(vectorizer.fit_transform(texts[made.train]))
        return model.kneighbors(vectorizer.transform(texts[made.test]), return_distance=False)[:, 0]

    return ours, theirs


def _topics(made: Made) -> Sides:
    from gensim.models import LdaModel

    words = np.arange(made.setup.words)
    draw = np.random.default_rng(made.setup.seed)
    model: Any = LdaModel(num_topics=TOPICS, id2word={int(w): str(w) for w in words}, random_state=made.setup.seed)
    model.state.sstats = draw.gamma(0.1, 10, (TOPICS, len(words))).astype(np.float32)
    model.sync_state()
    topics = Topics((FIRST_WORD + words).astype(np.int32), model.state.get_lambda(), model.alpha)
    tokens = made.tokens[made.test]
    real = tokens >= FIRST_WORD
    column = Ragged(tokens[real], np.concatenate([[0], np.cumsum(real.sum(1))]))
    bags = [
        [(int(w) - FIRST_WORD, int(n)) for w, n in zip(*np.unique(row[row >= FIRST_WORD], return_counts=True))]
        for row in tokens
    ]

    def ours() -> np.ndarray:
        return topics.gamma(column, change=model.gamma_threshold, rounds=model.iterations).argmax(1)

    return ours, lambda: model.inference(bags)[0].argmax(1)


PAIRS: dict[str, tuple[str, Callable[[Made], Sides]]] = {
    "naive_bayes": ("scikit-learn MultinomialNB", _naive_bayes),
    "svm": ("scikit-learn LinearSVC", _svm),
    "neighbours": ("scikit-learn NearestNeighbors", _neighbours),
    "tfidf": ("scikit-learn TfidfVectorizer", _tfidf),
    "topics": ("gensim LdaModel.inference", _topics),
}
