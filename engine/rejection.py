"""Why a row, a column or a whole file of input is not in the table: one typed record a case.

Glossary
--------
declared rejection   something the specification says is known and not used: counted, listed, not an error
fault                something wrong with the input: one is enough and no table is made
line                 physical line of the file, from 1; 0 speaks of the file as a whole
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Closed list of reasons; the first three are declared rejections, the others faults."""

    IGNORED_COLUMN = "ignored_column"
    IGNORED_VARIABLE = "ignored_variable"
    UNDECLARED_LOCATION = "undeclared_location"

    FILE_TOO_LARGE = "file_too_large"
    EMPTY_FILE = "empty_file"
    NOT_UTF8 = "not_utf8"
    NUL_BYTE = "nul_byte"
    MALFORMED_CSV = "malformed_csv"
    HEADER_ONLY = "header_only"
    RAGGED_ROW = "ragged_row"
    DUPLICATED_COLUMN = "duplicated_column"
    UNKNOWN_COLUMN = "unknown_column"
    MISSING_COLUMN = "missing_column"
    UNKNOWN_VARIABLE = "unknown_variable"
    MISSING_LOCATION = "missing_location"
    BAD_DATE = "bad_date"
    BAD_NUMBER = "bad_number"
    NOT_FINITE = "not_finite"
    NEGATIVE_SPEND = "negative_spend"
    NEGATIVE_NUMBER = "negative_number"
    DUPLICATED_PERIOD = "duplicated_period"
    DUPLICATED_CELL = "duplicated_cell"
    MISSING_PERIOD = "missing_period"
    MISSING_CELL = "missing_cell"
    IRREGULAR_FREQUENCY = "irregular_frequency"


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    """One thing not used: where it stands, why, what was expected there and what was found."""

    line: int
    column: str
    reason: Reason
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "file"
        column = f", column {shown(self.column)}" if self.column else ""
        return f"{where}{column}: {self.reason.value}: expected {self.expected}, found {self.found}"


def shown(text: str, limit: int = 60) -> str:
    """`text` quoted, control characters escaped, cut to `limit` characters: safe in one line of a message."""
    quoted = ascii(text) if not text.isprintable() else repr(text)
    return quoted if len(quoted) <= limit else quoted[: limit - 3] + "..."
