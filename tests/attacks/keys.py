"""Attacks on whose signatures count: stolen keys, keys from inside the bundle, weak keys, a root of trust rewritten."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from audit import envelope, root
from audit.bag import PAYLOAD
from audit.bundle import root_name
from audit.envelope import PAYLOAD_TYPE
from audit.logsource import Logged
from audit.root import RootFile
from audit.signing import SigningKey
from tests.attacks.attack import Attack, Good
from tests.attacks.good import LOG, NEXT, ORIGIN, ROOT, STRANGER
from tests.attacks.insider import committed, consistent, payload, relogged, rows
from tests.taken import Taken

IDENTITY = (b"\1" + bytes(31)).hex()  # the neutral point: a key under which one signature is every message's
NEWEST = "verify bundle.tar --root ../good/2.root.json"


def chained(taken: Taken, chain: Sequence[bytes], key: SigningKey = LOG) -> Taken:
    """The bundle with another root of trust, signed by `key`."""
    files = {PAYLOAD + root_name(number): raw for number, raw in enumerate(chain, 1)}
    return taken.with_files(files).signed(key)


def first(good: Good) -> RootFile:
    """The first version of the root of trust."""
    return root.parse_root(good.files["1.root.json"])


def second(make: Callable[[RootFile], RootFile], key: SigningKey = LOG) -> Callable[[Good], Taken]:
    """The older bundle with a second version of the root of trust."""
    return lambda good: chained(good.older, [good.files["1.root.json"], make(first(good)).to_bytes()], key)


def _rotated(old: RootFile) -> RootFile:
    return root.with_log_key(old, NEXT.public, 4, "rotated")


def _usurped(old: RootFile) -> RootFile:
    """The thief of the log's key makes itself the root key, and signs with all the keys it has."""
    return root.with_root_keys(old, [STRANGER.public], 1).sign(LOG, STRANGER)


def _rebuilt(good: Good) -> Taken:
    """Every signature is the stranger's, and everything agrees: it verifies under the stranger's root key."""
    made = root.first_root(ORIGIN, STRANGER.public, [STRANGER.public]).sign(STRANGER).to_bytes()
    resealed = [_resealed(row) for row in rows(good.older)]
    rebuilt = relogged(chained(good.older, [made], STRANGER), resealed, STRANGER)
    return consistent(rebuilt, STRANGER.public, STRANGER)


def _resealed(row: Logged) -> Logged:
    return committed(row.seq, envelope.seal(payload(row), PAYLOAD_TYPE, STRANGER), row)


def _wrong_root(good: Good) -> Mapping[str, bytes]:
    return {"bundle.tar": _rebuilt(good).tar(), "stranger.pem": STRANGER.public.to_pem()}


def _appended_key(good: Good) -> Taken:
    """The stranger's key among the log's keys of a root.json whose signatures were left as they were."""
    old = first(good)
    forged = root.first_root(ORIGIN, STRANGER.public, [ROOT.public])
    return chained(good.older, [replace_signatures(forged, old).to_bytes()], STRANGER)


def replace_signatures(file: RootFile, other: RootFile) -> RootFile:
    """The file with the signatures of another one."""
    return file.model_copy(update={"signatures": other.signatures})


def _root_bytes(old: bytes, new: bytes) -> Callable[[Good], Taken]:
    def make(good: Good) -> Taken:
        raw = good.files["1.root.json"]
        assert old in raw
        return chained(good.older, [raw.replace(old, new)])

    return make


def _small_order(good: Good) -> Taken:
    return _root_bytes(LOG.public.raw.hex().encode(), IDENTITY.encode())(good)


def _off_the_curve(good: Good) -> Taken:
    """2^255 - 19 + 3 as y: no canonical encoding of any point."""
    odd = (2**255 - 16).to_bytes(32, "little").hex()
    return _root_bytes(LOG.public.raw.hex().encode(), odd.encode())(good)


def _void_heads(good: Good) -> Taken:
    """The new key signs the manifest; the heads are still those of the revoked one."""
    return chained(good.older, [good.files["1.root.json"], good.files["2.root.json"]], NEXT)


def _stolen(good: Good) -> Taken:
    return chained(good.older, [good.files["1.root.json"], good.files["2.root.json"]], LOG)


def _small_anchor(good: Good) -> Mapping[str, bytes]:
    spki = bytes.fromhex("302a300506032b6570032100" + IDENTITY)
    return {"bundle.tar": good.older.tar(), "root.pem": _pem(spki)}


def _pem(spki: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n%b\n-----END PUBLIC KEY-----\n" % base64.b64encode(spki)


FORGE = "heads and statements that only its own key signed"
KEYS = (
    Attack(
        "wrong_root",
        _wrong_root,
        ("data/trust", "not signed by the trusted root key"),
        "made everything anew with a key of its own: with `--root stranger.pem` the bundle verifies.",
        "trust in whatever a bundle says about itself",
    ),
    Attack(
        "key_from_inside",
        _appended_key,
        ("data/trust/1.root.json", "a signature of no known key, or not over these bytes"),
        "wrote its key into root.json as the log's, left the signatures as they were, and signed all the rest.",
        FORGE,
    ),
    Attack(
        "usurped_root",
        second(_usurped),
        ("data/trust/2.root.json", "not signed by all who must", "0 of 1 root keys of version 1"),
        "stole the log's key, and with it alone wrote a second root.json that makes its own key the root key.",
        "the log for ever",
    ),
    Attack(
        "rotated_without_the_old_key",
        second(lambda old: _rotated(old).sign(ROOT, NEXT), NEXT),
        ("data/trust/2.root.json", "the old log key"),
        "rotated the log's key without the old key's signature.",
        "a log whose key seems to have been handed over",
    ),
    Attack(
        "rotated_without_the_new_key",
        second(lambda old: _rotated(old).sign(ROOT, LOG)),
        ("data/trust/2.root.json", "the new log key"),
        "rotated to a key whose holder never signed.",
        "a log bound to a key of somebody else's",
    ),
    Attack(
        "rotated_without_a_root_key",
        second(lambda old: _rotated(old).sign(LOG, NEXT), NEXT),
        ("data/trust/2.root.json", "0 of 1 root keys of version 1"),
        "rotated the stolen log key to one of its own, without the root key.",
        FORGE,
    ),
    Attack(
        "skipped_root_version",
        lambda good: chained(good.older, [good.files["2.root.json"]], NEXT),
        ("data/trust/1.root.json", "another version of the root of trust"),
        "left out the first version of the root of trust.",
        "a chain that begins where it likes",
    ),
    Attack(
        "stolen_key",
        _stolen,
        ("manifest-sha256.txt", "not a signature by the known key"),
        "stole the log's key and signs with it, after the root of trust revoked it from tree size 2 on.",
        "the log of after the theft",
        NEWEST,
    ),
    Attack(
        "void_heads",
        _void_heads,
        ("signed by a key that was revoked", "void from 2"),
        "shows, under the new key's manifest, heads that the stolen key signed after it was void.",
        "the log of after the theft",
        NEWEST,
    ),
    Attack(
        "hidden_revocation",
        lambda good: good.older,
        ("data/trust", "chain without the trusted root.json"),
        "leaves out the root.json that revokes the stolen key; the reader has that file by another way.",
        "a reader who does not learn of the revocation",
        NEWEST,
    ),
    Attack(
        "small_order_log_key",
        _small_order,
        ("data/trust/1.root.json", "small order"),
        "wrote the neutral point into root.json as the log's key: one signature fits every message.",
        FORGE,
    ),
    Attack(
        "noncanonical_log_key",
        _off_the_curve,
        ("data/trust/1.root.json", "not a canonical encoding"),
        "wrote a key of 2^255 - 16 into root.json: not the encoding of a point (RFC 8032 5.1.3).",
        "a key that two verifiers read differently",
    ),
    Attack(
        "another_scheme",
        _root_bytes(b'"scheme":"ed25519"', b'"scheme":"rsa-pkcs1"'),
        ("data/trust/1.root.json", "scheme"),
        "named another scheme for a key in root.json.",
        "a weaker algorithm of its choice",
    ),
    Attack(
        "threshold_of_nobody",
        _root_bytes(b'"threshold":1', b'"threshold":0'),
        ("data/trust/1.root.json", "threshold"),
        "lowered a threshold in root.json to none.",
        "a root of trust that nobody needs to sign",
    ),
    Attack(
        "small_order_anchor",
        _small_anchor,
        ("public key has small order",),
        "gave the reader the neutral point as root key.",
        "an anchor to which every root.json is signed",
        "verify bundle.tar --root root.pem",
        2,
    ),
)
