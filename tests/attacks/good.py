"""The good bundle that every attack starts from: a tiny project's second run, and the keys of everybody in the story.

Every key is published here, every fact fixed: the same bytes every time. To stay small, the bundles hold a page of
one line, and say so in what is signed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from audit import note, root
from audit.bag import PAYLOAD
from audit.bundle import INFO, PAGE, info_bytes, parse_info
from audit.bundleplan import Order, Origins
from audit.bundlewrite import write_bundle
from audit.cosignature import VKey, cosign
from audit.digest import sha256
from audit.ledger import Pending
from audit.signing import SigningKey
from tests.audit import ledger_case
from tests.audit.ledger_case import Case
from tests.taken import Taken

ROOT = SigningKey.from_seed(bytes([7]) * 32)  # signs the root of trust; the reader has its public half
LOG = ledger_case.KEY  # signs the log, and the bundle
NEXT = SigningKey.from_seed(bytes([8]) * 32)  # the log's key after a rotation or a revocation
WITNESS = SigningKey.from_seed(bytes([9]) * 32)
STRANGER = SigningKey.from_seed(bytes([10]) * 32)  # in nobody's root of trust
ORIGIN: Final = "noptik.example/client-a"
WITNESS_NAME: Final = "client.example/witness"
SEEN: Final = 1_704_067_200  # when the witness saw the head: the first second of 2024
SECRET: Final = "margin of somebody else: 41 percent"
OTHER: Final = "wholesale"  # a forecast in the same log that this bundle is not of
PAGE_BYTES: Final = b"<!doctype html><title>verify</title>\n"
POLICY = f"witness client {VKey.cosigner(WITNESS_NAME, WITNESS.public)}\nquorum client\n"


def good() -> Mapping[str, bytes]:
    """The files of the good folder, by name: two bundles, the older one of the first run, that one once
    more with most of it withheld, and what a reader has."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        case = _case(folder)
        registered = case.register()
        case.run()
        case.seal(registered)
        older = _bundle(case, folder / "older.tar")
        small = _bundle(case, folder / "small.tar", light=True, withheld=("register", "source", "stage"))
        case.ledger.append([Pending("stage", ledger_case.statement("fit", SECRET, OTHER))])
        (case.root / "data" / "input.csv").write_text("1.5 2.5 4.5")
        shutil.rmtree(case.path("fit"))
        case.run()
        case.seal(registered, second=1)
        newer = _bundle(case, folder / "bundle.tar")
        checkpoint, chain = _head(case), case.home.keyring.chain()
    return {
        "bundle.tar": newer,
        "older.tar": older,
        "small.tar": small,
        "checkpoint": checkpoint,
        "policy": POLICY.encode(),
        "root.pem": ROOT.public.to_pem(),
        "1.root.json": chain[0],
        "2.root.json": revoked(chain[0]),
    }


def revoked(first: bytes) -> bytes:
    """The root of trust's second version: the log's key was stolen, and is void from tree size 2 on."""
    following = root.with_log_key(root.parse_root(first), NEXT.public, 4, "revoked", void_from=2)
    return following.sign(ROOT, NEXT).to_bytes()


def cosignature(checkpoint: bytes, key: SigningKey = WITNESS, time: int = SEEN) -> bytes:
    """The line by which `key`, as the witness of the policy, says that it saw the checkpoint at `time`."""
    return cosign(note.parse_note(checkpoint).text, WITNESS_NAME, key, time).line.encode()


def _case(folder: Path) -> Case:
    first = root.first_root(ORIGIN, LOG.public, [ROOT.public]).sign(ROOT, LOG)
    place = folder / "home" / "keys" / "root"
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    (place / "1.root.json").write_bytes(first.to_bytes())
    return ledger_case.project(folder)


def _head(case: Case) -> bytes:
    with case.home.reader().trusted() as log:
        return note.with_lines(log.note, [cosignature(log.note)])


def _bundle(case: Case, path: Path, light: bool = False, withheld: tuple[str, ...] = ()) -> bytes:
    with case.home.reader().trusted() as log:
        attached = [("cosignature", cosignature(log.note))]
        origins = Origins(
            log, case.home.store, case.home.keyring.chain(), LOG, lambda size: attached if size == log.head.size else ()
        )
        write_bundle(Order(ledger_case.FORECAST, light, withheld), origins, path)
    taken = Taken.apart(path)
    facts = parse_info(taken.files[PAYLOAD + INFO]).model_copy(update={"page_sha256": sha256(PAGE_BYTES)})
    return taken.with_files({PAYLOAD + INFO: info_bytes(facts), PAGE: PAGE_BYTES}).signed(LOG).tar()
