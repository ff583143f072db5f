"""Fills a file of recordings: asks what is not in it yet, and keeps every answer before it asks for the next.

An answer costs money. It is in the file, whole and on disk, before the next request goes out; who stops the process,
however hard, loses the one under way and no other, and who starts it again asks only for what is missing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audit import durable
from audit.errors import Unavailable
from audit.recording import MAX_FILE_BYTES, Recording, Recordings, Request
from stages.answering import Engine, IncompleteError, UnusableError


def record(asked: Iterable[tuple[Request, str]], images: Mapping[str, bytes], into: Path, engine: Engine) -> int:
    """Afterwards the file `into` holds an answer to every request; how many are new. `asked`: with who asks.

    What was recorded before stays as it is, and is not asked again. An answer that cannot be recorded (UnusableError)
    stops no other: all causes come in the end, as IncompleteError. Any other error stops at once. Tampered: the file
    holds something else than recordings; nothing is asked. Unavailable: another process records into its folder.
    """
    new, every, unusable = 0, set[str](), list[UnusableError]()
    with _alone(into.parent):
        known = Recordings.parse(durable.read(into, MAX_FILE_BYTES) or b"", into.name)
        for request, who in asked:
            if request.sha256 in every:
                continue
            every.add(request.sha256)
            if request in known:
                continue
            try:
                response = engine.answer(request, images, who)
            except UnusableError as error:
                unusable.append(error)
                continue
            known = known.with_([Recording.of(request, response)])
            durable.replace(into, known.raw)
            new += 1
    if unusable:
        raise IncompleteError(unusable, into.name, len(every))
    return new


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Inside, nobody else is inside for this folder. Its own lock (flock): a file would lie among what is published."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"cannot record here: {error.strerror}", folder) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable("another process is recording", folder, "one at a time", "locked") from None
        yield
    finally:
        os.close(fd)
