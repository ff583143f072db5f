"""What was done to a forecast and why: released or withheld, and what followed from each break."""

from __future__ import annotations

from datetime import date

from engine.declared import Frozen
from engine.verdict import Cause, Consequence


class Break(Frozen):
    """What was found, and what followed."""

    start: date
    cause: Cause
    event: str | None
    odds: float  # posterior odds of the cause against all others together
    consequence: Consequence
    reason: str


class Total(Frozen):
    """The sum over all horizons and locations, before calibration: median and the widest central interval declared."""

    median: float
    low: float
    high: float


class Record(Frozen):
    """The forecast's own account of itself."""

    released: bool
    failed_gates: tuple[str, ...]
    breaks: tuple[Break, ...]
    re_anchored_at: date | None  # first period of the regime that data before it were down-weighted for
    older_data_weight: float
    interval_widening: tuple[float, ...]  # (horizon,) factor on a quantile's distance from the median
    total: Total | None  # None: not released
    total_without: Total | None  # had nothing followed from any break; None where nothing did or that fit failed a gate
