"""The regime registry: dated events that can, or only seem to, break a media series; curated by hand.

Detection asks which events lie near an alarm, and what they are: a break that coincides with an artefact or a
transient promotion does not re-anchor a forecast.

Glossary
--------
shipped  the events in `registry/regimes/`, the same for every client.
private  a client's own events, in a folder of their own below `registry/private/`, with the same schema. They are no
         part of the recorded source: a run's private events are registered with its specification, and lie in its
         own bundle alone. Example: a price rise that one client made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from audit import canonical
from audit.errors import Malformed
from registry import folder as folders
from registry import scope
from registry.errors import Fault, RegimeError, RegistryError
from registry.event import Event

SHIPPED: Final = Path(__file__).parent / "regimes"
NO_EVENTS: Final = b"[]"


@dataclass(frozen=True, slots=True)
class Registry:
    """Events sorted by id."""

    events: tuple[Event, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `events_bytes(events)`."""
        return hashlib.sha256(events_bytes(self.events)).hexdigest()

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
        return tuple(
            event
            for event in self.current
            if scope.channels_meet(event.channels, channels) and scope.regions_meet(event.regions, regions)
        )

    @property
    def current(self) -> tuple[Event, ...]:
        """Every event that no other supersedes."""
        replaced = {event.supersedes for event in self.events}
        return tuple(event for event in self.events if event.id not in replaced)

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

    def merged(self, private: Iterable[Event]) -> Registry:
        """This registry with a client's own events beside it, which may supersede events of it.

        A private event may fall on the days of a shipped one: a client's own sale on Black Friday is another event.
        Raises RegimeError for what `check` finds wrong with the private ones.
        """
        own = tuple(private)
        faults = check(Registry(own), self.events)
        if faults:
            raise RegimeError(faults)
        return Registry(tuple(sorted((*self.events, *own), key=lambda event: event.id)))


def load(folder: Path, private: Path | None = None) -> Registry:
    """The registry in `folder`, and in `private`: every entry is a valid event file and the latest of its versions.

    Raises RegistryUnavailableError when a folder or file cannot be read, RegimeError with every fault otherwise.
    """
    shipped = _sound(folder, ())
    return shipped if private is None else shipped.merged(_sound(private, shipped.events).events)


def own(folder: Path, private: Path | None) -> tuple[Event, ...]:
    """The events of `private` alone, sound beside the registry in `folder`; none without one. Errors as `load`."""
    if private is None:
        return ()
    return _sound(private, _sound(folder, ()).events).events


def files(root: Path, folder: str) -> tuple[str, ...]:
    """The paths, relative to `root`, of everything that `load(root / folder)` reads, sorted.

    Raises RegistryUnavailableError when the folder cannot be read.
    """
    return tuple(f"{folder}/{entry.name}" for entry in folders.entries(root / folder))


def check(registry: Registry, beside: Sequence[Event] = ()) -> tuple[Fault, ...]:
    """What is wrong between events: ids used twice, events that overlap, and supersedes that lead nowhere.

    Two events overlap when they share class, a channel and a region by name, and a day (a permanent or open event
    counts its first day), and neither supersedes the other. Ids must differ from those of the events `beside` too,
    and `supersedes` may name one of them.
    """
    faults: list[Fault] = []
    ids = [event.id for event in (*beside, *registry.events)]
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


def events_bytes(events: Sequence[Event]) -> bytes:
    """The canonical JSON array of the events, sorted by id."""
    return canonical.encode([event.record() for event in sorted(events, key=lambda event: event.id)])


def parse_events(raw: bytes, where: str) -> tuple[Event, ...]:
    """The events whose `events_bytes` is `raw`. Raises RegimeError, naming `where`, if there are none."""
    try:
        items = canonical.decode_canonical(raw, where=where)
        if not isinstance(items, list):
            raise RegimeError([Fault(where, "file", "an array of events", type(items).__name__)])
        # Each through JSON, because only there do strict models take lists for tuples.
        events = tuple(Event.model_validate_json(json.dumps(item)) for item in items)
    except Malformed as error:
        raise RegimeError([Fault(where, "file", "canonical JSON", str(error))]) from error
    except ValidationError as error:
        raise RegimeError(folders.faults_of(where, error)) from error
    if events_bytes(events) != raw:
        raise RegimeError([Fault(where, "file", "events sorted by id, every field given", "something else")])
    return events


def _sound(folder: Path, beside: Sequence[Event]) -> Registry:
    found = folders.read(folder)
    registry = Registry(found.events)
    faults = (*found.faults, *check(registry, beside))
    # a file that cannot be read as an event is not one that was removed: first things first
    if faults or (faults := found.unrecorded):
        raise RegimeError(faults)
    return registry


def _same_days(one: Event, other: Event) -> bool:
    shared = set(one.channels) & set(other.channels) and set(one.regions) & set(other.regions)
    if one.kind != other.kind or not shared:
        return False
    return max(one.first, other.first) <= min(one.last, other.last)
