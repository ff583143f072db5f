"""The entries of one append: drawn up in memory, then written in one go with tiles and head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, tuple_
from sqlmodel import col

from audit import tiles
from audit.digest import Sha256, sha256
from audit.envelope import PAYLOAD_TYPE, seal
from audit.errors import Inconsistent, KeyRefused
from audit.intent import Intent, intended
from audit.kinds import Kind, about, registration_of
from audit.ledgerlog import LedgerLog
from audit.ledgertables import EntryRow, HeadRow, RegistrationRow, TileRow
from audit.logsource import Logged
from audit.note import Checkpoint, sign_checkpoint
from audit.receipt import Receipt
from audit.record import Entry, commitment, entry_bytes
from audit.signing import SigningKey
from audit.statement import AnyStatement, core_bytes, statement_bytes
from audit.tiles import TreeBuilder
from audit.trustedentry import Disclosed, TrustedEntry, open_entry


@dataclass(frozen=True, slots=True)
class Pending:
    """A statement to log, its metadata included, and the kind of entry it is to be."""

    kind: Kind
    statement: AnyStatement


@dataclass
class Batch:
    """What is to be appended to `log`, whose checked last head is `head`, under `key`."""

    log: LedgerLog
    head: Checkpoint
    key: SigningKey
    new: list[TrustedEntry] = field(default_factory=list)
    _seqs: dict[Sha256, tuple[int, str]] = field(default_factory=dict)  # of cores, known and new
    _runs: dict[str, Sha256 | None] = field(default_factory=dict)  # the last of each forecast
    _tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.head.size + 1
        expected = self.log.keys.span(size).key
        if self.log.keys.is_void(size) or expected != self.key.public:
            what = f"not the key that signs the log at size {size}"
            raise KeyRefused(what, self.log.where, expected.key_id, self.key.public.key_id)
        self._tree = TreeBuilder.resume(self.log.tile, self.head.size, self._emit)

    def add(self, items: Sequence[Pending]) -> tuple[int, ...]:
        """The entry of each item: one already logged, or a new one. Inconsistent: logged as another kind."""
        cores = [sha256(core_bytes(item.statement)) for item in items]
        self._seqs |= self.log.logged(cores)
        return tuple(self._add(item, core) for item, core in zip(items, cores, strict=True))

    def intent(self) -> Intent:
        """What is about to be written and signed."""
        told = [(entry, entry.require()) for entry in self.new]
        rows = [Logged(entry.seq, entry.leaf, found.salt, found.envelope) for entry, found in told]
        return intended(self.log.keys.origin, (self.head.size, self.head.root), self._tree.root(), rows)

    def redo(self, rows: Iterable[Logged]) -> None:
        """Afterwards exactly these entries are the new ones. Tampered: they are none that this key made."""
        for row in rows:
            self._append(open_entry(row, self.log.keys))

    @property
    def root(self) -> bytes:
        """The root of the tree with the new entries."""
        return self._tree.root()

    def write(self) -> bytes:
        """Afterwards the database holds the new entries, tiles, and their head; its signed note, not yet committed."""
        head = Checkpoint(self.log.keys.origin, self._tree.size, self._tree.root())
        note = sign_checkpoint(head, self.key)
        connection = self.log.connection
        connection.execute(insert(HeadRow), [{"size": head.size, "note": note}])
        connection.execute(insert(EntryRow), [entry_row(entry, head.size) for entry in self.new])
        registered = [registration_row(entry) for entry in self.new if entry.record.kind == "register"]
        if registered:
            connection.execute(insert(RegistrationRow), registered)
        self._tree.flush()
        places = tuple_(col(TileRow.level), col(TileRow.number))
        connection.execute(delete(TileRow).where(places.in_(tiles.partial(self.head.size))))
        rows = [{"level": level, "number": number, "hashes": raw} for (level, number), raw in self._tiles.items()]
        connection.execute(insert(TileRow), rows)
        self.log = LedgerLog(connection, self.log.where, self.log.keys)
        return note

    def receipts(self, seqs: Iterable[int]) -> tuple[Receipt, ...]:
        """The receipts of these entries, written before or now."""
        new = {entry.seq: entry for entry in self.new}
        return tuple(self.log.receipt_of(new[seq]) if seq in new else self.log.receipt(seq) for seq in seqs)

    def _add(self, item: Pending, core: Sha256) -> int:
        if core in self._seqs:
            seq, kind = self._seqs[core]
            if kind != item.kind:
                raise Inconsistent("statement already logged as another kind", f"entry {seq}", item.kind, kind)
            return seq
        self._append(self._entry(item, core, self._tree.size))
        return self._seqs[core][0]

    def _append(self, entry: TrustedEntry) -> None:
        told = entry.require()
        self.new.append(entry)
        self._tree.add(entry.leaf_hash)
        self._seqs[told.core] = entry.seq, entry.record.kind
        if entry.record.kind == "seal":
            self._runs[told.about.forecast] = told.core

    def _entry(self, item: Pending, core: Sha256, seq: int) -> TrustedEntry:
        subject = about(item.kind, item.statement, f"entry {seq}")
        if subject.forecast not in self._runs:
            self._runs[subject.forecast] = self.log.last_run(subject.forecast)
        envelope = seal(statement_bytes(item.statement), PAYLOAD_TYPE, self.key)
        salt = self.key.salt(envelope)
        record = Entry(
            kind=item.kind,
            seq=seq,
            envelope_sha256=commitment(salt, envelope),
            payload_type=PAYLOAD_TYPE,
            previous_run=self._runs[subject.forecast],
        )
        return TrustedEntry(
            seq, entry_bytes(record), record, Disclosed(envelope, salt, item.statement, core, subject), void=False
        )

    def _emit(self, level: int, index: int, hashes: bytes) -> None:
        self._tiles[level, index] = hashes


def entry_row(entry: TrustedEntry, head: int) -> dict[str, object]:
    """The row of an entry that was first proven under the head of this size."""
    told = entry.require()
    return {
        "seq": entry.seq,
        "head": head,
        "kind": entry.record.kind,
        "forecast": told.about.forecast,
        "core_sha256": told.core,
        "leaf": entry.leaf,
        "salt": told.salt,
        "envelope": told.envelope,
    }


def registration_row(entry: TrustedEntry) -> dict[str, object]:
    """The row of the registration that an entry of kind 'register' is."""
    registration = registration_of(entry.require().statement, f"entry {entry.seq}")
    return {**registration.model_dump(by_alias=False), "seq": entry.seq}
