"""One request to an address that was named: no redirects, a bounded answer, a bounded wait, typed errors."""

from __future__ import annotations

from http.client import HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from audit.errors import Unavailable, Usage

TIMEOUT_SECONDS = 20.0


class Answer(NamedTuple):
    """What came back, whatever its status; `body` is cut after the bytes that were asked for."""

    status: int
    type: str
    body: bytes


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None is followed: the one who answers is the one that was named."""


def post(url: str, body: bytes, content_type: str, max_bytes: int) -> Answer:
    """The answer to `body`, of which at most `max_bytes` are read.

    Usage: no http(s) URL. Unavailable: no answer, one that is not HTTP, or one that breaks off.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise Usage("not an address to ask", url, "http or https")
    request = Request(url, body, {"Content-Type": content_type})
    try:
        try:
            return _read(build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS), max_bytes)
        except HTTPError as error:  # an answer all the same; reading it may fail as well
            return _read(error, max_bytes)
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(f"no answer: {error}", url) from error


def _read(response: HTTPResponse | HTTPError, max_bytes: int) -> Answer:
    with response:
        return Answer(response.status or 0, response.headers.get_content_type(), response.read(max_bytes))
