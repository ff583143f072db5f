"""Bytes of a CSV file to rows of text that know their physical line. RFC 4180, UTF-8, comma, nothing guessed.

A quoted cell may hold line ends; its row stands on the line where it begins. A leading byte order mark is
dropped.
"""

from __future__ import annotations

import csv
import io
import re
from typing import NamedTuple

from engine.errors import IngestError
from engine.rejection import Reason, Rejection

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Row(NamedTuple):
    """One record: the physical line it begins on (from 1) and its cells as written."""

    line: int
    cells: tuple[str, ...]


class Sheet(NamedTuple):
    """A header and at least one row; every row has as many cells as the header."""

    header: Row
    rows: tuple[Row, ...]


def parse(raw: bytes) -> Sheet:
    """The rows of `raw`.

    Raises IngestError: empty file, bytes that are not UTF-8 (line and byte offset named), NUL bytes,
    quotes that do not close or stand wrongly, a header without rows, rows whose length differs from the
    header's (blank lines included).
    """
    records = _records(_text(raw))
    if not records:
        raise IngestError((Rejection(0, "", Reason.EMPTY_FILE, "a header and rows", "an empty file"),))
    header, rows = records[0], records[1:]
    if not rows:
        raise IngestError((Rejection(0, "", Reason.HEADER_ONLY, "rows after the header", "none"),))
    width = len(header.cells)
    ragged = tuple(
        Rejection(
            row.line,
            "",
            Reason.RAGGED_ROW,
            f"{width} cells",
            f"{len(row.cells)} cells" if row.cells else "a blank line",
        )
        for row in rows
        if len(row.cells) != width
    )
    if ragged:
        raise IngestError(ragged)
    return Sheet(header, tuple(rows))


def _text(raw: bytes) -> str:
    nul = raw.find(b"\0")
    try:
        text = raw.removeprefix(_BOM).decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        offset = error.start + (len(_BOM) if raw.startswith(_BOM) else 0)
        found = f"byte 0x{raw[offset]:02x} at offset {offset}"
        fault = Rejection(_line_at(raw, offset), "", Reason.NOT_UTF8, "UTF-8 throughout", found)
        raise IngestError((fault,)) from error
    if nul >= 0:
        found = f"a NUL byte at offset {nul}"
        raise IngestError((Rejection(_line_at(raw, nul), "", Reason.NUL_BYTE, "text", found),))
    return text


def _records(text: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[Row] = []
    line = 1
    try:
        for cells in reader:
            records.append(Row(line, tuple(cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        fault = Rejection(line, "", Reason.MALFORMED_CSV, "RFC 4180 quoting", f"{error}, in the row that begins here")
        raise IngestError((fault,)) from error
    return records


def _line_at(raw: bytes, offset: int) -> int:
    return len(_LINE_END.findall(raw[:offset])) + 1
