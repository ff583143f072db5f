"""Models that compiling asks: the embedded `nearest`, or an OpenAI-compatible endpoint that the environment names.

    NOPTIK_LM_BASE_URL       the endpoint, such as https://lm.example/v1
    NOPTIK_LM_API_KEY_FILE   a file, for nobody else to read, with its key                  (default: none)

It is asked by `audit.caller`: nobody else is reached, no question lasts for ever, and the key goes there alone. A
question or an answer that holds it is refused, for answers become demonstrations; no error repeats what was said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from audit import canonical
from audit.caller import Caller, Patience
from audit.errors import Malformed
from audit.exchange import Answer, Broken
from registry import nearest
from registry.errors import RegistryUnavailableError

BASE_URL: Final = "NOPTIK_LM_BASE_URL"
KEY_FILE: Final = "NOPTIK_LM_API_KEY_FILE"
PATIENCE: Final = Patience(attempts=3, first_wait=1.0, longest_wait=60.0)


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
class Served:
    """A model behind the endpoint of `caller`."""

    name: str
    revision: str
    caller: Caller

    def ask(self, messages: Sequence[Mapping[str, Any]], temperature: float, max_tokens: int) -> str:
        """The content of the first choice."""
        body = {"model": self.name, "messages": list(messages), "temperature": temperature, "max_tokens": max_tokens}
        found = self._asked(json.dumps(body).encode())
        if isinstance(found, str):
            return found
        raise RegistryUnavailableError(f"{BASE_URL}: expected an answer of {self.name}, found {found.why}")

    def _asked(self, body: bytes) -> str | Broken:
        """Returned, not raised: a traceback from here would hold what may hold the key."""
        if self.caller.leaks(body):
            return Broken("the key of the endpoint in the question")
        answer, given_up = self.caller.ask(body)
        if isinstance(answer, Broken):
            return Broken(f"{answer.why}{given_up}")
        if answer.status != 200:
            return Broken(f"HTTP status {answer.status}{given_up}")
        if answer.cut:
            return Broken(f"more than {self.caller.limits.max_bytes} bytes")
        content = _content(answer)
        if isinstance(content, str) and (self.caller.leaks(answer.body) or self.caller.leaks(content.encode())):
            return Broken("the key of the endpoint in it")
        return content


def _content(answer: Answer) -> str | Broken:
    try:
        tree = canonical.decode(answer.body, floats=True, where="answer")
        content = tree["choices"][0]["message"]["content"]
    except Malformed as error:
        return Broken(error.what)  # what it expected and found there are pieces of the text
    except (KeyError, IndexError, TypeError):
        content = None
    return content if isinstance(content, str) else Broken("no text at choices[0].message.content")


def named(name: str, revision: str, environ: Mapping[str, str]) -> Model:
    """The model `name`. RegistryUnavailableError: no endpoint is named. Errors of what is named as `Caller.at`."""
    if name == nearest.NAME:
        return Nearest()
    base, file = environ.get(BASE_URL), environ.get(KEY_FILE)
    if not base:
        raise RegistryUnavailableError(f"{BASE_URL}: expected the URL of an OpenAI-compatible endpoint, found none")
    return Served(name, revision, Caller.at(base, Path(file) if file else None, time.sleep, PATIENCE))
