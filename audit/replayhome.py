"""Replay at home: a run of the installation's own ledger, from its store, with the verdict logged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.evidence import Evidence
from audit.ledger import Ledger, Pending
from audit.receipt import Receipt
from audit.replay import Replayed, reexecute
from audit.resource import Subject
from audit.run import Run
from audit.statement import Verdict
from audit.store import Store
from audit.verify import verify


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay of `run` found, and the receipt of the verdict's entry in the log."""

    run: Run
    found: Replayed
    receipt: Receipt

    @property
    def verdict(self) -> Verdict:
        """The verdict, with every artifact compared."""
        return self.found.verdict

    @property
    def exit_code(self) -> int:
        """0 identical, 1 different, 3 within tolerance."""
        return self.found.exit_code


def replay(
    forecast: str,
    ledger: Ledger,
    store: Store,
    workdir: Path,
    clock: Callable[[], str],
    interpreter: Sequence[str] = (sys.executable,),
) -> ReplayReport:
    """The verdict on the latest sealed run of the forecast; it is in the log afterwards.

    The log and the stored artifacts are verified first. A verdict that was reached before is not logged twice.
    Tampered: as `verify`. Unavailable: no sealed run, an object missing from the store, or as `reexecute`.
    """
    known = verify(ledger, store, None, forecast).runs[-1]
    found = reexecute(StoredRun(known, store), workdir, clock, interpreter)
    (receipt,) = ledger.append([Pending("verdict", found.statement)])
    return ReplayReport(known.run, found, receipt)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of the ledger, with its bytes in the store (`replay.Recorded`)."""

    known: Evidence
    store: Store

    def source(self, tree: Path) -> None:
        """Afterwards the new folder `tree` holds the recorded source."""
        self.store.get_source_tree(self.known.run.source_tree, tree, self.known.run.executables)

    def fetch(self, subject: Subject, destination: Path) -> bool:
        """The sealed artifact lies at `destination` afterwards: True."""
        self.store.get(subject.digest.kind, subject.sha256, destination)
        return True
