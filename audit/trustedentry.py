"""One log entry, every part of it checked against the others and against the key of its place in the log."""

from __future__ import annotations

from dataclasses import dataclass

from audit.digest import Sha256, sha256
from audit.envelope import PAYLOAD_TYPE, open_envelope
from audit.errors import DigestMismatch, Inconsistent, Malformed, Unavailable
from audit.kinds import About, about
from audit.logsource import Logged
from audit.merkle import Hash, leaf_hash
from audit.note import Verifier
from audit.record import Entry, commitment, parse_entry
from audit.statement import AnyStatement, core_bytes, parse_statement
from audit.trustroot import TrustRoot


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What a signed envelope says: its statement, the SHA-256 of the statement's core, and what it is about."""

    envelope: bytes
    salt: bytes
    statement: AnyStatement
    core: Sha256
    about: About


@dataclass(frozen=True, slots=True)
class TrustedEntry:
    """Entry `seq`: its leaf and record; what it discloses, None if withheld; `void` if its key was revoked there."""

    seq: int
    leaf: bytes
    record: Entry
    disclosed: Disclosed | None
    void: bool

    @property
    def leaf_hash(self) -> Hash:
        """The hash of the entry's leaf."""
        return leaf_hash(self.leaf)

    def require(self) -> Disclosed:
        """What the entry discloses. Unavailable if it is withheld."""
        if self.disclosed is None:
            raise Unavailable("envelope withheld", f"entry {self.seq}", "an envelope", "only its commitment")
        return self.disclosed


def open_entry(row: Logged, keys: TrustRoot) -> TrustedEntry:
    """The entry in `row`, returned only if its parts agree and the key of its place signed its envelope.

    The signature of an entry that is void must be the revoked key's all the same. Malformed, DigestMismatch,
    BadSignature or Inconsistent, naming the entry, otherwise.
    """
    where = f"entry {row.seq}"
    record = parse_entry(row.leaf, f"leaf of {where}")
    if record.seq != row.seq:
        raise Inconsistent("leaf of another entry", f"leaf of {where}", row.seq, record.seq)
    void = keys.is_void(row.seq + 1)
    if row.envelope is None or row.salt is None:
        if row.envelope is not None or row.salt is not None:
            raise Malformed("half an envelope", where, "envelope and salt, or neither", "one of them")
        return TrustedEntry(row.seq, row.leaf, record, None, void)
    found = commitment(row.salt, row.envelope)
    if found != record.envelope_sha256:
        raise DigestMismatch("envelope differs from its digest", f"envelope of {where}", record.envelope_sha256, found)
    if record.payload_type != PAYLOAD_TYPE:
        raise Malformed("entry of another payload type", f"leaf of {where}", PAYLOAD_TYPE, record.payload_type)
    verifier = Verifier(keys.origin, keys.span(row.seq + 1).key)
    payload = open_envelope(row.envelope, verifier.key, PAYLOAD_TYPE, f"envelope of {where}")
    statement = parse_statement(payload, f"statement of {where}")
    subject = about(record.kind, statement, where)
    core = sha256(core_bytes(statement))
    return TrustedEntry(row.seq, row.leaf, record, Disclosed(row.envelope, row.salt, statement, core, subject), void)
