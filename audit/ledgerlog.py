"""The ledger as something to read, at one moment: rows as they lie there, and proofs from the tiles.

Everything streams: a reading costs the memory of a few rows and tiles, however long the log is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias
from weakref import WeakSet

from sqlalchemy import Executable
from sqlalchemy.engine import Connection
from sqlmodel import col, func, select

from audit import tiles
from audit.digest import Sha256
from audit.errors import Inconsistent, Malformed, Usage
from audit.ledgertables import AttachmentRow, EntryRow, HeadRow, RegistrationRow, SchemaRow, TileRow
from audit.logsource import Logged
from audit.note import Checkpoint
from audit.receipt import Receipt, receipt_of
from audit.trustedentry import TrustedEntry, open_entry
from audit.trustroot import TrustRoot

Attached: TypeAlias = Literal["cosignature", "timestamp"]
MAX_ROWS = 500  # fetched, or asked for, at once
MAX_TILES = 64  # remembered
_LOGGED = (EntryRow.seq, EntryRow.leaf, EntryRow.salt, EntryRow.envelope)


class EntryFacts(NamedTuple):
    """What a row says of its entry beside the entry itself."""

    seq: int
    kind: str
    forecast: str
    core_sha256: Sha256
    head: int


class Registered(NamedTuple):
    """One row of the registrations: specification `number` for the data, logged as entry `seq`."""

    seq: int
    data_sha256: Sha256
    specification_sha256: Sha256
    number: int


@dataclass(eq=False)
class LedgerLog:
    """The log behind `connection`, as long as its transaction lasts. Implements `audit.logsource.Log`."""

    connection: Connection
    where: str
    keys: TrustRoot
    _tiles: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False)
    _streams: WeakSet[Generator[Any, None, None]] = field(default_factory=WeakSet, repr=False)

    def close(self) -> None:
        """Afterwards no cursor of this log is open; call it before its transaction ends."""
        for rows in list(self._streams):
            rows.close()

    @property
    def origin(self) -> str:
        """The log's name, as the database says. Malformed unless it says one."""
        rows = self._all(select(SchemaRow.origin))
        if len(rows) != 1:
            raise Malformed("schema version", self.where, "one row", f"{len(rows)} rows")
        return str(rows[0][0])

    def entries(self, start: int = 0) -> Iterator[Logged]:
        """Every entry from number `start`, in the order of their numbers."""
        rows = self._stream(select(*_LOGGED).where(col(EntryRow.seq) >= start).order_by(col(EntryRow.seq)))
        return (Logged(*row) for row in rows)

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """Every signed head, as (size, note), by size."""
        rows = self._stream(select(HeadRow.size, HeadRow.note).order_by(col(HeadRow.size)))
        return ((row[0], row[1]) for row in rows)

    def covering(self, seq: int) -> tuple[int, bytes]:
        """The first head over entry `seq`, as (size, note). Inconsistent: there is none."""
        larger = select(HeadRow.size, HeadRow.note).where(col(HeadRow.size) > seq)
        row = self._first(larger.order_by(col(HeadRow.size)).limit(1))
        if row is None:
            raise Inconsistent("no head covers the entry", f"entry {seq}", "a checkpoint", "none")
        return row[0], row[1]

    def find(self, core: Sha256) -> tuple[Logged, ...]:
        """The entries whose statements have this core, by number: one, unless one before it is void."""
        rows = self._all(select(*_LOGGED).where(col(EntryRow.core_sha256) == core).order_by(col(EntryRow.seq)))
        return tuple(Logged(*row) for row in rows)

    def tile(self, level: int, index: int) -> bytes:
        """The stored hashes of a tile, joined. Malformed: there is none."""
        if (level, index) not in self._tiles:
            place = (col(TileRow.level) == level, col(TileRow.number) == index)
            row = self._first(select(TileRow.hashes).where(*place))
            if row is None:
                raise Malformed("tile deleted", f"tile {level}/{index}", "its hashes", "no such row")
            if len(self._tiles) >= MAX_TILES:
                self._tiles.clear()
            self._tiles[level, index] = row[0]
        return self._tiles[level, index]

    def head(self) -> tuple[int, bytes]:
        """The latest head, as (size, note). Inconsistent: there is none."""
        row = self._first(select(HeadRow.size, HeadRow.note).order_by(col(HeadRow.size).desc()).limit(1))
        if row is None:
            raise Inconsistent("no checkpoint", self.where, "one for every head", "none")
        return row[0], row[1]

    @property
    def size(self) -> int:
        """The number of entries under the latest head."""
        return self.head()[0]

    def note(self, size: int) -> bytes | None:
        """The signed note of the head of this size, None if no head of it was signed."""
        row = self._first(select(HeadRow.note).where(col(HeadRow.size) == size))
        return None if row is None else bytes(row[0])

    def receipt(self, seq: int) -> Receipt:
        """The receipt of entry `seq`, under the first head that covers it: the same bytes, always.

        Usage: no such entry. Tampered: the entry, its head or the tiles contradict each other.
        """
        row = self._first(select(*_LOGGED).where(col(EntryRow.seq) == seq))
        if row is None:
            raise Usage("no such entry", self.where, f"0 <= seq < {self.size}", seq)
        return self.receipt_of(open_entry(Logged(*row), self.keys))

    def receipt_of(self, entry: TrustedEntry) -> Receipt:
        """The receipt of an entry of this log that was opened already. Errors as `receipt`."""
        return receipt_of(self, self.keys, entry)

    def inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """The proof that entry `seq` is in the tree of `size` entries. Usage unless 0 <= seq < size <= all."""
        self._require_size(size)
        return tiles.inclusion(self.tile, seq, size)

    def consistency(self, size1: int, size2: int) -> tuple[bytes, ...]:
        """The proof that the tree of `size1` is a prefix of that of `size2`; 1 <= size1 <= size2 <= all, or Usage."""
        self._require_size(size2)
        return tiles.consistency(self.tile, size1, size2)

    def attached(self, size: int) -> tuple[tuple[Attached, bytes], ...]:
        """What others signed over the head of this size, sorted."""
        rows = self._all(select(AttachmentRow.kind, AttachmentRow.data).where(col(AttachmentRow.size) == size))
        return tuple(sorted((kind, bytes(data)) for kind, data in rows))

    # -- what only the writer and the checks of redundancy ask

    def facts(self) -> Iterator[EntryFacts]:
        """What the rows say of every entry, in order."""
        columns = (EntryRow.seq, EntryRow.kind, EntryRow.forecast, EntryRow.core_sha256)
        rows = self._stream(select(*columns, EntryRow.head).order_by(col(EntryRow.seq)))  # type: ignore[call-overload]
        return (EntryFacts(*row) for row in rows)

    def registrations(self) -> Iterator[Registered]:
        """Every registration, by entry."""
        columns = (RegistrationRow.data_sha256, RegistrationRow.specification_sha256, RegistrationRow.number)
        rows = self._stream(select(RegistrationRow.seq, *columns).order_by(col(RegistrationRow.seq)))
        return (Registered(*row) for row in rows)

    def attachments(self) -> Iterator[tuple[int, str, Sha256, bytes]]:
        """Every attachment, as (size, kind, sha256, data), by size."""
        columns = (AttachmentRow.size, AttachmentRow.kind, AttachmentRow.sha256, AttachmentRow.data)
        rows = self._stream(select(*columns).order_by(col(AttachmentRow.size)))
        return ((row[0], row[1], row[2], row[3]) for row in rows)

    def tile_places(self) -> Iterator[tuple[int, int]]:
        """The (level, index) of every tile, sorted."""
        columns = (TileRow.level, TileRow.number)
        rows = self._stream(select(*columns).order_by(col(TileRow.level), col(TileRow.number)))
        return ((row[0], row[1]) for row in rows)

    def last_seq(self) -> int:
        """The number of the last entry, -1 if there is none."""
        row = self._first(select(func.max(EntryRow.seq)))
        return -1 if row is None or row[0] is None else int(row[0])

    def logged(self, cores: Iterable[Sha256]) -> dict[Sha256, tuple[int, str]]:
        """(seq, kind) of those of these cores that are in the log and not void."""
        asked, found = list(dict.fromkeys(cores)), {}
        for at in range(0, len(asked), MAX_ROWS):
            some = select(EntryRow.core_sha256, EntryRow.seq, EntryRow.kind)
            for row in self._all(some.where(col(EntryRow.core_sha256).in_(asked[at : at + MAX_ROWS]))):
                if not self.keys.is_void(int(row[1]) + 1):
                    found[str(row[0])] = (int(row[1]), str(row[2]))
        return found

    def last_run(self, forecast: str) -> Sha256 | None:
        """The run that this forecast sealed last."""
        sealed = select(EntryRow.core_sha256).where(col(EntryRow.forecast) == forecast, col(EntryRow.kind) == "seal")
        row = self._first(sealed.order_by(col(EntryRow.seq).desc()).limit(1))
        return None if row is None else str(row[0])

    def registered(self, data_sha256: Sha256, specification_sha256: Sha256) -> int | None:
        """The entry that registers this specification for this data, and is not void."""
        place = (col(RegistrationRow.data_sha256) == data_sha256,)
        this = select(RegistrationRow.seq).where(
            *place, col(RegistrationRow.specification_sha256) == specification_sha256
        )
        seqs = [int(row[0]) for row in self._all(this)]
        return next((seq for seq in seqs if not self.keys.is_void(seq + 1)), None)

    def registered_count(self, data_sha256: Sha256) -> int:
        """How many registrations there are for this data, void ones too: their numbers are taken."""
        mine = select(func.count()).select_from(RegistrationRow)
        row = self._first(mine.where(col(RegistrationRow.data_sha256) == data_sha256))
        return 0 if row is None else int(row[0])

    def _require_size(self, size: int) -> None:
        if size > self.size:
            raise Usage("no tree of this size", self.where, f"at most {self.size}", size)

    def _all(self, statement: Executable) -> list[Any]:
        return list(self.connection.execute(statement))

    def _first(self, statement: Executable) -> Any:
        return self.connection.execute(statement).first()

    def _stream(self, statement: Executable) -> Iterator[Any]:
        """The rows, from a cursor on the server where there is one: a few first, then more at a time."""
        rows = self._rows(statement.execution_options(stream_results=True, max_row_buffer=MAX_ROWS))
        self._streams.add(rows)
        return rows

    def _rows(self, statement: Executable) -> Generator[Any, None, None]:
        with self.connection.execute(statement) as result:
            yield from result


def open_last(log: LedgerLog) -> Checkpoint:
    """The latest head, returned only if the log's key signed it and the stored tree state gives exactly its root.

    Tampered otherwise. A head that is void by now is still the one to go on from.
    """
    size, note = log.head()
    where = f"{log.where}: checkpoint of size {size}"
    head = log.keys.open_head(note, where, void=True)
    if head.size != size:
        raise Inconsistent("checkpoint of another size", where, size, head.size)
    if log.last_seq() + 1 != size:
        raise Inconsistent("entries and signed head differ", log.where, f"{size} entries", f"{log.last_seq() + 1}")
    if (found := tiles.root(log.tile, size)) != head.root:
        raise Inconsistent("tree state and signed head differ", f"{log.where}: tiles", head.root, found)
    return head
