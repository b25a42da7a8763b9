"""The linear SVM of squared hinge loss, in its primal, by Newton's method on the active posts.

    min_w  ½ ‖w‖² + C Σ_i max(0, 1 − y_i wᵀx_i)²

What is least is found where w solves the ridge regression of y on the posts with y_i wᵀx_i < 1, the active ones: each
step solves that of the present ones, halved as long as it does not lead down, and the last has the same active posts
before and after it (Mangasarian 2002; Chapelle 2007). XᵀX of the active posts is kept, and only posts that come or go
are added or taken away: rows of as few numbers as word vectors have cost little so. It is the problem of scikit-learn's
`LinearSVC`, whose conjugate gradients take minutes a hashtag where features are as unlike in scale as sums of vectors.
"""

import numpy as np

ROWS = 1 << 14  # of a product at a time
LEAST = 1e-4  # of what a step promises that it must keep


def gram(x: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """XᵀX `[p, p]` of `rows` of `x [n, p]`, all by default, block by block."""
    many = len(x) if rows is None else len(rows)
    found = np.zeros((x.shape[1], x.shape[1]))
    for first in range(0, many, ROWS):
        part = x[first : first + ROWS] if rows is None else x[rows[first : first + ROWS]]
        found += part.T @ part
    return found


def solve(
    x: np.ndarray, whole: np.ndarray, positive: np.ndarray, penalty: float, tolerance: float, iterations: int
) -> np.ndarray:
    """The weights w `[p]`.

    Args:
      x: posts `[n, p]`, float64; a column of ones is the intercept, regularised as the others are.
      whole: `gram(x)`.
      positive: which posts have y_i = 1, bool `[n]`; the others −1.
      penalty: C.
      tolerance: of the gradient, as a part of the one at w = 0, at which to stop before the active posts are settled.
      iterations: steps at most.
    """
    y = np.where(positive, 1.0, -1.0)
    w, margin = np.zeros(x.shape[1]), np.zeros(len(x))
    active, products = np.ones(len(x), bool), whole
    target = x.T @ y  # Xᵀy of the active posts
    gradient = -2 * penalty * target
    limit, value = tolerance * np.linalg.norm(gradient), penalty * len(x)
    for _ in range(iterations):
        step = np.linalg.solve(np.eye(len(w)) + 2 * penalty * products, -gradient)
        towards, slope, size = x @ step, float(gradient @ step), 1.0
        while True:  # convex and once differentiable: a small enough part leads down
            now, moved = w + size * step, margin + size * towards
            short = np.maximum(0, 1 - y * moved)
            after = 0.5 * float(now @ now) + penalty * float(short @ short)
            if after <= value + LEAST * size * slope or size < 1e-10:
                break
            size /= 2
        w, margin, value, before, active = now, moved, after, active, short > 0
        products, target = _moved(x, y, products, target, before, active)
        gradient = w + 2 * penalty * (products @ w - target)
        if (size == 1 and (active == before).all()) or np.linalg.norm(gradient) <= limit:
            break
    return w


def _moved(
    x: np.ndarray, y: np.ndarray, products: np.ndarray, target: np.ndarray, before: np.ndarray, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """XᵀX and Xᵀy of the posts `active`, from those of the posts `before`."""
    came, went = np.flatnonzero(active & ~before), np.flatnonzero(before & ~active)
    if len(came) + len(went) > active.sum():
        rows = np.flatnonzero(active)
        return gram(x, rows), x[rows].T @ y[rows]
    if len(came):
        products, target = products + gram(x, came), target + x[came].T @ y[came]
    if len(went):
        products, target = products - gram(x, went), target - x[went].T @ y[went]
    return products, target
