"""A large file that appears under its name only when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from audit.durable import sync_folder
from audit.errors import Unavailable, Usage


@contextmanager
def appearing(destination: Path) -> Iterator[BinaryIO]:
    """A file to write to that lies at `destination`, whole, on disk, mode 0600, once the block has ended well.

    Otherwise nothing is left. Usage: something is already there. Unavailable: it cannot be written.
    """
    draft = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.draft")
    try:
        with _created(draft) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, destination)  # link, unlike rename, never replaces
        draft.unlink()
        sync_folder(destination.parent)
    except FileExistsError as error:
        raise Usage("something is already there", destination) from error
    except OSError as error:
        raise Unavailable(f"cannot write: {error.strerror or error}", destination) from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            draft.unlink()


def _created(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "w+b")
