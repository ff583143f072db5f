"""How far the fast twin's effects scatter: a moving-block bootstrap of its residuals.

    y*[t] = fitted[t] + e[start + t mod block],   a new start every `block` periods, drawn with replacement

Blocks keep the residuals' dependence within them (Kuensch 1989, doi:10.1214/aos/1176347265); one serves all locations.
Residuals are scaled up by the degrees of freedom that the fit took. Shapes are chosen again for every y*, one round
over the channels by the sum of squares (every choice has as many parameters): held, they made intervals of 90 % that
held the truth in 42 to 82 % of 60 worlds of 208 periods; chosen again, in 61 to 93 %; with the true shapes 85 to 92 %.
Where an effect is zero, at the edge of what is allowed, no bootstrap is consistent (Andrews 2000,
doi:10.1111/1468-0262.00114).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.fast_ridge import Problem, Solution, solve

Floats = npt.NDArray[np.float64]


def resampled(residual: Floats, taken: float, block: int, count: int, draws: np.random.Generator) -> Floats:
    """Residuals in blocks: (T, L) -> (count, T, L). taken: degrees of freedom of the fit; block <= T."""
    time = residual.shape[0]
    left = max(residual.size - taken, 1.0)
    scaled = (residual - np.mean(residual, axis=0)) * np.sqrt(residual.size / left)
    starts = draws.integers(0, time - block + 1, size=(count, -(-time // block)))
    order = (starts[:, :, None] + np.arange(block)).reshape(count, -1)[:, :time]
    return scaled[order]


def rechosen(of: Problem, shapes: Sequence[int], y: Floats) -> tuple[list[int], Floats]:
    """The shapes of least cost for y (n,) that one round of changes to `shapes` finds, and the effects under them."""
    answers = of.left.T @ y
    chosen, best = list(shapes), solve(of, answers, shapes)
    for channel in range(len(chosen)):
        for shape in range(of.shapes):
            trial = [*chosen[:channel], shape, *chosen[channel + 1 :]]
            found: Solution = solve(of, answers, trial) if trial != chosen else best
            if found.cost < best.cost:
                chosen, best = trial, found
    return chosen, best.effects
