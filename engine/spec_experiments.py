"""What a specification may say about experiments: lift tests, and what is known of returns from elsewhere.

Glossary
--------
lift        an outcome as it happened less what it would have been without the test, summed over the measured periods
            and locations, in the outcome's unit. Below zero where the test took spend away
spending    the periods in which the test changed spend, first to last
measured    the periods over which the lift was counted. Effect that is carried beyond the last of them is not in the
            lift; a test that waited for it declares a later last period than that of spending
ROAS        return on ad spend: what a channel added to an outcome over the known periods, per unit of its spend
Worked example: 1,000 USD a week more than usual were spent in one city in weeks 10-13, and sales counted in weeks 10-15
were 9,000 USD above those of its twin: change delta, spend 1000.0, lift 9000.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.declared import Frozen, Name, Positive, Text
from engine.spec_data import Column, DataSpec

Real = Annotated[float, Field(allow_inf_nan=False)]


class NoSpend(Frozen):
    """The test compares with no spend at all: some people, or twin locations, saw nothing while others saw it all.

    What the table holds is what was spent on those who saw it. Where the table itself shows the silence (a blackout),
    the change is a `Delta` below zero.
    """

    kind: Literal["holdout"]


class Delta(Frozen):
    """The table's spend is `spend` more than it would have been, in each period and location; below zero: less."""

    kind: Literal["delta"]
    spend: Real


Change = Annotated[NoSpend | Delta, Field(discriminator="kind")]


class LiftTest(Frozen):
    """One randomised test: its lift ~ Normal(the model's lift, error^2). Dates are starts of periods, both included."""

    name: Name
    channel: Name
    outcome: Name
    locations: tuple[Text, ...]  # none: all of them
    spend_first: date
    spend_last: date
    measured_first: date
    measured_last: date
    change: Change
    lift: Real
    error: Positive  # standard error of the lift
    unit: Text  # of the lift
    spend_unit: Text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        where = f"lift_tests.{self.name}"
        for what, first, last in (
            ("spend", self.spend_first, self.spend_last),
            ("measured", self.measured_first, self.measured_last),
        ):
            if last < first:
                raise ValueError(f"{where}.{what}_last: expected {first} or later, found {last}")
        if self.measured_last < self.spend_first:
            raise ValueError(
                f"{where}.measured_last: expected a period of the test, which begins {self.spend_first}, "
                f"found {self.measured_last}"
            )
        if len(set(self.locations)) != len(self.locations):
            raise ValueError(f"{where}.locations: expected each once, found {', '.join(self.locations)}")
        if isinstance(self.change, Delta) and self.change.spend == 0.0:
            raise ValueError(f"{where}.change.spend: expected a change, found 0")
        return self


class RoiPrior(Frozen):
    """A ROAS estimated elsewhere: log median ~ Normal(log ROAS, sd_log^2); `unit` reads "USD per EUR"."""

    channel: Name
    outcome: Name
    median: Positive
    sd_log: Positive
    unit: Text


def unit_faults(tests: Sequence[LiftTest], priors: Sequence[RoiPrior], data: DataSpec) -> list[str]:
    """What tests and priors say that the table's declaration does not bear out: names, and units above all."""
    found: list[str] = []
    for test in tests:
        found += _faults_of_test(test, data)
    for prior in priors:
        where = f"model.roi_priors.{prior.channel}"
        channel, outcome = _columns(prior.channel, prior.outcome, data)
        found += _unknown(where, prior.channel, prior.outcome, data)
        if channel is not None and outcome is not None:
            found += _unit(f"{where}.unit", prior.unit, f"{outcome.unit} per {channel.unit}")
    names = [test.name for test in tests]
    found += [f"model.lift_tests: name used twice: {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    return found


def _faults_of_test(test: LiftTest, data: DataSpec) -> Iterator[str]:
    where = f"model.lift_tests.{test.name}"
    channel, outcome = _columns(test.channel, test.outcome, data)
    yield from _unknown(where, test.channel, test.outcome, data)
    if outcome is not None:
        yield from _unit(f"{where}.unit", test.unit, outcome.unit)
    if channel is not None:
        yield from _unit(f"{where}.spend_unit", test.spend_unit, channel.unit)
    for location in test.locations:
        if location not in data.locations:
            yield f"{where}.locations: expected a declared location ({', '.join(data.locations)}), found {location}"


def _columns(channel: str, outcome: str, data: DataSpec) -> tuple[Column | None, Column | None]:
    media = next((column for column in data.media if column.name == channel), None)
    return media, next((column for column in data.outcomes if column.name == outcome), None)


def _unknown(where: str, channel: str, outcome: str, data: DataSpec) -> Iterator[str]:
    channels, outcomes = [c.name for c in data.media], [c.name for c in data.outcomes]
    if channel not in channels:
        yield f"{where}.channel: expected a declared channel ({', '.join(channels)}), found {channel}"
    if outcome not in outcomes:
        yield f"{where}.outcome: expected a declared outcome ({', '.join(outcomes)}), found {outcome}"


def _unit(where: str, found: str, expected: str) -> Iterator[str]:
    if found != expected:
        yield f"{where}: expected {expected!r}, found {found!r}"
