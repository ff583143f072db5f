"""The ledger's file from outside: one writer at a time, and a digest that vouches for it between writes.

    ledger.sqlite.lock             locked (flock) exclusively by the writer, shared by readers
    ledger.sqlite.sha256           the file's SHA-256, as `sha256sum` prints it, while nobody writes
    ledger.sqlite.sha256.pending   the same, of the last state, while somebody writes

What the ledger says is proven by its signatures. The digest covers the rest, such as the unused bytes of a
page, so that no byte of the file can change unnoticed. A crash in the middle of a write leaves the digest
pending: then the file may be either state, and only the signatures decide, until the next write renews the
digest.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.digest import Sha256, sha256_file
from audit.errors import DigestMismatch, Malformed, Unavailable

BUSY_SECONDS = 60
_LINE = re.compile(rb"([0-9a-f]{64})  [^\n]+\n")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """The ledger file's digest as written down and as it is; `interrupted` when a write did not finish."""

    expected: Sha256
    found: Sha256
    interrupted: bool

    def require(self, where: object) -> None:
        """Returns only if the file is as its last writer left it, or that writer was interrupted."""
        if self.expected != self.found and not self.interrupted:
            raise DigestMismatch("ledger file differs from what was written", where, self.expected, self.found)


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """The file at `path` with its lock and digest beside it."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether a ledger was ever finished here: a digest vouches for it, or did until a write began."""
        return bool(self._size(".sha256") or self._size(".sha256.pending"))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside, nobody else reads or writes the file, and it was as its last writer left it.

        If the body succeeds, the digest is renewed; if it raises, the old digest stands again, provided that the
        file is as it was. Errors as `digest` and `FileDigest.require`, unless no ledger was ever
        finished here: then the file is new. Unavailable: busy for BUSY_SECONDS, or not writable. A process
        killed inside, or a failing renewal, leaves the digest pending.
        """
        vouched, pending = self._beside(".sha256"), self._beside(".sha256.pending")
        with _unwritable(self.path), self._lock(fcntl.LOCK_EX):
            whole = self.exists and not pending.exists()
            if self.exists:
                self.digest().require(self.path)
            else:
                self._require_new()
                pending.touch()  # empty: nothing was vouched for before
            if whole:
                vouched.rename(pending)
            self._sync()
            try:
                yield
            except BaseException:
                if whole and pending.read_bytes() == self._line(sha256_file(self.path)):
                    pending.rename(vouched)
                raise
            self._vouch()
            pending.unlink()
            self._sync()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, nobody writes. Unavailable: there is no ledger, or it stays busy for BUSY_SECONDS."""
        if not self.exists and not self._size():
            raise Unavailable("no ledger here", self.path)
        with _unwritable(self.path), self._lock(fcntl.LOCK_SH):
            yield

    def digest(self) -> FileDigest:
        """The file's digest, expected and found; call it under `writing` or `reading`.

        Malformed: the digest's own file is gone or garbled, the ledger's file is gone although vouched for,
        or a journal lies beside a file that nobody was writing.
        """
        if not self._size():
            raise Malformed("ledger file deleted or emptied", self.path, "a database", "nothing")
        if self._beside(".sha256.pending").exists():
            return FileDigest("", sha256_file(self.path), interrupted=True)
        journal = self._beside("-journal")
        if journal.exists() and journal.read_bytes()[:1] not in (b"", b"\0"):  # SQLite would play it back
            raise Malformed("a journal that no write left", journal, "none, or a void one", "a live one")
        return FileDigest(self._vouched(), sha256_file(self.path), interrupted=False)

    def _vouched(self) -> Sha256:
        place = self._beside(".sha256")
        try:
            raw = place.read_bytes()
        except FileNotFoundError:
            raise Malformed("digest of the ledger file deleted", place, "a digest", "no file") from None
        except OSError as error:
            raise Unavailable(f"cannot read: {error.strerror}", place) from error
        match = _LINE.fullmatch(raw)
        if match is None or raw != self._line(match[1].decode()):
            raise Malformed("not a digest of the ledger file", place, f"sha256sum of {self.path.name}", raw[:100])
        return match[1].decode()

    def _vouch(self) -> None:
        draft = self._beside(f".sha256.{secrets.token_hex(8)}")
        with draft.open("xb") as file:
            file.write(self._line(sha256_file(self.path)))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._beside(".sha256"))

    def _line(self, digest: Sha256) -> bytes:
        return f"{digest}  {self.path.name}\n".encode()

    def _require_new(self) -> None:
        """A file that nothing vouches for is no ledger of ours, unless it is what a crashed creation left."""
        if self._size() and not self._beside(".sha256.pending").exists():
            self._vouched()

    def _size(self, suffix: str = "") -> int:
        place = self._beside(suffix)
        return place.stat().st_size if place.exists() else 0

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _sync(self) -> None:
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        """A lock file of its own: closing any descriptor of a database drops SQLite's locks on it (POSIX)."""
        place = self._beside(".lock")
        if how == fcntl.LOCK_SH and not place.exists():  # a copy nobody here ever wrote to
            yield
            return
        flags = os.O_RDONLY if how == fcntl.LOCK_SH else os.O_RDWR | os.O_CREAT
        fd = os.open(place, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + BUSY_SECONDS
            while not _try_lock(fd, how):
                if time.monotonic() > deadline:
                    raise Unavailable("the ledger is busy", self.path, f"free within {BUSY_SECONDS} s", "locked")
                time.sleep(0.005)
            yield
        finally:
            os.close(fd)


def _try_lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _unwritable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot use the ledger: {error.strerror}", error.filename or place) from error
