"""Models that compiling asks: the embedded `nearest`, or an OpenAI-compatible endpoint that the environment names.

Nothing else is reached: no redirect is followed and no proxy used, and the key goes to the endpoint alone.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from audit import canonical
from audit.errors import Malformed
from registry import nearest
from registry.errors import RegistryError, RegistryUnavailableError

BASE_URL: Final = "NOPTIK_LM_BASE_URL"
API_KEY: Final = "NOPTIK_LM_API_KEY"
MAX_BYTES: Final = 4 * 2**20  # of an answer
SECONDS: Final = 120.0
PAUSES: Final = (1.0, 2.0)  # seconds before each retry of what may pass: 429 and 5xx


class Model(Protocol):
    """Something that answers chats."""

    @property
    def name(self) -> str:
        """Which model, as a manifest names it."""

    @property
    def revision(self) -> str:
        """Which version of it, as far as is known."""

    def ask(self, messages: Sequence[Mapping[str, Any]], temperature: float, max_tokens: int) -> str:
        """The answer's text. Raises RegistryUnavailableError where there is none."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The embedded model."""

    name: str = nearest.NAME
    revision: str = nearest.REVISION

    def ask(self, messages: Sequence[Mapping[str, Any]], temperature: float, max_tokens: int) -> str:  # noqa: ARG002
        """What `nearest` answers, whatever the temperature."""
        return nearest.answer(messages)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind `POST <base>/chat/completions`; `key` is sent as a bearer token and shown nowhere."""

    name: str
    revision: str
    base: str
    key: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.revision!r})"

    def ask(self, messages: Sequence[Mapping[str, Any]], temperature: float, max_tokens: int) -> str:
        """The content of the first choice; 429 and 5xx are tried again, twice."""
        body = {"model": self.name, "messages": list(messages), "temperature": temperature, "max_tokens": max_tokens}
        for pause in (*PAUSES, None):
            status, raw = self._post(json.dumps(body).encode())
            if status == 200:
                return self._content(raw)
            if pause is None or not (status == 429 or status >= 500):
                break
            time.sleep(pause)
        raise RegistryUnavailableError(f"{BASE_URL}: expected an answer of {self.name}, found HTTP status {status}")

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.base}/chat/completions", body, headers, method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        try:
            with opener.open(request, timeout=SECONDS) as response:
                return response.status, response.read(MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, b""
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = f"expected an endpoint that answers, found {type(error).__name__}"  # its text may hold the key
            raise RegistryUnavailableError(f"{BASE_URL}: {what}") from None

    def _content(self, raw: bytes) -> str:
        try:
            tree = canonical.decode(raw, floats=True, max_bytes=MAX_BYTES, where="answer")
            content = tree["choices"][0]["message"]["content"]
        except Malformed as error:
            raise RegistryUnavailableError(f"{BASE_URL}: {error}") from error
        except (KeyError, IndexError, TypeError):
            content = None
        if not isinstance(content, str):
            raise RegistryUnavailableError(f"{BASE_URL}: expected choices[0].message.content, found none that is text")
        return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follows none: the status is what is found."""


def named(name: str, revision: str, environ: Mapping[str, str]) -> Model:
    """The model `name`. Raises RegistryError for a base URL that is none, RegistryUnavailableError without one."""
    if name == nearest.NAME:
        return Nearest()
    base = environ.get(BASE_URL, "").rstrip("/")
    if not base:
        raise RegistryUnavailableError(f"{BASE_URL}: expected the URL of an OpenAI-compatible endpoint, found none")
    parts = urllib.parse.urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise RegistryError(f"{BASE_URL}: expected http(s)://host[:port][/path] and nothing else, found another form")
    return Endpoint(name, revision, base, environ.get(API_KEY) or None)
