"""Laws and attacks of the root of trust: who may change it, and what a reader starts from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata

from audit import canonical
from audit.errors import BadSignature, Inconsistent, KeyRefused, Malformed, Tampered, Unavailable, Usage
from audit.note import Checkpoint, sign_checkpoint
from audit.root import (
    MAX_ROOT_BYTES,
    Anchor,
    RootFile,
    first_root,
    follow,
    load_chain,
    missing,
    parse_root,
    read_anchor,
    with_log_key,
    with_root_keys,
)
from audit.signing import PublicKey, SigningKey
from tests.openssl import openssl_verifies

ORIGIN = "client.example/log"
R1, R2, R3, A, B, C, EVE = (SigningKey.from_seed(bytes([number]) * 32) for number in range(1, 8))
ANCHOR = Anchor(R1.public)


def one(roots: tuple[SigningKey, ...] = (R1,), threshold: int = 1) -> RootFile:
    return first_root(ORIGIN, A.public, [key.public for key in roots], threshold).sign(A, *roots)


def files(*versions: RootFile) -> list[bytes]:
    return [version.to_bytes() for version in versions]


def forged(version: RootFile, change: Callable[[dict[str, Any]], None], *signers: SigningKey) -> bytes:
    """The file with its signed part changed, and signed again by these keys as securesystemslib would."""
    value = json.loads(version.to_bytes())
    change(value["signed"])
    payload = canonical.encode(value["signed"])
    made = [{"keyid": key.public.key_id, "sig": key.sign(payload).hex()} for key in signers]
    value["signatures"] = sorted(made, key=lambda signature: signature["keyid"])
    return canonical.encode(value)


def test_a_first_version_names_its_log_and_its_key() -> None:
    trust = load_chain(files(one()), ANCHOR)
    assert (trust.origin, trust.version) == (ORIGIN, 1)
    assert [(span.key, span.first, span.void_from) for span in trust.spans] == [(A.public, 0, None)]


def test_one_key_may_be_root_key_and_log_key() -> None:
    both = first_root(ORIGIN, R1.public, [R1.public]).sign(R1)
    assert load_chain(files(both), ANCHOR).spans[0].key == R1.public


def test_a_rotation_is_signed_by_root_old_and_new_key_and_hands_over_at_a_size() -> None:
    two = with_log_key(one(), B.public, 11, "rotated").sign(R1, A, B)
    trust = load_chain(files(one(), two), ANCHOR)
    assert [(span.key, span.first, span.void_from) for span in trust.spans] == [(A.public, 0, 11), (B.public, 11, None)]


@pytest.mark.parametrize("signers", [(R1, A), (R1, B), (A, B), (R1,), (EVE, A, B), ()])
def test_a_rotation_signed_by_only_some_is_refused(signers: tuple[SigningKey, ...]) -> None:
    two = with_log_key(one(), B.public, 11, "rotated").sign(*signers)
    assert missing(two, one())
    with pytest.raises(BadSignature, match=r"not signed by all|no known key"):
        load_chain(files(one(), two), ANCHOR)


def test_a_stolen_key_is_revoked_without_its_own_signature_and_from_a_size_in_the_past() -> None:
    two = with_log_key(one(), B.public, 11, "revoked", void_from=5).sign(R1, B)
    trust = load_chain(files(one(), two), ANCHOR)
    fork = sign_checkpoint(Checkpoint(ORIGIN, 7, b"x" * 32), A)
    with pytest.raises(BadSignature, match="revoked"):
        trust.open_head(fork)
    assert trust.open_head(sign_checkpoint(Checkpoint(ORIGIN, 4, b"x" * 32), A)).size == 4
    with pytest.raises(BadSignature, match="not signed by the known key"):
        trust.open_head(sign_checkpoint(Checkpoint(ORIGIN, 11, b"x" * 32), A))


def test_a_stolen_log_key_changes_no_root_of_trust() -> None:
    two = with_log_key(one(), EVE.public, 11, "rotated").sign(A, EVE)
    with pytest.raises(BadSignature, match="root keys"):
        load_chain(files(one(), two), ANCHOR)


def test_a_threshold_counts_distinct_keys() -> None:
    single = first_root(ORIGIN, A.public, [R1.public, R2.public, R3.public], 2).sign(A, R1)
    with pytest.raises(BadSignature, match="1 of 2 root keys"):
        load_chain(files(single), ANCHOR)
    twice = json.loads(single.to_bytes())
    mine = next(s for s in twice["signatures"] if s["keyid"] == R1.public.key_id)
    for changed in ([*twice["signatures"], mine], [*twice["signatures"], mine | {"keyid": R2.public.key_id}]):
        raw = canonical.encode(twice | {"signatures": sorted(changed, key=lambda s: s["keyid"])})
        with pytest.raises((Malformed, BadSignature)):
            load_chain([raw], ANCHOR)
    assert load_chain(files(single.sign(R3)), ANCHOR).version == 1


def test_one_key_under_two_ids_is_one_key() -> None:
    def alias(signed: dict[str, Any]) -> None:
        other = "0" * 64
        signed["keys"][other] = signed["keys"][R1.public.key_id]
        signed["roles"]["root"] = {"keyids": sorted([other, R1.public.key_id]), "threshold": 2}

    with pytest.raises(Malformed, match="not its key's"):
        load_chain([forged(one(), alias, R1, A)], ANCHOR)


def test_new_root_keys_need_the_old_threshold_and_their_own() -> None:
    first = one((R1, R2), 2)
    second = with_root_keys(first, [R3.public], 1)
    for signers, accepted in (((R1, R2, R3), True), ((R1, R3), False), ((R1, R2), False), ((R3,), False)):
        chain = files(first, second.sign(*signers))
        if accepted:
            assert load_chain(chain, ANCHOR).version == 2
        else:
            with pytest.raises(BadSignature):
                load_chain(chain, ANCHOR)


def test_signatures_may_come_one_after_the_other_and_are_merged() -> None:
    draft = first_root(ORIGIN, A.public, [R1.public, R2.public], 2).sign(A)
    assert missing(draft, None) == ("0 of 2 root keys of version 1",)
    whole = draft.sign(R1).merge(draft.sign(R2))
    assert missing(whole, None) == ()
    with pytest.raises(Inconsistent, match="another root of trust"):
        draft.merge(one())


def test_a_skipped_repeated_or_replayed_version_is_refused() -> None:
    two = with_log_key(one(), B.public, 11, "rotated").sign(R1, A, B)
    three = with_log_key(two, C.public, 20, "rotated").sign(R1, B, C)
    assert load_chain(files(one(), two, three), ANCHOR).version == 3
    for chain in (
        (one(), three),
        (two, three),
        (one(), one()),
        (one(), two, two),
        (two, one()),
        (one(), two, three, two),
    ):
        with pytest.raises(Inconsistent, match="another version"):
            load_chain(files(*chain), ANCHOR)
    with pytest.raises(Malformed, match="no chain"):
        load_chain([], ANCHOR)


def test_a_version_of_another_log_does_not_follow() -> None:
    other = first_root("other.example/log", A.public, [R1.public]).sign(R1, A)
    two = with_log_key(other, B.public, 11, "rotated").sign(R1, A, B)
    with pytest.raises(Inconsistent, match="another log"):
        load_chain(files(one(), two), ANCHOR)


def _spans(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda signed: change(signed["x-noptik"]["spans"])


@pytest.mark.parametrize(
    "change",
    [
        lambda spans: spans[0].update(voidFrom=9),
        lambda spans: spans[0].update(key=EVE.public.raw.hex()),
        lambda spans: spans[0].update(reason="revoked"),
        lambda spans: spans.pop(0),
        lambda spans: spans[1].update(first=12, voidFrom=20),
    ],
    ids=["voidFrom", "key", "reason", "removed", "first"],
)
def test_what_an_earlier_version_said_is_never_changed(change: Callable[[list[dict[str, Any]]], None]) -> None:
    two = with_log_key(one(), B.public, 11, "rotated").sign(R1, A, B)
    three = with_log_key(two, C.public, 20, "rotated")
    with pytest.raises(Tampered, match=r"changed|out of order|two keys|first from size 0"):
        load_chain([*files(one(), two), forged(three, _spans(change), R1, B, C)], ANCHOR)


def test_a_void_key_never_signs_again() -> None:
    two = with_log_key(one(), B.public, 11, "rotated").sign(R1, A, B)
    with pytest.raises(Usage, match="comes back"):
        with_log_key(two, A.public, 20, "rotated")


def test_a_rotated_key_is_not_void_in_the_past() -> None:
    with pytest.raises(Usage, match="void from where the next begins"):
        with_log_key(one(), B.public, 11, "rotated", void_from=5)
    early = with_log_key(one(), B.public, 11, "revoked", void_from=5)

    def disguise(signed: dict[str, Any]) -> None:
        signed["x-noptik"]["spans"][0]["reason"] = "rotated"

    with pytest.raises(Inconsistent, match="void from where the next begins"):
        load_chain([*files(one()), forged(early, disguise, R1, A, B)], ANCHOR)


@pytest.mark.parametrize(("first", "void_from"), [(11, 12), (0, None), (11, -1)])
def test_sizes_that_make_no_sense_are_refused(first: int, void_from: int | None) -> None:
    with pytest.raises(Usage):
        with_log_key(one(), B.public, first, "revoked", void_from)


@pytest.mark.parametrize("threshold", [0, 3, 101])
def test_a_threshold_nobody_can_reach_is_refused(threshold: int) -> None:
    with pytest.raises(Usage, match="no root of trust"):
        first_root(ORIGIN, A.public, [R1.public, R2.public], threshold)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", 'a"b', "a\\b", "a\nb", "/a", "ä", "a" * 201])
def test_an_origin_is_plain(origin: str) -> None:
    with pytest.raises(Usage, match="no root of trust"):
        first_root(origin, A.public, [R1.public])


def test_an_anchor_is_a_root_key_that_signed_or_the_very_file() -> None:
    two = with_root_keys(one(), [R2.public], 1).sign(R1, R2)
    three = with_log_key(two, B.public, 11, "rotated").sign(R2, A, B)
    chain = files(one(), two, three)
    for anchor in (Anchor(R1.public), Anchor(R2.public), *(Anchor.parse(file) for file in chain)):
        assert load_chain(chain, anchor).version == 3
    for key in (EVE, A, B):
        with pytest.raises(BadSignature, match="trusted root key"):
            load_chain(chain, Anchor(key.public))
    with pytest.raises(BadSignature, match=r"trusted root\.json"):
        load_chain(chain[:2], Anchor.parse(chain[2]))


def test_a_root_key_that_is_listed_but_has_not_signed_is_no_anchor() -> None:
    first = first_root(ORIGIN, A.public, [R1.public, R2.public], 1).sign(A, R2)
    with pytest.raises(BadSignature, match="trusted root key"):
        load_chain(files(first), ANCHOR)
    assert load_chain(files(first), Anchor(R2.public)).version == 1


def test_a_chain_of_one_s_own_making_does_not_reach_a_reader_s_anchor() -> None:
    mine = first_root(ORIGIN, EVE.public, [EVE.public]).sign(EVE)
    for anchor in (ANCHOR, Anchor.parse(one().to_bytes())):
        with pytest.raises(BadSignature, match="trusted root"):
            load_chain(files(mine), anchor)
    listed = first_root(ORIGIN, EVE.public, [EVE.public, R1.public], 1).sign(EVE)
    with pytest.raises(BadSignature, match="trusted root key"):
        load_chain(files(listed), ANCHOR)


def test_a_log_key_introduced_without_its_own_signature_is_refused() -> None:
    with pytest.raises(BadSignature, match="the new log key"):
        load_chain(files(first_root(ORIGIN, A.public, [R1.public]).sign(R1)), ANCHOR)


def test_any_bad_signature_is_refused_even_beyond_the_threshold() -> None:
    value = json.loads(one((R1, R2), 1).to_bytes())
    value["signatures"][0]["sig"] = value["signatures"][1]["sig"]
    with pytest.raises(BadSignature, match="not over these bytes"):
        load_chain([canonical.encode(value)], ANCHOR)
    with pytest.raises(BadSignature, match="no known key"):
        load_chain(files(one().sign(EVE)), ANCHOR)


def _other_key(pem: bytes, kind: str, scheme: str) -> Callable[[dict[str, Any]], None]:
    def change(signed: dict[str, Any]) -> None:
        signed["keys"][R1.public.key_id] = {"keytype": kind, "scheme": scheme, "keyval": {"public": pem.decode()}}

    return change


def test_keys_of_other_algorithms_are_refused() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    ec_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pems = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in (rsa_key, ec_key)]
    hexed = R1.public.raw.hex().encode()
    for pem, kind, scheme in (
        (pems[0], "rsa", "rsassa-pss-sha256"),
        (pems[1], "ecdsa", "ecdsa-sha2-nistp256"),
        (hexed, "ed25519", "rsassa-pss-sha256"),
        (hexed, "ecdsa", "ed25519"),
        (pems[1], "ed25519", "ed25519"),
    ):
        with pytest.raises(Malformed):
            load_chain([forged(one(), _other_key(pem, kind, scheme), R1, A)], ANCHOR)


@pytest.mark.parametrize("raw", [bytes(32), (1).to_bytes(32, "little"), b"\xff" * 32], ids=["zero", "identity", "ones"])
def test_keys_that_accept_what_nobody_signed_are_refused(raw: bytes) -> None:
    def weak(signed: dict[str, Any]) -> None:
        signed["x-noptik"]["spans"][0]["key"] = raw.hex()

    with pytest.raises(Malformed):
        load_chain([forged(one(), weak, R1, A)], ANCHOR)


@pytest.mark.parametrize("role", ["snapshot", "targets", "timestamp"])
def test_every_other_role_is_the_active_log_key_s(role: str) -> None:
    def change(signed: dict[str, Any]) -> None:
        signed["roles"][role] = {"keyids": [R1.public.key_id], "threshold": 1}

    with pytest.raises(Malformed, match="active log key"):
        load_chain([forged(one(), change, R1, A)], ANCHOR)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":1.0'),
        (b'"version":1', b'"version":true'),
        (b'"version":1', b'"version":"1"'),
        (b'"version":1', b'"version":1,"version":1'),
        (b'"threshold":1', b'"threshold":1e0'),
        (b'"consistent_snapshot":true', b'"consistent_snapshot":1'),
        (b'"consistent_snapshot":true,', b""),
        (b"9999-12-31T23:59:59Z", b"2999-12-31T23:59:59Z"),
        (b'"spec_version":"1.0.31"', b'"spec_version":"1.0.30"'),
        (b'"_type":"root"', b'"_type":"targets"'),
        (b'"first":0', b'"first":-0'),
        (b'"first":0', b'"first":0,"extra":0'),
        (b'"first":0', b'"first":0,"reason":null'),
        (b'{"signatures"', b' {"signatures"'),
        (b"}]}}}", b"}]}}}\n"),
        (b"client.example/log", b"client.example\\u002flog"),
        (b'"x-noptik"', b'"x-Noptik"'),
    ],
)
def test_bytes_that_are_not_the_one_form_are_refused(old: bytes, new: bytes) -> None:
    raw = one().to_bytes()
    assert old in raw
    with pytest.raises(Malformed):
        load_chain([raw.replace(old, new)], ANCHOR)


def test_a_file_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(Malformed, match="too long"):
        parse_root(b" " * (MAX_ROOT_BYTES + 1))


CHAIN = files(one(), with_log_key(one(), B.public, 11, "revoked", 5).sign(R1, B))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1), st.data())
def test_any_change_of_a_byte_is_noticed(number: int, data: st.DataObject) -> None:
    raw = bytearray(CHAIN[number])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    chain = [bytes(raw) if index == number else file for index, file in enumerate(CHAIN)]
    with pytest.raises(Tampered):
        load_chain(chain, ANCHOR)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_root(raw)


def test_python_tuf_follows_the_same_chain() -> None:
    two = with_root_keys(one(), [R1.public, R2.public], 2).sign(R1, R2)
    first, second = (Metadata[Any].from_bytes(version.to_bytes()) for version in (one(), two))
    first.verify_delegate("root", first)
    first.verify_delegate("root", second)
    second.verify_delegate("root", second)
    assert second.signed.version == 2
    for signature in second.signatures.values():
        assert isinstance(signature, Signature)
    assert [version.to_bytes() for version in (first, second)] == files(one(), two)


def test_openssl_verifies_the_signature_of_a_root_key(tmp_path: Path) -> None:
    value = json.loads(one().to_bytes())
    payload = canonical.encode(value["signed"])
    assert payload == Metadata[Any].from_bytes(one().to_bytes()).signed_bytes
    signature = next(s["sig"] for s in value["signatures"] if s["keyid"] == R1.public.key_id)
    assert openssl_verifies(tmp_path, R1.public, bytes.fromhex(signature), payload)
    changed = payload.replace(b'"version":1', b'"version":2')
    assert not openssl_verifies(tmp_path, R1.public, bytes.fromhex(signature), changed)


def test_an_anchor_file_is_a_key_or_a_root_and_says_why_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    path.write_bytes(R1.public.to_pem())
    assert read_anchor(path).trusted == PublicKey(R1.public.raw)
    path.write_bytes(one().to_bytes())
    assert read_anchor(path).trusted == one().to_bytes()
    for content, error in ((b"-----BEGIN nothing", KeyRefused), (b"{}", KeyRefused), (b" " * 2**19, KeyRefused)):
        path.write_bytes(content)
        with pytest.raises(error):
            read_anchor(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(KeyRefused):
        read_anchor(tmp_path / "link")
    with pytest.raises(Unavailable):
        read_anchor(tmp_path / "none")


def test_a_long_chain_is_followed_version_by_version() -> None:
    versions = [one()]
    old = A
    for number in range(1, 12):
        new = SigningKey.from_seed(bytes([100 + number]) * 32)
        versions.append(with_log_key(versions[-1], new.public, number, "rotated").sign(R1, old, new))
        old = new
    chain = follow(files(*versions))
    assert [file.version for file in chain] == list(range(1, 13))
    assert chain[-1].trust.spans[-1].key == old.public
