"""Trust in a log, earned rule by rule from its bytes, one key and the log's name; no disk, no clock.

The rules, in this order; the first that is broken is raised, naming what, where, expected and found:

 1. entries are numbered 0, 1, 2, ... and each leaf is a canonical record of that number
 2. every envelope is the one its leaf names, signed by the known key, and holds one canonical statement
 3. what the row says of a statement (kind, forecast, stage, core) is what the statement says
 4. every entry names the run its forecast had sealed last
 5. the leaves give the tree state, and the root of every head that was ever signed, the latest of all of them
 6. every receipt is the one given then: the entry's own, under the first head that covers it
 7. registrations are exactly those logged, numbered 1, 2, 3, ... for the same data
 8. a seal names stage statements and a registration logged before it, and exactly the artifacts the stages
    state, which do not contradict the registration; a verdict on a run names one sealed before it
 9. the head kept outside the ledger is one of this tree's
10. the ledger's file is, byte for byte, what its last writer left
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from audit import merkle
from audit.digest import Sha256, sha256
from audit.envelope import open_envelope
from audit.errors import DigestMismatch, Inconsistent
from audit.kepthead import require_extends
from audit.kinds import Registration, about, registration_of
from audit.note import Checkpoint, Verifier, open_checkpoint
from audit.receipt import Receipt, check_receipt, parse_receipt
from audit.record import Entry, parse_entry
from audit.resource import Subject
from audit.run import Run
from audit.snapshot import Logged, Snapshot
from audit.statement import AnyStatement, Statement, VerdictStatement, core_bytes, parse_statement


@dataclass(frozen=True, slots=True)
class TrustedEntry:
    """One entry, every part of it checked against the others."""

    row: Logged
    record: Entry
    statement: AnyStatement


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log that kept all the rules: its head with the signed note, its entries, its runs in order."""

    head: Checkpoint
    note: bytes
    entries: tuple[TrustedEntry, ...]
    runs: tuple[Run, ...]

    def of(self, forecast: str) -> tuple[Run, ...]:
        """The runs of one forecast, oldest first."""
        return tuple(run for run in self.runs if run.forecast == forecast)

    def artifacts(self, run: Run) -> tuple[Subject, ...]:
        """Every artifact of the run, the registered specification's among them, sorted by name."""
        registered = self.entry(run.registration)
        subjects = (*run.artifacts, *(registered.statement.subject if registered else ()))
        return tuple(sorted({subject.name: subject for subject in subjects}.values(), key=lambda item: item.name))

    def entry(self, core: Sha256) -> TrustedEntry | None:
        """The entry whose statement has this core."""
        return next((entry for entry in self.entries if entry.row.core_sha256 == core), None)


def trust(snapshot: Snapshot, verifier: Verifier, where: str) -> TrustedLog:
    """The log in `snapshot`, returned only if it keeps every rule for the key and name of `verifier`.

    Tampered otherwise; `where` names the ledger in messages about the file as a whole.
    """
    entries = tuple(_entry(row, seq, verifier) for seq, row in enumerate(snapshot.entries))
    _require_previous_runs(entries)
    leaves = [merkle.leaf_hash(entry.row.leaf) for entry in entries]
    heads = _heads(snapshot, leaves, verifier)
    _require_receipts(entries, heads, snapshot, verifier)
    _require_registrations(entries, snapshot)
    runs = _runs(entries)
    if snapshot.kept_head is not None:
        require_extends(snapshot.kept_head, verifier, leaves, where)
    snapshot.file.require(where)
    return TrustedLog(heads[-1], snapshot.checkpoints[-1][1], entries, runs)


def _entry(row: Logged, seq: int, verifier: Verifier) -> TrustedEntry:
    """Rules 1 to 3 for one row."""
    where = f"entry {seq}"
    if row.seq != seq:
        raise Inconsistent("entry deleted from the log", where, f"an entry {seq}", f"entry {row.seq} next")
    record = parse_entry(row.leaf, f"leaf of {where}")
    if record.seq != seq:
        raise Inconsistent("leaf of another entry", f"leaf of {where}", seq, record.seq)
    _same_digest("leaf", where, row.leaf_hash.hex(), merkle.leaf_hash(row.leaf).hex())
    _same_digest("envelope", where, record.envelope_sha256, sha256(row.envelope))
    _same("envelope's digest", where, record.envelope_sha256, row.envelope_sha256)
    payload = open_envelope(row.envelope, verifier.key, record.payload_type, f"envelope of {where}")
    statement = parse_statement(payload, f"statement of {where}")
    _same("core", where, sha256(core_bytes(statement)), row.core_sha256)
    _same("kind", where, record.kind, row.kind)
    subject = about(record.kind, statement, where)
    _same("forecast", where, subject.forecast, row.forecast)
    _same("stage", where, subject.stage, row.stage)
    return TrustedEntry(row, record, statement)


def _require_previous_runs(entries: Sequence[TrustedEntry]) -> None:
    """Rule 4; and no core twice."""
    last: dict[str, Sha256] = {}
    cores: dict[Sha256, int] = {}
    for entry in entries:
        where = f"entry {entry.row.seq}"
        first = cores.setdefault(entry.row.core_sha256, entry.row.seq)
        _same("first entry of the core", where, first, entry.row.seq)
        expected = last.get(entry.row.forecast)
        _same("previous run", where, expected or "none", entry.record.previous_run or "none")
        if entry.row.kind == "seal":
            last[entry.row.forecast] = entry.row.core_sha256


def _heads(snapshot: Snapshot, leaves: Sequence[bytes], verifier: Verifier) -> tuple[Checkpoint, ...]:
    """Rule 5: every head ever signed, in order."""
    roots, frontier = [merkle.EMPTY_ROOT], merkle.Frontier()
    for leaf in leaves:
        frontier = frontier.append(leaf)
        roots.append(frontier.root)
    _same("size", "tree state", frontier.size, snapshot.size)
    _same_digest("root", "tree state", snapshot.root.hex(), frontier.root.hex())
    _same("frontier", "tree state", b"".join(frontier.subtrees).hex(), snapshot.frontier.hex())
    heads = []
    for size, note in snapshot.checkpoints:
        where = f"checkpoint of size {size}"
        head = open_checkpoint(note, verifier, where)
        _same("size", where, size, head.size)
        if size > len(leaves):
            raise Inconsistent("entries deleted from the log", where, f"{size} entries", f"{len(leaves)} entries")
        _same_digest("root", where, head.root.hex(), roots[size].hex())
        heads.append(head)
    sizes = [head.size for head in heads]
    if sizes[:1] != [0] or sizes[-1] != len(leaves):
        raise Inconsistent(
            "signed head missing", "checkpoints", f"0 to {len(leaves)}", f"sizes {sizes[:1] + sizes[-1:]}"
        )
    return tuple(heads)


def _require_receipts(
    entries: Sequence[TrustedEntry], heads: Sequence[Checkpoint], snapshot: Snapshot, verifier: Verifier
) -> None:
    """Rule 6."""
    notes, sizes = dict(snapshot.checkpoints), [head.size for head in heads]
    for entry in entries:
        row, where = entry.row, f"receipt of entry {entry.row.seq}"
        receipt = parse_receipt(row.receipt, where)
        head = heads[bisect_right(sizes, row.seq)]  # the first that covers the entry
        expected = _receipt_facts(entry, head, notes[head.size])
        found = receipt.model_copy(update={"inclusion": ()})
        for field in Receipt.model_fields:
            _same(field, where, getattr(expected, field), getattr(found, field))
        check_receipt(receipt, verifier, where)


def _receipt_facts(entry: TrustedEntry, head: Checkpoint, note: bytes) -> Receipt:
    row = entry.row
    return Receipt(
        origin=head.origin,
        seq=row.seq,
        leaf_hash=row.leaf_hash.hex(),
        envelope_sha256=row.envelope_sha256,
        core_sha256=row.core_sha256,
        tree_size=head.size,
        root=head.root.hex(),
        checkpoint=note.decode(),
        inclusion=(),
        registration=registration_of(entry.statement, f"entry {row.seq}") if row.kind == "register" else None,
    )


def _require_registrations(entries: Sequence[TrustedEntry], snapshot: Snapshot) -> None:
    """Rule 7."""
    counts: Counter[Sha256] = Counter()
    logged: list[tuple[int, Registration]] = []
    for entry in entries:
        if entry.row.kind == "register":
            registration = registration_of(entry.statement, f"entry {entry.row.seq}")
            counts[registration.data_sha256] += 1
            where = f"registration in entry {entry.row.seq}"
            _same("specification number", where, counts[registration.data_sha256], registration.number)
            logged.append((entry.row.seq, registration))
    recorded = {row.seq: row for row in snapshot.registrations}
    for seq, registration in logged:
        found = recorded.pop(seq, None)
        facts = (found.data_sha256, found.specification_sha256, found.number) if found else "no such row"
        said = (registration.data_sha256, registration.specification_sha256, registration.number)
        _same("row", f"registration of entry {seq}", said, facts)
    if recorded:
        raise Inconsistent("registration of no entry", "registrations", "none", f"entry {min(recorded)}")


def _runs(entries: Sequence[TrustedEntry]) -> tuple[Run, ...]:
    """Rule 8."""
    runs = []
    known: dict[Sha256, TrustedEntry] = {}
    for entry in entries:
        if entry.row.kind == "seal" and isinstance(entry.statement, Statement):
            run = Run.of(entry.statement, entry.row.seq)
            _require_parts(run, known)
            runs.append(run)
        elif isinstance(entry.statement, VerdictStatement) and entry.statement.predicate.run is not None:
            judged = known.get(entry.statement.predicate.run)
            found = (judged.row.kind, judged.row.forecast) if judged else "no entry"
            _same("run judged", f"verdict in entry {entry.row.seq}", ("seal", entry.row.forecast), found)
        known[entry.row.core_sha256] = entry
    return tuple(runs)


def _require_parts(run: Run, before: dict[Sha256, TrustedEntry]) -> None:
    where = f"run sealed in entry {run.seq}"
    parts = [("register", "register", run.registration)]
    parts += [("stage", item.stage, item.sha256) for item in run.stages]
    artifacts: list[Subject] = []
    registered: list[Subject] = []
    for kind, stage, core in parts:
        entry = before.get(core)
        if entry is None:
            raise Inconsistent(f"statement of stage {stage} not logged before the seal", where, core, "no entry")
        row = entry.row
        _same(
            f"statement of stage {stage}",
            where,
            (kind, run.forecast, stage),
            (row.kind, row.forecast, row.stage),
        )
        (artifacts if kind == "stage" else registered).extend(entry.statement.subject)
    _same("artifacts", where, tuple(sorted(artifacts, key=lambda item: item.name)), run.artifacts)
    stated = {subject.name: subject.sha256 for subject in artifacts}
    for subject in registered:
        _same(f"registered {subject.name}", where, subject.sha256, stated.get(subject.name, subject.sha256))


def _same(what: str, where: str, expected: object, found: object) -> None:
    if expected != found:
        raise Inconsistent(f"{what} differs", where, expected, found)


def _same_digest(what: str, where: str, expected: Sha256, found: Sha256) -> None:
    if expected != found:
        raise DigestMismatch(f"{what} differs from its digest", where, expected, found)
