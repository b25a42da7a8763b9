"""A picture of a search: the metric against each field's values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.report.plots import COLOURS, DASHES, QUIET, figure_at, short
from jaxtag.search.space import shorter, shown

DECADE = 10.0  # largest over smallest value from which numbers stand on a logarithmic axis
ACROSS = 3  # panels in a row
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}  # of a number on an axis


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


def parallel(points: Sequence[Mapping[str, Any]], fields: Sequence[str], metric: str, path: Path) -> Path:
    """Parallel coordinates: an axis a field and one of the metric, a line a point, darker the better.

    Args:
      points: best first, each with `fields`, and unless it diverged `mean` of `metric`; those with `pruned` are dashed.
      fields, metric, path: as of `against_fields`.
    """
    points = [point for point in points if "mean" in point]
    names = [*(shorter(fields)[field] for field in fields), f"validation {metric}"]
    places = [_places([point["fields"][field] for point in points]) for field in fields]
    score = np.array([point["mean"][metric] for point in points])
    places.append(_places(score.tolist(), decade=np.inf))
    rank = np.argsort(np.argsort(-score, kind="stable"), kind="stable") / max(1, len(points) - 1)
    with figure_at(path, (max(5.5, 1.9 * len(names)), 4.2)) as figure:
        axes = figure.subplots()
        for i in reversed(range(len(points))):
            line = [at[i] for at, _ in places]
            dashes = {"linestyle": DASHES[0]} if "pruned" in points[i] else {}
            look = {"color": COLOURS[1], "linewidth": 2.6} if i == 0 else {"color": COLOURS[0], "linewidth": 1.3}
            alpha = 1.0 if i == 0 else 0.9 - 0.7 * float(rank[i])
            axes.plot(range(len(names)), line, marker="o", markersize=3, alpha=alpha, **look, **dashes)
        for x, (_, ticks) in enumerate(places):
            axes.axvline(x, color="#aab2bd", linewidth=0.8, zorder=0)
            for y, text in ticks:
                axes.annotate(text, (x, y), (5, 0), textcoords="offset points", fontsize=8, va="center", bbox=BEHIND)
        axes.set_xticks(range(len(names)), [short(name, 24) for name in names])
        axes.set_yticks([])
        axes.grid(False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlim(-0.15, len(names) - 0.55)
        if any("pruned" in point for point in points):
            axes.plot([], [], color=COLOURS[0], linewidth=1.3, linestyle=DASHES[0], label="pruned")
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    return path


def _places(values: Sequence[Any], decade: float = DECADE) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Where each value is on an axis from 0 to 1, and what stands at which places of it; logarithmic from `decade`."""
    order = _ordered(values)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in order)
    if not numbers or len(order) == 1:
        at = {repr(v): (i + 0.5) / len(order) for i, v in enumerate(order)}
        return np.array([at[repr(v)] for v in values]), [(at[repr(v)], short(shown(v), 16)) for v in order]
    low, high = float(order[0]), float(order[-1])
    change = np.log if low > 0 and high / low >= decade else np.asarray
    scale = lambda x: (change(x) - change(low)) / (change(high) - change(low))  # noqa: E731
    ticks = order if len(order) <= 5 else [order[0], _middle(order, scale), order[-1]]
    return scale(np.array(values, float)), [(float(scale(float(v))), f"{v:.3g}") for v in ticks]


def _middle(order: Sequence[float], scale: Any) -> float:
    """The value that stands nearest to the middle of its axis."""
    return min(order, key=lambda v: abs(float(scale(float(v))) - 0.5))


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
