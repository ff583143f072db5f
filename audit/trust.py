"""Trust in a log, earned rule by rule from its bytes and the keys of its root of trust; no disk, no clock.

The rules; the first that is broken is raised, naming what, where, expected and found:

 1. entries are numbered 0, 1, 2, ... and each leaf is a canonical record of that number
 2. every envelope that is there is the one its leaf commits to, signed by the key of its place, and holds one
    canonical statement of the kind the leaf names
 3. every entry names the run its forecast had sealed last
 4. the leaves give every tile, and the root of every head that is kept, the latest of all of them
 5. the latest head is signed by a key that is not void there; heads that are kept elsewhere lie on the same tree
 6. registrations are numbered 1, 2, 3, ... for the same data
 7. a seal names stage statements and a registration, logged before it in this order, and exactly the artifacts
    the stages state, which do not contradict the registration; a verdict or an admission judges a run sealed
    before it, and every artifact of it

Envelopes may be withheld: what rests on them alone is then not checked, and said to be so (`withheld`). What a
revoked key signed in its void place is void: its runs are no runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from audit import merkle
from audit.admission import open_admission
from audit.digest import Sha256
from audit.errors import DigestMismatch, Inconsistent
from audit.kinds import registration_of
from audit.logsource import Log
from audit.merkle import Hash
from audit.note import Checkpoint
from audit.resource import Subject
from audit.run import Run
from audit.statement import AdmissionStatement, Statement, VerdictStatement
from audit.tiles import TreeBuilder, split
from audit.trustedentry import Disclosed, TrustedEntry, open_entry
from audit.trustroot import TrustRoot


class RunRef(NamedTuple):
    """A sealed run: its id, its forecast, and the entry of its seal."""

    id: Sha256
    forecast: str
    seq: int


@dataclass(frozen=True)
class TrustedLog:
    """A log that kept all the rules, at the moment it was read: valid while that reading lasts.

    `note` is the signed note of its `head`; `runs` are those not void, in the order of their seals;
    `withheld` and `void` count entries.
    """

    log: Log
    keys: TrustRoot
    head: Checkpoint
    note: bytes
    runs: tuple[RunRef, ...]
    withheld: int
    void: int

    def of(self, forecast: str) -> tuple[RunRef, ...]:
        """The runs of one forecast, oldest first."""
        return tuple(run for run in self.runs if run.forecast == forecast)

    def run(self, ref: RunRef) -> Run:
        """What the seal of the run says."""
        entry = self.at(ref.seq)
        _same("run", f"entry {ref.seq}", ref.id, entry.require().core)
        return _sealed(entry)

    def artifacts(self, run: Run) -> tuple[Subject, ...]:
        """Every artifact of the run, the registered specification's among them if disclosed, sorted by name."""
        registered = self.entry(run.registration)
        subjects = (*run.artifacts, *(registered.require().statement.subject if registered else ()))
        return tuple(sorted({subject.name: subject for subject in subjects}.values(), key=lambda item: item.name))

    def entry(self, core: Sha256) -> TrustedEntry | None:
        """The entry whose statement has this core, None if it is withheld or there is none."""
        return _found(self.log, self.keys, core, self.head.size)

    def entries(self, start: int = 0) -> Iterator[TrustedEntry]:
        """Every entry from number `start`, in order."""
        return (open_entry(row, self.keys) for row in self.log.entries(start))

    def at(self, seq: int) -> TrustedEntry:
        """Entry `seq`. Precondition: 0 <= seq < head.size."""
        return next(self.entries(seq))


def trust(
    log: Log,
    keys: TrustRoot,
    *,
    visit: Callable[[TrustedEntry], None] = lambda _: None,
    kept: Sequence[bytes] = (),
) -> TrustedLog:
    """The log, returned only if it keeps every rule; Tampered otherwise.

    `visit` is called with each entry, in order, before what comes after it is looked at. `kept` are notes of
    heads kept elsewhere, each signed by the log: the tree must hold them.
    """
    if log.origin != keys.origin:
        raise Inconsistent("another log than the root of trust names", log.where, keys.origin, log.origin)
    tree = _Tree(log, keys, kept)
    story = _Story(log, keys)
    for row in log.entries():
        if row.seq != tree.size:
            raise Inconsistent(
                "entry deleted from the log", log.where, f"an entry {tree.size}", f"entry {row.seq} next"
            )
        entry = open_entry(row, keys)
        tree.add(entry)
        story.add(entry)
        visit(entry)
    head, note = tree.finish()
    return TrustedLog(log, keys, head, note, tuple(story.runs), story.withheld, story.void)


@dataclass
class _Tree:
    """Rules 4 and 5, in constant memory: tiles, and every head as the tree reaches its size."""

    log: Log
    keys: TrustRoot
    kept: Sequence[bytes]
    _latest: tuple[Checkpoint, bytes] | None = None

    def __post_init__(self) -> None:
        self._builder = TreeBuilder(self._tile)
        self._heads = iter(self.log.heads())
        self._due = next(self._heads, None)
        self._others: dict[int, list[Checkpoint]] = {}
        for note in self.kept:
            head = self.keys.open_head(note, "kept head", void=True)
            self._others.setdefault(head.size, []).append(head)
        self._at_size(merkle.EMPTY_ROOT)

    @property
    def size(self) -> int:
        return self._builder.size

    def add(self, entry: TrustedEntry) -> None:
        self._builder.add(entry.leaf_hash)
        if (self._due is not None and self._due[0] <= self.size) or self.size in self._others:
            self._at_size(self._builder.root())

    def finish(self) -> tuple[Checkpoint, bytes]:
        """The latest head and its note, every tile having been compared."""
        if self._due is not None:
            found = f"{self.size} entries"
            raise Inconsistent(
                "entries deleted from the log", f"checkpoint of size {self._due[0]}", f"{self._due[0]} entries", found
            )
        late = [size for size in self._others if size > self.size]
        if late:
            raise Inconsistent(
                "older than a head already signed", self.log.where, f"size {max(late)}", f"size {self.size}"
            )
        if self._latest is None or self._latest[0].size != self.size:
            found = f"size {self._latest[0].size}" if self._latest else "no head"
            raise Inconsistent("signed head missing", "checkpoints", f"a head of size {self.size}", found)
        self._builder.flush()
        head, note = self._latest
        return self.keys.open_head(note, f"checkpoint of size {head.size}"), note  # void no more

    def _at_size(self, root: Hash) -> None:
        """Every head of the present size, and of none that was passed over."""
        for kept in self._others.get(self.size, ()):
            if kept.root != root:
                raise Inconsistent(
                    f"another tree of size {kept.size} was signed before", self.log.where, kept.root, root
                )
        while self._due is not None and self._due[0] <= self.size:
            size, note = self._due
            where = f"checkpoint of size {size}"
            head = self.keys.open_head(note, where, void=True)
            _same("size", where, size, head.size)
            _same("order of sizes", where, self.size, head.size)
            if head.root != root:
                raise DigestMismatch("root differs from its digest", where, head.root.hex(), root.hex())
            self._latest = head, note
            self._due = next(self._heads, None)

    def _tile(self, level: int, index: int, hashes: bytes) -> None:
        found = self.log.tile(level, index)
        if len(found) != len(hashes):
            where = f"tile {level}/{index}"
            raise DigestMismatch("tile of another width", where, f"{len(hashes)} bytes", f"{len(found)} bytes")
        for number, (expected, node) in enumerate(zip(split(hashes), split(found), strict=True)):
            if expected != node:
                where = f"tile {level}/{index}, hash {number}"
                raise DigestMismatch("tile differs from the leaves", where, expected, node)


@dataclass
class _Story:
    """Rules 3, 6 and 7: what entries say of each other."""

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
            if self._require_parts(_sealed(entry)):
                self.runs.append(RunRef(told.core, told.about.forecast, entry.seq))
        elif isinstance(told.statement, VerdictStatement):
            self._require_judged(entry, told, told.statement.predicate.run)
        elif isinstance(told.statement, AdmissionStatement):
            open_admission(told.statement, f"admission in entry {entry.seq}")
            self._require_judged(entry, told, told.statement.predicate.run)

    def _require_previous(self, entry: TrustedEntry, told: Disclosed) -> None:
        """Rule 3. A seal that is withheld may be the one that is named."""
        expected, found = self._last.get(told.about.forecast), entry.record.previous_run
        if expected != found and not (self._hidden["seal"] and found is not None and not self._known(found, entry)):
            raise Inconsistent("previous run differs", f"entry {entry.seq}", expected or "none", found or "none")

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
        if judged is None and self._hidden["seal"]:
            return
        where = f"{entry.record.kind} in entry {entry.seq}"
        found = (judged.record.kind, judged.require().about.forecast) if judged else "no entry"
        _same("run judged", where, ("seal", told.about.forecast), found)
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
            if self._hidden[kind]:
                return None
            raise Inconsistent(f"statement of stage {stage} not logged before the seal", where, core, "no entry")
        about = entry.require().about
        found = (entry.record.kind, about.forecast, about.stage)
        _same(f"statement of stage {stage}", where, (kind, run.forecast, stage), found)
        return entry

    def _before(self, core: Sha256, seq: int) -> TrustedEntry | None:
        return _found(self.log, self.keys, core, seq)

    def _known(self, run: Sha256, entry: TrustedEntry) -> bool:
        return self._before(run, entry.seq) is not None


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


def _found(log: Log, keys: TrustRoot, core: Sha256, before: int) -> TrustedEntry | None:
    """The last entry before number `before` whose statement has this core; a void one only if there is no other."""
    entries = [open_entry(row, keys) for row in log.find(core) if row.seq < before]
    for entry in entries:
        _same("core", f"entry {entry.seq}", core, entry.require().core)
    return max(entries, key=lambda entry: (not entry.void, entry.seq), default=None)


def _sealed(entry: TrustedEntry) -> Run:
    statement = entry.require().statement
    if not isinstance(statement, Statement):
        raise Inconsistent("no seal", f"entry {entry.seq}", "provenance", entry.record.kind)
    return Run.of(statement, entry.seq)


def _same(what: str, where: str, expected: object, found: object) -> None:
    if expected != found:
        raise Inconsistent(f"{what} differs", where, expected, found)
