"""A proof as a file: C2SP tlog-proof v1, to be checked offline with nothing but the anchor of trust.

    c2sp.org/tlog-proof@v1
    extra <base64>          canonical JSON: leaf, envelope, salt and the chain of root.json, base64 each
    index <seq>
    <base64 hash>           the inclusion proof (RFC 6962 2.1.1), one hash a line
                            a blank line
    <signed checkpoint>

`extra` is not authenticated by the format. Here it is by what follows from it: the chain must start at the
reader's anchor, the leaf's hash must lie under the root signed by the chain's key, the leaf must commit to
envelope and salt, and the envelope's signature must be that key's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from audit import merkle, model
from audit.canonical import decode_base64
from audit.errors import Malformed, Usage
from audit.logsource import Logged
from audit.model import Frozen
from audit.note import Checkpoint
from audit.root import Anchor, load_chain
from audit.tiles import inclusion
from audit.trust import TrustedLog
from audit.trustedentry import TrustedEntry, open_entry

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 64 * 2**20
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class Extra(Frozen):
    """What makes the proof self-contained: base64 of the leaf, its envelope and salt, and each root.json."""

    leaf: str
    envelope: str
    salt: str
    roots: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class Proof:
    """The parts of a proof file, nothing of it checked."""

    extra: Extra
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof proves: this entry is in the log of this head."""

    head: Checkpoint
    entry: TrustedEntry


_EXTRA = TypeAdapter(Extra)


def prove(log: TrustedLog, seq: int, chain: Sequence[bytes]) -> Proof:
    """The proof that entry `seq` is under the head of `log`, whose keys `chain` declares.

    Usage if there is no such entry. Unavailable if its envelope is withheld.
    """
    if not 0 <= seq < log.head.size:
        raise Usage("no such entry", log.log.where, f"0 to {log.head.size - 1}", seq)
    entry = log.at(seq)
    told = entry.require()
    extra = Extra(
        leaf=_text(entry.leaf),
        envelope=_text(told.envelope),
        salt=_text(told.salt),
        roots=tuple(_text(root) for root in chain),
    )
    return Proof(extra, seq, inclusion(log.log.tile, seq, log.head.size), log.note)


def proof_bytes(proof: Proof) -> bytes:
    """The proof as a file."""
    lines = [HEADER, f"extra {_text(model.to_bytes(proof.extra))}", f"index {proof.index}"]
    lines += [_text(node) for node in proof.hashes]
    return "\n".join([*lines, "", ""]).encode() + proof.checkpoint


def parse_proof(raw: bytes, where: str = "proof") -> Proof:
    """The proof whose `proof_bytes` is `raw`; Malformed if there is none."""
    if len(raw) > MAX_PROOF_BYTES:
        raise Malformed("proof too long", where, f"at most {MAX_PROOF_BYTES} bytes", f"{len(raw)} bytes")
    head, blank, checkpoint = raw.partition(b"\n\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    index = _INDEX.fullmatch(lines[2]) if len(lines) > 2 else None
    if lines[0] != HEADER or index is None or not blank or not lines[1].startswith("extra "):
        raise Malformed("not a tlog-proof", where, f"{HEADER}, extra, index, hashes, checkpoint", lines[0])
    extra = model.from_bytes(_EXTRA, decode_base64(lines[1].removeprefix("extra "), where), where)
    hashes = tuple(decode_base64(line, where) for line in lines[3:])
    return Proof(extra, int(index[1]), hashes, checkpoint)


def check_proof(raw: bytes, anchor: Anchor, where: str = "proof") -> Proven:
    """What the proof file `raw` proves to whoever holds the anchor; Tampered if nothing."""
    proof = parse_proof(raw, where)
    keys = load_chain([decode_base64(root, where) for root in proof.extra.roots], anchor, where)
    head = keys.open_head(proof.checkpoint, f"{where}: checkpoint")
    leaf, envelope, salt = (
        decode_base64(text, where) for text in (proof.extra.leaf, proof.extra.envelope, proof.extra.salt)
    )
    merkle.verify_inclusion(merkle.leaf_hash(leaf), proof.index, head.size, proof.hashes, head.root)
    keys.verifier(proof.index + 1, f"{where}: entry {proof.index}")  # void entries prove nothing
    return Proven(head, open_entry(Logged(proof.index, leaf, salt, envelope), keys))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
