"""What each verb of `jaxtag-prep` does, from its arguments to its result."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.files import crc32

from . import build, presets, splits
from . import posts as tables_of_posts
from .plan import Plan
from .presets import Preset, Rule

_RULE = tuple(field.name for field in fields(Rule))
_PRESET = ("ascii_only", "stop_words", "words_counted", "history")


def posts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`jaxtag-prep posts`: a dataset from tables of posts.

    Raises:
      JaxtagError: an argument, a file or the folder is not as it must be.
    """
    preset = _preset(arguments)
    repost, _, value = arguments["repost"].partition("=")
    named = {key: arguments[key] for key in ("text", "author", "time", "language", "hashtags", "id", "encoding")}
    mapping = tables_of_posts.Mapping(**named, repost=repost, repost_value=value, languages=preset.languages)
    files = [Path(file) for file in arguments["input"]]
    if not 0 <= arguments["max_bad"] <= 1:
        raise JaxtagError(f"--max-bad {arguments['max_bad']} is not between 0 and 1")
    plan = Plan(
        name=arguments["name"] or files[0].name.split(".")[0],
        licence=arguments["licence"],
        sources=[_identity(file) for file in files],
        reading=mapping.to_json(),
        has=tuple(key for key in ("author", "time") if arguments[key]),
        preset=preset,
    )
    chunks = tables_of_posts.read(files, mapping)
    return _made(
        arguments["out"], build.build(arguments["out"], plan, chunks, _workers(arguments), arguments["max_bad"])
    )


def simulate(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`jaxtag-prep simulate`: a dataset of simulated posts.

    Raises:
      JaxtagError: an argument or the folder is not as it must be.
    """
    from . import simulate as simulated

    count, seed = arguments["posts"], arguments["seed"]
    preset = replace(_preset(arguments), languages=())
    source = {"name": "simulated", "posts": count, "seed": seed}
    plan = Plan("simulated", "none needed", [source], {}, ("author", "time", "image"), preset)
    chunks = simulated.read(arguments["out"], count, seed)
    return _made(arguments["out"], build.build(arguments["out"], plan, chunks, _workers(arguments)))


def split(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`jaxtag-prep split`: another split, its options over the rule of the split `default`.

    Raises:
      JaxtagError: no such dataset, an option is impossible, or no post is left.
    """
    given = {key: arguments[key] for key in _RULE if arguments[key] is not None}
    rule = replace(splits.default_rule(open_dataset(arguments["data"])), **given)
    return _shown_split(splits.make(arguments["data"], arguments["name"], rule))


def vectors(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`jaxtag-prep vectors`: word vectors for a split.

    Raises:
      JaxtagError: no such dataset or split, an option is impossible, or no word is frequent enough.
    """
    from . import word_vectors

    keys = ("setting", "model", "dim", "epochs", "window", "min_count", "seed")
    training = word_vectors.Training(**{key: arguments[key] for key in keys})
    info = word_vectors.make(arguments["data"], arguments["split"], training, _workers(arguments))
    return {key: value for key, value in info.items() if key not in ("files", "format")}


def _preset(arguments: Mapping[str, Any]) -> Preset:
    options = {key: arguments[key] for key in (*_RULE, *_PRESET)}
    if arguments["language_is"] is not None:
        languages = tuple(part.strip().lower() for part in arguments["language_is"].split(",") if part.strip())
        options["languages"] = () if languages == ("any",) else languages
    return presets.preset(arguments["preset"], options)


def _workers(arguments: Mapping[str, Any]) -> int:
    if arguments["workers"] < 1:
        raise JaxtagError(f"--workers {arguments['workers']} is below 1")
    return arguments["workers"]


def _identity(file: Path) -> dict[str, Any]:
    """What tells a source file from another of its name."""
    if not file.is_file():
        raise JaxtagError(f"no file {file}" if not file.exists() else f"{file} is not a file")
    return {"name": file.name, "bytes": file.stat().st_size, "crc32": crc32(file)}


def _made(out: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a dataset just made."""
    keys = ("name", "preset", "posts", "authors", "words", "hashtags", "rejected", "fingerprint")
    said = {key: info[key] for key in keys}
    funnel = [*info["funnel"], *info["split"]["funnel"][1:]]  # the second begins where the first ends
    return {"dataset": str(out)} | said | {"funnel": funnel, "split": info["split"]["counts"]}


def _shown_split(info: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in ("files", "format")}
