"""A log as the reader of a bundle sees it: every entry, but only the envelopes and heads that are disclosed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from audit.bundlewithheld import hides
from audit.digest import Sha256
from audit.logsource import Log, Logged
from audit.trust import TrustedLog

Attached: TypeAlias = Callable[[int], Sequence[tuple[str, bytes]]]  # by a head's size: kind, and what others signed


@dataclass(frozen=True, slots=True)
class View:
    """`log` (`audit.logsource.Log`) with the envelopes of the entries in `disclosed` and the heads in `sizes` alone."""

    log: Log
    disclosed: frozenset[int]
    sizes: frozenset[int]

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.log.origin

    @property
    def where(self) -> str:
        """Where it lies."""
        return self.log.where

    def entries(self, start: int = 0) -> Iterator[Logged]:
        """Every entry, those that are withheld without envelope and salt."""
        return (self._seen(row) for row in self.log.entries(start))

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """The heads that are shown, by size."""
        return ((size, note) for size, note in self.log.heads() if size in self.sizes)

    def covering(self, seq: int) -> tuple[int, bytes]:
        """The first head that is shown over entry `seq`."""
        size, note = self.log.covering(seq)
        while size not in self.sizes:
            size, note = self.log.covering(size)
        return size, note

    def find(self, core: Sha256) -> tuple[Logged, ...]:
        """The entries whose statements have this core, unless withheld."""
        return tuple(row for row in self.log.find(core) if row.seq in self.disclosed)

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, joined."""
        return self.log.tile(level, index)

    def _seen(self, row: Logged) -> Logged:
        return row if row.seq in self.disclosed else Logged(row.seq, row.leaf, None, None)


def view(log: TrustedLog, forecast: str, withheld: Sequence[str], attached: Attached) -> View:
    """What a bundle of this forecast discloses: its own entries and changes of key, less what is withheld.

    Of the heads: for each of those entries the first that covers it, each over which others signed, and the latest.
    """
    disclosed = [
        entry.seq
        for entry in log.entries()
        if entry.disclosed is not None
        and entry.disclosed.about.forecast in ("", forecast)
        and not hides(withheld, entry)
    ]
    sizes = [size for size, _ in log.log.heads()]
    covering = {sizes[bisect_right(sizes, seq)] for seq in disclosed}
    signed = {size for size in sizes if disclosed and size > disclosed[0] and attached(size)}
    return View(log.log, frozenset(disclosed), frozenset({*covering, *signed, log.head.size}))
