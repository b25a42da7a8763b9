"""JSON documents of ours, read from anywhere, held against what they are to say before anything is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError
from jaxtag.files import read_json

_NAMES = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Each:
    """What every value of an object, or every element of a list, is to be."""

    kind: Any
    of: type = dict


SEALED = Each({"bytes": int, "crc32": int})  # as `jaxtag.files.seal` gives it


def versioned(path: Path, what: str, form: int, due: Mapping[str, Any], mend: str = "") -> dict[str, Any]:
    """As `described`, of a document that says of which `format` it is.

    Raises:
      JaxtagError: as `described`, or it is of another format than `form`.
    """
    info = read_json(path, f"{what} description", mend)
    if not isinstance(info, dict) or info.get("format") != form:
        found = f"{info.get('format')!r:.40}" if isinstance(info, dict) else None
        raise JaxtagError(f"{path} has {what} format {found}, this jaxtag reads format {form}", mend)
    hold(info, due, path, mend)
    return info


def described(path: Path, what: str, due: Mapping[str, Any], mend: str = "") -> dict[str, Any]:
    """The JSON object at `path`, which says all that is `due`; `what` names it in errors.

    Args:
      path: of the file.
      what: it is.
      due: what each key holds: a type, an object's own keys as a mapping, or `Each`; a key that ends in '?' may be
        absent or null. An integer is a number too. Other keys are not looked at.
      mend: what to do about one that does not.

    Raises:
      JaxtagError: the file is absent, is not JSON, or a key is missing or holds something else.
    """
    value = read_json(path, what, mend)
    hold(value, due, path, mend)
    return value


def hold(value: Any, due: Any, path: Path, mend: str = "", name: str = "") -> None:
    """Hold a JSON value of the file `path` against what is `due` there, as of `described`; `name` is its own.

    Raises:
      JaxtagError: it is something else; the message names the key.
    """
    kind = due.of if isinstance(due, Each) else dict if isinstance(due, Mapping) else due
    found = type(value)
    right = issubclass(found, (int, float) if kind is float else kind)
    if not right or found is bool and kind is not bool:  # a bool is an int to Python
        said = f"{name!r:.80} is" if name else "it is"
        raise JaxtagError(f"{path} cannot be used: {said} {_name(value)}, not {_NAMES[kind]}", mend)
    if isinstance(due, Mapping):
        for key, inner in due.items():
            bare = key.removesuffix("?")
            if bare == key and bare not in value:
                raise JaxtagError(f"{path} cannot be used: it has no {(name + '.' if name else '') + bare!r:.80}", mend)
            if value.get(bare) is not None or bare == key:
                hold(value[bare], inner, path, mend, f"{name}.{bare}" if name else bare)
    elif isinstance(due, Each):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            hold(inner, due.kind, path, mend, f"{name}.{key}" if name else str(key))


def _name(value: Any) -> str:
    return "nothing" if value is None else _NAMES.get(type(value), type(value).__name__)
