"""A log as something to read: what `audit.trust` judges, whether it lies in a database or in a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from audit.digest import Sha256


@dataclass(frozen=True, slots=True)
class Logged:
    """One entry as it lies there, nothing of it verified; `salt` and `envelope` are None if withheld."""

    seq: int
    leaf: bytes
    salt: bytes | None
    envelope: bytes | None


class Log(Protocol):
    """A log at one moment; nothing it says is verified. Readers raise AuditError, and nothing else.

    `where` names it in messages.
    """

    @property
    def origin(self) -> str:
        """The log's name, as it claims."""

    @property
    def where(self) -> str:
        """Where it lies, for messages."""

    def entries(self, start: int = 0) -> Iterator[Logged]:
        """Every entry from number `start`, in the order of their numbers; in constant memory."""

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """Every signed head that is kept, as (size, note), by size; the last is the latest."""

    def covering(self, seq: int) -> tuple[int, bytes]:
        """The first head that is kept over entry `seq`, as (size, note). Inconsistent: there is none."""

    def find(self, core: Sha256) -> tuple[Logged, ...]:
        """The entries whose statements have this core, by number: none if withheld; several if one is void."""

    def tile(self, level: int, index: int) -> bytes:
        """The stored hashes of a tile (C2SP tlog-tiles), joined: 256, or fewer in the last of its level."""
