"""The key of an endpoint: read from its owner's own file, sent in one header, found and hidden everywhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from audit.errors import KeyRefused
from audit.secret import Secret
from audit.signing import read_passphrase

SHORTEST: Final = 8  # below, a key would be found in ordinary words; in the patterns as well
WINDOW: Final = 12  # so many of its characters in a row are taken for the key
HIDDEN: Final = "[key]"
_KEY = re.compile(rb"[A-Za-z0-9._~+/=-]{8,4096}")  # RFC 6750 2.1, nothing that could end a header
_RUN = re.compile(r"[A-Za-z0-9._~+/=-]{8,}")


@dataclass(frozen=True, slots=True)
class Key:
    """A bearer token (RFC 6750)."""

    secret: Secret

    @classmethod
    def read(cls, path: Path) -> Self:
        """The key in the file at `path`, as `signing.read_passphrase` reads one.

        KeyRefused: open to others, or no token of SHORTEST characters or more. Unavailable: not read.
        """
        secret = read_passphrase(path)
        if not _KEY.fullmatch(secret.reveal()):
            raise KeyRefused("no key of an endpoint", path, f"{SHORTEST} characters or more of a token", "other bytes")
        return cls(secret)

    def header(self) -> str:
        """The value of Authorization; for immediate use."""
        return f"Bearer {self.secret.reveal().decode('ascii')}"

    def shows_in(self, said: bytes) -> bool:
        """Whether the key, or WINDOW of its characters in a row, in whatever case, stands in `said`.

        A key that is encoded, or written with gaps, is not found: this is against echoes, not against who has the key.
        """
        key, text = self.secret.reveal().lower(), said.lower()
        size = min(WINDOW, len(key))
        return any(key[i : i + size] in text for i in range(len(key) - size + 1))

    def hide(self, text: str) -> str:
        """`text` with HIDDEN for every word that holds the key, or SHORTEST of its characters in a row."""
        return _RUN.sub(lambda run: HIDDEN if self._part_of(run[0]) else run[0], text)

    def _part_of(self, run: str) -> bool:
        key, text = self.secret.reveal().lower(), run.lower().encode()
        return any(key[i : i + SHORTEST] in text for i in range(len(key) - SHORTEST + 1))
