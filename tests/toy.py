"""A small dataset folder written directly, so that tests of learning need no preparation library."""

from pathlib import Path

import numpy as np

from jaxtag.data import columns
from jaxtag.data.columns import Ragged, ragged
from jaxtag.data.posts import COLUMNS, FIRST_WORD, FORMAT
from jaxtag.data.vocabulary import RESERVED, Vocabulary
from jaxtag.data.wordpieces import SPECIAL
from jaxtag.files import fingerprint, new_folder, read_json, seal, write_json

WORDS, HASHTAGS, AUTHORS = 60, 12, 9
CELLS, WIDTH = 4, 16  # of the features of images; every eleventh post has no image


def word(token: int) -> str:
    """The word with this id: letters only, so that every tokenizer leaves it whole."""
    return "word" + chr(97 + token // 26) + chr(97 + token % 26)


def make(path: Path, posts: int = 400, seed: int = 0, one: bool = False, pictured: bool = False) -> Path:
    """A dataset whose words give its hashtags away, word w speaks for hashtag w mod 12, and whose images do too.

    With `one`, each post has one hashtag; with `pictured`, each has an image.
    """
    rng = np.random.default_rng(seed)
    gold = [rng.choice(HASHTAGS, 1 if one else rng.integers(1, 4), replace=False).tolist() for _ in range(posts)]
    tokens = []
    for tags in gold:
        said = [FIRST_WORD + t + HASHTAGS * int(rng.integers(0, 4)) for t in tags for _ in range(2)]
        noise = rng.integers(FIRST_WORD, FIRST_WORD + WORDS, rng.integers(0, 6)).tolist()
        tokens.append(rng.permutation(said + noise).tolist())
    author = rng.integers(1, AUTHORS + 1, posts)
    history = np.full((posts, 5), -1)
    for i in range(posts):
        mine = [j for j in range(i - 1, -1, -1) if author[j] == author[i]][:5]
        history[i, : len(mine)] = mine
    texts = [" ".join(word(t) for t in ids).encode() for ids in tokens]
    image = np.where((np.arange(posts) % 11 == 10) & (not pictured), -1, rng.permutation(posts))
    with new_folder(path) as side:
        for name in ("columns", "text", "vocabulary"):
            (side / name).mkdir()
        write = lambda name, *values: columns.write(side / "columns", name, *values)  # noqa: E731
        pieces = ragged([2, *(len(SPECIAL) + t - FIRST_WORD for t in ids), 3] for ids in tokens)  # [CLS] … [SEP]
        columns_made: dict[str, Ragged] = {"tokens": ragged(tokens), "hashtags": ragged(gold), "wordpieces": pieces}
        for name, made in columns_made.items():
            write(name, made.values, made.offsets)
        write("author", author)
        write("time", np.arange(posts) * 60)
        write("ordinal", np.arange(posts))
        write("history", history)
        write("image", image)
        np.save(side / "text" / "bytes.npy", np.frombuffer(b"".join(texts), np.uint8))
        np.save(side / "text" / "offsets.npy", np.cumsum([0, *map(len, texts)]))
        names = (*RESERVED, *(word(FIRST_WORD + i) for i in range(WORDS)))
        Vocabulary(names, (1,) * len(names)).save(side / "vocabulary" / "words.txt")
        names = (*SPECIAL, *names[len(RESERVED) :])
        Vocabulary(names, (1,) * len(names)).save(side / "vocabulary" / "wordpieces.txt")
        Vocabulary(tuple(f"tag{i}" for i in range(HASHTAGS)), (1,) * HASHTAGS).save(
            side / "vocabulary" / "hashtags.txt"
        )
        names = ("<unknown>", *(f"author{i}" for i in range(1, AUTHORS + 1)))
        Vocabulary(names, (0, *np.bincount(author, minlength=AUTHORS + 1)[1:].tolist())).save(
            side / "vocabulary" / "authors.txt"
        )
        files = seal(side)
        described = {
            n: {"dtype": COLUMNS[n].dtype, "ragged": COLUMNS[n].ragged, "width": COLUMNS[n].width, "rows": posts}
            for n in ("tokens", "wordpieces", "hashtags", "author", "time", "ordinal", "history", "image")
        }
        write_json(
            side / "dataset.json",
            {
                "format": FORMAT,
                "name": path.name,
                "source": {},
                "preset": "toy",
                "settings": {},
                "added": {"wordpieces": {"pieces": len(SPECIAL) + WORDS, "lower": True}},
                "funnel": [],
                "posts": posts,
                "columns": described,
                "files": files,
                "fingerprint": fingerprint(files),
            },
        )
    make_split(path, posts, one=one)
    for number, extractor in enumerate(("seen", "other")):
        make_features(path, extractor, image, gold, WIDTH * (number + 1))
    make_regions(path)
    return path


def make_pixels(path: Path, side: int) -> None:
    """Decoded images of the dataset at `path` as the extractor `pixels`, whatever they show."""
    rows = len(np.load(path / "images" / "seen" / "present.npy"))
    with new_folder(path / "images" / "pixels") as folder:
        np.save(folder / "pixels.npy", np.random.default_rng(side).integers(0, 256, (rows, side, side, 3), np.uint8))
        np.save(folder / "present.npy", np.ones(rows, bool))
        described = {"format": 1, "network": "pixels", "images": 0, "rows": rows, "side": side}
        described |= {"shapes": {"pixels": [side, side, 3]}}
        write_json(folder / "extractor.json", described | {"files": seal(folder)})


def make_regions(path: Path) -> None:
    """Regions that are the cells of `seen`, with boxes of any kind; every fifth image has one region less."""
    grid = np.load(path / "images" / "seen" / "grid.npy")
    rows = len(grid)
    count = np.where(np.arange(rows) % 5 == 4, CELLS - 1, CELLS).astype(np.int32)
    real = np.arange(CELLS) < count[:, None]
    corners = np.sort(np.random.default_rng(rows).random((rows, CELLS, 2, 2), np.float32), axis=2)
    arrays = {"features": np.where(real[..., None], grid, 0), "boxes": corners.reshape(rows, CELLS, 4), "count": count}
    with new_folder(path / "images" / "regions") as side:
        for kind, values in (arrays | {"present": np.ones(rows, bool)}).items():
            np.save(side / f"{kind}.npy", values)
        shapes = {"regions": [CELLS, WIDTH], "boxes": [CELLS, 4], "count": []}
        described = {"format": 1, "images": 0, "rows": rows, "shapes": shapes}
        write_json(side / "extractor.json", described | {"files": seal(side)})


def make_features(path: Path, extractor: str, image: np.ndarray, gold: list[list[int]], width: int) -> None:
    """Features of the posts' images that give hashtags away: a cell has the value of each at the hashtag's place."""
    rng = np.random.default_rng(width)
    grid = rng.random((len(image), CELLS, width), np.float32) / 4
    for row, tags in zip(image, gold):
        grid[row, rng.integers(0, CELLS, len(tags)), tags] += 2 if row >= 0 else 0
    present = np.ones(len(image), bool)
    with new_folder(path / "images" / extractor) as side:
        arrays = {"grid": grid, "vector": grid.mean(1)}
        for kind, values in arrays.items():
            np.save(side / f"{kind}.npy", values.astype(np.float16))
        np.save(side / "present.npy", present)
        shapes = {kind: list(values.shape[1:]) for kind, values in arrays.items()}
        described = {"format": 1, "images": 0, "rows": len(image), "shapes": shapes}
        write_json(side / "extractor.json", described | {"files": seal(side)})


def make_split(path: Path, posts: int, name: str = "default", seed: int = 1, one: bool = False) -> None:
    """A random 80/10/10 split of the dataset at `path`."""
    from jaxtag.data.dataset import SPLIT_FORMAT, open_dataset

    per_post = "one" if one else "all"
    order = np.random.default_rng(seed).permutation(posts).astype(np.int32)
    cut = (posts * 8 // 10, posts * 9 // 10)
    with new_folder(path / "splits" / name) as side:
        parts = dict(zip(("train", "validation", "test"), np.split(order, cut)))
        for part, rows in parts.items():
            np.save(side / f"{part}.npy", np.sort(rows))
        np.save(side / "hashtags.npy", np.arange(HASHTAGS, dtype=np.int32))
        np.save(side / "candidates.npy", np.arange(HASHTAGS, dtype=np.int32))
        np.save(side / "words.npy", np.arange(FIRST_WORD, FIRST_WORD + WORDS, dtype=np.int32))
        files = seal(side)
        dataset = open_dataset(path)
        write_json(
            side / "split.json",
            {
                "format": SPLIT_FORMAT,
                "name": name,
                "dataset": dataset.fingerprint,
                "summary": f"at random 80/10/10; seed {seed}",
                "rule": {
                    "min_words": 0,
                    "min_hashtag_posts": 1,
                    "top": 0,
                    "per_post": per_post,
                    "cap": 0,
                    "min_word_count": 1,
                    "division": "random",
                    "fractions": [0.8, 0.1, 0.1],
                    "folds": 0,
                    "fold": 0,
                    "validation": 0.1,
                    "unseen": 0,
                    "unseen_hashtags": [],
                    "seen_hashtags": [],
                    "unseen_after": 0,
                    "shots": [0, 0],
                    "generalised": False,
                    "seed": seed,
                },
                "seed": seed,
                "hashtags_per_post": per_post,
                "counts": {},
                "files": files,
                "fingerprint": fingerprint([dataset.fingerprint, files]),
            },
        )


def make_folded(path: Path, folds: int, posts: int) -> Path:
    """A dataset at `path` with the folds of `make_folds`; its path."""
    make(path, posts)
    make_folds(path, folds, posts)
    return path


def make_folds(path: Path, folds: int, posts: int, name: str = "cv", one: bool = False) -> None:
    """Splits `name-i` of the dataset at `path`, whose test parts are a partition of the posts."""
    parts = np.array_split(np.random.default_rng(3).permutation(posts).astype(np.int32), folds)
    for i, test in enumerate(parts):
        make_split(path, posts, f"{name}-{i}", seed=i, one=one)
        folder = path / "splits" / f"{name}-{i}"
        rest = np.setdiff1d(np.arange(posts, dtype=np.int32), test)
        for part, rows in (("train", rest[10:]), ("validation", rest[:10]), ("test", np.sort(test))):
            np.save(folder / f"{part}.npy", rows)
        info = read_json(folder / "split.json", "split")
        files = {k: v for k, v in seal(folder).items() if k != "split.json"}
        write_json(folder / "split.json", info | {"files": files, "fingerprint": fingerprint([i, files])})
