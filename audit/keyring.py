"""The keys of one installation: its root of trust, which is public, and the private keys that sign.

    keys/root/1.root.json ...      the root of trust, version by version (`audit.root`)
    keys/root.pem                  the first root key; later ones are root-<first 16 digits of the key id>.pem
    keys/ledger.pem                the first log key; later ones are ledger-<first 16 digits of the key id>.pem
    keys/draft.root.json           the next version, while it waits for signatures of root keys that live elsewhere
    keys/lock                      locked (flock) by who changes the root of trust, shared by who signs under it

Lock order: this lock first, then the ledger's. A root key may also live elsewhere, and then nothing of it lies here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from audit import durable, signing
from audit.errors import Inconsistent, KeyRefused, Unavailable, Usage
from audit.filelock import locked
from audit.root import MAX_ROOT_BYTES, RootFile, first_root, follow, parse_root
from audit.signing import PublicKey, Secret, SigningKey
from audit.trustroot import TrustRoot

BUSY_SECONDS = 60.0
_VERSION = re.compile(r"([1-9][0-9]*)\.root\.json")
_PRIVATE = re.compile(r"(root|ledger)(-[0-9a-f]{16})?\.pem")


@dataclass(frozen=True)
class Keyring:
    """The keys in `folder`; private ones are kept under `passphrase`, if there is one."""

    folder: Path
    passphrase: Secret | bytes | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.passphrase, bytes):
            object.__setattr__(self, "passphrase", Secret(self.passphrase))

    @property
    def exists(self) -> bool:
        """Whether there is a root of trust here."""
        return self.version_path(1).exists()

    def begin(self, key: SigningKey | None = None, origin: str | None = None) -> None:
        """Afterwards there is a root of trust here, whole and on disk; what was there already stays.

        A new one is of a root key and a log key made here. With `key` given, that key is both, and no private key
        is written. Of several creators at once all end with the same one. `origin` is the log's name, by default
        derived from the root key. KeyRefused: another key or name signs here. Usage: the keys are of the first
        schema, and only a migration, which gives their `key`, may begin a root of trust for them. Otherwise errors
        as `signing.load_or_create`.
        """
        if not self.exists:
            self._require_no_old(key)
            if self.draft() is not None:
                raise Unavailable(
                    "the root of trust awaits signatures: see `python -m audit keys show`", self.draft_path
                )
            root = key or signing.load_or_create(self.folder / "root.pem", self.secret)
            log = key or signing.load_or_create(self.folder / "ledger.pem", self.secret)
            self.publish(first_root(origin or default_origin(root.public), log.public, [root.public]).sign(root, log))
        trust = self.trust()
        if key is not None and trust.spans[-1].key != key.public:
            raise KeyRefused(
                "the ledger here has another key", self.folder, trust.spans[-1].key.key_id, key.public.key_id
            )
        if origin not in (None, trust.origin):
            raise KeyRefused("the ledger here has another name", self.folder, trust.origin, origin)

    def chain(self) -> tuple[bytes, ...]:
        """The files of the root of trust, version 1 first, unverified.

        Unavailable: there is none. Inconsistent: one is missing.
        """
        folder = self.version_path(1).parent
        try:
            names = [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise Unavailable(f"cannot read the root of trust: {error.strerror}", folder) from error
        versions = sorted(int(found[1]) for name in names if (found := _VERSION.fullmatch(name)))
        if not versions:
            raise Unavailable("no root of trust here", folder)
        if versions != list(range(1, len(versions) + 1)):
            raise Inconsistent("a version of the root of trust is missing", folder, f"1 to {versions[-1]}", versions)
        files = [durable.read(self.version_path(number), MAX_ROOT_BYTES) for number in versions]
        return tuple(file for file in files if file is not None)

    def versions(self) -> tuple[RootFile, ...]:
        """Every version, checked one after the other. Errors as `chain` and `root.follow`."""
        return follow(self.chain(), str(self.version_path(1).parent))

    def trust(self) -> TrustRoot:
        """What the latest version declares. Errors as `versions`."""
        return self.versions()[-1].trust

    def signing_key(self) -> SigningKey:
        """The private half of the active log key.

        Unavailable: it is not here. KeyRefused: the file holds another key, is open to others, or is not of this
        passphrase. Otherwise errors as `trust`.
        """
        return self._log_key(self.trust())

    def keep(self, role: str, key: SigningKey) -> Path:
        """Afterwards the private `key` lies here under its id, as one of 'ledger' or 'root'; its path."""
        path = self._named(role, key.public)
        signing.keep(path, key, self.secret)
        return path

    def publish(self, file: RootFile) -> None:
        """Afterwards `file` is the version of its number, on disk, unless one was there before."""
        self._make_folder()
        durable.create(self.version_path(file.version), file.to_bytes())

    def draft(self) -> RootFile | None:
        """The version that waits for signatures, None if there is none. Errors as `root.parse_root`."""
        raw = durable.read(self.draft_path, MAX_ROOT_BYTES)
        return None if raw is None else parse_root(raw, str(self.draft_path))

    def propose(self, file: RootFile) -> None:
        """Afterwards `file` is the draft, on disk."""
        self._make_folder()
        durable.replace(self.draft_path, file.to_bytes())

    def accept(self, file: RootFile) -> None:
        """Afterwards `file` is the latest version, on disk, and there is no draft.

        Errors as `root.follow`: it does not rightly follow the versions before, or another one was first.
        """
        earlier = self.chain() if self.exists else ()
        follow([*earlier, file.to_bytes()], str(self.folder / "root"))
        self.publish(file)
        if self.chain()[len(earlier) :] != (file.to_bytes(),):
            raise Inconsistent("another root of trust was published meanwhile", self.folder, file.version, "another")
        self.draft_path.unlink(missing_ok=True)

    @property
    def draft_path(self) -> Path:
        """Where the draft lies, or will."""
        return self.folder / "draft.root.json"

    @contextmanager
    def signing(self, key: SigningKey | None = None) -> Iterator[tuple[TrustRoot, SigningKey]]:
        """The root of trust and the key to sign with (`key`, or the private one here), which stay so inside.

        KeyRefused: `key` is not the active one. Otherwise errors as `signing_key`.
        """
        with locked(self.folder / "lock", BUSY_SECONDS, "the keyring", shared=True):
            trust = self.trust()
            active = trust.spans[-1].key
            if key is not None and key.public != active:
                raise KeyRefused("the ledger here has another key", self.folder, active.key_id, key.public.key_id)
            yield trust, key or self._log_key(trust)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Inside, nobody signs under the root of trust that is here, and nobody else changes it."""
        with locked(self.folder / "lock", BUSY_SECONDS, "the keyring"):
            yield

    def version_path(self, number: int) -> Path:
        """Where the version of this number lies, or will."""
        return self.folder / "root" / f"{number}.root.json"

    def private_keys(self, wanted: Collection[PublicKey]) -> tuple[SigningKey, ...]:
        """The private halves of those of the `wanted` keys that lie here. Errors as `signing.load`."""
        paths = sorted(path for path in self.folder.glob("*.pem") if _PRIVATE.fullmatch(path.name))
        found = {key.public: key for key in (signing.load(path, self.secret) for path in paths)}
        return tuple(key for public, key in found.items() if public in wanted)

    def _make_folder(self) -> None:
        folder = self.version_path(1).parent
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            durable.sync_folder(self.folder)
        except OSError as error:
            raise Unavailable(f"cannot keep the root of trust: {error.strerror}", folder) from error

    @property
    def secret(self) -> Secret | None:
        """What opens the private keys, None if they are not encrypted."""
        return self.passphrase if isinstance(self.passphrase, Secret) else None

    def _named(self, role: str, public: PublicKey) -> Path:
        return self.folder / f"{role}-{public.key_id[:16]}.pem"

    def _log_key(self, trust: TrustRoot) -> SigningKey:
        public = trust.spans[-1].key
        path = self.folder / "ledger.pem" if len(trust.spans) == 1 else self._named("ledger", public)
        if not os.path.lexists(path):
            raise Unavailable("the private key of this ledger is gone", path, f"key {public.key_id}", "no file")
        key = signing.load(path, self.secret)
        if key.public != public:
            raise KeyRefused("the private key here is another", path, public.key_id, key.public.key_id)
        return key

    def _require_no_old(self, key: SigningKey | None) -> None:
        old = self.folder / "ledger.pub.pem"
        if not old.exists():
            return
        if key is None:
            raise Usage("keys of the first schema: run `python -m audit migrate` once", self.folder)
        if (known := signing.load_public(old)) != key.public:
            raise KeyRefused("the ledger here has another key", old, known.key_id, key.public.key_id)


def default_origin(root: PublicKey) -> str:
    """The name of a log that is given none: derived from its root key, so that no two installations share one."""
    return f"noptik.local/{root.key_id[:16]}"
