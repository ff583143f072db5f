"""Frozen prompts: optimised once, committed whole, verified byte by byte, and used without DSPy for ever after.

Glossary
--------
prompt    a DSPy program of one predictor as it was saved, its typed signature, and its rendered messages.
probe     a committed input whose rendered messages are pinned by digest. Example: a headline full of braces.
template  the messages with places for inputs; what is sent is rendered from it.
manifest  what binds these, and says which optimiser wrote the prompt for which model, how well it does, and who froze
          it why. Its SHA-256 is the prompt's.
draft     a prompt as compiled, not yet frozen: `draft.json` in place of the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry import chain, prompt_answer, prompt_probes, prompt_program, prompt_signature, prompt_template
from registry import prompt_manifest as manifests
from registry.errors import Fault, RegistryUnavailableError, UnsoundPromptError
from registry.prompt_manifest import FILES, MANIFEST, PROBES, PROGRAM, SIGNATURE, TEMPLATE, Draft, Manifest
from registry.prompt_signature import Signature, Value
from registry.prompt_template import Template

SHIPPED: Final = Path(__file__).parent / "prompts"
LOCK: Final = "requirements-prompts.lock"
MAX_BYTES: Final = 4 * 2**20  # of each file

_PIN = re.compile(rb"^dspy==([0-9][0-9A-Za-z.+-]*)[ \t]*(?:\\|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a prompt is made of, frozen or not: its files' bytes and what they hold."""

    files: Mapping[str, bytes]
    signature: Signature
    template: Template
    probes: tuple[Mapping[str, str], ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the messages of every probe."""
        return tuple(prompt_template.digest(self.template.render(self.signature, probe)) for probe in self.probes)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A frozen prompt whose every digest holds."""

    sha256: str  # of manifest.json
    manifest: Manifest
    rendering: Rendering

    @property
    def name(self) -> str:
        """Its folder's name, with the version: `offer_v1`."""
        return self.manifest.name

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self.rendering.signature

    def messages(self, inputs: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
        """The wire messages of one request; an image is named `sha256:<hex>` and may be left out.

        Raises InputRefusedError for inputs that are not what the signature declares.
        """
        return self.rendering.template.render(self.signature, inputs)

    def read(self, content: str) -> Mapping[str, Value]:
        """The outputs that the answer `content` gives, typed. Raises an AnswerError leaf, naming the output."""
        return prompt_answer.read(self.signature, content)


def load(folder: Path, pinned: str | None) -> Prompt:
    """The frozen prompt in `folder`, which is what its manifest says, byte for byte, and needs no DSPy.

    `pinned` is the version of DSPy that the project's lock pins (`pinned_dspy`): another one than the manifest's is
    refused; None does not look. Raises UnsoundPromptError with every fault, RegistryUnavailableError when the folder or
    a file in it cannot be read.
    """
    files = read(folder, MANIFEST)
    where = f"{folder.name}/{MANIFEST}"
    manifest = manifests.parse(Manifest, files[MANIFEST], where)
    faults: list[Fault] = []
    if manifest.name != folder.name:
        faults.append(Fault(where, "name", repr(folder.name), repr(manifest.name)))
    if pinned is not None and manifest.dspy != pinned:
        faults.append(Fault(where, "dspy", f"{pinned}, which {LOCK} pins", manifest.dspy))
    found = rendering(files, manifest, folder.name, faults)
    return Prompt(chain.sha256(files[MANIFEST]), manifest, found)


def draft(folder: Path) -> tuple[Draft, Rendering]:
    """The draft in `folder`, every digest of it verified. Errors as `load`."""
    files = read(folder, manifests.DRAFT)
    declared = manifests.parse(Draft, files[manifests.DRAFT], f"{folder.name}/{manifests.DRAFT}")
    return declared, rendering(files, declared, folder.name, [])


def pinned_dspy(lock: bytes) -> str:
    """The version of DSPy that the lock file `lock` pins. Raises UnsoundPromptError unless it pins exactly one."""
    found = [match.decode() for match in _PIN.findall(lock)]
    if len(found) != 1:
        raise UnsoundPromptError([Fault(LOCK, "dspy", "one line dspy==<version>", ", ".join(found) or "none")])
    return str(found[0])


def read(folder: Path, first: str) -> dict[str, bytes]:
    """The bytes of exactly the files of a prompt, `first` (manifest or draft) among them. Errors as `load`."""
    expected = sorted((first, *FILES))
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
        faults = list(_strange(folder.name, entries, expected))
        files = {} if faults else {entry.name: _bytes(entry) for entry in entries}
    except OSError as error:
        where = error.filename or folder
        raise RegistryUnavailableError(f"{where}: expected a readable prompt, found: {error.strerror}") from error
    faults += [
        Fault(f"{folder.name}/{name}", "file", f"at most {MAX_BYTES} bytes", "more")
        for name, raw in files.items()
        if len(raw) > MAX_BYTES
    ]
    if faults:
        raise UnsoundPromptError(faults)
    return files


def rendering(files: Mapping[str, bytes], declared: Draft, name: str, faults: list[Fault]) -> Rendering:
    """What the files hold, as `declared`. Raises UnsoundPromptError with what is wrong, and with `faults` if any."""
    faults = [*faults, *_digests(files, declared, name)]
    if faults:
        raise UnsoundPromptError(faults)
    signature = prompt_signature.parse(files[SIGNATURE], f"{name}/{SIGNATURE}")
    if signature.raw != files[SIGNATURE]:
        faults.append(Fault(f"{name}/{SIGNATURE}", "file", "canonical JSON, every field given", "another spelling"))
    template = prompt_template.parse(files[TEMPLATE], signature, f"{name}/{TEMPLATE}")
    probes = prompt_probes.parse(files[PROBES], signature, f"{name}/{PROBES}")
    faults += prompt_program.faults(files[PROGRAM], signature, declared.dspy, f"{name}/{PROGRAM}")
    found = Rendering(files, signature, template, probes)
    faults += probed(found.digests, declared, name, "messages")
    if faults:
        raise UnsoundPromptError(faults)
    return found


def probed(digests: tuple[str, ...], declared: Draft, name: str, what: str) -> Iterator[Fault]:
    """Where the digests of the probes' messages are not those declared."""
    if len(digests) != len(declared.probes):
        yield Fault(f"{name}/{PROBES}", "lines", str(len(declared.probes)), str(len(digests)))
        return
    for number, (expected, found) in enumerate(zip(declared.probes, digests, strict=True), 1):
        if expected != found:
            yield Fault(f"{name}/{PROBES}:{number}", what, f"SHA-256 {expected}", found)


def _digests(files: Mapping[str, bytes], declared: Draft, name: str) -> Iterator[Fault]:
    for file in FILES:
        if (found := chain.sha256(files[file])) != declared.files[file]:
            yield Fault(f"{name}/{file}", "file", f"SHA-256 {declared.files[file]}", found)


def _strange(name: str, entries: list[Path], expected: list[str]) -> Iterator[Fault]:
    there = [entry.name for entry in entries]
    for missing in sorted(set(expected) - set(there)):
        yield Fault(f"{name}/{missing}", "file", "a file", "none")
    for entry in entries:
        if entry.name not in expected:
            yield Fault(f"{name}/{entry.name}", "file", f"only {', '.join(expected)}", "another entry")
        elif entry.is_symlink() or not entry.is_file():
            yield Fault(f"{name}/{entry.name}", "file", "a regular file", "something else")


def _bytes(entry: Path) -> bytes:
    with entry.open("rb") as file:
        return file.read(MAX_BYTES + 1)
