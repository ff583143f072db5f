"""The last head that was signed, kept outside the ledger's file: this machine as its own first witness.

A ledger put back from a backup is consistent in itself, and would go on to sign a second head of a size it
has signed before. The kept head, which lies beside the key, is what such a ledger contradicts.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit import merkle
from audit.errors import Inconsistent, Unavailable
from audit.note import Verifier, open_checkpoint


@dataclass(frozen=True, slots=True)
class KeptHead:
    """The signed note in the file at `path`."""

    path: Path

    def read(self) -> bytes | None:
        """The note, None if no head was ever kept. Unavailable if it cannot be read."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"cannot read the kept head: {error.strerror}", self.path) from error

    def keep(self, note: bytes) -> None:
        """Afterwards `note` is the kept head, whole and on disk. Unavailable if it cannot be written."""
        if self.read() == note:
            return
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self.path)
        except OSError as error:
            raise Unavailable(f"cannot keep the head: {error.strerror}", self.path) from error


def require_extends(note: bytes, verifier: Verifier, leaf_hashes: Sequence[bytes], where: str) -> None:
    """Returns only if the tree of `leaf_hashes` holds the kept head unchanged: no rollback, no second head.

    Inconsistent otherwise; BadSignature or Malformed if the note is no head of this log.
    """
    kept = open_checkpoint(note, verifier, "kept head")
    size = len(leaf_hashes)
    if kept.size > size:
        raise Inconsistent("older than a head already signed", where, f"size {kept.size}", f"size {size}")
    root = merkle.root(leaf_hashes[: kept.size])
    if root != kept.root:
        raise Inconsistent(f"another tree of size {kept.size} was signed before", where, kept.root, root)
