"""Are ranks uniform? Two tests of one sample, each exact or nearly so, and a bound over many samples.

ranks r of N worlds, each 0..L, the number of L draws below the truth. Under calibration each of the L + 1 values is as
likely as any other.
- envelope: the smallest pointwise two-sided tail probability of the empirical distribution over 1..L, and how often
  uniform ranks have one as small (Saeilynoja, Buerkner & Vehtari 2022, doi:10.1007/s11222-022-10090-6, section 2:
  simultaneous bands). Sees bias and a wrong width.
- chi-square over bins of equal size (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788). Sees what is
  not monotone: two humps, a comb.
- over all tests of one run: Holm (1979).

Exactness of the envelope: given how many ranks there are, the counts of L + 1 equally likely cells are independent
Poisson counts given their sum; so a walk through the cells with Poisson steps, cut wherever it leaves the band, and
divided by the chance of the sum, is the probability of staying inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import stats

_ABOVE = 1.0 + 1e-9  # tails that are equal but for rounding count as equal


def envelope(ranks: Sequence[int], draws: int) -> float:
    """p-value of the simultaneous band. Precondition: 0 <= ranks <= draws."""
    count = len(ranks)
    below = np.asarray([sum(r < cell for r in ranks) for cell in range(1, draws + 1)])
    lower, upper = _tails(count, draws)
    place = np.arange(draws)
    least = min(lower[place, below].min(), upper[place, below].min())
    return 1.0 - _inside((lower > least * _ABOVE) & (upper > least * _ABOVE), count, draws)


@lru_cache(maxsize=8)
def _tails(count: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """P(at most k) and P(at least k) of `count` ranks below each cell: (draws, count + 1) each."""
    k, share = np.arange(count + 1)[None, :], np.arange(1, draws + 1)[:, None] / (draws + 1)
    return stats.binom.cdf(k, count, share), stats.binom.sf(k - 1, count, share)


def _inside(allowed: np.ndarray, count: int, draws: int) -> float:
    """Probability that the counts below the cells 1..draws all stay in `allowed` (draws, count + 1)."""
    step = stats.poisson.pmf(np.arange(count + 1), count / (draws + 1))
    walk = np.zeros(count + 1)
    walk[0] = 1.0
    for row in allowed:
        walk = np.where(row, np.convolve(walk, step)[: count + 1], 0.0)
    last = float(np.convolve(walk, step)[count])
    return min(last / float(stats.poisson.pmf(count, count)), 1.0)


def chi_square(ranks: Sequence[int], draws: int, bins: int) -> float:
    """p-value over `bins` bins. Precondition: bins divides draws + 1."""
    if (draws + 1) % bins:
        raise ValueError(f"bins: expected a divisor of {draws + 1}, found {bins}")
    counts = np.bincount(np.asarray(ranks) * bins // (draws + 1), minlength=bins)
    return float(stats.chisquare(counts).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """In the order of `p`: p-values that each bound the chance of one false alarm among all of them."""
    found, so_far = [1.0] * len(p), 0.0
    for done, place in enumerate(np.argsort(p, kind="stable").tolist()):
        so_far = max(so_far, min(1.0, (len(p) - done) * p[place]))
        found[place] = so_far
    return found
