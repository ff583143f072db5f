"""What a specification may ask of the data before the fit, and of the fit: checks that decide, and limits that tell.

Glossary
--------
before      periods that a check may look at: those of a lower index. A check that looked at what is held out would
            choose by it
stationary  about a level (c) or about a straight line (ct): what is left returns to it
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Positive, Unit
from engine.spec_transforms import Identifiability
from engine.spec_trend import Trend

KPSS_LEVELS = (0.1, 0.05, 0.025, 0.01)  # Kwiatkowski et al. (1992), table 1


class Note(Frozen):
    """The result is recorded, and nothing follows."""

    kind: Literal["note"]


class Refuse(Frozen):
    """An outcome that is not stationary is refused."""

    kind: Literal["refuse"]


class Decompose(Frozen):
    """If an outcome is not stationary, the model's trend is `trend`, and every outcome is decomposed and shown.

    By STL, robust, of a season of `period` periods, smoothed over `seasonal` of its cycles.
    Source: Cleveland, Cleveland, McRae & Terpenning (1990), Journal of Official Statistics 6(1), 3-73.
    """

    kind: Literal["decompose"]
    trend: Trend
    period: Annotated[int, Field(ge=2, le=366)]
    seasonal: Annotated[int, Field(ge=7, le=101)]

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.seasonal % 2 == 0:
            raise ValueError(f"consequence.seasonal: expected an odd number of cycles, found {self.seasonal}")
        return self


Consequence = Annotated[Note | Refuse | Decompose, Field(discriminator="kind")]


class Stationarity(Frozen):
    """The KPSS test of every outcome on the model's scale: is it stationary about a level, or about a line?

    lags: of the long-run variance (Newey & West 1987), a number, or auto, chosen by the data (Hobijn et al. 2004,
    doi:10.1111/j.1467-9574.2004.00272.x); level: of the test, one that its authors tabulated.
    Source: Kwiatkowski, Phillips, Schmidt & Shin (1992), doi:10.1016/0304-4076(92)90104-Y.
    """

    regression: Literal["c", "ct"]
    lags: Literal["auto"] | Annotated[int, Field(ge=0, le=1000)]
    level: float
    before: Count
    consequence: Consequence

    @model_validator(mode="after")
    def _tabulated(self) -> Self:
        if self.level not in KPSS_LEVELS:
            raise ValueError(f"stationarity.level: expected one of {KPSS_LEVELS}, found {self.level}")
        return self


class Screening(Frozen):
    """Of very many precision controls at most `keep` stay, those of one LASSO on the path (`engine.screening`).

    Penalties: `path` of them, evenly spaced in their logarithm from the least that keeps none down to `shortest` times
    that. The one chosen has the least extended BIC; `gamma` says how it weighs that there are more models of more
    controls (0: not at all, BIC; 1: a model's size is a priori as likely as any other).
    Sources: Tibshirani (1996); Chen & Chen (2008), doi:10.1093/biomet/asn034.
    """

    before: Count
    keep: Annotated[int, Field(ge=0, le=1000)]
    path: Annotated[int, Field(ge=2, le=1000)]
    shortest: Unit
    gamma: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class BeforeFit(Frozen):
    """Beyond which limits the data are said not to tell something, before the fit (`engine.before`)."""

    inflation: Annotated[float, Field(gt=1, allow_inf_nan=False)]  # largest variance inflation of a channel by others
    outlier: Positive  # largest modified z-score of the log of a positive spend
    demand: Unit  # largest share of a channel's variance that trend, seasons, events and controls explain
    outside: Unit  # largest prior probability that half of an effect lies outside of the spends seen
    active: Count  # fewest periods with spend, over all locations
    precision: Unit  # largest |correlation| of a precision control with a channel
    per_parameter: Positive  # fewest known outcomes per parameter of the model
    cycles: Positive  # how often a season must have been seen


class AfterFit(Frozen):
    """Tests of what a fit leaves over, and beyond which limits a posterior is said to be its prior (`engine.after`)."""

    draws: Annotated[int, Field(ge=20, le=10_000)]  # of the posterior, evenly spaced, and as many of the prior
    level: Unit  # of all tests together: in how many fits of a right model at most one of them fails
    lags: Annotated[int, Field(ge=1, le=52)]  # periods over which autocorrelation is looked for
    cycles: Positive  # slowest wave that is looked for: how often it was seen
    edge: Annotated[int, Field(ge=2, le=520)]  # fewest periods before and after a break that is looked for
    leads: Annotated[int, Field(ge=1, le=26)]  # periods ahead over which spend must not follow the residual
    contraction: Unit  # least 1 - (posterior width / prior width)^2, widths of the middle 80 %
    tangled: Unit  # most negative correlation of two channels' effects in the posterior, without its sign
    rising: Unit  # largest odds, over the prior's own, of a half-saturation in the upper tenth of its prior
    memory: Unit  # largest correlation of the residual, and of a channel's spend, with the period before
    tail: Annotated[float, Field(ge=0.001, lt=0.5)]  # prior probability beyond which an effect is called implausible


class Checks(Frozen):
    """Checks before the fit, and of it; absent ones are not made.

    Findings (`engine.finding`), of identifiability, before_fit and after_fit, look at all known periods: they choose
    nothing, so nothing that is held out can have chosen by them.
    """

    stationarity: Stationarity | None = None
    screening: Screening | None = None
    identifiability: Identifiability | None = None
    before_fit: BeforeFit | None = None
    after_fit: AfterFit | None = None
