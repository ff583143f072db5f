"""Every parser that reads what others wrote, as a function of bytes that a fuzzer calls.

A target returns, or raises one of its errors: what is not the one strict form is tampering (a key that must not be
used is refused), never a crash, never "unavailable". What it accepts it also checks: written back, it is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audit.errors import AuditError, KeyRefused, Tampered
from tests.fuzz import containers, records, texts

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, the errors it may raise, and the longest input in bytes that a fuzzer tries."""

    parse: Callable[[bytes], None]
    errors: tuple[type[AuditError], ...] = (Tampered,)
    max_bytes: int = 4096

    def __call__(self, raw: bytes) -> bool:
        """Whether `raw` was accepted. Any error but its own passes through."""
        try:
            self.parse(raw)
        except self.errors:
            return False
        return True


TARGETS: Mapping[str, Target] = {
    "json": Target(texts.json_canonical),
    "base64": Target(texts.base64_text, max_bytes=256),
    "note": Target(texts.note_signed),
    "checkpoint": Target(texts.checkpoint, max_bytes=512),
    "public_key": Target(texts.public_key, (KeyRefused,), 512),
    "listing": Target(texts.source_listing),
    "bag": Target(texts.bag_files),
    "sshsig": Target(texts.ssh_signature, max_bytes=1024),
    "cosignature": Target(texts.cosignature_lines, max_bytes=2048),
    "policy": Target(texts.witness_policy, max_bytes=2048),
    "request": Target(texts.add_checkpoint, max_bytes=2048),
    "consistency": Target(texts.consistency_proof, max_bytes=2048),
    "timestamp": Target(texts.timestamp_answer),
    "entry": Target(records.entry, max_bytes=1024),
    "statement": Target(records.statement, max_bytes=8192),
    "envelope": Target(records.envelope, max_bytes=8192),
    "receipt": Target(records.receipt, max_bytes=8192),
    "proof": Target(records.proof, max_bytes=16384),
    "intent": Target(records.intent, max_bytes=8192),
    "root": Target(records.root_chain, max_bytes=16384),
    "anchor": Target(records.anchor, (Tampered, KeyRefused)),
    "client_verdict": Target(records.client_verdict),
    "bundle_info": Target(records.bundle_info, max_bytes=2048),
    "recordings": Target(records.recordings, max_bytes=8192),
    "tar": Target(containers.tar, max_bytes=8192),
    "bundle": Target(containers.edited_bundle, max_bytes=256),
    "age": Target(containers.age_file),
}


def content_name(raw: bytes) -> str:
    """The name of an input in the corpus: the first 16 digits of its SHA-256."""
    return hashlib.sha256(raw).hexdigest()[:16]


def corpus(name: str) -> list[Path]:
    """The committed inputs of a target, by name."""
    return sorted((CORPUS / name).iterdir())
