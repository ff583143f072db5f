"""Laws of checkpoints: another program verifies them, one text a tree head, no other key or text passes."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle, note
from audit.errors import BadSignature, Malformed, Tampered, Usage
from audit.note import Checkpoint, Verifier
from audit.signing import PublicKey, SigningKey
from tests.openssl import openssl_verifies

ORIGIN = "noptik.example/ledger"
KEY = SigningKey.from_seed(b"k" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
VERIFIER = Verifier(ORIGIN, KEY.public)
ROOT = merkle.root([merkle.leaf_hash(bytes([i])) for i in range(12)])
HEAD = Checkpoint(ORIGIN, 12, ROOT)
TEXT = note.checkpoint_text(HEAD)
RAW = note.sign_checkpoint(HEAD, KEY)
DASH = "\u2014 "

# the example of golang.org/x/mod/sumdb/note: text, key and signature that this project did not write
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_KEY = "1a5cd907143c384c41e830c5bce12aa8817ec5649aaabf2c31388b35b2d744d6"
GO_LINE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def signed(text: str, name: str = ORIGIN, key: SigningKey = KEY) -> bytes:
    """A note of any text at all, its signature valid."""
    line = base64.b64encode(key.public.note_key_id(name) + key.sign(text.encode())).decode()
    return f"{text}\n{DASH}{name} {line}\n".encode()


def test_a_note_of_go_opens_here() -> None:
    raw = f"{GO_TEXT}\n{DASH}PeterNeumann {GO_LINE}\n".encode()
    verifier = Verifier("PeterNeumann", PublicKey(bytes.fromhex(GO_KEY)))
    assert note.open_note(raw, verifier) == GO_TEXT


def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    text, line = RAW.decode().split("\n\n")
    signature = base64.b64decode(line.split(" ")[2])[4:]
    signed_bytes = f"{text}\n".encode()
    assert openssl_verifies(tmp_path, KEY.public, signature, signed_bytes)
    assert not openssl_verifies(tmp_path, KEY.public, signature, signed_bytes + b" ")
    assert not openssl_verifies(tmp_path, OTHER.public, signature, signed_bytes)


def test_coreutils_compute_the_key_id(tmp_path: Path) -> None:
    (tmp_path / "id").write_bytes(ORIGIN.encode() + b"\n\x01" + KEY.public.raw)
    done = subprocess.run(["sha256sum", "id"], cwd=tmp_path, capture_output=True, check=True, text=True)
    assert done.stdout.startswith(KEY.public.note_key_id(ORIGIN).hex())


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    lines = RAW.decode().split("\n")
    assert lines[:4] == [ORIGIN, "12", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith(f"{DASH}{ORIGIN} ")
    assert lines[5:] == [""]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(1, note.MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_opening_inverts_signing_and_signing_is_deterministic(size: int, root: bytes) -> None:
    head = Checkpoint(ORIGIN, size, root)
    raw = note.sign_checkpoint(head, KEY)
    assert note.open_checkpoint(raw, VERIFIER) == head
    assert note.sign_checkpoint(head, KEY) == raw
    assert note.parse_checkpoint(note.checkpoint_text(head)) == head


def test_any_changed_byte_is_tampering() -> None:
    for at in range(len(RAW)):
        for flip in (0x01, 0x20, 0x80):
            raw = RAW[:at] + bytes([RAW[at] ^ flip]) + RAW[at + 1 :]
            with pytest.raises(Tampered):
                note.open_checkpoint(raw, VERIFIER)


def test_any_cut_or_lengthened_checkpoint_is_tampering() -> None:
    for raw in (*(RAW[:at] for at in range(len(RAW))), RAW + b"\n", RAW + b"x", b"\n" + RAW, RAW + RAW):
        with pytest.raises(Tampered):
            note.open_checkpoint(raw, VERIFIER)


SIZES = ["", "+12", "-12", "012", "1_2", "１２", " 12", "12 ", "1.2e1", "0x0c", "12\r", "1" * 20, str(2**63)]


@pytest.mark.parametrize("size", SIZES, ids=ascii)
def test_a_size_has_one_spelling_even_if_well_signed(size: str) -> None:
    with pytest.raises(Malformed):
        note.open_checkpoint(signed(TEXT.replace("\n12\n", f"\n{size}\n")), VERIFIER)


B64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "root", [B64[:-1], B64[:-2] + chr(ord(B64[-2]) + 1) + "=", B64 + "=", " " + B64, B64[:-4], "A" + B64, ""]
)
def test_a_root_has_one_spelling_even_if_well_signed(root: str) -> None:
    with pytest.raises(Malformed):
        note.open_checkpoint(signed(TEXT.replace(B64, root)), VERIFIER)


@pytest.mark.parametrize(
    "text",
    [TEXT + "extension\n", TEXT + "\n", "\n" + TEXT, TEXT.replace("\n12\n", "\n"), f"{ORIGIN}\n", "\n"],
    ids=ascii,
)
def test_a_checkpoint_text_has_three_lines_even_if_well_signed(text: str) -> None:
    with pytest.raises(Malformed):
        note.open_checkpoint(signed(text), VERIFIER)


def test_a_checkpoint_of_another_log_is_refused_though_the_key_is_the_same() -> None:
    text = note.checkpoint_text(Checkpoint("other.example/ledger", 12, ROOT))
    with pytest.raises(Malformed, match="another log"):
        note.open_checkpoint(note.sign_note(text, ORIGIN, KEY), VERIFIER)


def test_another_key_or_name_is_not_the_known_one() -> None:
    for raw in (note.sign_checkpoint(HEAD, OTHER), note.sign_note(TEXT, "someone.else", KEY)):
        with pytest.raises(BadSignature, match="not signed by the known key"):
            note.open_checkpoint(raw, VERIFIER)


def test_a_forged_key_id_does_not_help() -> None:
    line = base64.b64encode(KEY.public.note_key_id(ORIGIN) + OTHER.sign(TEXT.encode())).decode()
    with pytest.raises(BadSignature, match="does not verify"):
        note.open_checkpoint(f"{TEXT}\n{DASH}{ORIGIN} {line}\n".encode(), VERIFIER)


def line_of(raw: bytes) -> bytes:
    return raw.split(b"\n\n")[1]


def test_signatures_of_unknown_keys_are_ignored() -> None:
    cosigned = note.sign_note(TEXT, "witness.example", OTHER)
    long = f"{DASH}{ORIGIN} {base64.b64encode(bytes(3000)).decode()}\n".encode()  # same name, another id
    for raw in (RAW + line_of(cosigned) + long, cosigned + long + line_of(RAW)):
        assert note.open_checkpoint(raw, VERIFIER) == HEAD


def test_a_bad_signature_of_the_known_key_is_refused_beside_good_ones_of_others() -> None:
    bad = base64.b64encode(KEY.public.note_key_id(ORIGIN) + bytes(64)).decode()
    cosigned = note.sign_note(TEXT, "witness.example", OTHER)
    with pytest.raises(BadSignature):
        note.open_checkpoint(cosigned + f"{DASH}{ORIGIN} {bad}\n".encode(), VERIFIER)


def test_the_known_key_signs_once() -> None:
    with pytest.raises(Malformed, match="more than once"):
        note.open_checkpoint(RAW + line_of(RAW), VERIFIER)


def test_sixteen_signatures_are_accepted_and_endless_ones_are_not() -> None:
    other = line_of(note.sign_note(TEXT, "witness.example", OTHER))
    assert note.open_checkpoint(RAW + other * 15, VERIFIER) == HEAD
    for raw in (RAW + other * 100, b"x" * (note.MAX_NOTE_BYTES + 1)):
        with pytest.raises(Malformed):
            note.open_checkpoint(raw, VERIFIER)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "\n",
        "x\n",
        f"-- {ORIGIN} AAAAAAA=\n",
        f"{DASH}{ORIGIN}\n",
        f"{DASH}{ORIGIN} \n",
        f"{DASH}{ORIGIN} AAAA\n",
        f"{DASH}{ORIGIN} AAAAAA==\n",
        f"{DASH}{ORIGIN} AAAAAAB=\n",
        f"{DASH}{ORIGIN} AAAAAAA= \n",
        f"{DASH}{ORIGIN}  AAAAAAA=\n",
        f"{DASH}a+b AAAAAAA=\n",
        f"{DASH}a\u00a0b AAAAAAA=\n",
        f"{DASH} AAAAAAA=\n",
        f"{DASH}{ORIGIN} AAAAAAA=",
    ],
    ids=ascii,
)
def test_malformed_signature_lines_are_refused_beside_good_ones(lines: str) -> None:
    with pytest.raises(Malformed):
        note.parse_note(f"{TEXT}\n{lines}".encode())
    if lines.endswith("\n") and lines != "\n":
        with pytest.raises(Malformed):
            note.open_checkpoint(RAW + lines.encode(), VERIFIER)


@pytest.mark.parametrize("bad", [b"\x00", b"\r", b"\t", b"\x1b[2J", b"\xff", b"\xed\xa0\x80"])
def test_control_characters_and_other_encodings_are_refused(bad: bytes) -> None:
    with pytest.raises(Malformed):
        note.parse_note(RAW.replace(b"12", bad))


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "cr\r\n", "nul\x00\n"], ids=ascii)
def test_only_printable_lines_are_signed(text: str) -> None:
    with pytest.raises(Usage):
        note.sign_note(text, ORIGIN, KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\x00b"], ids=ascii)
def test_only_names_are_key_names(name: str) -> None:
    with pytest.raises(Usage):
        note.sign_note(TEXT, name, KEY)
    with pytest.raises(Usage):
        Checkpoint(name, 12, ROOT)


@pytest.mark.parametrize(
    ("size", "root"), [(-1, ROOT), (2**63, ROOT), (0, ROOT), (1, ROOT[:31]), (1, b""), (1, ROOT + b"\0")]
)
def test_only_tree_heads_are_checkpoints(size: int, root: bytes) -> None:
    with pytest.raises(Usage):
        Checkpoint(ORIGIN, size, root)


def test_the_empty_log_has_a_checkpoint() -> None:
    head = Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
    assert note.open_checkpoint(note.sign_checkpoint(head, KEY), VERIFIER) == head
    with pytest.raises(Malformed):
        note.open_checkpoint(signed(f"{ORIGIN}\n0\n{B64}\n"), VERIFIER)
