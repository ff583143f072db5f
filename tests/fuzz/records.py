"""Fuzz targets: records in canonical JSON. Each input is read as it is, and once more in canonical form."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from audit import canonical
from audit.admission import admission, open_admission, sign_verdict
from audit.bundle import info_bytes, parse_info
from audit.digest import sha256
from audit.envelope import PAYLOAD_TYPE, open_envelope, seal
from audit.errors import AuditError, Tampered
from audit.intent import intent_bytes, parse_intent
from audit.kinds import about, registration_of
from audit.proof import check_proof, parse_proof, proof_bytes
from audit.receipt import check_receipt, parse_receipt, receipt_bytes
from audit.record import entry_bytes, leaf, parse_entry
from audit.recording import Recordings
from audit.root import Anchor, load_chain, parse_root
from audit.statement import AdmissionStatement, Metadata, core_bytes, parse_statement, statement_bytes
from audit.trustroot import TrustRoot
from tests.fuzz.texts import KEY

ORIGIN = f"noptik.local/{KEY.public.key_id[:16]}"
TRUST = TrustRoot.of(ORIGIN, KEY.public)
ANCHOR = Anchor(KEY.public)
METADATA = Metadata(
    started_on="2024-01-01T00:00:00Z", finished_on="2024-01-01T00:00:09Z", host="h", cpu="c", libc="l", python="p"
)


def either(raw: bytes, target: Callable[[bytes], None]) -> None:
    """`target` meets `raw`, and the canonical form of what a lax reader takes `raw` for: past the first check."""
    try:
        repaired = canonical.encode(json.loads(raw))
    except (ValueError, RecursionError, AuditError):
        target(raw)
        return
    if repaired != raw:
        with suppress(Tampered):
            target(repaired)
    target(raw)


def entry(raw: bytes) -> None:
    """The record in a leaf."""

    def one(data: bytes) -> None:
        parsed = parse_entry(data)
        assert entry_bytes(parsed) == data
        leaf(parsed)

    either(raw, one)


def statement(raw: bytes) -> None:
    """A statement of any kind, and what the log's reader asks of it."""

    def one(data: bytes) -> None:
        parsed = parse_statement(data)
        assert statement_bytes(parsed) == data
        assert core_bytes(parse_statement(core_bytes(parsed))) == core_bytes(parsed)
        for kind in ("register", "stage", "seal", "verdict", "key", "admission"):
            with suppress(Tampered):
                about(kind, parsed, "entry")
        with suppress(Tampered):
            registration_of(parsed, "entry")
        if isinstance(parsed, AdmissionStatement):
            open_admission(parsed, "entry")

    either(raw, one)


def envelope(raw: bytes) -> None:
    """A DSSE envelope; what opens is what its key seals. And any payload, sealed by that key."""

    def one(data: bytes) -> None:
        payload = open_envelope(data, KEY.public)
        assert seal(payload, PAYLOAD_TYPE, KEY) == data

    assert open_envelope(seal(raw, PAYLOAD_TYPE, KEY), KEY.public) == raw
    either(raw, one)


def receipt(raw: bytes) -> None:
    """A receipt, and its check against the known key."""

    def one(data: bytes) -> None:
        parsed = parse_receipt(data)
        assert receipt_bytes(parsed) == data
        check_receipt(parsed, TRUST)

    either(raw, one)


def proof(raw: bytes) -> None:
    """A tlog-proof file, and its check against the known root key."""
    parsed = parse_proof(raw)
    assert proof_bytes(parsed) == raw
    check_proof(raw, ANCHOR)


def intent(raw: bytes) -> None:
    """The file that says what is about to be signed."""

    def one(data: bytes) -> None:
        assert intent_bytes(parse_intent(data)) == data

    either(raw, one)


def root_chain(raw: bytes) -> None:
    """Versions of root.json, one a line; as they are, and each signed again by the known key."""
    files = raw.split(b"\n")
    signed = []
    for number, data in enumerate(files):
        try:
            signed.append(parse_root(data).sign(KEY).to_bytes())
        except Tampered:
            signed = []
            break
        assert number < 1000
    for chain in (signed, files):
        try:
            trust = load_chain(chain, ANCHOR)
        except Tampered:
            continue
        assert trust.version == len(chain)


def client_verdict(raw: bytes) -> None:
    """What a client sends back: a verdict in an envelope; also any payload, sealed by the client's key."""

    def one(data: bytes) -> None:
        for sent in (seal(data, PAYLOAD_TYPE, KEY), data):
            try:
                admitted = admission(sent, KEY.public, METADATA)
            except Tampered:
                if sent is data:
                    raise
            else:
                assert sign_verdict(open_admission(admitted, "entry"), KEY) == sent

    either(raw, one)


def anchor(raw: bytes) -> None:
    """The reader's own anchor: a root key in PEM, or a root.json."""
    trusted = Anchor.parse(raw).trusted
    assert trusted == raw if isinstance(trusted, bytes) else trusted.to_pem().strip() == raw.strip()


def bundle_info(raw: bytes) -> None:
    """The bundle.json of a bundle."""

    def one(data: bytes) -> None:
        parsed = parse_info(data)
        assert info_bytes(parsed) == data
        assert "/" not in parsed.folder

    either(raw, one)


def recordings(raw: bytes) -> None:
    """A file of recordings; and each of its lines once more in canonical form, under digests that hold."""
    for data in (b"".join(_redigested(line) + b"\n" for line in raw.split(b"\n")[:-1]), raw):
        try:
            parsed = Recordings.parse(data, "recordings")
        except Tampered:
            if data is raw:
                raise
        else:
            assert parsed.raw == data
            assert all(parsed.get(one.request) == one for one in parsed)


def _redigested(line: bytes) -> bytes:
    try:
        value = json.loads(line)
        value["request_sha256"] = sha256(canonical.encode(value["request"]))
        parts = {name: value[name] for name in ("request", "request_sha256", "response")}
        return canonical.encode(value | {"sha256": sha256(canonical.encode(parts))})
    except (ValueError, TypeError, KeyError, RecursionError, AuditError):
        return line
