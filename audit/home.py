"""Where an installation keeps its evidence, and under which name and key.

keys/ledger.pem        private key, mode 0600, made on first use      keys/ledger.pub.pem   its public key
keys/ledger.head       the last head that was signed                  store/                every artifact
ledger.sqlite          the log, with its lock and digest beside it
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from audit.errors import KeyRefused, Unavailable
from audit.ledger import Ledger
from audit.signing import PublicKey, SigningKey, load_or_create, load_public
from audit.store import Store


@dataclass(frozen=True, slots=True)
class Home:
    """The evidence kept in the folder `root`, which lies outside git."""

    root: Path

    @property
    def store(self) -> Store:
        """The artifact store."""
        return Store(self.root / "store")

    def signing_key(self) -> SigningKey:
        """The installation's key, made on first use. Errors as `signing.load_or_create`."""
        return load_or_create(self._private)

    def public_key(self) -> PublicKey:
        """The key the ledger was begun with; the private one is not opened. Unavailable if none was."""
        return load_public(self._public)

    def writer(self, key: SigningKey | None = None) -> Ledger:
        """The ledger, begun on first use, ready to append under `key` or the installation's own.

        Afterwards the key's public half lies beside it. KeyRefused: the ledger here was begun with another key, or
        its private key is gone. Otherwise errors as `signing.load_or_create` and `Ledger.open`.
        """
        if key is None and self._public.exists() and not self._private.exists():
            raise KeyRefused("the private key of this ledger is gone", self._private, "a key", "no file")
        signing = key or self.signing_key()
        self._publish(signing.public)
        return Ledger.open(self._ledger, origin(signing.public), signing, create=True, kept_head=self._head)

    def reader(self, key: PublicKey) -> Ledger:
        """The ledger that belongs to `key`, to read only. Unavailable if there is none."""
        return Ledger.open(self._ledger, origin(key), kept_head=self._head)

    def _publish(self, key: PublicKey) -> None:
        if self._public.exists():
            known = self.public_key()
            if known != key:
                raise KeyRefused("the ledger here has another key", self._public, known.key_id, key.key_id)
            return
        draft = self._public.with_name(f".{self._public.name}.{secrets.token_hex(8)}")
        try:
            draft.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(key.to_pem())
            draft.replace(self._public)
        except OSError as error:
            raise Unavailable(f"cannot keep the public key: {error.strerror}", self._public) from error

    @property
    def _private(self) -> Path:
        return self.root / "keys" / "ledger.pem"

    @property
    def _ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def _public(self) -> Path:
        return self.root / "keys" / "ledger.pub.pem"

    @property
    def _head(self) -> Path:
        return self.root / "keys" / "ledger.head"


def origin(key: PublicKey) -> str:
    """The name of the log that `key` signs: derived from it, so that no two installations share one."""
    return f"noptik.local/{key.key_id[:16]}"
