"""The events that may explain an alarm of a forecast: the registry that ships, and the client's own as registered."""

from __future__ import annotations

from pathlib import Path

from audit.digest import sha256
from engine.errors import SpecError
from engine.spec_detect import Private
from registry import regimes
from registry.regimes import Registry
from stages.stage import Context

REGIMES = "registry/regimes"
PRIVATE = "register/private.json"


def private_events(root: Path, private: Private | None) -> bytes:
    """The canonical JSON of the client's own events in the project at `root`, which must be those that are pinned.

    Raises SpecError for others, RegistryError for a folder that is not sound beside the registry that ships.
    """
    if private is None:
        return regimes.NO_EVENTS
    raw = regimes.events_bytes(regimes.own(root / REGIMES, root / private.folder))
    if sha256(raw) != private.sha256:
        pinned = "detect.registered.private.sha256"
        raise SpecError(f"{pinned}: expected {sha256(raw)}, of {private.folder}, found {private.sha256}")
    return raw


def events(context: Context) -> Registry:
    """The registry that the forecast is judged by. Precondition: the stage states REGIMES and PRIVATE as its inputs."""
    own = regimes.parse_events(context.artifact(PRIVATE).read_bytes(), context.artifact_name(PRIVATE))
    return regimes.load(context.root / REGIMES).merged(own)
