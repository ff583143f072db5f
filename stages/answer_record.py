"""The engine that records: asks an OpenAI-compatible endpoint, as often as it takes and no oftener.

Temperature 0, no stream, one answer. What is returned is what was answered, to the letter; whatever else came is a
typed error, and is not recorded. The endpoint alone is ever asked: nothing in a request or an answer names another one.

The key is in one header of each request. A request or an answer that holds it is refused, and an error that would
repeat it says [key]. No frame of a traceback holds it either: what may hold it is looked at where nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from audit import model
from audit.caller import Caller
from audit.exchange import Answer, Broken
from audit.recording import Request, Response
from stages import answer_wire
from stages.answering import (
    LeakError,
    MisshapenError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreachableError,
)


@dataclass(frozen=True)
class Record:
    """Answers from the endpoint of `caller`."""

    caller: Caller

    @classmethod
    def at(cls, base_url: str, key_file: Path | None, sleep: Callable[[float], None]) -> Self:
        """The engine of NOPTIK_LM_BASE_URL and NOPTIK_LM_API_KEY_FILE. Errors as `Caller.at`.

        Usage: a key, and an address that is neither https nor of this machine.
        """
        return cls(Caller.at(base_url, key_file, sleep))

    def answer(self, request: Request, images: Mapping[str, bytes], who: str) -> Response:
        """What the endpoint answers. NoAnswerError, of a kind of `stages.answering`; errors as `answer_wire.body`."""
        found = self._asked(request, answer_wire.body(request, images, who), who)
        if isinstance(found, Response):
            return found
        raise found

    def _asked(self, request: Request, body: bytes, who: str) -> Response | NoAnswerError:
        if self.caller.leaks(request.raw):
            return LeakError("the request holds the key of the endpoint", who, "none in what is recorded")
        answer, given_up = self.caller.ask(body)
        if isinstance(answer, Broken):
            return self._error(UnreachableError, f"{answer.why}{given_up}", request, who)
        if answer.status != 200:
            return self._refusal(answer, given_up, request, who)
        if answer.cut:
            what = f"an answer of more than {self.caller.limits.max_bytes} bytes"
            return self._error(MisshapenError, what, request, who)
        if answer.type != "application/json" or answer.encoding != "identity":
            return self._error(MisshapenError, "an answer that is not plain JSON", request, who)
        return self._judged(answer, request, who)

    def _judged(self, answer: Answer, request: Request, who: str) -> Response | NoAnswerError:
        leak = self._error(LeakError, "the answer repeats the key of the endpoint", request, who)
        if self.caller.leaks(answer.body):
            return leak
        found = answer_wire.read(answer.body, who, request.sha256)
        if not isinstance(found, Response):
            return found
        return leak if self.caller.leaks(model.to_bytes(found)) else found  # once more without the escapes of JSON

    def _refusal(self, answer: Answer, given_up: str, request: Request, who: str) -> NoAnswerError:
        status = answer.status
        if 300 <= status < 400:
            return self._error(RefusedError, f"sent elsewhere ({status})", request, who)
        # the endpoint's words without the key, then cut: not the other way round
        said = self.caller.hidden(answer_wire.complaint(answer.body))[: answer_wire.MAX_SAID]
        what = f"answered {status}" + (f": {said}" if said else "")
        kind: type[NoAnswerError] = MisshapenError
        if status >= 400:
            kind = RateLimitedError if status == 429 else ServerFaultError if status >= 500 else RefusedError
        return self._error(kind, f"{what}{given_up}", request, who)

    def _error(self, kind: type[NoAnswerError], what: str, request: Request, who: str) -> NoAnswerError:
        return kind(what, f"{who}, {self.caller.endpoint}", f"an answer to request {request.sha256}")
