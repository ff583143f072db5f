"""Where an installation keeps its evidence, as its environment says; read by the owners of the environment.

NOPTIK_HOME             folder of ledger, keys and store                 (default: .noptik in the project's folder)
NOPTIK_DATABASE_URL     a PostgreSQL database that holds the ledger      (default: HOME/ledger.sqlite)
NOPTIK_PASSPHRASE_FILE  a file, for nobody else to read, which opens the private keys       (default: none)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.signing import read_passphrase


@dataclass(frozen=True, slots=True)
class Places:
    """The folder `home`, the ledger's `database` (None: a file in it), and what opens its private keys."""

    home: Path
    database: str | None = field(default=None, repr=False)  # a URL may hold a password
    passphrase: bytes | None = field(default=None, repr=False)


def places(project: Path, environ: Mapping[str, str], home: Path | None = None) -> Places:
    """The places of the project in the folder `project`; `home` overrides the environment.

    Errors as `signing.read_passphrase`.
    """
    file = environ.get("NOPTIK_PASSPHRASE_FILE")
    return Places(
        home=home or Path(environ.get("NOPTIK_HOME") or project / ".noptik"),
        database=environ.get("NOPTIK_DATABASE_URL") or None,
        passphrase=read_passphrase(Path(file)).reveal() if file else None,
    )
