"""What is about to be signed, written down beside the key before it is: the log can die at any moment after.

A head of a size may be signed once. What the next head will be is decided by the intent: once that file is on disk,
every later attempt signs exactly its entries, until the database holds them and the intent is removed.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from audit import canonical, durable, model
from audit.canonical import decode_base64
from audit.digest import Sha256
from audit.errors import Malformed, Unavailable, Usage
from audit.logsource import Logged
from audit.merkle import EMPTY_ROOT
from audit.model import Count, Frozen, Text

MAX_INTENT_BYTES = canonical.MAX_BYTES


class IntendedEntry(Frozen):
    """An entry to be logged: the bytes of its leaf, salt and envelope, base64."""

    leaf: str
    salt: str
    envelope: str


class Intent(Frozen):
    """The append of `entries` to the tree (base_size, base_root) of `origin`, which makes it the tree of `root`."""

    version: Literal[1] = 1
    origin: Text
    base_size: Count
    base_root: Sha256
    root: Sha256
    entries: tuple[IntendedEntry, ...]

    @property
    def size(self) -> int:
        """The size of the tree to be signed."""
        return self.base_size + len(self.entries)

    def rows(self, where: str) -> tuple[Logged, ...]:
        """The entries, decoded. Malformed if any is not canonical base64."""
        return tuple(
            Logged(seq, *(decode_base64(text, where) for text in (entry.leaf, entry.salt, entry.envelope)))
            for seq, entry in enumerate(self.entries, self.base_size)
        )


_INTENT = TypeAdapter(Intent)


def intended(origin: str, base: tuple[int, bytes], root: bytes, rows: list[Logged]) -> Intent:
    """The intent to append `rows`, nothing of them withheld, to the tree `base` = (size, root)."""
    entries = tuple(
        IntendedEntry(leaf=_text(row.leaf), salt=_text(row.salt or b""), envelope=_text(row.envelope or b""))
        for row in rows
    )
    return Intent(origin=origin, base_size=base[0], base_root=base[1].hex(), root=root.hex(), entries=entries)


def intent_bytes(intent: Intent) -> bytes:
    """The canonical JSON of `intent`. Usage: over MAX_INTENT_BYTES, too much for one append."""
    raw = model.to_bytes(intent)
    if len(raw) > MAX_INTENT_BYTES:
        raise Usage("too much for one append", intent.origin, f"at most {MAX_INTENT_BYTES} bytes", len(raw))
    return raw


def parse_intent(raw: bytes, where: str = "intent") -> Intent:
    """The intent whose `intent_bytes` is `raw`; Malformed if there is none."""
    intent = model.from_bytes(_INTENT, raw, where, max_bytes=MAX_INTENT_BYTES)
    if not intent.entries or (intent.base_size == 0 and intent.base_root != EMPTY_ROOT.hex()):
        raise Malformed("intent to append nothing, or to no tree", where, "entries on a tree", intent.base_size)
    intent.rows(where)
    return intent


@dataclass(frozen=True, slots=True)
class IntentFile:
    """The intent in the file at `path`, if there is one."""

    path: Path

    def read(self) -> Intent | None:
        """The intent, None if none is open. Malformed: something else lies there. Unavailable: not read."""
        raw = durable.read(self.path, MAX_INTENT_BYTES)
        return None if raw is None else parse_intent(raw, str(self.path))

    def write(self, intent: Intent) -> None:
        """Afterwards `intent` is open: on disk, whatever happens next. Unavailable if it cannot be written."""
        durable.replace(self.path, intent_bytes(intent), 0o600)

    def clear(self) -> None:
        """Afterwards no intent is open. One that a crash brings back is only found done, and cleared again."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot remove: {error.strerror}", self.path) from error


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
