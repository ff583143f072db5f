"""Whose signatures count: the log's name, and which key signed it at which tree sizes.

Sizes, not clocks: entry `seq` first lies in the tree of size `seq + 1`, so the key of that size signs its
envelope, and the key of size n signs the head of size n. A key that was rotated or revoked is void from a size on:

    spans = (KeySpan(A, 0, 11), KeySpan(B, 11, None))    A signed heads 0 to 10 and entries 0 to 9; B the rest

After a revocation that reaches back, `void_from` of one key lies before `first` of the next: what the old key
signed in between is void, and nobody signed it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from audit.errors import BadSignature, Malformed, Usage
from audit.note import Checkpoint, Verifier, open_checkpoint, parse_checkpoint, parse_note
from audit.signing import PublicKey


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A key of the log: it signs trees of `first` entries and more, but is void from `void_from` on."""

    key: PublicKey
    first: int
    void_from: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or (self.void_from is not None and self.void_from < self.first):
            raise Usage("no span of tree sizes", self.key.key_id, "0 <= first <= void_from", str(self))


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """The log `origin` and its keys, as version `version` of the root of trust declares them."""

    origin: str
    spans: tuple[KeySpan, ...]
    version: int = 1

    def __post_init__(self) -> None:
        firsts = [span.first for span in self.spans]
        if not firsts or firsts[0] != 0 or any(a >= b for a, b in pairwise(firsts)):
            raise Usage("key spans out of order", self.origin, "the first from size 0, then rising", firsts)
        for old, new in pairwise(self.spans):
            if old.void_from is None or old.void_from > new.first:
                raise Usage("two keys at one tree size", self.origin, f"void from {new.first} at most", old.void_from)

    @classmethod
    def of(cls, origin: str, key: PublicKey) -> TrustRoot:
        """A log that one key signs from its beginning."""
        return cls(origin, (KeySpan(key, 0),))

    def span(self, size: int) -> KeySpan:
        """The span of the key that signed the tree of this size, void or not."""
        return [span for span in self.spans if span.first <= size][-1]

    def is_void(self, size: int) -> bool:
        """Whether what was signed at this tree size is void: its key was revoked from it on."""
        void_from = self.span(size).void_from
        return void_from is not None and size >= void_from

    def verifier(self, size: int, where: str) -> Verifier:
        """The key of this tree size under the log's name. BadSignature if it is void there."""
        if self.is_void(size):
            span = self.span(size)
            raise BadSignature(
                "signed by a key that was revoked", where, f"key valid at size {size}", f"void from {span.void_from}"
            )
        return Verifier(self.origin, self.span(size).key)

    def open_head(self, raw: bytes, where: str = "checkpoint", *, void: bool = False) -> Checkpoint:
        """The tree head at `raw`, signed by the key of its own size.

        Errors as `note.open_checkpoint`; BadSignature for a void head, unless `void` ones are asked for.
        """
        claimed = parse_checkpoint(parse_note(raw, where).text, where)
        if claimed.origin != self.origin:
            raise Malformed("checkpoint of another log", where, self.origin, claimed.origin)
        verifier = Verifier(self.origin, self.span(claimed.size).key) if void else self.verifier(claimed.size, where)
        return open_checkpoint(raw, verifier, where)
