"""A log that grows in memory, and a witness that watches it: what the tests of witnesses share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from audit import merkle
from audit.addcheckpoint import Request
from audit.note import Checkpoint, NoteSignature, sign_checkpoint
from audit.root import first_root
from audit.signing import SigningKey
from audit.witness import Witness

ROOT, LOG, EVE = (SigningKey.from_seed(bytes([number]) * 32) for number in (1, 2, 9))
ORIGIN, NAME, TIME = "client.example/log", "client.example/witness", 1_700_000_000
CHAIN = (first_root(ORIGIN, LOG.public, [ROOT.public]).sign(ROOT, LOG).to_bytes(),)
ANCHOR = ROOT.public.to_pem()


@dataclass
class Log:
    """Leaves, and heads over any number of them; a fork has other leaves from some number on."""

    key: SigningKey = LOG
    origin: str = ORIGIN
    leaves: list[bytes] = field(default_factory=lambda: [merkle.leaf_hash(bytes([n])) for n in range(64)])

    def fork(self, size: int) -> Log:
        """A log whose leaves differ from leaf `size` on."""
        others = [merkle.leaf_hash(b"fork" + bytes([n])) for n in range(64)]
        return Log(self.key, self.origin, self.leaves[:size] + others[size:])

    def head(self, size: int) -> bytes:
        """The signed head of this size."""
        return sign_checkpoint(Checkpoint(self.origin, size, merkle.root(self.leaves[:size])), self.key)

    def request(self, old: int, size: int) -> Request:
        """What this log sends to have the head of `size` cosigned, with an honest proof from `old`."""
        proof = merkle.consistency_proof(self.leaves, old, size) if 0 < old <= size else ()
        return Request(old, proof, self.head(size))


def watching(folder: Path) -> Witness:
    """A witness of the log, in `folder`, that has seen nothing yet."""
    witness = Witness(folder)
    witness.create(NAME)
    witness.pin(ANCHOR, CHAIN)
    return witness


def seen(witness: Witness) -> int:
    """The size that the witness saw last; 0 if none."""
    head = witness.head(ORIGIN)
    return 0 if head is None else head.size


def cosign(witness: Witness, log: Log, old: int, size: int) -> NoteSignature:
    """The witness's cosignature of the log's head of this size."""
    return witness.add(log.request(old, size), TIME)
