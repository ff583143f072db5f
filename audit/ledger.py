"""The ledger: an append-only log of sealed statements in a database. Its one writer.

What holds after every `append` and `register`, crash or not:

1. Entries, tiles and the signed head change together in one transaction, or not at all.
2. A statement is logged once: the same core again gives the receipt of the first time, byte for byte.
3. No head is signed over an unchecked tree: the stored tiles must give exactly the root that was signed last, that
   head must be the key's, and the head kept beside the key must lie on the same tree. Every old entry is then bound
   by the tiles' hashes; that rows still are what was hashed is for verification to find (`audit.trust`).
4. Of one size, at most one head is ever signed. What is to be signed is first written down beside the key, in the
   intent; then it is signed and committed; then the kept head is renewed and the intent removed; and only then is
   anything handed out. A lock beside the key covers all of it.

Every moment at which the process, the machine or the disk may stop (Ed25519 and salts are deterministic, so doing
the same again gives the same bytes):

    before the intent is whole     nothing was signed; a draft is left at most
    intent, not yet committed      the database is at the intent's base: the next writer does exactly it, and no other
    committed, kept head is old    the database holds the intent's tree: the next writer keeps that head and goes on
    kept head new, intent left     the same
    a backup put back meanwhile    neither the base nor the tree of the intent, or older than the kept head: refused

An append is O(log n) in time; what it writes is on disk when it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.engine import Connection

from audit import ledgerdb, tiles
from audit.digest import Sha256, sha256
from audit.errors import Inconsistent, KeyRefused, Unavailable, Usage
from audit.filelock import locked
from audit.intent import Intent, IntentFile
from audit.kepthead import KeptHead, require_extends
from audit.keyring import Keyring
from audit.kinds import Registration, registration_of
from audit.ledgerbatch import Batch, Pending
from audit.ledgerdb import Database
from audit.ledgerindex import Index
from audit.ledgerlog import Attached, LedgerLog, open_last
from audit.ledgertables import SCHEMA_VERSION, AttachmentRow, HeadRow, SchemaRow
from audit.merkle import EMPTY_ROOT
from audit.note import Checkpoint, sign_checkpoint
from audit.receipt import Receipt
from audit.signing import PublicKey, SigningKey
from audit.statement import AnyStatement
from audit.staticlog import export
from audit.trust import TrustedLog, trust
from audit.trustroot import TrustRoot

__all__ = ["Ledger", "Pending"]


@dataclass(frozen=True)
class Ledger:
    """The log in `database`, signed by the keys of `keyring`. Make one with `Ledger.open`; it holds nothing open.

    `anchored` is the root of trust that a reader brought, None for the keyring's own. The lock, the intent and the
    kept head lie in the keyring's folder.
    """

    database: Database
    keyring: Keyring
    anchored: TrustRoot | None = None
    signing_key: SigningKey | None = None

    @classmethod
    def open(
        cls,
        database: Database,
        keyring: Keyring,
        anchored: TrustRoot | None = None,
        signing_key: SigningKey | None = None,
    ) -> Ledger:
        """The ledger in `database`; with a signing key it is begun if there is none, and an open intent is done.

        Unavailable: there is none. Usage: of another schema. Tampered: it is no ledger, is another log's, is gone
        although a kept head shows that there was one, or is not where the intent began. KeyRefused: not its key.
        """
        ledger = cls(database, keyring, anchored, signing_key)
        if signing_key is not None:
            with ledger._signing():
                pass
        with ledger.reading():
            return ledger

    @property
    def where(self) -> str:
        """The database's name in messages."""
        return self.database.where

    @property
    def keys(self) -> TrustRoot:
        """Whose signatures count, at this moment."""
        return self.anchored or self.keyring.trust()

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.keys.origin

    @property
    def public_key(self) -> PublicKey:
        """The public half of the signing key. Usage if the ledger was opened to read only."""
        return self._key().public

    def append(self, items: Sequence[Pending]) -> tuple[Receipt, ...]:
        """Afterwards every item is in the log once, under a signed head that is on disk; its receipts.

        Items already logged give their first receipt. Each entry names the run that its forecast sealed last.
        Inconsistent: a statement is not of its kind. Tampered: the ledger is not as this key left it; nothing
        is signed then. Unavailable: busy, or not writable: the items may be logged by the next append, or not.
        KeyRefused: not the key of this place in the log. Usage: no signing key, or too much for one append.
        """
        if any(item.kind == "register" for item in items):
            raise Usage("a registration is logged by register()", self.where)
        return self._append(lambda batch: batch.add(items))

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

        def work(batch: Batch) -> tuple[int, ...]:
            known = batch.log.registered(data_sha256, specification_sha256)
            if known is not None:
                return (known,)
            number = batch.log.registered_count(data_sha256) + 1
            expected = Registration(data_sha256=data_sha256, specification_sha256=specification_sha256, number=number)
            statement = make_statement(number)
            if registration_of(statement, "registration") != expected:
                raise Inconsistent("statement registers something else", "registration", expected, statement)
            return batch.add([Pending("register", statement)])

        (receipt,) = self._append(work)
        return receipt

    def attach(self, size: int, kind: Attached, data: bytes) -> None:
        """Afterwards the head of this size has what somebody else signed over it; once, however often attached.

        `data` is not looked at. Usage: no head of this size. Otherwise errors as `append`.
        """
        name = sha256(data)
        with self.database.writing() as connection:
            log = self._log(connection, self.keys)
            if log.note(size) is None:
                raise Usage("no head of this size", self.where, "the size of a signed head", size)
            if (kind, data) not in log.attached(size):
                row = {"size": size, "kind": kind, "sha256": name, "data": data}
                connection.execute(insert(AttachmentRow), [row])

    @contextmanager
    def reading(self) -> Iterator[LedgerLog]:
        """All that the ledger holds, at one moment, nothing of it verified.

        Unavailable: there is none, or it is busy or unreadable. Tampered: damaged, or gone although its head is kept.
        """
        self._require_there()
        keys = self.keys
        with self.database.reading() as connection, closing(self._log(connection, keys)) as log:
            yield log

    @contextmanager
    def trusted(self) -> Iterator[TrustedLog]:
        """The log as `audit.trust` verifies it, whole, with everything the database repeats of it.

        Tampered: the first thing that is wrong. Otherwise errors as `reading`.
        """
        kept = self._kept.read()  # before the log: it may only be older than what is then read
        with self.reading() as log:
            index = Index(log)
            trusted = trust(log, log.keys, visit=index.visit, kept=[] if kept is None else [kept])
            index.finish()
            self.database.require_intact(log.connection)  # last: what is wrong with an entry is said of the entry
            yield trusted

    @contextmanager
    def still(self) -> Iterator[LedgerLog]:
        """The log while nobody signs: no intent is open, and the log is as its key left it. Errors as `append`.

        Call it under `Keyring.changing` to change the key: it does not take the keyring's lock.
        """
        keys = self.keys
        with (
            self._settled(keys, self._key()),
            self.database.reading() as connection,
            closing(self._log(connection, keys)) as log,
        ):
            self._checked(log)
            yield log

    def export_tiles(self, folder: Path) -> int:
        """Afterwards `folder` serves the log as C2SP tiles up to its latest head; its size. As `staticlog.export`."""
        with self.reading() as log:
            return export(log, log.keys, folder)

    # -- writing

    def _append(self, work: Callable[[Batch], tuple[int, ...]]) -> tuple[Receipt, ...]:
        with self._signing() as (keys, key):
            with self.database.writing() as connection:
                log = self._log(connection, keys)
                batch = Batch(log, self._checked(log), key)
                wanted = work(batch)
                note = None
                if batch.new:
                    self._intent.write(batch.intent())
                    note = batch.write()
                receipts = batch.receipts(wanted)
            if note is not None:
                self._conclude(note)
            return receipts

    @contextmanager
    def _signing(self) -> Iterator[tuple[TrustRoot, SigningKey]]:
        """The keys, which stay the log's inside, where no other process signs, and all that was intended is done."""
        with self.keyring.signing(self._key()) as (keys, key), self._settled(keys, key):
            yield keys, key

    @contextmanager
    def _settled(self, keys: TrustRoot, key: SigningKey) -> Iterator[None]:
        """Inside, no other process signs; the ledger is begun, and whatever was intended before is done."""
        with locked(self.keyring.folder / "ledger.lock", ledgerdb.BUSY_SECONDS, "the ledger"):
            if not self.database.exists():
                self._begin(keys, key)
            intent = self._intent.read()
            if intent is not None:
                self._conclude(self._settle(intent, keys, key))
            yield

    def _begin(self, keys: TrustRoot, key: SigningKey) -> None:
        """Afterwards there is a ledger of no entries; its head says nothing, so that signing it again does no harm."""
        self._require_never_signed()
        if keys.span(0).key != key.public:
            raise KeyRefused("not the key that began this log", self.where, keys.span(0).key.key_id, key.public.key_id)
        with self.database.writing() as connection:
            if not self.database.found_schema(connection):  # else a writer with another key folder was first
                self.database.create(connection)
                connection.execute(insert(SchemaRow), [{"version": SCHEMA_VERSION, "origin": keys.origin}])
                note = sign_checkpoint(Checkpoint(keys.origin, 0, EMPTY_ROOT), key)
                connection.execute(insert(HeadRow), [{"size": 0, "note": note}])

    def _settle(self, intent: Intent, keys: TrustRoot, key: SigningKey) -> bytes:
        """Afterwards the database holds what was intended; its last head. Inconsistent: it can hold it no more."""
        where = str(self._intent.path)
        with self.database.writing() as connection:
            log = self._log(connection, keys)
            head = self._checked(log)
            if intent.origin != log.keys.origin:
                raise Inconsistent("intent of another log", where, log.keys.origin, intent.origin)
            if (head.size, head.root.hex()) == (intent.base_size, intent.base_root):
                batch = Batch(log, head, key)
                batch.redo(intent.rows(where))
                if batch.root.hex() != intent.root:
                    raise Inconsistent("intent of another tree", where, intent.root, batch.root)
                return batch.write()
            if head.size < intent.size or tiles.root(log.tile, intent.size).hex() != intent.root:
                what = f"another tree than that intended at size {intent.base_size}, or older"
                raise Inconsistent(what, self.where, f"size {intent.size}, root {intent.root}", head)
            return log.head()[1]

    def _conclude(self, note: bytes) -> None:
        """What was intended is committed under `note`: that is kept, then the intent is no more."""
        self._kept.keep(note)
        self._intent.clear()

    def _checked(self, log: LedgerLog) -> Checkpoint:
        """The last head, returned only if tree state, signature and kept head agree on it."""
        head = open_last(log)
        kept = self._kept.read()
        if kept is not None:
            require_extends(kept, log.keys, log.tile, head.size, head.root, self.where)
        return head

    def _log(self, connection: Connection, keys: TrustRoot) -> LedgerLog:
        self.database.require_schema(connection)
        log = LedgerLog(connection, self.where, keys)
        if log.origin != keys.origin:
            raise Inconsistent("ledger of another log", self.where, keys.origin, log.origin)
        return log

    def _require_there(self) -> None:
        if not self.database.exists():
            self._require_never_signed()
            raise Unavailable("no ledger here", self.where)

    def _require_never_signed(self) -> None:
        kept = self._kept.read()
        if kept is not None:
            what = "ledger gone, although this key has signed its head"
            raise Inconsistent(what, self.where, "a ledger", "none")

    def _key(self) -> SigningKey:
        if self.signing_key is None:
            raise Usage("a signing key is needed to write to the ledger", self.where)
        return self.signing_key

    @property
    def _kept(self) -> KeptHead:
        return KeptHead(self.keyring.folder / "ledger.head")

    @property
    def _intent(self) -> IntentFile:
        return IntentFile(self.keyring.folder / "ledger.intent")
