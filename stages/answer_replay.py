"""The engine that replays: what was recorded is answered, and nothing else. Opens no socket, asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audit.recording import Recordings, Request, Response


@dataclass(frozen=True)
class Replay:
    """Answers from `recordings`."""

    recordings: Recordings

    def answer(self, request: Request, images: Mapping[str, bytes], who: str) -> Response:  # noqa: ARG002
        """What was answered when `request` was recorded; images count by the digests in the request.

        Unavailable, naming the request's digest, its model and `who`: it was not recorded.
        """
        return self.recordings.get(request, who).response
