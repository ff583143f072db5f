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

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit import canonical
from audit.errors import Malformed
from registry.errors import Fault
from registry.event import Event, Id, IsoDate, Line

FILE: Final = "history.jsonl"
MAX_BYTES: Final = 16 * 2**20
FIRST: Final = "0" * 64

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """One version of one event."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    event: Id
    version: Annotated[int, Field(ge=1, le=1000)]
    record_sha256: Sha256
    date: IsoDate
    reason: Line
    previous: Sha256

    @property
    def line(self) -> bytes:
        """The line's bytes, without its line feed."""
        return canonical.encode(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class History:
    """The lines, the oldest first."""

    entries: tuple[Entry, ...] = ()

    @property
    def head(self) -> str:
        """SHA-256 of the last line; 64 zeros where there is none."""
        return _sha256(self.entries[-1].line) if self.entries else FIRST

    @property
    def raw(self) -> bytes:
        """What the file holds."""
        return b"".join(entry.line + b"\n" for entry in self.entries)

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
        before, day, versions = FIRST, date.min, dict[str, int]()
        for number, entry in enumerate(self.entries, 1):
            where = f"{FILE}:{number}"
            if entry.previous != before:
                yield Fault(where, "previous", f"{before}, the SHA-256 of the line before", entry.previous)
            if entry.version != (due := versions.get(entry.event, 0) + 1):
                yield Fault(where, "version", f"{due} of {entry.event}", str(entry.version))
            if entry.date < day:
                yield Fault(where, "date", f"{day} or later, as the line before", str(entry.date))
            before, day, versions[entry.event] = _sha256(entry.line), entry.date, entry.version


def parse(raw: bytes) -> History | list[Fault]:
    """The history whose file is `raw`, or the lines that are no entries. Whether they follow, `History.faults` says."""
    if len(raw) > MAX_BYTES:
        return [Fault(FILE, "file", f"at most {MAX_BYTES} bytes", "more")]
    entries: list[Entry] = []
    faults: list[Fault] = []
    *lines, rest = raw.split(b"\n")
    if rest:
        faults.append(Fault(f"{FILE}:{len(lines) + 1}", "line", "a line feed at its end", "none"))
    for number, line in enumerate(lines, 1):
        try:
            entry = Entry.model_validate(canonical.decode_canonical(line, where=FILE))
        except (Malformed, ValidationError) as error:
            said = str(error).splitlines()
            faults.append(Fault(f"{FILE}:{number}", "line", "canonical JSON of one version", "; ".join(said[:3])))
        else:
            entries.append(entry)
    return faults or History(tuple(entries))


def digest(event: Event) -> str:
    """SHA-256 (hex) of the canonical JSON of the event."""
    return _sha256(canonical.encode(event.record()))


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
