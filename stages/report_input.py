"""What the report of one forecast is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1, max_length=2000)]
# The bound keeps sums and differences of any two values finite; no outcome in any unit comes near it.
Finite = Annotated[float, Field(ge=-1e150, le=1e150, allow_inf_nan=False)]
Unit = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Error = Annotated[float, Field(ge=0)]  # may be infinite, where an interval has no end; NaN is not >= 0
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class Frozen(BaseModel):
    """Base of the report's input: immutable, no unknown fields, no type coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _ascending(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


class Span(Frozen):
    """Periods from `first` to `last`, both included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"span: expected first <= last, found {self.first} > {self.last}")
        return self


class Interval(Frozen):
    """A central interval; an end at infinity is unbounded, NaN is refused."""

    level: Unit
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.high or self.low == float("inf") or self.high == float("-inf"):
            raise ValueError(f"interval {self.level}: expected low <= high, found {self.low} and {self.high}")
        for end in (self.low, self.high):
            if 1e150 < abs(end) < float("inf"):
                raise ValueError(f"interval {self.level}: expected |end| <= 1e150 or infinite, found {end}")
        return self


class Subject(Frozen):
    """What is forecast. `plan` is a sentence: how media and controls are assumed to go on past the origin."""

    name: Text  # the forecast's name, as `python -m audit verify NAME` takes it
    title: Text
    target: Text
    unit: Text
    reference_date: date
    horizon: Count
    frequency_days: Count
    plan: Text


class Specification(Frozen):
    """This specification is the `number`-th of `count` registered on these data, counted at registration."""

    number: Count
    count: Count

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.number > self.count:
            raise ValueError(f"specification: expected number <= count, found {self.number} of {self.count}")
        return self


class Evidence(Frozen):
    """Digests as the ledger writes them; the tree head is that of registration, before any fit."""

    spec_digest: Text
    data_digest: Text
    holdout_digest: Text | None  # the holdout window's commitment
    profile: Text  # the determinism profile's name
    profile_digest: Text
    fingerprint_digest: Text
    log_origin: Text
    leaf_index: Natural  # the registration's place in the log
    tree_size: Count
    root_hash: Text


class Headline(Frozen):
    """The sum over the horizon and all locations. `method` is a sentence: how the sum's interval was made."""

    median: Finite
    interval: Interval
    last_year: Finite | None  # the same periods a year before; None where the data do not reach back
    method: Text


class ForecastPoint(Frozen):
    """One period of the forecast table at one location; intervals ascend by level."""

    horizon: Count
    target_end_date: date
    median: Finite
    intervals: Annotated[tuple[Interval, ...], Field(min_length=1)]
    seasonal_naive: Finite | None
    last_value: Finite


class LocationForecast(Frozen):
    """All that is known of one location (charts show the last 104 periods) and its forecast, by date."""

    name: Text
    dates: Annotated[tuple[date, ...], Field(min_length=1)]
    actuals: tuple[Finite, ...]
    forecast: tuple[ForecastPoint, ...]  # empty exactly when the forecast is not released

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.dates) != len(self.actuals):
            raise ValueError(f"{self.name}: {len(self.dates)} dates, {len(self.actuals)} actuals")
        line = [d.toordinal() for d in (*self.dates, *(p.target_end_date for p in self.forecast))]
        if not (_ascending(line) and _ascending([p.horizon for p in self.forecast])):
            raise ValueError(f"{self.name}: dates and horizons must ascend, the forecast after the actuals")
        return self


Metric = Literal["mape", "mae", "wis"]
Method = Literal["ours", "seasonal_naive", "last_value"]
METHODS: tuple[tuple[Method, str], ...] = (
    ("ours", "this forecast"),
    ("seasonal_naive", "seasonal naive"),
    ("last_value", "last value"),
)
METRICS: tuple[tuple[Metric, str], ...] = (("mape", "MAPE"), ("mae", "MAE"), ("wis", "WIS"))


class Scores(Frozen):
    """Mean errors of one method: MAPE a share (0.24 is 24 %), MAE and WIS in the target's unit."""

    mape: Error | None
    mae: Error | None
    wis: Error | None

    def of(self, metric: Metric) -> float | None:
        """The error of that name."""
        return {"mape": self.mape, "mae": self.mae, "wis": self.wis}[metric]


class Comparison(Frozen):
    """Ours and the two naive forecasts on the same targets."""

    ours: Scores
    seasonal_naive: Scores
    last_value: Scores

    def by(self, method: Method) -> Scores:
        """The scores of that method."""
        return {"ours": self.ours, "seasonal_naive": self.seasonal_naive, "last_value": self.last_value}[method]


class HorizonComparison(Frozen):
    """A comparison at one horizon."""

    horizon: Count
    scores: Comparison


class Scorecard(Frozen):
    """The comparison over `windows` origins, over all horizons and by horizon (ascending)."""

    windows: Count
    span: Span  # the target periods scored
    overall: Comparison
    by_horizon: tuple[HorizonComparison, ...]

    @property
    def endless(self) -> bool:
        """Whether an error at some horizon is infinite."""
        scores = (h.scores.by(method) for h in self.by_horizon for method, _ in METHODS)
        return any(math.inf in (each.mape, each.mae, each.wis) for each in scores)


class Backtest(Frozen):
    """Rolling origin on the past, and the holdout committed to at registration, never mixed."""

    rolling: Scorecard
    holdout: Scorecard | None


class CoverageLevel(Frozen):
    """How many of `targets` outcomes lay inside; widths are mean width over mean outcome (inf: unbounded).

    `naive` is seasonal naive, conformalised the same way.
    """

    level: Unit
    targets: Count
    inside_before: Natural
    inside_after: Natural
    width_before: Error
    width_after: Error
    inside_naive: Natural
    width_naive: Error

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if max(self.inside_before, self.inside_after, self.inside_naive) > self.targets:
            raise ValueError(f"coverage {self.level}: more outcomes inside than the {self.targets} targets")
        return self


class LocationCoverage(Frozen):
    """Coverage after calibration of one location alone, by level as elsewhere."""

    location: Text
    levels: Annotated[tuple[CoverageLevel, ...], Field(min_length=1)]


Claim = Literal["exchangeable", "disjoint_moments", "long_run", "empirical"]


class Coverage(Frozen):
    """Measured coverage before and after conformal calibration, on past windows and on the holdout.

    `claim` says what theory supports: `exchangeable` (equal weights: exact under exchangeability only),
    `disjoint_moments` (weights fixed from data disjoint from the scores: the bound of Barber et al. 2023),
    `long_run` (the intervals follow past misses: the share of misses over many forecasts), `empirical` (none of
    these: measured coverage only). `protocol` is a sentence: which scores calibrated what.
    """

    claim: Claim
    protocol: Text
    rolling: Annotated[tuple[CoverageLevel, ...], Field(min_length=1)]
    holdout: tuple[CoverageLevel, ...]
    locations: tuple[LocationCoverage, ...]  # of past windows; empty where there is one location
    pit: tuple[Natural, ...]  # counts in equal bins of [0, 1]; empty when not measured
    pit_of: Literal["before", "after"]  # calibration

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        for name, measured in (("rolling", self.rolling), ("holdout", self.holdout)):
            if not _ascending([each.level for each in measured]):
                raise ValueError(f"coverage.{name}: levels must ascend")
        return self


class ChangeSeries(Frozen):
    """P(change within the detector's window) at each period of one location (or of "all")."""

    location: Text
    dates: Annotated[tuple[date, ...], Field(min_length=1)]
    probability: tuple[Share, ...]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.dates) != len(self.probability):
            raise ValueError(f"{self.location}: {len(self.dates)} dates but {len(self.probability)} probabilities")
        return self


class Event(Frozen):
    """A registered event an alarm was matched with."""

    name: Text
    kind: Text  # regime change, null announcement, artefact, transient promotion
    first: date


Action = Literal["re_anchor", "rescale", "mask", "model", "keep"]


class Alarm(Frozen):
    """An alarm, what it was taken for and what followed. `location` None means all locations."""

    noticed: date  # the period at whose end the alarm was raised
    start: date  # the most probable first period of what is new
    last: date | None  # the last period of a pulse that has passed
    location: Text | None
    reported: Share  # the detector's own probability, as the chart draws it
    probability: Share  # calibrated, of a change that lasts
    cause: Text
    odds: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # of the cause against all others together
    action: Action
    reason: Text  # the verdict in words
    event: Event | None
    consequence: Text

    @property
    def breaks(self) -> bool:
        """Whether the forecast takes what came before for another regime, or another metric."""
        return self.action in ("re_anchor", "rescale")


class Told(Frozen):
    """Periods that were told about this probability of a change, out of sample, and how many had one."""

    probability: Share  # mean of those told
    periods: Count
    changed: Natural

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.changed > self.periods:
            raise ValueError(f"reliability: {self.changed} changes in {self.periods} periods")
        return self


class Calibrated(Frozen):
    """How the detector was calibrated against labelled events; scores are means, out of sample, smaller is better."""

    hazard: Unit
    events: Count  # each held out in turn
    series: Count
    real: tuple[Text, ...]  # names of the real ones among them
    log: Error
    log_base_rate: Error
    log_uncalibrated: Error
    brier: Error
    brier_base_rate: Error
    brier_uncalibrated: Error
    false_alarms_per_year: Error
    changes: Natural
    noticed: Natural
    delay: Error | None  # median, in periods, of those noticed
    reliability: tuple[Told, ...]  # ascending in probability


class Detection(Frozen):
    """The alarms raised online above `threshold`; and, another question, the segments found in hindsight."""

    threshold: Unit
    window: Count  # periods
    series: tuple[ChangeSeries, ...]
    alarms: tuple[Alarm, ...]  # by the date they were noticed
    segments: tuple[date, ...]  # first periods of the segments in hindsight, but for the first segment
    registered_events: Natural  # how many registered events alarms were compared with
    calibrated: Calibrated | None

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        if [a.noticed for a in self.alarms] != sorted(a.noticed for a in self.alarms):
            raise ValueError("detection.alarms: must be in the order of their dates")
        return self


class Contribution(Frozen):
    """A channel's share of the outcome over the fitted span, in the target's unit: mean and interval."""

    channel: Text
    mean: Finite
    interval: Interval


class Media(Frozen):
    """Contributions summed over `span` and all locations."""

    span: Span
    contributions: tuple[Contribution, ...]


class Gate(Frozen):
    """One sampling diagnostic against its threshold; `value` None could not be computed, so is not passed."""

    name: Text
    meaning: Text  # a sentence for a reader who does not know the diagnostic
    value: float | None
    rule: Literal["below", "at_most", "above", "at_least"]
    threshold: Finite
    passed: bool
    stops: bool  # False: recorded only, a failure does not stop the forecast (Pathfinder's k-hat)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.passed != (self.value is not None and self._holds(self.value)):
            raise ValueError(
                f"gate {self.name}: passed is {self.passed}, but the value is {self.value} "
                f"and the rule {self.rule} {self.threshold}"
            )
        return self

    def _holds(self, value: float) -> bool:
        match self.rule:
            case "below":
                return value < self.threshold
            case "at_most":
                return value <= self.threshold
            case "above":
                return value > self.threshold
            case "at_least":
                return value >= self.threshold


class Sampling(Frozen):
    """The sampler's run and its gates."""

    chains: Count
    warmup: Natural
    draws: Count  # per chain
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]


class Refusal(Frozen):
    """Rows refused at ingest for one reason."""

    reason: Text
    rows: Count
    example: Text | None  # such as the first line number


class Variable(Frozen):
    """One column in use."""

    name: Text
    role: Literal["kpi", "media", "control"]
    unit: Text


class Data(Frozen):
    """What was read."""

    rows_used: Natural
    span: Span
    refusals: tuple[Refusal, ...]
    variables: tuple[Variable, ...]
    origin: Text
    licence: Text


class ReportInput(Frozen):
    """Everything the page shows. No headline and no forecast points exactly when a stopping gate failed."""

    subject: Subject
    specification: Specification
    evidence: Evidence
    headline: Headline | None
    locations: Annotated[tuple[LocationForecast, ...], Field(min_length=1)]
    holdout: Span | None
    backtest: Backtest
    coverage: Coverage | None
    detection: Detection
    media: Media | None
    sampling: Sampling
    data: Data
    limits: tuple[Text, ...]  # sentences of this forecast's known limits, beside those true of every report

    @property
    def released(self) -> bool:
        """Whether every stopping gate passed."""
        return all(gate.passed for gate in self.sampling.gates if gate.stops)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [location.name for location in self.locations]
        if len(set(names)) != len(names):
            raise ValueError("locations: a name is used twice")
        levels = {tuple(i.level for i in p.intervals) for each in self.locations for p in each.forecast}
        if len(levels) > 1 or not all(_ascending(each) for each in levels):
            raise ValueError(f"locations: expected the same ascending levels everywhere, found {sorted(levels)}")
        shown = [self.headline is not None, *(bool(location.forecast) for location in self.locations)]
        if set(shown) != {self.released}:
            found = "is incomplete" if self.released else "is present although a gate failed"
            raise ValueError(f"forecast: expected exactly when every stopping gate passed, but it {found}")
        if self.media is not None and not self.released:
            raise ValueError("media: expected none, because a stopping gate failed")
        return self
