"""What was done to a forecast and why: released or withheld, re-anchored, widened."""

from __future__ import annotations

from datetime import date

from engine.spec import Frozen


class Record(Frozen):
    """The forecast's own account of itself."""

    released: bool
    failed_gates: tuple[str, ...]
    re_anchored_at: date | None  # first period of the regime that data before it were down-weighted for
    older_data_weight: float
    interval_widening: float
