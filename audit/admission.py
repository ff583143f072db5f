"""A client's own verdict on a run: signed by the client, sent back as a file, admitted to the log.

The file is a DSSE envelope of a VerdictStatement under the client's key. Admitting it wraps it, byte for byte, in a
statement of ours: the log then says that this client said so, and anyone can check the client's signature again.
"""

from __future__ import annotations

import base64

from audit.canonical import decode_base64
from audit.envelope import PAYLOAD_TYPE, open_envelope, seal
from audit.errors import Inconsistent, KeyRefused, Malformed
from audit.signing import PublicKey, SigningKey
from audit.statement import Admission, AdmissionStatement, Metadata, VerdictStatement, parse_statement, statement_bytes


def sign_verdict(verdict: VerdictStatement, key: SigningKey) -> bytes:
    """The file by which the holder of `key` states the verdict: the same bytes every time."""
    return seal(statement_bytes(verdict), PAYLOAD_TYPE, key)


def admission(raw: bytes, client: PublicKey, metadata: Metadata, where: str = "replay statement") -> AdmissionStatement:
    """Our statement that `client` signed the verdict in `raw`. Errors as `open_admission`."""
    verdict = _verdict(raw, client, where)
    found = verdict.predicate
    if found.run is None or found.verdict == "failed_gate":
        raise Malformed("not a verdict on a run", where, "identical, within_tolerance or different", found.verdict)
    stated = Admission(
        forecast=found.forecast,
        run=found.run,
        verdict=found.verdict,
        client=client.raw.hex(),
        envelope=base64.b64encode(raw).decode(),
        metadata=metadata,
    )
    return AdmissionStatement(subject=verdict.subject, predicate=stated)


def open_admission(statement: AdmissionStatement, where: str) -> VerdictStatement:
    """The verdict that a client signed and `statement` admits, its signature and every fact of it checked.

    Malformed: not a canonical envelope of a verdict, or no possible key. BadSignature: not the client's. Inconsistent:
    the admission says something else than the verdict does.
    """
    stated = statement.predicate
    try:
        client = PublicKey(bytes.fromhex(stated.client))
    except KeyRefused as error:
        raise Malformed(error.what, where, error.expected, error.found) from error
    verdict = _verdict(decode_base64(stated.envelope, where), client, where)
    said = (stated.forecast, stated.run, stated.verdict, statement.subject)
    found = (verdict.predicate.forecast, verdict.predicate.run, verdict.predicate.verdict, verdict.subject)
    if said != found:
        raise Inconsistent("admission differs from the verdict it admits", where, found, said)
    return verdict


def _verdict(raw: bytes, client: PublicKey, where: str) -> VerdictStatement:
    statement = parse_statement(open_envelope(raw, client, PAYLOAD_TYPE, where), where)
    if not isinstance(statement, VerdictStatement):
        raise Malformed("not a verdict", where, "a verdict", statement.predicate_type)
    return statement
