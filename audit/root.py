"""The root of trust: TUF root.json, one file a version, which says whose signatures count and from which size on.

    keys/root/1.root.json, 2.root.json ...      each signed by the threshold of the one before, and by its own

Glossary
--------
root key    signs root.json; `threshold` of them must. Kept apart from the log key, so that a stolen log key can be
            replaced
log key     signs the log's heads and envelopes; the TUF roles targets, snapshot and timestamp name exactly it
span        from which tree size on a log key signs, and from which on it is void (`audit.trustroot`)
anchor      what a reader was given by another way and starts from: a root key, or a whole root.json

Time plays no part: `expires` is the last moment TUF can write, because sizes decide, not clocks. python-tuf and
securesystemslib verify the signatures; what they leave open (the form of the bytes, the spans) is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from audit import durable
from audit.digest import Sha256, sha256
from audit.errors import BadSignature, Inconsistent, KeyRefused, Malformed, Unavailable, Usage
from audit.rootfile import (
    MAX_ROOT_BYTES,
    MAX_VERSIONS,
    Facts,
    KeyValue,
    Reason,
    Role,
    Roles,
    RootFile,
    RootKey,
    Signed,
    Span,
    metadata,
    parse_root,
    public_key,
)
from audit.signing import PublicKey
from audit.trustroot import TrustRoot

__all__ = [
    "MAX_ROOT_BYTES",
    "Anchor",
    "Reason",
    "RootFile",
    "first_root",
    "follow",
    "load_chain",
    "missing",
    "parse_root",
    "read_anchor",
    "with_log_key",
    "with_root_keys",
]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where trust begins for one reader: a root key, or the bytes of a root.json. `where` names it in messages."""

    trusted: PublicKey | bytes
    where: str = "anchor"

    @classmethod
    def parse(cls, raw: bytes, where: str = "anchor") -> Anchor:
        """The anchor in a file's bytes: public key PEM, or root.json. KeyRefused, Malformed: neither."""
        if raw.startswith(b"-----BEGIN"):
            return cls(PublicKey.from_pem(raw, where), where)
        parse_root(raw, where)
        return cls(raw, where)


def first_root(origin: str, log_key: PublicKey, root_keys: Sequence[PublicKey], threshold: int = 1) -> RootFile:
    """Version 1, unsigned: `log_key` signs the log `origin` from its beginning. Usage if no version can say so."""
    with _declaring(origin):
        facts = Facts(origin=origin, spans=(Span(key=log_key.raw.hex(), first=0),))
        return _declare(1, facts, root_keys, threshold)


def with_log_key(old: RootFile, new: PublicKey, first: int, reason: Reason, void_from: int | None = None) -> RootFile:
    """The version after `old`, unsigned, in which `new` signs from tree size `first` on.

    The key before it is void from `void_from`, or from `first`: where a stolen key is revoked, that may lie in the
    past. Usage if the sizes make no sense, or the key was used before.
    """
    facts, last = old.signed.noptik, old.signed.noptik.spans[-1]
    void = first if void_from is None else void_from
    if reason == "rotated" and void != first:
        raise Usage("a rotated key is void from where the next begins", facts.origin, first, void)
    if void < last.first:
        what = "the log's present key signs from this size on; a key before it has its end, which stays"
        raise Usage(what, facts.origin, f"{last.first} or more", void)
    with _declaring(facts.origin):
        ended = Span(key=last.key, first=last.first, void_from=void, reason=reason)
        grown = Facts(origin=facts.origin, spans=(*facts.spans[:-1], ended, Span(key=new.raw.hex(), first=first)))
        return _declare(old.version + 1, grown, old.root_keys, old.signed.roles.root.threshold)


def with_root_keys(old: RootFile, root_keys: Sequence[PublicKey], threshold: int) -> RootFile:
    """The version after `old`, unsigned, with these root keys and threshold. Usage if they make no role."""
    with _declaring(old.trust.origin):
        return _declare(old.version + 1, old.signed.noptik, root_keys, threshold)


def missing(new: RootFile, old: RootFile | None) -> tuple[str, ...]:
    """What `new` lacks to follow `old` (None: to be the first): one line for each who has not signed; none if whole.

    A threshold counts distinct keys. A new log key must sign, and so must a rotated one; a revoked one need not.
    """
    roots = [new] if old is None else [old, new]
    signed = _verified_ids(new, old)
    lacking = []
    for file in roots:
        role = file.signed.roles.root
        found = sum(keyid in signed for keyid in role.keyids)
        if found < role.threshold:
            lacking.append(f"{found} of {role.threshold} root keys of version {file.version}")
    if old is None or old.log_key != new.log_key:
        outgoing = new.signed.noptik.spans[-2] if old is not None else None
        if new.log_key.key_id not in signed:
            lacking.append("the new log key")
        if (
            old is not None
            and outgoing is not None
            and outgoing.reason == "rotated"
            and old.log_key.key_id not in signed
        ):
            lacking.append("the old log key")
    return tuple(lacking)


def follow(files: Sequence[bytes], where: str = "root of trust") -> tuple[RootFile, ...]:
    """The versions in `files`, from 1 on, each of which rightly follows the one before.

    Malformed: a file is no version. Inconsistent: a version is missing, repeated, of another log, or changes what an
    earlier one said. BadSignature: a version lacks signatures it needs, or carries one that does not verify.
    """
    if not 1 <= len(files) <= MAX_VERSIONS:
        raise Malformed("no chain of versions", where, f"1 to {MAX_VERSIONS} of them", len(files))
    chain: list[RootFile] = []
    for number, raw in enumerate(files, start=1):
        place = f"{where}/{number}.root.json"
        new, old = parse_root(raw, place), chain[-1] if chain else None
        if new.version != number:
            raise Inconsistent("another version of the root of trust", place, number, new.version)
        if old is not None:
            _require_grown(old.signed.noptik, new.signed.noptik, place)
        require_signed(new, old, place)
        chain.append(new)
    return tuple(chain)


def require_signed(new: RootFile, old: RootFile | None, where: str) -> None:
    """Returns only if `new` carries all signatures it needs after `old`, and only good ones; else BadSignature."""
    verified = _verified_ids(new, old)
    bad = [signature.keyid for signature in new.signatures if signature.keyid not in verified]
    if bad:
        raise BadSignature(
            "a signature of no known key, or not over these bytes", where, "good signatures only", bad[0]
        )
    if lacking := missing(new, old):
        raise BadSignature("not signed by all who must", where, "; ".join(lacking), f"{len(verified)} signatures")


def load_chain(files: Sequence[bytes], anchor: Anchor, where: str = "root of trust") -> TrustRoot:
    """What the latest of these versions declares, reached from `anchor` version by version.

    A root key anchors at the first version whose root role lists it and which it has signed; a root.json at the
    version that is these very bytes. Errors as `follow`; BadSignature if the chain does not pass the anchor.
    """
    chain = follow(files, where)
    if isinstance(anchor.trusted, bytes):
        if anchor.trusted not in files:
            raise BadSignature(
                "chain without the trusted root.json", where, f"SHA-256 {sha256(anchor.trusted)}", "others"
            )
    elif not any(_vouches(anchor.trusted, file) for file in chain):
        known = ", ".join(key.key_id for key in chain[0].root_keys)
        raise BadSignature("not signed by the trusted root key", where, anchor.trusted.key_id, known)
    return chain[-1].trust


def _vouches(key: PublicKey, file: RootFile) -> bool:
    return key.key_id in file.signed.roles.root.keyids and any(s.keyid == key.key_id for s in file.signatures)


def _require_grown(old: Facts, new: Facts, where: str) -> None:
    """Returns only if `new` says all that `old` said, and at most one new key; else Inconsistent."""
    if old.origin != new.origin:
        raise Inconsistent("root of trust of another log", where, old.origin, new.origin)
    if old.spans == new.spans:
        return
    kept, before = new.spans[: len(old.spans)], old.spans
    ended = (kept[-1].key, kept[-1].first) == (before[-1].key, before[-1].first)
    if len(new.spans) != len(before) + 1 or kept[:-1] != before[:-1] or not ended:
        raise Inconsistent("what an earlier version said is changed", where, before, new.spans)
    if kept[-1].reason == "rotated" and kept[-1].void_from != new.spans[-1].first:
        raise Inconsistent("a rotated key is void from where the next begins", where, new.spans[-1].first, kept[-1])


@contextmanager
def _declaring(origin: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise Usage(f"no root of trust: {field}: {first['msg']}", origin, found=first["input"]) from None


def _declare(version: int, facts: Facts, root_keys: Sequence[PublicKey], threshold: int) -> RootFile:
    log = public_key(facts.spans[-1].key)
    active = Role(keyids=(log.key_id,), threshold=1)
    keys = {key.key_id: RootKey(keyval=KeyValue(public=key.raw.hex())) for key in (*root_keys, log)}
    root = Role(keyids=tuple(sorted({key.key_id for key in root_keys})), threshold=threshold)
    roles = Roles(root=root, snapshot=active, targets=active, timestamp=active)
    return RootFile(signatures=(), signed=Signed(keys=keys, roles=roles, version=version, noptik=facts))


def _verified_ids(new: RootFile, old: RootFile | None) -> frozenset[Sha256]:
    """The ids of the keys of `new` or `old` that have signed `new`, as python-tuf verifies them."""
    made = metadata(new, f"root version {new.version}")
    payload, signatures = made.signed_bytes, made.signatures
    found: set[Sha256] = set()
    for file in (new,) if old is None else (new, old):
        root = metadata(file, f"root version {file.version}").signed
        for role in ("root", "targets"):
            found |= root.get_verification_result(role, payload, signatures).signed.keys()
    return frozenset(found)


def read_anchor(path: Path) -> Anchor:
    """The anchor in the file at `path`: a root key in PEM, or a root.json.

    Unavailable: not readable. KeyRefused: neither of them.
    """
    try:
        raw = durable.read(path, MAX_ROOT_BYTES)
        if raw is None:
            raise Unavailable("no such file", path, "a root key (PEM) or root.json")
        return Anchor.parse(raw, str(path))
    except Malformed as error:
        raise KeyRefused(f"no anchor: {error.what}", path, error.expected, error.found) from error
