"""Tree heads that others can check: C2SP signed notes and tlog-checkpoints, signed with Ed25519.

    noptik.example/ledger                                  the origin: which log
    3                                                      the tree size
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=           the root hash

    — noptik.example/ledger Az3grlgtzPICa5OS8npVmf1M...    key name, base64(key id || signature)

The text is everything up to and including the newline before the blank line; that is what is signed. Witnesses add
lines of their own below the log's (`audit.cosignature`); whoever looks for one key's line ignores the others.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from audit.canonical import decode_base64
from audit.errors import BadSignature, Malformed, Usage
from audit.merkle import EMPTY_ROOT, HASH_BYTES
from audit.signing import PublicKey, SigningKey

MAX_NOTE_BYTES = 2**20
MAX_SIGNATURES = 100
MAX_SIZE = 2**63 - 1
KEY_ID_BYTES = 4
_DASH = "\u2014 "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log `origin`, its `size` in leaves, and the 32-byte `root` of that tree.

    0 <= size < 2^63; the empty tree has only one root; the origin is also a key name. Usage otherwise.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        _require_name(self.origin)
        if not 0 <= self.size <= MAX_SIZE:
            raise Usage("tree size out of range", self.origin, f"0 to {MAX_SIZE}", self.size)
        if len(self.root) != HASH_BYTES or (self.size == 0 and self.root != EMPTY_ROOT):
            raise Usage("no root of a tree of this size", self.origin, f"{HASH_BYTES} bytes", self.root)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, not yet verified: who claims it, under which 4-byte key id, and the bytes."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line of the note, with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A well-formed note, not yet verified. `text` ends in a newline."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """The note's bytes."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}".encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that is trusted, out of band, under a name."""

    name: str
    key: PublicKey


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The three lines that are signed (C2SP tlog-checkpoint); no extension lines."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """The note of `text` with one signature, by `key` under `name`; Usage if no note can hold them."""
    _require_name(name)
    if not text.endswith("\n") or not _printable(text):
        raise Usage("text cannot be signed as a note", name, "lines of text, each ended by a newline", text)
    signature = NoteSignature(name, key.public.note_key_id(name), key.sign(text.encode()))
    return Note(text, (signature,)).to_bytes()


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """The signed checkpoint, its origin as key name: the same bytes for the same head and key, every time."""
    return sign_note(checkpoint_text(checkpoint), checkpoint.origin, key)


def parse_note(raw: bytes, where: str = "note") -> Note:
    """The parts of a well-formed note (C2SP signed-note, "Format"), nothing verified; Malformed otherwise."""
    if len(raw) > MAX_NOTE_BYTES:
        raise Malformed("note too long", where, f"at most {MAX_NOTE_BYTES} bytes", f"{len(raw)} bytes")
    try:
        note = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("note is not UTF-8", where, "UTF-8", f"byte {error.start}") from error
    if not _printable(note):
        raise Malformed("control character in a note", where, "only newlines", ascii(note))
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Malformed("note has no signature lines", where, "text, a blank line, signatures", ascii(note))
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed("too many signatures", where, f"at most {MAX_SIGNATURES}", len(signatures))
    return Note(text + "\n", tuple(_parse_signature(line, where) for line in signatures))


def open_note(raw: bytes, verifier: Verifier, where: str = "note") -> str:
    """The text of the note at `raw`, signed by `verifier`.

    Lines of other keys are ignored, as the specification demands. BadSignature if the verifier's line is
    missing or does not verify; Malformed if the note is not well formed or the verifier signs twice.
    """
    note = parse_note(raw, where)
    known = (verifier.name, verifier.key.note_key_id(verifier.name))
    mine = [line for line in note.signatures if (line.name, line.key_id) == known]
    if not mine:
        claimed = ", ".join(f"{line.name} {line.key_id.hex()}" for line in note.signatures)
        raise BadSignature("not signed by the known key", where, f"{known[0]} {known[1].hex()}", claimed)
    if len(mine) > 1:
        raise Malformed("signed more than once by the known key", where, 1, len(mine))
    verifier.key.verify(mine[0].signature, note.text.encode(), where)
    return note.text


def only(raw: bytes, verifier: Verifier, where: str = "note") -> bytes:
    """The note at `raw` with the verifier's line alone: the bytes the log itself wrote. Errors as `open_note`."""
    open_note(raw, verifier, where)
    note, key_id = parse_note(raw, where), verifier.key.note_key_id(verifier.name)
    mine = [line for line in note.signatures if (line.name, line.key_id) == (verifier.name, key_id)]
    return Note(note.text, tuple(mine)).to_bytes()


def with_lines(raw: bytes, lines: Iterable[bytes], where: str = "note") -> bytes:
    """The note at `raw` with these signature lines below its own, none verified; a line it has is not repeated.

    Malformed: one is no signature line, or there are too many.
    """
    note = parse_note(raw, where)
    found = dict.fromkeys(note.signatures)
    for line in lines:
        found |= dict.fromkeys(parse_lines(line, where))
    if len(found) > MAX_SIGNATURES:
        raise Malformed("too many signatures", where, f"at most {MAX_SIGNATURES}", len(found))
    return Note(note.text, tuple(found)).to_bytes()


def parse_lines(raw: bytes, where: str = "signature lines") -> tuple[NoteSignature, ...]:
    """The signature lines that `raw` holds and nothing else, at least one; Malformed otherwise."""
    note = parse_note(b"-\n\n" + raw, where)
    if note.text != "-\n":
        raise Malformed("more than signature lines", where, "signature lines only", ascii(note.text[2:]))
    return note.signatures


def open_checkpoint(raw: bytes, verifier: Verifier, where: str = "checkpoint") -> Checkpoint:
    """The tree head at `raw`, signed by `verifier`, whose name is the log's origin.

    Errors as `open_note`; Malformed as well for any text but `checkpoint_text` of some checkpoint, extension
    lines included, or for another log's origin.
    """
    checkpoint = parse_checkpoint(open_note(raw, verifier, where), where)
    if checkpoint.origin != verifier.name:
        raise Malformed("checkpoint of another log", where, verifier.name, checkpoint.origin)
    return checkpoint


def parse_checkpoint(text: str, where: str = "checkpoint") -> Checkpoint:
    """The checkpoint whose `checkpoint_text` is `text`; Malformed if there is none."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Malformed("checkpoint text malformed", where, "three lines: origin, size, root", ascii(text))
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size):
        raise Malformed("tree size malformed", where, "ASCII decimal, no sign, no leading zero", ascii(size))
    try:
        return Checkpoint(origin, int(size), decode_base64(root, where))
    except Usage as error:
        raise Malformed(error.what, where, error.expected, error.found) from error


def _parse_signature(line: str, where: str) -> NoteSignature:
    fields = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(fields) != 2 or not _is_name(fields[0]):
        raise Malformed("signature line malformed", where, "em dash, name, base64", ascii(line))
    data = decode_base64(fields[1], where)
    if len(data) <= KEY_ID_BYTES:
        raise Malformed("signature too short", where, f"over {KEY_ID_BYTES} bytes", f"{len(data)} bytes")
    return NoteSignature(fields[0], data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _printable(text: str) -> bool:
    return all(c >= " " or c == "\n" for c in text)


def _is_name(name: str) -> bool:
    return bool(name) and _printable(name) and not any(c.isspace() or c == "+" for c in name)


def _require_name(name: str) -> None:
    if not _is_name(name):
        raise Usage("not a key name", "", "text without spaces, control characters or '+'", ascii(name))
