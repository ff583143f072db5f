"""What the database repeats of its entries and heads, for finding them, is exactly what those say.

Nobody signed these columns: an edited one would hide an entry, or show another. `Index` follows a verification entry
by entry and compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from audit import tiles
from audit.digest import sha256
from audit.errors import DigestMismatch, Inconsistent
from audit.kinds import registration_of
from audit.ledgerlog import LedgerLog, Registered
from audit.trustedentry import TrustedEntry

T = TypeVar("T")
_ATTACHED = frozenset({"cosignature", "timestamp"})


class Index:
    """The rows of `log` beside its entries; `visit` every entry in order, then `finish`. Inconsistent, naming it."""

    def __init__(self, log: LedgerLog) -> None:
        self._log = log
        self._facts = log.facts()
        self._registered = log.registrations()
        self._heads = (size for size, _ in log.heads())
        self._head = 0

    def visit(self, entry: TrustedEntry) -> None:
        """Returns only if the row of this entry says of it what it says, and its registration is recorded."""
        where = f"entry {entry.seq}"
        row = _next(self._facts, where)
        while self._head <= entry.seq:
            self._head = _next(self._heads, f"checkpoint over {where}")
        told = entry.require()
        for what, expected, found in (
            ("number", entry.seq, row.seq),
            ("kind", entry.record.kind, row.kind),
            ("forecast", told.about.forecast, row.forecast),
            ("core", told.core, row.core_sha256),
            ("first head", row.head, self._head),
        ):
            if expected != found:
                raise Inconsistent(f"{what} differs", where, expected, found)
        if entry.record.kind == "register":
            self._registration(entry)

    def finish(self) -> None:
        """Returns only if there is nothing in the tables beside what was visited: no row, registration or tile."""
        _none(self._facts, "entries")
        _none(self._registered, "registrations")
        size = self._log.size
        stored = self._log.tile_places()
        for level, index, _ in tiles.layout(size):
            if _next(stored, f"tile {level}/{index}") != (level, index):
                raise Inconsistent("tile deleted", f"tile {level}/{index}", "its row", "another")
        _none(stored, "tiles")
        sizes = {size for size, _ in self._log.heads()} if self._has_attachments() else set()
        for size, kind, name, data in self._log.attachments():
            where = f"attachment to the head of size {size}"
            if kind not in _ATTACHED or size not in sizes:
                raise Inconsistent("attachment to nothing", where, f"{sorted(_ATTACHED)}, a head", kind)
            if sha256(data) != name:
                raise DigestMismatch("attachment differs from its digest", where, name, sha256(data))

    def _registration(self, entry: TrustedEntry) -> None:
        where = f"registration of entry {entry.seq}"
        said = registration_of(entry.require().statement, where)
        row = next(self._registered, None)
        expected = Registered(entry.seq, said.data_sha256, said.specification_sha256, said.number)
        if row != expected:
            raise Inconsistent("row differs", where, expected, row or "no such row")

    def _has_attachments(self) -> bool:
        return next(self._log.attachments(), None) is not None


def _next(rows: Iterator[T], where: str) -> T:
    row = next(rows, None)
    if row is None:
        raise Inconsistent("row deleted", where, "its row", "none")
    return row


def _none(rows: Iterator[object], where: str) -> None:
    row = next(rows, None)
    if row is not None:
        raise Inconsistent("row of no entry", where, "none more", row)
