"""The history of a registry: every version of every event, in the order in which they were recorded, and why.

One line of canonical JSON a version, in `history.jsonl` beside the event files, the oldest first:

    event, version   which; the versions of an event are 1, 2, 3 ...
    record_sha256    SHA-256 of the canonical JSON of the event as it was then (`Event.record`)
    date, reason     when it was recorded, and why
    previous         SHA-256 of the line before, without its line feed; 64 zeros in the first line

So no edit is silent: an event file that is not its latest version is a fault. And no line is changed, dropped or moved
afterwards without changing every line below it, nor then without changing the digest of the folder, which the statement
of every stage that used the registry names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final

from pydantic import Field

from audit import canonical
from registry import chain
from registry.errors import Fault
from registry.event import Event, Id

FILE: Final = "history.jsonl"
MAX_BYTES: Final = chain.MAX_BYTES
FIRST: Final = chain.FIRST


class Entry(chain.Link):
    """One version of one event."""

    event: Id
    version: Annotated[int, Field(ge=1, le=1000)]
    record_sha256: chain.Sha256


@dataclass(frozen=True, slots=True)
class History:
    """The lines, the oldest first."""

    entries: tuple[Entry, ...] = ()

    @property
    def head(self) -> str:
        """SHA-256 of the last line; 64 zeros where there is none."""
        return chain.head(self.entries)

    @property
    def raw(self) -> bytes:
        """What the file holds."""
        return chain.raw(self.entries)

    def of(self, event: str) -> tuple[Entry, ...]:
        """The versions of one event, the oldest first."""
        return tuple(entry for entry in self.entries if entry.event == event)

    def extends(self, older: History) -> bool:
        """Whether this one begins with every line of `older`."""
        return self.entries[: len(older.entries)] == older.entries

    def due(self, event: Event) -> int | None:
        """The version that the event, as it is, must have to be recorded; None: it is the latest version already."""
        known = self.of(event.id)
        if known and known[-1].record_sha256 == digest(event):
            return None
        return known[-1].version + 1 if known else 1

    def recording(self, events: Iterable[Event], on: date, reason: str) -> History:
        """This history with a line for each event that is not its latest version yet, in the events' order.

        Raises ValidationError for a reason that is not one line. That the versions follow is for `faults` to say.
        """
        longer = self
        for event in events:
            if self.due(event) is not None:
                fields = {"event": event.id, "version": event.version, "record_sha256": digest(event)}
                line = {**fields, "date": on.isoformat(), "reason": reason, "previous": longer.head}
                longer = History((*longer.entries, Entry.model_validate(line)))
        return longer

    def faults(self, events: Sequence[Event]) -> Iterator[Fault]:
        """What is wrong with the lines themselves, and where `events` are not their latest versions."""
        yield from self._broken()
        for event in events:
            due = self.due(event)
            if due == event.version:
                how = f"a line in {FILE}: `python -m registry regimes record`"
                yield Fault(event.id, "version", how, f"none of version {due}")
            elif due is not None:
                yield Fault(event.id, "version", f"{due}, for it is not what was recorded", str(event.version))
        for gone in sorted({entry.event for entry in self.entries} - {event.id for event in events}):
            yield Fault(gone, "file", "a file: an event that no longer holds is superseded, not removed", "none")

    def _broken(self) -> Iterator[Fault]:
        yield from chain.broken(self.entries, FILE)
        versions = dict[str, int]()
        for number, entry in enumerate(self.entries, 1):
            if entry.version != (due := versions.get(entry.event, 0) + 1):
                yield Fault(f"{FILE}:{number}", "version", f"{due} of {entry.event}", str(entry.version))
            versions[entry.event] = entry.version


def parse(raw: bytes) -> History | list[Fault]:
    """The history whose file is `raw`, or the lines that are no entries. Whether they follow, `History.faults` says."""
    entries = chain.parse(Entry, raw, FILE)
    return entries if isinstance(entries, list) else History(entries)


def digest(event: Event) -> str:
    """SHA-256 (hex) of the canonical JSON of the event."""
    return chain.sha256(canonical.encode(event.record()))
