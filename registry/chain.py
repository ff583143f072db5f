"""Hash chains: files of one canonical JSON line a record, each of which names the SHA-256 of the line before.

So no line is changed, dropped or moved afterwards without changing every line below it, nor then without changing the
digest of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit import canonical
from audit.errors import Malformed
from registry.errors import Fault
from registry.event import IsoDate, Line

MAX_BYTES: Final = 16 * 2**20
FIRST: Final = "0" * 64

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Link(BaseModel):
    """One line: when it was recorded and why, and the SHA-256 of the line before, without its line feed.

    `previous` of the first line is FIRST.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    date: IsoDate
    reason: Line
    previous: Sha256

    @property
    def line(self) -> bytes:
        """The line's bytes, without its line feed."""
        return canonical.encode(self.model_dump(mode="json"))


L = TypeVar("L", bound=Link)


def sha256(raw: bytes) -> str:
    """SHA-256 of `raw`, hex."""
    return hashlib.sha256(raw).hexdigest()


def head(links: Sequence[Link]) -> str:
    """SHA-256 of the last line; FIRST where there is none."""
    return sha256(links[-1].line) if links else FIRST


def raw(links: Sequence[Link]) -> bytes:
    """What the file holds."""
    return b"".join(link.line + b"\n" for link in links)


def parse(kind: type[L], held: bytes, file: str) -> tuple[L, ...] | list[Fault]:
    """The lines of the file named `file` that holds `held`, or the faults of those that are none.

    Whether they follow, `broken` says.
    """
    if len(held) > MAX_BYTES:
        return [Fault(file, "file", f"at most {MAX_BYTES} bytes", "more")]
    links: list[L] = []
    faults: list[Fault] = []
    *lines, rest = held.split(b"\n")
    if rest:
        faults.append(Fault(f"{file}:{len(lines) + 1}", "line", "a line feed at its end", "none"))
    for number, line in enumerate(lines, 1):
        try:
            links.append(kind.model_validate(canonical.decode_canonical(line, where=file)))
        except (Malformed, ValidationError) as error:
            said = str(error).splitlines()
            faults.append(Fault(f"{file}:{number}", "line", "canonical JSON of one version", "; ".join(said[:3])))
    return faults or tuple(links)


def broken(links: Sequence[Link], file: str) -> Iterator[Fault]:
    """Where a line does not name the one before it, or is dated before it."""
    before, day = FIRST, date.min
    for number, link in enumerate(links, 1):
        where = f"{file}:{number}"
        if link.previous != before:
            yield Fault(where, "previous", f"{before}, the SHA-256 of the line before", link.previous)
        if link.date < day:
            yield Fault(where, "date", f"{day} or later, as the line before", str(link.date))
        before, day = sha256(link.line), link.date
