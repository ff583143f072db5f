"""Registered events as the engine takes them."""

from __future__ import annotations

from engine.registered import KnownEvent
from registry.event import Event


def known_event(event: Event) -> KnownEvent:
    """The event's dates and class; public when announced, or when it took effect if nothing earlier is recorded."""
    public = min(event.announced or event.effective, event.effective)
    return KnownEvent(
        id=event.id,
        kind=event.kind,
        first=event.first,
        last=event.last,
        public=public,
        confidence=event.confidence,
    )
