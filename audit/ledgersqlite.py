"""The ledger in one SQLite file, the default.

One writer at a time by BEGIN IMMEDIATE; journal_mode DELETE and synchronous EXTRA: a commit is on disk, its
folder included, before it returns, and what a crash leaves half-written is undone by whoever opens it next. While
somebody reads, commits wait, BUSY_SECONDS at most: a log too large to be verified in that time needs PostgreSQL.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool
from sqlmodel import create_engine

from audit import ledgerdb
from audit.errors import AuditError, Malformed, Unavailable
from audit.ledgerdb import Database
from audit.ledgertables import Table

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
_SETTINGS = ("synchronous=EXTRA", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON")


@dataclass(frozen=True)
class SQLite(Database):
    """The SQLite file at `path`, made by the first write."""

    path: Path

    @property
    def where(self) -> str:
        """The file's path."""
        return str(self.path)

    def exists(self) -> bool:
        """Whether the file holds a byte: a crashed creation leaves none, once its journal is played back."""
        try:
            if not self.path.exists() or not self.path.stat().st_size:
                return False
            if not self.path.with_name(f"{self.path.name}-journal").exists():
                return True
        except OSError as error:
            raise Unavailable(f"cannot use the ledger: {error.strerror}", self.path) from error
        with self.reading() as connection:
            return bool(self.found_schema(connection))

    def require_schema(self, connection: Connection) -> None:
        """As for every database; and a commit is as durable as promised: Malformed in another journal mode."""
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        if mode != "delete":
            raise Malformed("journal mode", self.where, "delete", mode)
        super().require_schema(connection)

    def require_intact(self, connection: Connection) -> None:
        """Returns only if SQLite's own checks of every page, index and reference find nothing."""
        faults = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        if faults != ["ok"]:
            raise Malformed("database damaged", self.where, "integrity_check ok", "; ".join(faults))
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if dangling is not None:
            table, row, parent = dangling[:3]
            raise Malformed("database damaged", self.where, f"row in {parent}", f"none for row {row} of {table}")

    def found_schema(self, connection: Connection) -> tuple[str, ...]:
        """The SQL of everything in the file."""
        rows = connection.exec_driver_sql("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2")
        return tuple(" ".join(" ".join(row).split()) for row in rows)

    def declared_schema(self) -> tuple[str, ...]:
        """The SQL of a new ledger."""
        return _declared()

    def _engine(self, *, write: bool) -> Engine:
        return _engine(self.path, write)

    def _translated(self, error: sqlalchemy.exc.DBAPIError) -> AuditError:
        # an error without a code: a text that is not UTF-8
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _CORRUPT:
            return Malformed("database damaged", self.where, "a ledger", error.orig)
        if code == sqlite3.SQLITE_BUSY:
            return Unavailable("the ledger is busy", self.where, f"free within {ledgerdb.BUSY_SECONDS} s", "locked")
        return Unavailable(f"cannot use the ledger: {error.orig}", self.where)


@cache
def _engine(path: Path, write: bool) -> Engine:
    """An engine whose every transaction starts as it must: the driver's own would not lock at once."""

    def connect() -> sqlite3.Connection:
        place = f"file:{quote(str(path))}?mode={'rwc' if write else 'rw'}"  # reading plays a crash's journal back
        connection = sqlite3.connect(place, uri=True, timeout=ledgerdb.BUSY_SECONDS, isolation_level=None)
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@cache
def _declared() -> tuple[str, ...]:
    engine = create_engine("sqlite://", poolclass=NullPool)
    with engine.begin() as connection:
        Table.metadata.create_all(connection)
        return SQLite(Path()).found_schema(connection)
