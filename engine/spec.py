"""The specification of one forecast: every choice that can change a published number, declared before the fit.

A `Spec` is frozen, refuses unknown fields, and is strict about types, so that its canonical JSON (RFC 8785) is a
faithful pre-registration: two specs with equal bytes are the same forecast, and a typo is an error rather than a
silently ignored knob. Defaults are absent on purpose: numbers live in params.yaml, each with a sentence.

Glossary
--------
origin      the last period whose outcome is known when a forecast is made
horizon     how many periods past the origin a target lies; horizon 1 is the next period
holdout     the last periods of the data, committed to by digest at registration, never used to choose a spec
plan        how media and controls are assumed to go on past an origin, the same rule in backtest and forecast
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from engine.declared import Count, Frozen, Name, NonNegative, Positive, Text, Unit
from engine.errors import SpecError
from engine.spec_calibrate import Calibrate
from engine.spec_checks import Checks
from engine.spec_data import DataSpec
from engine.spec_detect import Detect
from engine.spec_effects import Effects, effects_faults
from engine.spec_model import ModelSpec
from engine.spec_names import faults as name_faults

SCHEMA_VERSION = 1


class NearOrigin(Frozen):
    """Chains start near 0 on the unconstrained scale."""

    kind: Literal["near_origin"]
    jitter: NonNegative  # sd of the starting points, one a chain


class Pathfinder(Frozen):
    """Chains start from a draw of Pathfinder's approximation: never a released forecast (k-hat is recorded)."""

    kind: Literal["pathfinder"]
    maxiter: Count
    samples: Annotated[int, Field(ge=25, le=1_000_000)]  # k-hat needs five draws in its tail, a fifth of them
    jitter: NonNegative  # sd of where its own paths start, on the unconstrained scale


Start = Annotated[NearOrigin | Pathfinder, Field(discriminator="kind")]


class Gates(Frozen):
    """What a fit must reach before anything is forecast from it."""

    rhat_below: Positive
    ess_bulk_above: Positive
    ess_tail_above: Positive
    divergences_at_most: Annotated[int, Field(ge=0)]
    ebfmi_above: NonNegative


class Inference(Frozen):
    """NUTS: one process per chain, each single-threaded."""

    chains: Annotated[int, Field(ge=1, le=64)]
    warmup: Count
    draws: Count
    target_accept: Unit
    max_tree_depth: Annotated[int, Field(ge=1, le=15)]
    start: Start
    gates: Gates


class Backtest(Frozen):
    """Rolling origin: origins first, first+step, ... and always every holdout origin."""

    horizon: Annotated[int, Field(ge=1, le=104)]
    first_origin: Count  # periods known at the first origin
    step: Count
    warmup: Count
    draws: Count


class Plan(Frozen):
    """How media and controls go on past the origin: the same weeks a year ago, or the mean of recent ones."""

    media: Literal["last_year", "recent_mean"]
    controls: Literal["last_year", "recent_mean"]
    year: Count  # periods in a year
    recent: Count  # periods in the recent mean


class Holdout(Frozen):
    """The last `periods` periods, committed to by digest."""

    periods: Count


class Spec(Frozen):
    """One pre-registered forecast."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]  # a Literal would take true for 1
    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**53)]
    target: Text  # the forecast table's `target`
    point: Literal["median", "relative_median"]  # what is published as the point forecast (engine.forecast.point)
    data: DataSpec
    model: ModelSpec
    inference: Inference
    backtest: Backtest
    plan: Plan
    holdout: Holdout
    detect: Detect
    calibrate: Calibrate
    effects: Effects
    checks: Checks | None = None  # before the fit

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = [*name_faults(self.data, self.model), *effects_faults(self.effects, self.data)]
        if wrong:
            raise ValueError("; ".join(wrong))
        for check in (self.checks.stationarity, self.checks.screening) if self.checks else ():
            if check is not None and check.before > self.backtest.first_origin:
                raise ValueError(
                    f"checks: expected `before` at most backtest.first_origin {self.backtest.first_origin}, so that no "
                    f"forecast is judged on periods that chose its model, found {check.before}"
                )
        if not self.data.media:
            raise ValueError("data.media: at least one channel is needed")
        if len(set(self.data.locations)) != len(self.data.locations) or not self.data.locations:
            raise ValueError("data.locations: must name each location once, and at least one")
        if self.data.layout == "wide" and len(self.data.locations) != 1:
            raise ValueError("data.locations: a wide table holds exactly one location")
        if self.holdout.periods % self.backtest.horizon:
            raise ValueError(
                f"holdout.periods: expected a multiple of the horizon {self.backtest.horizon}, "
                f"found {self.holdout.periods}"
            )
        if self.backtest.first_origin <= self.plan.year and "last_year" in (
            self.plan.media,
            self.plan.controls,
        ):
            raise ValueError("backtest.first_origin: plan last_year needs more than a year before the first origin")
        if tuple(sorted(set(self.calibrate.levels))) != self.calibrate.levels:
            raise ValueError("calibrate.levels: must be distinct and ascending")
        return self


def parse_spec(raw: bytes) -> Spec:
    """The spec held in canonical (or any strict) JSON `raw`.

    Raises SpecError naming every offending field, what was expected there and what was found.
    """
    try:
        return Spec.model_validate_json(raw)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(p) for p in fault['loc']) or 'spec'}: {fault['msg']} (found {_short(fault['input'])})"
            for fault in error.errors(include_url=False)
        ]
        raise SpecError("the specification is not valid: " + "; ".join(faults)) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def period_dates(start: date, frequency_days: int, count: int) -> list[date]:
    """`count` period dates from `start`, `frequency_days` apart."""
    return [date.fromordinal(start.toordinal() + frequency_days * i) for i in range(count)]
