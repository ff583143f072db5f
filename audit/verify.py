"""Verification: the whole log by its rules, then every artifact, in the workspace and in the store.

Bad evidence is told before bad weather: something missing from the disk is remembered while the rest is
checked, and raised only if nothing was found to be tampered with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from audit.digest import Kind, Sha256
from audit.errors import Unavailable
from audit.ledger import Ledger
from audit.note import Verifier
from audit.run import Run
from audit.signing import PublicKey
from audit.store import Store
from audit.trust import TrustedLog, trust
from audit.workspace import Workspace, check_workspace


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified.

    `runs` are the sealed runs whose stored artifacts were re-hashed, `stored` their bytes; `interrupted`: the
    last write to the ledger was cut short, so that only its signatures vouch for it.
    """

    log: TrustedLog
    runs: tuple[Run, ...]
    stored: int
    workspaces: tuple[Workspace, ...]
    interrupted: bool


@dataclass(slots=True)
class _Weather:
    """The first thing that could not be read."""

    first: Unavailable | None = field(default=None)

    @contextmanager
    def remembered(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            self.first = self.first or error


def verify(
    ledger: Ledger, public_key: PublicKey, store: Store, root: Path | None, forecast: str | None = None
) -> Report:
    """What holds, returned only if everything does: for one forecast, or for all.

    The log is always verified whole. Artifacts are re-hashed in the store, for every sealed run, and in the
    workspace `root` (None: there is none to check), which must hold one of them exactly. Tampered: the first
    thing that is wrong. Unavailable: nothing is wrong, but something could not be read, was never reproduced
    here, or the forecast was never sealed.
    """
    snapshot = ledger.snapshot()
    verifier = Verifier(ledger.origin, public_key)
    log = trust(snapshot, verifier, str(ledger.path))
    runs = log.runs if forecast is None else log.of(forecast)
    if forecast is not None and not runs:
        raise Unavailable("no sealed run of this forecast", ledger.path, "a run", forecast)
    weather = _Weather()
    workspaces = []
    if root is not None:
        for name in sorted({run.forecast for run in runs}):
            with weather.remembered():
                workspaces.append(check_workspace(root, name, log, verifier))
    stored = 0
    for kind, digest in _objects(runs, log):
        with weather.remembered():
            stored += store.check(kind, digest)
    if weather.first is not None:
        raise weather.first
    return Report(log, runs, stored, tuple(workspaces), snapshot.file.interrupted)


def _objects(runs: tuple[Run, ...], log: TrustedLog) -> list[tuple[Kind, Sha256]]:
    """Everything of these runs that the store must hold: artifacts, source trees, specifications; each once."""
    objects: dict[tuple[Kind, Sha256], None] = {}
    for run in runs:
        for subject in log.artifacts(run):
            objects[subject.digest.kind, subject.sha256] = None
        objects["dir", run.source_tree] = None
    return list(objects)
