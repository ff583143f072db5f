"""Features of creatives as covariates: what ran, in each period and location, in one number.

A creative with flight [first, last] runs in every period that has a day in common with it, [p, p + days), and in the
locations that it names, or everywhere. mean: (1/n) sum_c v_c over the n creatives that ran; sum: sum_c v_c; where none
ran, the number that the specification declares. v is a number as extracted, 1 for a flag that holds and 0 for one that
does not, and of a choice 1 where it is the declared value: its mean is a share. Sums are correctly rounded (fsum), so
that no order of creatives shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.creative_field import Value
from engine.errors import SpecError
from engine.spec_creatives import Feature
from engine.spec_data import DataSpec
from engine.table import schema_of


class Flight(NamedTuple):
    """Where and when a creative ran: first and last day, both included; no location: everywhere."""

    channel: str
    locations: tuple[str, ...]
    first: date
    last: date


class FieldKind(NamedTuple):
    """What an extractor gives under one name; `values` of a choice."""

    kind: Literal["number", "flag", "choice"]
    values: tuple[str, ...] = ()


def numbers(name: str, feature: Feature, field: FieldKind | None, values: Sequence[Value]) -> list[float]:
    """What `feature`, of the control `name`, makes of the extracted `values`.

    Raises SpecError when the extractor has no such field, or the field no such value.
    """
    where = f"data.controls.{name}.feature"
    if field is None:
        raise SpecError(f"{where}.field: expected a field of extractor {feature.extractor}, found {feature.field}")
    if field.kind == "choice":
        if feature.value not in field.values:
            raise SpecError(f"{where}.value: expected one of {', '.join(field.values)}, found {feature.value}")
        return [float(value == feature.value) for value in values]
    if feature.value is not None:
        raise SpecError(f"{where}.value: expected none, for {feature.field} is a {field.kind}, found {feature.value}")
    return [float(value) for value in values]


def covariate(
    feature: Feature,
    flights: Sequence[Flight],
    values: Sequence[float],
    periods: Sequence[date],
    days: int,
    locations: Sequence[str],
) -> npt.NDArray[np.float64]:
    """The summary in every period and location: (T, L). flights and values: one a creative, in one order."""
    found = np.full((len(periods), len(locations)), feature.empty)
    of_channel = [n for n, flight in enumerate(flights) if not feature.channels or flight.channel in feature.channels]
    for t, period in enumerate(periods):
        end = period + timedelta(days=days)
        then = [n for n in of_channel if flights[n].first < end and flights[n].last >= period]
        for g, location in enumerate(locations):
            here = [values[n] for n in then if not flights[n].locations or location in flights[n].locations]
            if here:
                total = math.fsum(here)
                found[t, g] = total if feature.summary == "sum" else total / len(here)
    return found


def with_covariates(table: pa.Table, data: DataSpec, covariates: Mapping[str, npt.NDArray[np.float64]]) -> pa.Table:
    """The client's normalised `table` with a column for each control that is a feature, (T, L) by its name."""
    schema = schema_of(data)
    columns = []
    for field in schema:
        name = field.name.removeprefix("control.")
        if field.name.startswith("control.") and name in covariates:
            columns.append(pa.array(covariates[name].ravel(), pa.float64()))  # rows are by period, then location
        else:
            columns.append(table.column(field.name))
    return pa.Table.from_arrays(columns, schema=schema)
