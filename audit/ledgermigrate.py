"""From an older schema to this one, asked for explicitly: one transaction, which happens whole or not at all.

Schema 1, in SQLite only, kept with every entry its leaf hash, its envelope's digest and its receipt, the tree state in
one row, and a digest of the whole file beside it. Its entries keep their leaves, and so the tree its heads; their
envelopes have no salt. What the transaction wrote is verified whole before it is committed, every old receipt
included, byte for byte; only then are the old tables dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

from sqlalchemy import insert
from sqlalchemy.engine import Connection

from audit import ledgerdb, signing
from audit.errors import Inconsistent, Unavailable, Usage
from audit.filelock import locked
from audit.home import Home
from audit.kepthead import KeptHead
from audit.ledgerbatch import entry_row, registration_row
from audit.ledgerdb import Database
from audit.ledgerindex import Index
from audit.ledgerlog import LedgerLog
from audit.ledgertables import SCHEMA_VERSION, EntryRow, RegistrationRow, SchemaRow, TileRow
from audit.logsource import Logged
from audit.note import Checkpoint
from audit.receipt import receipt_bytes
from audit.signing import Secret, SigningKey
from audit.tiles import TreeBuilder
from audit.trust import trust
from audit.trustedentry import TrustedEntry, open_entry
from audit.trustroot import TrustRoot

OLD_TABLES = ("registrations", "entries", "tree", "checkpoints", "schema_version")
_BESIDE = (".lock", ".sha256", ".sha256.pending")  # what schema 1 kept beside its file
_OLD = "schema_1_"


def migrate(home: Home) -> int:
    """Afterwards the ledger of `home` is of this program's schema; the version it had before.

    Its keys become the first version of a root of trust, if there was none. Interrupted at any moment, it is done by
    asking again. Unavailable: no ledger here, or busy. Usage: the schema is newer than this program. Tampered: the
    old ledger does not hold what it must; then nothing is changed.
    """
    database = home.log_database
    if not database.exists():
        raise Unavailable("no ledger here", database.where)
    found = _version(database)
    if found == 1:
        home.keyring.begin(_old_key(home))
        lock = locked(home.keyring.folder / "ledger.lock", ledgerdb.BUSY_SECONDS, "the ledger")
        with lock, database.writing() as connection:
            if database.version(connection) == 1:  # else another process was first
                kept = KeptHead(home.keyring.folder / "ledger.head").read()
                _migrate(connection, database, home.trust(), [] if kept is None else [kept])
    else:
        with database.reading() as connection:
            database.require_schema(connection)
    if home.database is None:
        for suffix in _BESIDE:
            with suppress(FileNotFoundError):
                (home.root / f"ledger.sqlite{suffix}").unlink()
    return found


def _version(database: Database) -> int:
    with database.reading() as connection:
        version = database.version(connection)
    if version is None:
        raise Usage("no ledger that this program knows", database.where, f"schema 1 to {SCHEMA_VERSION}", "none")
    return version


def _old_key(home: Home) -> SigningKey:
    """The log key of schema 1, which was never encrypted."""
    passphrase = None if home.passphrase is None else Secret(home.passphrase)
    return signing.load(home.keyring.folder / "ledger.pem", passphrase)


def _migrate(connection: Connection, database: Database, keys: TrustRoot, kept: list[bytes]) -> None:
    for table in OLD_TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {_OLD}{table}")
    database.create(connection)
    with closing(LedgerLog(connection, database.where, keys)) as log:
        origin = connection.exec_driver_sql(f"SELECT origin FROM {_OLD}schema_version").scalar_one()
        connection.execute(insert(SchemaRow), [{"version": SCHEMA_VERSION, "origin": origin}])
        connection.exec_driver_sql(f"INSERT INTO checkpoints SELECT size, note FROM {_OLD}checkpoints")
        _copy_entries(connection, keys)
        index = Index(log)
        head = trust(log, keys, visit=index.visit, kept=kept).head
        index.finish()
        _require_same(connection, log, head)
    for table in OLD_TABLES:
        connection.exec_driver_sql(f"DROP TABLE {_OLD}{table}")
    database.require_schema(connection)
    database.require_intact(connection)


def _copy_entries(connection: Connection, keys: TrustRoot) -> None:
    """Every entry under the first head that covers it, its registration, and the tiles of all of them."""

    def emit(level: int, index: int, hashes: bytes) -> None:
        connection.execute(insert(TileRow), [{"level": level, "number": index, "hashes": hashes}])

    tree = TreeBuilder(emit)
    heads = iter([row[0] for row in connection.exec_driver_sql("SELECT size FROM checkpoints ORDER BY size")])
    head = 0
    for entry in _old_entries(connection, keys):
        while head <= entry.seq:
            try:
                head = next(heads)
            except StopIteration:
                raise Inconsistent("signed head missing", "checkpoints", f"one over entry {entry.seq}", head) from None
        connection.execute(insert(EntryRow), [entry_row(entry, head)])
        if entry.record.kind == "register":
            connection.execute(insert(RegistrationRow), [registration_row(entry)])
        tree.add(entry.leaf_hash)
    tree.flush()


def _old_entries(connection: Connection, keys: TrustRoot) -> Iterator[TrustedEntry]:
    for seq, leaf, envelope in connection.exec_driver_sql(
        f"SELECT seq, leaf, envelope FROM {_OLD}entries ORDER BY seq"
    ):
        yield open_entry(Logged(seq, leaf, b"", envelope), keys)


def _require_same(connection: Connection, log: LedgerLog, head: Checkpoint) -> None:
    """Returns only if the old tree state was that of `head`, and every old receipt is the one made now."""
    old = connection.exec_driver_sql(f"SELECT size, root FROM {_OLD}tree").one()
    if (old[0], bytes(old[1])) != (head.size, head.root):
        raise Inconsistent("old tree state and signed head differ", log.where, head, tuple(old))
    for seq, raw in connection.exec_driver_sql(f"SELECT seq, receipt FROM {_OLD}entries ORDER BY seq"):
        if receipt_bytes(log.receipt(seq)) != bytes(raw):
            raise Inconsistent("old receipt differs", f"receipt of entry {seq}", receipt_bytes(log.receipt(seq)), raw)
