"""DSSE v1 envelopes: a payload, its type, and one Ed25519 signature over both.

PAE (Pre-Authentication Encoding) is what the signature covers: payload type and payload, each with its
length, so that neither can pass for the other. Example: PAE("a", b"bc") = b"DSSEv1 1 a 2 bc".
"""

from __future__ import annotations

import base64
from typing import Final

from pydantic import TypeAdapter

from audit import canonical, model
from audit.errors import BadSignature, Malformed
from audit.model import Frozen
from audit.signing import PublicKey, SigningKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


class Signature(Frozen):
    """One DSSE signature. `keyid` is a hint: nothing is trusted because of it."""

    keyid: str
    sig: str


class Envelope(Frozen):
    """A DSSE v1 envelope, as on the wire."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


_ENVELOPE = TypeAdapter(Envelope)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 Pre-Authentication Encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, payload_type: str, key: SigningKey) -> bytes:
    """The DSSE envelope of `payload`, signed by `key`: canonical JSON, the same bytes every time."""
    signature = base64.b64encode(key.sign(pae(payload_type, payload))).decode()
    return model.to_bytes(
        Envelope(
            payload=base64.b64encode(payload).decode(),
            payload_type=payload_type,
            signatures=(Signature(keyid=key.public.key_id, sig=signature),),
        )
    )


def open_envelope(raw: bytes, key: PublicKey, payload_type: str = PAYLOAD_TYPE, where: str = "envelope") -> bytes:
    """The payload of the envelope at `raw`: of this type, and with exactly one signature, by `key`.

    Malformed: not canonical, another payload type, other than one signature, or base64 that is not canonical.
    BadSignature: the signature is not `key`'s over the PAE, or stands under another key's id.
    """
    envelope = model.from_bytes(_ENVELOPE, raw, where)
    if len(envelope.signatures) != 1:
        raise Malformed("envelope with other than one signature", where, 1, len(envelope.signatures))
    if envelope.payload_type != payload_type:
        raise Malformed("another payload type", where, payload_type, envelope.payload_type)
    payload = canonical.decode_base64(envelope.payload, where)
    signature = envelope.signatures[0]
    key.verify(canonical.decode_base64(signature.sig, where), pae(payload_type, payload), where)
    if signature.keyid != key.key_id:
        raise BadSignature("signature under another key's id", where, key.key_id, signature.keyid)
    return payload
