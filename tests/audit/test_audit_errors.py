"""Laws of errors: tampered is 1, everything else 2; a message tells all and cannot write to a terminal."""

from __future__ import annotations

import pickle

import pytest

from audit import errors
from audit.errors import AuditError, Tampered

TAMPERED = [
    errors.Malformed,
    errors.DigestMismatch,
    errors.BadSignature,
    errors.BadProof,
    errors.Inconsistent,
]
OTHER = [errors.Unavailable, errors.Usage, errors.KeyRefused]


def test_tampered_never_shares_an_exit_code_or_a_branch_with_unavailable() -> None:
    assert {error.exit_code for error in [Tampered, *TAMPERED]} == {1}
    assert {error.exit_code for error in [AuditError, *OTHER]} == {2}
    assert all(issubclass(error, Tampered) for error in TAMPERED)
    assert not any(issubclass(error, Tampered) or issubclass(Tampered, error) for error in OTHER)


@pytest.mark.parametrize("kind", [*TAMPERED, *OTHER])
def test_a_message_tells_what_where_expected_and_found(kind: type[AuditError]) -> None:
    error = kind("digest differs", "fit/posterior.zarr", "aa", "bb")
    assert str(error) == "fit/posterior.zarr: digest differs (expected aa; found bb)"
    assert (error.what, error.where, error.expected, error.found) == (
        "digest differs",
        "fit/posterior.zarr",
        "aa",
        "bb",
    )
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))


def test_only_what_is_known_is_told() -> None:
    assert str(errors.Unavailable("ledger busy")) == "ledger busy"
    assert str(errors.Unavailable("missing", "key.pem")) == "key.pem: missing"
    assert str(errors.Malformed("size", "note", 0, None)) == "note: size (expected 0; found None)"


def test_hostile_text_cannot_move_the_cursor_or_fill_the_screen() -> None:
    error = errors.Malformed("bad\n", "\x1b[2Jx", b"\x00\xff", "\u202e" + "a" * 10_000)
    text = str(error)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 600
    assert "00ff" in text
