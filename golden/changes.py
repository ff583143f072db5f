"""golden/CHANGES.md: why expected bytes changed. Every entry ends with the digests before and after.

An entry is a heading, the reason, and one line `- CASE: BEFORE -> AFTER` a changed case, where a digest is the dirHash
(audit/digest.py) of the case's expected/ folder and BEFORE is `none` for a new case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from golden.case import HERE

FILE = HERE / "CHANGES.md"
NONE = "none"
_LINE = re.compile(r"^- ([a-z]+): (none|[0-9a-f]{64}) -> ([0-9a-f]{64})$", re.MULTILINE)


class Change(NamedTuple):
    """One case's expected bytes, before and after."""

    case: str
    before: str
    after: str


def append(reason: str, changes: Sequence[Change], file: Path = FILE) -> None:
    """`file` ends with an entry for `changes`. Preconditions: a reason of one line or more, at least one change."""
    number = file.read_text("utf-8").count("\n## ") + 1
    lines = "".join(f"- {change.case}: {change.before} -> {change.after}\n" for change in changes)
    with file.open("a", encoding="utf-8") as text:
        text.write(f"\n## {number}\n{reason.strip()}\n\n{lines}")


def recorded(file: Path = FILE) -> tuple[Change, ...]:
    """Every change that `file` records, the oldest first."""
    return tuple(Change(*found) for found in _LINE.findall(file.read_text("utf-8")))
