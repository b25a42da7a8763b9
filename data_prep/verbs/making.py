"""Options and results that every verb that makes a dataset shares."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.files import crc32

from ..presets import PRESET_FIELDS, Preset, preset
from ..rule import RULE_FIELDS


def add_making(parser: argparse.ArgumentParser) -> None:
    """Add the options of a dataset's folder, its preset, and every part of that preset."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--preset", default="general", help="general (default) or zsl: the settings that the options below start from")
    add("--language-is", metavar="VALUE[,VALUE]", help="languages to keep; any keeps all")
    add("--ascii-only", action=argparse.BooleanOptionalAction, default=None, help="delete characters outside ASCII")
    add("--stop-words", action=argparse.BooleanOptionalAction, default=None, help="drop English stop words")
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
    add("--min-word-count", type=int, metavar="N", help="training posts' occurrences that make a word known")
    add("--fractions", type=numbers, metavar="A,B,C", help="of train, validation and test (default 0.8,0.1,0.1)")


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them; argparse names the function in its message."""
    return tuple(float(part) for part in text.split(","))


def preset_of(arguments: Mapping[str, Any]) -> Preset:
    """The preset that the options of `add_making` name and change.

    Raises:
      JaxtagError: there is no such preset, or a value is impossible.
    """
    options = {key: arguments[key] for key in (*RULE_FIELDS, *PRESET_FIELDS)}
    if arguments["language_is"] is not None:
        languages = tuple(part.strip().lower() for part in arguments["language_is"].split(",") if part.strip())
        options["languages"] = () if languages == ("any",) else languages
    return preset(arguments["preset"], options)


def workers_of(arguments: Mapping[str, Any]) -> int:
    """The option `--workers`.

    Raises:
      JaxtagError: it is below 1.
    """
    if arguments["workers"] < 1:
        raise JaxtagError(f"--workers {arguments['workers']} is below 1")
    return arguments["workers"]


def identity(file: Path) -> dict[str, Any]:
    """What tells a source file from another of its name.

    Raises:
      JaxtagError: there is no such file.
    """
    if not file.is_file():
        raise JaxtagError(f"no file {file}" if not file.exists() else f"{file} is not a file")
    return {"name": file.name, "bytes": file.stat().st_size, "crc32": crc32(file)}


def made(out: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a dataset just made."""
    keys = ("name", "preset", "posts", "authors", "words", "hashtags", "rejected", "fingerprint")
    said = {key: info[key] for key in keys}
    funnel = [*info["funnel"], *info["split"]["funnel"][1:]]  # the second begins where the first ends
    return {"dataset": str(out)} | said | {"funnel": funnel, "split": info["split"]["counts"]}
