"""What a specification may say about time: how the level moves, what recurs, and what happened on a day.

Glossary
--------
knot        how many periods lie between two places where a trend may turn
per year    a slope of .1 per year is a tenth of the outcome's mean, or of one power of e on the log scale, a year
decay       share of an event's effect that is left after each further period; 0: nothing is left once it is over
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from engine.declared import Frozen, Name, Positive, Text, Unit

SAME_FREQUENCY = 1e-3  # relative difference below which two Fourier terms are one for any history we can have

Knot = Annotated[int, Field(ge=1, le=104)]
Kernel = Literal["matern_5_2", "squared_exponential"]


class NoTrend(Frozen):
    """The level does not move."""

    kind: Literal["none"]


class Linear(Frozen):
    """slope (t - middle), slope ~ Normal(0, scale^2) per year."""

    kind: Literal["linear"]
    scale: Positive


class Damped(Frozen):
    """Linear up to the origin; `damping` of the slope is left after each period past it (Gardner & McKenzie 1985)."""

    kind: Literal["damped"]
    scale: Positive
    damping: Unit


class LocalLevel(Frozen):
    """A random walk with a knot every `knot` periods, its sd a year ~ HalfNormal(scale) (Harvey 1989, section 2.3)."""

    kind: Literal["local_level"]
    scale: Positive
    knot: Knot


class LocalLinear(Frozen):
    """A level whose slope wanders too (Harvey 1989, section 2.3.2, seen at its knots).

    The first slope ~ Normal(0, scale^2) per year; the level's sd after a year beside its slope ~
    HalfNormal(level_scale); the slope's own sd after a year ~ HalfNormal(slope_scale).
    """

    kind: Literal["local_linear"]
    scale: Positive
    level_scale: Positive
    slope_scale: Positive
    knot: Knot


class Piecewise(Frozen):
    """A line that may turn every `knot` periods (Taylor & Letham 2018, section 3.1, doi:10.1080/00031305.2017.1380080).

    The first slope ~ Normal(0, scale^2) per year; each change of it ~ Laplace(0, change_scale), in the first `share`
    of the known periods, so that no slope rests on a few last outcomes, and again from the origin on (section 3.1.4).
    """

    kind: Literal["piecewise"]
    scale: Positive
    knot: Knot
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    change_scale: Positive


class Bspline(Frozen):
    """A smooth curve of B-splines with a knot every `knot` periods, its coefficients a random walk (a P-spline).

    Its sd after a year ~ HalfNormal(scale), a little less for a high degree. Sources: Eilers & Marx (1996),
    doi:10.1214/ss/1038425655; Lang & Brezger (2004), doi:10.1198/1061860043010.
    """

    kind: Literal["bspline"]
    scale: Positive
    degree: Annotated[int, Field(ge=1, le=5)]
    knot: Knot


class Hsgp(Frozen):
    """A Gaussian process of time in `functions` basis functions (Riutort-Mayol et al. 2023).

    Its sd ~ HalfNormal(scale); its lengthscale in years ~ LogNormal(log lengthscale, lengthscale_log_sd). The basis
    ends at `boundary` times the half-range of time; `engine.time_basis.require_resolved` says what must fit inside.
    """

    kind: Literal["hsgp"]
    kernel: Kernel
    scale: Positive
    lengthscale: Positive
    lengthscale_log_sd: Positive
    functions: Annotated[int, Field(ge=1, le=200)]
    boundary: Annotated[float, Field(gt=1.0, le=10.0, allow_inf_nan=False)]


Trend = Annotated[
    NoTrend | Linear | Damped | LocalLevel | LocalLinear | Piecewise | Bspline | Hsgp, Field(discriminator="kind")
]


class Season(Frozen):
    """Fourier terms of one period, in periods of the table; each coefficient ~ Normal(0, scale^2)."""

    period: Positive
    harmonics: Annotated[int, Field(ge=1, le=26)]
    scale: Positive

    @model_validator(mode="after")
    def _seen(self) -> Self:
        if self.period / self.harmonics < 2.0:  # Nyquist: a faster wave looks like a slower one
            raise ValueError(
                f"season: expected at most {int(self.period / 2.0)} harmonics of a period of {self.period:g}, the "
                f"fastest wave lasting 2 periods of the table, found {self.harmonics}"
            )
        return self


def _distinct(seasons: tuple[Season, ...]) -> tuple[Season, ...]:
    waves = [(season.period, k) for season in seasons for k in range(1, season.harmonics + 1)]
    for place, (period, k) in enumerate(waves):
        for other, j in waves[:place]:
            if abs(period / k - other / j) < SAME_FREQUENCY * (period / k):
                raise ValueError(
                    f"season: expected waves of different lengths, found harmonic {j} of period {other:g} and "
                    f"harmonic {k} of period {period:g}, which no data tell apart"
                )
    return seasons


Seasons = Annotated[tuple[Season, ...], AfterValidator(_distinct)]

Days = Annotated[int, Field(ge=1, le=60)]
Decay = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Holiday(Frozen):
    """A named holiday of `holidays.country_holidays(country)`, shifted by whole days.

    It begins on the shifted day and lasts `days` of them; a period's share of the effect is its share of the days.
    """

    kind: Literal["holiday"]
    name: Name
    holiday: Text
    offset_days: Annotated[int, Field(ge=-60, le=60)]
    days: Days
    decay: Decay


def _dates(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if date.fromisoformat(value).isoformat() != value:
            raise ValueError(f"dates: expected YYYY-MM-DD, found {value!r}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"dates: expected each once, the earliest first, found {', '.join(values)}")
    return values


class Dated(Frozen):
    """What begins on days known by date, a launch or a closure, and lasts `days` of them."""

    kind: Literal["dated"]
    name: Name
    dates: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_dates)]
    days: Days
    decay: Decay


Event = Annotated[Holiday | Dated, Field(discriminator="kind")]
