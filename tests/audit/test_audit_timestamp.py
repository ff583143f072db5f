"""Laws and attacks of timestamps: a real authority, whose word openssl and this project judge alike."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from audit.cosignature import cosign
from audit.errors import BadSignature, DigestMismatch, KeyRefused, Malformed, Tampered, Unavailable, Usage
from audit.note import Checkpoint, Verifier, parse_note, sign_checkpoint, with_lines
from audit.signing import SigningKey
from audit.timestamp import MAX_ANSWER_BYTES, read_roots, request_timestamp, verify_timestamp
from tests.audit.authority import Authority, serving

LOG, W = SigningKey.from_seed(b"l" * 32), SigningKey.from_seed(b"w" * 32)
ORIGIN = "client.example/log"
KEY = Verifier(ORIGIN, LOG.public)
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), LOG)
COSIGNED = with_lines(NOTE, [cosign(parse_note(NOTE).text, "w.example", W, 5).line.encode()])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("other") / "a")


def query(data: bytes = NOTE, digest: HashAlgorithm = HashAlgorithm.SHA256, *, certificate: bool = True) -> bytes:
    builder = TimestampRequestBuilder(cert_req=certificate).data(data).hash_algorithm(digest)
    return builder.build().as_bytes()


def verified(answer: bytes, authority: Authority, note: bytes = NOTE) -> int:
    return verify_timestamp(answer, note, KEY, read_roots(authority.root), "token")


def test_a_timestamp_says_by_when_the_head_existed_and_openssl_agrees(authority: Authority) -> None:
    with serving(authority.answer) as url:
        answer = request_timestamp(url, NOTE, KEY, read_roots(authority.root))
    assert abs(verified(answer, authority) - time.time()) < 60
    assert authority.accepts(answer, NOTE)
    assert not authority.accepts(answer, NOTE.replace(b"\n3\n", b"\n4\n"))


def test_cosignatures_do_not_matter_to_a_timestamp(authority: Authority) -> None:
    with serving(authority.answer) as url:
        answer = request_timestamp(url, COSIGNED, KEY, read_roots(authority.root))
    assert authority.accepts(answer, NOTE)
    assert verified(answer, authority, NOTE) == verified(answer, authority, COSIGNED)


def test_a_timestamp_of_another_head_is_refused(authority: Authority) -> None:
    later = sign_checkpoint(Checkpoint(ORIGIN, 4, b"s" * 32), LOG)
    answer = authority.answer(query(NOTE))
    with pytest.raises(DigestMismatch, match="other bytes"):
        verified(answer, authority, later)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), W)
    with pytest.raises(BadSignature):
        verified(answer, authority, forged)


def test_only_the_given_roots_are_trusted(authority: Authority, other: Authority) -> None:
    answer = other.answer(query())
    assert verified(answer, other)
    with pytest.raises(BadSignature, match="not accepted"):
        verified(answer, authority)
    with serving(other.answer) as url, pytest.raises(BadSignature):
        request_timestamp(url, NOTE, KEY, read_roots(authority.root))
    with pytest.raises(Usage, match="no root"):
        verify_timestamp(answer, NOTE, KEY, (), "token")


def test_a_certificate_under_the_same_root_that_is_not_for_timestamps_is_refused(authority: Authority) -> None:
    honest = authority.answer(query())
    assert verified(authority.resigned(honest, "tsa"), authority) == verified(honest, authority)
    forged = authority.resigned(honest, "web")
    assert not authority.accepts(forged, NOTE)
    with pytest.raises(BadSignature, match="not accepted"):
        verified(forged, authority)


def test_an_answer_to_another_request_is_refused(authority: Authority) -> None:
    old = authority.answer(query())
    with serving(lambda _: old) as url, pytest.raises(BadSignature, match="Nonce"):
        request_timestamp(url, NOTE, KEY, read_roots(authority.root))
    assert verified(old, authority)


def test_another_digest_is_refused(authority: Authority) -> None:
    with pytest.raises(Malformed, match="another digest"):
        verified(authority.answer(query(digest=HashAlgorithm.SHA512)), authority)


def test_an_answer_without_the_authority_s_certificate_is_refused(authority: Authority) -> None:
    with pytest.raises(BadSignature):
        verified(authority.answer(query(certificate=False)), authority)


def test_a_refusal_of_the_authority_is_no_evidence(authority: Authority) -> None:
    rejected = authority.answer(authority.query(NOTE, "sha384"))  # a digest that it does not take
    with serving(lambda _: rejected) as url, pytest.raises(Unavailable, match="refused"):
        request_timestamp(url, NOTE, KEY, read_roots(authority.root))
    with pytest.raises(Tampered):
        verified(rejected, authority)


def test_no_answer_is_unavailable_and_no_evidence(authority: Authority) -> None:
    roots = read_roots(authority.root)
    with serving(lambda _: None) as url, pytest.raises(Unavailable, match="500"):
        request_timestamp(url, NOTE, KEY, roots)
    with pytest.raises(Unavailable, match="no answer"):
        request_timestamp("http://127.0.0.1:1/", NOTE, KEY, roots)
    for url in ("file:///etc/passwd", "ftp://x/", "x"):
        with pytest.raises(Usage):
            request_timestamp(url, NOTE, KEY, roots)


@pytest.mark.parametrize("body", [b"", b"junk", b"0" * (MAX_ANSWER_BYTES + 10), b"\x30\x80" * 1000], ids=range(4))
def test_garbage_is_malformed(authority: Authority, body: bytes) -> None:
    with serving(lambda _: body) as url, pytest.raises(Malformed):
        request_timestamp(url, NOTE, KEY, read_roots(authority.root))


def test_trailing_and_truncated_bytes_are_refused(authority: Authority) -> None:
    answer = authority.answer(query())
    for bad in (answer + b"\0", answer[:-1], answer[1:], answer * 2):
        with pytest.raises(Malformed):
            verified(bad, authority)


def test_a_flipped_bit_never_makes_another_time_or_head(authority: Authority) -> None:
    # CMS leaves the name of the signature algorithm outside the signature: a flip there may pass, and changes nothing
    answer = authority.answer(query())
    honest, drawn = verified(answer, authority), random.Random(7)
    found: Counter[str] = Counter()
    for _ in range(600):
        at = drawn.randrange(len(answer))
        changed = bytearray(answer)
        changed[at] ^= 1 << drawn.randrange(8)
        try:
            assert verified(bytes(changed), authority) == honest
            found["harmless"] += 1
        except Tampered:
            found["refused"] += 1
    assert found["refused"] > 580


def test_openssl_rejects_what_this_project_rejects(authority: Authority) -> None:
    answer = bytearray(authority.answer(query()))
    answer[-5] ^= 1  # in the signature, which comes last
    assert not authority.accepts(bytes(answer), NOTE)
    with pytest.raises(BadSignature):
        verified(bytes(answer), authority)


def test_roots_are_certificates(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(authority.root.read_bytes() * 2)
    assert len(read_roots(path)) == 2
    for content in (b"", b"junk", authority.root.read_bytes().replace(b"M", b"-")):
        path.write_bytes(content)
        with pytest.raises(KeyRefused):
            read_roots(path)
    with pytest.raises(Unavailable):
        read_roots(tmp_path / "none")
