"""A line of the table that `make bench` prints."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What was measured, the figure with its unit, and what the figure rests on."""

    what: str
    value: str
    note: str
