"""Engines: where the answer to a request comes from, and every way there is none.

Three answer behind one seam: `Replay` (what was recorded, `stages.answer_replay`), `Record` (a language model behind an
endpoint, `stages.answer_record`), `Embedded` (extractors that are part of this project, `stages.answer_local`).

An answer that did not come is "unavailable", never "tampered": nothing was recorded that could be contradicted.

    EndpointError    the endpoint cannot be used as things are: every further request would fail alike
    UnusableError    this one answer cannot be recorded: others may be well
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from audit.errors import Unavailable
from audit.recording import Request, Response


class Engine(Protocol):
    """What answers requests."""

    def answer(self, request: Request, images: Mapping[str, bytes], who: str) -> Response:
        """The answer to `request`, whose images are among `images`, by name (`sha256:<64 hex>`).

        `who`: which prompt or extractor asks, and about which creative, by their names; errors repeat it, and no text.
        Raises Unavailable where there is no answer.
        """


class NoAnswerError(Unavailable):
    """Base of what a record engine raises."""


class EndpointError(NoAnswerError):
    """The endpoint cannot be used."""


class UnreachableError(EndpointError):
    """No connection, none that is trusted, or an answer that broke off or did not end in time."""


class ServerFaultError(EndpointError):
    """The endpoint says that it failed (5xx)."""


class RateLimitedError(EndpointError):
    """The endpoint wants fewer requests (429), for longer than is waited."""


class RefusedError(EndpointError):
    """The endpoint refuses the request (4xx), or sends elsewhere (3xx), where nobody goes."""


class UnusableError(NoAnswerError):
    """The endpoint answered, and the answer cannot be recorded."""


class MisshapenError(UnusableError):
    """No JSON, cut off JSON, too long, or not the shape of an answer."""


class UnfinishedError(UnusableError):
    """The model did not finish by itself: it ran out of tokens, was filtered, or declined."""


class EmptyError(UnusableError):
    """The model said nothing."""


class LeakError(UnusableError):
    """The request or the answer holds the endpoint's key, which no recording may."""


class IncompleteError(NoAnswerError):
    """Some answers could not be recorded; all others were. Carries each cause."""

    def __init__(self, causes: Sequence[UnusableError], where: str, asked: int) -> None:
        self.causes = tuple(causes)
        first = causes[0]
        what = f"{len(causes)} of {asked} answers not recorded; the first, of {first.where}: {first.what}"
        super().__init__(what, where)
