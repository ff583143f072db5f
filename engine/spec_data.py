"""What a specification may say about its data: where the table lies, and what each of its columns is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from engine.declared import Frozen, Name, Text
from engine.spec_creatives import Creatives, Feature


class Column(Frozen):
    """A variable of the client's table: its name here, its column (or MFF variable) there, and its unit."""

    name: Name
    column: Text
    unit: Text


class MediaColumn(Column):
    """A channel, or a campaign of one: its spend, or its reach where `frequency` is given beside it."""

    frequency: Text | None = None  # column of the mean frequency of those reached
    group: Name | None = None  # the channel that a campaign belongs to
    national: bool = False  # bought for all locations together


class ControlColumn(Column):
    """A control, and what it is in the causal graph.

    confounder: moves media and outcome; precision: moves the outcome alone; mediator: media move it.
    """

    role: Literal["confounder", "precision", "mediator"] = "confounder"
    feature: Feature | None = None  # of creatives, and of no column of the client's table: `column` only names it


class DataSpec(Frozen):
    """Where the table lies and how it is laid out."""

    path: Text
    layout: Literal["wide", "mff"]
    max_bytes: Annotated[int, Field(ge=1, le=2**40)]
    period: Text  # the wide layout's date column; "Period" in the Master Flat File
    frequency_days: Annotated[int, Field(ge=1, le=366)]
    locations: tuple[Text, ...]  # MFF Geography values in use; one name for a national (wide) table
    kpi: Column
    further: tuple[Column, ...] = ()  # outcomes modelled together with `kpi`
    errors: tuple[Column, ...] = ()  # standard deviation of each outcome's measurement, one an outcome or none
    media: tuple[MediaColumn, ...]
    controls: tuple[ControlColumn, ...]
    mediators: tuple[Column, ...] = ()  # may have empty cells
    creatives: Creatives | None = None
    ignored: tuple[Text, ...]  # columns or MFF variables known and not used; shell patterns allowed
    origin: Text  # where the data comes from
    licence: Text

    @property
    def outcomes(self) -> tuple[Column, ...]:
        """Every KPI."""
        return (self.kpi, *self.further)

    @property
    def of_table(self) -> DataSpec:
        """What the client's own table holds: without the controls that are features of creatives."""
        own = tuple(column for column in self.controls if column.feature is None)
        return self.model_copy(update={"controls": own, "creatives": None})

    @property
    def features(self) -> tuple[tuple[str, str, Feature], ...]:
        """The controls that are features of creatives: name, column and feature."""
        of = self.controls
        return tuple((each.name, each.column, each.feature) for each in of if each.feature is not None)

    @property
    def series(self) -> tuple[str, ...]:
        """A name for every (location, outcome), location-major: the location's own where there is one outcome."""
        return series_names(self.locations, [column.name for column in self.outcomes])


def series_names(locations: Sequence[str], outcomes: Sequence[str]) -> tuple[str, ...]:
    """As `DataSpec.series`."""
    if len(outcomes) == 1:
        return tuple(locations)
    return tuple(f"{location}/{outcome}" for location in locations for outcome in outcomes)
