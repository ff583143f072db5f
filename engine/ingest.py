"""A client's file to the normalised table: everything in it is used, listed as not used, or refused.

Two layouts. `wide`: a header, one row a period, one location. `mff`: the Master Flat File, exactly the period
column and `MFF_COLUMNS`, one row a value. In both, rows may stand in any order.

The Master Flat File's breakdown (Product, Campaign, Outlet, Creative) is never summed: each (period,
location, variable) must be given by exactly one row, whatever its breakdown, and a second one is refused.
A client that wants totals sums them, and says so, before the file comes here.

A mediator's cell may be empty, or have no row in the Master Flat File: nothing was observed. Every other cell of the
(period, location) grid has a number.

Dates are ISO 8601 calendar dates, `YYYY-MM-DD`. Numbers follow JSON's grammar (RFC 8259, section 6), so
that thousands separators, underscores, hexadecimal, other scripts' digits, `nan` and surrounding spaces
are refused, not guessed; they are read by Python's float, correctly rounded, and -0 becomes 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import NamedTuple

import pyarrow as pa

from engine import delimited, grid
from engine.errors import IngestError
from engine.rejection import Reason, Rejection, shown
from engine.spec_data import DataSpec
from engine.table import variables

MFF_COLUMNS = (
    "Geography",
    "Product",
    "Campaign",
    "Outlet",
    "Creative",
    "VariableName",
    "VariableValue",
)  # after period

REJECTIONS = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("found", pa.string(), nullable=False),
    ]
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # RFC 8259 section 6


class Ingested(NamedTuple):
    """The normalised table (see engine/table.py) and the declared rejections (schema REJECTIONS), by line."""

    table: pa.Table
    rejections: pa.Table


def read(raw: bytes, data: DataSpec) -> Ingested:
    """The table that `raw` holds under the declaration `data`: a full (period, location) grid of finite
    values, of mediators with nulls where nothing was observed.

    Raises IngestError, faults sorted by line and column, and then nothing is produced. Steps: size,
    encoding and quoting, header, cells, grid. The faults of one step are all carried, and hide those of
    the next.
    """
    if len(raw) > data.max_bytes:
        found = f"{len(raw)} bytes"
        raise IngestError((Rejection(0, "", Reason.FILE_TOO_LARGE, f"at most {data.max_bytes} bytes", found),))
    reader = _Reader(data)
    sheet = delimited.parse(raw)
    if data.layout == "wide":
        reader.wide(sheet)
    else:
        reader.mff(sheet)
    reader.stop()
    reader.faults += grid.faults(reader.cells, data)
    reader.stop()
    return Ingested(grid.table(reader.cells, data), rejections_table(reader.rejections))


def rejections_table(rejections: Iterable[Rejection]) -> pa.Table:
    """One row a rejection, sorted by line, then column; schema REJECTIONS."""
    rows = sorted(rejections)
    columns = [
        pa.array([r.line for r in rows], pa.int64()),
        pa.array([r.column for r in rows], pa.string()),
        pa.array([r.reason.value for r in rows], pa.string()),
        pa.array([r.expected for r in rows], pa.string()),
        pa.array([r.found for r in rows], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=REJECTIONS)


class _Reader:
    """Gathers cells, declared rejections and faults, row by row."""

    def __init__(self, data: DataSpec) -> None:
        self.data = data
        known = variables(data)
        self.signed = {v.column for v in known if not v.name.startswith(("media.", "frequency.", "error."))}
        self.media = {v.column for v in known if v.name.startswith("media.")}
        self.sparse = {v.column for v in known if v.sparse}
        self.declared = {v.column for v in known}
        self.cells: dict[grid.Key, grid.Cell] = {}
        self.rejections: list[Rejection] = []
        self.faults: list[Rejection] = []

    def stop(self) -> None:
        if self.faults:
            raise IngestError(tuple(self.faults))

    def fault(self, line: int, column: str, reason: Reason, expected: str, found: str) -> None:
        self.faults.append(Rejection(line, column, reason, expected, found))

    def wide(self, sheet: delimited.Sheet) -> None:
        self._wide_header(sheet.header)
        self.stop()
        at = {name: i for i, name in enumerate(sheet.header.cells)}
        seen: dict[date, int] = {}
        for row in sheet.rows:
            period = self._date(row, self.data.period, row.cells[at[self.data.period]])
            if period is not None and period in seen:
                found = f"a second one (first on line {seen[period]})"
                self.fault(row.line, self.data.period, Reason.DUPLICATED_PERIOD, f"one row for {period}", found)
            values = {name: self._number(row, name, row.cells[at[name]], name) for name in sorted(self.declared)}
            if period is None:
                continue
            seen.setdefault(period, row.line)
            for name, value in values.items():
                self.cells[grid.Key(period, self.data.locations[0], name)] = grid.Cell(row.line, value)

    def _wide_header(self, header: delimited.Row) -> None:
        needed = {self.data.period, *self.declared}
        for name in sorted(set(header.cells)):
            times = header.cells.count(name)
            pattern = self._ignoring(name)
            if times > 1:
                self.fault(header.line, name, Reason.DUPLICATED_COLUMN, "each column once", f"{times} times")
            elif name not in needed and pattern is None:
                self.fault(header.line, name, Reason.UNKNOWN_COLUMN, "a declared or ignored column", shown(name))
            elif name not in needed:
                self._reject(
                    header.line,
                    name,
                    Reason.IGNORED_COLUMN,
                    "a column in use",
                    f"ignored by {shown(str(pattern))}",
                )
        for name in sorted(needed - set(header.cells)):
            self.fault(header.line, name, Reason.MISSING_COLUMN, f"a column {shown(name)}", "none")

    def mff(self, sheet: delimited.Sheet) -> None:
        expected = (self.data.period, *MFF_COLUMNS)
        if sheet.header.cells != expected:
            found = ",".join(sheet.header.cells)
            self.fault(
                sheet.header.line,
                "",
                Reason.MISSING_COLUMN,
                f"the columns {','.join(expected)}",
                shown(found, 120),
            )
            self.stop()
        for row in sheet.rows:
            self._mff_row(row)

    def _mff_row(self, row: delimited.Row) -> None:
        written, location, variable, value = row.cells[0], row.cells[1], row.cells[6], row.cells[7]
        if variable not in self.declared:
            pattern = self._ignoring(variable)
            if pattern is None:
                self.fault(
                    row.line,
                    "VariableName",
                    Reason.UNKNOWN_VARIABLE,
                    "a declared or ignored one",
                    shown(variable),
                )
            else:
                found = f"{shown(variable)}, ignored by {shown(pattern)}"
                self._reject(row.line, "VariableName", Reason.IGNORED_VARIABLE, "a variable in use", found)
            return
        if location not in self.data.locations:
            self._reject(row.line, "Geography", Reason.UNDECLARED_LOCATION, "a declared location", shown(location))
            return
        period = self._date(row, self.data.period, written)
        number = self._number(row, "VariableValue", value, variable)
        if period is None:
            return
        key = grid.Key(period, location, variable)
        if key in self.cells:
            found = f"a second one (first on line {self.cells[key].line}); breakdowns are not summed"
            what = f"one row for {period}, {shown(location)}, {shown(variable)}"
            self.fault(row.line, "VariableName", Reason.DUPLICATED_CELL, what, found)
        else:
            self.cells[key] = grid.Cell(row.line, number)

    def _ignoring(self, name: str) -> str | None:
        return next((pattern for pattern in self.data.ignored if fnmatchcase(name, pattern)), None)

    def _reject(self, line: int, column: str, reason: Reason, expected: str, found: str) -> None:
        self.rejections.append(Rejection(line, column, reason, expected, found))

    def _date(self, row: delimited.Row, column: str, text: str) -> date | None:
        try:
            if _DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:  # well formed, no such day
            pass
        self.fault(row.line, column, Reason.BAD_DATE, "a calendar date YYYY-MM-DD", shown(text))
        return None

    def _number(self, row: delimited.Row, column: str, text: str, variable: str) -> float | None:
        """The number written; None of an empty cell that may be empty; NaN after a fault, which ends with this step."""
        if not text and variable in self.sparse:
            return None
        if not _NUMBER.fullmatch(text):
            reason = Reason.NOT_FINITE if text.strip("+-").lower() in ("nan", "inf", "infinity") else Reason.BAD_NUMBER
            self.fault(row.line, column, reason, "a number such as -12.5e3", shown(text))
            return math.nan
        value = float(text)
        if not math.isfinite(value):
            self.fault(row.line, column, Reason.NOT_FINITE, "a finite float64", shown(text))
            return math.nan
        if value < 0 and variable not in self.signed:
            reason = Reason.NEGATIVE_SPEND if variable in self.media else Reason.NEGATIVE_NUMBER
            self.fault(row.line, column, reason, f"{shown(variable)} >= 0", shown(text))
            return math.nan
        return value if value != 0 else 0.0
