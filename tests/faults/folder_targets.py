"""Readers of our own folders: datasets, splits, what is fitted on them, runs and checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from jaxtag_prep import records

from jaxtag import runs
from jaxtag.data import images, inspect, topics
from jaxtag.data.dataset import open_dataset
from jaxtag.data.hashtags import open_table
from jaxtag.data.text import Cleaning
from jaxtag.data.wordpieces import open_wordpieces
from jaxtag.files import seal, write_json
from jaxtag.report import runs as reported
from jaxtag.training.checkpoints import Checkpoints
from jaxtag.training.logs import Log
from jaxtag.training.seals import FILE as SEALS
from tests import toy
from tests.faults.made import npz
from tests.faults.mutations import SEPARATOR
from tests.faults.targets import BINARY, Read, Target

Made = tuple[list[bytes], Read]
POSTS = 30


def _dataset(folder: Path) -> Path:
    path = toy.make(folder / "in" / "data", POSTS)
    info = json.loads((path / "dataset.json").read_text())
    write_json(path / "dataset.json", info | {"settings": {"cleaning": Cleaning().to_json()}})
    return path


def _fitted(path: Path) -> Path:
    """Word vectors and topics of a dataset's split, written as they are by `jaxtag-prep`."""
    split = path / "splits" / "default"
    vectors, model = split / "vectors" / "made", split / "topics"
    vectors.mkdir(parents=True), model.mkdir()
    (vectors / "names.txt").write_text("".join(f"{toy.word(i)}\n" for i in range(5)), "utf-8")
    for name, rows in (("table", 5), ("words", POSTS), ("hashtags", toy.HASHTAGS)):
        np.save(vectors / f"{name}.npy", np.ones((rows, 3), np.float32))
    write_json(
        vectors / "vectors.json", {"setting": "given", "model": "x", "dim": 3, "subwords": None, "files": seal(vectors)}
    )
    for name, array in (
        ("words", np.arange(2, 5, dtype=np.int32)),
        ("topic_word", np.ones((2, 3))),
        ("alpha", np.ones(2)),
    ):
        np.save(model / f"{name}.npy", array)
    files = seal(model)
    np.save(split / "topics.npy", np.ones((POSTS, 2), np.float16))
    proportions = seal(split)["topics.npy"]
    write_json(model / "topics.json", {"format": 1, "topics": 2, "proportions": proportions, "files": files})
    return split


def _of(name: str, reader: Callable[[Path], Any], fitted: bool = False) -> Callable[[Path], Made]:
    """A reader of a dataset one file of which is changed."""

    def make(folder: Path) -> Made:
        path = _dataset(folder)
        if fitted:
            _fitted(path)
        seed = (path / name).read_bytes()

        def read(data: bytes) -> bool:
            (path / name).write_bytes(data)
            return bool(reader(path))

        return [seed], read

    return make


def _opened(path: Path) -> bool:
    """A dataset read whole, as `jaxtag data show` and training do."""
    dataset = open_dataset(path)
    inspect.describe(path)
    for name in dataset.info["columns"]:
        dataset.column(name)
    open_wordpieces(dataset)
    split = dataset.split()
    return len(dataset.text(split.train[:3])) == 3 and len(dataset.fingerprint) == 16


def _split(path: Path) -> bool:
    inspect.describe(path)
    split = open_dataset(path).split("default")
    return len(split.fingerprint) > 0 and len(split.word_ids(len(open_dataset(path).words))) > 0


def _vectors(path: Path) -> bool:
    split = open_dataset(path).split("default")
    open_table(split.vectors_path("made"))
    inspect.describe(path)
    return "files" in split.vectors_info("made")


def _topics(path: Path) -> bool:
    split = open_dataset(path).split("default")
    inspect.describe(path)
    return topics.open_topics(split.path / "topics").count == 2 and len(split.topics()) == POSTS


def _features(path: Path) -> bool:
    dataset = open_dataset(path)
    images.describe(dataset)
    return all(len(images.open_features(dataset, name).present) == POSTS for name in images.extractors(dataset))


def _column(name: str) -> Callable[[Path], bool]:
    def reader(path: Path) -> bool:
        from jaxtag.data import columns

        columns.read(path / "columns", name)
        return True

    return reader


def _run(folder: Path) -> Path:
    """A run folder without checkpoints, of a dataset."""
    data, run = _dataset(folder), folder / "in" / "run"
    run.mkdir()
    from jaxtag import experiment as experiments
    from jaxtag.recipes import find_recipe

    dataset = open_dataset(data)
    described = {
        "format": experiments.FORMAT,
        "recipe": "zsl/rnn",
        "experiment": experiments.to_json(find_recipe("zsl/conse")("tiny")),
        "parameters": 7,
        "dataset": {"path": str(data), "name": "data", "fingerprint": dataset.fingerprint},
        "split": {"name": "default", "fingerprint": dataset.split("default").fingerprint},
        "versions": {"jax": "0"},
        "devices": "1 x cpu",
    }
    write_json(run / "experiment.json", described)
    rows = [{"kind": "train", "step": 1, "loss": 2.0}, {"kind": "validation", "step": 2, "f1@1": 0.5}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(
        run / "evaluation-test.json", {"posts": 3, "f1@1": 0.5, "baselines": {"most used": {"posts": 3, "f1@1": 0.1}}}
    )
    ranked = np.arange(6, dtype=np.int32).reshape(3, 2)
    (run / "predictions-test.npz").write_bytes(npz(rows=np.arange(3), ranked=ranked, gold=ranked))
    return run


def _of_run(name: str, reader: Callable[[Path], Any]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        run = _run(folder)
        seed = (run / name).read_bytes()

        def read(data: bytes) -> bool:
            (run / name).write_bytes(data)
            with mock.patch.object(runs, "bind", lambda *bound: mock.Mock()):  # which would take a second
                return bool(reader(run))

        return [seed], read

    return make


def _logged(run: Path) -> bool:
    Log(run, 1, 5, bar=False).close()
    return True


def _seals(folder: Path) -> Made:
    """A run's seals.json; the checkpoints are what they were."""
    saved = _saved(folder)
    seed = (saved / SEALS).read_bytes()

    def read(data: bytes) -> bool:
        (saved / SEALS).write_bytes(data)
        return _restored(saved)

    return [seed], read


def _saved(folder: Path) -> Path:
    path = folder / "in" / "checkpoints"
    path.mkdir(parents=True)
    checkpoints = Checkpoints(path)
    for step in (1, 2):
        checkpoints.save(step, STATE | {"step": np.array(step, np.int32)}, {"said": step, "best_step": 1}, 0.1)
    checkpoints.close()
    return path


STATE = {"params": {"a": np.arange(4, dtype=np.float32)}, "step": np.zeros((), np.int32)}


def _restored(path: Path) -> bool:
    checkpoints = Checkpoints(path, reading=True)
    try:
        best = checkpoints.best()
        return best is not None and checkpoints.restore(best, STATE)[0]["params"]["a"].shape == (4,)
    finally:
        checkpoints.close()


def _checkpoint(folder: Path) -> Made:
    """The small files of a checkpoint that has no seal, so that Orbax itself meets them."""
    path = _saved(folder)
    (path / SEALS).unlink()
    shutil.rmtree(path / "1")
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    whole = {name: (path / name).read_bytes() for name in names}

    def read(data: bytes) -> bool:
        for name, content in zip(names, [*data.split(SEPARATOR), *[b""] * len(names)]):
            if not (path / name).is_file() or (path / name).read_bytes() != content:
                (path / name).write_bytes(content)
        return _restored(path)

    return [SEPARATOR.join(whole.values())], read


def _prepared(folder: Path) -> Made:
    """What preparing reads again of its own: the description of records."""
    where = folder / "in" / "records"
    where.mkdir(parents=True)
    post = records.Record(
        **{f: 1 if f in records._INTEGERS else b"x" for f in (*records._INTEGERS, *records._TEXTS)}, hashtags=[b"a"]
    )
    records.write(where, [[records.serialise(post)] * 3])
    seed = (where / "dataset_info.json").read_bytes()

    def read(data: bytes) -> bool:
        (where / "dataset_info.json").write_bytes(data)
        return sum(map(len, records.read(where))) == 3

    return [seed], read


TARGETS = (
    Target("dataset.json", "json", BINARY, _of("dataset.json", _opened)),
    Target("dataset.columns", "npy", BINARY, _of("columns/hashtags.offsets.npy", _column("hashtags"))),
    Target("dataset.column", "npy", BINARY, _of("columns/author.npy", _column("author"))),
    Target("split.json", "json", BINARY, _of("splits/default/split.json", _split)),
    Target("vectors.json", "json", BINARY, _of("splits/default/vectors/made/vectors.json", _vectors, True)),
    Target("topics.json", "json", BINARY, _of("splits/default/topics/topics.json", _topics, True)),
    Target("extractor.json", "json", BINARY, _of("images/seen/extractor.json", _features)),
    Target("records.json", "json", BINARY, _prepared),
    Target("experiment.json", "json", BINARY, _of_run("experiment.json", runs.open_run)),
    Target(
        "metrics.jsonl", "json", BINARY, _of_run("metrics.jsonl", lambda run: (reported._metrics(run), _logged(run)))
    ),
    Target("evaluation.json", "json", BINARY, _of_run("evaluation-test.json", reported._evaluations)),
    Target("predictions.npz", "zip", BINARY, _of_run("predictions-test.npz", reported._evaluations)),
    Target("seals.json", "json", BINARY, _seals),
    Target("checkpoint", "files", BINARY, _checkpoint),
)
