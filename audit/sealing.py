"""Sealing a run: its artifacts and source into the store, its statements and their seal into the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.digest import Sha256
from audit.errors import Usage
from audit.ledger import Ledger, Pending
from audit.receipt import Receipt
from audit.run import seal_statement
from audit.source import SourceTree
from audit.statement import (
    Builder,
    InternalParameters,
    Metadata,
    Statement,
    VerdictStatement,
    core_bytes,
    parse_statement,
    with_metadata,
)
from audit.store import Store


@dataclass(frozen=True, slots=True)
class StageRun:
    """What a stage stated (the bytes of its statement's core) and when and where it ran."""

    core: bytes
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run in the log: its id, its seal's receipt (what `seal/receipt.json` holds), its stages' receipts."""

    run_id: Sha256
    receipt: Receipt
    stages: tuple[Receipt, ...]
    source_tree_sha256: Sha256


def seal_run(
    ledger: Ledger,
    store: Store,
    root: Path,
    forecast: str,
    stages: Sequence[StageRun],
    source: SourceTree,
    registration: Receipt,
    internal: InternalParameters,
    builder: Builder,
    metadata: Metadata,
    verdicts: Sequence[VerdictStatement] = (),
) -> SealedRun:
    """Afterwards the run is sealed: its artifacts in the store, its statements and their seal in the log.

    Every artifact that the statements name is as they say, and stored, as is the source tree. The statements
    and the seal are logged in one append, each once, and `verdicts` (gates that failed) before the seal;
    `metadata` is of sealing itself. A run already sealed gives the receipts of the first time, whatever the metadata.

    DigestMismatch: an artifact or source file is no longer what was stated; nothing is logged then. Usage:
    statements of another forecast, or not cores. Otherwise errors as `Ledger.append` and `Store.put`.
    """
    statements = [_core(stage.core, f"statement {number} of {forecast}") for number, stage in enumerate(stages)]
    seal = seal_statement(forecast, statements, source, registration.core_sha256, internal, builder)
    for subject in seal.subject:
        store.put(root / subject.name, subject.digest)
    store.put_source_tree(root, source)
    items = [
        Pending("stage", with_metadata(statement, stage.metadata))
        for statement, stage in zip(statements, stages, strict=True)
    ]
    items += [Pending("verdict", verdict) for verdict in verdicts]
    *receipts, sealed = ledger.append([*items, Pending("seal", with_metadata(seal, metadata))])
    return SealedRun(sealed.core_sha256, sealed, tuple(receipts[: len(stages)]), source.sha256)


def _core(raw: bytes, where: str) -> Statement:
    statement = parse_statement(raw, where)
    if not isinstance(statement, Statement) or core_bytes(statement) != raw:
        raise Usage("not the core of a stage statement", where, "provenance without metadata", raw)
    return statement
