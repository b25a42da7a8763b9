"""Recipes: named experiments, found by name, shrunk and overridden.

A recipe is a function of a size in `configs/<file>.py`, named `<file>/<function>`, or in a user's own file,
named `path.py:<function>`. `resolve` finds it, calls it, puts in the overrides and checks the outcome.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtag.checks import validate
from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment, override
from jaxtag.systems import find

SIZES = ("paper", "tiny")
OBJECTIVES = {"fit": "fitted", "sweeps": "sampled"}  # of systems without one of their own
VECTORS = "vectors"  # the encoder that is none: mean word vectors


def resolve(
    recipe: str, size: str = "paper", overrides: Mapping[str, Any] | None = None, encoder: str = ""
) -> Experiment:
    """The experiment that `recipe` names, at `size`, with dotted `overrides`.

    Args:
      recipe: `file/function` among jaxtag's recipes, or `path/to/file.py:function`.
      size: `paper`, or `tiny`: seconds on a CPU through the same code.
      overrides: such as {"training.learning_rate": "1e-4"}; strings are read as the field's type.
      encoder: of a fitted recipe, another recipe to be its encoder, at the same size; or `vectors`, the word vectors
        of a post. Empty keeps the recipe's own, but where model.features among the overrides needs none.

    Raises:
      JaxtagError: no such recipe, size or field, or a value that does not fit; the message names the nearest.
    """
    from jaxtag import fitted

    if size not in SIZES:
        raise JaxtagError(f"no size {size!r}", nearest(size, SIZES))
    experiment = find_recipe(recipe)(size)
    if encoder:
        if find(experiment.system).learned != "fit":
            raise JaxtagError(f"recipe {recipe} has no encoder", "leave --encoder out")
        experiment = replace(experiment, encoder=None if encoder == VECTORS else find_recipe(encoder)(size))
    features = str((overrides or {}).get("model.features", ""))
    return _checked(override(fitted.settled(experiment, encoder, features), overrides or {}))


def recipes() -> dict[str, Callable[[str], Experiment]]:
    """Every recipe that ships with jaxtag, by full name."""
    package = importlib.import_module("jaxtag.configs")
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        loaded = importlib.import_module(f"jaxtag.configs.{module}")
        found |= {f"{module}/{f.__name__}": f for f in getattr(loaded, "RECIPES", ())}
    return found


def find_recipe(name: str) -> Callable[[str], Experiment]:
    """The function behind a recipe's name: `file/function`, or `path/to/file.py:function`.

    Raises:
      JaxtagError: there is none.
    """
    path, colon, function = name.partition(".py:")
    if not colon:
        known = recipes()
        if name not in known:
            raise JaxtagError(f"no recipe {name!r}", nearest(name, known))
        return known[name]
    file = Path(path + ".py")
    if not file.is_file():
        raise JaxtagError(f"no recipe file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader  # true of every .py file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise JaxtagError(f"{file} has no function {function!r}", nearest(function, vars(module)))
    return getattr(module, function)


def from_json(value: Mapping[str, Any]) -> Experiment:
    """The experiment that `to_json` wrote.

    Raises:
      JaxtagError: it names a system or field that this version does not have.
    """
    return _checked(_read(value))


def _read(value: Mapping[str, Any]) -> Experiment:
    encoder = value.get("encoder") or None
    if not isinstance(value.get("system"), str) or not isinstance(encoder, Mapping | None):
        raise JaxtagError(f"no system {value.get('system')!r:.80} with encoder {encoder!r:.80}", "see jaxtag systems")
    entry, encoder = find(value["system"]), _read(encoder) if encoder else None
    experiment = Experiment(entry.name, entry.settings()(), encoder=encoder)
    parts = {part: inner for part, inner in value.items() if isinstance(inner, dict) and part != "encoder"}
    return override(experiment, {f"{part}.{k}": v for part, inner in parts.items() for k, v in inner.items()})


def _checked(experiment: Experiment) -> Experiment:
    """The experiment itself.

    Raises:
      JaxtagError: a value of it is not possible.
    """
    from jaxtag import zero_shot

    zero_shot.check(validate(experiment), find(experiment.system))
    return experiment


def recipe_rows() -> list[dict[str, str]]:
    """What `jaxtag systems` lists: a row a recipe, with its system's row of the table."""
    rows = []
    for name, recipe in recipes().items():
        experiment = recipe("paper")
        entry = find(experiment.system)
        rows.append(
            {
                "recipe": name,
                "what": entry.title,
                "paper": name.partition("/")[0],
                "reads": ", ".join(find(experiment.network.system).reads(experiment.network.model)),
                "output": entry.output,
                "objective": OBJECTIVES.get(entry.learned, experiment.training.objective),
            }
        )
    return rows
