"""Points of a search: overrides of an experiment's fields, combined as a grid or side by side.

A field's values are given as `training.learning_rate=1e-4,1e-3`; of a field that is itself a list, such as
`model.hidden=128,64;256,128`, they are separated by semicolons.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtag.checks import validate
from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment, fields_of, override
from jaxtag.files import fingerprint

LONGEST = 100  # characters of a point's name, which is a folder's

Values = dict[str, tuple[Any, ...]]  # of each field, in the order given


@dataclass(frozen=True)
class Point:
    """One setting of the fields searched over.

    Attributes:
      name: what its folder is called: the fields and their values.
      fields: their values, by dotted name.
      experiment: with these values.
    """

    name: str
    fields: dict[str, Any]
    experiment: Experiment


def parse(texts: Iterable[str], experiment: Experiment) -> Values:
    """The values of each field that `texts` such as `model.dropout=0,0.2` name, as the field's type.

    Raises:
      JaxtagError: no such field, no value, one twice, or one that is not of the field's type.
    """
    known = fields_of(experiment)
    found: Values = {}
    for text in texts:
        key, equals, listed = text.partition("=")
        if not equals:
            raise JaxtagError(
                f"{text!r} names no values", "say FIELD=VALUE,VALUE, such as training.learning_rate=1e-4,1e-3"
            )
        if key not in known:
            raise JaxtagError(f"no field {key!r} in this experiment", nearest(key, known))
        if key in found:
            raise JaxtagError(f"{key} is named twice", "give all its values at once")
        between = ";" if isinstance(known[key], tuple) else ","
        pieces = [piece.strip() for piece in listed.split(between)]
        if "" in pieces and not isinstance(known[key], str):
            raise JaxtagError(f"{text!r} has an empty value", f"write {key}=VALUE{between}VALUE")
        values = tuple(fields_of(override(experiment, {key: piece}))[key] for piece in pieces)
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if twice:
            raise JaxtagError(f"{key} has the value {twice[0]} twice", "give each value once")
        found[key] = values
    return found


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the fields' values, the last field changing fastest; of no field, one empty override."""
    return [dict(zip(values, chosen)) for chosen in itertools.product(*values.values())]


def side_by_side(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The first values of all fields together, then the second ones, and so on; of no field, one empty override.

    Raises:
      JaxtagError: the fields have different numbers of values.
    """
    counts = {key: len(listed) for key, listed in values.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{key} {many}" for key, many in counts.items())
        raise JaxtagError(f"fields side by side have different numbers of values: {said}", "give as many of each")
    return [dict(zip(values, chosen)) for chosen in zip(*values.values())] if values else [{}]


def product(*spaces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every choice of an override from each space, put together.

    Raises:
      JaxtagError: two spaces set the same field.
    """
    joined = []
    for chosen in itertools.product(*spaces):
        keys = [key for override in chosen for key in override]
        twice = [key for i, key in enumerate(keys) if key in keys[:i]]
        if twice:
            raise JaxtagError(f"{twice[0]} is named twice", "name each field in one place")
        joined.append({key: value for override in chosen for key, value in override.items()})
    return joined


def points(experiment: Experiment, overrides: Sequence[Mapping[str, Any]]) -> list[Point]:
    """`experiment` with each of the overrides, checked.

    Raises:
      JaxtagError: there is none, or a combination is impossible; the message names it.
    """
    if not any(overrides):
        raise JaxtagError("the grid is empty", "name a field and its values, such as --grid model.dropout=0,0.2")
    found = []
    for fields in overrides:
        name = name_of(fields)
        try:
            changed = validate(override(experiment, fields))
        except JaxtagError as error:
            raise JaxtagError(f"point {name}: {error.message}", error.mend) from None
        found.append(Point(name, dict(fields), changed))
    return found


def name_of(fields: Mapping[str, Any]) -> str:
    """A folder's name that says the fields' values; a long one is cut and ends in its fingerprint."""
    short = shorter(list(fields))
    said = "+".join(f"{short[key]}={shown(value)}" for key, value in fields.items())
    clean = re.sub(r"[^A-Za-z0-9._=+-]", "_", said)
    if clean == said and len(said) <= LONGEST:
        return said
    return f"{clean[: LONGEST - 17]}-{fingerprint(dict(fields))}"


def shorter(fields: Sequence[str]) -> dict[str, str]:
    """Each field's last word, `learning_rate`; its whole name where another has the same last word."""
    last = [key.rpartition(".")[2] for key in fields]
    return {key: name if last.count(name) == 1 else key for key, name in zip(fields, last)}


def shown(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, tuple | list):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
