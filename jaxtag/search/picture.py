"""A picture of a search: the metric against each field's values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.report.plots import COLOURS, QUIET, figure_at, short
from jaxtag.search.space import shorter, shown

DECADE = 10.0  # largest over smallest value from which numbers stand on a logarithmic axis
ACROSS = 3  # panels in a row


def against_fields(points: Sequence[Mapping[str, Any]], fields: Sequence[str], metric: str, path: Path) -> Path:
    """A panel a field: every point with its spread, a line through the best at each value, the best of all ringed.

    Args:
      points: best first, each with `fields`, and `mean` and `spread` of `metric`.
      fields: their dotted names.
      metric: its name.
      path: of the PNG.
    """
    rows = -(-len(fields) // ACROSS)
    across = min(len(fields), ACROSS)
    with figure_at(path, (max(4.8, 3.4 * across), 3.4 * rows)) as figure:
        panels = figure.subplots(rows, across, squeeze=False, sharey=True)
        for axes in panels.flat[len(fields) :]:
            axes.set_visible(False)
        for field, axes in zip(fields, panels.flat):
            _panel(axes, points, field, metric)
            axes.set_xlabel(short(shorter(fields)[field], 40))
        for axes in panels[:, 0]:
            axes.set_ylabel(f"validation {metric}")
    return path


def _panel(axes: Any, points: Sequence[Mapping[str, Any]], field: str, metric: str) -> None:
    values = [point["fields"][field] for point in points]
    order = _ordered(values)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in order)
    apart = numbers and min(order) > 0 and max(order) / min(order) >= DECADE
    place = {repr(v): v if numbers else i for i, v in enumerate(order)}
    at = np.array([place[repr(v)] for v in values], float)
    mean, spread = (np.array([point[what][metric] for point in points]) for what in ("mean", "spread"))
    axes.errorbar(at, mean, spread, fmt="o", markersize=4, color=QUIET[1], elinewidth=1, capsize=2)
    top = [(x, mean[at == x].max()) for x in sorted(set(at))]
    axes.plot(*zip(*top), color=COLOURS[0], marker="o", markersize=4.5)
    axes.plot(at[0], mean[0], "o", markersize=10, fillstyle="none", color=COLOURS[1], markeredgewidth=1.8)
    if apart:
        axes.set_xscale("log")
    if not numbers or len(order) <= 8:
        axes.set_xticks([place[repr(v)] for v in order], [short(shown(v), 16) for v in order])
        axes.minorticks_off()
    if not numbers and len(order) > 4:
        axes.tick_params(axis="x", rotation=45)
    axes.margins(x=0.12, y=0.12)


def _ordered(values: Sequence[Any]) -> list[Any]:
    """Each value once: numbers rising, others as they first come."""
    once = {repr(value): value for value in values}
    found = list(once.values())
    return sorted(found) if all(isinstance(v, int | float) for v in found) else sorted(found, key=str)
