"""The numbers of the change-point model, and what a family of segments must be able to do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.spec_detect import Segments


class Law(NamedTuple):
    """The model's numbers: arguments of the compiled programs, never constants in them."""

    hazard: float
    mean_precision: float
    shape: float
    rate: float
    slope_scale: float
    linear_weight: float
    beta: float  # of the beta-divergence; 0 where the likelihood is taken as it is


class Family(NamedTuple):
    """How the segments of every run length take in an observation: likelihood as it is, or robust.

    State is a NamedTuple of arrays (location, run). `tables` holds what the law decides beforehand.
    """

    tables: Callable[[Law, int], Any]  # (law, run lengths kept)
    fresh: Callable[[int, int], Any]  # (locations, runs): no observation yet
    observe: Callable[[Any, Any, Law, Any], tuple[Any, Any]]  # (state, x, law, tables): new state, log density (run,)


def law_of(segments: Segments, hazard: float) -> Law:
    """The law that a specification declares, at this hazard."""
    return Law(
        hazard,
        segments.mean_precision,
        segments.shape,
        segments.rate,
        segments.slope_scale,
        segments.linear_weight,
        segments.robust.beta,
    )
