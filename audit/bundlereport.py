"""What is known of a bundle that was verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audit.bundle import BundleInfo
from audit.cosignature import Cosignature
from audit.evidence import Evidence
from audit.note import Checkpoint
from audit.trustroot import TrustRoot


@dataclass(frozen=True, slots=True)
class Seen:
    """Who of the demanded witnesses cosigned the head, and by when a head that covers the run existed, if asked for."""

    cosignatures: tuple[Cosignature, ...] = ()
    sealed_by: int | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """An RFC 3161 token in the file `name`, over the head `note` of this size."""

    name: str
    size: int
    note: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What was verified: the bundle, its log's keys and head, the run, and how much was hashed.

    `withheld` counts the entries whose envelopes are not here, by kind; `unchecked` says what could not be checked,
    and why. `note` is the latest head as the log signed it, `checkpoint` the same with cosignatures; these and the
    `stamps` are judged by what the reader demands, and `seen` is what came of it.
    """

    info: BundleInfo
    keys: TrustRoot
    head: Checkpoint
    known: Evidence
    files: int
    size: int
    withheld: Mapping[str, int]
    void: int
    unchecked: tuple[str, ...]
    note: bytes
    checkpoint: bytes
    stamps: tuple[Stamp, ...]
    seen: Seen
