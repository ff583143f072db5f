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


class PromptError(RegistryError):
    """A frozen prompt, what it is given or what was answered to it is refused."""


class UnsoundPromptError(PromptError):
    """A prompt that is not what was frozen, or never was one; carries every fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class InputRefusedError(PromptError):
    """A prompt is given what its signature does not declare, or not what it does."""


class AnswerError(PromptError):
    """Base of why a model's answer is not what the signature declares."""


class AnswerMissingError(AnswerError):
    """An output has no section in the answer."""


class AnswerNotAllowedError(AnswerError):
    """A section does not hold a value of the output's kind, or none of its declared values."""


class AnswerOutOfRangeError(AnswerError):
    """A number lies outside the declared range."""


class DspyUnavailableError(RegistryUnavailableError):
    """What needs DSPy is run where it cannot be imported."""
