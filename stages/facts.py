"""The numeric fingerprint of this machine, measured once a boot and kept beside the ledger.

It goes into every statement. What is kept is a cache keyed by everything a fingerprint can depend on; `noptik doctor`
always measures anew.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from audit.digest import sha256
from audit.environment import machine
from engine import precision
from engine.fingerprint import compute

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def fingerprint_sha256(home: Path) -> str:
    """The digest of this machine's fingerprint under the profile. Precondition: the process is in the profile."""
    kept = home / "fingerprints" / f"{_key()}.txt"
    try:
        return kept.read_text("ascii")
    except FileNotFoundError:
        measured = compute().sha256
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False) as partial:
        partial.write(measured)
    Path(partial.name).replace(kept)
    return measured


def _key() -> str:
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else str(os.getpid())
    facts = [precision.PROFILE.sha256, *precision.cpu_features(), machine().model_dump_json(), boot]
    return sha256(json.dumps(facts).encode())
