"""What a log sends to a witness (C2SP tlog-witness, add-checkpoint), and the consistency proof in it as a file.

old 20852014                                           the size of the tree the witness saw last
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=           the consistency proof from there, a hash a line
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=

noptik.example/ledger                                  the checkpoint that is to be cosigned
...
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from audit.canonical import decode_base64
from audit.errors import Malformed
from audit.merkle import HASH_BYTES
from audit.note import parse_checkpoint, parse_note

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 2**16
SIZE_TYPE = "text/x.tlog.size"  # content type of the size in a 409 answer
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Request:
    """A log asks for a cosignature: `proof` leads from the tree of `old` leaves to the head of `checkpoint`."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """The body of an add-checkpoint request."""
        return proof_bytes(self.old, self.proof) + b"\n" + self.checkpoint


def parse_request(raw: bytes, where: str = "request") -> Request:
    """The request whose `to_bytes` is `raw`, its checkpoint not yet verified; Malformed if there is none."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise Malformed("request too long", where, f"at most {MAX_REQUEST_BYTES} bytes", f"{len(raw)} bytes")
    head, blank, checkpoint = raw.partition(b"\n\n")
    old, proof = parse_proof(head + blank[:1], where)
    parse_checkpoint(parse_note(checkpoint, where).text, where)
    return Request(old, proof, checkpoint)


def proof_bytes(old: int, proof: tuple[bytes, ...]) -> bytes:
    """A consistency proof as text: `old <size>`, then a hash a line."""
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in proof)
    return f"old {old}\n{hashes}".encode()


def parse_proof(raw: bytes, where: str = "consistency proof") -> tuple[int, tuple[bytes, ...]]:
    """The old size and the hashes whose `proof_bytes` is `raw`; Malformed if there are none."""
    lines = raw.decode("ascii", "replace").split("\n")
    found = _OLD.fullmatch(lines[0])
    if found is None or lines[-1]:
        raise Malformed("consistency proof malformed", where, "old <size>, then a hash a line", lines[0])
    hashes = tuple(decode_base64(line, where) for line in lines[1:-1])
    if len(hashes) > MAX_PROOF_LINES or any(len(node) != HASH_BYTES for node in hashes):
        raise Malformed(
            "consistency proof malformed", where, f"at most {MAX_PROOF_LINES} hashes of 32 bytes", len(hashes)
        )
    return int(found[1]), hashes
