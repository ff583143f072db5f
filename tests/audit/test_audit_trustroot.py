"""Laws of key spans: by the size of a tree alone it is known who signs it, and whether that counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import BadSignature, Malformed, Usage
from audit.note import Checkpoint, sign_checkpoint
from audit.signing import SigningKey
from audit.trustroot import KeySpan, TrustRoot

A, B, C = (SigningKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ORIGIN = "client.example/log"
STOLEN = TrustRoot(ORIGIN, (KeySpan(A.public, 0, 4), KeySpan(B.public, 4, 7), KeySpan(C.public, 10)))


def head(size: int, key: SigningKey, origin: str = ORIGIN) -> bytes:
    return sign_checkpoint(Checkpoint(origin, size, bytes(31) + b"\1"), key)


@given(st.integers(1, 30), st.sampled_from((A, B, C)))
def test_a_head_counts_only_under_the_key_of_its_size(size: int, key: SigningKey) -> None:
    owner = A if size < 4 else B if size < 10 else C
    void = 7 <= size < 10
    if key is owner and not void:
        assert STOLEN.open_head(head(size, key)).size == size
    else:
        with pytest.raises(BadSignature):
            STOLEN.open_head(head(size, key))
    assert STOLEN.is_void(size) == void


def test_what_a_stolen_key_signed_from_the_revoked_size_on_is_void_but_can_be_read() -> None:
    assert STOLEN.open_head(head(8, B), void=True).size == 8
    with pytest.raises(BadSignature, match="revoked"):
        STOLEN.open_head(head(8, B))
    with pytest.raises(BadSignature, match="known key"):
        STOLEN.open_head(head(8, C), void=True)


def test_a_head_of_another_log_is_refused() -> None:
    with pytest.raises(Malformed, match="another log"):
        STOLEN.open_head(head(3, A, "client.example/other"))


@pytest.mark.parametrize(
    "spans",
    [
        (),
        (KeySpan(A.public, 1),),
        (KeySpan(A.public, 0), KeySpan(B.public, 4)),
        (KeySpan(A.public, 0, 5), KeySpan(B.public, 4)),
        (KeySpan(A.public, 0, 0), KeySpan(B.public, 0)),
        (KeySpan(A.public, 0, 4), KeySpan(B.public, 6, 6), KeySpan(C.public, 5)),
    ],
)
def test_two_keys_never_sign_one_size(spans: tuple[KeySpan, ...]) -> None:
    with pytest.raises(Usage):
        TrustRoot(ORIGIN, spans)


def test_a_span_ends_after_it_begins() -> None:
    for first, void_from in ((-1, None), (5, 4)):
        with pytest.raises(Usage, match="no span"):
            KeySpan(A.public, first, void_from)
