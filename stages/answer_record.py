"""The engine that records: asks an OpenAI-compatible endpoint, as often as it takes and no oftener.

Temperature 0, no stream, one answer. What is returned is what was answered, to the letter; whatever else came is a
typed error, and is not recorded. The endpoint alone is ever asked: nothing in a request or an answer names another one.

The key is in one header of each request. A request or an answer that holds it is refused, and an error that would
repeat it says [key]. No frame of a traceback holds it either: what may hold it is looked at where nothing raises.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

from audit import model
from audit.errors import Usage
from audit.recording import Request, Response
from stages import answer_wire
from stages.answer_http import Answer, Broken, Endpoint, Limits, exchange
from stages.answer_key import Key
from stages.answering import (
    LeakError,
    MisshapenError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreachableError,
)

LIMITS: Final = Limits(connect_seconds=10.0, seconds=120.0, max_bytes=2**22)
_PASSING = frozenset({500, 502, 503, 504})  # what a service answers that may be well again soon
_SECONDS = re.compile(r"[0-9]{1,6}")


class Patience(NamedTuple):
    """How often one request is sent, and how long is waited in between: first_wait, twice that, and so on, in seconds.

    An endpoint that asks (Retry-After, in seconds) for more is given it, up to longest_wait; beyond, it is given up.
    """

    attempts: int
    first_wait: float
    longest_wait: float


PATIENCE: Final = Patience(attempts=5, first_wait=1.0, longest_wait=60.0)


class _Failed(NamedTuple):
    """An attempt without an answer; `wait`: at least so many seconds before another one, None: no other one."""

    error: NoAnswerError
    wait: float | None


@dataclass(frozen=True)
class Record:
    """Answers from `endpoint`, waiting by `sleep` (seconds)."""

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
    def at(cls, base_url: str, key_file: Path | None, sleep: Callable[[float], None]) -> Self:
        """The engine of NOPTIK_LM_BASE_URL and NOPTIK_LM_API_KEY_FILE. Errors as `Endpoint.parse`, `Key.read`.

        Usage: a key, and an address that is neither https nor of this machine.
        """
        return cls(Endpoint.parse(base_url), None if key_file is None else Key.read(key_file), sleep)

    def answer(self, request: Request, images: Mapping[str, bytes], who: str) -> Response:
        """What the endpoint answers. NoAnswerError, of a kind of `stages.answering`; errors as `answer_wire.body`."""
        found = self._asked(request, answer_wire.body(request, images, who), who)
        if isinstance(found, Response):
            return found
        raise found

    def _asked(self, request: Request, body: bytes, who: str) -> Response | NoAnswerError:
        if self._leaks(request.raw):
            return LeakError("the request holds the key of the endpoint", who, "none in what is recorded")
        for attempt in range(self.patience.attempts):
            found = self._attempt(request, body, who)
            if isinstance(found, Response):
                return found
            last = found.error
            if found.wait is None:
                return last
            if attempt + 1 < self.patience.attempts:
                self.sleep(max(found.wait, min(self.patience.first_wait * 2.0**attempt, self.patience.longest_wait)))
        return type(last)(f"{last.what}, {self.patience.attempts} times", last.where, last.expected)

    def _attempt(self, request: Request, body: bytes, who: str) -> Response | _Failed:
        answer = exchange(self.endpoint, body, self.key, self.limits, self.context)
        if isinstance(answer, Broken):
            return _Failed(self._error(UnreachableError, answer.why, request, who), 0.0)
        if answer.status != 200:
            return self._refusal(answer, request, who)
        if answer.cut:
            what = f"an answer of more than {self.limits.max_bytes} bytes"
            return _Failed(self._error(MisshapenError, what, request, who), None)
        if answer.type != "application/json" or answer.encoding != "identity":
            return _Failed(self._error(MisshapenError, "an answer that is not plain JSON", request, who), None)
        return self._judged(answer, request, who)

    def _judged(self, answer: Answer, request: Request, who: str) -> Response | _Failed:
        leak = _Failed(self._error(LeakError, "the answer repeats the key of the endpoint", request, who), None)
        if self._leaks(answer.body):
            return leak
        found = answer_wire.read(answer.body, who, request.sha256)
        if not isinstance(found, Response):
            return _Failed(found, None)
        return leak if self._leaks(model.to_bytes(found)) else found  # once more without the escapes of JSON

    def _refusal(self, answer: Answer, request: Request, who: str) -> _Failed:
        status = answer.status
        if 300 <= status < 400:
            return _Failed(self._error(RefusedError, f"sent elsewhere ({status})", request, who), None)
        said = self._hidden(answer_wire.complaint(answer.body))
        what = f"answered {status}" + (f": {said}" if said else "")
        if status == 429 or status in _PASSING:
            kind = RateLimitedError if status == 429 else ServerFaultError
            wait = self._wait(answer.retry_after)
            if wait is None:
                what = f"{what}; asks to wait longer than {self.patience.longest_wait:g} s"
            return _Failed(self._error(kind, what, request, who), wait)
        kind_ = ServerFaultError if status >= 500 else RefusedError if status >= 400 else MisshapenError
        return _Failed(self._error(kind_, what, request, who), None)

    def _wait(self, asked: str) -> float | None:
        """Seconds that the endpoint asks for; 0: none, or until a date, which takes a clock to read; None: too many."""
        seconds = float(asked) if _SECONDS.fullmatch(asked) else 0.0
        return seconds if seconds <= self.patience.longest_wait else None

    def _error(self, kind: type[NoAnswerError], what: str, request: Request, who: str) -> NoAnswerError:
        return kind(what, f"{who}, {self.endpoint}", f"an answer to request {request.sha256}")

    def _leaks(self, raw: bytes) -> bool:
        return self.key is not None and self.key.shows_in(raw)

    def _hidden(self, words: str) -> str:
        """The endpoint's words without the key, then cut: not the other way round."""
        return (words if self.key is None else self.key.hide(words))[: answer_wire.MAX_SAID]
