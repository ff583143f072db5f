"""SSHSIG: a detached signature that `ssh-keygen -Y verify` checks (OpenSSH's PROTOCOL.sshsig), with Ed25519.

    -----BEGIN SSH SIGNATURE-----     base64 in lines of 70: the key, the namespace, the hash and the signature
    -----END SSH SIGNATURE-----

What is signed names the namespace, so that a signature for one use is none for another. The key inside the file is
ignored as a source of trust: it must be the key that the reader already has.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap
from typing import Final

from audit.canonical import decode_base64
from audit.errors import BadSignature, Malformed
from audit.signing import SIGNATURE_BYTES, PublicKey, SigningKey

NAMESPACE: Final = "noptik-bundle"
_MAGIC, _KEY_TYPE, _HASH = b"SSHSIG", b"ssh-ed25519", b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
_WIDTH = 70


def sign(message: bytes, key: SigningKey, namespace: str = NAMESPACE) -> bytes:
    """The armored signature of `message`: the same bytes every time."""
    return _armored(_blob(key.public, namespace, key.sign(_signed(message, namespace))))


def verify(raw: bytes, message: bytes, key: PublicKey, where: str, namespace: str = NAMESPACE) -> None:
    """Returns only if `raw` is what `sign` gives for `message` under `key`.

    Malformed: not one armored signature in that one form. BadSignature: another key's, or it does not verify.
    """
    blob = _dearmored(raw, where)
    signature = blob[-SIGNATURE_BYTES:]
    if blob != _blob(key, namespace, signature):
        raise BadSignature("not a signature by the known key for this use", where, f"{key.key_id}, {namespace}", blob)
    key.verify(signature, _signed(message, namespace), where)


def allowed_signer(principal: str, key: PublicKey, namespace: str = NAMESPACE) -> bytes:
    """The line of an `allowed_signers` file by which `ssh-keygen -Y verify -I PRINCIPAL` knows the key."""
    encoded = base64.b64encode(_public(key)).decode()
    return f'{principal} namespaces="{namespace}" {_KEY_TYPE.decode()} {encoded}\n'.encode()


def _signed(message: bytes, namespace: str) -> bytes:
    parts = (namespace.encode(), b"", _HASH, hashlib.sha512(message).digest())
    return _MAGIC + b"".join(_string(part) for part in parts)


def _blob(key: PublicKey, namespace: str, signature: bytes) -> bytes:
    signed = _string(_KEY_TYPE) + _string(signature)
    parts = (_public(key), namespace.encode(), b"", _HASH, signed)
    return _MAGIC + (1).to_bytes(4, "big") + b"".join(_string(part) for part in parts)


def _public(key: PublicKey) -> bytes:
    return _string(_KEY_TYPE) + _string(key.raw)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data  # RFC 4251 5


def _armored(blob: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(blob).decode(), _WIDTH)
    return (_BEGIN + "".join(f"{line}\n" for line in lines) + _END).encode()


def _dearmored(raw: bytes, where: str) -> bytes:
    text = raw.decode("ascii", errors="replace")
    body = text.removeprefix(_BEGIN).removesuffix(_END)
    blob = decode_base64(body.replace("\n", ""), where)
    if _armored(blob) != raw:
        raise Malformed("not an armored SSH signature", where, f"{_BEGIN.strip()}, lines of {_WIDTH}", ascii(text[:40]))
    return blob
