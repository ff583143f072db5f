"""The tree's part of trust in a log: tiles, and every head as the tree reaches its size; in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit import merkle
from audit.errors import DigestMismatch, Inconsistent
from audit.logsource import Log
from audit.merkle import Hash
from audit.note import Checkpoint
from audit.tiles import TreeBuilder, split
from audit.trustedentry import TrustedEntry
from audit.trustroot import TrustRoot


@dataclass
class Tree:
    """Rules 4 and 5 of `audit.trust`: `add` every entry in order, then `finish`. Tampered, naming tile or head.

    `kept` are notes of heads kept elsewhere, which the tree must hold.
    """

    log: Log
    keys: TrustRoot
    kept: Sequence[bytes]
    _latest: tuple[Checkpoint, bytes] | None = None

    def __post_init__(self) -> None:
        self._builder = TreeBuilder(self._tile)
        self._heads = iter(self.log.heads())
        self._due = next(self._heads, None)
        self._others: dict[int, list[Checkpoint]] = {}
        for note in self.kept:
            head = self.keys.open_head(note, "kept head", void=True)
            self._others.setdefault(head.size, []).append(head)
        self._at_size(merkle.EMPTY_ROOT)

    @property
    def size(self) -> int:
        """How many entries were added."""
        return self._builder.size

    def add(self, entry: TrustedEntry) -> None:
        """Afterwards the tree is one entry larger, and the heads of its size were compared."""
        self._builder.add(entry.leaf_hash)
        if (self._due is not None and self._due[0] <= self.size) or self.size in self._others:
            self._at_size(self._builder.root())

    def finish(self) -> tuple[Checkpoint, bytes]:
        """The latest head and its note, every tile having been compared."""
        if self._due is not None:
            found = f"{self.size} entries"
            raise Inconsistent(
                "entries deleted from the log", f"checkpoint of size {self._due[0]}", f"{self._due[0]} entries", found
            )
        late = [size for size in self._others if size > self.size]
        if late:
            raise Inconsistent(
                "older than a head already signed", self.log.where, f"size {max(late)}", f"size {self.size}"
            )
        if self._latest is None or self._latest[0].size != self.size:
            found = f"size {self._latest[0].size}" if self._latest else "no head"
            raise Inconsistent("signed head missing", "checkpoints", f"a head of size {self.size}", found)
        self._builder.flush()
        head, note = self._latest
        return self.keys.open_head(note, f"checkpoint of size {head.size}"), note  # void no more

    def _at_size(self, root: Hash) -> None:
        """Every head of the present size, and of none that was passed over."""
        for kept in self._others.get(self.size, ()):
            if kept.root != root:
                raise Inconsistent(
                    f"another tree of size {kept.size} was signed before", self.log.where, kept.root, root
                )
        while self._due is not None and self._due[0] <= self.size:
            size, note = self._due
            where = f"checkpoint of size {size}"
            head = self.keys.open_head(note, where, void=True)
            for what, expected in (("size", size), ("order of sizes", self.size)):
                if head.size != expected:
                    raise Inconsistent(f"{what} differs", where, expected, head.size)
            if head.root != root:
                raise DigestMismatch("root differs from its digest", where, head.root.hex(), root.hex())
            self._latest = head, note
            self._due = next(self._heads, None)

    def _tile(self, level: int, index: int, hashes: bytes) -> None:
        found = self.log.tile(level, index)
        if len(found) != len(hashes):
            where = f"tile {level}/{index}"
            raise DigestMismatch("tile of another width", where, f"{len(hashes)} bytes", f"{len(found)} bytes")
        for number, (expected, node) in enumerate(zip(split(hashes), split(found), strict=True)):
            if expected != node:
                where = f"tile {level}/{index}, hash {number}"
                raise DigestMismatch("tile differs from the leaves", where, expected, node)
