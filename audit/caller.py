"""Who asks an endpoint: under its key, within limits, as often as it takes and no oftener.

What passes is asked again: no connection, an answer that breaks off or does not end in time, 429, and what a service
answers that may be well again soon. A question is over after attempts * (connect_seconds of each address + seconds) and
the waits in between, whatever the peer does.

Nothing is raised while the key is at hand: what may hold it is looked at where nothing raises.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

from audit.bearer import Key
from audit.errors import Usage
from audit.exchange import Answer, Broken, Endpoint, Limits, exchange

LIMITS: Final = Limits(connect_seconds=10.0, seconds=120.0, max_bytes=2**22)
PASSING: Final = frozenset({429, 500, 502, 503, 504})  # statuses
_SECONDS = re.compile(r"[0-9]{1,6}")


class Patience(NamedTuple):
    """How often one question is sent, and how long is waited in between: first_wait, twice that, and so on, in seconds.

    An endpoint that asks (Retry-After, in seconds) for more is given it, up to longest_wait; beyond, it is given up.
    """

    attempts: int
    first_wait: float
    longest_wait: float


PATIENCE: Final = Patience(attempts=5, first_wait=1.0, longest_wait=60.0)


class Tried(NamedTuple):
    """What the last attempt found. `given_up`: words to put after it, where patience ended; else empty."""

    found: Answer | Broken
    given_up: str = ""


@dataclass(frozen=True)
class Caller:
    """Asks `endpoint`, waiting by `sleep` (seconds). Usage: a key, and a way on which it could be read."""

    endpoint: Endpoint
    key: Key | None
    sleep: Callable[[float], None]
    limits: Limits = LIMITS
    patience: Patience = PATIENCE
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def __post_init__(self) -> None:
        if self.key is not None and not self.endpoint.guarded:
            raise Usage(
                "a key is not sent where it can be read on the way", str(self.endpoint), "https, or this machine"
            )

    @classmethod
    def at(
        cls, base_url: str, key_file: Path | None, sleep: Callable[[float], None], patience: Patience = PATIENCE
    ) -> Self:
        """The caller of NOPTIK_LM_BASE_URL and NOPTIK_LM_API_KEY_FILE. Errors as `Endpoint.parse`, `Key.read`."""
        key = None if key_file is None else Key.read(key_file)
        return cls(Endpoint.parse(base_url), key, sleep, patience=patience)

    def ask(self, body: bytes) -> Tried:
        """What is answered to `body` (JSON), whatever its status, or why nothing is."""
        attempts, first_wait, longest_wait = self.patience
        attempt = 0
        while True:
            found = exchange(self.endpoint, body, self.key, self.limits, self.context)
            attempt += 1
            if isinstance(found, Answer) and found.status not in PASSING:
                return Tried(found)
            asked = self._asked(found)
            if asked > longest_wait:
                return Tried(found, f"; asks to wait longer than {longest_wait:g} s")
            if attempt >= attempts:
                return Tried(found, f", {attempt} times")
            self.sleep(max(asked, min(first_wait * 2.0 ** (attempt - 1), longest_wait)))

    def leaks(self, said: bytes) -> bool:
        """Whether `said` holds the key, as `Key.shows_in` finds it."""
        return self.key is not None and self.key.shows_in(said)

    def hidden(self, words: str) -> str:
        """`words` without the key."""
        return words if self.key is None else self.key.hide(words)

    def _asked(self, found: Answer | Broken) -> float:
        """Seconds that the endpoint asks for; 0: none, or until a date, which takes a clock to read."""
        asked = found.retry_after if isinstance(found, Answer) else ""
        return float(asked) if _SECONDS.fullmatch(asked) else 0.0
