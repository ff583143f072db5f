"""What a ledger's file held at one moment, as plain values: what `audit.trust` judges, without SQL."""

from __future__ import annotations

from dataclasses import dataclass

from audit.digest import Sha256
from audit.ledgerfile import FileDigest


@dataclass(frozen=True, slots=True)
class Logged:
    """One row of the log, as it lies in the file: nothing here is verified."""

    seq: int
    leaf: bytes
    leaf_hash: bytes
    envelope: bytes
    envelope_sha256: Sha256
    core_sha256: Sha256
    kind: str
    forecast: str
    stage: str
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Registered:
    """One row of the registrations: specification `number` for the data, logged as entry `seq`."""

    data_sha256: Sha256
    specification_sha256: Sha256
    number: int
    seq: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the ledger held at one moment; nothing here is verified except that SQLite can read it.

    `frontier` is the tree state's subtrees, joined; `checkpoints` are (size, signed note) by size;
    `kept_head` is the note kept outside the file, None if none is.
    """

    origin: str
    entries: tuple[Logged, ...]
    size: int
    root: bytes
    frontier: bytes
    checkpoints: tuple[tuple[int, bytes], ...]
    registrations: tuple[Registered, ...]
    kept_head: bytes | None
    file: FileDigest
