"""Records: a dataset's portable form, one TFDS example a post, written without TensorFlow.

`tfds.builder_from_directory(DIR/records).as_data_source('posts')` reads it, in source order. The
examples are written with TFDS's own example format, file names and metadata rather than by a
`GeneratorBasedBuilder`, which without TensorFlow cannot hold more than a gigabyte of examples
(its shuffler then spills to files through `tf.io.gfile`), and makes every example in one process.

What a record needs to become columns is in it, or in the metadata beside it: packing reads nothing else.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from jaxtag.documents import Each, described
from jaxtag.errors import JaxtagError
from jaxtag.files import read_json

SHARD = 200_000  # examples of a file
BATCH = 2_000  # examples read at a time
NAME, SPLIT = "posts", "posts"  # of the TFDS dataset and its only split
KEPT, REPOST, FOREIGN = range(3)  # verdicts
_REDO = "delete the folder records and prepare the dataset again"


@dataclass(frozen=True, slots=True)
class Record:
    """One cleaned post, text as UTF-8; or, of a post that its own facts remove, no more than is needed to count it.

    Attributes:
      ordinal, id, author, time, image: as in `Post`; 0, empty or -1 where the source has none.
      language: as the source tells it, or else as identified; empty where nobody did.
      verdict: `KEPT`, or why no text is here: `REPOST` or `FOREIGN`, a language that is not kept.
      text: the source text.
      words: the cleaned words before stop words went, joined by single spaces.
      hashtags: in the author's order, once each.
      length: how many words it counts for `--min-words`.
    """

    ordinal: int
    id: bytes
    author: bytes
    time: int
    language: bytes
    text: bytes
    words: bytes
    hashtags: list[bytes]
    length: int
    image: int
    verdict: int = KEPT


_INTEGERS = ("ordinal", "time", "length", "image", "verdict")
_TEXTS = ("id", "author", "language", "text", "words")


def serialise(record: Record) -> bytes:
    """The record as a serialised `tf.Example`; the same bytes every time."""
    example = _example_type()()
    feature = example.features.feature
    for name in _INTEGERS:
        feature[name].int64_list.value.append(getattr(record, name))
    for name in _TEXTS:
        feature[name].bytes_list.value.append(getattr(record, name))
    feature["hashtags"].bytes_list.value.extend(record.hashtags)
    return example.SerializeToString(deterministic=True)


def parse(data: bytes) -> Record:
    """The record that `serialise` wrote."""
    feature = _example_type().FromString(data).features.feature
    integers = {name: feature[name].int64_list.value[0] for name in _INTEGERS}
    texts = {name: feature[name].bytes_list.value[0] for name in _TEXTS}
    return Record(**integers, **texts, hashtags=list(feature["hashtags"].bytes_list.value))


def write(folder: Path, batches: Iterable[list[bytes]]) -> int:
    """Write serialised examples below `folder` in files of `SHARD`, as they come.

    Returns:
      How many there were.

    Raises:
      JaxtagError: they could not be written.
    """
    lengths, size = _write(folder, batches)
    for number in range(len(lengths)):
        shard = f"{NAME}-{SPLIT}.array_record-{number:05d}-of-{len(lengths):05d}"
        (folder / f"{number}.part").rename(folder / shard)
    if lengths:
        _describe(folder, lengths, size)
    return sum(lengths)


def _write(folder: Path, batches: Iterable[list[bytes]]) -> tuple[list[int], int]:
    """Files `0.part`, `1.part`, … below `folder`: how many examples each has, and the bytes of all examples."""
    from array_record.python.array_record_module import ArrayRecordWriter

    lengths: list[int] = []
    size, writer = 0, None
    for data in chain.from_iterable(batches):
        if writer is None or lengths[-1] == SHARD:
            _close(writer)
            writer = ArrayRecordWriter(str(folder / f"{len(lengths)}.part"), "group_size:1")
            lengths.append(0)
        writer.write(data)
        lengths[-1] += 1
        size += len(data)
    _close(writer)
    return lengths, size


def _close(writer: Any) -> None:
    """Close an array_record file: only now does it say that the disk was full."""
    try:
        if writer is not None:
            writer.close()
    except RuntimeError as error:
        mend = "make room on the disk, and give the same command again"
        raise JaxtagError(f"records could not be written ({error})", mend) from None


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write what packing needs to know of all the records, beside them; TFDS reads it as its metadata."""
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata beside the records.

    Raises:
      JaxtagError: it is absent or unreadable.
    """
    return read_json(folder / "metadata.json", "description of records")


def read(folder: Path) -> Iterator[list[Record]]:
    """The records below `folder`, in source order, batch by batch.

    Raises:
      JaxtagError: a file is missing, truncated or corrupt.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    due = {"splits": Each({"shardLengths": Each(str, list)}, list)}
    info = described(folder / "dataset_info.json", "TFDS description of records", due, _REDO)
    said = info["splits"][0]["shardLengths"] if len(info["splits"]) == 1 else []
    if not all(length.isascii() and length.isdigit() and len(length) < 19 for length in said) or not said:
        raise JaxtagError(f"{folder / 'dataset_info.json'} does not say how many records there are", _REDO)
    lengths = [int(length) for length in said]
    for number, length in enumerate(lengths):
        path = folder / f"{NAME}-{SPLIT}.array_record-{number:05d}-of-{len(lengths):05d}"
        if not path.is_file():
            raise JaxtagError(f"{path} is missing", _REDO)
        try:
            reader = ArrayRecordReader(str(path))
            if reader.num_records() != length:
                raise JaxtagError(f"{path} has {reader.num_records()} records where {length} were written", _REDO)
            for start in range(0, length, BATCH):
                yield [parse(data) for data in reader.read(start, min(start + BATCH, length))]
            reader.close()
        except (RuntimeError, ValueError, IndexError) as error:
            raise JaxtagError(f"{path} is truncated or corrupt ({error})", _REDO) from None
        except Exception as error:
            if type(error).__name__ != "DecodeError":  # protobuf's; importing it here would cost a second
                raise
            raise JaxtagError(f"{path} holds a record that is not an example ({error})", _REDO) from None


@lru_cache(maxsize=1)
def _example_type() -> Any:
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example  # type: ignore[attr-defined]: made when the module is imported


def _describe(folder: Path, lengths: list[int], sizes: int) -> None:
    """TFDS's own description of the files: dataset_info.json and features.json."""
    import numpy as np
    import tensorflow_datasets as tfds

    text = tfds.features.Text
    features = tfds.features.FeaturesDict(
        {
            **dict.fromkeys(_INTEGERS, np.int64),
            **{name: text() for name in _TEXTS},
            "hashtags": tfds.features.Sequence(text()),
        }
    )
    split = tfds.core.SplitInfo(name=SPLIT, shard_lengths=lengths, num_bytes=sizes)
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=[split],
        version="1.0.0",
        check_data=False,
        disable_shuffling=True,
    )
