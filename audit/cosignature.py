"""Cosignatures (C2SP tlog-cosignature v1, Ed25519): a witness states that it saw this head, and when.

    cosignature/v1                                         what the witness signs: two lines of its own,
    time 1679315147                                        then the whole text of the checkpoint
    noptik.example/ledger
    3
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — client.example/witness jWbPPwAAAABkGFDLEZMH...       key name, base64(key id || time || signature)

A cosigner's key is written as a vkey, `<name>+<key id in hex>+<base64(type || public key)>`, as are log keys. The type
byte, 0x04 here and 0x01 for a log's own signature, is part of the key id, so neither line can pass for the other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from audit.canonical import decode_base64
from audit.errors import BadSignature, KeyRefused, Malformed, Usage
from audit.note import MAX_SIZE, Note, NoteSignature, parse_checkpoint, parse_lines, parse_note
from audit.signing import NOTE_ED25519, SIGNATURE_BYTES, PublicKey, SigningKey

COSIGNATURE_ED25519 = b"\x04"  # C2SP signed-note: signature type of timestamped Ed25519 cosignatures
TIME_BYTES = 8
MAX_TIME = MAX_SIZE  # C2SP tlog-cosignature: the time must not exceed 2^63 - 1
_VKEY = re.compile(r"([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{1,100}={0,2})")


@dataclass(frozen=True, slots=True)
class VKey:
    """A named public key for one type of signature, as C2SP writes them."""

    name: str
    key: PublicKey
    type: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand for it on a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.type + self.key.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.type + self.key.raw).decode()}"

    @classmethod
    def cosigner(cls, name: str, key: PublicKey) -> Self:
        """The witness `name`."""
        return cls(name, key, COSIGNATURE_ED25519)

    @classmethod
    def parse(cls, text: str, type_: bytes, where: str = "vkey") -> Self:
        """The key whose `str` is `text`, of this type of signature; Malformed otherwise."""
        found = _VKEY.fullmatch(text) if text.isprintable() else None
        data = decode_base64(found[3], where) if found else b""
        if found is None or data[:1] not in (NOTE_ED25519, COSIGNATURE_ED25519):
            raise Malformed("not an Ed25519 vkey", where, "name+hash+base64", text)
        if data[:1] != type_:
            raise Malformed(
                "vkey for another type of signature", where, f"type {type_.hex()}", f"type {data[:1].hex()}"
            )
        try:
            vkey = cls(found[1], PublicKey(data[1:]), type_)
        except KeyRefused as error:
            raise Malformed(error.what, where, error.expected, error.found) from error
        if vkey.key_id.hex() != found[2]:
            raise Malformed("vkey with another key's hash", where, vkey.key_id.hex(), found[2])
        return vkey


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: who saw the checkpoint, and when, in whole seconds since the Epoch."""

    witness: VKey
    time: int


def cosign(text: str, name: str, key: SigningKey, time: int) -> NoteSignature:
    """The cosignature of `key`, the witness `name`, over a checkpoint's text, at `time` (seconds since the Epoch).

    Malformed: `text` is no checkpoint's. Usage: the time is out of range.
    """
    parse_checkpoint(text)
    if not 0 <= time <= MAX_TIME:
        raise Usage("time out of range", name, f"0 to {MAX_TIME}", time)
    stamp = time.to_bytes(TIME_BYTES, "big")
    return NoteSignature(name, VKey.cosigner(name, key.public).key_id, stamp + key.sign(_message(text, time)))


def cosignature(note: Note, witness: VKey, where: str = "checkpoint") -> Cosignature | None:
    """What `witness` says of the checkpoint `note`: its latest cosignature; None if it has not cosigned.

    BadSignature: a line under its name and key id does not verify. Lines of others are ignored.
    """
    times = [
        _verify(line, note.text, witness, where)
        for line in note.signatures
        if (line.name, line.key_id) == (witness.name, witness.key_id)
    ]
    return Cosignature(witness, max(times)) if times else None


def verify_lines(raw: bytes, lines: bytes, witness: VKey, where: str) -> tuple[NoteSignature, ...]:
    """Those of the signature `lines`, for the checkpoint `raw`, that are the witness's and verify.

    BadSignature: none is, or one does not verify. Malformed: no signature lines.
    """
    from_witness = Note(parse_note(raw, where).text, _of(witness, lines, where))
    if cosignature(from_witness, witness, where) is None:
        raise BadSignature("not cosigned by the known witness", where, str(witness), lines)
    return from_witness.signatures


def _of(witness: VKey, lines: bytes, where: str) -> tuple[NoteSignature, ...]:
    known = (witness.name, witness.key_id)
    return tuple(line for line in parse_lines(lines, where) if (line.name, line.key_id) == known)


def _verify(line: NoteSignature, text: str, witness: VKey, where: str) -> int:
    if len(line.signature) != TIME_BYTES + SIGNATURE_BYTES:
        raise BadSignature("cosignature has the wrong size", where, TIME_BYTES + SIGNATURE_BYTES, len(line.signature))
    time = int.from_bytes(line.signature[:TIME_BYTES], "big")
    if time > MAX_TIME:
        raise BadSignature("cosignature's time out of range", where, f"at most {MAX_TIME}", time)
    witness.key.verify(line.signature[TIME_BYTES:], _message(text, time), where)
    return time


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
