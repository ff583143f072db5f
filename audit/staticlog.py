"""The log as files for any static web server (C2SP tlog-tiles), without what entries commit to.

    checkpoint                         the latest head, with its cosignatures; written last
    tile/<L>/<N>[.p/<W>]               hashes; a partial tile has its own name for every width
    tile/entries/<N>[.p/<W>]           the leaves of 256 entries, each after its length in two bytes

A file appears whole or not at all and never changes, the checkpoint apart; so whatever a crash leaves, every
checkpoint that was ever served is served with all its tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from audit import durable, tiles
from audit.errors import DigestMismatch, Inconsistent, Malformed, Unavailable
from audit.logsource import Logged
from audit.merkle import HASH_BYTES, leaf_hash
from audit.note import MAX_NOTE_BYTES, with_lines
from audit.tiles import ENTRIES, WIDTH, tile_path
from audit.trustroot import TrustRoot

CHECKPOINT = "checkpoint"
_MAX_BUNDLE_BYTES = WIDTH * (2**16 + tiles.LENGTH_BYTES)


class Source(Protocol):
    """What an export reads: `audit.ledgerlog.LedgerLog` is one."""

    @property
    def where(self) -> str:
        """Its name in messages."""

    def head(self) -> tuple[int, bytes]:
        """The latest head, as (size, note)."""

    def attached(self, size: int) -> Iterable[tuple[str, bytes]]:
        """What others signed over a head."""

    def entries(self, start: int = 0) -> Iterator[Logged]:
        """Every entry from number `start`."""

    def tile(self, level: int, index: int) -> bytes:
        """The stored hashes of a tile."""


def export(log: Source, keys: TrustRoot, folder: Path) -> int:
    """Afterwards `folder` serves the log up to its latest head, whose size is returned.

    Files that are there already are not written again. Inconsistent: tiles and signed head differ, or the folder
    already serves a larger tree. DigestMismatch: entries and tiles differ. Unavailable: not writable.
    """
    size, note = log.head()
    head = keys.open_head(note, "latest head")
    if tiles.root(log.tile, size) != head.root:
        raise Inconsistent("tree state and signed head differ", log.where, head.root, tiles.root(log.tile, size))
    served = served_size(folder, keys)
    if served > size:
        raise Inconsistent("the folder serves a larger tree", folder, f"at most {size} entries", served)
    for level, index, width in tiles.layout(size):
        _put(folder / tile_path(level, index, width), log.tile(level, index))
    for index, bundle, width in _bundles(log, size, (served // WIDTH) * WIDTH):
        _put(folder / tile_path(ENTRIES, index, width), bundle)
    cosigned = with_lines(note, [data for kind, data in log.attached(size) if kind == "cosignature"])
    _make(folder)
    durable.replace(folder / CHECKPOINT, cosigned)
    return size


def served_size(folder: Path, keys: TrustRoot) -> int:
    """The size of the tree that the folder serves, 0 if none. Tampered: its checkpoint is not the log's."""
    raw = durable.read(folder / CHECKPOINT, MAX_NOTE_BYTES)
    return 0 if raw is None else keys.open_head(raw, str(folder / CHECKPOINT), void=True).size


def check(log: Source, keys: TrustRoot, folder: Path) -> int:
    """The size of the tree that `folder` serves, returned only if every file of it is the log's. Tampered if not.

    `log` must have been verified: this compares with it. Unavailable: nothing is served there.
    """
    raw = durable.read(folder / CHECKPOINT, MAX_NOTE_BYTES)
    if raw is None:
        raise Unavailable("no log is served here", folder)
    head = keys.open_head(raw, str(folder / CHECKPOINT), void=True)
    if head.size > log.head()[0] or tiles.root(log.tile, head.size) != head.root:
        raise Inconsistent("another log is served here", folder, log.head()[1], head)
    for level, index, width in tiles.layout(head.size):
        _same(folder / tile_path(level, index, width), log.tile(level, index)[: width * HASH_BYTES])
    for index, bundle, width in _bundles(log, head.size, 0):
        _same(folder / tile_path(ENTRIES, index, width), bundle)
    return head.size


def _bundles(log: Source, size: int, start: int) -> Iterator[tuple[int, bytes, int]]:
    """The entry bundles from entry `start`, a bundle's first: index, bytes, width."""
    rows = islice(log.entries(start), size - start)
    for index in range(start // WIDTH, -(-size // WIDTH)):
        leaves = [row.leaf for row in islice(rows, WIDTH)]
        hashes = b"".join(leaf_hash(leaf) for leaf in leaves)
        tile = log.tile(0, index)[: min(WIDTH, size - index * WIDTH) * HASH_BYTES]
        if hashes != tile:
            raise DigestMismatch("entries differ from their tile", f"tile 0/{index}", tile, hashes)
        yield index, tiles.pack(leaves), len(leaves)


def _put(path: Path, data: bytes) -> None:
    if path.exists():
        return
    _make(path.parent)
    durable.create(path, data)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder: {error.strerror}", folder) from error


def _same(path: Path, expected: bytes) -> None:
    found = durable.read(path, _MAX_BUNDLE_BYTES)
    if found is None:
        raise Malformed("tile deleted", path, "a file", "none")
    if found != expected:
        raise DigestMismatch("served file differs from the log", path, expected, found)
