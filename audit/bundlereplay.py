"""Replay of a bundle: verified, rebuilt with the packages of its own lock file, run again, compared byte for byte.

Whoever does so can sign what was found with a key of their own; `python -m audit admit` takes that into the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.bag import PAYLOAD
from audit.bundle import SOURCE
from audit.bundleread import Files, open_bundle
from audit.bundlereport import BundleReport
from audit.bundleverify import check_bundle
from audit.digest import digest_path
from audit.errors import DigestMismatch, Unavailable
from audit.receipt import receipt_bytes
from audit.replay import Replayed, reexecute
from audit.replayenv import build
from audit.resource import Subject
from audit.root import Anchor
from audit.run import Run, receipt_name
from audit.source import source_tree
from audit.ustar import extract


@dataclass(frozen=True, slots=True)
class BundledRun:
    """The run of a bundle that is open and verified (`replay.Recorded`)."""

    files: Files
    report: BundleReport

    @property
    def run(self) -> Run:
        """What its seal says."""
        return self.report.known.run

    @property
    def artifacts(self) -> tuple[Subject, ...]:
        """Every artifact."""
        return self.report.known.artifacts

    def materialise(self, tree: Path) -> None:
        """Afterwards the new folder `tree` holds the recorded source, and what was registered.

        Unavailable: one of them is withheld. DigestMismatch: the bundle was written to since it was verified.
        """
        known, withheld = self.report.known, {"source", "data"} & set(self.report.info.withheld)
        if withheld or known.registration is None:
            lacking = ", ".join([*sorted(withheld), *(["register"] if known.registration is None else [])])
            raise Unavailable("cannot be replayed: withheld", "bundle", "source, data and registration", lacking)
        self._extract(SOURCE, tree)
        if (found := source_tree(tree).sha256) != self.run.source_tree:
            raise DigestMismatch("source changed since it was verified", SOURCE, self.run.source_tree, found)
        for subject in known.registered:
            self.fetch(subject, tree / subject.name)
        receipt = tree / receipt_name(self.run.forecast, "register")
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_bytes(receipt_bytes(known.registration))

    def fetch(self, subject: Subject, destination: Path) -> bool:
        """Whether the sealed artifact lies at `destination` now; False in a light bundle."""
        if subject.digest.kind == "file":
            there = subject.name in self.files.payload
        else:
            there = any(name.startswith(f"{subject.name}/") for name in self.files.payload)
        if there:
            self._copy(subject, destination)
        return there

    def _copy(self, subject: Subject, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if subject.digest.kind == "dir":
            self._extract(f"{subject.name}/", destination)
        else:
            with destination.open("xb") as file:
                file.writelines(self.files.tar.chunks(self.files.member(PAYLOAD + subject.name)))
        if (found := digest_path(destination).sha256) != subject.sha256:
            raise DigestMismatch("artifact changed since it was verified", subject.name, subject.sha256, found)

    def _extract(self, prefix: str, destination: Path) -> None:
        """Afterwards the new folder `destination` holds what the payload has below `prefix`."""
        names = [self.files.member(PAYLOAD + name) for name in self.files.payload if name.startswith(prefix)]
        extract(self.files.tar, destination, names, strip=self.files.member(PAYLOAD + prefix).count("/"))


def replay_bundle(
    path: Path,
    anchor: Anchor,
    workdir: Path,
    clock: Callable[[], str],
    python: str,
    interpreter: Sequence[str] | None = None,
) -> tuple[BundleReport, Replayed]:
    """What the bundle at `path` is, once verified, and what came of running it again in the empty folder `workdir`.

    Without an `interpreter` an environment is built from the bundled lock files with `python`. Errors as
    `check_bundle`, `replayenv.build` and `reexecute`.
    """
    with open_bundle(path) as files:
        report = check_bundle(files, anchor)
        recorded = BundledRun(files, report)
        if interpreter is None:
            locks = workdir / "locks"
            recorded.materialise(locks)
            interpreter = (str(build(locks, workdir / "venv", python)),)
        return report, reexecute(recorded, workdir, clock, interpreter)
