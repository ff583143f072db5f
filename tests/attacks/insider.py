"""What whoever holds the log's key can do: write another log into a bundle, and sign it."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from audit import envelope, merkle, note
from audit.bag import PAYLOAD
from audit.bundle import (
    CHECKPOINT,
    INFO,
    derived,
    envelope_name,
    head_name,
    info_bytes,
    parse_info,
    root_name,
    salt_name,
    tile_name,
)
from audit.bundleread import BundleLog, open_bundle
from audit.envelope import PAYLOAD_TYPE
from audit.evidence import evidence
from audit.logsource import Logged
from audit.record import commitment, entry_bytes, parse_entry
from audit.root import Anchor, load_chain
from audit.signing import PublicKey, SigningKey
from audit.tiles import ENTRIES
from audit.trust import trust
from tests.attacks.attack import Good
from tests.attacks.good import LOG, ORIGIN
from tests.taken import Taken

HEADS = (0, 1, 3, 4, 6)


def rows(taken: Taken) -> list[Logged]:
    """The log in a bundle, entry by entry."""
    size = parse_info(taken.files[PAYLOAD + INFO]).size
    raw, at = taken.files[PAYLOAD + tile_name(ENTRIES, 0, size)], 0
    found: list[Logged] = []
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        seq = len(found)
        salt, sealed = (taken.files.get(PAYLOAD + name(seq)) for name in (salt_name, envelope_name))
        found.append(Logged(seq, raw[at + 2 : at + 2 + length], salt, sealed))
        at += 2 + length
    return found


def relogged(taken: Taken, log: Sequence[Logged], key: SigningKey = LOG, origin: str = ORIGIN) -> Taken:
    """The bundle with this log in place of its own: tiles, heads and the manifest signed anew by `key`."""
    facts = parse_info(taken.files[PAYLOAD + INFO])
    hashes = [merkle.leaf_hash(row.leaf) for row in log]
    parts = (head_name(0)[:-1], "log/tile/", envelope_name(0)[:-6])
    files = {name: raw for name, raw in taken.files.items() if not name.startswith(tuple(PAYLOAD + p for p in parts))}
    made = {
        tile_name(ENTRIES, 0, len(log)): b"".join(len(row.leaf).to_bytes(2, "big") + row.leaf for row in log),
        tile_name(0, 0, len(log)): b"".join(hashes),
        INFO: info_bytes(facts.model_copy(update={"size": len(log), "origin": origin})),
    }
    for size in (*(size for size in HEADS if size < len(log)), len(log)):
        head = note.Checkpoint(origin, size, merkle.root(hashes[:size]))
        made[CHECKPOINT] = made[head_name(size)] = note.sign_checkpoint(head, key)
    for row in log:
        if row.envelope is not None and row.salt is not None:
            made |= {envelope_name(row.seq): row.envelope, salt_name(row.seq): row.salt}
    return replace(taken, files=files | {PAYLOAD + name: raw for name, raw in made.items()}).signed(key)


def committed(seq: int, sealed: bytes, like: Logged, **facts: object) -> Logged:
    """An entry that commits to these bytes, with other facts in its record."""
    salt = LOG.salt(sealed)
    record = parse_entry(like.leaf).model_copy(
        update={"seq": seq, "envelope_sha256": commitment(salt, sealed), **facts}
    )
    return Logged(seq, entry_bytes(record), salt, sealed)


def payload(row: Logged) -> bytes:
    """What the envelope of an entry holds."""
    return base64.b64decode(json.loads(row.envelope or b"")["payload"])


def consistent(taken: Taken, root: PublicKey, key: SigningKey = LOG) -> Taken:
    """The bundle with all that follows from its log made anew: nothing in it contradicts anything else in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.tar"
        path.write_bytes(taken.tar())
        with open_bundle(path) as files:
            facts, chain = parse_info(taken.files[PAYLOAD + INFO]), [taken.files[PAYLOAD + root_name(1)]]
            log = trust(BundleLog(files, facts.origin, facts.size), load_chain(chain, Anchor(root)))
            (run,) = (run for run in log.runs if run.id == facts.run)
            shown = [entry.seq for entry in log.entries() if entry.disclosed is not None]
            made = dict(derived(log, evidence(log, run), chain, shown, light=False))
    derivable = tuple(f"{PAYLOAD}{folder}/" for folder in ("openssl", "log/consistency", "log/proofs"))
    stale = [name for name in taken.files if name.startswith(derivable)]
    return taken.without(*stale).with_files({PAYLOAD + name: raw for name, raw in made.items()}).signed(key)


Change = Callable[[list[Logged]], Iterable[Logged]]


def rewritten(change: Change, key: SigningKey = LOG) -> Callable[[Good], Taken]:
    """The newer bundle with its log changed."""
    return lambda good: relogged(good.bundle, list(change(rows(good.bundle))), key)


def older(change: Change) -> Callable[[Good], Taken]:
    """The older bundle with its log changed."""
    return lambda good: relogged(good.older, list(change(rows(good.older))))


def moved(row: Logged, seq: int) -> Logged:
    """The same entry at another place: another number in its record."""
    return replace(row, seq=seq, leaf=entry_bytes(parse_entry(row.leaf).model_copy(update={"seq": seq})))


def at(seq: int, change: Callable[[Logged], Logged]) -> Change:
    """One entry replaced."""
    return lambda log: [change(row) if row.seq == seq else row for row in log]


def spoken(seq: int, change: Callable[[bytes], bytes], **facts: str) -> Change:
    """The payload of one entry changed, and signed and logged again."""
    return at(seq, lambda row: committed(seq, envelope.seal(change(payload(row)), PAYLOAD_TYPE, LOG), row, **facts))


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """`old`, which must be there, replaced once."""

    def change(raw: bytes) -> bytes:
        assert old in raw
        return raw.replace(old, new, 1)

    return change


def enveloped(change: Callable[[bytes], bytes]) -> Change:
    """The bytes of entry 1's envelope changed, which the entry then commits to."""
    return at(1, lambda row: committed(1, change(row.envelope or b""), row))
