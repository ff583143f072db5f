"""What tests of record engines share: requests, a key that must be seen nowhere, an engine that does not wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.bearer import Key
from audit.caller import Caller, Patience
from audit.digest import sha256
from audit.exchange import Endpoint, Limits
from audit.recording import Request, Settings
from stages.answer_record import Record

WHO = "offer of tv_001"
SECRET = "nk-7Qm2Zt9LwX4vB8sRpE1uYc6D"  # of nothing: made up for the tests
SETTINGS = Settings(temperature=0, max_tokens=64)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(32))
PNG_NAME = f"sha256:{sha256(PNG)}"
LIMITS = Limits(connect_seconds=10.0, seconds=20.0, max_bytes=2**20)


def request(content: Any = "What is on offer?", model: str = "small-1") -> Request:
    """A request of one user message."""
    messages = ({"role": "system", "content": "Say what is on offer."}, {"role": "user", "content": content})
    return Request.of(model=model, revision="2026-01", messages=messages, settings=SETTINGS)


def key_file(folder: Path, text: str = SECRET) -> Path:
    """A file with the key, its owner's alone."""
    path = folder / "key"
    path.touch(0o600)
    path.write_text(text + "\n")
    return path


def engine(base_url: str, folder: Path | None = None, *, limits: Limits = LIMITS, attempts: int = 3) -> Waiting:
    """A record engine for the service; with a `folder`, with the key."""
    key = None if folder is None else Key.read(key_file(folder))
    return Waiting(base_url, key, limits, attempts)


class Waiting:
    """A record engine, and how long it would have waited, in seconds."""

    def __init__(self, base_url: str, key: Key | None, limits: Limits, attempts: int) -> None:
        self.waits: list[float] = []
        patience = Patience(attempts, first_wait=1.0, longest_wait=60.0)
        self.record = Record(Caller(Endpoint.parse(base_url), key, self.waits.append, limits, patience))


def said(messages: Sequence[Any]) -> str:
    """A good model's answer: which message it was asked."""
    content = messages[-1]["content"]
    return f"[[ ## offer ## ]]\nnone\n\n[[ ## completed ## ]]\n{content if isinstance(content, str) else 'an image'}"
