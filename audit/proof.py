"""A proof as a file: C2SP tlog-proof v1, to be checked offline with nothing but the log's public key.

    c2sp.org/tlog-proof@v1
    extra <base64>          canonical JSON: the entry's leaf and its envelope, base64 each
    index <seq>
    <base64 hash>           the inclusion proof (RFC 6962 2.1.1), one hash a line
                            a blank line
    <signed checkpoint>

`extra` is not authenticated by the format. Here it is by what follows from it: the leaf's hash must lie under
the signed root, the envelope must be the one the leaf names, and its signature must be the key's.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from pydantic import TypeAdapter

from audit import merkle, model
from audit.canonical import decode_base64
from audit.digest import sha256
from audit.envelope import open_envelope
from audit.errors import DigestMismatch, Inconsistent, Malformed
from audit.model import Frozen
from audit.note import Checkpoint, Verifier, open_checkpoint
from audit.record import Entry, parse_entry
from audit.statement import AnyStatement, parse_statement
from audit.trust import TrustedLog

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 64 * 2**20
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class Extra(Frozen):
    """What makes the proof self-contained: base64 of the leaf's bytes and of the envelope's."""

    leaf: str
    envelope: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The parts of a proof file, nothing of it checked."""

    extra: Extra
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof proves: this statement, sealed as this entry, is in the log of this head."""

    head: Checkpoint
    record: Entry
    statement: AnyStatement


_EXTRA = TypeAdapter(Extra)


def prove(log: TrustedLog, seq: int) -> Proof:
    """The proof that entry `seq` is under the head of `log`. Usage if there is no such entry."""
    hashes = [entry.row.leaf_hash for entry in log.entries]
    inclusion = merkle.inclusion_proof(hashes, seq, len(hashes))
    row = log.entries[seq].row
    extra = Extra(leaf=base64.b64encode(row.leaf).decode(), envelope=base64.b64encode(row.envelope).decode())
    return Proof(extra, seq, inclusion, log.note)


def proof_bytes(proof: Proof) -> bytes:
    """The proof as a file."""
    lines = [
        HEADER,
        f"extra {base64.b64encode(model.to_bytes(proof.extra)).decode()}",
        f"index {proof.index}",
    ]
    lines += [base64.b64encode(node).decode() for node in proof.hashes]
    return "\n".join([*lines, "", ""]).encode() + proof.checkpoint


def parse_proof(raw: bytes, where: str = "proof") -> Proof:
    """The proof whose `proof_bytes` is `raw`; Malformed if there is none."""
    head, blank, checkpoint = raw.partition(b"\n\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    index = _INDEX.fullmatch(lines[2]) if len(lines) > 2 else None
    if lines[0] != HEADER or index is None or not blank or not lines[1].startswith("extra "):
        raise Malformed("not a tlog-proof", where, f"{HEADER}, extra, index, hashes, checkpoint", lines[0])
    if len(raw) > MAX_PROOF_BYTES:
        raise Malformed("proof too long", where, f"at most {MAX_PROOF_BYTES} bytes", f"{len(raw)} bytes")
    extra = model.from_bytes(_EXTRA, decode_base64(lines[1].removeprefix("extra "), where), where)
    hashes = tuple(decode_base64(line, where) for line in lines[3:])
    return Proof(extra, int(index[1]), hashes, checkpoint)


def check_proof(raw: bytes, verifier: Verifier, where: str = "proof") -> Proven:
    """What the proof file `raw` proves to whoever knows the log's name and key; Tampered if nothing."""
    proof = parse_proof(raw, where)
    head = open_checkpoint(proof.checkpoint, verifier, f"{where}: checkpoint")
    leaf, envelope = (decode_base64(text, where) for text in (proof.extra.leaf, proof.extra.envelope))
    merkle.verify_inclusion(merkle.leaf_hash(leaf), proof.index, head.size, proof.hashes, head.root)
    record = parse_entry(leaf, f"{where}: leaf")
    if record.seq != proof.index:
        raise Inconsistent("leaf of another entry", where, proof.index, record.seq)
    if record.envelope_sha256 != sha256(envelope):
        raise DigestMismatch("envelope differs from its digest", where, record.envelope_sha256, sha256(envelope))
    payload = open_envelope(envelope, verifier.key, record.payload_type, f"{where}: envelope")
    return Proven(head, record, parse_statement(payload, f"{where}: statement"))
