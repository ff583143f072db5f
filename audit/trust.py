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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from audit.digest import Sha256
from audit.errors import Inconsistent
from audit.logsource import Log
from audit.note import Checkpoint
from audit.resource import Subject
from audit.run import Run
from audit.trustedentry import TrustedEntry, open_entry
from audit.trustroot import TrustRoot
from audit.truststory import RunRef, Story, found, sealed
from audit.trusttree import Tree


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
        if entry.require().core != ref.id:
            raise Inconsistent("another run than was checked", f"entry {ref.seq}", ref.id, entry.require().core)
        return sealed(entry)

    def artifacts(self, run: Run) -> tuple[Subject, ...]:
        """Every artifact of the run, the registered specification's among them if disclosed, sorted by name."""
        registered = self.entry(run.registration)
        subjects = (*run.artifacts, *(registered.require().statement.subject if registered else ()))
        return tuple(sorted({subject.name: subject for subject in subjects}.values(), key=lambda item: item.name))

    def entry(self, core: Sha256) -> TrustedEntry | None:
        """The entry whose statement has this core, None if it is withheld or there is none."""
        return found(self.log, self.keys, core, self.head.size)

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
    tree = Tree(log, keys, kept)
    story = Story(log, keys)
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
