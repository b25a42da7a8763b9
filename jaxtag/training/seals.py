"""Checksums of checkpoints' files: Orbax itself does not notice a flipped byte."""

from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.files import check_seal, read_json, seal
from jaxtag.training.logs import say

FILE = "seals.json"  # in the folder of checkpoints: by step, and by file
_LATE = ("_CHECKPOINT_METADATA", "commit_success.txt")  # written after a checkpoint is sealed


def read(path: Path) -> dict[str, Any]:
    """The checksums that were written; none, and a line that says so, where they cannot be read."""
    if not path.exists():
        return {}
    try:
        found = read_json(path, "list of seals")
        every = [known for step, files in found.items() if int(step) >= 0 for known in files.values()]
        if all({"bytes", "crc32"} <= set(known) for known in every):
            return found
    except (JaxtagError, AttributeError, TypeError, ValueError):
        pass
    say(f"{path} is damaged: the checkpoints beside it are used without being held against it")
    return {}


def of(folder: Path) -> dict[str, Any]:
    """Size and checksum of each file of a checkpoint, by name, but of those that Orbax writes last."""
    return {name: found for name, found in seal(folder).items() if name not in _LATE}


def wrong(folder: Path, sealed: dict[str, Any]) -> str:
    """What is wrong with the files of a checkpoint, empty where nothing is."""
    try:
        check_seal(folder, sealed, "")
    except JaxtagError as error:
        return error.message
    return ""
