"""Where an installation keeps its evidence.

keys/              root of trust, private keys, and what the signer must not forget (`audit.keyring`, `audit.ledger`)
store/             every artifact
ledger.sqlite      the log, unless it lies in another database
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from audit.keyring import Keyring
from audit.ledger import Ledger
from audit.ledgerdb import Database
from audit.ledgerpostgresql import PostgreSQL
from audit.ledgersqlite import SQLite
from audit.signing import SigningKey
from audit.store import Store
from audit.trustroot import TrustRoot


@dataclass(frozen=True, slots=True)
class Home:
    """The evidence kept in the folder `root`, which lies outside git.

    `database` is the URL of the PostgreSQL database that holds the log, None for a SQLite file below `root`;
    `passphrase` opens the private keys.
    """

    root: Path
    database: str | None = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)

    @property
    def store(self) -> Store:
        """The artifact store."""
        return Store(self.root / "store")

    @property
    def keyring(self) -> Keyring:
        """The keys."""
        return Keyring(self.root / "keys", self.passphrase)

    @property
    def log_database(self) -> Database:
        """The database of the log. Usage: `database` is no URL of one."""
        return SQLite(self.root / "ledger.sqlite") if self.database is None else PostgreSQL(self.database)

    def trust(self) -> TrustRoot:
        """What the installation's own root of trust declares. Errors as `Keyring.trust`."""
        return self.keyring.trust()

    def writer(self, key: SigningKey | None = None) -> Ledger:
        """The ledger, begun on first use with its keys, ready to append under `key` or the installation's own.

        KeyRefused: the ledger here is another key's. Otherwise errors as `Keyring.begin`, `Keyring.signing_key` and
        `Ledger.open`.
        """
        keyring = self.keyring
        keyring.begin(key)
        return Ledger.open(self.log_database, keyring, signing_key=key or keyring.signing_key())

    def reader(self, trust: TrustRoot | None = None) -> Ledger:
        """The ledger, to read only, judged by `trust` or the installation's own root. Errors as `Ledger.open`."""
        return Ledger.open(self.log_database, self.keyring, trust or self.trust())
