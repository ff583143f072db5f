"""Recording an edit: event files that were added or changed become versions of their folder's history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from audit import durable
from audit.errors import AuditError
from registry import folder as folders
from registry import history, regimes
from registry.errors import Fault, RegimeError, RegistryUnavailableError
from registry.event import Event
from registry.history import Entry
from registry.regimes import Registry


def record(folder: Path, ids: Sequence[str], on: date, reason: str, beside: Sequence[Event] = ()) -> tuple[Entry, ...]:
    """Afterwards the folder's history has a line for each edited event (of `ids` alone, if any); those lines.

    Nothing is written unless the events are sound, beside those of `beside` too, and each version follows the one
    before it. Raises RegimeError with every fault otherwise, for an id that is not there and for a reason that is
    not one line; RegistryUnavailableError when the folder cannot be read or written.
    """
    found = folders.read(folder)
    absent = sorted(set(ids) - {event.id for event in found.events})
    faults = [*found.faults, *regimes.check(Registry(found.events), beside)]
    faults += [Fault(name, "file", "an event file", "none") for name in absent]
    if faults:
        raise RegimeError(faults)
    edited = [event for event in found.events if not ids or event.id in ids]
    try:
        longer = found.history.recording(edited, on, reason)
    except ValidationError as error:
        raise RegimeError(folders.faults_of("--reason", error)) from error
    others = {event.id for event in found.events} - {event.id for event in edited}
    faults = [
        Fault(event.id, "version", f"{due}, for it is not what was recorded", str(event.version))
        for event in edited
        if (due := found.history.due(event)) not in (None, event.version)
    ] or [fault for fault in longer.faults(found.events) if fault.where not in others]
    if faults:
        raise RegimeError(faults)
    lines = longer.entries[len(found.history.entries) :]
    if lines:
        try:
            durable.replace(folder / history.FILE, longer.raw)
        except AuditError as error:
            raise RegistryUnavailableError(str(error)) from error
    return lines
