"""Where a run happened: facts of the machine, and whether the locked packages are installed.

The machine's facts vary from run to run, so they belong to a statement's metadata, outside what replay
compares.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from audit.digest import sha256
from audit.errors import Malformed, Unavailable
from audit.statement import Metadata

LOCK = "requirements.lock"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9,._-]+\])?==([A-Za-z0-9.+!_-]+)\s*\\?")


class Machine(BaseModel):
    """One machine and interpreter; `host` tells machines apart without naming them.

    `cpu`, `avx2` and `fma` are the kernel's word: under a user-mode emulator they describe the host.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpu: str
    cores: int
    avx2: bool
    fma: bool
    libc: str
    kernel: str
    python: str
    host: str  # first 16 digits of the SHA-256 of the host's name


@dataclass(frozen=True, slots=True)
class Difference:
    """A locked package whose installed version is another; `installed` is '' when it is absent."""

    name: str
    locked: str
    installed: str

    def __str__(self) -> str:
        return f"{self.name} {self.installed or 'absent'} (locked {self.locked})"


def machine() -> Machine:
    """The facts of this machine and interpreter; 'unknown' where the system does not say."""
    cpu, flags = _cpu()
    return Machine(
        cpu=cpu,
        cores=os.cpu_count() or 1,
        avx2="avx2" in flags,
        fma="fma" in flags,
        libc=_libc(),
        kernel=platform.release(),
        python=platform.python_version(),
        host=sha256(platform.node().encode())[:16],
    )


def metadata(started_on: str, finished_on: str) -> Metadata:
    """The volatile facts of something done here between two UTC times (RFC 3339, whole seconds)."""
    facts = machine()
    return Metadata(
        started_on=started_on,
        finished_on=finished_on,
        host=facts.host,
        cpu=facts.cpu,
        libc=facts.libc,
        python=facts.python,
    )


def installed_matches_lock(lock: Path, installed: Mapping[str, str] | None = None) -> tuple[Difference, ...]:
    """Every package the lock file pins that is not `installed` at that version, in its order.

    `installed` are versions by normalised name (PEP 503); None: what this interpreter has. Empty means every pin
    holds; packages beyond the lock are not looked at. Malformed: a requirement that is not an exact, unconditional pin
    (`name==version`). Unavailable: the file cannot be read.
    """
    try:
        lines = lock.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"cannot read the lock file: {error}", lock) from error
    differences = []
    for number, line in enumerate(lines, 1):
        if not line or line[0] in " \t#-":  # hashes, comments and options
            continue
        pin = _PIN.fullmatch(line)
        if pin is None:
            raise Malformed("not an exact pin", f"{lock}:{number}", "name==version", line)
        found = _installed(pin[1]) if installed is None else installed.get(re.sub("[-_.]+", "-", pin[1]).lower(), "")
        if found != pin[2]:
            differences.append(Difference(pin[1], pin[2], found))
    return tuple(differences)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return "unknown", frozenset()
    facts = dict(re.findall(r"^(model name|flags)\s*: (.*)$", text, re.MULTILINE))
    return facts.get("model name", "unknown"), frozenset(facts.get("flags", "").split())


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (OSError, ValueError):
        return "unknown"
