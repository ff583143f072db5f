"""The artifact store: every artifact's bytes under their own SHA-256; a run is rebuilt from it, without DVC.

    store/sha256/ab/<64 hex digits>     mode 0444, appearing whole or not at all
    store/tmp/                          drafts; whatever a crash leaves here is ignored

A directory is one object for each of its files and one for its listing (`<sha256>  <path>` lines, sorted):
the listing's own SHA-256 is the directory's dirHash, so that files and directories are both found by the
digest that their signed statement names. Nothing is linked in or out: an artifact edited in the workspace
must not edit its evidence. Every read hashes what it read; an object that is missing is Unavailable, one that
is wrong is Tampered.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.digest import CHUNK, Digest, Kind, Sha256, digest_path, open_regular, sha256
from audit.durable import sync_folder
from audit.errors import DigestMismatch, Malformed, Unavailable, Usage
from audit.resource import DigestSet
from audit.source import SourceTree, listing, parse_listing

MAX_LISTING_BYTES = 64 * 2**20
_SHA256 = re.compile("[0-9a-f]{64}")
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Store:
    """The store in the folder `root`, which is made by the first `put`."""

    root: Path

    def put(self, path: Path, expected: DigestSet | None = None) -> Digest:
        """Afterwards the file or directory at `path` can be had by its digest, which is returned.

        What is stored is what was hashed, whoever writes to `path` meanwhile. DigestMismatch: the bytes are
        not those of `expected`, or an object already stored under their name is wrong. Otherwise errors as
        `digest_path`.
        """
        digest = digest_path(path)
        if expected is not None and (digest.kind, digest.sha256) != (expected.kind, expected.value):
            raise DigestMismatch("artifact changed", path, expected.value, digest.sha256)
        if digest.kind == "file":
            self._put_file(path, digest.sha256)
        else:
            self._put_files(path, [(entry.name, entry.sha256) for entry in digest.files])
        return digest

    def put_source_tree(self, root: Path, tree: SourceTree) -> Sha256:
        """Afterwards the source tree at `root` can be had by `tree.sha256`, returned. Errors as `put`."""
        self._put_files(root, [(file.path, file.sha256) for file in tree.files])
        return tree.sha256

    def put_bytes(self, data: bytes) -> Sha256:
        """Afterwards `data` can be had by its SHA-256, which is returned."""
        name = sha256(data)
        self._add(name, lambda: iter([data]), "bytes")
        return name

    def read(self, name: Sha256, max_bytes: int = MAX_LISTING_BYTES) -> bytes:
        """The bytes whose SHA-256 is `name`.

        Unavailable if missing, DigestMismatch if wrong, Usage if over `max_bytes`.
        """
        parts, size = [], 0
        for chunk in self._chunks(name):
            parts.append(chunk)
            if (size := size + len(chunk)) > max_bytes:
                raise Usage("object too large to read at once", self._path(name), f"at most {max_bytes} bytes")
        return b"".join(parts)

    def check(self, kind: Kind, name: Sha256) -> int:
        """The number of bytes in the artifact of this digest, each of them re-hashed. Errors as `read`."""
        if kind == "dir":
            return sum(self.check("file", digest) for _, digest in self.listed(name))
        return sum(len(chunk) for chunk in self._chunks(name))

    def names(self) -> Iterator[Sha256]:
        """The name of every object that is there, sorted, none of them read. Malformed: something is no object."""
        for folder in _children(self.root / "sha256"):
            for path in _children(folder):
                if not _SHA256.fullmatch(path.name) or path != self._path(path.name):
                    raise Malformed("not an object of the store", path, "sha256/ab/<64 hexadecimal digits>", path.name)
                yield path.name

    def drafts(self) -> tuple[Path, ...]:
        """What crashes left unfinished; nothing reads it."""
        return tuple(_children(self.root / "tmp"))

    def get(self, kind: Kind, name: Sha256, destination: Path) -> None:
        """Afterwards `destination`, which must not exist, holds exactly the artifact of this digest.

        Its parents are made. A file appears only when whole and right; a directory stays incomplete after an
        error. Errors as `read`; Usage if something is already there.
        """
        if kind == "file":
            self._get_file(name, destination, executable=False)
        else:
            self._get_files(name, destination, frozenset())

    def get_source_tree(self, name: Sha256, destination: Path, executables: Iterable[str] = ()) -> None:
        """As `get` for a directory, with the paths in `executables` made executable."""
        self._get_files(name, destination, frozenset(executables))

    def listed(self, name: Sha256) -> tuple[tuple[str, Sha256], ...]:
        """The (path, sha256) pairs of the directory or source tree of this digest. Errors as `read`."""
        return parse_listing(self.read(name), str(self._path(name)))

    def _path(self, name: Sha256) -> Path:
        if not _SHA256.fullmatch(name):
            raise Usage("not a SHA-256", "store", "64 lowercase hexadecimal digits", ascii(name))
        return self.root / "sha256" / name[:2] / name

    def _put_files(self, root: Path, files: Iterable[tuple[str, Sha256]]) -> None:
        files = list(files)
        for path, digest in files:
            self._put_file(root / path, digest)
        self.put_bytes(listing(files))  # last: a listing is never stored before what it lists

    def _put_file(self, path: Path, expected: Sha256) -> None:
        def chunks() -> Iterator[bytes]:
            with open_regular(path) as fd:
                yield from _read(fd, path)

        self._add(expected, chunks, str(path))

    def _add(self, name: Sha256, chunks: Callable[[], Iterator[bytes]], where: str) -> None:
        """Afterwards the object `name` is stored and right; `chunks` are read only if it was not there."""
        final = self._path(name)
        if final.exists():
            self.check("file", name)
            return
        with _unwritable(self.root):
            self._make_folder(final.parent)
            (self.root / "tmp").mkdir(exist_ok=True)
            with _draft(self.root / "tmp" / f"{name}.{secrets.token_hex(8)}") as draft:
                found = _write(draft, chunks(), 0o444)
                if found != name:
                    raise DigestMismatch("file changed while it was stored", where, name, found)
                draft.rename(final)
            sync_folder(final.parent)

    def _make_folder(self, folder: Path) -> None:
        """Afterwards `folder` is there, and its name on disk with all those above it in the store."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for above in (folder.parent, self.root, self.root.parent):
                sync_folder(above)

    def _chunks(self, name: Sha256) -> Iterator[bytes]:
        """The object's bytes; DigestMismatch after the last if they are wrong: use none before."""
        place = self._path(name)
        state = hashlib.sha256()
        with open_regular(place) as fd:
            for chunk in _read(fd, place):
                state.update(chunk)
                yield chunk
        if state.hexdigest() != name:
            raise DigestMismatch("stored object differs from its name", place, name, state.hexdigest())

    def _get_files(self, name: Sha256, destination: Path, executables: frozenset[str]) -> None:
        pairs = self.listed(name)
        with _unwritable(destination):
            destination.mkdir(parents=True)
        for path, digest in pairs:
            self._get_file(digest, destination / path, executable=path in executables)

    def _get_file(self, name: Sha256, destination: Path, *, executable: bool) -> None:
        with _unwritable(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(destination):
                raise Usage("something is already there", destination)
            with _draft(destination.with_name(f".{secrets.token_hex(8)}.draft")) as draft:
                _write(draft, self._chunks(name), 0o755 if executable else 0o644)
                draft.rename(destination)


def _children(folder: Path) -> list[Path]:
    """What is in `folder`, sorted; nothing if there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise Malformed("not a folder of the store", folder, "a directory", "a file") from error
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", folder) from error


def _read(fd: int, place: Path) -> Iterator[bytes]:
    try:
        while chunk := os.read(fd, CHUNK):
            yield chunk
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", place) from error


def _write(path: Path, chunks: Iterable[bytes], mode: int) -> Sha256:
    """Afterwards a new file at `path` holds `chunks`, on disk, with this `mode`; its SHA-256."""
    state = hashlib.sha256()
    with os.fdopen(os.open(path, _DRAFT, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            state.update(chunk)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    return state.hexdigest()


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """`path`, gone afterwards unless it was renamed."""
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _unwritable(place: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise Usage("something is already there", error.filename or place) from error
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", error.filename or place) from error
