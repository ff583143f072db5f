"""The last head that was signed, kept outside the ledger's database: this machine as its own first witness.

A ledger put back from a backup is consistent in itself, and would go on to sign a second head of a size it
has signed before. The kept head, which lies beside the key, is what such a ledger contradicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audit import durable, merkle, tiles
from audit.errors import Inconsistent, Tampered
from audit.note import MAX_NOTE_BYTES
from audit.trustroot import TrustRoot


@dataclass(frozen=True, slots=True)
class KeptHead:
    """The signed note in the file at `path`."""

    path: Path

    def read(self) -> bytes | None:
        """The note, None if no head was ever kept. Unavailable if it cannot be read."""
        return durable.read(self.path, MAX_NOTE_BYTES)

    def keep(self, note: bytes) -> None:
        """Afterwards `note` is the kept head, whole and on disk. Unavailable if it cannot be written."""
        if self.read() != note:
            durable.replace(self.path, note, 0o600)


def require_extends(note: bytes, keys: TrustRoot, read: tiles.ReadTile, size: int, root: bytes, where: str) -> None:
    """Returns only if the tree (size, root) with these tiles holds the kept head: no rollback, no second head.

    Inconsistent otherwise; BadSignature or Malformed if the note is no head of this log. A head that is void by
    now still binds whoever signed it.
    """
    kept = keys.open_head(note, "kept head", void=True)
    if kept.size > size:
        raise Inconsistent("older than a head already signed", where, f"size {kept.size}", f"size {size}")
    if kept.size == 0:
        return  # every tree extends the empty one
    try:
        proof = tiles.consistency(read, kept.size, size)
        merkle.verify_consistency(kept.size, size, kept.root, root, proof)
    except Tampered as error:
        what = f"another tree of size {kept.size} was signed before"
        raise Inconsistent(what, where, kept.root, error.found) from error
