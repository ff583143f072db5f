"""Fuzz targets: parsers of plain texts. What is accepted must be written back to the same bytes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from audit import addcheckpoint, bag, canonical, cosignature, note, policy, sshsig, timestamp
from audit.signing import PublicKey, SigningKey
from audit.source import listing, parse_listing

KEY = SigningKey.from_seed(bytes(range(32)))  # the published test key
MESSAGE = b"what the bundle's manifest says\n"
TSA = Path(__file__).parent / "tsa.pem"  # a timestamp authority whose key is thrown away
WITNESS = cosignature.VKey.cosigner("client.example/w1", KEY.public)
CHECKPOINT = note.sign_checkpoint(note.Checkpoint("noptik.example/log", 3, bytes(32)), KEY)


def json_canonical(raw: bytes) -> None:
    """Strict JSON, with floats and without; a value that is accepted is what the standard library reads too."""
    value = canonical.decode(raw, floats=True)
    assert json.loads(raw, parse_int=float) == value  # equal to an integer, and to the double of a large one
    written = canonical.encode(value)
    assert canonical.decode_canonical(written, floats=True) == value
    assert canonical.decode(raw) == value  # Malformed for floats
    assert canonical.record(value) == written, "the fast encoder and the slow one differ"


def base64_text(raw: bytes) -> None:
    """Standard base64 in its one form."""
    text = raw.decode("utf-8", errors="replace")
    assert base64.b64encode(canonical.decode_base64(text)).decode() == text


def note_signed(raw: bytes) -> None:
    """A signed note, and a checkpoint in it, whoever signed it."""
    parsed = note.parse_note(raw)
    lines = [f"\u2014 {s.name} {base64.b64encode(s.key_id + s.signature).decode()}\n" for s in parsed.signatures]
    assert f"{parsed.text}\n{''.join(lines)}".encode() == raw
    checkpoint(parsed.text.encode())


def checkpoint(raw: bytes) -> None:
    """The text of a checkpoint, unsigned; and signed again by the known key, as a reader opens it."""
    text = raw.decode("utf-8", errors="replace")
    head = note.parse_checkpoint(text)
    assert note.checkpoint_text(head) == text
    signed = note.sign_checkpoint(head, KEY)
    assert note.open_checkpoint(signed, note.Verifier(head.origin, KEY.public)) == head


def public_key(raw: bytes) -> None:
    """A public key in PEM."""
    assert PublicKey.from_pem(raw).to_pem().strip() == raw.strip()


def source_listing(raw: bytes) -> None:
    """A `sha256sum` listing, as of a source tree or a manifest."""
    pairs = parse_listing(raw, "listing")
    assert listing(pairs) == raw
    assert all(not path.startswith("/") and ".." not in path.split("/") for path, _ in pairs)


def bag_files(raw: bytes) -> None:
    """The four tag files of a bag, one after the other, a zero byte between them."""
    names = (bag.BAGIT, bag.INFO, bag.MANIFEST, bag.TAG_MANIFEST)
    parts = dict(zip(names, raw.split(b"\0"), strict=False))
    assert bag.manifest(bag.listed(raw)) in (raw, b"")
    payload, tags = (bag.parse_manifest(parts.get(name, b""), name) for name in names[2:])
    bag.require_manifest(payload, parts.get(bag.MANIFEST, b""), bag.MANIFEST)
    sizes = dict.fromkeys([*payload, *tags], 1)
    bag.require_tags(payload | tags, sizes, parts, "retail")


def ssh_signature(raw: bytes) -> None:
    """An SSHSIG; only the one that the known key makes of the message is accepted."""
    sshsig.verify(raw, MESSAGE, KEY.public, "signature")
    assert raw == sshsig.sign(MESSAGE, KEY)


def cosignature_lines(raw: bytes) -> None:
    """A witness's answer: signature lines, which are joined to the checkpoint and asked for the known witness."""
    lines = note.parse_lines(raw)
    assert "".join(line.line for line in lines).encode() == raw
    joined = note.with_lines(CHECKPOINT, [raw])
    found = cosignature.cosignature(note.parse_note(joined), WITNESS)
    assert (found is None) == (WITNESS.key_id not in [line.key_id for line in lines if line.name == WITNESS.name])
    cosignature.verify_lines(CHECKPOINT, raw, WITNESS, "answer")


def witness_policy(raw: bytes) -> None:
    """A policy of witnesses, asked about a checkpoint that nobody has cosigned."""
    parsed = policy.parse_policy(raw)
    assert parsed.met(frozenset(parsed.witnesses))
    assert parsed.met(frozenset()) == (parsed.quorum == policy.NONE)
    assert policy.check(parsed, CHECKPOINT) == ()


def add_checkpoint(raw: bytes) -> None:
    """What a log sends to a witness."""
    assert addcheckpoint.parse_request(raw).to_bytes() == raw


def consistency_proof(raw: bytes) -> None:
    """A consistency proof as a file."""
    assert addcheckpoint.proof_bytes(*addcheckpoint.parse_proof(raw)) == raw


def timestamp_answer(raw: bytes) -> None:
    """A timestamp authority's answer about the checkpoint; no other authority is trusted."""
    verifier = note.Verifier("noptik.example/log", KEY.public)
    timestamp.verify_timestamp(raw, CHECKPOINT, verifier, timestamp.read_roots(TSA), "answer")
