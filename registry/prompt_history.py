"""The history of the frozen prompts: `history.jsonl`, one line a version in the order in which they were frozen.

A version never changes: its folder is what its line says, for ever. A better prompt is the next version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from registry import chain
from registry.errors import Fault
from registry.prompt_manifest import Manifest, PromptName

FILE: Final = "history.jsonl"


class Entry(chain.Link):
    """One frozen version."""

    name: PromptName
    manifest_sha256: chain.Sha256


@dataclass(frozen=True, slots=True)
class History:
    """The lines, the oldest first."""

    entries: tuple[Entry, ...] = ()

    @property
    def raw(self) -> bytes:
        """What the file holds."""
        return chain.raw(self.entries)

    def freezing(self, manifest: Manifest) -> History:
        """This history with a line for one more version."""
        line = Entry(
            name=manifest.name,
            manifest_sha256=chain.sha256(manifest.raw),
            date=manifest.date.isoformat(),  # type: ignore[arg-type] # IsoDate reads text
            reason=manifest.reason,
            previous=chain.head(self.entries),
        )
        return History((*self.entries, line))

    def faults(self, manifests: Mapping[str, str]) -> Iterator[Fault]:
        """What is wrong with the lines, and where `manifests` (SHA-256 by name of the folder) are not what they say."""
        yield from chain.broken(self.entries, FILE)
        latest: dict[str, int] = {}
        for number, entry in enumerate(self.entries, 1):
            stem, version = split(entry.name)
            if version != (due := latest.get(stem, 0) + 1):
                yield Fault(f"{FILE}:{number}", "name", f"{stem}_v{due}", entry.name)
            latest[stem] = version
            found = manifests.get(entry.name)
            if found is None:
                yield Fault(entry.name, "folder", "the version that was frozen, which is kept for ever", "none")
            elif found != entry.manifest_sha256:
                yield Fault(entry.name, "manifest.json", f"SHA-256 {entry.manifest_sha256}, as frozen", found)
        for name in sorted(set(manifests) - {entry.name for entry in self.entries}):
            yield Fault(name, "folder", f"a line in {FILE}: `python -m registry prompts freeze`", "none")

    def newest(self) -> dict[str, str]:
        """Name of the last version by stem."""
        return {split(entry.name)[0]: entry.name for entry in self.entries}


def split(name: str) -> tuple[str, int]:
    """`offer_v2` as ("offer", 2)."""
    stem, _, version = name.rpartition("_v")
    return stem, int(version)


def parse(raw: bytes) -> History | list[Fault]:
    """The history whose file is `raw`, or the lines that are no entries. Whether they follow, `History.faults` says."""
    entries = chain.parse(Entry, raw, FILE)
    return entries if isinstance(entries, list) else History(entries)
