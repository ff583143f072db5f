"""Attacks on the ledger's database: whatever is edited, verification stops, says exit 1, and names it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import databases
import pytest
from ledger_case import KEY, Case, project, sealed_project, stages
from sqlalchemy import text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool
from sqlmodel import create_engine

from audit import merkle
from audit.canonical import decode, encode
from audit.errors import Inconsistent, Malformed, Tampered, Unavailable
from audit.home import Home
from audit.keyring import Keyring, default_origin
from audit.ledger import Ledger
from audit.ledgersqlite import SQLite
from audit.note import Checkpoint, sign_checkpoint
from audit.signing import SigningKey
from audit.verify import verify

Attack = Callable[[Connection], object]


def build(kind: str, folder: Path) -> Case:
    """A sealed project to attack: entries 0 register, 1 stage, 2 seal, 3 to 5 stages; heads 0, 1, 3, 6."""
    case, _ = sealed_project(folder, databases.new_database(kind))
    case.ledger.append(stages("more", "and more", "and still more"))
    case.ledger.attach(6, "timestamp", b"token")
    return case


def copied(case: Case, folder: Path) -> Case:
    shutil.copytree(case.root.parent, folder, symlinks=True)
    url = case.home.database and databases.copy_of(case.home.database)
    return Case(folder / "project", Home(folder / "home", url))


@pytest.fixture(scope="module", params=databases.KINDS)
def _sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return build(request.param, tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def case(_sealed: Case, tmp_path: Path) -> Case:
    """A copy of it, in each kind of database."""
    return copied(_sealed, tmp_path / "copy")


@pytest.fixture(scope="module")
def _sealed_file(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return build("sqlite", tmp_path_factory.mktemp("sealed-file"))


@pytest.fixture
def file_case(_sealed_file: Case, tmp_path: Path) -> Case:
    """A copy whose ledger is a file."""
    return copied(_sealed_file, tmp_path / "copy")


def check(case: Case) -> None:
    verify(case.home.reader(), case.home.store, case.root)


def edit(case: Case, *attacks: Attack) -> None:
    """The attacks, committed by somebody to whom no constraint applies."""
    url = case.home.database or URL.create("sqlite", database=str(case.database))
    with create_engine(url, poolclass=NullPool).begin() as connection:
        if case.home.database:
            connection.exec_driver_sql("SET session_replication_role = replica")
        for attack in attacks:
            attack(connection)


def run(*statements: str) -> Attack:
    return lambda connection: [connection.exec_driver_sql(statement) for statement in statements]


def either(sqlite: str, postgresql: str) -> Attack:
    def attack(connection: Connection) -> None:
        for statement in (sqlite if connection.dialect.name == "sqlite" else postgresql).split(";;"):
            connection.exec_driver_sql(statement)

    return attack


def flip(table: str, column: str, row: str) -> Attack:
    """One bit of one value."""

    def attack(connection: Connection) -> None:
        value = connection.exec_driver_sql(f"SELECT {column} FROM {table} WHERE {row}").scalar_one()
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[len(raw) // 2] ^= 1
        changed = raw.decode() if isinstance(value, str) else bytes(raw)
        connection.execute(text(f"UPDATE {table} SET {column} = :value WHERE {row}"), {"value": changed})

    return attack


def swap(connection: Connection) -> None:
    columns = "head, kind, forecast, core_sha256, leaf, salt, envelope"
    for old, new in ((4, -4), (5, 4), (-4, 5)):
        connection.exec_driver_sql(f"UPDATE entries SET seq = {new} WHERE seq = {old}")
    assert len(connection.exec_driver_sql(f"SELECT {columns} FROM entries").all()) == 6


ATTACKS: dict[str, tuple[Attack, str]] = {
    "a row deleted in the middle": (run("DELETE FROM entries WHERE seq = 1"), "entry 1"),
    "the last row deleted": (run("DELETE FROM entries WHERE seq = 5"), "checkpoint of size 6"),
    "the last row deleted and its head": (
        run("DELETE FROM entries WHERE seq = 5", "DELETE FROM checkpoints WHERE size = 6"),
        "entr",
    ),
    "two rows swapped": (swap, "leaf of entry 4"),
    "an envelope edited": (flip("entries", "envelope", "seq = 2"), "entry 2"),
    "a salt edited": (flip("entries", "salt", "seq = 2"), "entry 2"),
    "a salt moved into the envelope": (
        either(
            "UPDATE entries SET envelope = CAST(salt || envelope AS BLOB), salt = x'' WHERE seq = 2",
            "UPDATE entries SET envelope = salt || envelope, salt = '' WHERE seq = 2",
        ),
        "entry 2",
    ),
    "a leaf edited": (flip("entries", "leaf", "seq = 2"), "entry 2"),
    "a core's digest edited": (run("UPDATE entries SET core_sha256 = 'x' WHERE seq = 2"), "entry 2"),
    "an entry given to another forecast": (run("UPDATE entries SET forecast = 'geo' WHERE seq = 2"), "entry 2"),
    "an entry of another kind": (run("UPDATE entries SET kind = 'stage' WHERE seq = 2"), "entry 2"),
    "an entry under another head": (run("UPDATE entries SET head = 6 WHERE seq = 2"), "entry 2"),
    "a tile edited": (flip("tiles", "hashes", "level = 0 AND number = 0"), "tile 0/0"),
    "a tile shortened": (
        either(
            "UPDATE tiles SET hashes = CAST(substr(hashes, 1, 160) AS BLOB)",
            "UPDATE tiles SET hashes = substr(hashes, 1, 160)",
        ),
        "tile 0/0",
    ),
    "a tile lengthened": (
        either(
            "UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB)",
            "UPDATE tiles SET hashes = hashes || decode(repeat('00', 32), 'hex')",
        ),
        "tile 0/0",
    ),
    "a tile deleted": (run("DELETE FROM tiles"), "tile 0/0"),
    "a tile invented": (run("INSERT INTO tiles SELECT 1, 0, hashes FROM tiles"), "tiles"),
    "a checkpoint edited": (flip("checkpoints", "note", "size = 3"), "checkpoint of size 3"),
    "the last checkpoint edited": (flip("checkpoints", "note", "size = 6"), "checkpoint of size 6"),
    "a checkpoint moved to another size": (run("UPDATE checkpoints SET size = 2 WHERE size = 3"), "checkpoint of size"),
    "the last checkpoint deleted": (run("DELETE FROM checkpoints WHERE size = 6"), "entr"),
    "an old checkpoint deleted": (run("DELETE FROM checkpoints WHERE size = 3"), "entr"),
    "an old checkpoint deleted and hidden": (
        run("DELETE FROM checkpoints WHERE size = 3", "UPDATE entries SET head = 6 WHERE head = 3"),
        "receipt",
    ),
    "every checkpoint deleted": (run("DELETE FROM checkpoints"), "checkpoint"),
    "a registration deleted": (run("DELETE FROM registrations"), "registration of entry 0"),
    "a registration renumbered": (run("UPDATE registrations SET number = 2"), "registration of entry 0"),
    "a registration of other data": (run("UPDATE registrations SET data_sha256 = 'a'"), "registration of entry 0"),
    "a registration given to another entry": (run("UPDATE registrations SET seq = 1"), "registration of entry 0"),
    "a registration invented": (run("INSERT INTO registrations VALUES ('a', 'b', 1, 3)"), "registrations"),
    "an attachment edited": (flip("attachments", "data", "size = 6"), "attachment to the head of size 6"),
    "an attachment moved to another head": (run("UPDATE attachments SET size = 5"), "attachment"),
    "an attachment of another kind": (run("UPDATE attachments SET kind = 'x'"), "attachment to the head of size 6"),
    "another schema version": (run("UPDATE schema_version SET version = 3"), "schema version"),
    "two schema versions": (run("INSERT INTO schema_version VALUES (3, 'other')"), "schema version"),
    "no schema version": (run("DELETE FROM schema_version"), "schema version"),
    "another log's name": (run("UPDATE schema_version SET origin = 'other'"), "another log"),
    "a trigger": (
        either(
            "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM checkpoints; END",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM checkpoints; RETURN NULL; END'"
            ";;CREATE TRIGGER t AFTER INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()",
        ),
        "database schema",
    ),
    "a table dropped": (run("DROP TABLE registrations"), "database schema"),
    "an index dropped": (run("DROP INDEX entries_of_forecast"), "database schema"),
    "a view in a table's place": (
        run("ALTER TABLE tiles RENAME TO other", "CREATE VIEW tiles AS SELECT * FROM other"),
        "database schema",
    ),
    "a uniqueness constraint dropped": (
        either(
            "DROP TABLE checkpoints;;CREATE TABLE checkpoints (size INTEGER, note BLOB) STRICT",
            "ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_pkey CASCADE",
        ),
        "database schema",
    ),
}
# What the writer looks at before it signs; the rest it never reads, and what it signs does not rest on it.
STOPPED = {name for name, (_, named) in ATTACKS.items() if named in ("tile 0/0", "database schema", "schema version")}
STOPPED |= {
    "the last row deleted",
    "the last row deleted and its head",
    "the last checkpoint edited",
    "the last checkpoint deleted",
    "every checkpoint deleted",
    "another log's name",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_edited_database_is_detected_and_what_was_edited_is_named(case: Case, name: str) -> None:
    attack, named = ATTACKS[name]
    edit(case, attack)
    with pytest.raises(Tampered) as caught:
        check(case)
    assert caught.value.exit_code == 1
    assert named in str(caught.value)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_edit_is_ever_signed_into_the_log(case: Case, name: str) -> None:
    """The writer stops, or what it signs is of the log before the edit: the edit is found as before."""
    edit(case, ATTACKS[name][0])
    before = sizes(case)
    try:
        case.ledger.append(stages("after the attack"))
    except Tampered:
        assert name in STOPPED
        assert sizes(case) == before
    else:
        assert name not in STOPPED
    with pytest.raises(Tampered):
        check(case)


def sizes(case: Case) -> list[int]:
    """The sizes of the heads that are there, as SQL says."""
    url = case.home.database or URL.create("sqlite", database=str(case.database)).render_as_string()
    return [row[0] for row in databases.run(url, "SELECT size FROM checkpoints ORDER BY size")]  # type: ignore[misc]


def content(path: Path) -> list[object]:
    """Everything the file says: its schema and every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
        tables = [name for kind, name, _ in schema if kind == "table"]
        return [schema, *(connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in tables)]


def test_any_flipped_bit_of_the_database_is_detected_or_changed_nothing_it_says(file_case: Case) -> None:
    """Unused parts of pages say nothing; all else is found."""
    case, random_ = file_case, random.Random(7)
    whole, before = case.database.read_bytes(), content(case.database)
    header = [0, 16, 18, 19, 24, 28, 44, 96]
    detected = 0
    positions = [*header, *random_.sample(range(len(whole)), 150)]
    for position in positions:
        raw = bytearray(whole)
        raw[position] ^= 1 << random_.randrange(8)
        case.database.write_bytes(raw)
        for leftover in ("-journal", "-wal", "-shm"):
            case.database.with_name(case.database.name + leftover).unlink(missing_ok=True)
        try:
            verify(case.home.reader(), case.home.store, None)
        except Tampered:
            detected += 1
        else:
            assert content(case.database) == before
    case.database.write_bytes(whole)
    check(case)
    assert detected > 20


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 5000, -4096, -3000])
def test_a_truncated_database_is_detected(file_case: Case, size: int) -> None:
    case = file_case
    case.database.write_bytes(case.database.read_bytes()[:size])
    with pytest.raises(Tampered):
        check(case)
    with pytest.raises(Tampered):
        case.ledger.append(stages("x"))


def test_a_planted_journal_is_played_back_and_what_it_did_is_found(file_case: Case) -> None:
    """A journal that a write left behind once, put beside the file after later writes."""
    case = file_case
    journal = case.database.with_name("ledger.sqlite-journal")
    with closing(sqlite3.connect(case.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size=1")
        connection.execute("PRAGMA synchronous=OFF")  # so that the journal counts all its pages
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE entries SET envelope = zeroblob(40000), leaf = zeroblob(9000)")
        raw = journal.read_bytes()
        connection.execute("ROLLBACK")
    check(case)
    case.ledger.append(stages("later"))
    journal.write_bytes(raw)
    with pytest.raises(Tampered):
        check(case)


def emptied(case: Case) -> None:
    if case.home.database is None:
        case.database.unlink()
        return
    tables = ("registrations", "attachments", "entries", "tiles", "checkpoints", "schema_version")
    edit(case, run(*(f"DROP TABLE {name} CASCADE" for name in tables)))


def test_a_ledger_emptied_of_every_trace_contradicts_the_kept_head(case: Case) -> None:
    emptied(case)
    for attempt in (lambda: check(case), lambda: case.ledger.append(stages("a second log"))):
        with pytest.raises(Inconsistent, match="this key has signed"):
            attempt()


def test_without_its_kept_head_an_emptied_ledger_is_unavailable(case: Case) -> None:
    emptied(case)
    (case.home.root / "keys" / "ledger.head").unlink()
    with pytest.raises(Unavailable, match="no ledger here"):
        check(case)


def test_a_restored_backup_is_detected_and_signs_no_second_head(case: Case, tmp_path: Path) -> None:
    backup = copied(case, tmp_path / "backup")
    case.ledger.append(stages("after the backup"))
    restored = restore(case, backup)
    for attempt in (lambda: check(restored), lambda: restored.ledger.append(stages("instead"))):
        with pytest.raises(Inconsistent, match="older than a head already signed"):
            attempt()
    assert sizes(restored)[-1] == 6


def restore(case: Case, backup: Case) -> Case:
    """The case with the database of the backup; what lies beside the key is as it was."""
    if case.home.database is None:
        shutil.copy(backup.database, case.database)
        return case
    return Case(case.root, Home(case.home.root, backup.home.database))


def test_a_fork_grown_from_a_backup_elsewhere_is_detected(case: Case, tmp_path: Path) -> None:
    fork = copied(case, tmp_path / "fork")
    case.ledger.append(stages("one future"))
    fork.ledger.append(stages("another future"))
    swapped = restore(case, fork)
    for attempt in (lambda: check(swapped), lambda: swapped.ledger.append(stages("more"))):
        with pytest.raises(Inconsistent, match="another tree of size 7 was signed before"):
            attempt()
    fork.ledger.append(stages("and longer"))
    swapped = restore(case, fork)
    for attempt in (lambda: check(swapped), lambda: swapped.ledger.append(stages("more"))):
        with pytest.raises(Inconsistent, match="another tree of size 7 was signed before"):
            attempt()


def test_a_rollback_without_the_kept_head_is_shown_by_the_receipts_in_the_workspace(tmp_path: Path) -> None:
    case = project(tmp_path / "case")
    receipt = case.register()
    case.run()
    case.seal(receipt)
    backup = case.database.read_bytes()
    (case.root / "data/input.csv").write_text("1.5 2.5 4.5")
    shutil.rmtree(case.path("fit"))
    case.run()
    case.seal(receipt)
    case.database.write_bytes(backup)
    (case.home.root / "keys" / "ledger.head").unlink()
    with pytest.raises(Inconsistent, match="receipt"):
        check(case)


def test_a_log_signed_with_another_key_is_refused(case: Case, tmp_path: Path) -> None:
    """The attacker rewrites the log whole, under the log's name and a key of their own."""
    other = SigningKey.from_seed(b"\x07" * 32)
    forged = Keyring(tmp_path / "forged")
    forged.begin(other, default_origin(KEY.public))
    database = SQLite(tmp_path / "forged.sqlite")
    Ledger.open(database, forged, signing_key=other).append(stages("forged"))
    with pytest.raises(Tampered), Ledger.open(database, forged, case.home.trust()).trusted():
        pass


def test_an_attacker_who_recomputes_the_whole_tree_still_needs_the_key(case: Case) -> None:
    def rewrite(connection: Connection) -> None:
        rows = connection.exec_driver_sql("SELECT seq, leaf FROM entries ORDER BY seq").all()
        leaf = encode({**decode(rows[5][1]), "previousRun": "f" * 64})
        hashes = [*(merkle.leaf_hash(raw) for _, raw in rows[:5]), merkle.leaf_hash(leaf)]
        head = Checkpoint(case.home.trust().origin, 6, merkle.root(hashes))
        note = sign_checkpoint(head, SigningKey.from_seed(b"\x08" * 32))
        for statement, value in (
            ("UPDATE entries SET leaf = :value WHERE seq = 5", leaf),
            ("UPDATE tiles SET hashes = :value", b"".join(hashes)),
            ("UPDATE checkpoints SET note = :value WHERE size = 6", note),
        ):
            connection.execute(text(statement), {"value": value})

    edit(case, rewrite)
    with pytest.raises(Tampered):
        check(case)
    with pytest.raises(Tampered):
        case.ledger.append(stages("on top"))


def test_an_attacker_who_puts_back_the_tree_of_an_old_head_is_stopped(case: Case) -> None:
    """Entries, tiles and heads cut back to a state that was really signed, which the kept head contradicts."""

    def cut(connection: Connection) -> None:
        tile = connection.exec_driver_sql("SELECT hashes FROM tiles").scalar_one()
        for statement in ("entries WHERE seq >= 3", "attachments", "checkpoints WHERE size > 3"):
            connection.exec_driver_sql(f"DELETE FROM {statement}")
        connection.execute(text("UPDATE tiles SET hashes = :value"), {"value": tile[: 3 * 32]})

    edit(case, cut)
    for attempt in (lambda: check(case), lambda: case.ledger.append(stages("instead"))):
        with pytest.raises(Inconsistent, match="older than a head already signed"):
            attempt()


@pytest.mark.parametrize("raw", [b"", b"no note\n", b"noptik.local/x\n7\n"])
def test_a_kept_head_that_is_no_head_stops_everything(case: Case, raw: bytes) -> None:
    (case.home.root / "keys" / "ledger.head").write_bytes(raw)
    for attempt in (lambda: check(case), lambda: case.ledger.append(stages("x"))):
        with pytest.raises(Malformed):
            attempt()


def test_every_error_of_a_damaged_database_is_one_of_the_packages_own(file_case: Case) -> None:
    case, random_ = file_case, random.Random(11)
    whole = case.database.read_bytes()
    for round_ in range(25):
        raw = bytearray(whole)
        at = random_.randrange(len(raw) - 200)
        raw[at : at + 200] = random_.randbytes(200)
        case.database.write_bytes(raw)
        with suppress(Tampered):
            check(case)
        with suppress(Tampered):
            case.ledger.append(stages(f"after round {round_}"))
