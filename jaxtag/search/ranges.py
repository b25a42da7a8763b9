"""The space of a study: ranges of numbers, and choices.

A range is given as `training.learning_rate=1e-4..1e-2:log`, choices as in a grid, `model.dropout=0,0.2`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment, fields_of, override
from jaxtag.search.space import parse, shown

BETWEEN = ".."


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
      low, high: whole numbers of a field that is one.
      log: whether their logarithms are spread evenly.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int)


Space = dict[str, Range | tuple[Any, ...]]  # of each field, in the order given


def parse_space(texts: Iterable[str], experiment: Experiment) -> Space:
    """The range or the choices of each field that `texts` name, as the field's type.

    Raises:
      JaxtagError: no such field, one twice, no numbers, an empty range, or a logarithm of what is not above 0.
    """
    known, found = fields_of(experiment), {}
    for text in texts:
        key, equals, said = text.partition("=")
        if key in found:
            raise JaxtagError(f"{key} is named twice", "give all its values at once")
        if not equals or BETWEEN not in said:
            found |= parse([text], experiment)
            continue
        if key not in known:
            raise JaxtagError(f"no field {key!r} in this experiment", nearest(key, known))
        bounds, _, how = said.partition(":")
        if how not in ("", "log") or isinstance(known[key], bool) or not isinstance(known[key], int | float):
            raise JaxtagError(
                f"{text!r} is no range of numbers", f"write {key}=LOW..HIGH, {key}=LOW..HIGH:log or {key}=VALUE,VALUE"
            )
        low, high = (fields_of(override(experiment, {key: end}))[key] for end in bounds.split(BETWEEN, 1))
        if not low < high or (how and low <= 0):
            raise JaxtagError(
                f"{text!r} goes from {shown(low)} to {shown(high)}",
                "the first must be less than the second" + (", and above 0 with :log" if how else ""),
            )
        found[key] = Range(low, high, bool(how))
    if not found:
        raise JaxtagError("the space is empty", "name a field and its range, such as --space model.dropout=0..0.5")
    return found


def suggested(trial: Any, space: Mapping[str, Range | tuple[Any, ...]]) -> dict[str, Any]:
    """What an Optuna trial draws of a space: a value for each field."""
    for key, values in space.items():
        if not isinstance(values, Range):
            trial.suggest_categorical(key, [shown(value) for value in values])
        elif values.whole:
            trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
        else:
            trial.suggest_float(key, values.low, values.high, log=values.log)
    return chosen(trial.params, space)


def chosen(params: Mapping[str, Any], space: Mapping[str, Range | tuple[Any, ...]]) -> dict[str, Any]:
    """The fields' values that an Optuna trial's `params` stand for: it keeps choices as texts."""
    named = {key: {shown(value): value for value in v} for key, v in space.items() if not isinstance(v, Range)}
    return {key: named[key][params[key]] if key in named else params[key] for key in space}


def to_text(space: Mapping[str, Range | tuple[Any, ...]]) -> dict[str, str]:
    """A space as one would type it, by field."""
    return {
        key: f"{shown(v.low)}{BETWEEN}{shown(v.high)}{':log' if v.log else ''}"
        if isinstance(v, Range)
        else ",".join(map(shown, v))
        for key, v in space.items()
    }
