"""The `openssl` command as a second verifier of Ed25519 signatures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from audit.signing import PublicKey


def openssl_verifies(folder: Path, key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `openssl pkeyutl` accepts `signature`; the test fails where there is no openssl."""
    for name, data in (("key", key.to_pem()), ("signature", signature), ("message", message)):
        (folder / name).write_bytes(data)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", "message"]
    done = subprocess.run([*command, "-sigfile", "signature"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.strip() in ("Signature Verified Successfully", "Signature Verification Failure"), done
    return done.returncode == 0
