"""Laws of migration: asked for, whole or not at all, and no old receipt changes by a byte."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import databases
import pytest
from ledger_case import KEY, PEM, home_at, stages

from audit import ledgermigrate
from audit.errors import Inconsistent, KeyRefused, Malformed, Tampered, Unavailable, Usage
from audit.home import Home
from audit.ledgermigrate import migrate
from audit.receipt import receipt_bytes

OLD = Path(__file__).parent / "schema1"
RECEIPTS = (OLD / "receipts.jsonl").read_bytes().splitlines()
KILLED = """
import os, signal, sys
from pathlib import Path
from audit import ledgermigrate
from audit.home import Home
setattr(ledgermigrate, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
ledgermigrate.migrate(Home(Path(sys.argv[1])))
"""


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """A home of schema 1, as its program left it."""
    home = tmp_path / "home"
    shutil.copytree(OLD, home, ignore=shutil.ignore_patterns("README.md", "receipts.jsonl"))
    (home / "keys").chmod(0o700)
    (home / "keys" / "ledger.pem").write_bytes(PEM)
    (home / "keys" / "ledger.pem").chmod(0o600)
    (home / "ledger.sqlite.lock").touch()
    return Home(home)


def receipts(home: Home) -> list[bytes]:
    with home.reader().reading() as log:
        return [receipt_bytes(log.receipt(seq)) for seq in range(len(RECEIPTS))]


def edit(home: Home, *statements: str) -> None:
    with closing(sqlite3.connect(home.root / "ledger.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_an_old_ledger_is_migrated_and_every_old_receipt_is_the_same(old: Home) -> None:
    heads = sqlite3.connect(old.root / "ledger.sqlite").execute("SELECT size, note FROM checkpoints").fetchall()
    assert migrate(old) == 1
    with old.reader().trusted() as log:
        assert log.head.size == len(RECEIPTS)
        assert len(log.runs) == 1
        assert {entry.require().salt for entry in log.entries()} == {b""}
    with old.reader().reading() as rows:
        assert list(rows.heads()) == heads
    assert receipts(old) == RECEIPTS
    assert {path.name for path in old.root.iterdir()} == {"keys", "ledger.sqlite"}
    assert old.trust().origin == f"noptik.local/{KEY.public.key_id[:16]}"


def test_a_migrated_ledger_goes_on(old: Home) -> None:
    migrate(old)
    (known, new) = old.writer().append(stages("last", "new"))
    assert receipt_bytes(known) in RECEIPTS
    assert new.seq == len(RECEIPTS)
    with old.reader().trusted() as log:
        assert [len(entry.require().salt) for entry in log.entries()] == [0] * len(RECEIPTS) + [32]


def test_nothing_else_opens_an_old_ledger_and_the_command_is_named(old: Home) -> None:
    before = (old.root / "ledger.sqlite").read_bytes()
    with pytest.raises(Usage, match="python -m audit migrate"):
        old.writer()
    old.keyring.begin(KEY)
    for attempt in (old.writer, old.reader):
        with pytest.raises(Usage, match="python -m audit migrate"):
            attempt()
    assert (old.root / "ledger.sqlite").read_bytes() == before


def test_migrating_again_changes_nothing(old: Home) -> None:
    migrate(old)
    before = (old.root / "ledger.sqlite").read_bytes()
    assert migrate(old) == 2
    assert (old.root / "ledger.sqlite").read_bytes() == before


@pytest.mark.parametrize("kind", databases.KINDS)
def test_a_ledger_of_this_schema_is_left_alone(tmp_path: Path, kind: str) -> None:
    home = home_at(tmp_path, databases.new_database(kind))
    with pytest.raises(Unavailable, match="no ledger here"):
        migrate(home)
    home.writer().append(stages("a"))
    assert migrate(home) == 2
    with home.reader().trusted() as log:
        assert log.head.size == 1


@pytest.mark.parametrize("step", ["_copy_entries", "_require_same", "suppress"])
def test_a_migration_that_is_killed_is_done_by_asking_again(old: Home, step: str) -> None:
    """Killed with the new tables empty, with everything written but nothing committed, and just after the commit."""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    done = subprocess.run([sys.executable, "-c", KILLED, str(old.root), step], env={"PYTHONPATH": path}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert migrate(old) == (2 if step == "suppress" else 1)
    assert receipts(old) == RECEIPTS
    with old.reader().trusted() as log:
        assert log.head.size == len(RECEIPTS)
    assert {path.name for path in old.root.iterdir()} == {"keys", "ledger.sqlite"}


ATTACKS = {
    "an envelope edited": "UPDATE entries SET envelope = CAST(replace(envelope, 'a', 'b') AS BLOB) WHERE seq = 2",
    "a receipt edited": "UPDATE entries SET receipt = (SELECT receipt FROM entries WHERE seq = 1) WHERE seq = 2",
    "an entry deleted": "DELETE FROM entries WHERE seq = 8",
    "an entry deleted in the middle": "DELETE FROM entries WHERE seq = 3",
    "a head deleted": "DELETE FROM checkpoints WHERE size = 9",
    "an old head deleted": "DELETE FROM checkpoints WHERE size = 3",
    "a head edited": "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 1) WHERE size = 3",
    "the tree state edited": "UPDATE tree SET size = 8",
    "another log's name": "UPDATE schema_version SET origin = 'other'",
    "a table too many": "CREATE TABLE more (x INTEGER)",
    "a table dropped": "DROP TABLE tree",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_edited_old_ledger_is_not_migrated_and_not_changed(old: Home, name: str) -> None:
    edit(old, "PRAGMA foreign_keys=OFF", ATTACKS[name])
    before = (old.root / "ledger.sqlite").read_bytes()
    with pytest.raises(Tampered):
        migrate(old)
    assert (old.root / "ledger.sqlite").read_bytes() == before


def test_an_old_ledger_put_back_from_a_backup_is_not_migrated(old: Home) -> None:
    edit(old, "PRAGMA foreign_keys=OFF", "DELETE FROM entries WHERE seq > 6", "DELETE FROM checkpoints WHERE size > 7")
    with pytest.raises(Inconsistent, match="older than a head already signed"):
        migrate(old)


def test_an_old_ledger_is_not_migrated_without_its_key(old: Home) -> None:
    (old.root / "keys" / "ledger.pem").unlink()
    with pytest.raises(Unavailable):
        migrate(old)
    Home(old.root / "other").keyring.begin()
    shutil.copy(old.root / "other" / "keys" / "ledger.pem", old.root / "keys" / "ledger.pem")
    with pytest.raises(KeyRefused):
        migrate(old)


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    home.writer().append(stages("a"))
    edit(home, "UPDATE schema_version SET version = 7", "CREATE TABLE later (x INTEGER) STRICT")
    for attempt in (home.reader, home.writer, lambda: migrate(home)):
        with pytest.raises(Usage, match="newer schema"):
            attempt()


def test_what_is_no_ledger_at_all_is_malformed(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database\n" * 1000)
    with pytest.raises(Malformed):
        ledgermigrate.migrate(home)
