"""Expected bytes against found bytes, artifact by artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from audit.digest import digest_path

ABSENT = "absent"


class Difference(NamedTuple):
    """One artifact that is not as expected: its SHA-256 (dirHash of a Zarr group) there and here."""

    artifact: str
    expected: str
    found: str
    distance: str  # how far apart the numbers are, where there are numbers

    def __str__(self) -> str:
        return f"{self.artifact}: expected {self.expected}, found {self.found}{self.distance}"


def differences(expected: Path, found: Path) -> tuple[Difference, ...]:
    """Every artifact in which two folders differ, in the order of the names; one that only one folder has included.

    Precondition: the process is in the profile.
    """
    unequal = []
    for name in sorted(artifacts(expected) | artifacts(found)):
        pair = expected / name, found / name
        digests = [digest_path(path).sha256 if os.path.lexists(path) else ABSENT for path in pair]
        if digests[0] != digests[1]:
            distance = "" if ABSENT in digests else _distance(*pair)
            unequal.append(Difference(name, digests[0], digests[1], distance))
    return tuple(unequal)


def artifacts(folder: Path) -> set[str]:
    """The names of the artifacts below `folder`: files, and Zarr groups as one each."""
    names = set()
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        groups = [i for i, part in enumerate(parts) if part.endswith(".zarr")]
        if path.is_file() or path.is_symlink():
            names.add("/".join(parts[: groups[0] + 1] if groups else parts))
    return names


def _distance(expected: Path, found: Path) -> str:
    from stages.compare import IncomparableError, compare

    try:
        deviation = compare(expected, found)
    except (IncomparableError, OSError, ValueError) as error:
        return f" (not comparable number by number: {error})"
    return f" (numbers at most {deviation.max_ulp} ulp and {deviation.max_rel:.3g} relative apart)"
