"""The stages of making a dataset folder, each whole or absent, so that a run that was stopped goes on.

In order: preparing.json (what is being prepared; there until all is done), rejects.jsonl and, of posts with
images, images/, then records/; by records/ alone, emptied.jsonl, columns/, text/, vocabulary/ and dataset.json;
splits/default/.
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.data.columns import Ragged
from jaxtag.data.images import DESCRIPTION, FOLDER
from jaxtag.data.posts import COLUMNS
from jaxtag.data.text import Cleaning
from jaxtag.errors import JaxtagError
from jaxtag.files import SIDE, check_seal, fingerprint, new_folder, read_json, seal, write_json, write_text

from . import pack, records, splits
from .beam import Done
from .encoding import IDENTIFIED, Encoded, Encoder
from .flat import flatten
from .funnel import Funnel, NothingLeft
from .plan import Plan, differences
from .progress import Bar
from .source import Chunk
from .steps import State, take_steps
from .tables import Bad
from .tally import Tally
from .workers import ordered

SEALED = ("columns", "images", "text", "vocabulary")  # folders that dataset.json vouches for
EMPTIED = "emptied.jsonl"
_OWN = {*SEALED, "records", "splits", "dataset.json", "preparing.json", "rejects.jsonl", EMPTIED}


def build(
    out: Path,
    plan: Plan,
    chunks: Generator[Chunk, None, None],
    workers: int,
    max_bad: float = 0.01,
    beam: Callable[[Path, Encoder], Done] | None = None,
) -> dict[str, Any]:
    """Make the dataset folder `out`, or what is missing of it.

    Args:
      out: the folder; absent, empty, or holding what an earlier run of the same plan left.
      plan: what to prepare.
      chunks: the source's posts; not touched when the records are there already.
      workers: processes that clean text; 1 cleans in this one.
      max_bad: the largest fraction of bad rows to put up with.
      beam: reads and cleans the posts of `chunks` elsewhere, given a folder to use (`beam.encode`); None for
        processes here.

    Returns:
      dataset.json, and under 'split' the default split's split.json.

    Raises:
      JaxtagError: the folder holds something else, the source is bad, or no post is left.
    """
    _begin(out, plan)
    try:
        if not (out / "records").is_dir():
            _records(out, plan, chunks, workers, max_bad, beam)
        if not (out / "dataset.json").is_file():
            _columns(out)
        split = splits.make(out, "default", plan.preset.split)
    except BaseException as error:
        chunks.close()  # a source that writes beside the records takes that away
        emptied = isinstance(error, NothingLeft) and not (out / "dataset.json").is_file()
        if emptied:  # other settings are wanted, and would be refused for these records
            shutil.rmtree(out / "records", ignore_errors=True)
        if not (out / "records").is_dir():  # nothing worth going on from
            shutil.rmtree(out / "images", ignore_errors=True)
            (out / "preparing.json").unlink(missing_ok=True)
            if not any(out.iterdir()):
                out.rmdir()
        raise
    (out / "preparing.json").unlink(missing_ok=True)
    return read_json(out / "dataset.json", "dataset description") | {"split": split}


def repack(out: Path) -> dict[str, Any]:
    """Make the columns again by `out`/records alone.

    Returns:
      dataset.json.

    Raises:
      JaxtagError: there are no records, they are damaged, or so are images, which records do not hold.
    """
    if not (out / "records").is_dir():
        raise JaxtagError(
            f"{out} holds no folder records", "prepare the dataset with jaxtag-prep posts or another verb"
        )
    if (out / "dataset.json").is_file():
        sealed = read_json(out / "dataset.json", "dataset description")["files"]
        images = {name: found for name, found in sealed.items() if name.startswith("images/")}
        check_seal(out, images, "prepare the dataset again")
    _columns(out)
    return read_json(out / "dataset.json", "dataset description")


def _begin(out: Path, plan: Plan) -> None:
    """Claim the folder, or find what an earlier run of the same plan left in it.

    Raises:
      JaxtagError: it holds anything else.
    """
    if out.exists() and not out.is_dir():
        raise JaxtagError(f"{out} is not a folder", "name another --out")
    there = {path.name.removesuffix(SIDE).removesuffix(".old") for path in out.iterdir()} if out.exists() else set()
    if there - _OWN:
        raise JaxtagError(f"{out} holds {sorted(there - _OWN)[0]}, which is no part of a dataset", "name another --out")
    wanted = plan.to_json()
    if (out / "preparing.json").is_file():
        found = read_json(out / "preparing.json", "description of what is being prepared")
    elif (out / "dataset.json").is_file():
        found = read_json(out / "dataset.json", "dataset description")
    elif there - {"rejects.jsonl", "preparing.json"}:  # the latter half written
        raise JaxtagError(f"{out} holds {sorted(there)[0]} but no dataset.json", "delete it, or name another --out")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "preparing.json", wanted)
        return
    if differing := differences(found, wanted):
        raise JaxtagError(
            f"{out} was prepared otherwise: {'; '.join(differing[:3])}", "name another --out, or delete this one"
        )


def _records(
    out: Path, plan: Plan, chunks: Iterable[Chunk], workers: int, max_bad: float, beam: Callable[..., Done] | None
) -> None:
    """The stage `records/`, with `rejects.jsonl` before it."""
    tally, rejects = Tally(), out / "rejects.jsonl"
    rejects.unlink(missing_ok=True)
    preset = plan.preset
    encoder = Encoder(
        preset.cleaning(), preset.words_counted, preset.languages, preset.identify_language, preset.words_first
    )
    with new_folder(out / "records") as folder, Bar("reading and cleaning", 1000) as bar:

        def posts(chunks: Iterable[Chunk]) -> Iterator[list[Any]]:
            for chunk in chunks:
                tally.add(chunk)
                _reject(rejects, chunk.bad)
                tally.check(max_bad, rejects, final=False)
                bar.to(int(1000 * chunk.done), f"{tally.read:,} posts")
                yield chunk.posts

        def done() -> Iterable[Encoded]:
            if beam is None:
                return ordered(encoder, posts(chunks), workers)
            elsewhere = beam(folder / "beam", encoder)
            for _ in posts(elsewhere.chunks()):
                pass
            return elsewhere.encoded()

        def examples() -> Iterator[list[bytes]]:
            for encoded in done():
                tally.count(encoded)
                yield encoded.examples

        written = records.write(folder, examples())
        tally.check(max_bad, rejects, final=True)
        tally.check_left(preset)
        assert written == sum(tally.verdicts.values()), (written, tally.verdicts)
        found: dict[str, Any] = {
            "funnel": tally.funnel().to_json(),
            "rejected": tally.bad,
            "notes": dict(sorted(tally.notes.items())),
        }
        if tally.notes[IDENTIFIED]:
            found["identified_by"] = f"py3langid {version('py3langid')}"
        records.write_metadata(folder, plan.to_json() | found)


def _reject(path: Path, bad: list[Bad]) -> None:
    if bad:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            for row in bad:
                value = {"file": row.file, row.unit: row.place, "reason": row.reason, "text": row.start[:200]}
                file.write(json.dumps(value) + "\n")


def _columns(out: Path) -> None:
    """The stages `columns/`, `text/`, `vocabulary/` and `dataset.json`, by `records/` alone."""
    plan = records.read_metadata(out / "records")
    settings = plan["settings"]
    with Bar("packing", plan["funnel"][-1]["posts"]) as bar:
        flat = flatten(bar.over(records.read(out / "records"), len))
    reading = settings["reading"]
    told = bool(reading.get("repost")) or reading.get("reposts") == "drop"
    pictured = bool(reading.get("images"))
    taken = take_steps(flat, settings["steps"], Funnel.from_json(plan["funnel"]), told, pictured)
    cleaning = Cleaning.from_json(settings["cleaning"])
    packed = pack.pack(taken.flat, taken.left, cleaning, settings["history"], plan["has"])
    _emptied(out, taken)
    plan |= {"funnel": taken.funnel.to_json(), "notes": plan["notes"] | taken.notes}
    plan |= {"hashtag_steps": taken.hashtags} if taken.hashtags else {}
    del flat, taken
    for name, fill in pack.folders(packed):
        with new_folder(out / name) as folder:
            fill(folder)
    sealed = {f"{part}/{name}": found for part in SEALED for name, found in seal(out / part).items()}
    sealed = {name: found for name, found in sealed.items() if not _added(out, name)}
    write_json(out / "dataset.json", _describe(plan, packed, sealed))


def _emptied(out: Path, taken: State) -> None:
    """emptied.jsonl: posts whose hashtags were all left out, by their rows in the source, from 1."""
    (out / EMPTIED).unlink(missing_ok=True)
    if taken.emptied:
        ordinal = taken.flat.plain["ordinal"]
        found = (
            {"row": int(ordinal[row]) + 1, "reason": reason, "text": bytes(taken.flat.text[row]).decode()[:200]}
            for row, reason in taken.emptied
        )
        write_text(out / EMPTIED, "".join(json.dumps(line) + "\n" for line in found))


def _added(out: Path, name: str) -> bool:
    """Whether a file of `images` was added to the dataset, with a seal of its own, or is of no consequence."""
    folder, _, rest = name.removeprefix("images/").partition("/")
    if not name.startswith("images/"):
        return False
    return folder == FOLDER or bool(rest) and (SIDE in folder or (out / "images" / folder / DESCRIPTION).is_file())


def _describe(plan: dict[str, Any], packed: pack.Packed, sealed: dict[str, Any]) -> dict[str, Any]:
    """dataset.json."""
    described = {}
    for name, column in packed.columns.items():
        values = column.values if isinstance(column, Ragged) else column
        described[name] = {
            "dtype": COLUMNS[name].dtype,
            "ragged": COLUMNS[name].ragged,
            "width": column.shape[1] if isinstance(column, np.ndarray) and column.ndim == 2 else 0,
            "rows": len(column),
            "values": int(values.size),
        }
    return plan | {
        "posts": len(packed.length),
        "authors": len(packed.authors) - 1,
        "words": len(packed.words),
        "hashtags": len(packed.hashtags),
        "columns": described,
        "fingerprint": fingerprint({"files": sealed, "settings": plan["settings"]}),
        "files": sealed,
    }
