"""Attacks on the ledger's file: whatever is edited, verification stops, says exit 1, and names it."""

from __future__ import annotations

import fcntl
import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ledger_case import KEY, Case, project, sealed_project, stages

from audit import ledgerfile, merkle
from audit.canonical import decode, encode
from audit.errors import Inconsistent, Tampered, Unavailable
from audit.home import Home, origin
from audit.ledger import Ledger
from audit.note import Checkpoint, sign_checkpoint
from audit.receipt import parse_receipt, receipt_bytes
from audit.signing import SigningKey
from audit.verify import verify

Attack = Callable[[sqlite3.Connection], object]


@pytest.fixture(scope="module")
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case, _ = sealed_project(tmp_path_factory.mktemp("sealed"))
    case.ledger.append(stages("more", "and more", "and still more"))
    return case


@pytest.fixture
def case(_sealed: Case, tmp_path: Path) -> Case:
    """A sealed project to attack: entries 0 register, 1 stage, 2 seal, 3 to 5 stages."""
    shutil.copytree(_sealed.root.parent, tmp_path / "copy", symlinks=True)
    return Case(tmp_path / "copy" / "project", Home(tmp_path / "copy" / "home"))


def check(case: Case) -> None:
    verify(case.home.reader(KEY.public), KEY.public, case.home.store, case.root)


def edit(case: Case, attack: Attack, *, cover: bool = True) -> None:
    """The attack, committed; with `cover` the attacker also renews the file's digest."""
    with closing(sqlite3.connect(case.database)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        attack(connection)
        connection.commit()
    if cover:
        digest = hashlib.sha256(case.database.read_bytes()).hexdigest()
        case.database.with_name("ledger.sqlite.sha256").write_text(f"{digest}  ledger.sqlite\n")


def run(*statements: str) -> Attack:
    return lambda connection: [connection.execute(statement) for statement in statements]


def flip(table: str, column: str, row: str) -> Attack:
    """One bit of one value."""

    def attack(connection: sqlite3.Connection) -> None:
        ((value,),) = connection.execute(f"SELECT {column} FROM {table} WHERE {row}")
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[len(raw) // 2] ^= 1
        changed = raw.decode() if isinstance(value, str) else bytes(raw)
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {row}", (changed,))

    return attack


def swap(connection: sqlite3.Connection) -> None:
    columns = "leaf, leaf_hash, envelope, envelope_sha256, core_sha256, kind, forecast, stage, receipt"
    rows = connection.execute(f"SELECT {columns} FROM entries WHERE seq IN (4, 5) ORDER BY seq").fetchall()
    connection.execute("DELETE FROM entries WHERE seq IN (4, 5)")
    for seq, row in zip((5, 4), rows, strict=True):
        connection.execute(f"INSERT INTO entries (seq, {columns}) VALUES (?,?,?,?,?,?,?,?,?,?)", (seq, *row))


ATTACKS: dict[str, tuple[Attack, str]] = {
    "a row deleted in the middle": (run("DELETE FROM entries WHERE seq = 1"), "entry 1"),
    "the last row deleted": (run("DELETE FROM entries WHERE seq = 5"), "tree state"),
    "the last row deleted, tree state adjusted": (
        run("DELETE FROM entries WHERE seq = 5", "UPDATE tree SET size = 5"),
        "tree state",
    ),
    "two rows swapped": (swap, "leaf of entry 4"),
    "an envelope edited": (flip("entries", "envelope", "seq = 2"), "entry 2"),
    "a leaf edited": (flip("entries", "leaf", "seq = 2"), "entry 2"),
    "a leaf hash edited": (flip("entries", "leaf_hash", "seq = 2"), "entry 2"),
    "an envelope's digest edited": (
        run("UPDATE entries SET envelope_sha256 = 'x' WHERE seq = 2"),
        "entry 2",
    ),
    "a core's digest edited": (run("UPDATE entries SET core_sha256 = 'x' WHERE seq = 2"), "entry 2"),
    "an entry given to another forecast": (run("UPDATE entries SET forecast = 'geo' WHERE seq = 2"), "entry 2"),
    "an entry given to another stage": (run("UPDATE entries SET stage = 'fit' WHERE seq = 2"), "entry 2"),
    "an entry of another kind": (run("UPDATE entries SET kind = 'stage' WHERE seq = 2"), "entry 2"),
    "a receipt edited": (flip("entries", "receipt", "seq = 3"), "receipt of entry 3"),
    "a receipt of another entry": (
        run("UPDATE entries SET receipt = (SELECT receipt FROM entries WHERE seq = 2) WHERE seq = 3"),
        "receipt of entry 3",
    ),
    "the tree's root edited": (flip("tree", "root", "id = 1"), "tree state"),
    "the tree's size edited": (run("UPDATE tree SET size = 7"), "tree state"),
    "the tree's frontier edited": (flip("tree", "frontier", "id = 1"), "tree state"),
    "the tree state deleted": (run("DELETE FROM tree"), "tree state"),
    "a checkpoint edited": (flip("checkpoints", "note", "size = 3"), "checkpoint of size 3"),
    "the last checkpoint deleted": (run("DELETE FROM checkpoints WHERE size = 6"), "checkpoints"),
    "an old checkpoint deleted": (run("DELETE FROM checkpoints WHERE size = 3"), "receipt of entry 1"),
    "every checkpoint deleted": (run("DELETE FROM checkpoints"), "checkpoints"),
    "a registration deleted": (run("DELETE FROM registrations"), "registration of entry 0"),
    "a registration renumbered": (run("UPDATE registrations SET number = 2"), "registration of entry 0"),
    "a registration invented": (
        run("INSERT INTO registrations VALUES ('a', 'b', 1, 3)"),
        "registrations",
    ),
    "another schema version": (run("UPDATE schema_version SET version = 2"), "schema version"),
    "another log's name": (run("UPDATE schema_version SET origin = 'other'"), "another log"),
    "a trigger": (
        run("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM checkpoints; END"),
        "database schema",
    ),
    "a table dropped": (run("DROP TABLE registrations"), "database schema"),
    "a uniqueness constraint dropped": (
        run("DROP TABLE checkpoints", "CREATE TABLE checkpoints (size INTEGER, note BLOB) STRICT"),
        "database schema",
    ),
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
def test_nothing_is_signed_over_an_edited_database(case: Case, name: str) -> None:
    """Edits that the leaves and the head do not cover are found by the file's digest: it is not renewed here."""
    edit(case, ATTACKS[name][0], cover=False)
    before = case.database.read_bytes()
    with pytest.raises(Tampered):
        case.ledger.append(stages("after the attack"))
    assert case.database.read_bytes() == before


def test_any_flipped_byte_of_the_database_is_detected(case: Case) -> None:
    """Also in the unused parts of pages, where no row lies."""
    whole, random_ = case.database.read_bytes(), random.Random(7)
    ledger = case.home.reader(KEY.public)
    header = [0, 16, 18, 19, 24, 28, 44, 96]
    for position in [*header, *random_.sample(range(len(whole)), 120)]:
        raw = bytearray(whole)
        raw[position] ^= 1 << random_.randrange(8)
        case.database.write_bytes(raw)
        for leftover in ("-journal", "-wal", "-shm"):
            case.database.with_name(case.database.name + leftover).unlink(missing_ok=True)
        with pytest.raises(Tampered):
            verify(ledger, KEY.public, case.home.store, None)
    case.database.write_bytes(whole)
    check(case)


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 5000, -4096, -1])
def test_a_truncated_database_is_detected(case: Case, size: int) -> None:
    case.database.write_bytes(case.database.read_bytes()[:size])
    with pytest.raises(Tampered):
        check(case)
    with pytest.raises(Tampered):
        case.ledger.append(stages("x"))


@pytest.mark.parametrize("suffix", ["", ".sha256"])
def test_a_deleted_file_of_the_ledger_is_detected(case: Case, suffix: str) -> None:
    case.database.with_name(f"ledger.sqlite{suffix}").unlink()
    with pytest.raises(Tampered):
        check(case)
    with pytest.raises(Tampered):
        case.ledger.append(stages("x"))


def test_a_planted_journal_is_detected_before_sqlite_plays_it_back(case: Case) -> None:
    before = case.database.read_bytes()
    case.database.with_name("ledger.sqlite-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + before)
    with pytest.raises(Tampered, match="journal"):
        check(case)
    assert case.database.read_bytes() == before


def test_a_ledger_emptied_of_every_trace_contradicts_the_kept_head(case: Case) -> None:
    for path in case.home.root.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(Unavailable):
        check(case)
    with pytest.raises(Inconsistent, match="this key has signed"):
        case.ledger.append(stages("a second log"))


def test_a_restored_backup_is_detected_and_signs_no_second_head(case: Case) -> None:
    backup = {path: path.read_bytes() for path in case.home.root.glob("ledger.sqlite*")}
    case.ledger.append(stages("after the backup"))
    for path, raw in backup.items():
        path.write_bytes(raw)
    with pytest.raises(Inconsistent, match="older than a head already signed"):
        check(case)
    with pytest.raises(Inconsistent, match="older than a head already signed"):
        case.ledger.append(stages("instead"))


def test_a_fork_grown_from_a_backup_elsewhere_is_detected(case: Case, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    shutil.copytree(case.home.root, fork)
    case.ledger.append(stages("one future"))
    Home(fork).writer(KEY).append(stages("another future"))
    for path in fork.glob("ledger.sqlite*"):
        shutil.copy(path, case.home.root / path.name)
    with pytest.raises(Inconsistent, match="another tree of size 7 was signed before"):
        check(case)


def test_a_rollback_without_the_kept_head_is_shown_by_the_receipts_in_the_workspace(tmp_path: Path) -> None:
    case = project(tmp_path)
    receipt = case.register()
    case.run()
    case.seal(receipt)
    backup = {path: path.read_bytes() for path in case.home.root.glob("ledger.sqlite*")}
    (case.root / "data/input.csv").write_text("1.5 2.5 4.5")
    shutil.rmtree(case.path("fit"))
    case.run()
    case.seal(receipt)
    for path, raw in backup.items():
        path.write_bytes(raw)
    (case.home.root / "keys" / "ledger.head").unlink()
    with pytest.raises(Inconsistent, match="a receipt proves more"):
        check(case)


def test_a_log_signed_with_another_key_is_refused(case: Case) -> None:
    """The attacker rewrites the log whole, under a key of their own."""
    other = SigningKey.from_seed(b"\x07" * 32)
    path = case.home.root / "forged" / "ledger.sqlite"
    Ledger.open(path, origin(KEY.public), other, create=True).append(stages("forged"))
    forged = Ledger.open(path, origin(KEY.public))
    with pytest.raises(Tampered):
        verify(forged, KEY.public, case.home.store, None)


def test_an_attacker_who_recomputes_the_whole_tree_still_needs_the_key(case: Case) -> None:
    def rewrite(connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT seq, leaf FROM entries ORDER BY seq").fetchall()
        record = decode(rows[5][1])
        leaf = encode({**record, "previousRun": "f" * 64})
        leaves = [*(merkle.leaf_hash(leaf) for _, leaf in rows[:5]), merkle.leaf_hash(leaf)]
        tree = merkle.Frontier.of(leaves)
        note = sign_checkpoint(Checkpoint(origin(KEY.public), 6, tree.root), SigningKey.from_seed(b"\x08" * 32))
        ((raw,),) = connection.execute("SELECT receipt FROM entries WHERE seq = 5")
        receipt = parse_receipt(raw).model_copy(update={"leaf_hash": leaves[5].hex(), "root": tree.root.hex()})
        connection.execute(
            "UPDATE entries SET leaf = ?, leaf_hash = ?, receipt = ? WHERE seq = 5",
            (leaf, leaves[5], receipt_bytes(receipt)),
        )
        connection.execute("UPDATE tree SET root = ?, frontier = ?", (tree.root, b"".join(tree.subtrees)))
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = 6", (note,))

    edit(case, rewrite)
    with pytest.raises(Tampered):
        check(case)
    with pytest.raises(Tampered):
        case.ledger.append(stages("on top"))


def test_an_interrupted_write_is_told_from_an_attack(case: Case) -> None:
    """The digest still pending means a writer died: the signatures decide, and the next write vouches again."""
    vouched = case.database.with_name("ledger.sqlite.sha256")
    vouched.rename(vouched.with_name("ledger.sqlite.sha256.pending"))
    report = verify(case.home.reader(KEY.public), KEY.public, case.home.store, case.root)
    assert report.interrupted
    case.ledger.append(stages("next"))
    assert not verify(case.home.reader(KEY.public), KEY.public, case.home.store, case.root).interrupted


def test_a_busy_ledger_is_unavailable_not_tampered(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerfile, "BUSY_SECONDS", 0.05)
    ledger = case.ledger
    with case.database.with_name("ledger.sqlite.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for attempt in (ledger.snapshot, lambda: ledger.append(stages("x"))):
            with pytest.raises(Unavailable, match="busy"):
                attempt()
    check(case)
