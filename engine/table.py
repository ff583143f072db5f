"""The normalised table, its arrays, and the one way tables become bytes.

The table has one row per (period, location), sorted by period, then location (code points): `period`
date32, `location` string, `kpi`, `media.<name>` and `control.<name>` float64, nothing nullable; each
field's metadata holds the `unit` and the original `column`. Every Parquet artifact of every stage is
written here: any table of flat columns (bool, integers, floats, strings, dates) is accepted, its row and
column order being the caller's.

Bytes depend on the table's content, its schema and the pinned pyarrow alone: columns are rebuilt from
their values, so that chunks, slices, what lies under nulls and NaN payloads leave no trace; -0.0 and
nulls are kept.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import TableError, TableUnavailableError
from engine.spec_data import DataSpec, series_names

MAX_ROWS = 10_000_000  # what read_parquet accepts unless told otherwise: about 200 times the largest artifact
MAX_BYTES = 2**30  # of the file, and again of the decoded table

ROWS_PER_GROUP = 65_536
ROWS_PER_PAGE = 16_384
PAGE_BYTES = 2**20
ZSTD_LEVEL = 6

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_FLAT = frozenset((pa.bool_(), pa.string(), pa.date32(), pa.float32(), pa.float64(), *_INTEGERS))


class Panel(NamedTuple):
    """The table as arrays: time is the first axis, locations by code point, columns in the spec's order."""

    periods: tuple[date, ...]  # (T,)
    locations: tuple[str, ...]  # (L,)
    outcomes: tuple[str, ...]  # (O,)
    kpi: npt.NDArray[np.float64]  # (T, S) S = L * O, an outcome of a location each, location-major
    error: npt.NDArray[np.float64]  # (T, S), or (T, 0) where none is given
    media: npt.NDArray[np.float64]  # (T, L, M)
    frequency: npt.NDArray[np.float64]  # (T, L, M), 1 where a channel has none; (T, L, 0) where no channel has one
    controls: npt.NDArray[np.float64]  # (T, L, C)
    mediators: npt.NDArray[np.float64]  # (T, L, N) NaN where nothing was observed

    @property
    def series(self) -> tuple[str, ...]:
        """A name for each column of `kpi`."""
        return series_names(self.locations, self.outcomes)


def schema_of(data: DataSpec) -> pa.Schema:
    """The normalised table's schema, from the specification alone."""
    geography = "Geography" if data.layout == "mff" else ""
    fields = [_field("period", pa.date32(), "day", data.period), _field("location", pa.string(), "name", geography)]
    fields += [_measure(variable) for variable in variables(data)]
    return pa.schema(fields)


class Variable(NamedTuple):
    """A column of the normalised table: its name here, its column in the client's table, its unit."""

    name: str
    column: str
    unit: str
    sparse: bool = False  # cells may be empty


def variables(data: DataSpec) -> tuple[Variable, ...]:
    """Every measured column that `data` declares, in the normalised table's order."""
    named = [("kpi", data.kpi)]
    named += [(f"outcome.{column.name}", column) for column in data.further]
    named += [(f"error.{column.name}", column) for column in data.errors]
    named += [(f"media.{column.name}", column) for column in data.media]
    named += [(f"control.{column.name}", column) for column in data.controls]
    found = [Variable(name, column.column, column.unit) for name, column in named]
    for channel in data.media:
        if channel.frequency is not None:
            found.append(Variable(f"frequency.{channel.name}", channel.frequency, "exposures"))
    found += [Variable(f"mediator.{c.name}", c.column, c.unit, sparse=True) for c in data.mediators]
    return tuple(found)


def to_panel(table: pa.Table, data: DataSpec) -> Panel:
    """The arrays of a normalised `table`: the same numbers, no arithmetic.

    Raises TableError when the schema is not the spec's, or the rows are not the full sorted grid.
    """
    expected = schema_of(data)
    if not table.schema.equals(expected, check_metadata=True):
        raise TableError(f"normalised table: schema: expected {_names(expected)}, found {_names(table.schema)}")
    _refuse_nulls(table)
    stamps = table.column("period").to_pylist()
    places = table.column("location").to_pylist()
    periods, locations = tuple(sorted(set(stamps))), tuple(sorted(set(places)))
    grid = [(period, location) for period in periods for location in locations]
    if list(zip(stamps, places, strict=True)) != grid or not grid:
        raise TableError(
            f"normalised table: rows: expected {len(periods)} periods x {len(locations)} locations, "
            f"each once and in order, found {len(stamps)} rows that are not"
        )
    T, L = len(periods), len(locations)

    def block(names: Sequence[str]) -> npt.NDArray[np.float64]:
        return _stacked(table, names).reshape(T, L, len(names))

    return Panel(
        periods=periods,
        locations=locations,
        outcomes=tuple(column.name for column in data.outcomes),
        kpi=block(["kpi", *(f"outcome.{column.name}" for column in data.further)]).reshape(T, -1),
        error=block([f"error.{column.name}" for column in data.errors]).reshape(T, -1),
        media=block([f"media.{column.name}" for column in data.media]),
        frequency=_frequencies(data, block),
        controls=block([f"control.{column.name}" for column in data.controls]),
        mediators=block([f"mediator.{column.name}" for column in data.mediators]),
    )


def _frequencies(data: DataSpec, block: Callable[[Sequence[str]], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    given = [channel.name for channel in data.media if channel.frequency is not None]
    found = block([f"frequency.{name}" for name in given])
    if not given:
        return found
    out = np.ones((*found.shape[:2], len(data.media)))
    for m, channel in enumerate(data.media):
        if channel.name in given:
            out[:, :, m] = found[:, :, given.index(channel.name)]
    return out


def ipc_bytes(table: pa.Table) -> bytes:
    """The Arrow IPC stream of `table` as one uncompressed batch: the bytes of its logical digest.

    Equal for equal content and schema (metadata included), whatever the chunks or slices, and across pyarrow
    versions where Parquet is not. Raises TableError as parquet_bytes does.
    """
    batch = _canonical(table)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=None, use_threads=False, metadata_version=pa.ipc.MetadataVersion.V5)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as Parquet bytes, every writer setting pinned, pages checksummed, pandas metadata absent.

    Raises TableError for a column that is not flat, or holds nulls where the schema says it cannot.
    """
    batch = _canonical(table)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        batch.schema,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=False,
        use_byte_stream_split=False,
        column_encoding="PLAIN",
        write_statistics=False,
        store_schema=True,
        write_page_index=False,
        write_page_checksum=True,
        use_content_defined_chunking=False,
        data_page_size=PAGE_BYTES,
        max_rows_per_page=ROWS_PER_PAGE,
        write_batch_size=1024,
    ) as writer:
        writer.write_table(pa.Table.from_batches([batch]), row_group_size=ROWS_PER_GROUP)
    return bytes(sink.getvalue())


def write_parquet(table: pa.Table, path: Path) -> None:
    """`path` holds exactly `parquet_bytes(table)`, durably; before that moment it holds what it held.

    The folder must exist. Raises TableError as parquet_bytes does, and OSError for what the disk refuses.
    """
    raw = parquet_bytes(table)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_parquet(
    path: Path, schema: pa.Schema | None = None, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
) -> pa.Table:
    """The table in the file `path`, read once; see `parse_parquet`.

    Raises TableUnavailableError when the file cannot be opened or read, TableError for its content.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise TableUnavailableError(f"{path.name}: expected a readable file, found {error.strerror}") from error
    try:
        return parse_parquet(raw, schema, max_rows=max_rows, max_bytes=max_bytes)
    except TableError as error:
        raise TableError(f"{path.name}: {error}") from error


def parse_parquet(
    raw: bytes, schema: pa.Schema | None = None, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
) -> pa.Table:
    """The table in Parquet bytes `raw`: flat columns only, validated, of exactly `schema` (metadata too)
    if given.

    Raises TableError: over a cap (declared sizes are checked before anything is decoded, the decoded size
    after), not Parquet, a page whose checksum is wrong, another schema, nulls where none may be.
    """
    if len(raw) > max_bytes:
        raise TableError(f"size: expected at most {max_bytes} bytes, found more")
    try:
        file = pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)
        _within(file.metadata, max_rows, max_bytes)
        table = file.read(use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(f"content: expected a sound Parquet file, found: {str(error).splitlines()[0]}") from error
    if table.num_rows != file.metadata.num_rows or table.nbytes > max_bytes:
        raise TableError(
            f"content: expected {file.metadata.num_rows} rows in at most {max_bytes} bytes, "
            f"found {table.num_rows} rows in {table.nbytes} bytes"
        )
    if schema is not None and not table.schema.equals(schema, check_metadata=True):
        raise TableError(f"schema: expected {_names(schema)}, found {_names(table.schema)}")
    _refuse_other_types(table.schema)
    _refuse_nulls(table)
    return table


def _within(metadata: Any, max_rows: int, max_bytes: int) -> None:
    if metadata.num_rows > max_rows:
        raise TableError(f"rows: expected at most {max_rows}, found {metadata.num_rows}")
    # A damaged column entry aborts the process when pyarrow 26 is asked for it, so only row groups are asked.
    declared = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if declared > max_bytes:
        raise TableError(f"decoded size: expected at most {max_bytes} bytes, found {declared}")


def _canonical(table: pa.Table) -> pa.RecordBatch:
    _refuse_other_types(table.schema)
    _refuse_nulls(table)
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise TableError(f"content: expected a valid Arrow table, found: {error}") from error
    columns = [_rebuilt(column) for column in table.columns]
    fields = [field.with_metadata(_ordered(field.metadata)) for field in table.schema]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, _ordered(table.schema.metadata)))


def _ordered(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Metadata whose bytes are equal whenever Arrow calls it equal: in key order, None when empty."""
    return dict(sorted(metadata.items())) if metadata else None


def _rebuilt(column: pa.ChunkedArray) -> pa.Array:
    if column.type == pa.date32():
        return pa.array(column.cast(pa.int32()).to_pylist(), type=pa.int32()).cast(pa.date32())
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        values = [math.nan if value is not None and math.isnan(value) else value for value in values]
    return pa.array(values, type=column.type)


def _refuse_other_types(schema: pa.Schema) -> None:
    for field in schema:
        if field.type not in _FLAT:
            raise TableError(
                f"column {field.name}: expected bool, integer, float, string or date32, found {field.type}"
            )
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        raise TableError(f"columns: expected distinct names, found twice: {', '.join(doubled)}")


def _refuse_nulls(table: pa.Table) -> None:
    for field, column in zip(table.schema, table.columns, strict=True):
        if not field.nullable and column.null_count:
            raise TableError(f"column {field.name}: expected no nulls, found {column.null_count}")


def _field(name: str, kind: pa.DataType, unit: str, column: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"unit": unit, "column": column})


def _measure(variable: Variable) -> pa.Field:
    field = _field(variable.name, pa.float64(), variable.unit, variable.column)
    return field.with_nullable(True) if variable.sparse else field


def _stacked(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """(T * L, number of names); NaN where nothing was observed."""
    columns = [[math.nan if value is None else value for value in table.column(name).to_pylist()] for name in names]
    return np.array(columns, dtype=np.float64).reshape(len(names), -1).T if names else np.zeros((table.num_rows, 0))


def _names(schema: pa.Schema) -> str:
    fields = [f"{field.name}: {field.type}{'' if field.nullable else ' not null'} {field.metadata}" for field in schema]
    return f"[{', '.join(fields)}] {schema.metadata}"
