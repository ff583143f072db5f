"""Is everything an installation keeps as it was left? Each part on its own, all of them told, nothing changed.

keys         the root of trust; a change of the log's key that was cut short: doing it again completes it
database     schema, and the database's own checks of pages, indexes and references
log          every entry, tile and head re-hashed and verified; what is repeated of them; the kept head
intent       an append that was interrupted: the next one does it first. No fault, if the log is where it began or after
store        every object re-hashed
tiles        what is served from a folder, if one is given

What a crash may leave is told and is no fault: an open intent, and drafts, which nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit import staticlog, tiles
from audit.errors import AuditError, Inconsistent, Tampered, Unavailable
from audit.home import Home
from audit.intent import IntentFile
from audit.ledger import Ledger
from audit.trustroot import TrustRoot

DRAFT_PATTERNS = (".*", "*/.*")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part: `fault` is None if it is as it was left, and `note` says what it holds."""

    part: str
    note: str
    fault: AuditError | None = None


def fsck(home: Home, trust: TrustRoot | None = None, served: Path | None = None) -> Iterator[Finding]:
    """What is found of each part, judged by `trust` or the installation's own root of trust; as it is found.

    `served` is a folder of exported tiles to check too.
    """
    unfinished = _before_unfinished_change(home)
    yield _found("keys", lambda: _keys(home, unfinished))
    ledger = Ledger(home.log_database, home.keyring, trust or unfinished)
    yield _found("database", lambda: _database(ledger))
    yield _found("log", lambda: _log(ledger))
    yield _found("intent", lambda: _intent(ledger))
    yield _found("store", lambda: _store(home))
    if served is not None:
        yield _found("tiles", lambda: _served(ledger, served))
    drafts = [path for pattern in DRAFT_PATTERNS for path in (home.root / "keys").glob(pattern) if path.is_file()]
    if drafts:
        yield Finding("drafts", f"{len(drafts)} drafts that a crash left, which nothing reads")


def exit_code(findings: list[Finding]) -> int:
    """0: all is as it was left. 1: something was tampered with. 2: no such thing, but something was not readable."""
    faults = [finding.fault for finding in findings if finding.fault is not None]
    if any(isinstance(fault, Tampered) for fault in faults):
        return Tampered.exit_code
    return faults[0].exit_code if faults else 0


def _found(part: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(part, check())
    except AuditError as fault:
        return Finding(part, str(fault), fault)


def _before_unfinished_change(home: Home) -> TrustRoot | None:
    """The root of trust that held before a change of key that the log does not hold yet; None if there is none.

    None as well where keys or log are not readable: the parts that follow say so.
    """
    try:
        versions = home.keyring.versions()
        with home.reader().reading() as log:
            waits = versions[-1].trust.spans[-1].first > log.size
    except AuditError:
        return None
    return [file.trust for file in versions if file.log_key != versions[-1].log_key][-1] if waits else None


def _keys(home: Home, unfinished: TrustRoot | None) -> str:
    latest = home.keyring.versions()[-1]
    if unfinished is not None:
        what = "a change of the log's key was cut short: do it again (`python -m audit keys`), which completes it"
        raise Unavailable(what, home.keyring.folder, f"its entry in the log, key {latest.log_key.key_id}", "none")
    return f"{latest.trust.origin}: root of trust version {latest.version}, log key {latest.log_key.key_id}"


def _database(ledger: Ledger) -> str:
    with ledger.reading() as log:
        ledger.database.require_intact(log.connection)
        return f"{ledger.where}: intact, schema as declared"


def _log(ledger: Ledger) -> str:
    with ledger.trusted() as trusted, ledger.reading() as log:
        heads = sum(1 for _ in log.heads())
        places = sum(1 for _ in log.tile_places())
        return (
            f"{trusted.head.origin}: {trusted.head.size} entries, {heads} heads, {places} tiles,"
            f" {len(trusted.runs)} runs, root {trusted.head.root.hex()}"
        )


def _intent(ledger: Ledger) -> str:
    path = ledger.keyring.folder / "ledger.intent"
    intent = IntentFile(path).read()
    if intent is None:
        return "none open"
    with ledger.reading() as log:
        size = log.size
        if size >= intent.size and tiles.root(log.tile, intent.size).hex() == intent.root:
            return f"done: the log holds its {len(intent.entries)} entries; the next append clears it"
        if size == intent.base_size and tiles.root(log.tile, size).hex() == intent.base_root:
            return f"open: {len(intent.entries)} entries after the first {size}; the next append does it first"
        expected = f"size {intent.base_size}, or {intent.size} with root {intent.root}"
        raise Inconsistent("the log is not where the intent began, nor after it", path, expected, f"size {size}")


def _store(home: Home) -> str:
    objects, size = 0, 0
    for name in home.store.names():
        objects, size = objects + 1, size + home.store.check("file", name)
    drafts = home.store.drafts()
    left = f"; {len(drafts)} drafts that a crash left, which nothing reads" if drafts else ""
    return f"{objects} objects, {size} bytes{left}"


def _served(ledger: Ledger, folder: Path) -> str:
    with ledger.trusted() as trusted, ledger.reading() as log:
        size = staticlog.check(log, trusted.keys, folder)
    return f"{folder}: serves {size} entries"
