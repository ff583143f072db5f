"""The tree in tiles (C2SP tlog-tiles): 256 hashes each, enough for any proof without the entries.

A tile of level 0 holds leaf hashes; one of level l holds the roots of complete subtrees of 256^l leaves. The last
tile of a level may be partial; a tile of a level is only there once the level below has a full one.

    tree of 600 leaves: level 0: tiles 0, 1 (256 wide), 2 (88 wide); level 1: tile 0 (2 wide)

Roots and proofs read O(log size) tiles, and are those of `audit.merkle` over all the leaves. What they are made
from is not verified: a tile is only as good as the signed root that its hashes lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from audit import merkle
from audit.errors import Malformed, Usage
from audit.merkle import HASH_BYTES, Hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
LENGTH_BYTES = 2  # before each leaf in a bundle of entries
ENTRIES = "entries"  # in place of a level: the bundles of entries
Emit = Callable[[int, int, bytes], None]  # level, index, hashes joined
ReadTile = Callable[[int, int], bytes]  # level, index


class TreeBuilder:
    """A tree that grows leaf by leaf in constant memory: its root at any moment, and its tiles as they fill."""

    def __init__(self, emit: Emit) -> None:
        """An empty tree; `emit` is given each tile when it is full, and by `flush` the partial ones."""
        self._emit = emit
        self._levels: list[list[Hash]] = [[]]  # the hashes of the last, partial tile of each level
        self._counts: list[int] = [0]  # full tiles so far, a level
        self.size = 0

    @classmethod
    def resume(cls, read: ReadTile, size: int, emit: Emit) -> TreeBuilder:
        """The tree of `size` leaves that has these tiles, of which the last of each level is read."""
        builder = cls(emit)
        builder.size = size
        counts = _counts(size)
        builder._counts = [count // WIDTH for count in counts]
        builder._levels = [_partial(read, level, count) for level, count in enumerate(counts)]
        return builder

    def add(self, leaf_hash: Hash) -> None:
        """Afterwards the tree is one leaf larger."""
        self.size += 1
        node = leaf_hash
        for level in range(len(self._levels) + 1):
            if level == len(self._levels):
                self._levels.append([])
                self._counts.append(0)
            hashes = self._levels[level]
            hashes.append(node)
            if len(hashes) < WIDTH:
                return
            self._emit(level, self._counts[level], b"".join(hashes))
            node = merkle.root(hashes)
            self._counts[level] += 1
            hashes.clear()

    def root(self) -> Hash:
        """The root of the tree so far (RFC 6962 2.1)."""
        found: Hash | None = None
        for hashes in self._levels:
            if hashes:
                # complete subtrees of one size, then a smaller rest: the rest joins as the last, smaller leaf
                found = _joined(hashes, found)
        return merkle.EMPTY_ROOT if found is None else found

    def flush(self) -> None:
        """Afterwards every partial tile was emitted too."""
        for level, hashes in enumerate(self._levels):
            if hashes:
                self._emit(level, self._counts[level], b"".join(hashes))


def root(read: ReadTile, size: int) -> Hash:
    """The root (RFC 6962 2.1) of the tree of the first `size` leaves. Malformed: a tile is too short."""
    if size < 0:
        raise Usage("no such tree", "", "0 <= size", size)
    return _rest(_cached(read), 0, size) if size else merkle.EMPTY_ROOT


def inclusion(read: ReadTile, index: int, size: int) -> tuple[Hash, ...]:
    """The proof (RFC 6962 2.1.1) that leaf `index` is in the tree of the first `size` leaves.

    0 <= index < size, or Usage. Malformed: a tile is too short.
    """
    if not 0 <= index < size:
        raise Usage("no such inclusion proof", "", "0 <= index < size", f"{index}, {size}")
    return _path(_cached(read), 0, index, size)


def consistency(read: ReadTile, size1: int, size2: int) -> tuple[Hash, ...]:
    """The proof (RFC 6962 2.1.2) that the tree of size1 leaves is a prefix of that of size2.

    1 <= size1 <= size2, or Usage. Malformed: a tile is too short.
    """
    if not 1 <= size1 <= size2:
        raise Usage("no such consistency proof", "", "1 <= size1 <= size2", f"{size1}, {size2}")
    if size1 == size2:
        return ()
    read = _cached(read)
    height = (size1 & -size1).bit_length() - 1  # of the old tree's last complete subtree, as in `merkle`
    at = (size1 - 1) >> height
    seed = () if at == 0 else (_node(read, height, at),)
    return seed + _path(read, height, at, size2)


def layout(size: int) -> Iterator[tuple[int, int, int]]:
    """Every tile of the tree of `size` leaves, as (level, index, width), level by level."""
    for level, count in enumerate(_counts(size)):
        yield from ((level, index, WIDTH) for index in range(count // WIDTH))
        if count % WIDTH:
            yield level, count // WIDTH, count % WIDTH


def partial(size: int) -> list[tuple[int, int]]:
    """The (level, index) of every partial tile of the tree of `size` leaves: those that still grow."""
    return [(level, count // WIDTH) for level, count in enumerate(_counts(size)) if count % WIDTH]


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """Where a tile lies in a log that is served statically (C2SP tlog-tiles); `level` may be ENTRIES.

    tile_path(0, 1234067) == "tile/0/x001/x234/067"; a partial tile ends in ".p/<width>". 1 <= width <= 256.
    """
    if index < 0 or not 1 <= width <= WIDTH:
        raise Usage("no such tile", "", f"0 <= index, 1 <= width <= {WIDTH}", f"{index}, {width}")
    groups = f"{index:,}".split(",")
    groups = [f"{int(group):03d}" for group in groups]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


def pack(leaves: Iterable[bytes]) -> bytes:
    """A bundle of entries: each leaf after its length, 2 bytes big-endian."""
    return b"".join(len(leaf).to_bytes(LENGTH_BYTES, "big") + leaf for leaf in leaves)


def split(tile: bytes) -> list[Hash]:
    """The hashes of a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def _joined(hashes: list[Hash], rest: Hash | None) -> Hash:
    """The root over complete subtrees `hashes` of one size followed by one smaller subtree `rest`."""
    return merkle.root(hashes if rest is None else [*hashes, rest])


def _counts(size: int) -> list[int]:
    """How many hashes each level has; at least level 0."""
    counts = [size]
    while counts[-1] >= WIDTH:
        counts.append(counts[-1] // WIDTH)
    return counts


def _partial(read: ReadTile, level: int, count: int) -> list[Hash]:
    """The hashes of the last tile of a level with `count` hashes, none if it is full."""
    if not (width := count % WIDTH):
        return []
    tile = read(level, count // WIDTH)
    if len(tile) != width * HASH_BYTES:
        where = f"tile {level}/{count // WIDTH}"
        raise Malformed("tile of another length", where, f"{width * HASH_BYTES} bytes", f"{len(tile)} bytes")
    return split(tile)


def _hashes(read: ReadTile, level: int, index: int, first: int, count: int) -> list[Hash]:
    tile = read(level, index)
    part = tile[first * HASH_BYTES : (first + count) * HASH_BYTES]
    if len(part) != count * HASH_BYTES:
        found = f"{len(tile)} bytes"
        raise Malformed("tile too short", f"tile {level}/{index}", f"{(first + count) * HASH_BYTES} bytes", found)
    return split(part)


def _node(read: ReadTile, height: int, at: int) -> Hash:
    """The root of complete subtree number `at` of those with 2^height leaves."""
    level, inside = divmod(height, HEIGHT)
    index, first = divmod(at << inside, WIDTH)
    return merkle.root(_hashes(read, level, index, first, 1 << inside))


def _rest(read: ReadTile, start: int, size: int) -> Hash:
    """The root over leaves start to size - 1, the right part of a tree: start is a multiple of its height."""
    found: Hash | None = None
    for height in range((size - start).bit_length()):
        if (size - start) >> height & 1:
            node = _node(read, height, (size >> height) - 1)
            found = node if found is None else merkle.node_hash(node, found)
            size -= 1 << height
    assert found is not None  # start < size
    return found


def _path(read: ReadTile, height: int, at: int, size: int) -> tuple[Hash, ...]:
    """The siblings of the node `at` of this height, and of its ancestors, up to the root of `size` leaves."""
    path = []
    while size > 1 << height:
        sibling = at ^ 1
        if (sibling + 1) << height <= size:
            path.append(_node(read, height, sibling))
        elif sibling << height < size:
            path.append(_rest(read, sibling << height, size))
        height, at = height + 1, at >> 1
    return tuple(path)


def _cached(read: ReadTile) -> ReadTile:
    """`read`, asked once for each tile: a proof needs several hashes of the same one."""
    seen: dict[tuple[int, int], bytes] = {}

    def once(level: int, index: int) -> bytes:
        if (level, index) not in seen:
            seen[level, index] = read(level, index)
        return seen[level, index]

    return once
