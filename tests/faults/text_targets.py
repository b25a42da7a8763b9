"""Readers of text that is no posts: lists, vocabularies, files of word vectors, requests."""

import gzip
import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtag_prep import (
    cities,
    hashtag_mapping,
    tables,
    vector_files,
    wordpieces,
)

from jaxtag import requests
from jaxtag.data import vocabulary
from jaxtag.data.text import Cleaning
from jaxtag.data.wordpieces import WordPieces
from tests.faults.mutations import SEPARATOR
from tests.faults.targets import TEXT, Read, Target

Made = tuple[list[bytes], Read]


def _file(folder: Path, name: str) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    return folder / "in" / name


def _lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _list(name: str, reader: Any, *seeds: bytes) -> Any:
    def make(folder: Path) -> Made:
        path = _file(folder, name)

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            return bool(reader(path))

        return list(seeds), read

    return make


def _rows(path: Path) -> bool:
    """A table's rows, as they are before they are posts."""
    return any(chunk.rows for chunk in tables.read(path, ["text"]))


def _counted(path: Path) -> bool:
    found = vocabulary.load(path)
    found.save(path)
    return vocabulary.load(path) == found and len(found) > 0


def _pieces(path: Path) -> bool:
    settings, entries = wordpieces._settings(wordpieces.Wanted(vocabulary=path))
    return len(WordPieces(entries, settings["lower"], Cleaning()).encode(["rain in the city", "été"])) == 2


def _tokenizer(folder: Path) -> Made:
    where = _file(folder, "x").parent

    def read(data: bytes) -> bool:
        files = [*data.split(SEPARATOR), b"{}"]
        (where / "tokenizer.json").write_bytes(files[0])
        (where / "tokenizer_config.json").write_bytes(files[1])
        return _pieces(where)

    model = {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(PIECES)}}
    return [
        SEPARATOR.join([json.dumps({"model": model}).encode(), b'{"do_lower_case": false, "vocab_file": "../../x"}'])
    ], read


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "##s", "in", "t", "##he"]
NAMES, VECTORS = ["rain", "snow", "#sun", "été", "wind"], np.arange(15, dtype="<f4").reshape(5, 3) / 7


def _vector_seeds() -> list[bytes]:
    lines = [" ".join([name, *map(str, row.tolist())]) for name, row in zip(NAMES, VECTORS)]
    binary = b"5 3\n" + b"".join(name.encode() + b" " + row.tobytes() + b"\n" for name, row in zip(NAMES, VECTORS))
    text = "\n".join(lines).encode() + b"\n"
    return [b"5 3\n" + text, text, binary, gzip.compress(text, mtime=0)]


def _fasttext_seeds() -> list[bytes]:
    head = struct.pack("<2i", 793712314, 12) + struct.pack("<12id", 3, 5, 5, 1, 5, 1, 1, 2, 4, 3, 6, 100, 1e-4)
    words = b"".join(name.encode() + b"\0" + struct.pack("<qb", 3, 0) for name in NAMES)
    matrix = struct.pack("<?2q", False, 9, 3) + np.arange(27, dtype="<f4").tobytes()
    return [head + struct.pack("<3i2q", 5, 5, 0, 50, -1) + words + matrix]


def _vectors(seeds: list[bytes]) -> Any:
    def make(folder: Path) -> Made:
        path, side = _file(folder, "vectors.txt"), folder / "out"
        side.mkdir()

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            found = vector_files.read(path, side, {"wind"}, 3, 0.5)
            table = np.load(side / "table.npy", allow_pickle=False)
            assert (
                table.shape == (len(found.names), found.dim)
                and np.isfinite(table).all()
                or found.kind == "fastText binary"
            )
            return len(set(found.names)) == len(found.names) > 0

        return seeds, read

    return make


def _requests(folder: Path) -> Made:
    reader: Any = SimpleNamespace(reads_images=False, reads_text=True, reads_history=True)

    def read(data: bytes) -> bool:
        made = [
            requests.parse(number, line, reader) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()
        ]
        assert all(request is not None or said["error"] for said, request in made)
        return any(request for _, request in made)

    return [
        _lines({"text": "rain", "author": "u1", "history": ["sun", "sea"], "id": 3}, "rain", {"text": "x", "author": 3})
    ], read


TARGETS = (
    Target("tables", "bytes", TEXT, _list("a.csv", _rows, b'text,n\n"a ""b""\nc",1\nx,2\n')),
    Target(
        "hashtag_mapping",
        "bytes",
        TEXT,
        _list(
            "map.tsv",
            hashtag_mapping.read,
            b"variant\tcanonical\nnyc\tnewyork\t3\nny\tnyc\n",
            b'"nyc","newyork"\nldn,london\n',
        ),
    ),
    Target("cities", "bytes", TEXT, _list("cities.txt", cities.read, "#NewYork\nlos angeles\né\n".encode())),
    Target(
        "vocabulary", "bytes", TEXT, _list("words.txt", _counted, "<pad>\t0\n<unknown>\t0\nrain\t12\né\t3\n".encode())
    ),
    Target("wordpieces.vocab", "bytes", TEXT, _list("vocab.txt", _pieces, "\n".join(PIECES).encode() + b"\n")),
    Target("wordpieces.tokenizer", "files", TEXT, _tokenizer),
    Target("vectors", "bytes", TEXT, _vectors(_vector_seeds())),
    Target("vectors.fasttext", "bytes", TEXT, _vectors(_fasttext_seeds())),
    Target("requests", "json", TEXT, _requests),
)
