"""RFC 3161: an authority states that a checkpoint existed by some time, so that nobody can date it back.

What is stamped is the checkpoint with the log's own signature line and no other: `note.only`. Cosignatures that come
later change nothing. An independent check, with the answer as it is kept:

    openssl ts -verify -data checkpoint -in checkpoint.tsr -CAfile tsa-root.pem

A timestamp says "not later than"; that a head is the newest, only witnesses can say.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.tsp import PKIStatus

from audit import durable
from audit.errors import BadSignature, DigestMismatch, KeyRefused, Malformed, Unavailable, Usage
from audit.note import Verifier, only
from audit.post import post

MAX_ANSWER_BYTES = 2**16
MAX_ROOTS_BYTES = 2**20
SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"


def request_timestamp(url: str, note: bytes, verifier: Verifier, roots: Sequence[Certificate]) -> bytes:
    """The authority's answer (DER, TimeStampResp) over the checkpoint `note`, verified as `verify_timestamp` does.

    The answer carries the nonce of this request (else BadSignature). Unavailable: nobody answered, or it refused.
    Usage: no http(s) URL.
    """
    request = TimestampRequestBuilder().data(only(note, verifier)).hash_algorithm(HashAlgorithm.SHA256).build()
    raw = _post(url, request.as_bytes())
    response = _decode(raw, url)
    if PKIStatus(response.status) not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        raise Unavailable("the timestamp authority refused", url, "granted", "; ".join(response.status_string))
    _verify(response, only(note, verifier), roots, url, request)
    return raw


def verify_timestamp(raw: bytes, note: bytes, verifier: Verifier, roots: Sequence[Certificate], where: str) -> int:
    """The time, in seconds since the Epoch, by which the checkpoint `note` existed, as the answer `raw` proves.

    BadSignature: not signed by an authority under `roots`, which are the only ones trusted, or no timestamping
    certificate. DigestMismatch: of other bytes. Malformed: no answer to a timestamp request.
    """
    return _verify(_decode(raw, where), only(note, verifier, where), roots, where, None)


def read_roots(path: Path) -> tuple[Certificate, ...]:
    """The certificates in the PEM file at `path`. Unavailable: not readable. KeyRefused: no certificates."""
    raw = durable.read(path, MAX_ROOTS_BYTES)
    if raw is None:
        raise Unavailable("no such file", path, "certificates (PEM)")
    try:
        return tuple(load_pem_x509_certificates(raw))
    except ValueError as error:
        raise KeyRefused("not certificates", path, "X.509 in PEM", "other bytes") from error


def _verify(
    response: TimeStampResponse,
    message: bytes,
    roots: Sequence[Certificate],
    where: str,
    request: TimeStampRequest | None,
) -> int:
    if not roots:
        raise Usage("no root certificate of a timestamp authority", where)
    digest = hashlib.sha256(message).digest()
    with _refusing(where):
        imprint = response.tst_info.message_imprint
        if imprint.hash_algorithm.dotted_string != SHA256_OID:
            raise Malformed("imprint of another digest", where, "SHA-256", imprint.hash_algorithm.dotted_string)
        if imprint.message != digest:
            raise DigestMismatch("timestamp of other bytes", where, digest, imprint.message)
        versions = (response.signed_data.version, [info.version for info in response.signed_data.signer_infos])
        if versions != (3, [1]):  # RFC 5652 5.1 and 5.3; no signature covers them
            raise Malformed("versions in a timestamp", where, (3, [1]), versions)
        VerifierBuilder(roots=list(roots), nonce=request.nonce if request else None).build().verify(response, digest)
        return int(response.tst_info.gen_time.replace(tzinfo=UTC).timestamp())


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Whatever the library says against a token, a warning included, is a refusal of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except (VerificationError, ValueError, Warning) as error:
        raise BadSignature(
            f"timestamp not accepted: {error}", where, "a token under the given root", "another"
        ) from error


def _decode(raw: bytes, where: str) -> TimeStampResponse:
    if len(raw) > MAX_ANSWER_BYTES:
        raise Malformed("timestamp too long", where, f"at most {MAX_ANSWER_BYTES} bytes", f"{len(raw)} bytes")
    try:
        response = decode_timestamp_response(raw)
    except ValueError as error:
        raise Malformed(f"not a timestamp: {error}", where, "TimeStampResp (RFC 3161)", raw[:20]) from error
    if response.as_bytes() != raw:
        raise Malformed("not a timestamp in its one form", where, "TimeStampResp (RFC 3161)", raw[:20])
    return response


def _post(url: str, body: bytes) -> bytes:
    answer = post(url, body, "application/timestamp-query", MAX_ANSWER_BYTES + 1)
    if answer.status != 200:
        raise Unavailable(f"the timestamp authority answers {answer.status}", url, 200, answer.status)
    return answer.body
