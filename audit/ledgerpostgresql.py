"""The ledger in PostgreSQL, in the first schema of the connection's search path.

Writers come one after another by an advisory lock that lives as long as their transaction; a reader sees one
snapshot throughout. A commit whose answer is lost may or may not stand: the intent beside the key decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import psycopg
import sqlalchemy
from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import NullPool
from sqlmodel import create_engine

from audit import ledgerdb
from audit.errors import AuditError, Malformed, Unavailable, Usage
from audit.ledgerdb import Database
from audit.ledgertables import Table

DRIVER = "postgresql+psycopg"
_ADVISORY = 0x6E6F7074  # "nopt": our half of the lock's number; the schema's id is the other
# What is wrong with the data or the tables, not with the weather (PostgreSQL's manual, appendix A)
_DAMAGE_CLASSES = ("22", "23", "42", "XX")
_CATALOG = """
WITH ours AS (SELECT oid, relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%(tables)s))
SELECT 'relation ' || relname || ' ' || relkind::text FROM pg_class JOIN ours USING (oid, relname)
UNION ALL SELECT 'column ' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
    || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END || CASE WHEN atthasdef THEN ' DEFAULT' ELSE '' END
    FROM pg_attribute JOIN ours ON oid = attrelid WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint ' || relname || ' ' || pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN ours ON ours.oid = conrelid WHERE contype <> 'n'
UNION ALL SELECT 'index ' || relname || ' ' || substring(pg_get_indexdef(indexrelid) FROM ' USING .*')
    FROM pg_index JOIN ours ON oid = indrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
UNION ALL SELECT 'trigger ' || relname || ' ' || tgname || ' ' || tgenabled::text
    FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal OR tgenabled <> 'O'
UNION ALL SELECT 'rule ' || relname || ' ' || rulename FROM pg_rewrite r JOIN ours ON ours.oid = ev_class
UNION ALL SELECT 'policy ' || relname || ' ' || polname FROM pg_policy p JOIN ours ON ours.oid = polrelid
"""


@dataclass(frozen=True)
class PostgreSQL(Database):
    """The database that `url` names, postgresql+psycopg://user@host/name; it may carry a password."""

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            driver = make_url(self.url).drivername
        except (sqlalchemy.exc.ArgumentError, ValueError):
            driver = "no URL"
        if driver != DRIVER:
            raise Usage("not a database this ledger can lie in", "", f"{DRIVER}://...", driver)

    @property
    def where(self) -> str:
        """The URL, its password and its query left out."""
        url = make_url(self.url)
        return URL.create(DRIVER, url.username, None, url.host, url.port, url.database).render_as_string()

    def exists(self) -> bool:
        """Whether any of the ledger's tables are there."""
        with self.reading() as connection:
            return bool(self.found_schema(connection))

    def require_intact(self, connection: Connection) -> None:
        """Returns only if every index and constraint of the tables is valid and enforced."""
        invalid = connection.exec_driver_sql(
            "SELECT indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = indrelid"
            " WHERE relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready)"
            " UNION ALL SELECT conname FROM pg_constraint"
            " WHERE connamespace = current_schema()::regnamespace AND NOT convalidated"
        ).first()
        if invalid is not None:
            raise Malformed("database damaged", self.where, "valid indexes and constraints", invalid[0])

    def found_schema(self, connection: Connection) -> tuple[str, ...]:
        """The catalog's view of our tables, one fact a line."""
        rows = connection.exec_driver_sql(_CATALOG, {"tables": sorted(Table.metadata.tables)})
        return tuple(sorted(str(row[0]) for row in rows))

    def declared_schema(self) -> tuple[str, ...]:
        """The same, from the declaration of the tables."""
        return _declared()

    def _engine(self, *, write: bool) -> Engine:
        return _engine(self.url, write)

    def _translated(self, error: sqlalchemy.exc.DBAPIError) -> AuditError:
        state = getattr(error.orig, "sqlstate", None) or ""
        text = str(error.orig).split("\n")[0]
        if state == psycopg.errors.LockNotAvailable.sqlstate:
            return Unavailable("the ledger is busy", self.where, f"free within {ledgerdb.BUSY_SECONDS} s", "locked")
        if state.startswith(_DAMAGE_CLASSES) and state != psycopg.errors.InsufficientPrivilege.sqlstate:
            return Malformed("database damaged", self.where, "a ledger", f"{state} {text}")
        return Unavailable(f"cannot use the ledger: {text}", self.where)


@cache
def _engine(url: str, write: bool) -> Engine:
    level = "READ COMMITTED" if write else "REPEATABLE READ"  # a writer must see what was there once it has the lock
    engine = create_engine(
        url, poolclass=NullPool, isolation_level=level, connect_args={"connect_timeout": ledgerdb.BUSY_SECONDS}
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not write:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{ledgerdb.BUSY_SECONDS * 1000:.0f}ms'")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
        connection.exec_driver_sql(
            f"SELECT pg_advisory_xact_lock({_ADVISORY}, current_schema()::regnamespace::oid::int)"
        )

    return engine


@cache
def _declared() -> tuple[str, ...]:
    """What `_CATALOG` must give, written from the tables as declared."""
    lines = []
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in Table.metadata.sorted_tables:
        lines.append(f"relation {table.name} r")
        for column in table.columns:
            null = "" if column.nullable else " NOT NULL"
            lines.append(f"column {table.name}.{column.name} {column.type.compile(dialect).lower()}{null}")
        for constraint in table.constraints:
            lines.append(f"constraint {table.name} {_constraint(constraint)}")
        for index in table.indexes:
            columns = ", ".join(column.name for column in index.columns)
            lines.append(f"index {table.name}  USING btree ({columns})")
    return tuple(sorted(lines))


def _constraint(constraint: sqlalchemy.Constraint) -> str:
    if isinstance(constraint, ForeignKeyConstraint):
        (key,) = constraint.elements
        return f"FOREIGN KEY ({constraint.columns.keys()[0]}) REFERENCES {key.column.table.name}({key.column.name})"
    assert isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)  # the only others declared
    what = "PRIMARY KEY" if isinstance(constraint, PrimaryKeyConstraint) else "UNIQUE"
    return f"{what} ({', '.join(constraint.columns.keys())})"
