"""A witness: remembers the last head it saw of each log, and cosigns only what extends it (C2SP tlog-witness).

    witness.pem                private key, mode 0600
    name                       the witness's name
    logs/<log id>/anchor       what the log's root of trust was pinned to: a root key, or a root.json
    logs/<log id>/root/        the root of trust, version by version
    logs/<log id>/head         the last head that was cosigned, with the log's signature
    logs/<log id>/lock         held by who reads and replaces the head

The log id is the first 16 digits of the origin's SHA-256. A head is on disk before its cosignature leaves: a crash
may keep a cosignature from the log, but never lets the witness forget one. A state put back from a backup cannot be
told from the state it was; but a log that shows a later cosignature of this very witness gives it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit import durable, merkle, signing
from audit.addcheckpoint import Request
from audit.cosignature import VKey, cosign, cosignature
from audit.digest import sha256
from audit.errors import BadProof, Inconsistent, KeyRefused, Malformed, Tampered, Unavailable, Usage
from audit.filelock import locked
from audit.note import MAX_NOTE_BYTES, Checkpoint, NoteSignature, Verifier, only, parse_checkpoint, parse_note
from audit.root import MAX_ROOT_BYTES, Anchor, load_chain
from audit.signing import Secret, SigningKey
from audit.trustroot import TrustRoot

BUSY_SECONDS = 20.0
_NAME = re.compile(r"[!-*,-~]{1,200}")  # printable ASCII without spaces and '+': a key name of a signed note


class UnknownLog(Usage):
    """The witness was not told to watch this log."""


class Conflict(Inconsistent):
    """The log's idea of what this witness saw last is not the witness's; `size` is what it saw."""

    def __init__(self, what: str, where: str, size: int, found: object) -> None:
        super().__init__(what, where, size, found)
        self.size = size


class StateDamaged(Inconsistent):
    """What the witness keeps of a log is not what it wrote: it cannot tell what it has seen, and cosigns nothing."""


@dataclass(frozen=True)
class Witness:
    """The witness in `folder`. Make one with `create`, or open one that is there."""

    folder: Path
    passphrase: Secret | None = field(default=None, repr=False, compare=False)

    def create(self, name: str) -> None:
        """Afterwards the witness has a key and this name, for good. Usage: no name, or it has another one."""
        if not _NAME.fullmatch(name):
            raise Usage("not a name for a witness", self.folder, "printable ASCII without spaces or '+'", name)
        signing.load_or_create(self._key_path, self.passphrase)
        durable.create(self.folder / "name", f"{name}\n".encode())
        if self.name != name:
            raise Usage("the witness has another name", self.folder, self.name, name)

    def pin(self, anchor: bytes, chain: tuple[bytes, ...]) -> TrustRoot:
        """Afterwards the witness watches the log of this root of trust, and knows this much of its chain.

        A chain known already may grow, never change. Usage: the log is pinned to another anchor. Inconsistent: the
        chain is not an extension of the known one. Otherwise errors as `root.load_chain`.
        """
        trust = load_chain(chain, Anchor.parse(anchor))
        place = self._place(trust.origin)
        _make(place / "root")
        durable.create(place / "anchor", anchor)
        if durable.read(place / "anchor", MAX_ROOT_BYTES) != anchor:
            raise Usage("the log is pinned to another anchor", place / "anchor")
        with locked(place / "lock", BUSY_SECONDS, "the witness"):
            for number, file in enumerate(chain, start=1):
                path = place / "root" / f"{number}.root.json"
                durable.create(path, file)
                if durable.read(path, MAX_ROOT_BYTES) != file:
                    raise Inconsistent(
                        "another version of the root of trust was pinned before", path, "the same", "another"
                    )
        return trust

    def add(self, request: Request, now: int) -> NoteSignature:
        """The cosignature, at `now` (seconds since the Epoch), of the head that is from then on the last seen one.

        UnknownLog: of no log that is watched. BadSignature: not by the log's key of that size. Malformed: `old` is
        larger than the head. Conflict: `old` is not what was seen last, or that size had another root: a fork.
        BadProof: the head does not extend what was seen. Inconsistent: the request holds a later cosignature of this
        witness than the witness remembers. StateDamaged, Unavailable: the witness cannot do its work.
        """
        key, name = self._key, self.name
        origin = parse_checkpoint(parse_note(request.checkpoint).text).origin
        with locked(self._known(origin) / "lock", BUSY_SECONDS, "the witness"):
            trust = self.trust(origin)
            head = trust.open_head(request.checkpoint)
            self._require_extension(trust, head, request, VKey.cosigner(name, key.public))
            note = only(request.checkpoint, Verifier(origin, trust.span(head.size).key))
            made = cosign(parse_note(note).text, name, key, now)
            durable.replace(self._place(origin) / "head", note)  # before the cosignature leaves
        return made

    def trust(self, origin: str) -> TrustRoot:
        """The root of trust that the log `origin` is pinned to. UnknownLog, StateDamaged."""
        trust = _trust(self._known(origin))
        if trust.origin != origin:
            raise StateDamaged("root of trust of another log", self._known(origin), origin, trust.origin)
        return trust

    def head(self, origin: str) -> Checkpoint | None:
        """The last head that was cosigned, None if none was. UnknownLog, StateDamaged."""
        return self._head(self.trust(origin))

    def origins(self) -> tuple[str, ...]:
        """The logs that are watched, sorted. StateDamaged."""
        places = (path.parent for path in (self.folder / "logs").glob("*/anchor"))
        return tuple(sorted(_trust(place).origin for place in places))

    @property
    def name(self) -> str:
        """The name on its cosignatures. Unavailable: there is no witness here."""
        raw = durable.read(self.folder / "name", 1000)
        if raw is None:
            raise Unavailable("no witness here: make one with `witness init`", self.folder)
        name = raw.decode("ascii", "replace").removesuffix("\n")
        if not _NAME.fullmatch(name):
            raise StateDamaged("not a name for a witness", self.folder / "name", "printable ASCII", raw)
        return name

    @property
    def vkey(self) -> VKey:
        """The public key, for a policy. Errors as `name` and `signing.load`."""
        return VKey.cosigner(self.name, self._key.public)

    @property
    def _key(self) -> SigningKey:
        return signing.load(self._key_path, self.passphrase)

    @property
    def _key_path(self) -> Path:
        return self.folder / "witness.pem"

    def _require_extension(self, trust: TrustRoot, head: Checkpoint, request: Request, me: VKey) -> None:
        """Returns only if `head` may follow what was seen last."""
        seen, old = self._head(trust), request.old
        size = seen.size if seen else 0
        where = f"checkpoint of {trust.origin}"
        if old > head.size:
            raise Malformed("old size beyond the checkpoint's", where, f"at most {head.size}", old)
        mine = cosignature(parse_note(request.checkpoint), me, where)
        if mine is not None and head.size > size:
            raise StateDamaged("this witness cosigned a head it does not remember", where, f"size {size}", head.size)
        if old != size:
            raise Conflict("another head was seen last", where, size, old)
        if seen is not None and head.size == size and head.root != seen.root:
            raise Conflict("another tree of this size was seen before: a fork", where, size, head.root)
        if size == 0:  # everything extends the empty tree, and no proof can say so (C2SP tlog-witness)
            if request.proof:
                raise BadProof("a proof from the empty tree", where, "no hashes", len(request.proof))
        elif seen is not None:
            merkle.verify_consistency(size, head.size, seen.root, head.root, request.proof)

    def _head(self, trust: TrustRoot) -> Checkpoint | None:
        path = self._place(trust.origin) / "head"
        try:
            raw = durable.read(path, MAX_NOTE_BYTES)
            return None if raw is None else trust.open_head(raw, str(path), void=True)
        except Tampered as error:
            raise StateDamaged(error.what, path, error.expected, error.found) from error

    def _place(self, origin: str) -> Path:
        return self.folder / "logs" / sha256(origin.encode())[:16]

    def _known(self, origin: str) -> Path:
        place = self._place(origin)
        if not (place / "anchor").exists():
            raise UnknownLog("a log that is not watched", "witness", "a log given to `witness init`", origin)
        return place


def _trust(place: Path) -> TrustRoot:
    try:
        anchor = durable.read(place / "anchor", MAX_ROOT_BYTES) or b""
        return load_chain(
            tuple(_chain(place / "root")), Anchor.parse(anchor, str(place / "anchor")), str(place / "root")
        )
    except (Tampered, KeyRefused) as error:
        raise StateDamaged(error.what, error.where or place, error.expected, error.found) from error


def _chain(folder: Path) -> Iterator[bytes]:
    number = 1
    while (file := durable.read(folder / f"{number}.root.json", MAX_ROOT_BYTES)) is not None:
        yield file
        number += 1


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder, folder.parent, folder.parent.parent):
            durable.sync_folder(path)
    except OSError as error:
        raise Unavailable(f"cannot keep a log's state: {error.strerror}", folder) from error
