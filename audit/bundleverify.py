"""A bundle verified from nothing but its bytes and the reader's anchor; no database, no network, nothing extracted.

In this order, so that what is named as wrong is what is wrong, and nothing is believed before it is signed:

 1. the tar is one of ours, and every byte is hashed
 2. the root of trust leads from the anchor to the log's keys
 3. the manifest is signed by the log's active key; the payload is exactly what it lists; the tag files follow
 4. the log keeps every rule of `audit.trust`, and holds the head that the reader kept from an earlier bundle
 5. the run is in it; artifacts and source are those that its seal names
 6. every other file is what follows from the log; there is no file beyond those
 7. witnesses and timestamp authorities say of the log what the reader demands (`audit.bundledemands`)

What was withheld is not checked and is listed as `unchecked`: one line for each thing that rests on it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from audit import bag, durable, sshsig
from audit.bag import PAYLOAD
from audit.bundle import (
    CHECKPOINT,
    EXPECTED,
    GUIDE,
    INFO,
    PAGE,
    SIGNATURE,
    SOURCE,
    BundleInfo,
    derived,
    envelope_name,
    log_names,
    parse_info,
    root_name,
    timestamp_name,
)
from audit.bundlecontents import require_artifacts, require_source
from audit.bundledemands import Demands, require
from audit.bundleread import MAX_LISTING_BYTES, BundleLog, Files, open_bundle
from audit.bundlereport import BundleReport, Seen, Stamp
from audit.digest import Sha256, sha256
from audit.errors import BadSignature, DigestMismatch, Inconsistent, Malformed, readers_own
from audit.evidence import Evidence, evidence
from audit.filelock import locked
from audit.kepthead import KeptHead
from audit.note import parse_checkpoint, parse_note
from audit.root import MAX_ROOT_BYTES, Anchor, load_chain
from audit.trust import TrustedLog, trust
from audit.trustroot import TrustRoot

MAX_SIGNATURE_BYTES = 4096
MAX_ANSWER_BYTES = 2**16
LOCK_SECONDS = 30.0
_TAGS = (bag.BAGIT, bag.INFO, bag.MANIFEST, SIGNATURE, GUIDE, PAGE)


def verify_bundle(path: Path, anchor: Anchor, kept: Path | None = None, demands: Demands | None = None) -> BundleReport:
    """What holds, returned only if everything does. Tampered, naming the file: the first thing that is wrong.

    `kept` is a file with the last head of this log that the reader has seen, if there is one: the bundle's log must
    hold it, and afterwards the file holds the bundle's head, and `kept`.root.json beside it the latest root of trust,
    which may only be followed. So an older bundle (rollback), or a log with another past (fork), is Inconsistent with
    what was seen before, whoever's key signed it. `demands` are those of `audit.bundledemands`.
    """
    with open_bundle(path) as files:
        if kept is None:
            return check_bundle(files, anchor, demands=demands)
        with locked(kept.with_name(f".{kept.name}.lock"), LOCK_SECONDS, "the kept head"):
            known = KeptHead(kept).read()
            if known is not None:
                with readers_own():
                    parse_checkpoint(parse_note(known, str(kept)).text, str(kept))
            report = check_bundle(files, anchor, () if known is None else (known,), demands)
            chain, beside = _chain(files), kept.with_name(f"{kept.name}.root.json")
            root = durable.read(beside, MAX_ROOT_BYTES)
            if root is not None and root not in chain:
                what = "an older root of trust than was seen before, or another"
                raise Inconsistent(what, f"{PAYLOAD}trust", f"SHA-256 {sha256(root)}", f"{len(chain)} versions")
            durable.replace(beside, chain[-1])
            KeptHead(kept).keep(report.note)
            return report


def check_bundle(
    files: Files, anchor: Anchor, kept: Sequence[bytes] = (), demands: Demands | None = None
) -> BundleReport:
    """As `verify_bundle`, of a bundle that is open; its log must hold the heads in `kept`."""
    chain = _chain(files)
    keys = load_chain(chain, anchor, f"{PAYLOAD}trust")
    _require_signed(files, keys)
    bag.require_manifest(_payload(files), files.read(bag.MANIFEST, MAX_LISTING_BYTES), bag.MANIFEST)
    info = parse_info(files.data(INFO, MAX_SIGNATURE_BYTES), PAYLOAD + INFO)
    _require_tags(files, info)
    hidden: Counter[str] = Counter()
    log = trust(
        BundleLog(files, info.origin, info.size),
        keys,
        visit=lambda entry: hidden.update([entry.record.kind] if entry.disclosed is None else []),
        kept=kept,
    )
    known = _run(log, info)
    disclosed = _disclosed(files)
    names = _Names(files)
    for name, contents in derived(log, known, chain, disclosed, light=info.light):
        names.require(name, sha256(contents), "what follows from the log")
    missing, expected = require_artifacts(files, log, known, info)
    without, source = require_source(files, known, info)
    names.take(log_names(info.size, (size for size, _ in log.log.heads()), disclosed))
    names.take([INFO, CHECKPOINT, EXPECTED, *expected, *source, *map(root_name, range(1, len(chain) + 1))])
    stamps = _stamps(files, log)
    names.take(stamp.name for stamp in stamps)
    names.require_none_left()
    report = BundleReport(
        info=info,
        keys=keys,
        head=log.head,
        known=known,
        files=len(files.digests),
        size=sum(files.sizes.values()),
        withheld=dict(sorted(hidden.items())),
        void=log.void,
        unchecked=(*_unchecked(log, known, info, hidden), *without, *missing),
        note=log.note,
        checkpoint=_checkpoint(files, log),
        stamps=stamps,
        seen=Seen(),
    )
    return replace(report, seen=require(demands or Demands(), report))


class _Names:
    """The payload's names, each to be accounted for once."""

    def __init__(self, files: Files) -> None:
        self._digests = files.digests
        self._left = set(files.payload)

    def require(self, name: str, expected: Sha256, what: str) -> None:
        """Returns only if the file has this digest; it is accounted for then."""
        found = self._digests.get(PAYLOAD + name)
        if found is None:
            raise Inconsistent("file missing", PAYLOAD + name, what, "no such file")
        if found != expected:
            raise DigestMismatch(f"file is not {what}", PAYLOAD + name, expected, found)
        self._left.discard(name)

    def take(self, names: Iterable[str]) -> None:
        """These are accounted for; each that is not there is an error."""
        for name in names:
            if PAYLOAD + name not in self._digests:
                raise Inconsistent("file missing", PAYLOAD + name, "a file of the bundle", "no such file")
            self._left.discard(name)

    def require_none_left(self) -> None:
        """Returns only if every file was accounted for."""
        if self._left:
            extra = min(self._left)
            raise Inconsistent("file that no bundle has", PAYLOAD + extra, "none", self._digests[PAYLOAD + extra])


def _chain(files: Files) -> tuple[bytes, ...]:
    """The files of the root of trust, version 1 first, as many as follow each other."""
    versions = sum(name.startswith("trust/") for name in files.payload)
    return tuple(files.data(root_name(number), MAX_ROOT_BYTES) for number in range(1, max(versions, 1) + 1))


def _require_signed(files: Files, keys: TrustRoot) -> None:
    """The manifest is signed by the log's active key; if not, the tag manifest helps to say which file is wrong."""
    manifest = files.read(bag.MANIFEST, MAX_LISTING_BYTES)
    signature = files.read(SIGNATURE, MAX_SIGNATURE_BYTES)
    try:
        sshsig.verify(signature, manifest, keys.spans[-1].key, SIGNATURE)
    except BadSignature as error:
        tags = bag.listed(files.read(bag.TAG_MANIFEST, MAX_LISTING_BYTES))
        if tags.get(SIGNATURE) == sha256(signature):
            raise BadSignature(error.what, bag.MANIFEST, error.expected, error.found) from error
        raise


def _payload(files: Files) -> dict[str, Sha256]:
    return {name: digest for name, digest in files.digests.items() if name.startswith(PAYLOAD)}


def _require_tags(files: Files, info: BundleInfo) -> None:
    if files.folder != info.folder:
        raise Inconsistent("folder of another bundle", files.folder, info.folder, files.folder)
    for name, digest in ((GUIDE, info.guide_sha256), (PAGE, info.page_sha256)):
        if name not in files.digests:
            raise Inconsistent("file deleted", name, digest, "no such file")
        if files.digests[name] != digest:
            raise DigestMismatch("file differs from its digest", name, digest, files.digests[name])
    for name in files.digests:
        if not name.startswith(PAYLOAD) and name not in (*_TAGS, bag.TAG_MANIFEST):
            raise Inconsistent("extra file", name, "none that no bundle has", files.digests[name])
    own = (bag.BAGIT, bag.INFO, bag.TAG_MANIFEST)
    small = {name: files.read(name, MAX_LISTING_BYTES) for name in own}
    bag.require_tags(files.digests, files.sizes, small, info.identifier)
    for name, member in files.tar.members.items():
        if member.executable and not name.startswith(files.member(PAYLOAD + SOURCE)):
            raise Malformed("executable file", name, "none outside the source", "mode 0755")


def _run(log: TrustedLog, info: BundleInfo) -> Evidence:
    ref = next((run for run in log.of(info.forecast) if run.id == info.run), None)
    if ref is None or ref.seq != info.seq:
        found = "no such run, or a void one" if ref is None else f"entry {ref.seq}"
        raise Inconsistent("run not in the log", PAYLOAD + INFO, f"run {info.run} in entry {info.seq}", found)
    return evidence(log, ref)


def _disclosed(files: Files) -> list[int]:
    prefix, suffix = envelope_name(0).split("0")
    numbers = [name.removeprefix(prefix) for name in files.payload if name.startswith(prefix)]
    return sorted(int(number.removesuffix(suffix)) for number in numbers if number.endswith(suffix))


def _checkpoint(files: Files, log: TrustedLog) -> bytes:
    """The file with the latest head: its text, the log's own line, and cosignatures after it."""
    raw = files.data(CHECKPOINT, MAX_LISTING_BYTES)
    head, found = parse_note(log.note, "head"), parse_note(raw, PAYLOAD + CHECKPOINT)
    if found.text != head.text or found.signatures[: len(head.signatures)] != head.signatures:
        raise Inconsistent("not the latest head", PAYLOAD + CHECKPOINT, log.note, raw)
    return raw


def _stamps(files: Files, log: TrustedLog) -> tuple[Stamp, ...]:
    """The tokens over each head, numbered from 0."""
    found = []
    for size, note in log.log.heads():
        for number in count():
            if (name := timestamp_name(size, number)) not in files.payload:
                break
            found.append(Stamp(name, size, note, files.data(name, MAX_ANSWER_BYTES)))
    return tuple(found)


def _unchecked(log: TrustedLog, known: Evidence, info: BundleInfo, hidden: Mapping[str, int]) -> list[str]:
    """What rests on an entry withheld alone; Inconsistent if that is not what `info` says was withheld."""
    lines = []
    said = set(info.withheld)
    if known.registration is None:
        if "register" not in said:
            raise Inconsistent("registration missing, not said to be withheld", PAYLOAD + INFO, "register", said)
        lines.append(f"registration {known.run.registration}: withheld; that it preceded the seal is not shown")
    for stage in known.run.stages:
        if log.entry(stage.sha256) is None:
            if not said & {"stage", stage.stage}:
                raise Inconsistent("statement missing, not said to be withheld", PAYLOAD + INFO, stage.stage, said)
            lines.append(f"statement of stage {stage.stage}: withheld; its inputs and settings are not shown")
    if known.registration is not None and (others := hidden["register"]):
        what = f"specification number: {others} other registrations are withheld, which may be for the same data"
        lines.append(what)
    return lines
