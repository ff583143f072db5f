"""All that an error could print of the program: its message, causes, and local variables of the program's frames."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator
from types import TracebackType


def shown(error: BaseException) -> str:
    """Messages and tracebacks with local variables, of `error` and whatever led to it; frames of tests left out."""
    return "\n".join(_texts(error))


def forms(secret: bytes) -> tuple[bytes, ...]:
    """The ways in which a secret could be printed: raw, as Python shows bytes, hexadecimal, base64."""
    return secret, repr(secret)[2:-1].encode(), secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")


def _texts(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield repr(error)
        yield from traceback.TracebackException(
            type(error), error, _program(error.__traceback__), capture_locals=True
        ).format(chain=False)
        error = error.__cause__ or error.__context__


def _program(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and "/tests/" in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    return frames
