"""A database that holds a ledger: connections in one transaction each, with this package's errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy.engine import Connection, Engine

from audit.errors import AuditError, Malformed, Unavailable, Usage
from audit.ledgertables import SCHEMA_VERSION, Table

BUSY_SECONDS = 60
MIGRATE = "python -m audit migrate"


class Database(ABC):
    """One database. It holds nothing open: each transaction has a connection of its own."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Its name in messages, without secrets."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether a ledger, of whatever schema or state, was ever begun here. Unavailable if it cannot be told."""

    @abstractmethod
    def require_intact(self, connection: Connection) -> None:
        """Returns only if the database itself finds no damage, reading all of it where it can. Malformed."""

    @abstractmethod
    def found_schema(self, connection: Connection) -> tuple[str, ...]:
        """Every table, column, constraint, index and trigger that concerns the ledger, one line each, sorted."""

    @abstractmethod
    def declared_schema(self) -> tuple[str, ...]:
        """What `found_schema` gives for the tables of this version."""

    @abstractmethod
    def _engine(self, *, write: bool) -> Engine:
        """The engine whose every transaction reads one state; with `write`, is the only one that writes."""

    @abstractmethod
    def _translated(self, error: sqlalchemy.exc.DBAPIError) -> AuditError:
        """Damage is Malformed; busy, full or unreadable is Unavailable."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout.

        Unavailable: busy for BUSY_SECONDS, unreadable, or gone. Malformed: damaged.
        """
        with self._translating(), self._engine(write=False).connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside, durable when the block is left; undone if it raises."""
        with self._translating(), self._engine(write=True).connect() as connection, connection.begin():
            yield connection

    def create(self, connection: Connection) -> None:
        """Afterwards the tables exist, empty."""
        Table.metadata.create_all(connection)

    def require_schema(self, connection: Connection) -> None:
        """Returns only if tables and version are those of this program.

        Usage: an older schema (names the command that migrates it) or a newer one. Malformed: an edited one.
        """
        found, expected = self.found_schema(connection), self.declared_schema()
        version = self.version(connection)
        if found == expected:
            if version != SCHEMA_VERSION:
                raise Malformed("schema version", self.where, SCHEMA_VERSION, version)
        elif version is not None and version < SCHEMA_VERSION:
            raise Usage(f"ledger of an older schema: run `{MIGRATE}`", self.where, SCHEMA_VERSION, version)
        elif version is not None and version > SCHEMA_VERSION:
            raise Usage("ledger of a newer schema than this program knows", self.where, SCHEMA_VERSION, version)
        else:
            raise Malformed("database schema", self.where, *_first_difference(expected, found))

    def version(self, connection: Connection) -> int | None:
        """The schema version that the ledger claims, None if it claims none."""
        if not sqlalchemy.inspect(connection).has_table("schema_version"):
            return None
        rows = connection.exec_driver_sql("SELECT version FROM schema_version").all()
        if len(rows) != 1:
            raise Malformed("schema version", self.where, "one row", f"{len(rows)} rows")
        return int(rows[0][0])

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            raise self._translated(error) from error
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise Unavailable(f"cannot use the ledger: {type(error).__name__}", self.where) from error


def _first_difference(expected: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, str]:
    missing = [line for line in expected if line not in found]
    surplus = [line for line in found if line not in expected]
    return (missing[0] if missing else "nothing more"), (surplus[0] if surplus else "nothing")
