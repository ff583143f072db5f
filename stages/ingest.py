"""ingest: the client's table, checked cell by cell, in one normalised form with units.

Reads the data file the specification names; writes ingest/table.parquet and ingest/rejections.parquet.
"""

from __future__ import annotations

from pathlib import Path

from audit.errors import Unavailable
from engine import ingest
from engine.errors import IngestError, TableError
from engine.spec import parse_spec
from engine.spec_data import DataSpec
from engine.table import write_parquet
from stages.stage import Context, Stage


def _run(context: Context, out: Path) -> None:
    data = parse_spec(context.declared()).data.of_table
    try:
        result = ingest.read(_read(context.root, data), data)
    except IngestError as error:
        raise TableError(f"{data.path}: {error}") from error
    write_parquet(result.table, out / "table.parquet")
    write_parquet(result.rejections, out / "rejections.parquet")


def _read(root: Path, data: DataSpec) -> bytes:
    """The file's bytes, at most one more than declared, so that an oversized file is refused unread."""
    try:
        with (root / data.path).open("rb") as file:
            return file.read(data.max_bytes + 1)
    except OSError as error:
        raise Unavailable(f"cannot read the data: {error.strerror}", root / data.path) from error


def _inputs(context: Context) -> tuple[str, ...]:
    return (parse_spec(context.declared()).data.path,)


STAGE = Stage("ingest", reads=(), run=_run, inputs=_inputs)
