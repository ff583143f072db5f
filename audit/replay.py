"""Replay: a sealed run rebuilt from its record alone, run again, and compared byte for byte.

What the new run is given: the recorded source tree (data and lock file are in it), the registered
specification and its receipt. What it is not given: artifacts, DVC's caches, compiled code, the user's home
or environment, and, where the system can take it away, the network. It runs as `python -m stages.replay FORECAST` in a
fresh folder, and its artifacts are compared with those the seal names.

Verdicts: `identical`, every artifact has the sealed digest; `within_tolerance`, some differ, each by at most
TOLERANCE (relative) in every number, as `python -m stages.compare EXPECTED FOUND` measures it; else
`different`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit.canonical import decode
from audit.digest import digest_path
from audit.environment import LOCK, metadata
from audit.errors import Malformed, Unavailable
from audit.evidence import Evidence
from audit.receipt import receipt_bytes
from audit.replayenv import require_lock
from audit.resource import Subject
from audit.run import receipt_name
from audit.statement import Detail, Verdict, VerdictStatement
from audit.workspace import extra_files

VerdictName: TypeAlias = Literal["identical", "within_tolerance", "different"]

TOLERANCE = 1e-6
EXIT_CODES: Mapping[str, int] = {"identical": 0, "different": 1, "within_tolerance": 3}
ABSENT = "absent"
OFFLINE: Final = (("unshare", "--net"), ("unshare", "--map-root-user", "--net"))  # util-linux; the first that works
_STDERR = 2  # what a replayed stage prints is progress, not this command's output


class Recorded(Protocol):
    """A sealed run and where to get what it was made from: from the store, or from a bundle. All of it verified."""

    @property
    def known(self) -> Evidence:
        """What the log holds of it."""

    def source(self, tree: Path) -> None:
        """Afterwards the new folder `tree` holds the recorded source."""

    def fetch(self, subject: Subject, destination: Path) -> bool:
        """Whether the sealed artifact now lies at `destination`; False if only its digest was recorded here."""


class Deviation(BaseModel):
    """The largest difference between two artifacts' numbers, relative and in units in the last place."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_rel: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_ulp: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def __str__(self) -> str:
        return f"max_rel {self.max_rel:.3g} max_ulp {self.max_ulp:.3g}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found, not yet signed, and whether it ran without a network."""

    statement: VerdictStatement
    offline: bool

    @property
    def verdict(self) -> Verdict:
        """The verdict, with every artifact's sealed and found digest."""
        return self.statement.predicate

    @property
    def exit_code(self) -> int:
        """0 identical, 1 different, 3 within tolerance."""
        return EXIT_CODES[self.verdict.verdict]


def reexecute(recorded: Recorded, workdir: Path, clock: Callable[[], str], interpreter: Sequence[str]) -> Replayed:
    """What comes of running every stage again in `workdir`, an empty folder.

    `clock` gives UTC times for the verdict's metadata; `interpreter` starts Python, possibly under an emulated CPU. Its
    packages must be those of the recorded lock file. Unavailable: they are not, something recorded is not to be had,
    or the run did not finish.
    """
    started = clock()
    bench = _Bench(workdir, tuple(interpreter), offline())
    _materialise(recorded, bench.tree)
    require_lock(bench.tree / LOCK, interpreter)
    done = bench.run("stages.replay", recorded.known.run.forecast, stdout=_STDERR)
    if done.returncode:
        raise Unavailable("the replay did not finish", "stages.replay", "exit code 0", done.returncode)
    verdict, details = _compare(recorded, bench)
    found = Verdict(
        verdict=verdict,
        forecast=recorded.known.run.forecast,
        run=recorded.known.run.id,
        details=details,
        metadata=metadata(started, clock()),
    )
    return Replayed(VerdictStatement(subject=recorded.known.artifacts, predicate=found), bool(bench.prefix))


def _materialise(recorded: Recorded, tree: Path) -> None:
    """Afterwards the new folder `tree` holds the recorded source, the registered specification and its receipt."""
    known = recorded.known
    recorded.source(tree)
    if known.registration is None:
        raise Unavailable("no registration", known.run.registration)
    for subject in known.registered:
        recorded.fetch(subject, tree / subject.name)
    receipt = tree / receipt_name(known.run.forecast, "register")
    receipt.parent.mkdir(parents=True, exist_ok=True)
    receipt.write_bytes(receipt_bytes(known.registration))


def offline() -> tuple[str, ...]:
    """The words before a command that take the network from it; none where this system cannot."""
    for words in OFFLINE:
        try:
            if not subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
                return words
        except OSError:
            return ()
    return ()


@dataclass(frozen=True, slots=True)
class _Bench:
    """A folder to replay in, and the interpreter to do it with; `prefix` takes the network away."""

    workdir: Path
    interpreter: tuple[str, ...]
    prefix: tuple[str, ...]

    @property
    def tree(self) -> Path:
        return self.workdir / "tree"

    def run(self, *arguments: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
        """`python -m ARGUMENTS`, finished in the replayed tree, knowing nothing of the world outside it."""
        command = [*self.prefix, *self.interpreter, "-m", *arguments]
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


def _compare(recorded: Recorded, bench: _Bench) -> tuple[VerdictName, tuple[Detail, ...]]:
    """The verdict on what lies in the tree, with every artifact's sealed and found digest."""
    details, tolerable = [], True
    for subject in recorded.known.artifacts:
        found = _found(bench.tree / subject.name)
        if found != subject.sha256:
            deviation = None if found == ABSENT else _deviation(subject, recorded, bench)
            tolerable &= deviation is not None and deviation.max_rel <= TOLERANCE
            found += f" {deviation}" if deviation else ""
        details.append(Detail(name=subject.name, expected=subject.sha256, found=found))
    for name in extra_files(bench.tree, recorded.known.run, recorded.known.artifacts):
        tolerable = False
        details.append(Detail(name=name, expected=ABSENT, found=_found(bench.tree / name)))
    if all(detail.expected == detail.found for detail in details):
        return "identical", tuple(details)
    return ("within_tolerance" if tolerable else "different"), tuple(details)


def _found(path: Path) -> str:
    return digest_path(path).sha256 if os.path.lexists(path) else ABSENT


def _deviation(subject: Subject, recorded: Recorded, bench: _Bench) -> Deviation | None:
    """How far the artifact's numbers are from the sealed ones; None if they cannot be compared."""
    sealed = bench.workdir / "sealed" / subject.name
    if not recorded.fetch(subject, sealed):
        return None
    done = bench.run("stages.compare", str(sealed), str(bench.tree / subject.name), stdout=subprocess.PIPE)
    if done.returncode:
        return None
    try:
        return Deviation.model_validate(decode(done.stdout, floats=True, where="stages.compare"))
    except (Malformed, ValidationError):  # NaN, say: no finite deviation, so nothing to tolerate
        return None
