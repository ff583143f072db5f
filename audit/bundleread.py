"""A bundle's files and its log, read from the tar that was opened once; nothing here is trusted yet.

Every byte is hashed when the bundle is opened, in one pass. What is read later is hashed again and must be the same:
a tar that is written to meanwhile is noticed, and nothing needs to be extracted.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from audit import model
from audit.bag import PAYLOAD
from audit.bundle import ENVELOPE, envelope_name, head_name, salt_name, tile_name
from audit.canonical import decode_base64
from audit.digest import Sha256, sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed
from audit.logsource import Logged
from audit.record import MAX_ENTRY_BYTES, SALT_BYTES
from audit.statement import core_bytes, parse_statement
from audit.tiles import ENTRIES, WIDTH
from audit.ustar import Limits, Tar, open_tar

MAX_ENVELOPE_BYTES: Final = 64 * 2**20
MAX_NOTE_BYTES: Final = 2**20
MAX_LISTING_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Files:
    """The files of a bundle by their names below its one folder, with the digest that each was found to have."""

    tar: Tar
    folder: str
    digests: Mapping[str, Sha256]

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """How many bytes each file has."""
        return {name: self.tar.members[self.member(name)].size for name in self.digests}

    @cached_property
    def payload(self) -> frozenset[str]:
        """The names below data/, without it."""
        return frozenset(name.removeprefix(PAYLOAD) for name in self.digests if name.startswith(PAYLOAD))

    def member(self, name: str) -> str:
        """What the tar calls the file."""
        return f"{self.folder}/{name}"

    def read(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a file, the very ones that were hashed.

        Inconsistent: there is none. Malformed: it is larger. DigestMismatch: the tar was written to meanwhile.
        """
        if name not in self.digests:
            raise Inconsistent("file missing", name, "a file", "no such file")
        raw = self.tar.read(self.member(name), max_bytes)
        if sha256(raw) != self.digests[name]:
            raise DigestMismatch("file changed while it was verified", name, self.digests[name], sha256(raw))
        return raw

    def data(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a file below data/. Errors as `read`."""
        return self.read(PAYLOAD + name, max_bytes)


@contextmanager
def open_bundle(path: Path, limits: Limits | None = None) -> Iterator[Files]:
    """The files of the bundle at `path`, every byte of them hashed. Malformed: not one folder in a tar of ours."""
    with open_tar(path, limits) as tar:
        folder = next(iter(tar.members), "").partition("/")[0]
        outside = next((name for name in tar.members if not name.startswith(f"{folder}/")), None)
        if outside is not None or not tar.members:
            raise Malformed("not a bundle", path, "files in one folder", outside or "an empty tar")
        yield Files(tar, folder, {name.removeprefix(f"{folder}/"): _hash(tar, name) for name in tar.members})


def _hash(tar: Tar, name: str) -> Sha256:
    state = hashlib.sha256()
    for chunk in tar.chunks(name):
        state.update(chunk)
    return state.hexdigest()


@dataclass(frozen=True)
class BundleLog:
    """The log inside a bundle (`audit.logsource.Log`): whole as to its tree, with the envelopes that are disclosed."""

    files: Files
    origin: str
    size: int
    where: str = field(default="log")

    def entries(self, start: int = 0) -> Iterator[Logged]:
        """Every entry from number `start`, from the bundles of entries."""
        for index in range(start // WIDTH, -(-self.size // WIDTH)):
            for seq, leaf in enumerate(self._leaves(index), index * WIDTH):
                if seq >= start:
                    yield self._logged(seq, leaf)

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """Every signed head, by size."""
        return ((size, self.files.data(head_name(size), MAX_NOTE_BYTES)) for size in self._sizes)

    def covering(self, seq: int) -> tuple[int, bytes]:
        """The first head over entry `seq`, as (size, note). Inconsistent: there is none."""
        at = bisect_right(self._sizes, seq)
        if at == len(self._sizes):
            raise Inconsistent("no head covers the entry", f"entry {seq}", "a head", "none")
        return self._sizes[at], self.files.data(head_name(self._sizes[at]), MAX_NOTE_BYTES)

    @cached_property
    def _sizes(self) -> list[int]:
        """The sizes of the heads that are here, rising."""
        prefix = head_name(0)[:-1]
        names = [name.removeprefix(prefix) for name in self.files.payload if name.startswith(prefix)]
        for name in names:
            if not name.isdecimal() or str(int(name)) != name:
                raise Malformed("not the name of a head", head_name(0)[:-1] + name, "a size", ascii(name))
        return sorted(int(name) for name in names)

    def find(self, core: Sha256) -> tuple[Logged, ...]:
        """The entries whose statements have this core, as far as their envelopes are here."""
        return tuple(next(self.entries(seq)) for seq in self._cores.get(core, ()))

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, joined."""
        return self.files.data(tile_name(level, index, self.size), WIDTH * 32)

    def _leaves(self, index: int) -> list[bytes]:
        """The entries of one bundle (C2SP tlog-tiles): each after its length, 2 bytes big-endian."""
        name = tile_name(ENTRIES, index, self.size)
        raw = self.files.data(name, WIDTH * (MAX_ENTRY_BYTES + 2))
        leaves, at = [], 0
        while at < len(raw):
            length = int.from_bytes(raw[at : at + 2], "big")
            leaves.append(raw[at + 2 : at + 2 + length])
            at += 2 + length
        width = min(WIDTH, self.size - index * WIDTH)
        if at != len(raw) or len(leaves) != width:
            raise Malformed("bundle of entries malformed", name, f"{width} entries", f"{len(leaves)}, {len(raw)} bytes")
        return leaves

    def _logged(self, seq: int, leaf: bytes) -> Logged:
        names = (salt_name(seq), envelope_name(seq))
        there = [name in self.files.payload for name in names]
        if not any(there):
            return Logged(seq, leaf, None, None)
        if not all(there):
            raise Inconsistent("half an envelope", names[there.index(False)], "envelope and salt, or neither", "one")
        salt = self.files.data(names[0], SALT_BYTES)
        return Logged(seq, leaf, salt, self.files.data(names[1], MAX_ENVELOPE_BYTES))

    @cached_property
    def _cores(self) -> dict[Sha256, list[int]]:
        """The numbers of the entries that are disclosed, by the core that their envelopes claim, rising."""
        cores: dict[Sha256, list[int]] = {}
        prefix, suffix = envelope_name(0).split("0")
        for name in self.files.payload:
            if name.startswith(prefix) and name.endswith(suffix):
                number = name.removeprefix(prefix).removesuffix(suffix)
                if not number.isdecimal() or str(int(number)) != number or int(number) >= self.size:
                    raise Malformed("envelope of no entry", name, f"0 to {self.size - 1}", ascii(number))
                cores.setdefault(self._core(name), []).append(int(number))
        return {core: sorted(numbers) for core, numbers in cores.items()}

    def _core(self, name: str) -> Sha256:
        raw = self.files.data(name, MAX_ENVELOPE_BYTES)
        envelope = model.from_bytes(ENVELOPE, raw, name)
        return sha256(core_bytes(parse_statement(decode_base64(envelope.payload, name), name)))
