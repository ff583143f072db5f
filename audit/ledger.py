"""The ledger: an append-only log of sealed statements in one SQLite file. The only module that knows SQL.

What holds after every `append` and `register`, crash or not:

1. Entries, tree state, signed head and receipts change together in one transaction, or not at all.
2. A statement is logged once: the same core again gives the receipt of the first time, byte for byte.
3. No head is signed over an unchecked tree: the leaves are re-hashed, and must give the root that this key
   signed last. An edit by hand therefore stops the ledger instead of being signed into it.
4. Of one size, at most one head leaves the process. The head is signed inside the transaction and handed out
   only after the commit, so a crash or rollback forgets a head that nobody has seen; a committed head is
   never replaced, because sizes are the primary key. A restored backup would sign a second head of a size
   already signed: against that, the last head handed out is also kept outside, in `kept_head` beside the key,
   and the ledger must extend it.

SQLite: one writer at a time by a lock of our own, BEGIN IMMEDIATE, journal_mode DELETE, synchronous EXTRA.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy
from sqlalchemy import ForeignKey, Integer, LargeBinary, Text, UniqueConstraint, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import registry
from sqlalchemy.pool import NullPool
from sqlmodel import Field, Session, SQLModel, col, create_engine, select

from audit import merkle
from audit.digest import Sha256, sha256
from audit.envelope import PAYLOAD_TYPE, seal
from audit.errors import AuditError, Inconsistent, Malformed, Unavailable, Usage
from audit.kepthead import KeptHead, require_extends
from audit.kinds import About, Kind, Registration, about, registration_of
from audit.ledgerfile import BUSY_SECONDS, FileDigest, LedgerFile
from audit.note import Checkpoint, Verifier, open_checkpoint, parse_checkpoint, parse_note, sign_checkpoint
from audit.receipt import Receipt, parse_receipt, receipt_bytes
from audit.record import Entry, entry_bytes
from audit.signing import PublicKey, SigningKey
from audit.snapshot import Logged, Registered, Snapshot
from audit.statement import AnyStatement, core_bytes, statement_bytes

SCHEMA_VERSION = 1
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}


class _Table(SQLModel, registry=registry()):
    """Base of the ledger's tables: STRICT, so that SQLite itself refuses a value of another type."""

    __table_args__: ClassVar[Any] = {"sqlite_strict": True}


class _Schema(_Table, table=True):
    __tablename__ = "schema_version"
    version: int = Field(primary_key=True, sa_type=Integer)
    origin: str = Field(sa_type=Text)


class _Entry(_Table, table=True):
    __tablename__ = "entries"
    seq: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    leaf: bytes = Field(sa_type=LargeBinary)
    leaf_hash: bytes = Field(sa_type=LargeBinary)
    envelope: bytes = Field(sa_type=LargeBinary)
    envelope_sha256: str = Field(sa_type=Text, unique=True)
    core_sha256: str = Field(sa_type=Text, unique=True)
    kind: str = Field(sa_type=Text)
    forecast: str = Field(sa_type=Text)
    stage: str = Field(sa_type=Text)
    receipt: bytes = Field(sa_type=LargeBinary)


class _Tree(_Table, table=True):
    __tablename__ = "tree"
    id: int = Field(primary_key=True, sa_type=Integer)
    size: int = Field(sa_type=Integer)
    root: bytes = Field(sa_type=LargeBinary)
    frontier: bytes = Field(sa_type=LargeBinary)


class _Checkpoint(_Table, table=True):
    __tablename__ = "checkpoints"
    size: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    note: bytes = Field(sa_type=LargeBinary)


class _Registration(_Table, table=True):
    __tablename__ = "registrations"
    __table_args__: ClassVar[Any] = (UniqueConstraint("data_sha256", "number"), {"sqlite_strict": True})
    data_sha256: str = Field(primary_key=True, sa_type=Text)
    specification_sha256: str = Field(primary_key=True, sa_type=Text)
    number: int = Field(sa_type=Integer)
    seq: int = Field(sa_type=Integer, sa_column_args=[ForeignKey("entries.seq")], unique=True)


@dataclass(frozen=True, slots=True)
class Pending:
    """A statement to log, its metadata included, and the kind of entry it is to be."""

    kind: Kind
    statement: AnyStatement


@dataclass(frozen=True)
class Ledger:
    """The log `origin` in the SQLite file at `path`. Make one with `Ledger.open`; it holds nothing open."""

    path: Path
    origin: str
    signing_key: SigningKey | None
    kept_head: KeptHead | None

    @classmethod
    def open(
        cls,
        path: Path,
        origin: str,
        signing_key: SigningKey | None = None,
        *,
        create: bool = False,
        kept_head: Path | None = None,
    ) -> Ledger:
        """The ledger at `path`; a new one holds no entry and a signed head of size 0.

        Unavailable: there is none and `create` is False. Usage: `create` without a signing key. Tampered: the
        file is no ledger, is another log's, or is missing although `kept_head` shows that there was one.
        """
        ledger = cls(path, origin, signing_key, None if kept_head is None else KeptHead(kept_head))
        if create and not LedgerFile(path).exists:
            ledger._create()
        found = ledger.snapshot().origin
        if found != origin:
            raise Inconsistent("ledger of another log", path, origin, found)
        return ledger

    def append(self, items: Sequence[Pending]) -> tuple[Receipt, ...]:
        """Afterwards every item is in the log once, under a signed head that is on disk; its receipts.

        Items already logged give their first receipt. Each entry names the run that its forecast sealed last.
        Inconsistent: a statement is not of its kind. Tampered: the ledger is not as this key left it; nothing
        is logged then. Unavailable: busy, or not writable. Usage: no signing key.
        """
        with self._writing() as session:
            if any(item.kind == "register" for item in items):
                raise Usage("a registration is logged by register()", self.path)
            return self._log(session, self._checked_leaves(session), items)

    def register(
        self,
        data_sha256: Sha256,
        specification_sha256: Sha256,
        make_statement: Callable[[int], AnyStatement],
    ) -> Receipt:
        """Afterwards the specification is logged for the data as its n-th distinct one; its receipt.

        `make_statement(n)` gives the statement of kind 'register', which must say so itself (Inconsistent);
        it is not called for a specification already registered for that data, which gives its first receipt.
        Errors as `append`.
        """
        with self._writing() as session:
            leaves = self._checked_leaves(session)
            known = session.get(_Registration, (data_sha256, specification_sha256))
            if known is not None:
                return parse_receipt(session.get_one(_Entry, known.seq).receipt, f"receipt of entry {known.seq}")
            others = select(_Registration).where(_Registration.data_sha256 == data_sha256)
            number = len(session.exec(others).all()) + 1
            expected = Registration(data_sha256=data_sha256, specification_sha256=specification_sha256, number=number)
            statement = make_statement(number)
            if registration_of(statement, "registration") != expected:
                raise Inconsistent("statement registers something else", "registration", expected, statement)
            (receipt,) = self._log(session, leaves, [Pending("register", statement)])
            session.add(_Registration(**expected.model_dump(by_alias=False), seq=receipt.seq))
            return receipt

    def snapshot(self) -> Snapshot:
        """All that the ledger holds, read at one moment.

        Unavailable: there is none, or it is busy or unreadable. Malformed: the file is no ledger.
        """
        file = LedgerFile(self.path)
        with file.reading():
            digest = file.digest()
            try:
                with self._session("BEGIN") as session:
                    return self._read(session, digest)
            except (Unavailable, TypeError, ValueError):
                digest.require(self.path)  # damage can make SQLite and its drivers say many things
                raise

    @property
    def public_key(self) -> PublicKey:
        """The public half of the signing key. Usage if the ledger was opened to read only."""
        return self._key().public

    def entries(self) -> tuple[Logged, ...]:
        """Every entry, in order; unverified, as all the readers below: `audit.verify` is what trusts."""
        return self.snapshot().entries

    def leaf_hashes(self) -> tuple[bytes, ...]:
        """The leaf hash of every entry, in order."""
        return tuple(entry.leaf_hash for entry in self.entries())

    def checkpoint(self) -> bytes:
        """The signed note of the latest head."""
        return self.snapshot().checkpoints[-1][1]

    @property
    def head(self) -> Checkpoint:
        """The latest head."""
        return parse_checkpoint(parse_note(self.checkpoint()).text)

    def inclusion(self, seq: int) -> tuple[bytes, ...]:
        """The proof that entry `seq` is under the latest head. Usage if there is no such entry."""
        hashes = self.leaf_hashes()
        return merkle.inclusion_proof(hashes, seq, len(hashes))

    def consistency(self, size1: int, size2: int) -> tuple[bytes, ...]:
        """The proof that the tree of `size1` is a prefix of that of `size2`.

        1 <= size1 <= size2 <= size, or Usage.
        """
        return merkle.consistency_proof(self.leaf_hashes(), size1, size2)

    def runs(self, forecast: str) -> tuple[Logged, ...]:
        """The seal entry of every run of the forecast, oldest first."""
        return tuple(entry for entry in self.entries() if (entry.kind, entry.forecast) == ("seal", forecast))

    # -- writing

    def _create(self) -> None:
        if self._kept() is not None:
            raise Inconsistent("ledger gone, although this key has signed its head", self.path, "a ledger", "none")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = LedgerFile(self.path)
        with file.writing(), self._session("BEGIN IMMEDIATE") as session:
            if not _schema(session.connection()):  # else another process was first
                _Table.metadata.create_all(session.connection())
                empty = merkle.Frontier()
                session.add(_Schema(version=SCHEMA_VERSION, origin=self.origin))
                session.add(_Tree(id=1, size=0, root=empty.root, frontier=b""))
                session.add(_Checkpoint(size=0, note=self._sign(empty)))

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A session in the one write transaction; committed, and its head kept, if the body succeeds."""
        self._key()
        if not LedgerFile(self.path).exists:
            raise Unavailable("no ledger here", self.path)
        with LedgerFile(self.path).writing():
            with self._session("BEGIN IMMEDIATE") as session:
                _require_sound(session.connection(), self.path)
                yield session
                session.flush()
                head = self._note(session)
            if self.kept_head is not None:
                self.kept_head.keep(head)

    def _log(self, session: Session, hashes: list[bytes], items: Sequence[Pending]) -> tuple[Receipt, ...]:
        cores = [sha256(core_bytes(item.statement)) for item in items]
        new: dict[Sha256, tuple[Pending, _Entry]] = {}
        runs: dict[str, Sha256 | None] = {}
        for item, core in zip(items, cores, strict=True):
            if core in new or _logged(session, item, core) is not None:
                continue
            forecast, _ = subject = about(item.kind, item.statement, f"entry {len(hashes)}")
            previous = runs.setdefault(forecast, _last_run(session, forecast))
            entry = self._entry(item, subject, core, len(hashes), previous)
            hashes.append(entry.leaf_hash)
            new[core] = item, entry
            if item.kind == "seal":
                runs[forecast] = core
        if new:
            self._advance(session, hashes, list(new.values()))
        rows = [_logged(session, item, core) for item, core in zip(items, cores, strict=True)]
        return tuple(parse_receipt(row.receipt, f"receipt of entry {row.seq}") for row in rows if row is not None)

    def _entry(self, item: Pending, subject: About, core: Sha256, seq: int, previous_run: Sha256 | None) -> _Entry:
        """The row of a new entry; its receipt stays empty until the head of this append is known."""
        envelope = seal(statement_bytes(item.statement), PAYLOAD_TYPE, self._key())
        record = Entry(
            kind=item.kind,
            seq=seq,
            envelope_sha256=sha256(envelope),
            payload_type=PAYLOAD_TYPE,
            previous_run=previous_run,
        )
        leaf = entry_bytes(record)
        return _Entry(
            seq=seq,
            leaf=leaf,
            leaf_hash=merkle.leaf_hash(leaf),
            envelope=envelope,
            envelope_sha256=record.envelope_sha256,
            core_sha256=core,
            kind=item.kind,
            forecast=subject.forecast,
            stage=subject.stage,
            receipt=b"",
        )

    def _advance(self, session: Session, hashes: list[bytes], new: list[tuple[Pending, _Entry]]) -> None:
        """Afterwards tree state and checkpoint are those of `hashes`; the new entries have receipts."""
        frontier = merkle.Frontier.of(hashes)
        note = self._sign(frontier)
        tree = session.get_one(_Tree, 1)
        tree.size, tree.root, tree.frontier = frontier.size, frontier.root, b"".join(frontier.subtrees)
        session.add(_Checkpoint(size=frontier.size, note=note))
        for item, entry in new:
            registers = item.kind == "register"
            receipt = Receipt(
                origin=self.origin,
                seq=entry.seq,
                leaf_hash=entry.leaf_hash.hex(),
                envelope_sha256=entry.envelope_sha256,
                core_sha256=entry.core_sha256,
                tree_size=frontier.size,
                root=frontier.root.hex(),
                checkpoint=note.decode(),
                inclusion=tuple(h.hex() for h in merkle.inclusion_proof(hashes, entry.seq, frontier.size)),
                registration=registration_of(item.statement, f"entry {entry.seq}") if registers else None,
            )
            entry.receipt = receipt_bytes(receipt)
            session.add(entry)
        session.flush()

    def _checked_leaves(self, session: Session) -> list[bytes]:
        """The hash of every leaf, from its bytes; returned only if they give the head signed last."""
        rows = session.exec(select(_Entry.seq, _Entry.leaf).order_by(col(_Entry.seq))).all()
        hashes = [merkle.leaf_hash(leaf) for _, leaf in rows]
        frontier = merkle.Frontier.of(hashes)
        tree = session.get_one(_Tree, 1)
        recorded = (tree.size, tree.root, tree.frontier)
        expected = (frontier.size, frontier.root, b"".join(frontier.subtrees))
        if [seq for seq, _ in rows] != list(range(len(rows))) or recorded != expected:
            raise Inconsistent("entries and tree state differ", self.path, expected, recorded)
        verifier = Verifier(self.origin, self._key().public)
        head = open_checkpoint(self._note(session), verifier, f"{self.path}: checkpoint")
        if (head.size, head.root) != (frontier.size, frontier.root):
            raise Inconsistent("entries and signed head differ", self.path, head, (frontier.size, frontier.root))
        kept = self._kept()
        if kept is not None:
            require_extends(kept, verifier, hashes, str(self.path))
        return hashes

    def _sign(self, frontier: merkle.Frontier) -> bytes:
        return sign_checkpoint(Checkpoint(self.origin, frontier.size, frontier.root), self._key())

    def _key(self) -> SigningKey:
        if self.signing_key is None:
            raise Usage("a signing key is needed to write to the ledger", self.path)
        return self.signing_key

    def _kept(self) -> bytes | None:
        return None if self.kept_head is None else self.kept_head.read()

    def _note(self, session: Session) -> bytes:
        last = session.exec(select(_Checkpoint).order_by(col(_Checkpoint.size).desc()).limit(1)).first()
        if last is None:
            raise Inconsistent("no checkpoint", self.path, "one for every head", "none")
        return last.note

    # -- SQLite

    def _read(self, session: Session, digest: FileDigest) -> Snapshot:
        _require_sound(session.connection(), self.path)
        schema = session.exec(select(_Schema)).all()
        if [row.version for row in schema] != [SCHEMA_VERSION]:
            raise Malformed("schema version", self.path, [SCHEMA_VERSION], [row.version for row in schema])
        tree = session.exec(select(_Tree)).all()
        if [row.id for row in tree] != [1]:
            raise Malformed("tree state", self.path, "one row", f"{len(tree)} rows")
        entries = session.exec(select(_Entry).order_by(col(_Entry.seq))).all()
        checkpoints = session.exec(select(_Checkpoint).order_by(col(_Checkpoint.size))).all()
        registrations = session.exec(select(_Registration).order_by(col(_Registration.seq))).all()
        return Snapshot(
            origin=schema[0].origin,
            entries=tuple(Logged(**row.model_dump()) for row in entries),
            size=tree[0].size,
            root=tree[0].root,
            frontier=tree[0].frontier,
            checkpoints=tuple((row.size, row.note) for row in checkpoints),
            registrations=tuple(Registered(**row.model_dump()) for row in registrations),
            kept_head=self._kept(),
            file=digest,
        )

    @contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        """A session in one transaction, committed unless the body raises; its errors are this package's."""
        try:
            with Session(_engine(self.path, begin)) as session, session.begin():
                yield session
        except sqlalchemy.exc.DatabaseError as error:
            raise _translated(error, self.path) from error


def _logged(session: Session, item: Pending, core: Sha256) -> _Entry | None:
    row = session.exec(select(_Entry).where(_Entry.core_sha256 == core)).first()
    if row is not None and row.kind != item.kind:
        raise Inconsistent("statement already logged as another kind", f"entry {row.seq}", item.kind, row.kind)
    return row


def _last_run(session: Session, forecast: str) -> Sha256 | None:
    sealed = select(_Entry.core_sha256).where(_Entry.kind == "seal", _Entry.forecast == forecast)
    return session.exec(sealed.order_by(col(_Entry.seq).desc()).limit(1)).first()


def _engine(path: Path, begin: str) -> Engine:
    """An engine whose every transaction starts with `begin`: the driver's own would not lock at once."""
    options = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool, connect_args=options)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        for setting in ("synchronous=EXTRA", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _require_sound(connection: Connection, path: Path) -> None:
    """Returns only if the file is intact for SQLite, in journal mode DELETE, with the declared tables."""
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "delete":
        raise Malformed("journal mode", path, "delete", mode)
    faults = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
    if faults != ["ok"]:
        raise Malformed("database damaged", path, "integrity_check ok", "; ".join(faults))
    found, expected = _schema(connection), _declared_schema()
    if found != expected:
        raise Malformed("database schema", path, *_first_difference(expected, found))


def _schema(connection: Connection) -> tuple[str, ...]:
    """Every table, index, trigger and view, one line each, sorted."""
    rows = connection.exec_driver_sql("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2")
    return tuple(" ".join(" ".join(row).split()) for row in rows)


@cache
def _declared_schema() -> tuple[str, ...]:
    engine = create_engine("sqlite://", poolclass=NullPool)
    with engine.begin() as connection:
        _Table.metadata.create_all(connection)
        return _schema(connection)


def _first_difference(expected: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, str]:
    missing = [line for line in expected if line not in found]
    surplus = [line for line in found if line not in expected]
    return (missing[0] if missing else "nothing more"), (surplus[0] if surplus else "nothing")


def _translated(error: sqlalchemy.exc.DatabaseError, path: Path) -> AuditError:
    """Damage is Malformed; busy, full or unreadable is Unavailable. No code: a text was not UTF-8."""
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _CORRUPT:
        return Malformed("database damaged", path, "a ledger", error.orig)
    return Unavailable(f"cannot use the ledger: {error.orig}", path)
