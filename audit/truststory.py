"""The story's part of trust in a log: what entries say of each other, as far as they are disclosed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from audit.admission import open_admission
from audit.digest import Sha256
from audit.errors import Inconsistent
from audit.kinds import registration_of
from audit.logsource import Log
from audit.note import MAX_SIZE
from audit.resource import Subject
from audit.run import Run
from audit.statement import AdmissionStatement, Statement, VerdictStatement
from audit.trustedentry import Disclosed, TrustedEntry, open_entry
from audit.trustroot import TrustRoot


class RunRef(NamedTuple):
    """A sealed run: its id, its forecast, and the entry of its seal."""

    id: Sha256
    forecast: str
    seq: int


@dataclass
class Story:
    """Rules 3, 6 and 7 of `audit.trust`: `add` every entry in order. Tampered, naming the entry.

    `runs` are those not void; `withheld` and `void` count entries.
    """

    log: Log
    keys: TrustRoot
    runs: list[RunRef] = field(default_factory=list)
    withheld: int = 0
    void: int = 0

    def __post_init__(self) -> None:
        self._last: dict[str, Sha256] = {}  # the run each forecast sealed last
        self._numbers: Counter[Sha256] = Counter()
        self._hidden: Counter[str] = Counter()  # entries withheld so far, by kind

    def add(self, entry: TrustedEntry) -> None:
        """Afterwards the story is one entry longer, and what that says of others was checked."""
        self.void += entry.void
        if entry.disclosed is None:
            self.withheld += 1
            self._hidden[entry.record.kind] += 1
            return
        told = entry.disclosed
        self._require_previous(entry, told)
        kind = entry.record.kind
        if kind == "register":
            self._require_number(entry, told)
        elif kind == "seal":
            self._last[told.about.forecast] = told.core
        if not entry.void:
            self._require_others(entry, told)

    def _require_others(self, entry: TrustedEntry, told: Disclosed) -> None:
        """Rule 7; a run whose parts are not void is a run."""
        if entry.record.kind == "seal":
            if self._require_parts(sealed(entry)):
                self.runs.append(RunRef(told.core, told.about.forecast, entry.seq))
        elif isinstance(told.statement, VerdictStatement):
            self._require_judged(entry, told, told.statement.predicate.run)
        elif isinstance(told.statement, AdmissionStatement):
            open_admission(told.statement, f"admission in entry {entry.seq}")
            self._require_judged(entry, told, told.statement.predicate.run)

    def _require_previous(self, entry: TrustedEntry, told: Disclosed) -> None:
        """Rule 3. A seal that is withheld may be the one that is named."""
        expected, named = self._last.get(told.about.forecast), entry.record.previous_run
        if expected != named and not (named is not None and self._may_be_hidden("seal", named)):
            raise Inconsistent("previous run differs", f"entry {entry.seq}", expected or "none", named or "none")

    def _require_number(self, entry: TrustedEntry, told: Disclosed) -> None:
        """Rule 6. Registrations that are withheld may lie between."""
        where = f"registration in entry {entry.seq}"
        registration = registration_of(told.statement, where)
        due = self._numbers[registration.data_sha256] + 1
        if not due <= registration.number <= due + self._hidden["register"]:
            raise Inconsistent("specification number differs", where, due, registration.number)
        self._numbers[registration.data_sha256] = registration.number

    def _require_judged(self, entry: TrustedEntry, told: Disclosed, run: Sha256 | None) -> None:
        """Rule 7 for a verdict: a gate that failed judges no run."""
        if run is None:
            return
        judged = self._before(run, entry.seq)
        if judged is None and self._may_be_hidden("seal", run):
            return
        where = f"{entry.record.kind} in entry {entry.seq}"
        said = (judged.record.kind, judged.require().about.forecast) if judged else "no entry"
        _same("run judged", where, ("seal", told.about.forecast), said)
        if judged is not None:
            stated = {subject.name: subject.sha256 for subject in told.statement.subject}
            for artifact in judged.require().statement.subject:
                _same(f"{artifact.name} judged", where, artifact.sha256, stated.get(artifact.name, "nothing"))

    def _require_parts(self, run: Run) -> bool:
        """Rule 7 for a seal; whether none of its parts is void."""
        where = f"run sealed in entry {run.seq}"
        artifacts: list[Subject] = []
        void = hidden = False
        registration = self._part(run, where, "register", "register", run.registration)
        for stage, core in ((item.stage, item.sha256) for item in run.stages):
            entry = self._part(run, where, "stage", stage, core)
            if entry is None:
                hidden = True
            else:
                _require_order(entry, registration, where)
                artifacts.extend(entry.require().statement.subject)
                void |= entry.void
        _require_artifacts(run, where, artifacts, hidden=hidden)
        if registration is not None:
            stated = {subject.name: subject for subject in run.artifacts}
            for subject in registration.require().statement.subject:
                _same(f"registered {subject.name}", where, subject.sha256, stated.get(subject.name, subject).sha256)
            void |= registration.void
        return not void

    def _part(self, run: Run, where: str, kind: str, stage: str, core: Sha256) -> TrustedEntry | None:
        """The entry of one statement of the run; None if it may be one that is withheld."""
        entry = self._before(core, run.seq)
        if entry is None:
            if self._may_be_hidden(kind, core):
                return None
            raise Inconsistent(f"statement of stage {stage} not logged before the seal", where, core, "no entry")
        about = entry.require().about
        said = (entry.record.kind, about.forecast, about.stage)
        _same(f"statement of stage {stage}", where, (kind, run.forecast, stage), said)
        return entry

    def _before(self, core: Sha256, seq: int) -> TrustedEntry | None:
        return found(self.log, self.keys, core, seq)

    def _may_be_hidden(self, kind: str, core: Sha256) -> bool:
        """Whether the statement of this core may be under one of the entries withheld so far: it is shown nowhere."""
        return self._hidden[kind] > 0 and found(self.log, self.keys, core, MAX_SIZE) is None


def _require_order(stage: TrustedEntry, registration: TrustedEntry | None, where: str) -> None:
    """What was made under a specification was logged after that was registered."""
    if (
        registration is not None
        and stage.seq < registration.seq
        and _specification(stage) == _specification(registration)
    ):
        what = f"statement of stage {stage.require().about.stage} logged before its specification was registered"
        raise Inconsistent(what, where, f"after entry {registration.seq}", f"entry {stage.seq}")


def _specification(entry: TrustedEntry) -> Sha256 | None:
    statement = entry.require().statement
    if not isinstance(statement, Statement):
        return None
    return statement.predicate.build_definition.external_parameters.specification_sha256


def _require_artifacts(run: Run, where: str, stated: list[Subject], *, hidden: bool) -> None:
    """The run names what its stages state, and, unless statements are withheld, nothing else."""
    ordered = tuple(sorted(stated, key=lambda item: item.name))
    if not hidden:
        _same("artifacts", where, ordered, run.artifacts)
    sealed = {subject.name: subject for subject in run.artifacts}
    for subject in ordered:
        _same(f"artifact {subject.name}", where, subject, sealed.get(subject.name))


def found(log: Log, keys: TrustRoot, core: Sha256, before: int) -> TrustedEntry | None:
    """The last entry before number `before` whose statement has this core; a void one only if there is no other."""
    entries = [open_entry(row, keys) for row in log.find(core) if row.seq < before]
    for entry in entries:
        _same("core", f"entry {entry.seq}", core, entry.require().core)
    return max(entries, key=lambda entry: (not entry.void, entry.seq), default=None)


def sealed(entry: TrustedEntry) -> Run:
    """What the seal in this entry says."""
    statement = entry.require().statement
    if not isinstance(statement, Statement):
        raise Inconsistent("no seal", f"entry {entry.seq}", "provenance", entry.record.kind)
    return Run.of(statement, entry.seq)


def _same(what: str, where: str, expected: object, found: object) -> None:
    if expected != found:
        raise Inconsistent(f"{what} differs", where, expected, found)
