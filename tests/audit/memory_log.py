"""A log in memory, written step by step with any key: what `trust` judges, without a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from audit import merkle
from audit.digest import Sha256, sha256
from audit.envelope import PAYLOAD_TYPE, seal
from audit.kinds import about
from audit.logsource import Logged
from audit.note import Checkpoint, sign_checkpoint
from audit.record import Entry, commitment, entry_bytes
from audit.signing import SigningKey
from audit.statement import AnyStatement, core_bytes, statement_bytes
from audit.tiles import TreeBuilder

ORIGIN = "noptik.test/memory"


@dataclass
class MemoryLog:
    """`rows` may be edited by a test; tiles and heads are those of the honest log."""

    origin: str = ORIGIN
    where: str = "memory"
    rows: list[Logged] = field(default_factory=list)
    notes: list[tuple[int, bytes]] = field(default_factory=list)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    cores: dict[Sha256, list[int]] = field(default_factory=dict)
    last: dict[str, Sha256] = field(default_factory=dict)

    def begin(self, key: SigningKey) -> MemoryLog:
        self.notes.append((0, sign_checkpoint(Checkpoint(self.origin, 0, merkle.EMPTY_ROOT), key)))
        return self

    def add(
        self,
        kind: str,
        statement: AnyStatement,
        key: SigningKey,
        *,
        forecast: str | None = None,
        payload_type: str = PAYLOAD_TYPE,
    ) -> Sha256:
        """Afterwards the statement is entry len(rows), and a head of `key` covers it; its core."""
        envelope = seal(statement_bytes(statement), payload_type, key)
        salt = key.salt(envelope)
        told = forecast if forecast is not None else about(kind, statement, "here").forecast
        seq, core = len(self.rows), sha256(core_bytes(statement))
        record = Entry(
            kind=kind,
            seq=seq,
            envelope_sha256=commitment(salt, envelope),
            payload_type=payload_type,
            previous_run=self.last.get(told),
        )
        self.rows.append(Logged(seq, entry_bytes(record), salt, envelope))
        self.cores.setdefault(core, []).append(seq)
        if kind == "seal":
            self.last[told] = core
        self.sign(key)
        return core

    def sign(self, key: SigningKey) -> None:
        """Afterwards there is a head of the present size, by `key`, and the tiles are the tree's."""
        hashes = [merkle.leaf_hash(row.leaf) for row in self.rows]
        head = Checkpoint(self.origin, len(hashes), merkle.root(hashes))
        self.notes.append((head.size, sign_checkpoint(head, key)))
        builder = TreeBuilder(lambda level, index, tile: self.tiles.update({(level, index): tile}))
        for node in hashes:
            builder.add(node)
        builder.flush()

    def withhold(self, *seqs: int) -> None:
        """Afterwards these entries have no envelope."""
        for seq in seqs:
            self.rows[seq] = dataclasses.replace(self.rows[seq], salt=None, envelope=None)
        self.cores = {core: [seq for seq in known if seq not in seqs] for core, known in self.cores.items()}

    def entries(self, start: int = 0) -> Iterator[Logged]:
        yield from self.rows[start:]

    def heads(self) -> Iterator[tuple[int, bytes]]:
        yield from self.notes

    def covering(self, seq: int) -> tuple[int, bytes]:
        return next((size, note) for size, note in self.notes if size > seq)

    def find(self, core: Sha256) -> tuple[Logged, ...]:
        return tuple(self.rows[seq] for seq in self.cores.get(core, ()))

    def tile(self, level: int, index: int) -> bytes:
        return self.tiles.get((level, index), b"")
