"""Changing the root of trust by root keys, some of which may live elsewhere: a draft collects their signatures.

begin, or change_root_keys       a version that lacks signatures lies as a draft beside the keys
sign_file                        each owner of a root key adds a signature to a copy of it
accept_if_whole                  with all of them it is the next version, and there is no draft
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit import signing
from audit.errors import KeyRefused, Unavailable, Usage
from audit.keyring import Keyring, default_origin
from audit.receipt import Receipt
from audit.root import RootFile, first_root, missing, with_root_keys
from audit.signing import PublicKey, SigningKey


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a change: the version, what signatures it still lacks (then it is a draft), and its log entry."""

    file: RootFile
    lacking: tuple[str, ...]
    receipt: Receipt | None = None


def begin(keyring: Keyring, others: Sequence[PublicKey], threshold: int, origin: str | None) -> Change:
    """Afterwards there is a root of trust, of the root key here and of `others`, or a draft of it.

    What was begun before stays. Usage: it was begun otherwise, or the threshold cannot be reached.
    """
    if not keyring.exists and (others or threshold != 1):
        if (draft := keyring.draft()) is None:
            own = signing.load_or_create(keyring.folder / "root.pem", keyring.secret)
            log = signing.load_or_create(keyring.folder / "ledger.pem", keyring.secret)
            name = origin or default_origin(own.public)
            draft = first_root(name, log.public, [own.public, *others], threshold).sign(own, log)
            keyring.propose(draft)
        return accept_if_whole(keyring, draft, None)
    keyring.begin(origin=origin)
    return Change(keyring.versions()[-1], ())


def change_root_keys(
    keyring: Keyring, add: Sequence[PublicKey], remove: Sequence[str], threshold: int | None
) -> Change:
    """Afterwards the root keys are with `add`, without those whose ids begin with one of `remove`; or a draft says so.

    With neither, and no threshold, a new key made here takes the place of the one here. Usage: a draft waits already,
    or no such key or threshold.
    """
    with keyring.changing():
        require_no_draft(keyring)
        old = keyring.versions()[-1]
        kept = [key for key in old.root_keys if not key.key_id.startswith(tuple(remove))]
        if remove and len(kept) + len(set(remove)) != len(old.root_keys):
            raise Usage(
                "not the root keys to remove", keyring.folder, "the beginning of each one's id", ", ".join(remove)
            )
        signers = list(keyring.private_keys(old.root_keys))
        added = list(add)
        if not (add or remove or threshold):
            mine = {key.public for key in signers}
            kept = [key for key in old.root_keys if key not in mine]
            new_key = SigningKey.generate()
            keyring.keep("root", new_key)
            signers.append(new_key)
            added = [new_key.public]
        new = with_root_keys(old, [*kept, *added], threshold or old.signed.roles.root.threshold)
        return accept_if_whole(keyring, new.sign(*signers), old)


def sign_file(file: RootFile, keyring: Keyring, key: Path | None) -> RootFile:
    """`file` with the signature of the private key at `key`, or of every private key here that counts for it.

    What counts are its root keys, and those of the version before it if that lies here. KeyRefused: `key` does not.
    Unavailable: no such key.
    """
    before = keyring.versions()[-1] if keyring.exists else None
    follows = before is not None and (before.trust.origin, before.version + 1) == (file.trust.origin, file.version)
    counting = {*file.root_keys, *(before.root_keys if before is not None and follows else ())}
    signers = keyring.private_keys(counting) if key is None else (signing.load(key, keyring.secret),)
    if not signers:
        raise Unavailable("no private root key here that this root of trust names", keyring.folder)
    if key is not None and signers[0].public not in counting:
        raise KeyRefused("not a root key of this root of trust", key, "one of them", signers[0].public.key_id)
    return file.sign(*signers)


def accept_if_whole(keyring: Keyring, file: RootFile, old: RootFile | None) -> Change:
    """Afterwards `file` is the latest version, or the draft if signatures are lacking."""
    lacking = missing(file, old)
    if lacking:
        keyring.propose(file)
    else:
        keyring.accept(file)
    return Change(file, lacking)


def require_no_draft(keyring: Keyring) -> None:
    if keyring.draft() is not None:
        raise Usage("a draft waits for signatures: publish it, or delete it", keyring.draft_path)
