"""BagIt 1.0 (RFC 8493): a folder that lists its own files, the payload under `data/` and the tag files beside it.

    bagit.txt                the version, always these two lines
    bag-info.txt             which bag this is, and how many bytes and files its payload has
    manifest-sha256.txt      the SHA-256 of every file under data/: `sha256sum -c --strict` checks it
    tagmanifest-sha256.txt   the same for every tag file but itself

Manifests are sorted, so that equal files give equal bytes. Checking is strict: the files are exactly those listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit.canonical import require_bytes
from audit.digest import Sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed
from audit.source import listing, parse_listing

BAGIT, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PAYLOAD = "data/"
DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"  # RFC 8493 2.1.1


def info(identifier: str, sizes: Mapping[str, int]) -> bytes:
    """The bag-info.txt (RFC 8493 2.2.2) of the payload files of these sizes in bytes; no date: it would vary."""
    return f"External-Identifier: {identifier}\nPayload-Oxum: {sum(sizes.values())}.{len(sizes)}\n".encode()


def manifest(digests: Mapping[str, Sha256]) -> bytes:
    """The manifest of these files: what `sha256sum` prints for them, sorted by name (RFC 8493 2.1.3)."""
    return listing(digests.items())


def parse_manifest(raw: bytes, where: str) -> dict[str, Sha256]:
    """The digests by name whose `manifest` is `raw`; Malformed if there are none."""
    return dict(parse_listing(raw, where))


def listed(raw: bytes) -> dict[str, Sha256]:
    """As `parse_manifest` of the tag manifest; empty if it is none."""
    try:
        return parse_manifest(raw, TAG_MANIFEST)
    except Malformed:
        return {}


def require_manifest(digests: Mapping[str, Sha256], raw: bytes, where: str) -> None:
    """Returns only if the manifest `raw` lists exactly the files found, each with the digest it was found to have.

    Inconsistent, naming the file: deleted or extra. DigestMismatch, naming it: other bytes. Malformed: no manifest.
    """
    listed = parse_manifest(raw, where)
    for name, expected in listed.items():
        if name not in digests:
            raise Inconsistent("file deleted", name, f"a file of {expected}, which {where} lists", "no such file")
        if digests[name] != expected:
            raise DigestMismatch("file differs from its digest", name, expected, digests[name])
    for name in digests:
        if name not in listed:
            raise Inconsistent("extra file", name, f"none that {where} does not list", digests[name])


def require_tags(
    digests: Mapping[str, Sha256], sizes: Mapping[str, int], small: Mapping[str, bytes], identifier: str
) -> None:
    """Returns only if the bag's own tag files are those of its payload, and the tag manifest lists every tag file.

    `digests` and `sizes` are of all files there are; `small` holds the bytes of the bag's own. The tag manifest is
    signed by nobody, so it is compared last, and is what is wrong if it differs. Malformed, or Inconsistent, naming
    the file.
    """
    for name in (BAGIT, INFO, TAG_MANIFEST):
        if name not in small:
            raise Inconsistent("file deleted", name, "a file that every bag has", "no such file")
    payload = {name: size for name, size in sizes.items() if name.startswith(PAYLOAD)}
    tags = {name: digest for name, digest in digests.items() if name not in payload and name != TAG_MANIFEST}
    require_bytes(small[BAGIT], DECLARATION, "not the declaration of BagIt 1.0", BAGIT)
    require_bytes(small[INFO], info(identifier, payload), "not the information of this payload", INFO)
    require_bytes(small[TAG_MANIFEST], manifest(tags), "not the manifest of the tag files", TAG_MANIFEST)
