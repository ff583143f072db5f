"""Laws of fsck, of exported tiles and of their commands: everything is looked at, and only what is wrong is a fault."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import databases
import pytest
from ledger_case import KEY, Case, home_at, sealed_project, stages
from test_audit_ledger_attacks import copied, edit, run
from test_audit_ledger_intent import interrupted
from test_audit_ledger_migrate import old  # noqa: F401 - a fixture

from audit import cli_fsck, durable, merkle, tiles
from audit.errors import AuditError, DigestMismatch, Inconsistent, Tampered, Unavailable
from audit.fsck import Finding, exit_code, fsck
from audit.home import Home
from audit.staticlog import check, export
from audit.trustroot import TrustRoot
from tests import reference_merkle as rfc


@pytest.fixture(scope="module", params=databases.KINDS)
def _sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    case, _ = sealed_project(tmp_path_factory.mktemp("sealed"), databases.new_database(request.param))
    case.ledger.append(stages(*(f"entry {i}" for i in range(300))))
    return case


@pytest.fixture
def case(_sealed: Case, tmp_path: Path) -> Case:
    """A sealed project with 303 entries, so that there is a full tile, in each kind of database."""
    return copied(_sealed, tmp_path / "copy")


def faults(home: Home, served: Path | None = None) -> dict[str, AuditError]:
    return {finding.part: finding.fault for finding in fsck(home, None, served) if finding.fault is not None}


def notes(home: Home) -> dict[str, str]:
    return {finding.part: finding.note for finding in fsck(home)}


def command(*arguments: str) -> int:
    """What `python -m audit` does with these arguments."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--project", type=Path, default=Path())
    places.add_argument("--home", type=Path)
    places.add_argument("--root", type=Path)
    parser = argparse.ArgumentParser()
    cli_fsck.add(parser.add_subparsers(), places)
    parsed = parser.parse_args(arguments)
    done: Callable[[argparse.Namespace], int] = parsed.command
    return done(parsed)


def test_a_home_as_it_was_left_is_clean_and_everything_is_counted(case: Case) -> None:
    assert faults(case.home) == {}
    found = notes(case.home)
    assert set(found) == {"keys", "database", "log", "intent", "store"}
    assert "303 entries, 4 heads, 3 tiles, 1 runs" in found["log"]
    assert found["intent"] == "none open"
    assert f"{len(list(case.home.store.names()))} objects" in found["store"]


def test_what_a_crash_leaves_is_told_and_is_no_fault(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Case(case.root, home_at(case.root.parent / "small", databases.new_database("sqlite")))
    small.ledger.append(stages("a", "b", "c"))
    interrupted(small, monkeypatch)
    (small.home.root / "keys" / ".ledger.head.0123").write_bytes(b"cut")
    small.home.store.put_bytes(b"object")
    (small.home.store.root / "tmp" / "draft").write_bytes(b"cut")
    found = notes(small.home)
    assert faults(small.home) == {}
    assert "open: 2 entries after the first 3; the next append does it first" in found["intent"]
    assert "1 drafts" in found["store"]
    assert "1 drafts" in found["drafts"]
    small.ledger.append(stages("f"))
    assert notes(small.home)["intent"] == "none open"


FAULTS: dict[str, tuple[Callable[[Case], object], str]] = {
    "a table dropped": (lambda case: edit(case, run("DROP TABLE registrations")), "database"),
    "an entry of another forecast": (lambda case: edit(case, run("UPDATE entries SET forecast = 'x'")), "log"),
    "a tile deleted": (lambda case: edit(case, run("DELETE FROM tiles WHERE level = 1")), "log"),
    "a kept head of no log": (lambda case: (case.home.root / "keys" / "ledger.head").write_bytes(b"x"), "log"),
    "an intent that is none": (lambda case: (case.home.root / "keys" / "ledger.intent").write_bytes(b"{}"), "intent"),
    "an object edited": (lambda case: overwrite(next(object_paths(case))), "store"),
    "a file in the store": (lambda case: (case.home.store.root / "sha256" / "x").write_bytes(b""), "store"),
}


def object_paths(case: Case) -> Iterator[Path]:
    return iter(sorted(case.home.store.root.glob("sha256/*/*")))


def overwrite(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_in_its_part_and_exits_1(case: Case, name: str) -> None:
    attack, part = FAULTS[name]
    attack(case)
    found = list(fsck(case.home))
    assert part in {finding.part for finding in found if isinstance(finding.fault, Tampered)}
    assert exit_code(found) == 1


def test_an_intent_that_began_elsewhere_is_a_fault(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = Case(case.root, home_at(tmp_path / "small"))
    small.ledger.append(stages("a", "b", "c"))
    interrupted(small, monkeypatch)
    shutil.copy(small.home.root / "keys" / "ledger.intent", case.home.root / "keys" / "ledger.intent")
    assert isinstance(faults(case.home)["intent"], Inconsistent)


def test_what_is_missing_is_unavailable_and_tampering_goes_before_it(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    found = list(fsck(home))
    assert exit_code(found) == 2
    assert all(isinstance(finding.fault, Unavailable) for finding in found if finding.part in ("database", "log"))
    assert exit_code([*found, Finding("x", "", Inconsistent("x", "x", 1, 2))]) == 1
    assert exit_code([]) == 0


def exported(case: Case, folder: Path) -> TrustRoot:
    with case.home.reader().reading() as log:
        export(log, log.keys, folder)
        return log.keys


def test_exported_tiles_give_the_tree_and_every_leaf_without_the_ledger(case: Case, tmp_path: Path) -> None:
    keys = exported(case, tmp_path / "served")
    served = tmp_path / "served"
    head = keys.open_head((served / "checkpoint").read_bytes())
    leaves: list[bytes] = []
    for index, width in ((0, 256), (1, 47)):
        raw = (served / tiles.tile_path("entries", index, width)).read_bytes()
        while raw:
            length = int.from_bytes(raw[:2], "big")
            leaves.append(raw[2 : 2 + length])
            raw = raw[2 + length :]
    assert len(leaves) == head.size == 303
    assert rfc.mth(leaves) == head.root
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert (served / "tile/0/000").read_bytes() == b"".join(hashes[:256])
    assert (served / "tile/0/001.p/47").read_bytes() == b"".join(hashes[256:])
    assert (served / "tile/1/000.p/1").read_bytes() == rfc.mth(leaves[:256])


def test_a_later_export_adds_files_and_changes_only_the_checkpoint(case: Case, tmp_path: Path) -> None:
    served = tmp_path / "served"
    exported(case, served)
    before = {path: path.stat().st_mtime_ns for path in served.rglob("*") if path.is_file()}
    case.ledger.append(stages("more"))
    case.ledger.attach(304, "timestamp", b"token")
    exported(case, served)
    after = {path: path.stat().st_mtime_ns for path in served.rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} == {"checkpoint"}
    assert {str(path.relative_to(served)) for path in set(after) - set(before)} == {
        "tile/0/001.p/48",
        "tile/entries/001.p/48",
    }
    assert faults(case.home, served) == {}


def test_an_export_that_dies_serves_the_old_tree_and_the_next_one_the_new(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served"
    exported(case, served)
    case.ledger.append(stages(*(f"more {i}" for i in range(300))))
    original = durable.create
    for _ in range(4):  # one more file each time, of the six that the new tree needs

        def create(path: Path, data: bytes, written: list[Path] = []) -> None:  # noqa: B006 - counts its calls
            if written:
                raise KeyboardInterrupt
            written.append(path)
            original(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(durable, "create", create)
            with pytest.raises(KeyboardInterrupt):
                exported(case, served)
        with case.home.reader().reading() as log:
            assert check(log, log.keys, served) == 303
    exported(case, served)
    with case.home.reader().reading() as log:
        assert check(log, log.keys, served) == 603


@pytest.mark.parametrize("_sealed", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/47", "tile/1/000.p/1", "tile/entries/000", "checkpoint"])
@pytest.mark.parametrize("how", ["flipped", "deleted", "cut"])
def test_a_damaged_export_is_found(case: Case, tmp_path: Path, name: str, how: str) -> None:
    served = tmp_path / "served"
    exported(case, served)
    path = served / name
    raw = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if how == "cut" else bytes([raw[0] ^ 1]) + raw[1:])
    found = list(fsck(case.home, None, served))
    assert exit_code(found) == (2 if (name, how) == ("checkpoint", "deleted") else 1)
    assert [finding.part for finding in found if finding.fault] == ["tiles"]


def test_an_older_log_is_not_exported_over_a_newer_one(case: Case, tmp_path: Path) -> None:
    old_case = copied(case, tmp_path / "old")
    case.ledger.append(stages("more"))
    exported(case, tmp_path / "served")
    with pytest.raises(Inconsistent, match="larger tree"):
        exported(old_case, tmp_path / "served")


def test_entries_that_differ_from_their_tile_are_not_exported(case: Case, tmp_path: Path) -> None:
    edit(case, run("UPDATE entries SET leaf = envelope WHERE seq = 5"))
    with pytest.raises(DigestMismatch):
        exported(case, tmp_path / "served")
    assert not (tmp_path / "served" / "checkpoint").exists()


def test_the_commands_say_what_they_found_and_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_at(tmp_path / "home")
    home.writer().append(stages("a"))
    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(KEY.public.to_pem())
    place = ["--home", str(home.root), "--root", str(anchor)]
    assert command("tiles", *place, "-o", str(tmp_path / "served")) == 0
    assert command("fsck", *place, "--tiles", str(tmp_path / "served")) == 0
    assert command("migrate", *place) == 0
    shown = capsys.readouterr().out
    for part in ("keys", "database", "log", "intent", "store", "tiles"):
        assert f"{part:<10} ok" in shown
    assert "schema 2, nothing to do" in shown
    (tmp_path / "served" / "tile" / "0" / "000.p" / "1").write_bytes(b"x")
    assert command("fsck", *place, "--tiles", str(tmp_path / "served")) == 1
    assert "tiles      DIGESTMISMATCH" in capsys.readouterr().out
    assert command("fsck", "--home", str(home_at(tmp_path / "empty").root)) == 2


def test_migrate_migrates(old: Home, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert command("migrate", "--home", str(old.root)) == 0
    assert "migrated from schema 1" in capsys.readouterr().out
    assert command("fsck", "--home", str(old.root)) == 0
