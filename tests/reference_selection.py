"""Slow, obvious twins of selection priors, tests before the fit, and screening: lists, loops, fractions and `math`.

Sources: Piironen & Vehtari (2017), doi:10.1214/17-EJS1337SI; Kwiatkowski et al. (1992),
doi:10.1016/0304-4076(92)90104-Y; Chen & Chen (2008), doi:10.1093/biomet/asn034.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

Row = Sequence[float]


def horseshoe(z: float, lam: float, tau: float, c2: float) -> float:
    """gamma = z tau lambda~."""
    return z * tau * math.sqrt(c2 * lam**2 / (c2 + tau**2 * lam**2))


def kappa(lam: float, tau: float, c2: float, sigma: float, n: float) -> float:
    """1 / (1 + n sigma^-2 tau^2 lambda~^2)."""
    return 1.0 / (1.0 + n / sigma**2 * tau**2 * (c2 * lam**2 / (c2 + tau**2 * lam**2)))


def half_cauchy_number(expected: float, D: int) -> float:
    """E m_eff of the horseshoe without a slab, both scales half-Cauchy: D (2/pi) int r u / ((1 + r u)(1 + u^2)) du.

    r = D0 / (D - D0); the integral over u > 0 is (r^2 pi / 2 - r log r) / (1 + r^2).
    """
    r = expected / (D - expected)
    return D * 2.0 / math.pi * (r * r * math.pi / 2.0 - r * math.log(r)) / (1.0 + r * r)


def inclusion(m: float, temperature: float, count: int = 4000) -> float:
    """E sigmoid(omega / temperature), omega ~ Normal(m, 1): the mean over its quantiles."""
    normal = statistics.NormalDist(m, 1.0)
    omegas = [normal.inv_cdf((i + 0.5) / count) for i in range(count)]
    return math.fsum(1.0 / (1.0 + math.exp(-max(omega / temperature, -700.0))) for omega in omegas) / count


def residuals(z: Row, w: Row, origin: int) -> list[Fraction]:
    """Of z on w, exact: normal equations over the first `origin` periods, solved by Cramer's rule."""
    Z, W = [Fraction(v) for v in z], [Fraction(v) for v in w]
    n, sw, sz = origin, sum(W[:origin]), sum(Z[:origin])
    sww = sum(v * v for v in W[:origin])
    swz = sum(a * b for a, b in zip(W[:origin], Z[:origin], strict=True))
    det = n * sww - sw * sw
    a, b = (sz * sww - sw * swz) / det, (n * swz - sw * sz) / det
    return [value - a - b * other for value, other in zip(Z, W, strict=True)]


def kpss(values: Row, line: bool, lags: int) -> float:
    """eta = sum S_t^2 / (n^2 s^2), s^2 with Bartlett weights 1 - k / (lags + 1)."""
    n = len(values)
    times = [t - (n - 1) / 2.0 for t in range(n)]
    mean = math.fsum(values) / n
    slope = (
        math.fsum(t * v for t, v in zip(times, values, strict=True)) / math.fsum(t * t for t in times) if line else 0.0
    )
    e = [v - mean - slope * t for t, v in zip(times, values, strict=True)]
    s2 = math.fsum(v * v for v in e) / n
    for k in range(1, lags + 1):
        s2 += 2.0 / n * (1.0 - k / (lags + 1.0)) * math.fsum(e[t] * e[t - k] for t in range(k, n))
    sums = [math.fsum(e[: t + 1]) for t in range(n)]
    return math.fsum(s * s for s in sums) / (n * n * s2)


def extended_bic(squares: Row, rows: int, size: int, candidates: int, gamma: float) -> float:
    """n sum log(RSS / n) + O |A| log n + 2 gamma log(P choose |A|)."""
    fit = rows * math.fsum(math.log(rss / rows) for rss in squares)
    return fit + len(squares) * size * math.log(rows) + 2.0 * gamma * math.log(math.comb(candidates, size))
