"""The `openssl` command as a second verifier of Ed25519 signatures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from audit.signing import PublicKey


def openssl_verifies(folder: Path, key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `openssl pkeyutl` accepts `signature`; skips the running test where there is no openssl."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    for name, data in (("key", key.to_pem()), ("signature", signature), ("message", message)):
        (folder / name).write_bytes(data)
    command = [program, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", "message"]
    done = subprocess.run([*command, "-sigfile", "signature"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.strip() in ("Signature Verified Successfully", "Signature Verification Failure"), done
    return done.returncode == 0
