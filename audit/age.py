"""Encryption to a client: age v1 (X25519), so that only the holder of the identity reads the bundle.

age releases its plaintext chunk by chunk, and a damaged chunk is found only when it is reached. So both directions
write into a nameless draft beside the destination, which gets its name when it is whole, and never before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyrage

from audit.bundledraft import appearing
from audit.digest import open_regular
from audit.errors import KeyRefused, Malformed, Unavailable, Usage, readers_own

MAX_IDENTITY_BYTES = 65_536
HEADER = b"age-encryption.org/v1\n"


def encrypt(source: Path, destination: Path, recipients: Sequence[str]) -> None:
    """Afterwards `destination`, new, holds `source` encrypted to each of the `age1...` recipients.

    Usage: no recipient, or something is already there. KeyRefused: not an X25519 recipient.
    """
    if not recipients:
        raise Usage("no recipient to encrypt to", source, "age1...")
    keys = [_recipient(text) for text in recipients]
    with open_regular(source) as fd, os.fdopen(os.dup(fd), "rb") as plain, appearing(destination) as file:
        try:
            pyrage.encrypt_io(plain, file, keys)
        except pyrage.EncryptError as error:
            raise Unavailable(f"cannot encrypt: {error}", destination) from error


def decrypt(source: Path, destination: Path, identity: Path) -> None:
    """Afterwards `destination`, new, holds what `source` was encrypted from, whole.

    `identity` is a file as `age-keygen` writes it. Malformed: not an age file, not for this identity, or damaged:
    nothing is left then.
    """
    with readers_own():
        keys = _identities(identity)
    with open_regular(source) as fd, os.fdopen(os.dup(fd), "rb") as sealed, appearing(destination) as file:
        try:
            pyrage.decrypt_io(sealed, file, keys)
        except pyrage.DecryptError as error:
            raise Malformed("cannot be decrypted", source, "an age file for this identity", str(error)) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Malformed("damaged age file", source, "chunks that authenticate", str(error)) from error


def is_encrypted(path: Path) -> bool:
    """Whether the file begins as an age file does. Errors as `open_regular`."""
    with open_regular(path) as fd:
        return os.pread(fd, len(HEADER), 0) == HEADER


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise KeyRefused("not an age recipient", "--recipient", "age1... (X25519)", "other") from None


def _identities(path: Path) -> list[pyrage.x25519.Identity]:
    """The identities in the file, one a line, comments aside. Their text is in no message."""
    with open_regular(path) as fd:
        raw = os.read(fd, MAX_IDENTITY_BYTES)
    lines = [line.strip() for line in raw.decode("ascii", errors="replace").splitlines()]
    keys = []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            try:
                keys.append(pyrage.x25519.Identity.from_str(line))
            except pyrage.IdentityError:
                raise KeyRefused("not an age identity", f"{path}:{number}", "AGE-SECRET-KEY-1...", "other") from None
    if not keys:
        raise KeyRefused("no age identity", path, "AGE-SECRET-KEY-1...", "none")
    return keys
