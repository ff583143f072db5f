"""A folder of event files: one event a file, `<id>.yaml`, and beside them the history of their versions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry import history
from registry.errors import Fault, RegistryUnavailableError
from registry.event import Event
from registry.history import History
from registry.strict_yaml import StrictYamlError, parse

MAX_BYTES = 64 * 1024  # of one event file


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds, sound or not: its events sorted by id, their history, and what is wrong with its files.

    `faults` is of each file by itself; whether the history is that of the events, `unrecorded` says.
    """

    events: tuple[Event, ...]
    history: History
    faults: tuple[Fault, ...]

    @property
    def unrecorded(self) -> tuple[Fault, ...]:
        """Where the events are not the latest versions of a sound history."""
        return tuple(self.history.faults(self.events))


def read(folder: Path) -> Folder:
    """The folder's content. Raises RegistryUnavailableError when it, or a file in it, cannot be read."""
    events: list[Event] = []
    past = History()
    faults: list[Fault] = []
    for entry in entries(folder):
        raw = _raw(entry, history.MAX_BYTES if entry.name == history.FILE else MAX_BYTES)
        if entry.name == history.FILE and raw is not None:
            lines = history.parse(raw)
            past = lines if isinstance(lines, History) else past
            faults += [] if isinstance(lines, History) else lines
            continue
        found = event(entry.name, raw)
        if isinstance(found, Event):
            events.append(found)
        else:
            faults += found
    if not events and not faults:
        faults.append(Fault(folder.name, "folder", "event files", "none"))
    return Folder(tuple(sorted(events, key=lambda found: found.id)), past, tuple(faults))


def entries(folder: Path) -> list[Path]:
    """Everything in the folder, sorted by name. Raises RegistryUnavailableError when it cannot be listed."""
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise RegistryUnavailableError(f"{folder}: expected a folder, found: {error.strerror}") from error


def event(name: str, raw: bytes | None) -> Event | list[Fault]:
    """The event that the file `name` holds in `raw`, or every fault of it; None: no regular file of that kind."""
    if raw is None:
        return [Fault(name, "file", "a regular file named <id>.yaml", "something else")]
    if len(raw) > MAX_BYTES:
        return [Fault(name, "file", f"at most {MAX_BYTES} bytes", "more")]
    try:
        tree = parse(raw)
        # Through JSON, because only there do strict models take lists for tuples.
        found = Event.model_validate_json(json.dumps(tree))
    except StrictYamlError as error:
        return [Fault(name, "file", "strict YAML", str(error))]
    except ValidationError as error:
        return faults_of(name, error)
    if name != f"{found.id}.yaml":
        return [Fault(name, "id", repr(name.removesuffix(".yaml")), repr(found.id))]
    return found


def faults_of(where: str, error: ValidationError) -> list[Fault]:
    """What pydantic found wrong, in the registry's words."""
    return [_fault(where, found) for found in error.errors(include_url=False)]


def _raw(entry: Path, most: int) -> bytes | None:
    if entry.is_symlink() or not entry.is_file() or not (entry.suffix == ".yaml" or entry.name == history.FILE):
        return None
    return content(entry, most)


def content(path: Path, most: int) -> bytes:
    """The file's bytes, at most one more than `most`. Raises RegistryUnavailableError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise RegistryUnavailableError(f"{path}: expected a file, found: {error.strerror}") from error


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
