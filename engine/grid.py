"""Cells by (period, location, column), and whether they fill a regular grid: complete and evenly spaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa

from engine.rejection import Reason, Rejection, shown
from engine.spec_data import DataSpec
from engine.table import schema_of, variables


class Key(NamedTuple):
    """Where a value belongs; `column` as the client names it."""

    period: date
    location: str
    column: str


class Cell(NamedTuple):
    """A value and the physical line it was read from."""

    line: int
    value: float | None  # None: an empty cell of a column that may have them


def faults(cells: Mapping[Key, Cell], data: DataSpec) -> Iterator[Rejection]:
    """What keeps `cells` from being one value a declared location and column at evenly spaced periods."""
    first: dict[date, int] = {}
    for key, cell in cells.items():
        first[key.period] = min(cell.line, first.get(key.period, cell.line))
    yield from _gaps(first, data)
    for location in data.locations:
        yield from _holes(location, sorted(first), cells, data)
    yield from _unseen(cells, data)


def table(cells: Mapping[Key, Cell], data: DataSpec) -> pa.Table:
    """The normalised table. Precondition: `faults` found none."""
    grid = sorted({(key.period, key.location) for key in cells})
    arrays = [
        pa.array([period for period, _ in grid], pa.date32()),
        pa.array([at for _, at in grid], pa.string()),
    ]
    for variable in variables(data):
        found = [cells.get(Key(period, location, variable.column)) for period, location in grid]
        arrays.append(pa.array([None if cell is None else cell.value for cell in found], pa.float64()))
    return pa.Table.from_arrays(arrays, schema=schema_of(data))


def _gaps(first: Mapping[date, int], data: DataSpec) -> Iterator[Rejection]:
    days = data.frequency_days
    for before, after in pairwise(sorted(first)):
        whole, rest = divmod((after - before).days, days)
        if whole == 1 and not rest:
            continue
        reason = Reason.IRREGULAR_FREQUENCY if rest else Reason.MISSING_PERIOD
        found = f"{after}, {(after - before).days} days after" + ("" if rest else f" ({whole - 1} missing)")
        yield Rejection(first[after], data.period, reason, f"a period {days} days after {before}", found)


def _holes(location: str, periods: list[date], cells: Mapping[Key, Cell], data: DataSpec) -> Iterator[Rejection]:
    columns = _columns(data)
    absent = {
        period: [column for column in columns if Key(period, location, column) not in cells] for period in periods
    }
    if all(len(missing) == len(columns) for missing in absent.values()):
        yield Rejection(0, "Geography", Reason.MISSING_LOCATION, f"rows for {shown(location)}", "none")
        return
    for period, missing in absent.items():
        where = f"{period}, {shown(location)}"
        if len(missing) == len(columns):
            yield Rejection(0, data.period, Reason.MISSING_PERIOD, f"rows for {where}", "none")
            continue
        for column in missing:
            yield Rejection(0, column, Reason.MISSING_CELL, f"a row for {where}", "none")


def _unseen(cells: Mapping[Key, Cell], data: DataSpec) -> Iterator[Rejection]:
    """Columns that may have empty cells and have nothing else: a name that the file does not know looks like that."""
    seen = {key.column for key, cell in cells.items() if cell.value is not None}
    for variable in variables(data):
        if variable.sparse and variable.column not in seen:
            yield Rejection(0, variable.column, Reason.MISSING_CELL, "a value in some period and location", "none")


def _columns(data: DataSpec) -> tuple[str, ...]:
    """The columns that must have a value everywhere."""
    return tuple(variable.column for variable in variables(data) if not variable.sparse)
