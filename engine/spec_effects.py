"""What a specification may ask to be told of media: effects, response curves, and where the budget would do more.

Glossary
--------
contribution   the outcome less what it would have been without a channel, over the last year of data
ROAS           contribution per unit of spend; mROAS: what one more unit, spread like the last ones, would have added
return         of a budget: the outcome over the horizon less what it would be with nothing of the budget spent
utility        what a budget is chosen by: the mean of its return, or one that dislikes uncertainty (`engine.utility`)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Name, NonNegative, Positive, Unit
from engine.spec_data import DataSpec


class Curve(Frozen):
    """Response to `points` budgets, evenly spaced from 0 to `most` times what was spent a period on average."""

    points: Annotated[int, Field(ge=2, le=200)]
    most: Positive


class Expected(Frozen):
    """The mean of the return."""

    kind: Literal["expected"]


class MeanDeviation(Frozen):
    """Mean less `aversion` standard deviations (Markowitz 1952, doi:10.1111/j.1540-6261.1952.tb01525.x)."""

    kind: Literal["mean_deviation"]
    aversion: Positive


class TailMean(Frozen):
    """The mean over the worst `share` of draws (conditional value at risk: Rockafellar & Uryasev 2000)."""

    kind: Literal["tail_mean"]
    share: Unit


Utility = Annotated[Expected | MeanDeviation | TailMean, Field(discriminator="kind")]


class Bound(Frozen):
    """A channel's budget, as multiples of what the plan spends on it."""

    channel: Name
    low: NonNegative
    high: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"reallocation.bounds.{self.channel}: expected low <= high, found {self.low}, {self.high}")
        return self


class Reallocation(Frozen):
    """Over the horizon, `total` times the planned budget, spread over channels so that `utility` is greatest.

    Every channel's budget is between `low` and `high` times its planned one, but for those that `bounds` names. The
    outcomes' returns are summed, so they must have one unit, and channels too; one that is given as reach keeps its
    plan. The first `draws` draws of each chain speak for the posterior in the search; the result is told over all.
    """

    name: Name
    utility: Utility
    total: Positive
    low: NonNegative
    high: Positive
    bounds: tuple[Bound, ...]
    draws: Count


class Effects(Frozen):
    """level: of highest-density intervals; curve: of response curves; reallocations: none or several."""

    level: Unit
    curve: Curve
    reallocations: tuple[Reallocation, ...]


def effects_faults(effects: Effects, data: DataSpec) -> Iterator[str]:
    """Names of reallocations that are doubled or unknown, and units that do not go together."""
    if not effects.reallocations:
        return
    names = [each.name for each in effects.reallocations]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"effects.reallocations: expected each name once, found {name} {names.count(name)} times"
    outcomes = {column.unit for column in data.outcomes}
    media = {column.unit for column in data.media if column.frequency is None}
    for what, units in (("outcomes", outcomes), ("channels", media)):
        if len(units) > 1:
            yield f"effects.reallocations: expected {what} of one unit, found {', '.join(sorted(units))}"
    channels = [column.name for column in data.media]
    for each in effects.reallocations:
        bounded = [bound.channel for bound in each.bounds]
        for name in dict.fromkeys(bounded):
            where = f"effects.reallocations.{each.name}.bounds"
            if name not in channels:
                yield f"{where}: expected a declared channel ({', '.join(channels)}), found {name}"
            if bounded.count(name) > 1:
                yield f"{where}: expected {name} once, found it {bounded.count(name)} times"
