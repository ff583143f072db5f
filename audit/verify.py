"""Verification at home: the whole log by its rules, then every artifact, in the workspace and in the store.

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
from audit.evidence import Evidence, evidence
from audit.ledger import Ledger
from audit.note import Checkpoint
from audit.store import Store
from audit.workspace import Workspace, check_workspace


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified: the log under `head`, and the artifacts of `runs`, of which the store holds `stored` bytes.

    `void` entries were signed by a revoked key in its void place: what they sealed is not among the runs.
    """

    head: Checkpoint
    runs: tuple[Evidence, ...]
    stored: int
    workspaces: tuple[Workspace, ...]
    void: int


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


def verify(ledger: Ledger, store: Store, root: Path | None, forecast: str | None = None) -> Report:
    """What holds, returned only if everything does: for one forecast, or for all.

    The log is always verified whole. Artifacts are re-hashed in the store, for every sealed run, and in the
    workspace `root` (None: there is none to check), which must hold one of them exactly. Tampered: the first
    thing that is wrong. Unavailable: nothing is wrong, but something could not be read, was never reproduced
    here, or the forecast was never sealed.
    """
    weather = _Weather()
    with ledger.trusted() as log:
        refs = log.runs if forecast is None else log.of(forecast)
        if forecast is not None and not refs:
            raise Unavailable("no sealed run of this forecast", ledger.where, "a run", forecast)
        runs = tuple(evidence(log, ref) for ref in refs)
        workspaces = []
        if root is not None:
            for name in sorted({ref.forecast for ref in refs}):
                with weather.remembered():
                    workspaces.append(check_workspace(root, name, log))
    stored = 0
    for kind, digest in _objects(runs):
        with weather.remembered():
            stored += store.check(kind, digest)
    if weather.first is not None:
        raise weather.first
    return Report(log.head, runs, stored, tuple(workspaces), log.void)


def _objects(runs: tuple[Evidence, ...]) -> list[tuple[Kind, Sha256]]:
    """Everything of these runs that the store must hold: artifacts, source trees, specifications; each once."""
    objects: dict[tuple[Kind, Sha256], None] = {}
    for known in runs:
        for subject in known.artifacts:
            objects[subject.digest.kind, subject.sha256] = None
        objects["dir", known.run.source_tree] = None
    return list(objects)
