"""Laws and attacks: one table, one byte string; damaged bytes are refused, never guessed."""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import table
from engine.errors import TableError, TableUnavailableError
from engine.spec_data import Column, ControlColumn, DataSpec, MediaColumn

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False, metadata={"unit": "name", "column": "Name"}),
        pa.field("number", pa.float64()),
        pa.field("small", pa.float32()),
        pa.field("count", pa.int32()),
        pa.field("big", pa.uint64(), nullable=False),
        pa.field("yes", pa.bool_()),
        pa.field("day", pa.date32()),
    ],
    metadata={"what": "a test"},
)

ROW = st.tuples(
    st.text(max_size=8),
    st.none() | st.floats(),
    st.none() | st.floats(width=32),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**64 - 1),
    st.none() | st.booleans(),
    st.none() | st.dates(),
)


def made(rows: list[tuple[Any, ...]], schema: pa.Schema = SCHEMA) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


SAMPLE = made(
    [
        ("a", 1.5, 0.5, 7, 1, True, date(2020, 1, 6)),
        ("", math.nan, None, -7, 2**64 - 1, None, date(1, 1, 1)),
        ("é", -0.0, -math.inf, None, 0, False, None),
    ]
)


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equal in schema, metadata and every value, NaN included and -0.0 apart from 0.0."""
    return table.ipc_bytes(left) == table.ipc_bytes(right)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(ROW, max_size=12))
def test_parquet_gives_back_what_was_written(rows: list[tuple[Any, ...]]) -> None:
    written = made(rows)
    raw = table.parquet_bytes(written)
    found = table.parse_parquet(raw, SCHEMA)
    assert same(found, written)
    assert table.parquet_bytes(found) == raw


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(ROW, min_size=2, max_size=12), st.data())
def test_chunks_and_slices_leave_no_trace(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    whole = made(rows)
    cut = data.draw(st.integers(0, len(rows)))
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    sliced = made([rows[0], *rows, rows[0]]).slice(1, len(rows))
    for other in (chunked, sliced):
        assert table.parquet_bytes(other) == table.parquet_bytes(whole)
        assert table.ipc_bytes(other) == table.ipc_bytes(whole)


def test_nan_payloads_and_what_lies_under_nulls_leave_no_trace() -> None:
    def column(bits: int, under_null: float) -> pa.Table:
        (odd,) = struct.unpack("<d", struct.pack("<Q", bits))
        values = pa.py_buffer(struct.pack("<3d", 1.0, odd, under_null))
        array = pa.Array.from_buffers(pa.float64(), 3, [pa.py_buffer(b"\x03"), values])
        return pa.table({"x": array})

    left, right = column(0x7FF8000000000000, 0.0), column(0xFFF8DEADBEEF0001, 99.0)
    assert table.parquet_bytes(left) == table.parquet_bytes(right)
    assert table.ipc_bytes(left) == table.ipc_bytes(right)


def test_metadata_order_leaves_no_trace_and_metadata_itself_does() -> None:
    def with_unit(metadata: dict[str, str] | None) -> pa.Table:
        return made([(1.0,)], pa.schema([pa.field("x", pa.float64(), metadata=metadata)]))

    ordered, reordered = with_unit({"a": "1", "b": "2"}), with_unit({"b": "2", "a": "1"})
    assert table.parquet_bytes(ordered) == table.parquet_bytes(reordered)
    assert table.ipc_bytes(with_unit({})) == table.ipc_bytes(with_unit(None))
    assert table.parquet_bytes(ordered) != table.parquet_bytes(with_unit({"a": "1", "b": "3"}))


def test_one_ulp_changes_the_bytes() -> None:
    left, right = (
        made([(1.0,)], pa.schema([("x", pa.float64())])),
        made([(1.0 + 2**-52,)], pa.schema([("x", pa.float64())])),
    )
    assert table.parquet_bytes(left) != table.parquet_bytes(right)
    assert table.ipc_bytes(left) != table.ipc_bytes(right)


def test_another_reader_finds_the_pinned_settings() -> None:
    file = pq.ParquetFile(pa.BufferReader(table.parquet_bytes(SAMPLE)))
    group = file.metadata.row_group(0)
    for i in range(group.num_columns):
        found = group.column(i)
        assert found.compression == "ZSTD"
        assert not found.is_stats_set
        assert not found.has_dictionary_page
        assert set(found.encodings) <= {"PLAIN", "RLE"}
    assert b"pandas" not in (file.schema_arrow.metadata or {})
    assert file.metadata.format_version == "2.6"


def test_rows_beyond_one_group_come_back() -> None:
    count = table.ROWS_PER_GROUP + 1
    long = pa.table({"i": pa.array(range(count), pa.int64())})
    raw = table.parquet_bytes(long)
    assert pq.ParquetFile(pa.BufferReader(raw)).metadata.num_row_groups == 2
    assert table.parse_parquet(raw).equals(long)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(pa.int64()), [[1]]),
        (pa.timestamp("us"), [0]),
        (pa.large_string(), ["a"]),
        (pa.binary(), [b"a"]),
        (pa.dictionary(pa.int8(), pa.string()), ["a"]),
    ],
)
def test_columns_that_are_not_flat_are_refused(kind: pa.DataType, values: list[Any]) -> None:
    with pytest.raises(TableError, match="column x: expected bool"):
        table.parquet_bytes(pa.table({"x": pa.array(values, kind)}))


def test_nulls_where_none_may_be_are_refused_on_the_way_out() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    broken = pa.Table.from_arrays([pa.array([1, None], pa.int64())], schema=schema)
    for writer in (table.parquet_bytes, table.ipc_bytes):
        with pytest.raises(TableError, match="column x: expected no nulls, found 1"):
            writer(broken)


def test_strings_that_are_not_utf8_and_doubled_names_are_refused() -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(struct.pack("<2i", 0, 1)), pa.py_buffer(b"\xff")])
    with pytest.raises(TableError, match="valid Arrow table"):
        table.parquet_bytes(pa.table({"x": bad}))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(TableError, match="found twice: x"):
        table.parquet_bytes(twice)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    table.write_parquet(SAMPLE, path)
    before = path.read_bytes()
    assert same(table.read_parquet(path, SCHEMA), SAMPLE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        table.write_parquet(SAMPLE.slice(0, 1), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_a_partial_file_left_by_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    (tmp_path / f".t.parquet.{os.getpid()}.partial").write_bytes(b"torn")
    table.write_parquet(SAMPLE, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        table.write_parquet(SAMPLE, tmp_path / "private.parquet")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "private.parquet").stat().st_mode) == 0o600


def test_absent_and_damaged_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(TableUnavailableError, match=r"no\.parquet: expected a readable file"):
        table.read_parquet(tmp_path / "no.parquet")
    (tmp_path / "torn.parquet").write_bytes(table.parquet_bytes(SAMPLE)[:-9])
    with pytest.raises(TableError, match=r"torn\.parquet: content") as caught:
        table.read_parquet(tmp_path / "torn.parquet")
    assert not isinstance(caught.value, TableUnavailableError)


def test_no_flipped_bit_changes_a_value_silently() -> None:
    raw = table.parquet_bytes(SAMPLE)
    refused = 0
    for at in range(len(raw)):
        bad = bytearray(raw)
        bad[at] ^= 1 << (at % 8)
        try:
            found = table.parse_parquet(bytes(bad), SCHEMA, max_bytes=10**6)
        except TableError:
            refused += 1
        else:
            assert same(found, SAMPLE), at
    assert refused > len(raw) // 2


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=64))
def test_bytes_that_are_not_parquet_are_refused(raw: bytes) -> None:
    with pytest.raises(TableError):
        table.parse_parquet(raw)
    with pytest.raises(TableError):
        table.parse_parquet(b"PAR1" + raw + b"PAR1")


def test_another_schema_another_unit_or_null_is_refused() -> None:
    raw = table.parquet_bytes(SAMPLE)
    other_unit = SCHEMA.set(0, SCHEMA.field(0).with_metadata({"unit": "EUR", "column": "Name"}))
    for schema in (other_unit, SCHEMA.remove(1), SCHEMA.set(1, SCHEMA.field(1).with_nullable(False))):
        with pytest.raises(TableError, match="schema: expected"):
            table.parse_parquet(raw, schema)


def test_a_small_file_that_grows_large_is_refused_before_it_grows() -> None:
    zeros = pa.table({"x": pa.array([0.0] * 2_000_000, pa.float64())})
    raw = table.parquet_bytes(zeros)
    assert len(raw) < 100_000
    with pytest.raises(TableError, match="decoded size: expected at most 1000000 bytes, found 16"):
        table.parse_parquet(raw, max_bytes=10**6)
    with pytest.raises(TableError, match="rows: expected at most 10, found 2000000"):
        table.parse_parquet(raw, max_rows=10)
    with pytest.raises(TableError, match="size: expected at most 100 bytes"):
        table.parse_parquet(raw, max_bytes=100)


def test_nested_columns_written_by_others_are_refused() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": pa.array([[1], [2, 3]])}), sink)
    with pytest.raises(TableError, match="column x: expected bool"):
        table.parse_parquet(bytes(sink.getvalue()))


def named(name: str) -> dict[str, str]:
    return {"name": name, "column": name.upper(), "unit": "USD"}


def spec(media: int = 2, controls: int = 1) -> DataSpec:
    return DataSpec(
        path="x",
        layout="mff",
        max_bytes=1,
        period="Period",
        frequency_days=7,
        locations=("b", "a"),
        kpi=Column(**named("sales")),
        media=tuple(MediaColumn(**named(f"m{i}")) for i in range(media)),
        controls=tuple(ControlColumn(**named(f"c{i}")) for i in range(controls)),
        ignored=(),
        origin="made up",
        licence="CC0",
    )


def rich() -> DataSpec:
    """Every kind of column: two outcomes with errors, a channel by reach and frequency, two mediators."""
    media = (MediaColumn(**named("m0")), MediaColumn(**named("m1"), frequency="M1_CONTACTS"))
    more = {
        "further": (Column(**named("multipack")),),
        "errors": (Column(**named("e0")), Column(**named("e1"))),
        "mediators": (Column(**named("awareness")), Column(**named("visits"))),
    }
    return DataSpec.model_validate({**dict(spec()), "media": media, **more})


def panel_table(data: DataSpec) -> pa.Table:
    grid = [(date(2020, 1, day), place) for day in (6, 13, 20) for place in ("a", "b")]
    measures = len(table.variables(data))
    rows = [(*at, *(100.0 * i + j for j in range(measures))) for i, at in enumerate(grid)]
    return made(rows, table.schema_of(data))


def without(whole: pa.Table, name: str, rows: tuple[int, ...]) -> pa.Table:
    """`whole` with empty cells in some rows of one column."""
    at = whole.schema.get_field_index(name)
    values = [None if i in rows else value for i, value in enumerate(whole.column(name).to_pylist())]
    return whole.set_column(at, whole.schema.field(at), pa.array(values, pa.float64()))


@pytest.mark.parametrize("controls", [0, 1, 2])
def test_a_panel_holds_the_tables_numbers_at_their_place(controls: int) -> None:
    data = spec(controls=controls)
    panel = table.to_panel(panel_table(data), data)
    assert panel.periods == (date(2020, 1, 6), date(2020, 1, 13), date(2020, 1, 20))
    assert panel.locations == ("a", "b")
    assert panel.kpi.tolist() == [[0.0, 100.0], [200.0, 300.0], [400.0, 500.0]]
    assert panel.media.shape == (3, 2, 2)
    assert panel.media[1, 1].tolist() == [301.0, 302.0]
    assert panel.controls.shape == (3, 2, controls)
    assert panel.controls[2, 0].tolist() == [403.0 + i for i in range(controls)]
    assert {panel.kpi.dtype, panel.media.dtype, panel.controls.dtype} == {np.dtype(np.float64)}
    assert panel.outcomes == ("sales",)
    assert panel.series == ("a", "b")
    assert (panel.error.shape, panel.frequency.shape, panel.mediators.shape) == ((3, 0), (3, 2, 0), (3, 2, 0))


# sales, multipack, e0, e1, m0, m1, c0, contacts of m1, awareness, visits: row r (period, place) holds 100 r + 0, 1, ...


def test_a_panel_holds_outcomes_errors_frequencies_and_mediators_at_their_place() -> None:
    data = rich()
    panel = table.to_panel(panel_table(data), data)
    assert panel.outcomes == ("sales", "multipack")
    assert panel.series == ("a/sales", "a/multipack", "b/sales", "b/multipack")
    assert panel.kpi.tolist() == [[0.0, 1.0, 100.0, 101.0], [200.0, 201.0, 300.0, 301.0], [400.0, 401.0, 500.0, 501.0]]
    assert panel.error.tolist() == (panel.kpi + 2.0).tolist()
    assert panel.media[1].tolist() == [[204.0, 205.0], [304.0, 305.0]]
    assert panel.frequency[1].tolist() == [[1.0, 207.0], [1.0, 307.0]]  # 1 of the channel that has none
    assert panel.mediators[2].tolist() == [[408.0, 409.0], [508.0, 509.0]]


def test_nothing_observed_of_a_mediator_is_nan_there_and_nowhere_else() -> None:
    data = rich()
    panel = table.to_panel(without(panel_table(data), "mediator.visits", (0, 3)), data)
    assert np.argwhere(np.isnan(panel.mediators)).tolist() == [[0, 0, 1], [1, 1, 1]]
    for name in ("kpi", "error", "media", "frequency", "controls"):
        assert np.all(np.isfinite(getattr(panel, name))), name


DENSE = table.schema_of(rich()).names[2:-2]


@pytest.mark.parametrize("name", DENSE)
def test_an_empty_cell_of_any_other_column_is_refused(name: str) -> None:
    data = rich()
    with pytest.raises(TableError, match=rf"column {re.escape(name)}: expected no nulls, found 1"):
        table.to_panel(without(panel_table(data), name, (2,)), data)


def test_empty_cells_come_back_from_parquet_empty() -> None:
    data = rich()
    gappy = without(panel_table(data), "mediator.awareness", (1, 2, 5))
    found = table.parse_parquet(table.parquet_bytes(gappy), table.schema_of(data))
    assert found.column("mediator.awareness").null_count == 3
    assert table.to_panel(found, data).mediators.tobytes() == table.to_panel(gappy, data).mediators.tobytes()


def test_a_panel_is_made_of_a_full_sorted_grid_only() -> None:
    data = spec()
    whole = panel_table(data)
    holes = [
        whole.slice(1),
        whole.slice(0, 0),
        whole.take([1, 0, 2, 3, 4, 5]),
        whole.take([0, 0, 2, 3, 4, 5]),
    ]
    for broken in holes:
        with pytest.raises(TableError, match="normalised table: rows"):
            table.to_panel(broken, data)
    with pytest.raises(TableError, match="normalised table: schema"):
        table.to_panel(whole, spec(media=1))


def test_the_schema_names_units_and_original_columns() -> None:
    schema = table.schema_of(spec())
    assert schema.names == ["period", "location", "kpi", "media.m0", "media.m1", "control.c0"]
    assert schema.field("media.m0").metadata == {b"unit": b"USD", b"column": b"M0"}
    assert schema.field("period").metadata == {b"unit": b"day", b"column": b"Period"}
    assert not any(field.nullable for field in schema)


def test_columns_stand_in_one_order_and_mediators_alone_may_be_empty() -> None:
    schema = table.schema_of(rich())
    assert schema.names == [
        "period", "location", "kpi", "outcome.multipack", "error.e0", "error.e1", "media.m0", "media.m1", "control.c0",
        "frequency.m1", "mediator.awareness", "mediator.visits",
    ]  # fmt: skip
    assert [field.name for field in schema if field.nullable] == ["mediator.awareness", "mediator.visits"]
    assert schema.field("frequency.m1").metadata == {b"unit": b"exposures", b"column": b"M1_CONTACTS"}
    assert schema.field("error.e1").metadata == {b"unit": b"USD", b"column": b"E1"}
