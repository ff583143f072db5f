"""A series taken apart: trend, season and remainder by STL, and how strong the first two are.

    y = trend + season + remainder
    strength of trend  = max(0, 1 - Var(remainder) / Var(trend + remainder)), of season likewise

A strength near 1: the other parts hide nothing of it; 0: there is none to see.
Sources: Cleveland, Cleveland, McRae & Terpenning (1990), Journal of Official Statistics 6(1), 3-73 (STL, robust);
Wang, Smith & Hyndman (2006), doi:10.1007/s10618-005-0039-x (strengths, as Hyndman & Athanasopoulos 2021,
section 4.3, write them).

statsmodels computes; what is published is rounded to 6 significant digits, so the three parts add up to that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from statsmodels.tsa.seasonal import STL

from engine.effect_table import NUMBER, TEXT, WHOLE, schema, table
from engine.errors import TableError
from engine.rounding import rounded
from engine.spec_checks import Decompose


class Components(NamedTuple):
    """One series, taken apart."""

    series: str
    trend: tuple[float, ...]
    season: tuple[float, ...]
    remainder: tuple[float, ...]
    trend_strength: float  # 0 to 1
    season_strength: float


COMPONENTS = schema(
    ("series", TEXT), ("period", WHOLE), ("trend", NUMBER), ("season", NUMBER), ("remainder", NUMBER)
)  # fmt: skip
STRENGTHS = schema(("series", TEXT), ("trend_strength", NUMBER), ("season_strength", NUMBER))


def decomposed(rule: Decompose, name: str, values: Sequence[float]) -> Components:
    """`values` taken apart. Raises TableError for fewer than two seasons of them."""
    if len(values) < 2 * rule.period:
        raise TableError(
            f"decomposition of {name}: expected two seasons, {2 * rule.period} periods, found {len(values)}"
        )
    found = STL(np.asarray(values, dtype=np.float64), period=rule.period, seasonal=rule.seasonal, robust=True).fit()
    trend, season, rest = (part.tolist() for part in (found.trend, found.seasonal, found.resid))
    return Components(
        series=name,
        trend=tuple(rounded(value) for value in trend),
        season=tuple(rounded(value) for value in season),
        remainder=tuple(rounded(value) for value in rest),
        trend_strength=_strength(trend, rest),
        season_strength=_strength(season, rest),
    )


def _strength(part: Sequence[float], rest: Sequence[float]) -> float:
    whole = _variance([a + b for a, b in zip(part, rest, strict=True)])
    return rounded(max(0.0, 1.0 - _variance(rest) / whole)) if whole > 0.0 else 0.0


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def components_table(parts: Sequence[Components]) -> pa.Table:
    """A row for every series and period, which are counted from 0."""
    rows = [
        (part.series, t, *values)
        for part in parts
        for t, values in enumerate(zip(part.trend, part.season, part.remainder, strict=True))
    ]
    return table(COMPONENTS, rows)


def strengths_table(parts: Sequence[Components]) -> pa.Table:
    """A row for every series."""
    return table(STRENGTHS, [(part.series, part.trend_strength, part.season_strength) for part in parts])
