"""Every way the registry refuses: one base, one leaf per cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RegistryError(Exception):
    """Base of the registry's errors; the message says what, where, expected and found."""


class RegistryUnavailableError(RegistryError):
    """A folder or file that cannot be read or written: says nothing about its content."""


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
