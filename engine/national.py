"""Media bought once for all locations: told by the data, and what may be asked of them.

A channel is national where every location saw the same, or a fixed share of the same, at all times. Then nothing in the
data tells how one location responds from how another does: beta[l] sat(x) with deviations of beta by location fits
whatever sets locations apart, and calls it response. Such random effects are not causal, and are refused; a
column that is declared national has one effect an outcome for all locations. It also works through saturation: where
locations saw shares of one series, the share inside sat(share x) and the size outside it are confounded, so spend that
is merely allocated (by population, say) brings no variation either.

Worked example: East and West saw 10, 20, 0 and 30, 60, 0: shares of a quarter and three quarters in every period, so
the channel is national. Had West seen 30, 50, 0 it would not be.
A channel that only one location bought is not national, and neither is one that was on in one period alone, at
different rates.

Source: Sun, Wang, Jin, Chan & Koehler (2017), "Geo-level Bayesian Hierarchical Media Mix Modeling", Google: estimates
deteriorate as more media are imputed to locations from national data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from engine.errors import SpecError
from engine.spec_data import MediaColumn
from engine.spec_media import Pooling
from engine.table import Panel

ROUNDING = 1e-3  # of a location's mean spend: allocated shares are rounded to cents, and stay shares


class Departure(NamedTuple):
    """The first cell of a column that is neither the same everywhere nor a location's share."""

    time: int
    location: int
    expected: float
    found: float


def require_identified(columns: Sequence[MediaColumn], pooling: Pooling, panel: Panel) -> None:
    """Raises SpecError listing `national_faults`, if there are any."""
    faults = list(national_faults(columns, pooling, panel))
    if faults:
        raise SpecError("national media: " + "; ".join(faults))


def national_faults(columns: Sequence[MediaColumn], pooling: Pooling, panel: Panel) -> Iterator[str]:
    """Every column whose declaration the data contradict, and every effect by location that they cannot tell.

    Nothing is said of one location alone, nor of a column that never spent.
    """
    if len(panel.locations) == 1:
        return
    local = pooling.kind == "none" or (pooling.kind == "partial" and "location" in pooling.over)
    for m, column in enumerate(columns):
        spend = panel.media[:, :, m]
        if not np.any(spend > 0.0):
            continue
        departure = first_departure(spend)
        if column.national and departure is not None:
            yield (
                f"data.media.{column.name}.national: expected the same, or a fixed share, in every location, found "
                f"{departure.found!r} in {panel.locations[departure.location]} on {panel.periods[departure.time]}, "
                f"where its share is {departure.expected!r}"
            )
        if local and not column.national and departure is None:
            yield (
                f"data.media.{column.name}: expected national: true, for every location saw the same or a fixed share, "
                f"found pooling {pooling.kind} with effects of its own for each location, which such data cannot tell"
            )


def first_departure(spend: np.ndarray) -> Departure | None:
    """None where `spend` (time, location) is national. Precondition: some is above zero.

    A location's share is the median of its shares, so that it is the odd period that is named and not the first.
    """
    same = _first(spend, np.repeat(spend[:, :1], spend.shape[1], axis=1))
    if same is None:
        return None
    totals = [math.fsum(row) for row in spend.tolist()]
    bought = [t for t, total in enumerate(totals) if total > 0.0]
    shares = [median(float(spend[t, place]) / totals[t] for t in bought) for place in range(spend.shape[1])]
    if min(shares) == 0.0 or len(bought) < 2:
        return same
    return _first(spend, np.asarray([[total * share for share in shares] for total in totals]))


def _first(spend: np.ndarray, expected: np.ndarray) -> Departure | None:
    allowed = [ROUNDING * math.fsum(spend[:, place].tolist()) / spend.shape[0] for place in range(spend.shape[1])]
    for t, place in np.ndindex(*spend.shape):
        if abs(spend[t, place] - expected[t, place]) > allowed[place]:
            return Departure(t, place, float(expected[t, place]), float(spend[t, place]))
    return None
