"""Options and results that every verb that makes a dataset shares."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32

from ..language import codes
from ..presets import PRESET_FIELDS, PRESETS, Preset, preset
from ..rule import RULE_FIELDS

NO_CITIES = "none"  # of --cities


def add_making(parser: argparse.ArgumentParser, usual: str = "general") -> None:
    """Add the options of a dataset's folder, its preset (`usual` if none is given), and every part of that preset."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    names = ", ".join(f"{name} (default)" if name == usual else name for name in PRESETS)
    add("--preset", default=usual, help=f"{names}: what the options below start from")
    add("--language-is", metavar="VALUE[,VALUE]", help="languages to keep, such as en or English; any keeps all")
    switch = argparse.BooleanOptionalAction
    add("--identify-language", action=switch, default=None, help="tell it from the text where the source does not")
    add("--min-author-posts", type=int, metavar="N", help="drop authors of fewer posts; 0 drops none")
    add("--duplicates", action=switch, default=None, help="drop posts that say the same as another")
    add(
        "--near-duplicates",
        type=float,
        nargs="?",
        const=0.8,
        metavar="LIKENESS",
        help="drop near-copies too, of this likeness or more (0.8 if none is given); 0 drops none",
    )
    add("--special-characters", action=switch, default=None, help="keep words without a letter or digit")
    add("--ascii-only", action=switch, default=None, help="delete characters outside ASCII")
    add("--stop-words", action=switch, default=None, help="drop English stop words")
    add("--alphabetic-only", action=switch, default=None, help="keep only words of letters")
    add("--mentions", action=switch, default=None, help="keep a word for every @name")
    add(
        "--inline-hashtags",
        action=switch,
        default=None,
        help="keep hashtags within a sentence as words of it; those at the end of a text are never words",
    )
    add("--cities", metavar="FILE", help="hashtags to leave out, names of cities, one a line; none leaves none out")
    add("--min-hashtags", type=int, metavar="N", help="drop posts of fewer hashtags; 0 drops none")
    add("--mapping", type=Path, metavar="FILE", help="hashtags to put in others' place: variant, tab, canonical")
    which = "write the mapping that spelling suggests of the hashtags that are left, to be checked and given"
    add("--propose-mapping", type=Path, metavar="FILE", help=which)
    add("--words-counted", choices=("source", "cleaned"), help="which words --min-words counts")
    add("--history", type=int, metavar="M", help="earlier posts of the author to remember (default 5)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that clean text (default: one a core)")
    add_rule(parser)


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Add the options of a split's rule."""
    add = parser.add_argument
    add("--min-words", type=int, metavar="N", help="words that an example must have")
    add("--min-hashtag-posts", type=int, metavar="N", help="examples that a kept hashtag must have")
    add("--top", type=int, metavar="N", help="keep only so many of the most used hashtags; 0 keeps all")
    add("--per-post", choices=("all", "one"), help="all kept hashtags of a post, or only posts with exactly one")
    add("--max-hashtags", type=int, metavar="N", help="only posts of so many kept hashtags or fewer; 0 is any number")
    switch = argparse.BooleanOptionalAction
    add("--with-image", action=switch, default=None, help="only posts with an image")
    add("--cap", type=int, metavar="N", help="at most so many examples of a hashtag, drawn at random; 0 is no cap")
    add("--min-word-count", type=int, metavar="N", help="training posts' occurrences that make a word known")
    add("--fractions", type=numbers, metavar="A,B,C", help="of train, validation and test (default 0.8,0.1,0.1)")


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them; argparse names the function in its message."""
    return tuple(float(part) for part in text.split(","))


def preset_of(arguments: Mapping[str, Any], source: str = "") -> Preset:
    """The preset that the options of `add_making` name and change, as it is for a source.

    Raises:
      JaxtagError: there is no such preset, or a value is impossible.
    """
    options = {key: arguments[key] for key in (*RULE_FIELDS, *PRESET_FIELDS)}
    if arguments["language_is"] is not None:
        languages = codes(arguments["language_is"].split(","))
        options["languages"] = () if languages == ("any",) else languages
    if arguments["cities"] is not None:
        from .. import cities

        options["cities"] = () if arguments["cities"] == NO_CITIES else cities.read(Path(arguments["cities"]))
    if arguments["mapping"] is not None:
        from .. import hashtag_mapping

        options["mapping"] = tuple(hashtag_mapping.read(arguments["mapping"]).items())
    proposal = arguments["propose_mapping"]
    if proposal is not None and not proposal.absolute().parent.is_dir():
        raise JaxtagError(f"no folder {proposal.parent} for --propose-mapping", "make it first")
    return preset(arguments["preset"], options, source)


def workers_of(arguments: Mapping[str, Any]) -> int:
    """The option `--workers`.

    Raises:
      JaxtagError: it is below 1.
    """
    if arguments["workers"] < 1:
        raise JaxtagError(f"--workers {arguments['workers']} is below 1")
    return arguments["workers"]


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Add the option that prepares with Apache Beam."""
    parser.add_argument(
        "--beam",
        nargs="?",
        const="",
        metavar="NAME=VALUE[,…]",
        help="read and clean with Apache Beam, in the place of --workers; with these options of its own, such as "
        "runner=FlinkRunner,flink_master=host:8081 (its own runner on this machine if none is given)",
    )


def beam_of(arguments: Mapping[str, Any], parts: Sequence[Callable[[], Any]]) -> Callable[..., Any] | None:
    """What `build.build` wants of the option `--beam`, for a source in parts (`beam.Part`); None without it.

    Raises:
      JaxtagError: Beam is not installed, or does not know an option.
    """
    if arguments["beam"] is None:
        return None
    from .. import beam

    return partial(beam.encode, parts, beam.check(arguments["beam"]))


def identity(file: Path) -> dict[str, Any]:
    """What tells a source file from another of its name.

    Raises:
      JaxtagError: there is no such file.
    """
    if not file.is_file():
        raise JaxtagError(f"no file {file}" if not file.exists() else f"{file} is not a file")
    return {"name": file.name, "bytes": file.stat().st_size, "crc32": crc32(file)}


def made(arguments: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a dataset just made: its funnel goes on with the split's, and notes say what else to know.

    Where the options ask for a mapping list, it is written.
    """
    keys = ("name", "preset", "posts", "authors", "words", "hashtags", "rejected", "fingerprint")
    said = {key: info[key] for key in keys} | {"words": info["words"] - FIRST_WORD}
    told = {row["step"] for row in info["funnel"]}
    own = [row | {"examples": True} for row in info["split"]["funnel"][1:] if row["step"] not in told]
    said |= {"funnel": info["funnel"] + own, "notes": info["notes"], "split": info["split"]["counts"]}
    if arguments["propose_mapping"] is not None:
        from .. import hashtag_mapping

        lines = hashtag_mapping.propose(arguments["out"], arguments["propose_mapping"])
        said["proposed"] = {"file": str(arguments["propose_mapping"]), "lines": lines}
    return {"dataset": str(arguments["out"])} | said


def render(result: Mapping[str, Any]) -> str:
    """What `made` found, and the seconds it took, as lines for a reader."""
    lines = [
        f"dataset: {result['dataset']}",
        f"{result['name']}: {result['posts']:,} posts, {result['authors']:,} authors, {result['words']:,} words, "
        f"{result['hashtags']:,} hashtags (preset {result['preset']}, {result['fingerprint']})",
        "where the posts went",
        *(
            f"{row['posts']:>14,}  {'examples: ' if row.get('examples') else ''}{row['step']}"
            for row in result["funnel"]
        ),
        f"{result['posts']:>14,}  kept, examples or not",
        *(f"{count:>14,}  note: {note}" for note, count in result["notes"].items()),
    ]
    if result["rejected"]:
        lines.append(f"{result['rejected']:>14,}  note: bad rows, all listed in rejects.jsonl")
    if "proposed" in result:
        many, file = result["proposed"]["lines"], result["proposed"]["file"]
        lines.append(f"mapping list proposed: {file}, {many:,} lines; check them, and give it with --mapping")
    lines.append("split: " + ", ".join(f"{name} {count:,}" for name, count in result["split"].items()))
    return "\n".join([*lines, f"seconds: {result['seconds']}"])
