"""The folder of all frozen prompts: reading it whole, and freezing one more. A version appears whole or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from audit import durable
from audit.errors import AuditError
from registry import chain, folder, prompt_history, prompts
from registry.errors import Fault, PromptError, RegistryUnavailableError, UnsoundPromptError
from registry.prompt_history import FILE, History
from registry.prompt_manifest import FILES, MANIFEST, Manifest
from registry.prompts import Prompt


@dataclass(frozen=True, slots=True)
class Frozen:
    """Every prompt that is sound, in the history's order, the history, and what is wrong with the whole."""

    prompts: tuple[Prompt, ...]
    history: History
    faults: tuple[Fault, ...]


def read(root: Path, pinned: str | None) -> Frozen:
    """What the folder `root` holds; no folder holds nothing. Raises RegistryUnavailableError when it cannot be read.

    The newest version of each prompt must be one of the DSPy that is `pinned`; an older one stays as it was.
    """
    if not root.exists():
        return Frozen((), History(), ())
    faults: list[Fault] = []
    past = History()
    found: dict[str, Prompt] = {}
    held: dict[str, str] = {}
    for entry in folder.entries(root):
        if entry.name == FILE and entry.is_file() and not entry.is_symlink():
            lines = prompt_history.parse(folder.content(entry, chain.MAX_BYTES))
            past = lines if isinstance(lines, History) else past
            faults += [] if isinstance(lines, History) else lines
        elif entry.is_dir() and not entry.is_symlink():
            try:
                found[entry.name] = prompts.load(entry, None)
            except UnsoundPromptError as error:
                faults += error.faults
            held[entry.name] = _manifest(entry)
        else:
            faults.append(Fault(entry.name, "file", f"folders of prompts and {FILE}", "another entry"))
    faults += past.faults(held)
    for name in past.newest().values():
        if pinned is not None and name in found and (dspy := found[name].manifest.dspy) != pinned:
            faults.append(Fault(name, "dspy", f"{pinned}, which {prompts.LOCK} pins", dspy))
    order = [entry.name for entry in past.entries]
    known = sorted(found, key=lambda name: (name not in order, order.index(name) if name in order else 0, name))
    return Frozen(tuple(found[name] for name in known), past, tuple(sorted(faults)))


def freeze(root: Path, draft: Path, name: str, by: str, on: date, reason: str, pinned: str | None) -> Manifest:
    """Afterwards `root/name` holds the draft as a frozen version, and the history a line for it; its manifest.

    Raises UnsoundPromptError, and writes nothing, unless the draft and every version there are sound, the draft is of
    the DSPy that is `pinned`, and `name` is the next version of its prompt; RegistryUnavailableError when something
    cannot be read or written.
    """
    declared, rendering = prompts.draft(draft)
    if pinned is not None and declared.dspy != pinned:
        raise UnsoundPromptError([Fault(draft.name, "dspy", f"{pinned}, which {prompts.LOCK} pins", declared.dspy)])
    said = {"name": name, "frozen_by": by, "date": on.isoformat(), "reason": reason}
    try:
        manifest = Manifest.model_validate({**dict(declared), **said})
    except ValidationError as error:
        raise UnsoundPromptError(folder.faults_of("freeze", error)) from error
    with _alone(root):
        past = read(root, None)
        if past.faults:
            raise UnsoundPromptError(past.faults)
        if (root / name).exists():
            raise UnsoundPromptError([Fault(name, "folder", "a new version: a frozen one never changes", "one there")])
        longer = past.history.freezing(manifest)
        held = {entry.name: entry.manifest_sha256 for entry in longer.entries}
        if faults := tuple(longer.faults(held)):
            raise UnsoundPromptError(faults)
        place(root / name, {**{file: rendering.files[file] for file in FILES}, MANIFEST: manifest.raw})
        try:
            durable.replace(root / FILE, longer.raw)
        except AuditError as error:
            shutil.rmtree(root / name)
            raise RegistryUnavailableError(str(error)) from error
    return manifest


def place(path: Path, files: Mapping[str, bytes]) -> None:
    """Afterwards the folder `path`, which was not there, holds exactly `files`, on disk; or it is not there.

    Raises PromptError for one that is there, RegistryUnavailableError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        draft.mkdir()
        try:
            for name, raw in files.items():
                durable.create(draft / name, raw)
            if path.exists():
                raise PromptError(f"{path}: expected a folder that is not there yet, found one")
            draft.rename(path)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(draft)
        durable.sync_folder(path.parent)
    except OSError as error:
        raise RegistryUnavailableError(f"{path}: expected a folder to write, found: {error.strerror}") from error
    except AuditError as error:
        raise RegistryUnavailableError(str(error)) from error


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Inside, nobody else freezes below `root`, which is made if it is not there; a crash leaves it free."""
    try:
        root.mkdir(exist_ok=True)
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RegistryUnavailableError(f"{root}: expected a folder to write, found: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _manifest(entry: Path) -> str:
    """SHA-256 of a folder's manifest, empty where there is none."""
    path = entry / MANIFEST
    return chain.sha256(folder.content(path, chain.MAX_BYTES)) if path.is_file() and not path.is_symlink() else ""
