"""What extraction rests on, read and checked: creatives and their images, frozen prompts, recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from audit import durable
from audit.digest import sha256
from audit.errors import DigestMismatch, Malformed, Unavailable
from audit.recording import MAX_FILE_BYTES, Recordings
from engine import creative, creative_image
from engine.creative import Creative
from engine.creative_errors import CreativeError
from engine.errors import SpecError
from engine.spec_creatives import Creatives, Prompted
from engine.spec_data import DataSpec
from registry import prompts
from registry.prompts import Prompt

CREATIVES = "data/creatives"  # where the project keeps them
PROMPTS = "registry/prompts"
LOCK = "requirements-prompts.lock"  # which DSPy the prompts were frozen with
FILE, RECORDINGS = "creatives.jsonl", "recordings.jsonl"


class Sources(NamedTuple):
    """What extraction rests on, read and checked."""

    declared: Creatives
    creatives: tuple[Creative, ...]
    images: Mapping[str, bytes]  # by `sha256:` and digest, as requests name them
    prompts: Mapping[str, Prompt]  # by extractor
    recordings: Recordings  # what was recorded before


def read(root: Path, data: DataSpec) -> Sources:
    """Everything `data.creatives` names, below `root`. Precondition: it names something.

    Raises Unavailable for what cannot be read, Tampered for what is not what its digest says, RegistryError for a
    prompt that is not sound, SpecError for one that is not the one declared.
    """
    declared = data.creatives
    assert declared is not None
    folder = root / declared.folder
    raw = _bytes(folder / FILE, declared.max_bytes)
    try:
        found = creative.parse(raw, [column.name for column in data.media], data.locations)
    except CreativeError as error:
        raise CreativeError(f"{declared.folder}/{FILE}: {error}") from error
    prompted = {each.name: _prompt(root, each) for each in declared.extractors if isinstance(each, Prompted)}
    return Sources(declared, found, dict(_images(folder, found)), prompted, _recordings(folder / RECORDINGS, declared))


def _prompt(root: Path, declared: Prompted) -> Prompt:
    pinned = prompts.pinned_dspy(_bytes(root / LOCK, 16 * 2**20))
    folder = root / PROMPTS / declared.prompt
    _require_own(folder)
    found = prompts.load(folder, pinned)
    if found.sha256 != declared.sha256:
        where = f"data.creatives.{declared.name}.sha256"
        raise SpecError(f"{where}: expected {found.sha256}, of {PROMPTS}/{declared.prompt}, found {declared.sha256}")
    return found


def _images(folder: Path, found: Sequence[Creative]) -> Iterator[tuple[str, bytes]]:
    for one in found:
        if one.image is not None and one.image_sha256 is not None:
            path = folder / one.image
            raw = _bytes(path, creative_image.MAX_BYTES)
            if sha256(raw) != one.image_sha256:
                raise DigestMismatch(f"image of creative {one.id}", path, one.image_sha256, sha256(raw))
            yield f"sha256:{one.image_sha256}", raw


def _require_own(path: Path) -> None:
    for each in (path, path.parent):
        if each.is_symlink():
            raise Malformed("not of the project's own", each, "a file or folder", "a symbolic link")


def _bytes(path: Path, most: int) -> bytes:
    _require_own(path)
    raw = durable.read(path, most)
    if raw is None:
        raise Unavailable("cannot be read: no such file", path)
    return raw


def _recordings(path: Path, declared: Creatives) -> Recordings:
    """What was recorded; nothing where no extractor replays, or nothing was recorded yet."""
    if not any(isinstance(each, Prompted) and each.engine == "replay" for each in declared.extractors):
        return Recordings()
    where = f"{declared.folder}/{RECORDINGS}"
    return Recordings.parse(_bytes(path, MAX_FILE_BYTES), where) if os.path.lexists(path) else Recordings()
