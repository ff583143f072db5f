"""Registered events as the engine takes them."""

from __future__ import annotations

from engine.registered import KnownEvent
from registry.event import Event


def known_event(event: Event) -> KnownEvent:
    """The event's dates and class; public when announced (a fault may be told late), else when it took effect."""
    public = event.announced or event.effective
    return KnownEvent(
        id=event.id,
        kind=event.kind,
        first=event.first,
        last=event.last,
        public=public,
        confidence=event.confidence,
    )
