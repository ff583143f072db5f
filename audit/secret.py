"""What must not be shown, and the PEM in which a private key is kept: PKCS8, plain or under a passphrase.

Encrypted it is an EncryptedPrivateKeyInfo (RFC 5958 3) under PBES2 (RFC 8018 6.2) with scrypt (RFC 7914 7) and AES-256
in CBC mode: what `openssl pkcs8 -topk8 -scrypt` writes and openssl reads. The default of the `cryptography` package is
PBKDF2 with 2048 rounds, which a guesser of passphrases hardly notices.
"""

from __future__ import annotations

import base64
import secrets
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

SCRYPT = (2**14, 8, 1)  # N, r, p: what `openssl pkcs8 -scrypt` uses, and the most its memory limit reads back
PLAIN, ENCRYPTED = "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


class Secret:
    """Bytes that nothing shows: not `repr`, not a traceback with local variables, not pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes; for immediate use, never for a variable."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or pickled")


def private_pem(der: Secret, passphrase: Secret | None) -> Secret:
    """The PEM of a private key's PKCS8 `der`, encrypted if there is a passphrase."""
    if passphrase is None:
        return Secret(armour(PLAIN, der.reveal()))
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    n, r, p = SCRYPT
    derived = Secret(Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.reveal()))
    encryptor = Cipher(AES(derived.reveal()), CBC(iv)).encryptor()
    padding = 16 - len(der.reveal()) % 16  # RFC 5652 6.3
    encrypted = encryptor.update(der.reveal() + bytes([padding]) * padding) + encryptor.finalize()
    kdf = _der(0x30, _SCRYPT, _der(0x30, _der(4, salt), *(_integer(number) for number in SCRYPT)))
    scheme = _der(0x30, _PBES2, _der(0x30, kdf, _der(0x30, _AES_256_CBC, _der(4, iv))))
    return Secret(armour(ENCRYPTED, _der(0x30, scheme, _der(4, encrypted))))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _integer(number: int) -> bytes:
    return _der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def armour(label: str, der: bytes) -> bytes:
    """The PEM (RFC 7468) of `der`, lines of 64."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
