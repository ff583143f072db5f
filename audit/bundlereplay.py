"""Replay of a bundle: verified, rebuilt with the packages of its own lock file, run again, compared byte for byte.

Whoever does so can sign what was found with a key of their own; `python -m audit admit` takes that into the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.bag import PAYLOAD
from audit.bundle import SOURCE, SOURCE_LISTING
from audit.bundleread import MAX_LISTING_BYTES, Files, open_bundle
from audit.bundlereport import BundleReport
from audit.bundleverify import check_bundle
from audit.bundlewithheld import lacking
from audit.digest import digest_path
from audit.errors import DigestMismatch, Unavailable
from audit.evidence import Evidence
from audit.replay import Replayed, reexecute
from audit.replayenv import build
from audit.resource import Subject
from audit.root import Anchor
from audit.source import parse_listing, source_tree
from audit.ustar import extract


@dataclass(frozen=True, slots=True)
class BundledRun:
    """The run of a bundle that is open and verified (`replay.Recorded`)."""

    files: Files
    report: BundleReport

    @property
    def known(self) -> Evidence:
        """What its log holds of it."""
        return self.report.known

    def source(self, tree: Path) -> None:
        """Afterwards the new folder `tree` holds the recorded source.

        Unavailable: one of them is withheld. DigestMismatch: the bundle was written to since it was verified.
        """
        sealed = self.known.run.source_tree
        if absent := self._absent():  # told before an environment is built in vain
            raise Unavailable("cannot be replayed: withheld", "bundle", "the whole source, registration", absent)
        self._extract(SOURCE, tree)
        if (found := source_tree(tree).sha256) != sealed:
            raise DigestMismatch("source changed since it was verified", SOURCE, sealed, found)

    def fetch(self, subject: Subject, destination: Path) -> bool:
        """Whether the sealed artifact lies at `destination` now; False in a light bundle."""
        if subject.digest.kind == "file":
            there = subject.name in self.files.payload
        else:
            there = any(name.startswith(f"{subject.name}/") for name in self.files.payload)
        if there:
            self._copy(subject, destination)
        return there

    def _absent(self) -> str:
        """The words that left out something without which there is no replay; '' if none did."""
        withheld = self.report.info.withheld
        if "source" in withheld:
            words = ["source"]
        else:
            raw = self.files.data(SOURCE_LISTING, MAX_LISTING_BYTES)
            words = lacking(withheld, (name for name, _ in parse_listing(raw, PAYLOAD + SOURCE_LISTING)))
        return ", ".join([*words, *(["register"] if self.known.registration is None else [])])

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
            recorded.source(locks)
            interpreter = (str(build(locks, workdir / "venv", python)),)
        return report, reexecute(recorded, workdir, clock, interpreter)
