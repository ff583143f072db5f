"""Significant digits: what other libraries' last bits, which differ between CPUs, may not reach."""

from __future__ import annotations

DIGITS = 6


def rounded(value: float) -> float:
    """`value` to DIGITS significant digits; what is not finite stays as it is, and zero has no sign."""
    return float(f"{value:.{DIGITS}g}") + 0.0
