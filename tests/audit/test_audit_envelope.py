"""Laws of DSSE envelopes: two other programs verify them, and no other byte, type, key or spelling passes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

from audit import canonical, envelope
from audit.envelope import PAYLOAD_TYPE
from audit.errors import BadSignature, Malformed, Tampered
from audit.signing import PublicKey, SigningKey
from tests.openssl import openssl_verifies

KEY = SigningKey.from_seed(b"k" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
PAYLOAD = b'{"a":1}'
RAW = envelope.seal(PAYLOAD, PAYLOAD_TYPE, KEY)


def sslib_key(key: PublicKey) -> SSlibKey:
    return SSlibKey(key.key_id, "ed25519", "ed25519", {"public": key.raw.hex()})


def altered(**fields: Any) -> bytes:
    """The sealed envelope with other field values, still canonical."""
    return canonical.encode(json.loads(RAW) | fields)


def test_securesystemslib_verifies_our_envelope() -> None:
    theirs = Envelope.from_dict(json.loads(RAW))
    assert theirs.payload == PAYLOAD
    assert theirs.pae() == envelope.pae(PAYLOAD_TYPE, PAYLOAD)
    assert set(theirs.verify([sslib_key(KEY.public)], 1)) == {KEY.public.key_id}
    with pytest.raises(VerificationError):
        theirs.verify([sslib_key(OTHER.public)], 1)


def test_openssl_verifies_our_envelope(tmp_path: Path) -> None:
    signature = base64.b64decode(json.loads(RAW)["signatures"][0]["sig"])
    signed = envelope.pae(PAYLOAD_TYPE, PAYLOAD)
    assert openssl_verifies(tmp_path, KEY.public, signature, signed)
    assert not openssl_verifies(tmp_path, KEY.public, signature, PAYLOAD)
    assert not openssl_verifies(tmp_path, OTHER.public, signature, signed)


def test_pae_is_the_example_of_the_specification() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, "Test vectors"
    assert envelope.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert envelope.pae("é", b"") == "DSSEv1 2 é 0 ".encode()


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_opening_inverts_sealing_and_sealing_is_deterministic(payload: bytes, kind: str) -> None:
    raw = envelope.seal(payload, kind, KEY)
    assert envelope.open_envelope(raw, KEY.public, kind) == payload
    assert envelope.seal(payload, kind, KEY) == raw


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.text(max_size=9), st.binary(max_size=9), st.text(max_size=9), st.binary(max_size=9))
def test_pae_never_confuses_type_and_payload(a: str, x: bytes, b: str, y: bytes) -> None:
    try:
        same = envelope.pae(a, x) == envelope.pae(b, y)
    except UnicodeEncodeError:
        return
    assert same == ((a, x) == (b, y))


def test_any_changed_byte_is_tampering() -> None:
    for at in range(len(RAW)):
        for flip in (0x01, 0x20, 0x80):
            raw = RAW[:at] + bytes([RAW[at] ^ flip]) + RAW[at + 1 :]
            with pytest.raises(Tampered):
                envelope.open_envelope(raw, KEY.public)


def test_any_cut_or_lengthened_envelope_is_tampering() -> None:
    for raw in (*(RAW[:at] for at in range(len(RAW))), RAW + b"\n", b" " + RAW, RAW + RAW):
        with pytest.raises(Tampered):
            envelope.open_envelope(raw, KEY.public)


def test_another_key_never_opens_it_whatever_the_key_id_says() -> None:
    forged = json.loads(envelope.seal(PAYLOAD, PAYLOAD_TYPE, OTHER))
    with pytest.raises(BadSignature):
        envelope.open_envelope(canonical.encode(forged), KEY.public)
    forged["signatures"][0]["keyid"] = KEY.public.key_id
    with pytest.raises(BadSignature, match="does not verify"):
        envelope.open_envelope(canonical.encode(forged), KEY.public)


def test_a_good_signature_under_another_key_id_is_refused() -> None:
    good = json.loads(RAW)["signatures"][0]
    for keyid in ("", OTHER.public.key_id):
        with pytest.raises(BadSignature, match="another key's id"):
            envelope.open_envelope(altered(signatures=[good | {"keyid": keyid}]), KEY.public)


def test_exactly_one_signature() -> None:
    good = json.loads(RAW)["signatures"][0]
    also = json.loads(envelope.seal(PAYLOAD, PAYLOAD_TYPE, OTHER))["signatures"][0]
    for signatures in ([], [good, also], [also, good], [good, good]):
        with pytest.raises(Malformed, match="other than one signature"):
            envelope.open_envelope(altered(signatures=signatures), KEY.public)


def test_a_payload_of_another_type_is_refused_though_well_signed() -> None:
    other = envelope.seal(PAYLOAD, "application/vnd.other+json", KEY)
    with pytest.raises(Malformed, match="another payload type"):
        envelope.open_envelope(other, KEY.public)
    assert envelope.open_envelope(other, KEY.public, "application/vnd.other+json") == PAYLOAD
    with pytest.raises(BadSignature):  # the type is signed too
        envelope.open_envelope(altered(payloadType="x"), KEY.public, "x")


def test_a_bare_signature_over_the_payload_is_no_envelope() -> None:
    bare = base64.b64encode(KEY.sign(PAYLOAD)).decode()
    with pytest.raises(BadSignature):
        envelope.open_envelope(altered(signatures=[{"keyid": KEY.public.key_id, "sig": bare}]), KEY.public)


SIG = json.loads(RAW)["signatures"][0]


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": base64.b64encode(PAYLOAD).decode().rstrip("=")},
        {"payload": base64.urlsafe_b64encode(b"\xff" * 3).decode()},
        {"payload": base64.b64encode(PAYLOAD).decode() + "\n"},
        {"payload": 1},
        {"payload": None},
        {"payloadType": None},
        {"payload_type": PAYLOAD_TYPE},
        {"extra": 1},
        {"signatures": SIG},
        {"signatures": [SIG | {"extra": "x"}]},
        {"signatures": [{"sig": SIG["sig"]}]},
        {"signatures": [SIG | {"sig": SIG["sig"] + "="}]},
        {"signatures": [SIG | {"sig": bytes.hex(base64.b64decode(SIG["sig"]))}]},
        {"signatures": [SIG | {"sig": ""}]},
    ],
    ids=str,
)
def test_every_other_shape_is_tampering(fields: dict[str, Any]) -> None:
    with pytest.raises(Tampered):
        envelope.open_envelope(altered(**fields), KEY.public)


def test_spellings_that_readers_take_for_the_same_are_refused() -> None:
    loose = json.loads(RAW)
    for raw in (
        json.dumps(loose).encode(),
        RAW.replace(b'{"payload"', b'{"payload":"eA==","payload"', 1),
        RAW.replace(b"payloadType", b"payload\\u0054ype"),
        json.dumps(loose | {"payload": loose["payload"]}, sort_keys=True, indent=0).encode(),
    ):
        assert json.loads(raw) == loose
        with pytest.raises(Malformed):
            envelope.open_envelope(raw, KEY.public)
