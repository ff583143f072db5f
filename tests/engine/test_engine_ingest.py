"""Laws and attacks: what a client's file must be, and what is said when it is not."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import ingest, table
from engine.errors import EngineError, IngestError
from engine.rejection import Reason
from engine.spec_data import Column, ControlColumn, DataSpec, MediaColumn

ROOT = Path(__file__).resolve().parents[2]


def column(name: str, written: str) -> Column:
    return Column(name=name, column=written, unit="USD")


def channel(name: str, written: str, frequency: str | None = None) -> MediaColumn:
    return MediaColumn(name=name, column=written, unit="USD", frequency=frequency)


def control(name: str, written: str) -> ControlColumn:
    return ControlColumn(name=name, column=written, unit="USD")


def wide_spec(**changes: object) -> DataSpec:
    declared = DataSpec(
        path="data/small.csv",
        layout="wide",
        max_bytes=100_000,
        period="week",
        frequency_days=7,
        locations=("US",),
        kpi=column("sales", "Sales"),
        media=(channel("tv", "TV"), channel("search", "Search")),
        controls=(control("price", "Price"),),
        ignored=("note_*",),
        origin="made up",
        licence="CC0",
    )
    return DataSpec.model_validate({**dict(declared), **changes})


def mff_spec(**changes: object) -> DataSpec:
    return wide_spec(
        **{"layout": "mff", "period": "Period", "locations": ("NYC", "LA"), "ignored": ("Note*",), **changes}
    )


WIDE = b"""week,Sales,TV,Search,Price
2020-01-06,10.5,1,0,-2
2020-01-13,11.25,2,3e2,0
2020-01-20,-9,0,0.125,1
"""
MFF_HEADER = "Period,Geography,Product,Campaign,Outlet,Creative,VariableName,VariableValue"


def mff_lines() -> list[str]:
    weeks = ("2020-01-06", "2020-01-13", "2020-01-20")
    names = ("Sales", "TV", "Search", "Price")
    cells = [(week, place, name) for week in weeks for place in ("NYC", "LA") for name in names]
    return [f"{week},{place},,,,,{name},{i}.5" for i, (week, place, name) in enumerate(cells)]


def mff_file(lines: list[str]) -> bytes:
    return "\n".join([MFF_HEADER, *lines, ""]).encode()


def refusal(raw: bytes, data: DataSpec) -> IngestError:
    with pytest.raises(IngestError) as caught:
        ingest.read(raw, data)
    return caught.value


def test_a_wide_file_becomes_its_own_numbers() -> None:
    found = ingest.read(WIDE, wide_spec())
    assert found.table.schema.equals(table.schema_of(wide_spec()), check_metadata=True)
    assert found.table.column("kpi").to_pylist() == [10.5, 11.25, -9.0]
    assert found.table.column("media.tv").to_pylist() == [1.0, 2.0, 0.0]
    assert found.table.column("media.search").to_pylist() == [0.0, 300.0, 0.125]
    assert found.table.column("control.price").to_pylist() == [-2.0, 0.0, 1.0]
    assert found.rejections.num_rows == 0


def test_row_order_byte_order_mark_line_ends_and_quotes_do_not_matter() -> None:
    header, *rows = WIDE.decode().splitlines()
    quoted = "\r\n".join([header, *(",".join(f'"{cell}"' for cell in row.split(",")) for row in reversed(rows))])
    expected = table.ipc_bytes(ingest.read(WIDE, wide_spec()).table)
    assert table.ipc_bytes(ingest.read(b"\xef\xbb\xbf" + quoted.encode(), wide_spec()).table) == expected


def test_minus_zero_becomes_zero() -> None:
    found = ingest.read(WIDE.replace(b"2020-01-06,10.5,1,0,", b"2020-01-06,-0,-0.0,0,"), wide_spec()).table
    assert str(found.column("kpi")[0].as_py()) == str(found.column("media.tv")[0].as_py()) == "0.0"


@pytest.mark.parametrize(
    ("old", "new", "reason", "line", "where"),
    [
        pytest.param(b"2020-01-13", b"2020-01-06", Reason.DUPLICATED_PERIOD, 3, "week", id="period given twice"),
        pytest.param(b"2020-01-13", b"2020-01-14", Reason.IRREGULAR_FREQUENCY, 3, "week", id="a day late"),
        pytest.param(b"2020-01-20", b"2020-02-03", Reason.MISSING_PERIOD, 4, "week", id="two weeks missing"),
        pytest.param(b"2020-01-13", b"2020-1-13", Reason.BAD_DATE, 3, "week", id="date not padded"),
        pytest.param(b"2020-01-13", b"13/01/2020", Reason.BAD_DATE, 3, "week", id="date not ISO"),
        pytest.param(b"2020-01-13", b"20200113", Reason.BAD_DATE, 3, "week", id="basic ISO date"),
        pytest.param(b"2020-01-13", b"2020-02-30", Reason.BAD_DATE, 3, "week", id="no such day"),
        pytest.param(b"2020-01-13", b"0000-01-13", Reason.BAD_DATE, 3, "week", id="year zero"),
        pytest.param(b"2020-01-13", b"2020-W03-1", Reason.BAD_DATE, 3, "week", id="week date"),
        pytest.param(b"2020-01-13", "２０２０-01-13".encode(), Reason.BAD_DATE, 3, "week", id="full-width date"),
        pytest.param(b"2020-01-13", b"2020-01-13T00:00", Reason.BAD_DATE, 3, "week", id="date with a time"),
        pytest.param(b",2,3e2", b",-2,3e2", Reason.NEGATIVE_SPEND, 3, "TV", id="negative spend"),
        pytest.param(b",2,3e2", b",nan,3e2", Reason.NOT_FINITE, 3, "TV", id="nan spend"),
        pytest.param(b",2,3e2", b",2,1e999", Reason.NOT_FINITE, 3, "Search", id="overflowing spend"),
        pytest.param(b"11.25", b"-Infinity", Reason.NOT_FINITE, 3, "Sales", id="infinite KPI"),
        pytest.param(b"11.25", b"", Reason.BAD_NUMBER, 3, "Sales", id="empty KPI"),
        pytest.param(b"11.25", b"n/a", Reason.BAD_NUMBER, 3, "Sales", id="KPI in words"),
        pytest.param(b"11.25", b'"1,234"', Reason.BAD_NUMBER, 3, "Sales", id="thousands separator"),
        pytest.param(b"11.25", b"1_000", Reason.BAD_NUMBER, 3, "Sales", id="underscore"),
        pytest.param(b"11.25", b"0x1F", Reason.BAD_NUMBER, 3, "Sales", id="hexadecimal"),
        pytest.param(b"11.25", b" 11.25", Reason.BAD_NUMBER, 3, "Sales", id="space before"),
        pytest.param(b"11.25", b'"11.25\n"', Reason.BAD_NUMBER, 3, "Sales", id="line end after"),
        pytest.param(b"11.25", b"+11.25", Reason.BAD_NUMBER, 3, "Sales", id="plus sign"),
        pytest.param(b"11.25", b"011.25", Reason.BAD_NUMBER, 3, "Sales", id="leading zero"),
        pytest.param(b"11.25", b"11.", Reason.BAD_NUMBER, 3, "Sales", id="bare point"),
        pytest.param(b"11.25", "１１".encode(), Reason.BAD_NUMBER, 3, "Sales", id="full-width digits"),
        pytest.param(b"11.25", "−11".encode(), Reason.BAD_NUMBER, 3, "Sales", id="typographic minus"),
        pytest.param(b"Price\n", b"Cost\n", Reason.MISSING_COLUMN, 1, "Price", id="declared column missing"),
        pytest.param(b"Search,", b"TV,", Reason.DUPLICATED_COLUMN, 1, "TV", id="header given twice"),
        pytest.param(b"11.25,", b"11.25,0,", Reason.RAGGED_ROW, 3, "", id="a cell too many"),
        pytest.param(b"2020-01-13,11.25,", b"2020-01-13,", Reason.RAGGED_ROW, 3, "", id="a cell too few"),
        pytest.param(b"\n2020-01-13", b"\n\n2020-01-13", Reason.RAGGED_ROW, 3, "", id="blank line"),
        pytest.param(b"11.25", b"11.25\xe9", Reason.NOT_UTF8, 3, "", id="Latin-1 byte in UTF-8"),
        pytest.param(b"week,", "week,".encode("utf-16"), Reason.NOT_UTF8, 1, "", id="UTF-16 start"),
        pytest.param(b"11.25", b"11.25\0", Reason.NUL_BYTE, 3, "", id="NUL byte"),
        pytest.param(b"11.25", b'"11.25', Reason.MALFORMED_CSV, 3, "", id="quote left open"),
        pytest.param(b"11.25", b'"11".25', Reason.MALFORMED_CSV, 3, "", id="text after a quote"),
    ],
)
def test_attack_on_a_wide_file_is_named(old: bytes, new: bytes, reason: Reason, line: int, where: str) -> None:
    assert WIDE.count(old) == 1
    error = refusal(WIDE.replace(old, new), wide_spec())
    assert (reason, line, where) in [(fault.reason, fault.line, fault.column) for fault in error.faults]
    assert f"line {line}" in str(error)
    assert "expected" in str(error)
    assert "found" in str(error)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"\xef\xbb\xbf", Reason.EMPTY_FILE),
        (WIDE.splitlines()[0], Reason.HEADER_ONLY),
        (WIDE.splitlines()[0] + b"\n", Reason.HEADER_ONLY),
        (WIDE + b" " * 100_000, Reason.FILE_TOO_LARGE),
        (WIDE.replace(b",", b";"), Reason.MISSING_COLUMN),
        (WIDE.replace(b"11.25", b"1" * 140_000), Reason.FILE_TOO_LARGE),
    ],
)
def test_a_file_that_holds_no_table_is_refused(raw: bytes, reason: Reason) -> None:
    assert reason in {fault.reason for fault in refusal(raw, wide_spec()).faults}


def test_a_cell_longer_than_the_csv_module_reads_is_refused_by_us() -> None:
    error = refusal(WIDE.replace(b"11.25", b"1" * 140_000), wide_spec(max_bytes=10**6))
    assert [fault.reason for fault in error.faults] == [Reason.MALFORMED_CSV]


def test_offset_of_a_bad_byte_counts_the_byte_order_mark() -> None:
    raw = b"\xef\xbb\xbf" + WIDE.replace(b"11.25", b"\xff")
    (fault,) = refusal(raw, wide_spec()).faults
    assert fault.found == f"byte 0xff at offset {raw.index(bytes([0xFF]))}"


def test_lines_are_physical_even_after_quoted_line_ends() -> None:
    header, first, *rest = WIDE.decode().splitlines()
    raw = "\n".join([f"{header},note_a", f'{first},"two\nlines"', f'{rest[0]},"x\r\ny\rz"', f"{rest[1]},", "bad"])
    (fault,) = refusal(raw.encode(), wide_spec()).faults
    assert (fault.line, fault.reason) == (8, Reason.RAGGED_ROW)


def test_undeclared_columns_are_refused_and_ignored_ones_listed() -> None:
    header, *rows = WIDE.decode().splitlines()
    raw = "\n".join([f"{header},note_a,Note_b", *(f"{row},x,y" for row in rows)]).encode()
    (fault,) = refusal(raw, wide_spec()).faults
    assert (fault.reason, fault.column) == (Reason.UNKNOWN_COLUMN, "Note_b")
    found = ingest.read(raw, wide_spec(ignored=("note_*", "Note_?")))
    assert found.rejections.column("column").to_pylist() == ["Note_b", "note_a"]
    assert set(found.rejections.column("reason").to_pylist()) == {"ignored_column"}
    assert set(found.rejections.column("line").to_pylist()) == {1}


def test_every_fault_is_carried_and_the_first_twenty_are_shown() -> None:
    weeks = "\n".join(f"x{i},y,-1,0,0" for i in range(30))
    error = refusal(f"week,Sales,TV,Search,Price\n{weeks}".encode(), wide_spec())
    assert len(error.faults) == 90
    assert str(error).count("\n") == 21
    assert "90 faults" in str(error)
    assert "and 70 more" in str(error)


def test_a_master_flat_file_fills_the_grid_in_sorted_order() -> None:
    found = ingest.read(mff_file(mff_lines()), mff_spec()).table
    assert found.column("location").to_pylist() == ["LA", "NYC"] * 3
    assert found.column("kpi").to_pylist() == [4.5, 0.5, 12.5, 8.5, 20.5, 16.5]


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_permuting_a_master_flat_file_changes_no_byte(rng: random.Random) -> None:
    lines = [*mff_lines(), "2020-01-06,Mars,,,,,TV,1", "2020-01-06,LA,,,,,Note1,1"]
    expected = ingest.read(mff_file(lines), mff_spec())
    rng.shuffle(lines)
    found = ingest.read(mff_file(lines), mff_spec())
    assert table.parquet_bytes(found.table) == table.parquet_bytes(expected.table)
    assert table.ipc_bytes(found.table) == table.ipc_bytes(expected.table)
    assert found.rejections.num_rows == expected.rejections.num_rows == 2


def test_rows_of_ignored_variables_and_undeclared_places_are_counted_with_their_lines() -> None:
    lines = [
        *mff_lines(),
        "2020-01-06,Mars,,,,,TV,what",
        "never,LA,,,,,Note1,",
        "2020-01-06,Mars,,,,,Note2,1",
    ]
    found = ingest.read(mff_file(lines), mff_spec()).rejections
    assert found.column("line").to_pylist() == [26, 27, 28]
    reasons = ["undeclared_location", "ignored_variable", "ignored_variable"]
    assert found.column("reason").to_pylist() == reasons


@pytest.mark.parametrize(
    ("lines", "reason", "line"),
    [
        pytest.param([*mff_lines(), "2020-01-06,NYC,,,,,tv,1"], Reason.UNKNOWN_VARIABLE, 26, id="unknown variable"),
        pytest.param([*mff_lines(), "2020-01-06,NYC,,,,,TV,1"], Reason.DUPLICATED_CELL, 26, id="cell given twice"),
        pytest.param(
            [*mff_lines(), "2020-01-06,NYC,shoes,spring,NBC,a,TV,1"],
            Reason.DUPLICATED_CELL,
            26,
            id="breakdown",
        ),
        pytest.param(mff_lines()[1:], Reason.MISSING_CELL, 0, id="cell missing"),
        pytest.param(mff_lines()[:12] + mff_lines()[16:], Reason.MISSING_PERIOD, 0, id="period missing in one place"),
        pytest.param(mff_lines()[:8] + mff_lines()[16:], Reason.MISSING_PERIOD, 10, id="period missing everywhere"),
        pytest.param([x for x in mff_lines() if "LA" not in x], Reason.MISSING_LOCATION, 0, id="place missing"),
        pytest.param([*mff_lines(), "2020-01-08,NYC,,,,,TV,1"], Reason.IRREGULAR_FREQUENCY, 26, id="odd day"),
        pytest.param([*mff_lines()[:-1], "2020-01-20,LA,,,,,Price,?"], Reason.BAD_NUMBER, 25, id="not a number"),
        pytest.param(["2020-01-06,NYC,,,,,TV,-1", *mff_lines()[2:]], Reason.NEGATIVE_SPEND, 2, id="negative spend"),
        pytest.param([*mff_lines(), "2020-01-06,NYC"], Reason.RAGGED_ROW, 26, id="torn last row"),
    ],
)
def test_attack_on_a_master_flat_file_is_named(lines: list[str], reason: Reason, line: int) -> None:
    error = refusal(mff_file(lines), mff_spec())
    assert (reason, line) in [(fault.reason, fault.line) for fault in error.faults]


def test_a_unique_cell_may_carry_a_breakdown() -> None:
    lines = [line.replace(",,,,,", ",shoes,spring,NBC,a,") for line in mff_lines()]
    plain = ingest.read(mff_file(mff_lines()), mff_spec()).table
    assert ingest.read(mff_file(lines), mff_spec()).table.equals(plain, check_metadata=True)


@pytest.mark.parametrize("header", ["Geography,Period", "Period,Geography,Extra", "period,Geography"])
def test_a_master_flat_file_has_exactly_its_eight_columns(header: str) -> None:
    raw = mff_file(mff_lines()).replace(b"Period,Geography", header.encode(), 1)
    reasons = {fault.reason for fault in refusal(raw, mff_spec()).faults}
    assert reasons <= {Reason.MISSING_COLUMN, Reason.RAGGED_ROW}


@settings(deadline=None, max_examples=400, derandomize=True)
@given(at=st.integers(0, len(WIDE) - 1), byte=st.integers(0, 255))
def test_one_replaced_byte_gives_our_error_or_the_same_shape(at: int, byte: int) -> None:
    raw = WIDE[:at] + bytes([byte]) + WIDE[at + 1 :]
    try:
        found = ingest.read(raw, wide_spec())
    except EngineError:
        return
    assert found.table.shape == (3, 6)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_give_our_error(raw: bytes) -> None:
    for spec in (wide_spec(), mff_spec()):
        with pytest.raises(IngestError):
            ingest.read(raw, spec)


# Columns that only some tables have: further outcomes, errors, frequencies, mediators whose cells may be empty.

RICH: dict[str, object] = {
    "further": (column("multipack", "Multipack"),),
    "errors": (column("sales_error", "SalesError"), column("multipack_error", "MultipackError")),
    "media": (channel("tv", "TV", "Contacts"), channel("search", "Search")),
    "mediators": (column("awareness", "Awareness"),),
}
RICH_NAMES = (
    "Sales", "TV", "Search", "Price", "Multipack", "SalesError", "MultipackError", "Contacts", "Awareness"
)  # fmt: skip
RICH_WIDE = b"""week,Sales,TV,Search,Price,Multipack,SalesError,MultipackError,Contacts,Awareness
2020-01-06,10.5,1,0,-2,7,0.5,0.75,2.5,
2020-01-13,11.25,2,3e2,0,-8,0,0.25,0,-40.5
2020-01-20,-9,0,0.125,1,9,1,2,3,0
"""


def rich_lines() -> list[str]:
    """Awareness was surveyed in LA, in two weeks of three; of its empty cells one has a row, that of the first week."""
    weeks = ("2020-01-06", "2020-01-13", "2020-01-20")
    lines = []
    for i, (week, place, name) in enumerate(itertools.product(weeks, ("NYC", "LA"), RICH_NAMES)):
        surveyed = place == "LA" and week != weeks[2]
        if name != "Awareness" or surveyed:
            lines.append(f"{week},{place},,,,,{name},{i}.5")
        elif week == weeks[0]:
            lines.append(f"{week},{place},,,,,{name},")
    return lines


def test_a_wide_file_with_every_kind_of_column_becomes_its_own_numbers() -> None:
    data = wide_spec(**RICH)
    found = ingest.read(RICH_WIDE, data).table
    assert found.schema.equals(table.schema_of(data), check_metadata=True)
    assert found.column("outcome.multipack").to_pylist() == [7.0, -8.0, 9.0]
    assert found.column("error.sales_error").to_pylist() == [0.5, 0.0, 1.0]
    assert found.column("error.multipack_error").to_pylist() == [0.75, 0.25, 2.0]
    assert found.column("frequency.tv").to_pylist() == [2.5, 0.0, 3.0]
    assert found.column("mediator.awareness").to_pylist() == [None, -40.5, 0.0]


def test_a_master_flat_file_with_every_kind_of_column_fills_the_grid() -> None:
    data = mff_spec(**RICH)
    found = ingest.read(mff_file(rich_lines()), data)
    whole = table.to_panel(found.table, data)
    count = len(RICH_NAMES)

    def written(week: int, place: int, name: str) -> float:
        return (2 * week + place) * count + RICH_NAMES.index(name) + 0.5

    for week, (g, place) in itertools.product(range(3), ((0, 1), (1, 0))):  # LA comes first in the panel
        assert whole.kpi[week, 2 * g : 2 * g + 2].tolist() == [written(week, place, n) for n in ("Sales", "Multipack")]
        errors = [written(week, place, n) for n in ("SalesError", "MultipackError")]
        assert whole.error[week, 2 * g : 2 * g + 2].tolist() == errors
        assert whole.frequency[week, g].tolist() == [written(week, place, "Contacts"), 1.0]
    assert np.isnan(whole.mediators[:, :, 0]).tolist() == [[False, True], [False, True], [True, True]]
    assert whole.mediators[1, 0, 0] == written(1, 1, "Awareness")
    assert found.rejections.num_rows == 0


def test_an_empty_cell_and_no_row_for_it_are_the_same_table() -> None:
    data = mff_spec(**RICH)
    shorter = [line for line in rich_lines() if not line.endswith(",")]
    assert len(shorter) == len(rich_lines()) - 1
    found, expected = (ingest.read(mff_file(lines), data).table for lines in (shorter, rich_lines()))
    assert table.parquet_bytes(found) == table.parquet_bytes(expected)


@pytest.mark.parametrize(
    ("old", "new", "reason", "line", "where"),
    [
        pytest.param(b"11.25,", b",", Reason.BAD_NUMBER, 3, "Sales", id="empty KPI"),
        pytest.param(b",-8,", b",,", Reason.BAD_NUMBER, 3, "Multipack", id="empty further outcome"),
        pytest.param(b",0.75,2.5", b",,2.5", Reason.BAD_NUMBER, 2, "MultipackError", id="empty error"),
        pytest.param(b",2.5,", b",,", Reason.BAD_NUMBER, 2, "Contacts", id="empty frequency"),
        pytest.param(b",2,3e2", b",,3e2", Reason.BAD_NUMBER, 3, "TV", id="empty reach"),
        pytest.param(b"1,9,1", b",9,1", Reason.BAD_NUMBER, 4, "Price", id="empty control"),
        pytest.param(b",0.75,", b",-0.75,", Reason.NEGATIVE_NUMBER, 2, "MultipackError", id="negative error"),
        pytest.param(b",2.5,", b",-2.5,", Reason.NEGATIVE_NUMBER, 2, "Contacts", id="negative frequency"),
        pytest.param(b",2,3e2", b",-2,3e2", Reason.NEGATIVE_SPEND, 3, "TV", id="negative reach"),
        pytest.param(b"-40.5", b"nan", Reason.NOT_FINITE, 3, "Awareness", id="nan for not observed"),
        pytest.param(b"-40.5", b"NA", Reason.BAD_NUMBER, 3, "Awareness", id="NA for not observed"),
        pytest.param(b"-40.5", b" ", Reason.BAD_NUMBER, 3, "Awareness", id="a space for not observed"),
        pytest.param(b"-40.5", b"1e999", Reason.NOT_FINITE, 3, "Awareness", id="overflowing mediator"),
        pytest.param(b",Awareness\n", b",Aware\n", Reason.MISSING_COLUMN, 1, "Awareness", id="mediator missing"),
        pytest.param(b",Contacts,", b",Reached,", Reason.MISSING_COLUMN, 1, "Contacts", id="frequency missing"),
    ],
)
def test_attack_on_a_further_column_is_named(old: bytes, new: bytes, reason: Reason, line: int, where: str) -> None:
    assert RICH_WIDE.count(old) == 1
    error = refusal(RICH_WIDE.replace(old, new), wide_spec(**RICH))
    assert (reason, line, where) in [(fault.reason, fault.line, fault.column) for fault in error.faults]


@pytest.mark.parametrize(
    ("lines", "reason", "line", "where"),
    [
        pytest.param(
            [*rich_lines(), "2020-01-06,NYC,,,,,Awareness,5"], Reason.DUPLICATED_CELL, 53, "VariableName",
            id="a value after an empty cell",
        ),
        pytest.param(
            [*rich_lines(), "2020-01-06,LA,,,,,Awareness,"], Reason.DUPLICATED_CELL, 53, "VariableName",
            id="an empty cell after a value",
        ),
        pytest.param(
            [*rich_lines(), "2020-01-08,LA,,,,,Awareness,"], Reason.IRREGULAR_FREQUENCY, 53, "Period",
            id="an empty cell on an odd day",
        ),
        pytest.param(
            [*rich_lines(), "2020-01-27,LA,,,,,Awareness,3"], Reason.MISSING_PERIOD, 0, "Period",
            id="a survey in a week of nothing else",
        ),
        pytest.param(
            [x for x in rich_lines() if ",NYC,,,,,Awareness" in x or ",LA," in x], Reason.MISSING_LOCATION, 0,
            "Geography", id="a place of surveys alone",
        ),
        pytest.param(
            [x for x in rich_lines() if ",Awareness," not in x], Reason.MISSING_CELL, 0, "Awareness",
            id="a mediator with no row",
        ),
        pytest.param(
            [re.sub("(Awareness,).*", r"\1", x) for x in rich_lines()], Reason.MISSING_CELL, 0, "Awareness",
            id="a mediator of empty cells alone",
        ),
        pytest.param(
            [x for x in rich_lines() if not x.startswith("2020-01-13,LA,,,,,Contacts")], Reason.MISSING_CELL, 0,
            "Contacts", id="frequency missing once",
        ),
        pytest.param(
            [re.sub("(2020-01-13,LA,,,,,SalesError,).*", r"\1-1", x) for x in rich_lines()], Reason.NEGATIVE_NUMBER,
            33, "VariableValue", id="negative error",
        ),
        pytest.param(
            [re.sub("(2020-01-13,LA,,,,,SalesError,).*", r"\1", x) for x in rich_lines()], Reason.BAD_NUMBER,
            33, "VariableValue", id="empty error",
        ),
    ],
)  # fmt: skip
def test_attack_on_a_further_variable_is_named(lines: list[str], reason: Reason, line: int, where: str) -> None:
    error = refusal(mff_file(lines), mff_spec(**RICH))
    assert (reason, line, where) in [(fault.reason, fault.line, fault.column) for fault in error.faults]


def test_a_wide_mediator_of_empty_cells_alone_is_refused() -> None:
    raw = re.sub(rb",[^,\n]*\n", b",\n", RICH_WIDE).replace(b"Contacts,\n", b"Contacts,Awareness\n", 1)
    (fault,) = refusal(raw, wide_spec(**RICH)).faults
    assert (fault.line, fault.column, fault.reason) == (0, "Awareness", Reason.MISSING_CELL)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(at=st.integers(0, len(RICH_WIDE) - 1), byte=st.integers(0, 255))
def test_no_damaged_byte_makes_a_number_that_is_none(at: int, byte: int) -> None:
    """Whatever is read, what must be there is a finite number; of a mediator a finite number, or nothing."""
    raw = RICH_WIDE[:at] + bytes([byte]) + RICH_WIDE[at + 1 :]
    try:
        found = ingest.read(raw, wide_spec(**RICH)).table
    except EngineError:
        return
    for name in found.schema.names[2:]:
        values = found.column(name).to_pylist()
        assert all(math.isfinite(value) for value in values if value is not None)
        assert name.startswith("mediator.") or None not in values


def retail_spec() -> DataSpec:
    return wide_spec(
        max_bytes=1_000_000,
        period="wk_strt_dt",
        kpi=column("sales", "sales"),
        media=(channel("tv", "mdsp_vidtr"), channel("search", "mdsp_sem")),
        controls=(control("gas", "me_gas_dpg"),),
        ignored=("*",),
    )


def test_the_retail_file_is_read_to_the_last_digit() -> None:
    raw = (ROOT / "data" / "retail_case_study_209w.csv").read_bytes()
    found = ingest.read(raw, retail_spec())
    rows = list(csv.DictReader(io.StringIO(raw.decode())))
    assert found.table.column("kpi").to_pylist() == [float(row["sales"]) for row in rows]
    assert found.table.column("media.search").to_pylist() == [float(row["mdsp_sem"]) for row in rows]
    assert found.table.num_rows == 209
    assert found.rejections.num_rows == 80 - 5


def test_the_geo_file_fills_91_weeks_of_8_places() -> None:
    raw = (ROOT / "data" / "mmmfw_geo_mff.csv").read_bytes()
    places = ("NYC", "LA", "Chicago", "Dallas", "Houston", "Atlanta", "Phoenix", "Seattle")
    data = mff_spec(
        max_bytes=1_000_000,
        locations=places,
        ignored=("Social", "Display"),
        controls=(control("price", "Price"),),
    )
    found = ingest.read(raw, data)
    assert found.table.num_rows == 91 * 8
    assert found.rejections.num_rows == 91 * 8 * 2


PROBE = """
import hashlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
from engine import ingest, spec_data, table
data = spec_data.DataSpec.model_validate_json(sys.argv[2])
found = ingest.read(pathlib.Path(sys.argv[1], "data", "retail_case_study_209w.csv").read_bytes(), data)
for part in found:
    for raw in (table.parquet_bytes(part), table.ipc_bytes(part)):
        print(hashlib.sha256(raw).hexdigest())
"""


def test_timezone_locale_and_hash_seed_change_no_byte() -> None:
    digests = set()
    for changes in (
        {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"},
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR", "PYTHONHASHSEED": "4242"},
    ):
        command = [sys.executable, "-c", PROBE, str(ROOT), retail_spec().model_dump_json()]
        run = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1
    assert len(digests.pop().split()) == 4


def test_shipped_data_is_what_its_readme_says() -> None:
    listed = re.findall(r"^    ([0-9a-f]{64})  (\S+)$", (ROOT / "data" / "README.md").read_text(), re.MULTILINE)
    assert len(listed) == 3
    for digest, name in listed:
        assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == digest
