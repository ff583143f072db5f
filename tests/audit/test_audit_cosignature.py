"""Laws and attacks of cosignatures: who saw which head when, and nothing that passes for it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.cosignature import COSIGNATURE_ED25519, MAX_TIME, VKey, cosign, cosignature, verify_lines
from audit.errors import BadSignature, Malformed, Usage
from audit.note import (
    MAX_SIGNATURES,
    Checkpoint,
    Note,
    NoteSignature,
    Verifier,
    open_checkpoint,
    parse_note,
    sign_checkpoint,
    sign_note,
    with_lines,
)
from audit.signing import NOTE_ED25519, SigningKey
from tests.openssl import openssl_verifies

LOG, W1, W2 = (SigningKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ORIGIN, NAME, TIME = "client.example/log", "client.example/w1", 1_700_000_000
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), LOG)
TEXT = parse_note(NOTE).text
FIRST = VKey.cosigner(NAME, W1.public)


def cosigned(*lines: NoteSignature) -> Note:
    return parse_note(with_lines(NOTE, [line.line.encode() for line in lines]))


def test_a_cosignature_says_who_saw_the_head_and_when() -> None:
    note = cosigned(cosign(TEXT, NAME, W1, TIME))
    found = cosignature(note, FIRST)
    assert found is not None
    assert (found.witness, found.time) == (FIRST, TIME)
    assert open_checkpoint(note.to_bytes(), Verifier(ORIGIN, LOG.public)).size == 3


def test_openssl_verifies_a_cosignature_over_the_message_of_the_specification(tmp_path: Path) -> None:
    line = cosign(TEXT, NAME, W1, TIME).line
    blob = base64.b64decode(line.split(" ")[2])
    assert line.split(" ")[:2] == ["\u2014", NAME]
    assert blob[:4] == FIRST.key_id
    assert int.from_bytes(blob[4:12], "big") == TIME
    message = b"cosignature/v1\ntime 1700000000\n" + TEXT.encode()
    assert openssl_verifies(tmp_path, W1.public, blob[12:], message)
    assert not openssl_verifies(tmp_path, W1.public, blob[12:], message.replace(b"1700000000", b"1700000001"))


def test_openssl_verifies_the_log_s_line_beside_a_cosignature(tmp_path: Path) -> None:
    note = cosigned(cosign(TEXT, NAME, W1, TIME))
    assert openssl_verifies(tmp_path, LOG.public, note.signatures[0].signature, note.text.encode())


def test_who_has_not_cosigned_is_told_from_who_cosigned_wrongly() -> None:
    note = cosigned(cosign(TEXT, NAME, W1, TIME))
    assert cosignature(note, VKey.cosigner(NAME, W2.public)) is None
    assert cosignature(note, VKey.cosigner("client.example/w2", W1.public)) is None
    other = cosign(TEXT.replace("\n3\n", "\n4\n"), NAME, W1, TIME)
    with pytest.raises(BadSignature, match="does not verify"):
        cosignature(cosigned(other), FIRST)


def test_the_time_is_signed() -> None:
    line = cosign(TEXT, NAME, W1, TIME)
    later = NoteSignature(NAME, line.key_id, (TIME + 1).to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(BadSignature):
        cosignature(cosigned(later), FIRST)


def test_of_several_cosignatures_the_latest_counts_and_none_may_be_bad() -> None:
    lines = [cosign(TEXT, NAME, W1, TIME + delay) for delay in (5, 9, 2)]
    found = cosignature(cosigned(*lines), FIRST)
    assert found is not None
    assert found.time == TIME + 9
    bad = NoteSignature(NAME, FIRST.key_id, lines[0].signature[:-1] + b"\0")
    with pytest.raises(BadSignature):
        cosignature(cosigned(*lines, bad), FIRST)


def test_a_log_signature_never_passes_for_a_cosignature_nor_the_other_way() -> None:
    # the same key and name: only the type byte in the key id, and what is signed, tell them apart
    own = VKey.cosigner(ORIGIN, LOG.public)
    assert cosignature(parse_note(NOTE), own) is None
    log_line = parse_note(NOTE).signatures[0]
    dressed = NoteSignature(ORIGIN, own.key_id, TIME.to_bytes(8, "big") + log_line.signature)
    with pytest.raises(BadSignature):
        cosignature(Note(TEXT, (dressed,)), own)
    with pytest.raises(BadSignature, match="wrong size"):
        cosignature(Note(TEXT, (NoteSignature(ORIGIN, own.key_id, log_line.signature),)), own)
    line = cosign(TEXT, ORIGIN, LOG, TIME)
    for signature in (line.signature, line.signature[8:]):
        note = Note(TEXT, (NoteSignature(ORIGIN, log_line.key_id, signature),)).to_bytes()
        with pytest.raises(BadSignature):
            open_checkpoint(note, Verifier(ORIGIN, LOG.public))


@pytest.mark.parametrize("time", [-1, MAX_TIME + 1])
def test_a_time_out_of_range_is_not_signed(time: int) -> None:
    with pytest.raises(Usage):
        cosign(TEXT, NAME, W1, time)


def test_a_time_out_of_range_is_not_accepted() -> None:
    time = MAX_TIME + 1
    message = f"cosignature/v1\ntime {time}\n{TEXT}".encode()
    line = NoteSignature(NAME, FIRST.key_id, time.to_bytes(8, "big") + W1.sign(message))
    with pytest.raises(BadSignature, match="out of range"):
        cosignature(cosigned(line), FIRST)


def test_only_checkpoints_are_cosigned() -> None:
    for text in ("", "hello\n", TEXT + "extension\n", TEXT[:-1], "time 5\n"):
        with pytest.raises(Malformed):
            cosign(text, NAME, W1, TIME)


def test_a_vkey_reads_back_and_nothing_else_does() -> None:
    text = str(FIRST)
    assert VKey.parse(text, COSIGNATURE_ED25519) == FIRST
    name, key_id, data = text.split("+", 2)
    small = base64.b64encode(COSIGNATURE_ED25519 + (1).to_bytes(32, "little")).decode()
    for bad in (
        "",
        text + " ",
        text + "\n",
        f"{name}+{key_id}",
        f"+{key_id}+{data}",
        f"a b+{key_id}+{data}",
        f"a\udc80+{key_id}+{data}",
        f"{name}+{key_id.upper()}+{data}",
        f"{name}+00000000+{data}",
        f"{name}+{key_id}+{data[:-1]}",
        f"{name}+{key_id}+{data}AAAA",
        f"other+{key_id}+{data}",
        f"{name}+{key_id}+{small}",
        str(VKey(NAME, W1.public, b"\x06")),
    ):
        with pytest.raises(Malformed):
            VKey.parse(bad, COSIGNATURE_ED25519)


def test_a_log_s_vkey_is_no_witness_s() -> None:
    for type_, other in ((NOTE_ED25519, COSIGNATURE_ED25519), (COSIGNATURE_ED25519, NOTE_ED25519)):
        with pytest.raises(Malformed, match="another type"):
            VKey.parse(str(VKey(NAME, W1.public, type_)), other)


def test_a_vkey_is_that_of_the_published_example() -> None:
    # golang.org/x/mod/sumdb/note documents this one
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert str(VKey.parse(text, NOTE_ED25519)) == text


def test_what_a_witness_sends_back_is_taken_only_from_it_and_only_if_good() -> None:
    mine, other = cosign(TEXT, NAME, W1, TIME).line.encode(), cosign(TEXT, "client.example/w2", W2, TIME).line.encode()
    assert [line.name for line in verify_lines(NOTE, other + mine, FIRST, "answer")] == [NAME]
    for lines in (other, cosign(TEXT.replace("\n3\n", "\n4\n"), NAME, W1, TIME).line.encode()):
        with pytest.raises(BadSignature):
            verify_lines(NOTE, lines, FIRST, "answer")
    for lines in (b"", b"\n", mine + b"\n" + mine, b"text\n" + mine, mine[:-1]):
        with pytest.raises(Malformed):
            verify_lines(NOTE, lines, FIRST, "answer")


def test_lines_are_added_once_and_not_without_end() -> None:
    lines = [cosign(TEXT, f"client.example/w{number}", W1, TIME).line.encode() for number in range(MAX_SIGNATURES)]
    assert with_lines(NOTE, [lines[0], lines[0]]) == with_lines(with_lines(NOTE, lines[:1]), lines[:1])
    assert len(parse_note(with_lines(NOTE, lines[1:])).signatures) == MAX_SIGNATURES
    with pytest.raises(Malformed, match="too many"):
        with_lines(NOTE, lines)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_other_lines_are_malformed_and_nothing_else(raw: bytes) -> None:
    with pytest.raises((Malformed, BadSignature)):
        verify_lines(NOTE, raw, FIRST, "answer")


def test_a_note_that_is_no_checkpoint_has_no_cosignature() -> None:
    note = parse_note(sign_note("cosignature/v1\ntime 5\n" + TEXT, ORIGIN, LOG))
    assert cosignature(note, FIRST) is None
