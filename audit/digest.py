"""SHA-256 of bytes, of files, and of directories (in-toto dirHash), read once, in constant memory.

Only regular files are hashed. A symbolic link, device, socket or pipe, or a name outside `[A-Za-z0-9._/-]`,
is refused rather than skipped: an artifact is exactly the bytes its manifest lists.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import StringConstraints

from audit.errors import Malformed, Unavailable

Sha256: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]
Kind: TypeAlias = Literal["file", "dir"]

CHUNK = 1 << 18
MAX_LEVELS = 64
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hang the open


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One regular file of an artifact: its name (relative, '/'-separated), SHA-256 and size in bytes."""

    name: str
    sha256: Sha256
    size: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What an artifact is: a file's SHA-256 or a directory's dirHash, the sum of sizes, and every file in it.

    `files` is sorted by name; for kind 'file' it holds the one file under its own base name.
    """

    kind: Kind
    sha256: Sha256
    size: int
    files: tuple[Entry, ...]


def sha256(data: bytes) -> Sha256:
    """SHA-256 of `data`, 64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> Sha256:
    """SHA-256 of the regular file at `path`. Malformed if it is anything else, Unavailable if unread.

    The name is not looked at.
    """
    with open_regular(path) as file:
        return _stream(file, str(path))[0]


def dir_hash(path: Path) -> Sha256:
    """The in-toto dirHash of the directory at `path`: what coreutils compute inside it.

    find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum

    Empty directories do not count. Errors as `digest_path`.
    """
    return _dir_hash(_sorted_entries(path))


def manifest(path: Path) -> tuple[Entry, ...]:
    """Every file of the artifact at `path`, sorted by name. Errors as `digest_path`."""
    return digest_path(path).files


def digest_path(path: Path) -> Digest:
    """The digest and manifest of the file or directory at `path`, from one reading of its bytes.

    Malformed: a symbolic link or special file, a name outside `[A-Za-z0-9._-]` or with a leading '-' at the
    top, or more than MAX_LEVELS levels. Unavailable: anything the system would not read, or a file that
    changed while it was read, so that no one digest describes it.
    """
    with _unavailable(str(path)):
        mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        files = _sorted_entries(path)
        return Digest("dir", _dir_hash(files), sum(entry.size for entry in files), files)
    name = _checked(path.name, str(path), top=True)
    with open_regular(path) as file:
        digest, size = _stream(file, str(path))
    return Digest("file", digest, size, (Entry(name, digest, size),))


@contextmanager
def open_regular(path: Path | str, dir_fd: int | None = None, where: str = "") -> Iterator[int]:
    """A descriptor of the regular file at `path` (under `dir_fd`), closed afterwards; no link is followed.

    Malformed if it is a symbolic link or not a regular file; Unavailable if it cannot be opened.
    """
    place = where or str(path)
    try:
        fd = os.open(path, _FILE, dir_fd=dir_fd)
    except OSError as error:
        raise _open_error(error, place) from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise Malformed("not a regular file", place, "a regular file", stat.filemode(mode))
        yield fd
    finally:
        os.close(fd)


def _open_error(error: OSError, place: str) -> Malformed | Unavailable:
    if error.errno == errno.ELOOP:
        return Malformed("a symbolic link", place, "a regular file", "a symbolic link")
    if error.errno == errno.ENXIO:
        return Malformed("a socket or pipe", place, "a regular file", "a special file")
    return _no_access(error, place)


def _no_access(error: OSError, place: str) -> Unavailable:
    return Unavailable(f"cannot read: {error.strerror}", place)


@contextmanager
def _unavailable(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _no_access(error, place) from error


def _stream(fd: int, place: str) -> tuple[Sha256, int]:
    """SHA-256 and length of what is read from `fd`; Unavailable if the file is written to meanwhile."""
    state, size = hashlib.sha256(), 0
    with _unavailable(place):
        before = os.fstat(fd)
        while chunk := os.read(fd, CHUNK):
            state.update(chunk)
            size += len(chunk)
        after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise Unavailable("file changed while it was hashed", place, f"{before.st_size} bytes", f"{size} bytes")
    return state.hexdigest(), size


def _checked(name: str, place: str, *, top: bool) -> str:
    if not _NAME.fullmatch(name):
        raise Malformed("file name not allowed", place, "only A-Z a-z 0-9 . _ -", ascii(name))
    if top and name.startswith("-"):  # sha256sum would take it for an option or for its standard input
        raise Malformed("file name not allowed", place, "no leading '-'", ascii(name))
    return name


def _sorted_entries(path: Path) -> tuple[Entry, ...]:
    return tuple(sorted(_walk(path), key=lambda entry: entry.name))  # ASCII: as LC_ALL=C sort does


def _dir_hash(entries: tuple[Entry, ...]) -> Sha256:
    return sha256("".join(f"{entry.sha256}  {entry.name}\n" for entry in entries).encode("ascii"))


def _walk(path: Path) -> Iterator[Entry]:
    """Every file under the directory `path`, in no particular order.

    Descends by descriptor, so that a directory swapped for a link meanwhile leads nowhere else.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Malformed("not a directory", path, "a directory", "a link or file") from error
        raise _no_access(error, str(path)) from error
    yield from _walk_fd(fd, "", str(path), MAX_LEVELS)


def _walk_fd(fd: int, prefix: str, root: str, levels: int) -> Iterator[Entry]:
    """Every file under the open directory `fd`, which is closed afterwards."""
    place = f"{root}/{prefix}".rstrip("/")
    try:
        if levels == 0:
            raise Malformed("directories nested too deeply", place, f"at most {MAX_LEVELS} levels", "more")
        with _unavailable(place):
            names = os.listdir(fd)
        for name in names:
            inner = f"{place}/{name}"
            _checked(name, inner, top=not prefix)
            with _unavailable(inner):
                is_dir = stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
            if is_dir:
                with _unavailable(inner):
                    below = os.open(name, _DIRECTORY, dir_fd=fd)
                yield from _walk_fd(below, f"{prefix}{name}/", root, levels - 1)
            else:
                with open_regular(name, fd, inner) as file:
                    digest, size = _stream(file, inner)
                yield Entry(f"{prefix}{name}", digest, size)
    finally:
        os.close(fd)
