"""Every way the engine refuses: one base, one leaf per cause."""

from __future__ import annotations

from engine.rejection import Rejection


class EngineError(Exception):
    """Base of the engine's errors; the message says what, where, expected and found."""


class SpecError(EngineError):
    """A specification that is not valid."""


class ProfileError(EngineError):
    """The process is not, and cannot be put, in the determinism profile."""


class TableError(EngineError):
    """A table that cannot be read as declared."""


class TableUnavailableError(TableError):
    """A table's file that cannot be opened: says nothing about its content."""


class IngestError(TableError):
    """Input that is refused; carries every fault, and its message lists the first `LISTED` of them."""

    LISTED = 20

    def __init__(self, faults: tuple[Rejection, ...]) -> None:
        self.faults = tuple(sorted(faults))
        lines = [f"the table is refused: {len(faults)} fault{'s' if len(faults) > 1 else ''}"]
        lines += [f"  {fault}" for fault in self.faults[: self.LISTED]]
        if len(faults) > self.LISTED:
            lines.append(f"  and {len(faults) - self.LISTED} more")
        super().__init__("\n".join(lines))


class CalibrationError(EngineError):
    """A calibration set that cannot support what is asked of it."""


class FitError(EngineError):
    """Inference that cannot go on."""
