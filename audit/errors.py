"""Why evidence is refused: tampered (exit 1) kept apart from unavailable, misused or unsafe (exit 2).

Glossary
--------
tampered     the bytes were there, were read, and contradict the format, their digest, a signature or each
             other. Example: an artifact whose SHA-256 is not the one its signed statement names.
unavailable  the bytes could not be read at all, so nothing is known about them.
             Example: the artifact's file is missing, or the disk answers EIO.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

SHOWN = 200  # characters of a value that a message repeats


class AuditError(Exception):
    """Base of every error this package raises on purpose.

    `what` went wrong, `where`, what was `expected` and what was `found`; `str()` gives all that is known, on
    one line and in printable ASCII, because the values may come from hostile bytes.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, where: object = "", expected: object = "", found: object = "") -> None:
        super().__init__(what, where, expected, found)
        self.what = what
        self.where = str(where)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        place = f"{_shown(self.where)}: " if self.where else ""
        known = (("expected", self.expected), ("found", self.found))
        facts = "; ".join(f"{name} {_shown(value)}" for name, value in known if value != "")
        return f"{place}{_shown(self.what)}" + (f" ({facts})" if facts else "")


class Tampered(AuditError):  # noqa: N818 - the house's word
    """The evidence contradicts itself. Never raised because something could not be read."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, where: object, expected: object, found: object) -> None:
        super().__init__(what, where, expected, found)


class Malformed(Tampered):
    """The bytes are not in the one strict format they should be in."""


class DigestMismatch(Tampered):
    """The bytes are not those a digest names."""


class BadSignature(Tampered):
    """No valid signature of the known key over these bytes."""


class BadProof(Tampered):
    """A Merkle proof does not lead from what is claimed to the root."""


class Inconsistent(Tampered):
    """Two pieces of evidence, each well formed, cannot both be true."""


class Unavailable(AuditError):  # noqa: N818
    """A file, ledger or key is missing, unreadable or busy: nothing is known of its bytes."""


class Usage(AuditError):  # noqa: N818
    """The caller asked for something that has no meaning."""


class KeyRefused(AuditError):  # noqa: N818
    """A key that must not be used: wrong mode, owner, kind or size, or a weak public point."""


@contextmanager
def readers_own() -> Iterator[None]:
    """Around what reads a file that is the reader's own, no evidence: what is wrong there is Usage, not Tampered."""
    try:
        yield
    except Tampered as error:
        raise Usage(error.what, error.where, error.expected, error.found) from error


def _shown(value: object) -> str:
    """`value` on one line of printable ASCII, cut after SHOWN characters."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in cut)
