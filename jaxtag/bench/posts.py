"""Posts to measure with: like real ones in what decides the speed, or a dataset's own.

Made-up posts have as many words as real ones (`LENGTHS`), and word ids by Zipf's law, so that a batch repeats words and
reaches rare ones as a real one does. What the words are changes no time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxtag.data import batches
from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import open_dataset
from jaxtag.data.history import packed_words
from jaxtag.data.image_columns import ImageColumns, cells_of, stored, usual_shapes
from jaxtag.data.posts import FIRST_WORD, HISTORY, PIECES, REGIONS, TOPICS, WORDPIECES, round_up
from jaxtag.data.wordpieces import pieces
from jaxtag.experiment import Experiment
from jaxtag.plan.workload import MANY_TOPICS, Workload, assumed_vectors, image_sizes
from jaxtag.systems import find_trained_by_step

# Of 55,811 English posts of the public FiveThirtyEight corpus of Internet Research Agency accounts, cleaned, without
# stop words and hashtags and of at least 5 words: how many have 5, 6, 7, … words. On average 12.1.
LENGTHS = (
    1110, 2270, 3670, 4639, 4874, 4807, 4176, 3755, 3118, 2600, 2326, 2100, 1967, 1889, 1834, 1666, 1566, 1414, 1300,
    1113, 946, 806, 527, 423, 271, 226, 114, 83, 41, 28, 23, 8, 14, 13, 6, 17,
)  # fmt: skip
SHORTEST = 5
POSTS = 50_000
IMAGES = 512  # distinct ones; more change no time that a step takes on resident columns
MANY = 12  # hashtags of a post on average, of systems of hashtag sequences: 11.73 in the MM-INS of the amnn paper


@dataclass(frozen=True)
class Posts:
    """Posts ready to be read.

    Attributes:
      reading: as training has it.
      rows: of the training part.
      words, hashtags: how many there are.
      source: where they are from, for the reader.
      vectors: numbers of a word vector; 0 where none are read.
    """

    reading: batches.Reading
    rows: np.ndarray
    words: int
    hashtags: int
    source: str
    vectors: int = 0

    @property
    def workload(self) -> Workload:
        """The numbers that a model's sizes come from."""
        r = self.reading
        images = image_sizes(r.images)
        return Workload(
            self.words,
            self.hashtags,
            len(self.rows),
            r.lengths,
            {},
            0,
            self.source,
            r.posts,
            r.packed,
            *images,
            r.many_topics,
            self.vectors,
        )


def made_up(
    experiment: Experiment,
    words: int,
    hashtags: int,
    posts: int = POSTS,
    seed: int = 0,
    uniform: bool = False,
    full: bool = False,
) -> Posts:
    """Posts of one hashtag each, as long as real ones, with any others for their history and any image of `IMAGES`.

    The i-th most used of `words` words is 1/i as likely; with `uniform`, all are equally likely. With `full`, every
    post is as long as a batch has room for: no arithmetic is on padding.
    """
    draw, data = np.random.default_rng(seed), experiment.data
    share = np.array(LENGTHS) / sum(LENGTHS)
    lengths = draw.choice(np.arange(SHORTEST, SHORTEST + len(LENGTHS)), posts, p=share)
    lengths = np.full(posts, max(data.length, data.history_length)) if full else lengths
    entry = find_trained_by_step(experiment, "measurement of steps")
    names, many = entry.columns, MANY if entry.output == "decode" else 1
    words = min(words, PIECES) if WORDPIECES in names else words
    weight = np.cumsum(np.ones(words) if uniform else 1.0 / np.arange(1, words + 1))
    tokens = FIRST_WORD + np.searchsorted(weight, draw.random(lengths.sum()) * weight[-1], "right").astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    made = {"tokens": Ragged(tokens, offsets)}
    if WORDPIECES in names:  # as many as there is room for: posts at their longest
        ids = draw.integers(FIRST_WORD, words, posts * data.length, dtype=np.int32)
        made[WORDPIECES] = Ragged(ids, np.arange(posts + 1) * data.length)
    ends = np.cumsum(draw.integers(1, 2 * many, posts)) if many > 1 else np.arange(1, posts + 1)
    tags = Ragged(draw.integers(0, hashtags, ends[-1], dtype=np.int32), np.concatenate([[0], ends]))
    most = {"tokens": data.length, HISTORY: data.history_length}
    sizes = {name: min(round_up(int(lengths.max())), most[name]) for name in most if name in names}
    sizes |= {WORDPIECES: data.length} if WORDPIECES in names else {}
    earlier = draw.integers(0, posts, (posts, data.history), dtype=np.int32) if HISTORY in names else None
    reading = batches.Reading(
        made | {"hashtags": tags}, sizes | {"hashtags": round_up(many)},
        np.arange(words + FIRST_WORD, dtype=np.int32), np.arange(hashtags), earlier,
        packed_words(np.minimum(lengths, data.history_length)[earlier]) if earlier is not None else 0,
        _images(draw, data.extractor, names, posts),
        draw.dirichlet(np.ones(MANY_TOPICS), posts).astype(np.float16) if TOPICS in names else None,
    )  # fmt: skip
    source = "made up" + ", words equally likely" * uniform + ", at their longest" * full
    rows = np.arange(posts, dtype=np.int32)
    return Posts(reading, rows, words, hashtags, source, assumed_vectors(experiment))


def _images(draw: np.random.Generator, extractor: str, names: tuple[str, ...], posts: int) -> ImageColumns | None:
    """Made-up features of `IMAGES` images, which the posts share."""
    shapes = usual_shapes(extractor, names)
    arrays = {}
    for name, (shape, dtype) in stored(shapes).items():
        if name in shapes:
            values = draw.random((IMAGES, *shape), np.float32)
            arrays[name] = ((255 * values if dtype == "uint8" else values).astype(dtype),)
    rows = draw.integers(0, IMAGES, posts, dtype=np.int32)
    counts = np.full(IMAGES, cells_of(shapes), np.int32) if REGIONS in shapes else None
    return ImageColumns(("made up",), rows, arrays, counts) if arrays else None


def of_dataset(experiment: Experiment, path: Path, split: str) -> Posts:
    """The training part of a dataset's split.

    Raises:
      JaxtagError: there is none, or it lacks a column.
    """
    dataset = open_dataset(path)
    found = dataset.split(split)
    names = find_trained_by_step(experiment, "measurement of steps").columns
    reading = batches.reading(dataset, found, experiment, names, found.hashtags)
    words = min(len(found.words), experiment.data.words or len(found.words))
    words = pieces(dataset) if WORDPIECES in names else words
    source = f"split {found.name} of {path.name}"
    return Posts(reading, found.train, words, len(found.hashtags), source, assumed_vectors(experiment))
