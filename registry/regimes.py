"""The regime registry: dated events that can, or only seem to, break a media series; curated by hand.

One event is one file, `<id>.yaml`, under `registry/regimes/`. Detection asks which events lie near an
alarm, and what they are: a break that coincides with an artefact or a transient promotion does not
re-anchor a forecast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from audit import canonical
from registry import scope
from registry.errors import RegistryError, RegistryUnavailableError
from registry.event import Event
from registry.strict_yaml import StrictYamlError, parse

SHIPPED: Final = Path(__file__).parent / "regimes"
MAX_BYTES = 64 * 1024  # of one file


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong: the file or event it is in, the field, what was expected there and what was found."""

    where: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: expected {self.expected}, found {self.found}"


class RegimeError(RegistryError):
    """A registry that is not valid; carries every fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Registry:
    """Events sorted by id."""

    events: tuple[Event, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON array of all events."""
        return hashlib.sha256(canonical.encode([event.record() for event in self.events])).hexdigest()

    def concerning(self, channels: Sequence[str], regions: Sequence[str]) -> tuple[Event, ...]:
        """Events that concern a channel of `channels` and a region of `regions`, superseded ones left out.

        `all` on either side concerns every channel. A region concerns those it contains and those that
        contain it (global, EU, US, US-CA). No channels or no regions: no events. Raises RegistryError for
        a name that does not exist.
        """
        for name in channels:
            if not scope.is_channel(name):
                raise RegistryError(f"channels: expected one of {', '.join(scope.CHANNELS)}, found {name!r}")
        for name in regions:
            if not scope.is_region(name):
                raise RegistryError(f"regions: expected {scope.REGIONS}, found {name!r}")
        replaced = {event.supersedes for event in self.events}
        return tuple(
            event
            for event in self.events
            if event.id not in replaced
            and scope.channels_meet(event.channels, channels)
            and scope.regions_meet(event.regions, regions)
        )

    def matching(self, day: date, days: int, channels: Sequence[str], regions: Sequence[str]) -> tuple[Event, ...]:
        """Those of `concerning` with an edge (`first` or `last`) at most `days` from `day`.

        A long event explains a break where it begins and where it ends, not in between. Raises
        RegistryError as `concerning` does, and for days < 0.
        """
        if days < 0:
            raise RegistryError(f"days: expected 0 or more, found {days}")
        return tuple(
            event
            for event in self.concerning(channels, regions)
            if min(abs((day - event.first).days), abs((day - event.last).days)) <= days
        )


def load(folder: Path) -> Registry:
    """The registry in `folder`: every entry is a valid event file, and `check` finds nothing.

    Raises RegistryUnavailableError when the folder or a file cannot be read, RegimeError with every fault
    otherwise.
    """
    entries = _entries(folder)
    events: list[Event] = []
    faults: list[Fault] = [] if entries else [Fault(folder.name, "folder", "event files", "none")]
    for entry in entries:
        found = _event(entry.name, _raw(entry))
        if isinstance(found, Event):
            events.append(found)
        else:
            faults += found
    registry = Registry(tuple(sorted(events, key=lambda event: event.id)))
    faults += check(registry)
    if faults:
        raise RegimeError(faults)
    return registry


def files(root: Path, folder: str) -> tuple[str, ...]:
    """The paths, relative to `root`, of everything that `load(root / folder)` reads, sorted.

    Raises RegistryUnavailableError when the folder cannot be read.
    """
    return tuple(f"{folder}/{entry.name}" for entry in _entries(root / folder))


def check(registry: Registry) -> tuple[Fault, ...]:
    """What is wrong between events: ids used twice, events that overlap, and supersedes that lead nowhere.

    Two events overlap when they share class, a channel and a region by name, and a day (a permanent or
    open event counts its first day), and neither supersedes the other.
    """
    faults: list[Fault] = []
    ids = [event.id for event in registry.events]
    for event in registry.events:
        if ids.count(event.id) > 1:
            faults.append(Fault(event.id, "id", "each id once", f"{ids.count(event.id)} times"))
        if event.supersedes is not None and (event.supersedes not in ids or event.supersedes == event.id):
            faults.append(Fault(event.id, "supersedes", "another event's id", event.supersedes))
    for one, other in combinations(registry.events, 2):
        if other.supersedes == one.id and one.supersedes == other.id:
            faults.append(Fault(one.id, "supersedes", "one direction", f"{other.id} supersedes it too"))
        elif one.id not in (other.supersedes, other.id) and one.supersedes != other.id and _same_days(one, other):
            faults.append(Fault(other.id, "effective", f"no overlap with {one.id}", str(other.effective)))
    return tuple(sorted(faults))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise RegistryUnavailableError(f"{folder}: expected a folder, found: {error.strerror}") from error


def _raw(entry: Path) -> bytes | None:
    if entry.is_symlink() or not entry.is_file() or entry.suffix != ".yaml":
        return None
    try:
        with entry.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RegistryUnavailableError(f"{entry}: expected a file, found: {error.strerror}") from error


def _event(name: str, raw: bytes | None) -> Event | list[Fault]:
    if raw is None:
        return [Fault(name, "file", "a regular file named <id>.yaml", "something else")]
    if len(raw) > MAX_BYTES:
        return [Fault(name, "file", f"at most {MAX_BYTES} bytes", "more")]
    try:
        tree = parse(raw)
        # Through JSON, because only there do strict models take lists for tuples.
        event = Event.model_validate_json(json.dumps(tree))
    except StrictYamlError as error:
        return [Fault(name, "file", "strict YAML", str(error))]
    except ValidationError as error:
        return [_fault(name, fault) for fault in error.errors(include_url=False)]
    if name != f"{event.id}.yaml":
        return [Fault(name, "id", repr(name.removesuffix(".yaml")), repr(event.id))]
    return event


def _fault(name: str, fault: Any) -> Fault:
    field = ".".join(str(part) for part in fault["loc"]) or fault.get("ctx", {}).get("field") or "event"
    if fault["type"] == "refused":
        return Fault(name, field, fault["ctx"]["expected"], _short(fault["ctx"]["found"]))
    if fault["type"] == "missing":
        return Fault(name, field, "a value", "none")
    if fault["type"] == "extra_forbidden":
        return Fault(name, field, "no such field", _short(repr(fault["input"])))
    return Fault(name, field, fault["msg"], _short(repr(fault["input"])))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _same_days(one: Event, other: Event) -> bool:
    shared = set(one.channels) & set(other.channels) and set(one.regions) & set(other.regions)
    if one.kind != other.kind or not shared:
        return False
    return max(one.first, other.first) <= min(one.last, other.last)
