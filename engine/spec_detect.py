"""What a specification may say about change: what a segment looks like, when to alarm, and what an alarm does."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Name, NonNegative, Positive, Text, Unit


class Robust(Frozen):
    """How much an outlier may move a segment (engine.changepoint_robust).

    none: as much as any observation, and beta is 0; beta_divergence: observations are weighed by their own density
    to the power `beta`, and none moves the log odds of a change by more than about 1 / beta.
    """

    kind: Literal["none", "beta_divergence"]
    beta: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.kind == "none") != (self.beta == 0):
            raise ValueError(f"beta: expected 0 of kind none, else more, found {self.beta} of {self.kind}")
        return self


class Segments(Frozen):
    """What a segment of standardised residuals looks like (engine.changepoint)."""

    mean_precision: Positive  # kappa0: prior observations' worth of belief that a segment's mean is 0
    shape: Positive  # alpha0 of the inverse gamma
    rate: Positive  # beta0 of the inverse gamma
    slope_scale: Positive  # prior sd of a segment's slope per period
    linear_weight: NonNegative  # prior weight of the linear-trend model of a segment
    max_run_length: Count
    settled: Annotated[int, Field(ge=0, le=520)]  # periods' worth of belief that at first mean is 0 and variance 1
    robust: Robust


class HazardCalibration(Frozen):
    """How the hazard and the alarm's threshold are chosen, out of sample, against labelled events."""

    hazards: Annotated[tuple[Unit, ...], Field(min_length=1)]  # candidates, ascending; one is a choice made
    repeats: Annotated[int, Field(ge=1, le=1000)]  # simulated series around each registered event
    periods: Annotated[int, Field(ge=40, le=5200)]  # length of each; the first 13 are not scored, half come before it
    false_alarms_per_year: Positive  # what the threshold must hold where nothing changes

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if tuple(sorted(set(self.hazards))) != self.hazards:
            raise ValueError("hazards: must be distinct and ascending")
        return self


class Private(Frozen):
    """A client's own events, pinned: they are registered with the specification, so an edit makes another one."""

    folder: Annotated[str, Field(pattern=r"^registry/private/[a-z][a-z0-9_-]{0,79}$")]  # from the project's root
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # as `registry regimes --private FOLDER check` prints it


class Registered(Frozen):
    """Which registered events may explain an alarm of this forecast."""

    match_days: Annotated[int, Field(ge=0, le=365)]  # how far from an alarm an event may lie
    channels: tuple[Name, ...]  # which registry channels concern this forecast
    regions: tuple[Text, ...]
    private: Private | None  # the client's own events


class Explanation(Frozen):
    """Prior beliefs of the verdict: what lies behind an alarm before its residuals are looked at."""

    lasting: Unit  # probability that an unregistered alarm is a change that lasts
    passing: Unit  # that it is a pulse that passes; the rest: nothing at all
    pulse_periods: Count  # longest pulse
    trust_high: Unit  # probability that a matching event of high confidence is the cause
    trust_medium: Unit
    trust_low: Unit

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.lasting + self.passing >= 1:
            raise ValueError(f"lasting + passing: expected less than 1, found {self.lasting + self.passing}")
        if not self.trust_high >= self.trust_medium >= self.trust_low:
            found = f"{self.trust_high}, {self.trust_medium}, {self.trust_low}"
            raise ValueError(f"trust: expected high >= medium >= low, found {found}")
        return self


class Consequences(Frozen):
    """What follows from a verdict.

    re_anchor  older data keep the weight `power` (a power prior), the level and slope are fresh from the break on,
               and intervals are widened
    rescale    the metric has another scale from the break on; all data keep their weight
    mask       every period of the event has an effect of its own: its outcome says nothing about the rest
    model      all periods of the event share one effect
    keep       nothing
    """

    registered_change: Literal["re_anchor", "keep"]
    unexplained_lasting: Literal["re_anchor", "keep"]
    unexplained_passing: Literal["mask", "model", "keep"]
    measurement_change: Literal["rescale", "re_anchor", "keep"]
    artefact: Literal["mask", "model", "keep"]
    transient: Literal["mask", "model", "keep"]
    power: Annotated[float, Field(ge=0, le=1)]  # weight of data before a re-anchoring break
    level_scale: Positive  # prior sd of a fresh level, a rescaling and a modelled event, on the model's scale
    slope_scale: NonNegative  # prior sd of a fresh slope, per year; 0 keeps the slope
    widen: Annotated[float, Field(ge=1, le=10)]  # factor on the distance from the median at the break
    widen_periods: Count  # over which it falls, in a straight line, to 1


class Detect(Frozen):
    """Online change-point detection on standardised one-step residuals (Adams & MacKay 2007), and what follows."""

    lag: Annotated[int, Field(ge=0, le=104)]  # periods that a window stays unaware of, for what it says of residuals
    segments: Segments
    window: Count  # periods back in which a change may have begun
    hazard: HazardCalibration
    registered: Registered
    explanation: Explanation
    consequences: Consequences
