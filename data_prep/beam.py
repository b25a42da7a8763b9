"""Apache Beam in the place of local processes: a source is read and encoded by any runner of Beam's.

A source is given in parts, each a function of no arguments that the runner can send to a worker: a file each, or all
simulated posts, whose authors have a memory. A part's posts are numbered from its own start; how many rows each part
has, summed for all parts, moves them to their places. Posts then are encoded 1,000 at a time, wherever there is a
worker, by the function that a local process would call. A TFDS builder sorts the records by their ordinals and writes
them beside those to come; from there they are taken in order, so that every file is what local processes would have
made. What is counted adds up in any order, and rejected rows are put in the source's.

The folder must be on a file system that all workers see, under one name.
"""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import read_json, write_json

from .encoding import Encoded, Encoder
from .lines import Bad
from .records import BATCH, SPLIT
from .source import MOST_ROWS, Chunk

Part = Callable[[], Iterable[Chunk]]
_READ, _COUNTED = "read.json", "counted.json"
OURS = "jaxtag."  # how the names of our own steps begin: what fails in others is not ours to mend


def check(options: str) -> list[str]:
    """The flags of Beam's that `options` says, as 'runner=DirectRunner,direct_num_workers=2'.

    Raises:
      JaxtagError: Beam is not installed, or has no such option.
    """
    try:
        logging.disable(logging.WARNING)  # Beam's, of libraries for services that are not asked for
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise JaxtagError("--beam needs Apache Beam", "pip install 'jaxtag[beam]'") from None
    finally:
        logging.disable(logging.NOTSET)
    flags = [f"--{option.strip().removeprefix('--')}" for option in options.split(",") if option.strip()]
    try:
        with contextlib.redirect_stderr(None):
            known = PipelineOptions(flags).get_all_options()
    except SystemExit:
        raise JaxtagError(f"--beam {options} is not as Beam wants it", "see the options of its runner") from None
    names = {flag.removeprefix("--").partition("=")[0] for flag in flags}
    unknown = sorted(name for name in names if name not in known and name.removeprefix("no_") not in known)
    if unknown and known["runner"] in (None, "DirectRunner"):  # other runners have options that Beam learns from them
        raise JaxtagError(f"Beam has no option {unknown[0]!r}", nearest(unknown[0], known))
    return flags


def encode(parts: Sequence[Part], flags: Sequence[str], folder: Path, encoder: Encoder) -> "Done":
    """Read and encode the posts of all parts with Beam.

    Args:
      parts: of the source, in order.
      flags: of Beam's options.
      folder: to write to; empty again when the records have been taken.
      encoder: makes posts into records.

    Raises:
      JaxtagError: a part cannot be read, or there are too many rows; the first that reading in order would meet.
    """
    folder.mkdir()
    with contextlib.redirect_stdout(None):  # TFDS speaks of downloads
        _prepare(parts, flags, folder, encoder)
    told = read_json(folder / _READ, "account of what Beam has read")
    return Done(folder, told, read_json(folder / _COUNTED, "counts of what Beam has encoded"))


@dataclass(frozen=True)
class Done:
    """What Beam has made: `told` of each chunk in order, the counts of all posts, and the records below `folder`."""

    folder: Path
    told: list[dict[str, Any]]
    counts: dict[str, Any]

    def chunks(self) -> Iterator[Chunk]:
        """What was read, without the posts.

        Raises:
          JaxtagError: where reading in order would.
        """
        rows = 0
        for piece in self.told:
            if "error" in piece:
                raise JaxtagError(*piece["error"])
            rows += piece["read"]
            if rows > MOST_ROWS:
                raise JaxtagError(f"the source goes past {MOST_ROWS} rows", "split it into several datasets")
            chunk = Chunk(bad=[Bad(*bad) for bad in piece["bad"]], read=piece["read"])
            chunk.notes.update(piece["notes"])
            yield chunk

    def encoded(self) -> Iterator[Encoded]:
        """The counts, then the records in order; takes the folder away."""
        total = Encoded([])
        total.verdicts.update({int(verdict): posts for verdict, posts in self.counts["verdicts"].items()})
        total.languages.update(self.counts["languages"])
        total.notes.update(self.counts["notes"])
        yield total
        yield from map(Encoded, _written(self.folder))
        shutil.rmtree(self.folder)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk of a part, by its number in that; or, in the place of what was to come, what kept it from being read."""

    part: int
    number: int
    chunk: Chunk
    error: tuple[str, str] | None = None


def _read(part: tuple[int, Part]) -> Iterator[_Piece]:
    index, read = part
    number = 0
    try:
        for chunk in read():
            yield _Piece(index, number, chunk)
            number += 1
    except JaxtagError as error:
        yield _Piece(index, number, Chunk(), (error.message, error.mend))
    except OSError as error:
        yield _Piece(index, number, Chunk(), (f"{error.filename or 'reading'}: {error.strerror or error}", ""))


def _rows(piece: _Piece) -> tuple[int, int]:
    return piece.part, piece.chunk.read


def _firsts(rows: dict[int, int]) -> dict[int, int]:
    """The ordinal of each part's first row, by how many rows each has."""
    parts = sorted(rows)
    return dict(zip(parts, accumulate((rows[part] for part in parts), initial=0)))


def _encode(piece: _Piece, encoder: Encoder, firsts: dict[int, int]) -> tuple[list[tuple[int, bytes]], Encoded]:
    """The records of a chunk by their ordinals, and counts of them."""
    posts = [replace(post, ordinal=post.ordinal + firsts[piece.part]) for post in piece.chunk.posts]
    encoded = encoder(posts)
    return [(post.ordinal, data) for post, data in zip(posts, encoded.examples)], replace(encoded, examples=[])


def _examples(encoded: tuple[list[tuple[int, bytes]], Encoded]) -> Iterator[tuple[int, dict[str, bytes]]]:
    return ((ordinal + 1, {"record": data}) for ordinal, data in encoded[0])


def _counts(encoded: tuple[list[tuple[int, bytes]], Encoded]) -> Encoded:
    return encoded[1]


def merged(counts: Iterable[Encoded]) -> Encoded:
    """The sum of counts: the same whatever is summed first."""
    total = Encoded([])
    for some in counts:
        total.verdicts.update(some.verdicts)
        total.languages.update(some.languages)
        total.notes.update(some.notes)
    return total


def _save_counts(counts: Encoded, path: str) -> None:
    found = {"verdicts": counts.verdicts, "languages": counts.languages, "notes": counts.notes}
    write_json(Path(path), found)


def _told(piece: _Piece) -> tuple[tuple[int, int], dict[str, Any]]:
    """What is told of a chunk: all but its posts."""
    bad = [[row.file, row.place, row.reason, row.start] for row in piece.chunk.bad]
    told: dict[str, Any] = {"read": piece.chunk.read, "bad": bad, "notes": dict(piece.chunk.notes)}
    return (piece.part, piece.number), told | ({"error": piece.error} if piece.error else {})


def _save_told(told: list[tuple[tuple[int, int], dict[str, Any]]], path: str) -> None:
    write_json(Path(path), [piece for _, piece in sorted(told, key=lambda item: item[0])])


def _prepare(parts: Sequence[Part], flags: Sequence[str], folder: Path, encoder: Encoder) -> None:
    """Run the pipeline.

    Raises:
      JaxtagError: it failed, but for a mistake of ours.
    """
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import PipelineOptions

    tfds.disable_progress_bar()
    builder = _builder(folder, partial(_records, parts=parts, folder=folder, encoder=encoder))
    options = PipelineOptions(list(flags))
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_options=options))
    except Exception as error:
        said = str(error)
        if isinstance(error, JaxtagError | OSError) or f"running '{OURS}" in said:
            raise
        last = (said.strip().splitlines() or [type(error).__name__])[-1]
        mend = "see that its workers can write there, and that there is room" if "write" in last else "see its options"
        raise JaxtagError(f"Beam could not prepare {folder}: {last}", mend) from None


def _records(pipeline: Any, parts: Sequence[Part], folder: Path, encoder: Encoder) -> Any:
    """The examples of all parts by their keys, as a collection of `pipeline`; what is told of them goes to `folder`."""
    import apache_beam as beam
    from apache_beam.transforms import combiners

    def step(name: str, transform: Any) -> Any:
        return f"{OURS}{name}" >> transform

    pieces = pipeline | step("Parts", beam.Create(list(enumerate(parts)), reshuffle=True))
    pieces = pieces | step("Read", beam.FlatMap(_read)) | step("Spread", beam.Reshuffle())
    rows = pieces | step("Rows", beam.Map(_rows)) | step("RowsOfParts", beam.CombinePerKey(sum))
    firsts = rows | step("ByPart", combiners.ToDict()) | step("Firsts", beam.Map(_firsts))
    encoded = pieces | step("Encode", beam.Map(_encode, encoder, beam.pvalue.AsSingleton(firsts)))
    counts = encoded | step("Counts", beam.Map(_counts)) | step("Count", beam.CombineGlobally(merged))
    _ = counts | step("SaveCounts", beam.Map(_save_counts, str(folder / _COUNTED)))
    told = pieces | step("Tell", beam.Map(_told)) | step("Told", combiners.ToList())
    _ = told | step("SaveTold", beam.Map(_save_told, str(folder / _READ)))
    none = pipeline | step("None", beam.Create([(0, {"record": b""})]))  # TFDS wants an example at least
    return (encoded | step("Records", beam.FlatMap(_examples)), none) | step("All", beam.Flatten())


def _builder(folder: Path, examples: Callable[[Any], Any]) -> Any:
    """A TFDS builder below `folder` of serialised records, which `examples` makes of its pipeline, in order of keys."""
    import numpy as np
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class Records(tfds.core.GeneratorBasedBuilder):
            """Serialised records in order of their ordinals."""

            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                features = tfds.features.FeaturesDict({"record": tfds.features.Tensor(shape=(), dtype=np.object_)})
                return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

            def _split_generators(self, dl_manager: Any, pipeline: Any) -> Any:
                return {SPLIT: examples(pipeline)}

            def _generate_examples(self) -> Any:
                raise NotImplementedError("the split has all examples")

    return Records(data_dir=folder, file_format="array_record")


def _written(folder: Path) -> Iterator[list[bytes]]:
    """The serialised records that the builder wrote below `folder`, in order."""
    from array_record.python.array_record_module import ArrayRecordReader
    from tensorflow_datasets.proto import tf_example_pb2

    parse = tf_example_pb2.Example.FromString  # type: ignore[attr-defined]: made when the module is imported
    for path in sorted(folder.rglob("*.array_record-*")):
        reader = ArrayRecordReader(str(path))
        for start in range(0, reader.num_records(), BATCH):
            some = reader.read(start, min(start + BATCH, reader.num_records()))
            found = (parse(data).features.feature["record"].bytes_list.value[0] for data in some)
            yield [record for record in found if record]
        reader.close()
