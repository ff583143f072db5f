"""The bundle: one run of one forecast with all that a stranger needs to check it, as a BagIt bag in a tar.

    <forecast>-<run>/                    the one folder of the tar; the run by its first 12 digits
      VERIFY.md, verify.html             how to check it without us; manifest-sha256.txt.sig signs the manifest
      data/bundle.json                   what this is (`BundleInfo`)
      data/trust/<n>.root.json           the root of trust, every version
      data/log/checkpoint                the latest head, with the witnesses' cosignatures
      data/log/heads/<size>              the heads of the entries disclosed; log/timestamps/<size>-<n>.tsr, tokens
      data/log/tile/...                  the whole tree and every entry, as C2SP tlog-tiles
      data/log/proofs/<seq>.tlog-proof   inclusion of each entry that is disclosed, under the latest head
      data/log/consistency/<a>-<b>.json  from the head of the registration to that of the seal to the latest
      data/envelopes/<seq>.json, .salt   what those entries commit to
      data/expected.sha256               every file of every artifact, by its digest
      data/artifacts/<forecast>/...      the artifacts; with --light only the registered specification and receipts
      data/source.sha256, data/source/   the recorded source: code, inputs, registry, prompts, parameters, lock file
      data/openssl/...                   the same keys, signatures and signed bytes, each in a file of its own

Nearly all of it follows from the log: `derived` gives those files, to be written, or to be compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, TypeAdapter

from audit import model
from audit.canonical import decode_base64, encode
from audit.digest import Sha256
from audit.envelope import Envelope, pae
from audit.evidence import Evidence
from audit.logsource import Log
from audit.model import Count, Frozen, Name, Text
from audit.note import parse_note
from audit.proof import proof_bytes, prove
from audit.receipt import receipt_bytes
from audit.resource import Subject
from audit.root import parse_root
from audit.run import SEAL, receipt_name, statement_name
from audit.statement import core_bytes, statement_bytes
from audit.tiles import ENTRIES, WIDTH, consistency, layout, pack, tile_path
from audit.trust import TrustedLog
from audit.trustedentry import Disclosed, TrustedEntry

FORMAT: Final = "urn:noptik:bundle:v1"
INFO, EXPECTED, SOURCE_LISTING = "bundle.json", "expected.sha256", "source.sha256"
SOURCE = "source/"
CHECKPOINT = "log/checkpoint"
GUIDE, PAGE, SIGNATURE = "VERIFY.md", "verify.html", "manifest-sha256.txt.sig"

File: TypeAlias = tuple[str, bytes]  # a name below data/, and the contents


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    if list(names) != sorted(set(names)):
        raise ValueError("unsorted, or one of them twice")
    return names


class BundleInfo(Frozen):
    """Which run this is the bundle of, in which log at which size, and what was left out on purpose.

    `seq` is the entry of the run's seal. `withheld` are the words that --withhold was given
    (`audit.bundlewithheld`), sorted.
    """

    format: Literal["urn:noptik:bundle:v1"] = FORMAT
    origin: Text
    forecast: Name
    run: Sha256
    seq: Count
    size: Count
    light: bool
    withheld: Annotated[tuple[Name, ...], AfterValidator(_sorted)]
    guide_sha256: Sha256
    page_sha256: Sha256

    @property
    def folder(self) -> str:
        """The one folder of the tar."""
        return f"{self.forecast}-{self.run[:12]}"

    @property
    def identifier(self) -> str:
        """The bag's External-Identifier."""
        return f"{self.origin}/{self.forecast}/{self.run}"


_INFO = TypeAdapter(BundleInfo)
ENVELOPE = TypeAdapter(Envelope)


def info_bytes(info: BundleInfo) -> bytes:
    """The canonical JSON of `info`."""
    return model.to_bytes(info)


def parse_info(raw: bytes, where: str = INFO) -> BundleInfo:
    """The facts whose `info_bytes` is `raw`; Malformed if there are none."""
    return model.from_bytes(_INFO, raw, where, max_bytes=65_536)


def shown_artifacts(log: TrustedLog, known: Evidence) -> list[Subject]:
    """The artifacts of the run whose statements are disclosed."""
    stated = [log.entry(stage.sha256) for stage in known.run.stages]
    names = {subject.name for entry in stated if entry for subject in entry.require().statement.subject}
    names |= {subject.name for subject in known.registered}
    return [subject for subject in known.artifacts if subject.name in names]


def root_name(version: int) -> str:
    """Where a version of the root of trust lies."""
    return f"trust/{version}.root.json"


def head_name(size: int) -> str:
    """Where the signed head of this size lies."""
    return f"log/heads/{size}"


def timestamp_name(size: int, number: int) -> str:
    """Where one of the RFC 3161 tokens over the head of this size lies."""
    return f"log/timestamps/{size}-{number}.tsr"


def tile_name(level: int | str, index: int, size: int) -> str:
    """Where a tile of the tree of `size` leaves lies; `level` may be `tiles.ENTRIES`."""
    below = size if level == ENTRIES else size >> 8 * int(level)
    return "log/" + tile_path(level, index, min(WIDTH, below - index * WIDTH))


def envelope_name(seq: int) -> str:
    """Where an entry's envelope lies."""
    return f"envelopes/{seq}.json"


def salt_name(seq: int) -> str:
    """Where its salt lies."""
    return f"envelopes/{seq}.salt"


def derived(
    log: TrustedLog, known: Evidence, chain: Sequence[bytes], disclosed: Iterable[int], *, light: bool
) -> Iterator[File]:
    """Every file that follows from the log, the run and the root of trust `chain`: name and contents.

    `log` shows the envelopes of the entries in `disclosed`, and no others.
    """
    yield from _receipts(known)
    yield from _consistency(log, known)
    yield from _openssl_roots(chain)
    yield from _openssl_head(log)
    shown = {stage.sha256 for stage in known.run.stages}
    for entry in map(log.at, disclosed):
        told = entry.require()
        yield from _openssl_entry(entry, told)
        if not entry.void:
            yield f"log/proofs/{entry.seq}.tlog-proof", proof_bytes(prove(log, entry.seq, chain))
        if not light and told.core in shown:
            yield statement_name(known.run.forecast, told.about.stage), core_bytes(told.statement)


def log_files(log: Log, size: int) -> Iterator[File]:
    """The log itself: heads, tiles, envelopes with their salts, and every entry, in bundles of 256.

    In a bundle of entries each comes after its length, 2 bytes big-endian (C2SP tlog-tiles).
    """
    yield from ((head_name(head), note) for head, note in log.heads())
    yield from ((tile_name(level, index, size), log.tile(level, index)) for level, index, _ in layout(size))
    entries = log.entries()
    for index in range(-(-size // WIDTH)):
        leaves = []
        for entry in islice(entries, WIDTH):
            leaves.append(entry.leaf)
            if entry.envelope is not None and entry.salt is not None:
                yield envelope_name(entry.seq), entry.envelope
                yield salt_name(entry.seq), entry.salt
        yield tile_name(ENTRIES, index, size), pack(leaves)


def log_names(size: int, heads: Iterable[int], disclosed: Iterable[int]) -> Iterator[str]:
    """The names of `log_files`."""
    yield from map(head_name, heads)
    yield from (tile_name(level, index, size) for level, index, _ in layout(size))
    yield from (tile_name(ENTRIES, index, size) for index in range(-(-size // WIDTH)))
    yield from (name(seq) for seq in disclosed for name in (envelope_name, salt_name))


def _receipts(known: Evidence) -> Iterator[File]:
    yield receipt_name(known.run.forecast, SEAL), receipt_bytes(known.seal)
    if known.registration is not None:
        yield receipt_name(known.run.forecast, "register"), receipt_bytes(known.registration)


def _consistency(log: TrustedLog, known: Evidence) -> Iterator[File]:
    """The proof that each of three heads is a prefix of the next: of the registration, of the seal, the latest."""
    first = [] if known.registration is None else [known.registration.tree_size]
    sizes = sorted({*first, known.seal.tree_size, log.head.size})
    for old, new in pairwise(sizes):
        proof = [node.hex() for node in consistency(log.log.tile, old, new)]
        yield f"log/consistency/{old}-{new}.json", encode({"first": old, "proof": proof, "second": new})


def _openssl_roots(chain: Sequence[bytes]) -> Iterator[File]:
    """Of each root.json the signed bytes and the signatures; and every key that any of them names, as PEM."""
    keys: dict[Sha256, bytes] = {}
    for number, raw in enumerate(chain, 1):
        file = parse_root(raw, root_name(number))
        yield f"openssl/{number}.root.signed", model.to_bytes(file.signed)
        for signature in file.signatures:
            yield f"openssl/{number}.root.{signature.keyid}.sig", bytes.fromhex(signature.sig)
        keys |= {key.key_id: key.to_pem() for key in (*file.root_keys, file.log_key)}
    yield from ((f"openssl/{key_id}.pem", pem) for key_id, pem in keys.items())


def _openssl_head(log: TrustedLog) -> Iterator[File]:
    note = parse_note(log.note)
    yield "openssl/checkpoint.text", note.text.encode()
    mine = log.keys.span(log.head.size).key.note_key_id(log.head.origin)
    signature = next(line.signature for line in note.signatures if line.key_id == mine)
    yield "openssl/checkpoint.sig", signature


def _openssl_entry(entry: TrustedEntry, told: Disclosed) -> Iterator[File]:
    name = envelope_name(entry.seq)
    envelope = model.from_bytes(ENVELOPE, told.envelope, name)
    yield f"openssl/{entry.seq}.leaf", entry.leaf
    yield f"openssl/{entry.seq}.pae", pae(envelope.payload_type, statement_bytes(told.statement))
    yield f"openssl/{entry.seq}.sig", decode_base64(envelope.signatures[0].sig, name)
