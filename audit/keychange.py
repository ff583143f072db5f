"""Changing the keys of an installation: the root of trust first, then an entry of the log that says so.

The order, and what a crash between leaves (doing the same again completes it):

    1  the new private key is on disk         a file that no root of trust names
    2  the next root.json is on disk          the new key signs from here on; the log does not yet say why
    3  the log holds a statement of kind key  done

Steps 1 and 2 happen while nobody signs (`Keyring.changing`, `Ledger.still`): the log has s entries, the old key is void
from size s + 1 on, and the new one signs from there, this statement included. A revocation may name an earlier size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from audit.digest import digest_path
from audit.errors import Unavailable, Usage
from audit.home import Home
from audit.keyring import Keyring
from audit.ledger import Ledger, Pending
from audit.ledgerlog import LedgerLog
from audit.receipt import Receipt
from audit.resource import Subject
from audit.root import Reason, RootFile, with_log_key
from audit.rootchange import Change, accept_if_whole, require_no_draft
from audit.signing import SigningKey
from audit.statement import KeyChange, KeyStatement, Metadata


def change_log_key(home: Home, reason: Reason, now: Metadata, void_from: int | None = None) -> Change:
    """Afterwards another key, made here, signs the log, or a draft says so; or a change begun before is complete.

    Rotated: void from the next entry on, and the old key signs its own end. Revoked: void from tree size `void_from`
    on, or from the next entry on. Usage: a draft waits already, or the size lies outside the old key's span.
    """
    keyring = home.keyring
    ledger = _writer(home, reason)
    if ledger is not None and (receipt := _log_changes(ledger, keyring, now)) is not None:
        return Change(keyring.versions()[-1], (), receipt)
    with keyring.changing(), _still(home, ledger) as log:
        require_no_draft(keyring)
        old, key = keyring.versions()[-1], SigningKey.generate()
        new = with_log_key(old, key.public, log.size + 1, reason, void_from)
        keyring.keep("ledger", key)
        wanted = {*old.root_keys} | ({old.log_key} if reason == "rotated" else set())
        change = accept_if_whole(keyring, new.sign(key, *keyring.private_keys(wanted)), old)
    return change if change.lacking else Change(change.file, (), _log_changes(home.writer(), keyring, now))


def publish(home: Home, files: Sequence[RootFile], now: Metadata) -> Change:
    """Afterwards the version that `files`, and the draft, are copies of is in force, with all their signatures.

    Inconsistent: they differ in more than signatures. Usage: nothing to publish, or the log has grown since the draft
    was made. Signatures still lacking keep it a draft.
    """
    keyring = home.keyring
    draft = keyring.draft()
    copies = [*([] if draft is None else [draft]), *files]
    if not copies:
        raise Usage("nothing to publish", keyring.folder, "a draft", "none")
    file = copies[0]
    for copy in copies[1:]:
        file = file.merge(copy)
    if not keyring.exists:
        return accept_if_whole(keyring, file, None)
    old = keyring.versions()[-1]
    if old.log_key == file.log_key:
        with keyring.changing():
            return accept_if_whole(keyring, file, old)
    ended = file.signed.noptik.spans[-2:][0]
    ledger = _writer(home, ended.reason or "rotated")
    with keyring.changing(), _still(home, ledger) as log:
        first = file.trust.spans[-1].first
        if first != log.size + 1:
            what = "the log has grown since the draft was made: delete it and make it again"
            raise Usage(what, keyring.draft_path, log.size + 1, first)
        change = accept_if_whole(keyring, file, old)
    return change if change.lacking else Change(change.file, (), _log_changes(home.writer(), keyring, now))


def _log_changes(ledger: Ledger, keyring: Keyring, now: Metadata) -> Receipt | None:
    """Afterwards the log holds a statement for each change of its key; the receipt of the last that was lacking."""
    versions = keyring.versions()
    pending = [
        Pending("key", _statement(keyring, old, new, now))
        for old, new in pairwise(versions)
        if old.log_key != new.log_key
    ]
    if not pending:
        return None
    with ledger.reading() as log:
        size = log.size
    receipt = ledger.append(pending)[-1]
    return receipt if receipt.seq >= size else None


def _statement(keyring: Keyring, old: RootFile, new: RootFile, now: Metadata) -> KeyStatement:
    ended = new.signed.noptik.spans[len(old.signed.noptik.spans) - 1]
    change = KeyChange(
        action="rotate" if ended.reason == "rotated" else "revoke",
        root_version=new.version,
        key=old.log_key.key_id,
        void_from=ended.void_from or 0,
        metadata=now,
    )
    path = keyring.version_path(new.version)
    return KeyStatement(subject=(Subject.of(f"trust/{path.name}", digest_path(path)),), predicate=change)


def _writer(home: Home, reason: Reason) -> Ledger | None:
    """The ledger to write to; None where the old key is gone, which only a revocation can do without."""
    try:
        return home.writer()
    except Unavailable:
        if reason == "rotated" or _has_key(home):
            raise
    _require_no_intent(home)
    return None


def _has_key(home: Home) -> bool:
    try:
        home.keyring.signing_key()
    except Unavailable:
        return False
    return True


@contextmanager
def _still(home: Home, ledger: Ledger | None) -> Iterator[LedgerLog]:
    """The log while nobody here can sign."""
    if ledger is None:
        _require_no_intent(home)  # again, now that nobody can begin one
    with home.reader().reading() if ledger is None else ledger.still() as log:
        yield log


def _require_no_intent(home: Home) -> None:
    if (intent := home.keyring.folder / "ledger.intent").exists():
        raise Unavailable("an append was cut short, and only the key that is gone can finish it", intent)
