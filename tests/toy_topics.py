"""Topics of the toy posts, written directly: topic k is of the words that speak for hashtag k."""

from pathlib import Path

import numpy as np

from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import FIRST_WORD
from jaxtag.data.topics import open_topics
from jaxtag.files import crc32, new_folder, seal, write_json
from tests import toy


def make(path: Path, split: str = "default") -> None:
    """Add topics to a split of the toy dataset at `path`."""
    dataset = open_dataset(path)
    folder = dataset.split(split).path
    speaks = np.arange(toy.WORDS) % toy.HASHTAGS == np.arange(toy.HASHTAGS)[:, None]
    with new_folder(folder / "topics") as side:
        np.save(side / "words.npy", np.arange(FIRST_WORD, FIRST_WORD + toy.WORDS, dtype=np.int32))
        np.save(side / "topic_word.npy", np.where(speaks, 20, 0.1).astype(np.float32))
        np.save(side / "alpha.npy", np.full(toy.HASHTAGS, 1 / toy.HASHTAGS, np.float32))
        write_json(side / "topics.json", {"files": (files := seal(side))})
        found = open_topics(side).proportions(dataset.column("tokens"))
        np.save(folder / "topics.npy", found)
        proportions = {"bytes": (folder / "topics.npy").stat().st_size, "crc32": crc32(folder / "topics.npy")}
        described = {"format": 1, "topics": toy.HASHTAGS, "files": files, "proportions": proportions}
        write_json(side / "topics.json", described)
