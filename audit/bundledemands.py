"""What a reader may demand of a verified bundle beyond its own consistency: witnesses, freshness, proof of time.

A log that shows different heads to different readers, or keeps showing an old one, is consistent each time. Only
others can tell: witnesses who cosign what extends the last they saw, and authorities who say when a head existed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.x509 import Certificate

from audit import policy
from audit.bag import PAYLOAD
from audit.bundle import CHECKPOINT
from audit.bundlereport import BundleReport, Seen, Stamp
from audit.errors import BadSignature
from audit.note import Verifier
from audit.policy import Policy
from audit.timestamp import verify_timestamp


@dataclass(frozen=True, slots=True)
class Demands:
    """A quorum of witnesses, who cosigned at `not_before` (seconds since the Epoch) or later; and a token of time.

    `tsa_roots` are the certificates of timestamp authorities; none: no token is asked for.
    """

    policy: Policy = Policy()  # noqa: RUF009 - frozen, without a quorum
    not_before: int = 0
    tsa_roots: Sequence[Certificate] = ()


def require(demands: Demands, report: BundleReport) -> Seen:
    """What others say of the bundle's log, returned only if it is what is demanded.

    BadSignature: the quorum is not met, or no token of an authority under the given roots covers the run. Malformed or
    DigestMismatch: a token is damaged, or of another head.
    """
    cosigned = policy.check(demands.policy, report.checkpoint, PAYLOAD + CHECKPOINT, not_before=demands.not_before)
    return Seen(cosigned, _earliest(demands.tsa_roots, report) if demands.tsa_roots else None)


def _earliest(roots: Sequence[Certificate], report: BundleReport) -> int:
    covering = [stamp for stamp in report.stamps if stamp.size > report.known.run.seq]
    times = [time for stamp in covering if (time := _time(stamp, roots, report)) is not None]
    if not times:
        found = f"{len(covering)} tokens of others" if covering else "no token"
        raise BadSignature("no timestamp under the given root covers the run", "bundle", "a token", found)
    return min(times)


def _time(stamp: Stamp, roots: Sequence[Certificate], report: BundleReport) -> int | None:
    """The token's time; None if another authority gave it."""
    verifier = Verifier(report.keys.origin, report.keys.span(stamp.size).key)
    try:
        return verify_timestamp(stamp.token, stamp.note, verifier, roots, PAYLOAD + stamp.name)
    except BadSignature:
        return None


def moment(seconds: int) -> str:
    """The UTC time of these seconds since the Epoch (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
