"""One entry of the log: a small record that commits to an envelope by a salted digest.

The envelope and its salt lie beside the log, so that both can be withheld and every proof still holds: without
the salt, nobody can test a guess of a withheld envelope against the digest. With both, coreutils check it:

    cat 7.salt 7.json | sha256sum
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from audit import merkle, model
from audit.digest import Sha256, sha256
from audit.errors import Malformed, Usage
from audit.model import Count, Frozen, Name, RunId, Text

SALT_BYTES = 32
MAX_ENTRY_BYTES = 65_534  # C2SP tlog-tiles: an entry's length is a uint16; stay under its largest value


class Entry(Frozen):
    """What leaf number `seq` says: an envelope of this digest and payload type was sealed, as this `kind`.

    `envelope_sha256` is `commitment(salt, envelope)`; `previous_run` is the run this one follows, None for the
    first.
    """

    kind: Name
    seq: Count
    envelope_sha256: Sha256
    payload_type: Annotated[Text, Field(max_length=200)]
    previous_run: RunId | None = None


_ENTRY = TypeAdapter(Entry)


def entry_bytes(entry: Entry) -> bytes:
    """The canonical JSON of `entry`: the data of its leaf, at most MAX_ENTRY_BYTES."""
    raw = model.to_bytes(entry)
    if len(raw) > MAX_ENTRY_BYTES:
        raise Usage("log entry too long", f"entry {entry.seq}", f"at most {MAX_ENTRY_BYTES} bytes", len(raw))
    return raw


def parse_entry(raw: bytes, where: str = "log entry") -> Entry:
    """The entry whose `entry_bytes` is `raw`; Malformed if there is none."""
    return model.from_bytes(_ENTRY, raw, where, max_bytes=MAX_ENTRY_BYTES)


def commitment(salt: bytes, envelope: bytes) -> Sha256:
    """The digest by which an entry commits to its envelope: SHA-256 of the salt followed by the envelope.

    `salt` has SALT_BYTES, or none for an entry of the first schema; Malformed otherwise, so that no byte can
    move from one part to the other.
    """
    if len(salt) not in (0, SALT_BYTES):
        raise Malformed("salt of the wrong size", "salt", f"{SALT_BYTES} bytes or none", f"{len(salt)} bytes")
    return sha256(salt + envelope)


def leaf(entry: Entry) -> bytes:
    """The leaf hash of `entry` in the log's tree (RFC 6962 2.1)."""
    return merkle.leaf_hash(entry_bytes(entry))
