"""Topics of a split: gensim's LDA on its training posts, stored as plain arrays, and every post's proportions.

`splits/<split>/topics/` holds words.npy (dataset word ids), topic_word.npy, alpha.npy, top.txt (each topic's first
words) and topics.json, which vouches for `splits/<split>/topics.npy` too. Fitting sees no validation or test post;
proportions are those of `jaxtag.data.topics`, which is what recommending computes for a new post.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.dataset import Dataset, Split, open_dataset
from jaxtag.data.text import Cleaning
from jaxtag.data.topics import Topics
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32, new_folder, seal, write_json

from .presets import english_stop_words
from .progress import Bar
from .workers import ordered

FORMAT = 1
POSTS = 5_000  # whose proportions are computed at a time
CHUNK = 2_000  # posts between two updates of the topics
SHOWN = 10  # words of a topic in top.txt


@dataclass(frozen=True)
class Fitting:
    """How topics are fitted.

    Attributes:
      topics: K.
      passes: times through the training posts.
      alpha, eta: of the priors over a post's topics and a topic's words; 0 is 1/K. Published 50/K is for documents
        of hundreds of words: it would drown a post's ten.
      stop_words: leave English stop words out, and what has no letter.
      seed: of the first topics.
    """

    topics: int = 100
    passes: int = 5
    alpha: float = 0.0
    eta: float = 0.0
    stop_words: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("topics", 2), ("passes", 1), ("alpha", 0), ("eta", 0), ("seed", 0)):
            if not getattr(self, name) >= least:
                raise JaxtagError(f"--{name} {getattr(self, name)} is below {least}")


def make(data: Path, split_name: str, fitting: Fitting, workers: int = 1) -> dict[str, Any]:
    """Fit topics for a split and infer every post's; earlier ones are replaced.

    Args:
      data: dataset folder.
      split_name: of the split; '' is its default one.
      fitting: how.
      workers: processes that infer; their number changes no byte.

    Returns:
      topics.json.

    Raises:
      JaxtagError: no such dataset or split, or no word to find topics in.
    """
    dataset = open_dataset(data)
    split = dataset.split(split_name)
    with new_folder(split.path / "topics") as side:
        proportions = side / "topics.npy"
        topics = _fit(dataset, split, fitting)
        for name in ("words", "topic_word", "alpha"):
            np.save(side / f"{name}.npy", getattr(topics, name))
        (side / "top.txt").write_text("".join(f"{' '.join(words)}\n" for words in top(topics, dataset)), "utf-8")
        info = {"format": FORMAT, "dataset": dataset.fingerprint, "split": split.fingerprint} | asdict(fitting)
        info |= {"words": len(topics.words), "posts": len(split.train), "rows": dataset.rows, "files": seal(side)}
        _infer(dataset, topics, proportions, workers)
        info["proportions"] = {"bytes": proportions.stat().st_size, "crc32": crc32(proportions)}
        write_json(side / "topics.json", info)
        proportions.replace(split.path / "topics.npy")
    return info


def top(topics: Topics, dataset: Dataset, count: int = SHOWN) -> list[list[str]]:
    """The first `count` words of each topic, the likeliest first."""
    order = np.argsort(-topics.topic_word, axis=1, kind="stable")[:, :count]
    return [[dataset.words.entries[i] for i in topics.words[row]] for row in order]


def vocabulary(dataset: Dataset, split: Split, stop_words: bool) -> np.ndarray:
    """Dataset word ids that topics are made of: the split's, but words of no meaning of their own, int32.

    Raises:
      JaxtagError: none is left.
    """
    cleaning = Cleaning.from_json(dataset.info["settings"]["cleaning"])
    dropped = {cleaning.mention, *english_stop_words()} if stop_words else set()
    names = ((i, dataset.words.entries[i]) for i in split.words.tolist())
    kept = [i for i, name in names if name not in dropped and (not stop_words or any(map(str.isalpha, name)))]
    if not kept:
        raise JaxtagError(f"{split.path} has no words to find topics in", "give more posts, or --no-stop-words")
    return np.array(kept, np.int32)


@dataclass(frozen=True)
class _Posts:
    """Training posts as gensim wants them, again and again: lists of (position in the vocabulary, times)."""

    tokens: Ragged
    rows: np.ndarray
    position: np.ndarray
    rounds: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        with Bar(self.rounds.pop(0) if self.rounds else "fitting topics", len(self.rows)) as bar:
            for row in bar.over(self.rows.tolist(), lambda _: 1):
                places = self.position[self.tokens[row]]
                ids, times = np.unique(places[places >= 0], return_counts=True)
                yield list(zip(ids.tolist(), times.tolist()))


def _fit(dataset: Dataset, split: Split, fitting: Fitting) -> Topics:
    from gensim.models import LdaModel

    words = vocabulary(dataset, split, fitting.stop_words)
    position = np.full(len(dataset.words), -1, np.int64)
    position[words] = np.arange(len(words))
    rounds = [f"pass {i} of {fitting.passes}" for i in range(1, fitting.passes + 1)]
    alpha = np.full(fitting.topics, fitting.alpha or 1 / fitting.topics, np.float32)
    model = LdaModel(
        _Posts(dataset.column("tokens"), split.train, position, rounds),
        num_topics=fitting.topics,
        id2word=dict(enumerate(map(str, words))),
        passes=fitting.passes,
        chunksize=CHUNK,
        alpha=alpha,  # type: ignore[arg-type]: an array is one of its ways
        eta=fitting.eta or 1 / fitting.topics,
        eval_every=None,  # type: ignore[arg-type]: gensim's way of never
        random_state=fitting.seed,
    )
    state: Any = model.state
    return Topics(words, state.get_lambda().astype(np.float32), alpha)


def _infer(dataset: Dataset, topics: Topics, path: Path, workers: int) -> None:
    """Write every post's proportions to `path`."""
    starts = range(0, dataset.rows, POSTS)
    tokens: Ragged = dataset.column("tokens")

    def blocks() -> Iterator[Ragged]:
        for start in starts:
            offsets = np.array(tokens.offsets[start : start + POSTS + 1])
            yield Ragged(np.array(tokens.values[offsets[0] : offsets[-1]]), offsets - offsets[0])

    with open(path, "wb") as file, Bar("topics of every post", len(starts)) as bar:
        described = {"descr": "<f2", "fortran_order": False, "shape": (dataset.rows, topics.count)}
        np.lib.format.write_array_header_1_0(file, described)
        for found in bar.over(ordered(topics.proportions, blocks(), workers), lambda _: 1):
            file.write(np.ascontiguousarray(found, "<f2").data)
