"""Pictures: functions from numbers to a PNG; each returns the path it wrote.

Matplotlib is imported inside them, and drawn by its Agg renderer without pyplot, so that nothing global
changes and no display is needed.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.files import new_file
from jaxtag.report.tables import cut_offs, plain

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#4d4d4d")  # told apart by all
QUIET = ("#6f7782", "#949ba5", "#b3b9c1", "#50565e")  # of baselines
DASHES = ((0, (4, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 4)))
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.labelsize": 10, "axes.labelcolor": "#333a44", "axes.edgecolor": "#aab2bd", "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e6e9ed", "grid.linewidth": 0.8, "xtick.color": "#5a6676", "ytick.color": "#5a6676",
    "lines.linewidth": 1.8, "legend.frameon": False, "figure.facecolor": "white", "savefig.dpi": 150,
    "text.parse_math": False,  # a dollar in a hashtag is a dollar
}  # fmt: skip
PANELS = {"precision": "Precision@k", "recall": "Recall@k", "f1": "F1@k", "accuracy": "Accuracy@k"}
MOST_BARS = 25
EVERY_BAR = 60  # hashtags up to which each has a bar
MOST_NUMBERS = 30  # that have a bar of their own
SMOOTH_FROM = 60  # points from which a running mean is drawn over the raw curve


def learning_curves(
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    metric: str,
    path: Path,
    validation: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Path:
    """Loss and the validation metric against the step; the best validation value of each run is ringed.

    Args:
      losses: by run, steps and training losses.
      scores: by the same runs, steps and values of `metric`.
      metric: its name.
      path: of the PNG.
      validation: by the same runs, steps and validation losses, where they were kept.
    """
    style = line_styles(list(losses))
    validation = validation or {}
    with figure_at(path, (9.5, 3.9)) as figure:
        left, right = figure.subplots(1, 2)
        for name, (steps, values) in losses.items():
            look = {"color": style[name][0], "linestyle": style[name][1]}
            if len(values) >= SMOOTH_FROM:
                left.plot(steps, values, color=style[name][0], alpha=0.25)
                values = _running_mean(np.asarray(values, float))
            left.plot(steps, values, **look)
            left.plot(*validation.get(name, ((), ())), **look, marker="o", markersize=3.5, linewidth=0.9)
            steps, values = scores[name]
            if len(values):
                right.plot(steps, values, **look, marker="o", markersize=3.5)
                best = int(np.argmin(values) if metric == "loss" else np.argmax(values))
                right.plot(steps[best], values[best], "o", markersize=9, fillstyle="none", color=style[name][0])
        dotted = any(len(values) for _, values in validation.values())
        left.set(title="Loss: training, validation dotted" if dotted else "Training loss", xlabel="step")
        right.set(title=f"Validation {metric} (best ringed)", xlabel="step")
        for axes in (left, right):
            axes.margins(x=0.03)
            _whole_steps(axes)
        _legend(figure, [(*style[n], short(n)) for n in losses])
    return path


def against_k(systems: Mapping[str, Mapping[str, float]], baselines: Sequence[str], path: Path) -> Path:
    """Precision, recall, F1 and accuracy at k, a line for each system; baselines are grey and dashed.

    Args:
      systems: metrics by the system's name.
      baselines: which of them are baselines.
      path: of the PNG.
    """
    style = line_styles([n for n in systems if n not in baselines])
    style |= {n: (QUIET[i % len(QUIET)], DASHES[i % len(DASHES)]) for i, n in enumerate(baselines)}
    with figure_at(path, (9.5, 6.2)) as figure:
        panels = figure.subplots(2, 2, sharex=True)
        for (score, title), axes in zip(PANELS.items(), panels.flat):
            for name, metrics in systems.items():
                ks = [k for k in cut_offs(set(metrics)) if f"{score}@{k}" in metrics]
                axes.plot(ks, [metrics[f"{score}@{k}"] for k in ks], color=style[name][0], linestyle=style[name][1],
                          marker="o", markersize=3.5)  # fmt: skip
            axes.set(title=title)
            axes.set_xticks(sorted({k for m in systems.values() for k in cut_offs(set(m))}))
            axes.set_ylim(bottom=0)
        for axes in panels[1]:
            axes.set_xlabel("k, hashtags recommended")
        _legend(figure, [(*style[n], short(n)) for n in systems])
    return path


def shares(counts: Mapping[str, Mapping[int, int]], title: str, label: str, path: Path) -> Path:
    """What share of each set's members has which whole number, a bar each; those past `MOST_NUMBERS` are one.

    Args:
      counts: members by number, by the set's name.
      title: what is numbered.
      label: of the share.
      path: of the PNG.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    style, width = line_styles(list(counts)), 0.8 / max(len(counts), 1)
    least = min((n for found in counts.values() for n in found), default=1)
    largest = max((n for found in counts.values() for n in found), default=1)
    places = np.arange(least, min(largest, MOST_NUMBERS + 1) + 1)
    with figure_at(path, (9.5, 3.6)) as figure:
        axes = figure.subplots()
        for i, (name, found) in enumerate(counts.items()):
            at = np.minimum(np.fromiter(found, int, len(found)), places[-1]) - least
            values = np.bincount(at, list(found.values()), len(places))
            left = places + (i - (len(counts) - 1) / 2) * width
            axes.bar(left, values / max(values.sum(), 1), color=style[name][0], width=0.92 * width)
        axes.set(xlabel=title, ylabel=label)
        axes.set_xlim(least - 0.6, max(places[-1], least + 11) + 0.6)
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(16, integer=True))
        if largest > MOST_NUMBERS:
            shown = [n for n in places if n <= MOST_NUMBERS - 2 and n % 2]
            axes.set_xticks([*shown, places[-1]], [*map(str, shown), f"> {MOST_NUMBERS}"])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        _legend(figure, [(*style[n], short(n)) for n in counts])
    return path


def hashtag_bars(names: Sequence[str], counts: Sequence[int], path: Path) -> Path:
    """How many posts have each hashtag, most used first: a bar each, or of many the first and all of them by rank.

    Args:
      names: hashtags, without '#'.
      counts: posts that have each, in the same order.
      path: of the PNG.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    order = np.argsort(-np.asarray(counts), kind="stable")
    if len(order) <= EVERY_BAR:
        return _every_bar([names[int(i)] for i in order], np.asarray(counts)[order], path)
    top = order[:MOST_BARS]
    ranked = np.asarray(counts)[order]
    with figure_at(path, (9.5, 1.6 + 0.2 * max(len(top), 8))) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        place = np.arange(len(top))
        left.barh(place, ranked[: len(top)], color=COLOURS[0], height=0.72)
        for y, count in zip(place, ranked):
            left.annotate(f"{count:,}", (count, y), (3, 0), textcoords="offset points", va="center", fontsize=8,
                          color="#5a6676")  # fmt: skip
        left.set_yticks(place, [f"#{short(names[int(i)], 24)}" for i in top], fontsize=8)
        left.invert_yaxis()
        left.grid(axis="y", visible=False)
        left.margins(x=0.12, y=0.01)
        left.set(title=f"The {len(top)} most used" if len(order) > len(top) else "Hashtags", xlabel="posts")
        right.step(np.arange(1, len(ranked) + 1), ranked, where="mid", color=COLOURS[0])
        right.set_yscale("log")
        right.set_ylim(bottom=max(ranked.min() / 1.5, 0.7))
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        right.yaxis.set_minor_formatter(NullFormatter())
        right.set(title=f"All {len(ranked):,} by rank", xlabel="rank", ylabel="posts (log scale)")
    return path


def _every_bar(names: Sequence[str], counts: np.ndarray, path: Path) -> Path:
    """A standing bar for each hashtag, its name below it."""
    from matplotlib.ticker import StrMethodFormatter

    with figure_at(path, (9.5, 4.4)) as figure:
        axes = figure.subplots()
        place = np.arange(len(names))
        axes.bar(place, counts, color=COLOURS[0], width=0.72)
        few = len(names) <= 12
        turn = (
            {} if few else {"rotation": 90 if len(names) > 30 else 50, "ha": "center" if len(names) > 30 else "right"}
        )
        axes.set_xticks(place, [f"#{short(n, 12 if few else 20)}" for n in names], fontsize=8, rotation_mode="anchor"
                        if turn.get("ha") == "right" else "default", **turn)  # fmt: skip
        axes.grid(axis="x", visible=False)
        axes.margins(x=0.01)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set(title=f"Posts of each of {len(names)} hashtags", ylabel="posts")
    return path


def differences(rows: Sequence[tuple[str, float, float, float]], metric: str, path: Path) -> Path:
    """Differences between runs with their 95 % intervals; those that exclude 0 are filled.

    Args:
      rows: label, difference, low, high.
      metric: what differs.
      path: of the PNG.
    """
    with figure_at(path, (9.5, 1.3 + 0.42 * len(rows))) as figure:
        axes = figure.subplots()
        for y, (_, value, low, high) in enumerate(rows):
            sure = low > 0 or high < 0
            colour = COLOURS[0] if sure else QUIET[0]
            axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot(value, y, "o", markersize=7, color=colour, markerfacecolor=colour if sure else "white")
            label = f"{value:+.3f}".replace("-", "−")
            axes.annotate(label, (high, y), (7, 0), textcoords="offset points", va="center", fontsize=8.5,
                          color="#333a44")  # fmt: skip
        axes.axvline(0, color="#333a44", linewidth=1)
        axes.set_yticks(range(len(rows)), [short(row[0], 60) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1)
        axes.set_xlabel(f"difference in {metric}, with 95 % paired bootstrap intervals")
    return path


def line_styles(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Colour and line style of each run, the same in every picture given the same names; colours come round dashed."""
    around = ("-", *DASHES)
    return {name: (COLOURS[i % len(COLOURS)], around[i // len(COLOURS) % len(around)]) for i, name in enumerate(names)}


@contextmanager
def figure_at(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """An empty figure of `size` inches, written to `path` in one step when the block ends."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font lacks some scripts: boxes are drawn
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with new_file(path) as file:
            figure.savefig(file, format="png")


def _legend(figure: Any, lines: Sequence[tuple[str, Any, str]]) -> None:
    """A legend of colours, line styles and labels above all panels, where it hides nothing."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linestyle=style, label=label) for colour, style, label in lines]
    longest = max((len(label) for *_, label in lines), default=1)
    figure.legend(handles=handles, loc="outside upper left", ncols=max(1, min(len(lines), 110 // (longest + 8))))


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of up to a fortieth of the curve on either side; the window shrinks at the ends."""
    reach = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _whole_steps(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def short(text: str, most: int = 40) -> str:
    """`text` on one line, its end replaced by '…' beyond `most` characters."""
    text = plain(text)
    return text if len(text) <= most else text[: most - 1] + "…"
