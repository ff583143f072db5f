"""Probabilities of published quantiles, and their names."""

from __future__ import annotations

from collections.abc import Sequence


def interval_probabilities(levels: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of the quantiles that bound central intervals of `levels`, and the median: ascending."""
    return tuple(sorted({0.5, *(bound for level in levels for bound in bounds(level))}))


def bounds(level: float) -> tuple[float, float]:
    """(1 - level) / 2 and (1 + level) / 2, each rounded to 6 decimals so that names agree with numbers."""
    return round((1.0 - level) / 2.0, 6), round((1.0 + level) / 2.0, 6)


def probability_name(probability: float) -> str:
    """The quantile's column and output_type_id: shortest decimal, such as 0.05."""
    return f"{probability:g}"
