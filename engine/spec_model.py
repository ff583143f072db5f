"""What a specification may say about the model: its parts and their priors."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Frozen, Name, Positive, Text, Unit


class Event(Frozen):
    """A dated effect: a named holiday of `holidays.country_holidays(country)`, shifted by whole days.

    It begins on the shifted day and lasts `days` of them; a period's share of the effect is its share of the days.
    """

    name: Name
    holiday: Text
    offset_days: Annotated[int, Field(ge=-60, le=60)]
    days: Annotated[int, Field(ge=1, le=60)]


class Trend(Frozen):
    """How the level moves (`engine.trend`).

    none: not at all; linear: slope ~ Normal(0, scale^2) per year; damped: the same up to the origin, and `damping` of
    it left after each period past it; local_level: a random walk with a knot every `knot` periods, its sd after a year
    ~ HalfNormal(scale).
    """

    kind: Literal["none", "linear", "damped", "local_level"]
    scale: Positive
    damping: Unit
    knot: Annotated[int, Field(ge=1, le=104)]


class States(Frozen):
    """Two states of the outcome, high and low, for the likelihood `two_state`.

    gap between them ~ HalfNormal(gap_scale) on the model's scale; share of high periods ~ Beta(share_a, share_b).
    """

    gap_scale: Positive
    share_a: Positive
    share_b: Positive


class Adstock(Frozen):
    """Geometric carry-over, normalised over lags 0..max_lag-1; alpha ~ Beta(alpha_a, alpha_b)."""

    kind: Literal["geometric"]
    max_lag: Annotated[int, Field(ge=1, le=52)]
    alpha_a: Positive
    alpha_b: Positive


class Saturation(Frozen):
    """Logistic 1 - exp(-lambda x) on spend scaled by its mean; lambda ~ Gamma(shape, rate)."""

    kind: Literal["logistic"]
    shape: Positive
    rate: Positive


class Pooling(Frozen):
    """How locations share media effects.

    partial: log beta[g,m] ~ Normal(mu[m], tau[m]^2), tau ~ HalfNormal(tau_scale), non-centred;
    complete: one beta[m]; none: independent beta[g,m].
    """

    kind: Literal["partial", "complete", "none"]
    tau_scale: Positive


class Season(Frozen):
    """Fourier terms of one period, in periods of the table."""

    period: Positive
    harmonics: Annotated[int, Field(ge=0, le=26)]
    scale: Positive


class ModelSpec(Frozen):
    """y[t,g] = level + trend + season + sum_m beta sat(adstock(x)) + sum_c gamma z + e; e is white or AR(1)."""

    outcome: Literal["linear", "log"]
    likelihood: Literal["normal", "student_t", "two_state"]
    states: States
    level_scale: Positive
    trend: Trend
    season: Season
    country: Text
    events: tuple[Event, ...]
    event_scale: Positive
    control_scale: Positive
    media_scale: Positive
    adstock: Adstock
    saturation: Saturation
    pooling: Pooling
    residual: Literal["white", "ar1"]
    rho_scale: Unit
    noise_scale: Positive

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.likelihood == "two_state" and self.residual != "white":
            raise ValueError(
                f"model.residual: expected white with likelihood two_state, whose states are independent, "
                f"found {self.residual}"
            )
        return self
