"""Small files that are on disk whole or not at all, whatever crashes: a draft, fsync, then its name in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from audit.digest import open_regular
from audit.errors import Malformed, Unavailable

_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Afterwards a whole file lies at `path`, on disk: with `data`, or what whoever was first put there.

    Its folder must exist. Unavailable if it cannot be written: then there is nothing new, or the whole of it.
    """

    def name(draft: Path) -> None:
        with suppress(FileExistsError):  # link, unlike rename, never replaces
            os.link(draft, path, follow_symlinks=False)
        draft.unlink()

    _write(path, data, mode, name)


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Afterwards the file at `path` holds `data`, on disk; before, and after a crash, the old bytes or these.

    Its folder must exist. Unavailable if it cannot be written: then the old file stands, or the whole new one.
    """

    def name(draft: Path) -> None:
        draft.replace(path)

    _write(path, data, mode, name)


def read(path: Path, max_bytes: int) -> bytes | None:
    """The bytes of the regular file at `path`, None if there is none.

    Malformed: a link, no regular file, or over `max_bytes`. Unavailable: not readable.
    """
    if not os.path.lexists(path):
        return None
    parts: list[bytes] = []
    with open_regular(path) as fd:
        try:
            while (part := os.read(fd, max_bytes + 1)) and sum(map(len, parts)) <= max_bytes:
                parts.append(part)
        except OSError as error:
            raise Unavailable(f"cannot read: {error.strerror}", path) from error
    data = b"".join(parts)
    if len(data) > max_bytes:
        raise Malformed("file too long", path, f"at most {max_bytes} bytes", "more")
    return data


def _write(path: Path, data: bytes, mode: int, name: Callable[[Path], None]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(draft, _DRAFT, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            name(draft)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror}", path) from error


def sync_folder(path: Path) -> None:
    """Afterwards the names in the folder `path` are on disk. OSError if they cannot be."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
