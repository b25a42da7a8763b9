"""Regions that a system looked at, drawn over their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxtag.report.plots import COLOURS, figure_at, short

BOLD = 3  # regions of an image that are drawn with their weights: those that counted most
ACROSS = 3  # images of a row


@dataclass(frozen=True)
class Looked:
    """An image and what was looked at in it.

    Attributes:
      title: above it.
      size: width and height, in any unit.
      boxes: x1 y1 x2 y2 in 0 … 1 `[R, 4]`.
      weights: of each `[R]`.
      pixels: of the image `[H, W, 3]` uint8, drawn at `size`; None draws an empty canvas.
    """

    title: str
    size: tuple[float, float]
    boxes: np.ndarray
    weights: np.ndarray
    pixels: np.ndarray | None = None


def regions(images: Sequence[Looked], path: Path) -> Path:
    """Images side by side with the regions that counted most, the more the bolder; the others as thin lines.

    Args:
      images: at least one.
      path: of the PNG.
    """
    from matplotlib.patches import Rectangle

    down = -(-len(images) // ACROSS)
    with figure_at(path, (9.5, 3.3 * down)) as figure:
        panels = list(figure.subplots(down, ACROSS, squeeze=False).flat)
        for axes in panels:
            axes.set_axis_off()
        for axes, looked in zip(panels, images):
            wide, high = looked.size
            if looked.pixels is None:
                axes.add_patch(Rectangle((0, 0), wide, high, facecolor="#eef0f3", edgecolor="#aab2bd"))
            else:
                axes.imshow(looked.pixels, extent=(0, wide, high, 0))
            order = np.argsort(-looked.weights, kind="stable")
            for place, region in reversed(list(enumerate(order))):
                x1, y1, x2, y2 = looked.boxes[region] * (wide, high, wide, high)
                bold = place < BOLD
                colour = COLOURS[place] if bold else "#6f7782"
                line = 1 + 2 * looked.weights[region] / max(looked.weights.max(), 1e-9) if bold else 0.4
                axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=line))
                if bold:
                    axes.text(x1, y1, f"{looked.weights[region]:.2f}", fontsize=7, color="white", va="top",
                              bbox={"facecolor": colour, "edgecolor": "none", "pad": 1})  # fmt: skip
            axes.set(xlim=(0, wide), ylim=(high, 0), aspect="equal", title=short(looked.title, 34))
    return path
