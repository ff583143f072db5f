"""What the log hands back for an entry: the proof that it was there at the head of that moment.

A receipt never changes: it is made from the entry and from the first head that covers it, neither of which ever
does, so asking again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter

from audit import merkle, model
from audit.digest import Sha256
from audit.errors import BadProof, Inconsistent
from audit.kinds import Registration, registration_of
from audit.logsource import Log
from audit.merkle import Hash
from audit.model import Count, Frozen, Text
from audit.note import Checkpoint
from audit.tiles import inclusion
from audit.trustedentry import TrustedEntry
from audit.trustroot import TrustRoot

MAX_RECEIPT_BYTES = 65_536


class Receipt(Frozen):
    """Entry `seq` of the log `origin`, proven under the signed head of the append that logged it.

    Hashes are hexadecimal; `envelope_sha256` is the record's commitment to the envelope; `inclusion` is the
    RFC 6962 proof from `leaf_hash` to `root`; `checkpoint` is the text of the signed note. `registration` is there
    for entries of kind 'register' only.
    """

    origin: Text
    seq: Count
    leaf_hash: Sha256
    envelope_sha256: Sha256
    core_sha256: Sha256
    tree_size: Count
    root: Sha256
    checkpoint: Text
    inclusion: Annotated[tuple[Sha256, ...], Field(max_length=64)]
    registration: Registration | None = None


_RECEIPT = TypeAdapter(Receipt)


def make_receipt(entry: TrustedEntry, head: Checkpoint, note: bytes, inclusion: Sequence[Hash]) -> Receipt:
    """The receipt of an entry under `head`, the first that covers it. Unavailable if its envelope is withheld."""
    told = entry.require()
    return Receipt(
        origin=head.origin,
        seq=entry.seq,
        leaf_hash=entry.leaf_hash.hex(),
        envelope_sha256=entry.record.envelope_sha256,
        core_sha256=told.core,
        tree_size=head.size,
        root=head.root.hex(),
        checkpoint=note.decode(),
        inclusion=tuple(node.hex() for node in inclusion),
        registration=registration_of(told.statement, f"entry {entry.seq}") if entry.record.kind == "register" else None,
    )


def receipt_of(log: Log, keys: TrustRoot, entry: TrustedEntry) -> Receipt:
    """The receipt of an entry of `log`, under the first head that covers it. Errors as `make_receipt`; Tampered."""
    size, note = log.covering(entry.seq)
    head = keys.open_head(note, f"checkpoint of size {size}", void=True)
    return make_receipt(entry, head, note, inclusion(log.tile, entry.seq, head.size))


def receipt_bytes(receipt: Receipt) -> bytes:
    """The canonical JSON of `receipt`."""
    return model.to_bytes(receipt)


def parse_receipt(raw: bytes, where: str = "receipt") -> Receipt:
    """The receipt whose `receipt_bytes` is `raw`; Malformed if there is none."""
    return model.from_bytes(_RECEIPT, raw, where, max_bytes=MAX_RECEIPT_BYTES)


def check_receipt(receipt: Receipt, keys: TrustRoot, where: str = "receipt") -> Checkpoint:
    """The head the receipt was given under; returned only if the log signed it and the entry is in its tree.

    BadSignature, BadProof, or Inconsistent when the receipt's own size, root or origin is not its
    checkpoint's.
    """
    head = keys.open_head(receipt.checkpoint.encode(), where)
    said = (receipt.origin, receipt.tree_size, receipt.root)
    if said != (head.origin, head.size, head.root.hex()):
        raise Inconsistent("receipt and its checkpoint differ", where, (head.origin, head.size, head.root.hex()), said)
    proof = tuple(bytes.fromhex(node) for node in receipt.inclusion)
    try:
        merkle.verify_inclusion(bytes.fromhex(receipt.leaf_hash), receipt.seq, head.size, proof, head.root)
    except BadProof as error:
        raise BadProof(error.what, where, error.expected, error.found) from error
    return head
