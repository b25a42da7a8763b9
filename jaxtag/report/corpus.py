"""Pictures of a dataset: its words as a cloud, and its hashtags as a map of their vectors.

Both are the zsl paper's Fig. 2; its Fig. 1 is `plots.hashtag_bars`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtag.files import new_file
from jaxtag.report.plots import COLOURS, figure_at, short

MOST_WORDS = 150  # in a cloud
MOST_POINTS = 500  # on a map, the most used
FEWEST_POINTS = 5
SEED = 0
_NEAR = (0.6, 1.4, 2.4)  # how far from its point a name may stand, in heights of its letters


def word_cloud(words: Sequence[str], counts: Sequence[int], path: Path) -> Path | None:
    """The most used words, the larger the more often they are used.

    Stop words, what has no letter in it, and words with letters that the font lacks are left out.

    Args:
      words: of the training posts.
      counts: how often each occurs.
      path: of the PNG.

    Returns:
      `path`, or None where there is no word to draw.
    """
    from matplotlib import font_manager, ft2font
    from wordcloud import STOPWORDS, WordCloud

    font = font_manager.findfont("DejaVu Sans")
    has = ft2font.FT2Font(font).get_charmap()
    drawn: dict[str, float] = {}
    for i in np.argsort(-np.asarray(counts), kind="stable"):
        word = words[int(i)]
        shown = any(c.isalpha() for c in word) and all(ord(c) in has for c in word) and word.lower() not in STOPWORDS
        if shown and counts[i] > 0:
            drawn[short(word, 24)] = float(counts[i])
        if len(drawn) == MOST_WORDS:
            break
    if not drawn:
        return None
    place = {word: i for i, word in enumerate(drawn)}
    make: Any = WordCloud  # its types are guessed from its defaults
    cloud = make(
        width=1425, height=760, background_color="white", font_path=font, random_state=SEED, prefer_horizontal=1.0,
        relative_scaling=0.45, min_font_size=14, max_font_size=190, margin=5,
        color_func=lambda word, **_: COLOURS[place[word] % len(COLOURS)],
    )  # fmt: skip
    picture = cloud.generate_from_frequencies(drawn).to_image()
    with new_file(path) as file:
        picture.save(file, format="png")
    return path


def hashtag_map(names: Sequence[str], counts: Sequence[int], vectors: np.ndarray, path: Path) -> Path | None:
    """Hashtags laid out by t-SNE of their vectors: what stands together is used alike.

    Perplexity is min(30, (L − 1) / 3), as SYSTEMS 1.2 has it; vectors are brought to length 1; the same vectors give
    the same picture. A name that would hide another is left out, the less used one, and its point stays.

    Args:
      names: hashtags, without '#'.
      counts: posts that have each.
      vectors: `[L, d]`; a hashtag whose vector is zeros has none, and is left out.
      path: of the PNG.

    Returns:
      `path`, or None where fewer than five hashtags have vectors.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    length = np.linalg.norm(vectors, axis=1)
    known = np.flatnonzero((length > 0) & np.isfinite(length))
    known = known[np.argsort(-np.asarray(counts)[known], kind="stable")][:MOST_POINTS]
    if len(known) < FEWEST_POINTS:
        return None
    unit = (vectors[known] / length[known, None]).astype(np.float32)
    perplexity = min(30.0, (len(known) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=SEED, n_jobs=1)
    with threadpool_limits(1):  # threads would make it slower, and its last digits another time's
        points = layout.fit_transform(unit)
    used = np.asarray(counts, float)[known]
    with figure_at(path, (9.5, 7.6)) as figure:
        axes = figure.subplots()
        sizes = 12 + 110 * used / max(used.max(), 1)
        axes.scatter(points[:, 0], points[:, 1], s=sizes, color=COLOURS[0], alpha=0.55, linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.margins(0.09, 0.05)
        FigureCanvasAgg(figure).draw()  # settles where points are in pixels
        _name(axes, points, sizes, [f"#{short(names[int(i)], 24)}" for i in known])
    return path


def _name(axes: Any, points: np.ndarray, sizes: np.ndarray, names: Sequence[str]) -> None:
    """Write each name beside its point where it hides neither a name before it nor a point, or not at all."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    centres = axes.transData.transform(points)
    radii = np.sqrt(sizes / np.pi) * figure.dpi / 72
    dots = np.column_stack([centres - radii[:, None], centres + radii[:, None]])
    taken = np.empty((0, 4))
    frame = axes.get_window_extent(renderer)
    for i, name in enumerate(names):
        text = axes.text(0, 0, name, fontsize=8, color="#333a44", va="bottom", ha="left", in_layout=False)
        box = text.get_window_extent(renderer)
        spot = _free(centres[i], radii[i], box.width, box.height, frame, np.delete(dots, i, 0), taken)
        if spot is None:
            text.remove()
            continue
        to_data = axes.transData.inverted().transform
        text.set_position(to_data(spot[:2]))
        taken = np.vstack([taken, spot])
        end = np.clip(centres[i], spot[:2], spot[2:])  # of the name's box, what is nearest to the point
        if np.hypot(*(end - centres[i])) > radii[i] + 0.5 * box.height:
            axes.plot(*to_data([centres[i], end]).T, color="#aab2bd", linewidth=0.7, zorder=0)


def _free(
    centre: np.ndarray, radius: float, width: float, height: float, frame: Any, dots: np.ndarray, taken: np.ndarray
) -> np.ndarray | None:
    """The nearest box `[x0, y0, x1, y1]` round a point that hides nothing; None where there is no such box."""
    for distance in _NEAR:
        gap = radius + (distance - 0.4) * height
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            low_x = centre[0] + dx * gap - (width if dx < 0 else width / 2 if dx == 0 else 0)
            low_y = centre[1] + dy * gap - (height if dy < 0 else height / 2 if dy == 0 else 0)
            box = np.array([low_x, low_y, low_x + width, low_y + height])
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not any(_hides(box, others).any() for others in (dots, taken)):
                return box
    return None


def _hides(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of the boxes `others [n, 4]` the box covers a part of."""
    return (box[0] < others[:, 2]) & (others[:, 0] < box[2]) & (box[1] < others[:, 3]) & (others[:, 1] < box[3])
