"""A lock on a file's name, held by one process or thread at a time, or shared; a crash leaves it free."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.errors import Unavailable

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_POLL_SECONDS = 0.005


@contextmanager
def locked(path: Path, seconds: float, what: str, *, shared: bool = False) -> Iterator[None]:
    """Inside, nobody else is inside for this `path` (flock), whose file is made and stays; or only who shares it.

    Unavailable: `what` stays busy for `seconds`, or the lock cannot be had.
    """
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot lock: {error.strerror}", path) from error
    try:
        deadline = time.monotonic() + seconds
        while not _try(fd, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Unavailable(f"{what} is busy", path, f"free within {seconds} s", "locked")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(fd)


def _try(fd: int, path: Path, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise Unavailable(f"cannot lock: {error.strerror}", path) from error
    return True
