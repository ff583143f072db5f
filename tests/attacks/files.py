"""Attacks on the files of a bundle, by somebody who holds no key: changed, deleted, added, signed by another."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable

from audit import sshsig
from audit.bag import MANIFEST
from audit.bundle import SIGNATURE
from tests.attacks.attack import Attack, Good
from tests.attacks.good import LOG, STRANGER
from tests.taken import Taken

FIT = "data/artifacts/retail/fit/"
RESULT, CHUNK = FIT + "result.json", FIT + "posterior/c1"
ENTRIES, TILE = "data/log/tile/entries/000.p/3", "data/log/tile/0/000.p/3"
ENVELOPE, PROOF, HEAD = "data/envelopes/1.json", "data/log/proofs/2.tlog-proof", "data/log/checkpoint"
ROOT_FILE, SOURCE = "data/trust/1.root.json", "data/source/stages/replay.py"
DIFFERS, DELETED, EXTRA = "file differs from its digest", "file deleted", "extra file"
UNSIGNED = "signature does not verify"
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 5.1: L


def flipped(raw: bytes, at: int) -> bytes:
    """With the lowest bit of one byte changed."""
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def changed(name: str, at: int = -2) -> Callable[[Good], Taken]:
    """One bit of one file changed."""
    return lambda good: good.older.with_files({name: flipped(good.older.files[name], at)})


def deleted(name: str) -> Callable[[Good], Taken]:
    """One file deleted."""
    return lambda good: good.older.without(name)


def added(name: str, raw: bytes) -> Callable[[Good], Taken]:
    """One file added."""
    return lambda good: good.older.with_files({name: raw})


def signed_with(signature: Callable[[bytes], bytes]) -> Callable[[Good], Taken]:
    """Another signature of the manifest, and a tag manifest that knows it."""
    return lambda good: good.older.with_files({SIGNATURE: signature(good.older.files[MANIFEST])}).tagged()


def _blob(armored: bytes) -> bytes:
    return base64.b64decode(b"".join(armored.split(b"\n")[1:-2]))


def _armored(blob: bytes) -> bytes:
    lines = "\n".join(textwrap.wrap(base64.b64encode(blob).decode(), 70))
    return f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n".encode()


def _large_s(manifest: bytes) -> bytes:
    blob = _blob(sshsig.sign(manifest, LOG))
    s = int.from_bytes(blob[-32:], "little") + ORDER
    return _armored(blob[:-32] + s.to_bytes(32, "little"))


def _another_algorithm(manifest: bytes) -> bytes:
    return _armored(_blob(sshsig.sign(manifest, LOG)).replace(b"\0\0\0\x06sha512", b"\0\0\0\x06sha256"))


def _small_order_key(manifest: bytes) -> bytes:
    """For the key whose point is the identity, R the identity and S = 0 verify for every message."""
    identity, blob = b"\1" + bytes(31), _blob(sshsig.sign(manifest, LOG))
    return _armored(blob.replace(LOG.public.raw, identity)[:-64] + identity + bytes(32))


def _listed_again(good: Good) -> Taken:
    raw = good.older.files[RESULT].replace(b"5", b"6")
    return good.older.with_files({RESULT: raw}).listed()


def _listed_twice(good: Good) -> Taken:
    manifest = good.older.files[MANIFEST]
    line = next(line for line in manifest.splitlines(keepends=True) if line.endswith(f"{RESULT}\n".encode()))
    double = manifest.replace(line, line + b"0" * 64 + line[64:])
    return good.older.with_files({MANIFEST: double, SIGNATURE: sshsig.sign(double, LOG)}).tagged()


def _swapped(good: Good) -> Taken:
    files, other = good.older.files, FIT + "posterior/c2"
    return good.older.with_files({CHUNK: files[other], other: files[CHUNK]})


def _executable(good: Good) -> Taken:
    return Taken(good.older.folder, good.older.files, frozenset({SOURCE}))


KEYLESS = "the number it wants, in a bundle that looks signed"
FILES = (
    Attack("tampered_artifact", changed(RESULT), (RESULT, DIFFERS), "changed one bit of a result.", KEYLESS),
    Attack("tampered_chunk", changed(CHUNK), (CHUNK, DIFFERS), "changed one bit of a chunk of an array.", KEYLESS),
    Attack("tampered_entry", changed(ENTRIES), (ENTRIES, DIFFERS), "changed one bit of a log entry.", "another log"),
    Attack("tampered_tile", changed(TILE), (TILE, DIFFERS), "changed one bit of a hash of the tree.", "another tree"),
    Attack("tampered_envelope", changed(ENVELOPE), (ENVELOPE, DIFFERS), "changed one bit of an envelope.", KEYLESS),
    Attack("tampered_salt", changed("data/envelopes/1.salt"), ("1.salt", DIFFERS), "changed a salt.", KEYLESS),
    Attack(
        "tampered_proof", changed(PROOF), (PROOF, DIFFERS), "changed one bit of a proof.", "a proof of another entry"
    ),
    Attack("tampered_head", changed(HEAD, 40), (HEAD, DIFFERS), "changed the latest signed head.", "another tree"),
    Attack("tampered_source", changed(SOURCE), (SOURCE, DIFFERS), "changed the code.", "a replay that runs its code"),
    Attack(
        "tampered_root",
        changed(ROOT_FILE, 100),
        (ROOT_FILE,),
        "changed one character of a signature in root.json.",
        "a root of trust of its own making, if signatures were not looked at",
    ),
    Attack("tampered_guide", changed("VERIFY.md"), ("VERIFY.md", DIFFERS), "changed VERIFY.md.", "harmful commands"),
    Attack("tampered_page", changed("verify.html"), ("verify.html", DIFFERS), "changed the page.", "a page that lies"),
    Attack("swapped_chunks", _swapped, (CHUNK, DIFFERS), "exchanged the contents of two chunks.", KEYLESS),
    Attack("deleted_artifact", deleted(RESULT), (RESULT, DELETED), "deleted a result.", "silence about it"),
    Attack(
        "deleted_chunk", deleted(CHUNK), (CHUNK, DELETED), "deleted a chunk of an array.", "the fill value in its place"
    ),
    Attack("deleted_envelope", deleted(ENVELOPE), (ENVELOPE, DELETED), "deleted an envelope.", "silence about a stage"),
    Attack("deleted_head", deleted("data/log/heads/1"), ("data/log/heads/1", DELETED), "deleted a head.", "no past"),
    Attack("deleted_manifest", deleted(MANIFEST), (MANIFEST, "missing"), "deleted the manifest.", "no list to keep to"),
    Attack("deleted_signature", deleted(SIGNATURE), (SIGNATURE, "missing"), "deleted the signature.", "no signer"),
    Attack("extra_artifact", added(FIT + "x", b"x"), (FIT + "x", EXTRA), "added a file.", "a result nobody sealed"),
    Attack(
        "extra_chunk", added(FIT + "posterior/c3", b"9"), ("c3", EXTRA), "added a chunk.", "an array of another size"
    ),
    Attack(
        "extra_envelope", added("data/envelopes/3.json", b"{}"), ("3.json", EXTRA), "added an envelope.", "an entry"
    ),
    Attack("extra_tag_file", added("fetch.txt", b""), ("fetch.txt", EXTRA), "added BagIt's fetch.txt.", "a download"),
    Attack(
        "listed_again",
        _listed_again,
        (MANIFEST, UNSIGNED),
        "changed a result and listed everything anew, the signature left as it was.",
        KEYLESS,
    ),
    Attack(
        "listed_twice",
        _listed_twice,
        (MANIFEST, "path listed twice"),
        "listed a file twice with two digests (and somehow got that signed).",
        "two readers that each look at another line",
    ),
    Attack(
        "executable_source",
        _executable,
        (SOURCE, "mode of a source file"),
        "made a source file executable: no digest covers the mode.",
        "a program where there was data",
    ),
    Attack(
        "tampered_signature",
        changed(SIGNATURE, 250),
        (SIGNATURE, UNSIGNED),
        "changed one character of the signature of the manifest.",
        "a signature that is taken for good unchecked",
    ),
    Attack(
        "signed_by_a_stranger",
        signed_with(lambda manifest: sshsig.sign(manifest, STRANGER)),
        (MANIFEST, "not a signature by the known key"),
        "signed the manifest with its own key, which the signature's file names.",
        "trust in a key from inside the bundle",
    ),
    Attack(
        "signed_for_another_use",
        signed_with(lambda manifest: sshsig.sign(manifest, LOG, "git")),
        (MANIFEST, "not a signature by the known key for this use"),
        "took a signature that the key made in another namespace, as if for a git commit.",
        "any signature of the key, for a bundle",
    ),
    Attack(
        "another_algorithm",
        signed_with(_another_algorithm),
        (MANIFEST, "not a signature by the known key"),
        "named another hash in the signature: sha256 for sha512.",
        "a weaker algorithm of its choice",
    ),
    Attack(
        "large_s",
        signed_with(_large_s),
        (MANIFEST, UNSIGNED),
        "added the group's order to S of the signature (RFC 8032 5.1.7 forbids it).",
        "a second signature for the same bytes",
    ),
    Attack(
        "small_order_key",
        signed_with(_small_order_key),
        (MANIFEST, "not a signature by the known key"),
        "signed with the identity as key: R the identity and S zero verify for every message.",
        "one signature for all bundles",
    ),
)
