"""Readers of weights: safetensors, PyTorch's, Keras'; and of records."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from jaxtag_prep import records

from jaxtag.data import extractors, hdf5
from jaxtag.training import pretrained, weight_files
from tests.faults import made
from tests.faults.made import BOXES, FEATURES, Made, file_in, of_file
from tests.faults.mutations import SEPARATOR
from tests.faults.targets import BINARY, Target
from tests.test_lxmert_weights import PIECES, TINY, legacy, zipped

WIDTH, REGIONS = 6, 4


def _weights(path: Path) -> bool:
    found = weight_files.open_weights(path)
    for stored in found.values():
        assert stored.read().shape == stored.shape
    return len(found) > 0


TENSORS = {"embeddings.a": FEATURES, "b": BOXES.T, "c": np.float32(3).reshape(())}


def _safetensors(folder: Path) -> list[bytes]:
    stored = {k: weight_files.Stored(v.shape, v.dtype, lambda v=v: v) for k, v in TENSORS.items()}
    weight_files.write_safetensors(folder / "seed", stored)
    return [(folder / "seed").read_bytes()]


def _torch(folder: Path) -> list[bytes]:
    return [zipped(folder / "seed", TENSORS).read_bytes()]


def _old_torch(folder: Path) -> list[bytes]:
    return [legacy(folder / "seed", TENSORS).read_bytes()]


def _configured(folder: Path) -> Made:
    """The texts beside a checkpoint of LXMERT."""
    where = file_in(folder, "config.json").parent

    def read(data: bytes) -> bool:
        config, _, words = data.partition(SEPARATOR)
        (where / "config.json").write_bytes(config)
        (where / "vocab.txt").write_bytes(words)
        pretrained._check_config(where, TINY, False)
        pretrained._check_vocabulary(where, {}, PIECES, 16)
        return True

    from jaxtag.models.lxmert_weights import config_of

    config = json.dumps(config_of(TINY, len(PIECES)) | {"_name_or_path": "../../outside/secret.txt"}).encode()
    return [SEPARATOR.join([config, "\n".join(PIECES).encode()])], read


def _keras(ending: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        keras = extractors._keras()
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2, name="d")(inputs))
        seed, path = folder / f"seed{ending}", file_in(folder, f"a{ending}")
        with contextlib.chdir(folder):  # where Keras leaves what it has no memory for
            model.save_weights(seed) if ending == ".weights.h5" else model.save(seed)

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            with mock.patch.object(hdf5, "tried", made.forked):
                extractors._load(model, path)
            return True

        return [seed.read_bytes()], read

    return make


def _records(folder: Path) -> Made:
    where = file_in(folder, "x").parent
    post = records.Record(
        **{f: 1 if f in records._INTEGERS else b"x" for f in (*records._INTEGERS, *records._TEXTS)}, hashtags=[b"a"]
    )
    records.write(folder / "in", [[records.serialise(post)] * 3])
    shard = next(where.glob("*array_record*"))

    def read(data: bytes) -> bool:
        shard.write_bytes(data)
        return sum(map(len, records.read(where))) == 3

    return [shard.read_bytes()], read


TARGETS = (
    Target("weights.safetensors", "header", BINARY, of_file("a.safetensors", _safetensors, _weights)),
    Target("weights.torch", "pickles", BINARY, of_file("a.bin", _torch, _weights)),
    Target("weights.old_torch", "bytes", BINARY, of_file("a.pth", _old_torch, _weights)),
    Target("weights.config", "files", BINARY, _configured),
    Target("weights.keras", "bytes", BINARY, _keras(".weights.h5"), ("keras", "h5py"), True),
    Target("weights.keras_older", "bytes", BINARY, _keras(".h5"), ("keras", "h5py"), True),
    Target("weights.keras_archive", "pickles", BINARY, _keras(".keras"), ("keras", "h5py"), True),
    Target("records", "bytes", BINARY, _records),
)
