"""What a specification may say about calibration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.declared import Frozen, NonNegative, Positive, Unit


class Split(Frozen):
    """The weighted quantile of past scores as it is."""

    kind: Literal["split"]


class Adaptive(Frozen):
    """Adaptive conformal inference: the quantile's level follows the misses (`engine.conformal_online`)."""

    kind: Literal["aci"]
    rate: Positive  # how far one miss moves the level


class Controlled(Frozen):
    """Conformal PID control: the quantile itself follows the misses (`engine.conformal_online`)."""

    kind: Literal["pid"]
    rate: Positive  # how far one miss moves the quantile, in units of the largest score seen, less its quantile
    gain: NonNegative  # of the integrator, in the same units; 0 switches it off
    saturation: Positive  # how large a surplus of misses the integrator lets pass; smaller is stricter


Method = Annotated[Split | Adaptive | Controlled, Field(discriminator="kind")]


class Calibrate(Frozen):
    """Conformal calibration, per horizon and level, and per group of locations."""

    levels: Annotated[tuple[Unit, ...], Field(min_length=1)]  # of the intervals, ascending
    groups: Literal["pooled", "location"]  # whether locations share their scores, or each has its own (Mondrian)
    method: Method
    decay: Annotated[float, Field(gt=0, le=1)]  # weight of a score per period of age
    moments: Literal["none", "media", "outcome"]  # what tells regimes apart: nothing, spend, or what is scored
    bandwidth: Positive  # of the regime-moment kernel, in sd of the moments
    moment_window: Annotated[int, Field(ge=3, le=1_000_000)]  # periods before an origin that its moments summarise
    # least sum of the weights, the largest being 1, and so least effective sample size; high levels need more, see
    # `engine.conformal_weights.needed_support`
    support: Positive
