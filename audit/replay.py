"""Replay: a sealed run rebuilt from the log and the store alone, run again, and compared byte for byte.

What the new run is given: the recorded source tree (data and lock file are in it), the registered
specification and its receipt. What it is not given: artifacts, DVC's caches, compiled code, the user's home
or environment. It runs as `python -m stages.replay FORECAST` in a fresh folder, and its artifacts are
compared with those the seal names.

Verdicts: `identical`, every artifact has the sealed digest; `within_tolerance`, some differ, each by at most
TOLERANCE (relative) in every number, as `python -m stages.compare EXPECTED FOUND` measures it; else
`different`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit.canonical import decode
from audit.digest import digest_path
from audit.environment import LOCK, installed_matches_lock, metadata
from audit.errors import Malformed, Unavailable
from audit.ledger import Ledger, Pending
from audit.receipt import Receipt
from audit.resource import Subject
from audit.run import Run, receipt_name
from audit.signing import PublicKey
from audit.statement import Detail, Verdict, VerdictStatement
from audit.store import Store
from audit.trust import TrustedLog
from audit.verify import verify
from audit.workspace import extra_files

VerdictName: TypeAlias = Literal["identical", "within_tolerance", "different"]

TOLERANCE = 1e-6
EXIT_CODES: Mapping[str, int] = {"identical": 0, "different": 1, "within_tolerance": 3}
ABSENT = "absent"
_STDERR = 2  # what a replayed stage prints is progress, not this command's output


class Deviation(BaseModel):
    """The largest difference between two artifacts' numbers, relative and in units in the last place."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_rel: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_ulp: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def __str__(self) -> str:
        return f"max_rel {self.max_rel:.3g} max_ulp {self.max_ulp:.3g}"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The verdict on a run, every artifact compared, and the receipt of the verdict's entry in the log."""

    run: Run
    verdict: Verdict
    receipt: Receipt

    @property
    def exit_code(self) -> int:
        """0 identical, 1 different, 3 within tolerance."""
        return EXIT_CODES[self.verdict.verdict]


def replay(
    forecast: str,
    ledger: Ledger,
    store: Store,
    public_key: PublicKey,
    workdir: Path,
    clock: Callable[[], str],
    interpreter: Sequence[str] = (sys.executable,),
) -> ReplayReport:
    """The verdict on the latest sealed run of the forecast; it is in the log afterwards.

    The log and the stored artifacts are verified first. `workdir` is an empty folder to work in; `clock`
    gives UTC times for the verdict's metadata; `interpreter` starts Python, possibly under an emulated CPU. A
    verdict that was reached before is not logged twice. Tampered: as `verify`. Unavailable: no sealed run, an
    object missing from the store, installed packages that are not those of the recorded lock file, or a
    replay that did not finish.
    """
    started = clock()
    log = verify(ledger, public_key, store, None, forecast).log
    run = log.of(forecast)[-1]
    bench = _Bench(workdir, interpreter)
    _materialise(run, log, store, bench.tree)
    _require_lock(bench.tree / LOCK)
    done = bench.run("stages.replay", forecast, stdout=_STDERR)
    if done.returncode:
        raise Unavailable("the replay did not finish", "stages.replay", "exit code 0", done.returncode)
    artifacts = log.artifacts(run)
    verdict, details = _compare(run, artifacts, store, bench)
    found = Verdict(
        verdict=verdict,
        forecast=forecast,
        run=run.id,
        details=details,
        metadata=metadata(started, clock()),
    )
    statement = VerdictStatement(subject=artifacts, predicate=found)
    (receipt,) = ledger.append([Pending("verdict", statement)])
    return ReplayReport(run, found, receipt)


def _materialise(run: Run, log: TrustedLog, store: Store, tree: Path) -> None:
    """Afterwards `tree` holds the recorded source, and the registered specification with its receipt."""
    store.get_source_tree(run.source_tree, tree, run.executables)
    registered = log.entry(run.registration)
    if registered is not None:  # always: a run without one is not trusted
        for subject in registered.statement.subject:
            store.get(subject.digest.kind, subject.sha256, tree / subject.name)
        receipt = tree / receipt_name(run.forecast, "register")
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_bytes(registered.row.receipt)


def _require_lock(lock: Path) -> None:
    differences = installed_matches_lock(lock)
    if differences:
        shown = ", ".join(str(difference) for difference in differences[:10])
        more = f" and {len(differences) - 10} more" if len(differences) > 10 else ""
        raise Unavailable("installed packages are not those of the recorded lock", LOCK, "", f"{shown}{more}")


@dataclass(frozen=True, slots=True)
class _Bench:
    """A folder to replay in, and the interpreter to do it with."""

    workdir: Path
    interpreter: Sequence[str]

    @property
    def tree(self) -> Path:
        return self.workdir / "tree"

    def run(self, *arguments: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
        """`python -m ARGUMENTS`, finished in the replayed tree, knowing nothing of the world outside it."""
        command = [*self.interpreter, "-m", *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self.tree,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                check=False,
            )
        except OSError as error:
            raise Unavailable(f"cannot start the replay: {error.strerror}", command[0]) from error

    def _environment(self) -> dict[str, str]:
        home, scratch = self.workdir / "home", self.workdir / "tmp"
        home.mkdir(exist_ok=True)
        scratch.mkdir(exist_ok=True)
        return {
            "PATH": os.pathsep.join([str(Path(self.interpreter[-1]).parent), os.defpath]),
            "HOME": str(home),
            "NOPTIK_HOME": str(home / ".noptik"),
            "TMPDIR": str(scratch),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(self.tree),  # before any copy of the project that is installed
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
        }


def _compare(
    run: Run, artifacts: tuple[Subject, ...], store: Store, bench: _Bench
) -> tuple[VerdictName, tuple[Detail, ...]]:
    """The verdict on what lies in the tree, with every artifact's sealed and found digest."""
    details, tolerable = [], True
    for subject in artifacts:
        found = _found(bench.tree / subject.name)
        if found != subject.sha256:
            deviation = None if found == ABSENT else _deviation(subject, store, bench)
            tolerable &= deviation is not None and deviation.max_rel <= TOLERANCE
            found += f" {deviation}" if deviation else ""
        details.append(Detail(name=subject.name, expected=subject.sha256, found=found))
    for name in extra_files(bench.tree, run, artifacts):
        tolerable = False
        details.append(Detail(name=name, expected=ABSENT, found=_found(bench.tree / name)))
    if all(detail.expected == detail.found for detail in details):
        return "identical", tuple(details)
    return ("within_tolerance" if tolerable else "different"), tuple(details)


def _found(path: Path) -> str:
    return digest_path(path).sha256 if os.path.lexists(path) else ABSENT


def _deviation(subject: Subject, store: Store, bench: _Bench) -> Deviation | None:
    """How far the artifact's numbers are from the sealed ones; None if they cannot be compared."""
    sealed = bench.workdir / "sealed" / subject.name
    store.get(subject.digest.kind, subject.sha256, sealed)
    done = bench.run("stages.compare", str(sealed), str(bench.tree / subject.name), stdout=subprocess.PIPE)
    if done.returncode:
        return None
    try:
        return Deviation.model_validate(decode(done.stdout, floats=True, where="stages.compare"))
    except (Malformed, ValidationError):  # NaN, say: no finite deviation, so nothing to tolerate
        return None
