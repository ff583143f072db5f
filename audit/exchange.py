"""One exchange over HTTP with the endpoint that was named, and with nobody else.

The standard library's client, and no other: it follows no redirect, keeps no cookie, asks no proxy of the environment,
retries nothing and decompresses nothing, so none of this has to be switched off; and the socket is ours to cut when the
time is over. What others bring (pools, HTTP/2, streams) a hundred questions do not need.

Nothing is raised from here: an exception's traceback would hold the header with the key, or bytes of the peer that
repeat it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event, Timer
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from audit.bearer import Key
from audit.errors import Usage

PATH: Final = "/chat/completions"
_URL = re.compile(r"[!-~]{1,2000}")


class Limits(NamedTuple):
    """How long one exchange may take, in seconds, and how long its answer may be."""

    connect_seconds: float  # for each address of the host
    seconds: float  # from the connection to the last byte, however it comes
    max_bytes: int


class Answer(NamedTuple):
    """What came back, whatever its status; `cut`: it is longer than was read."""

    status: int
    type: str
    encoding: str
    retry_after: str
    body: bytes
    cut: bool


class Broken(NamedTuple):
    """No answer, or not the whole of one: why, in words of ours."""

    why: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an OpenAI-compatible service answers chats."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, base_url: str) -> Self:
        """The endpoint below `base_url`, such as https://models.example/v1.

        Usage: no http(s) address, or one with a user, password, query or fragment, which it does not repeat.
        """
        form = "http(s)://HOST[:PORT][/PATH]"
        try:
            url = urlsplit(base_url if _URL.fullmatch(base_url) else "")
            host, port = url.hostname, url.port
        except ValueError:
            host = port = None
        if host is None or url.scheme not in ("http", "https"):
            raise Usage("no address of an endpoint", "NOPTIK_LM_BASE_URL", form)
        if "@" in url.netloc or url.query or url.fragment:
            raise Usage("an address with more than a place in it", "NOPTIK_LM_BASE_URL", form)
        return cls(url.scheme, host, port or (443 if url.scheme == "https" else 80), url.path.rstrip("/") + PATH)

    @property
    def guarded(self) -> bool:
        """Whether nobody on the way reads what is sent: encrypted, or to this machine."""
        if self.scheme == "https" or self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def exchange(
    endpoint: Endpoint, body: bytes, key: Key | None, limits: Limits, context: ssl.SSLContext
) -> Answer | Broken:
    """The answer to `body` (JSON), or why there is none. `context`: whose certificates are believed."""
    over = Event()
    try:
        address = (endpoint.host, endpoint.port)
        with socket.create_connection(address, limits.connect_seconds) as plain:
            plain.settimeout(limits.seconds)
            peer = plain
            if endpoint.scheme == "https":  # the handshake below, when the watch is set
                peer = context.wrap_socket(plain, server_hostname=endpoint.host, do_handshake_on_connect=False)
            watch = Timer(limits.seconds, _cut, [peer, over])
            watch.daemon = True
            watch.start()
            try:
                with peer:
                    return _over(over, _talk(endpoint, peer, body, key, limits, context))
            finally:
                watch.cancel()
    except ssl.SSLCertVerificationError as error:
        return _over(over, Broken(f"certificate not accepted: {error.verify_message}"))
    except TimeoutError:
        return Broken("not answered in time")
    except OSError as error:
        return _over(over, Broken(f"connection failed: {error.strerror or type(error).__name__}"))
    except (HTTPException, ValueError) as error:  # their words hold the peer's
        return _over(over, Broken(f"not an answer in HTTP: {type(error).__name__}"))


def _talk(
    endpoint: Endpoint, peer: socket.socket, body: bytes, key: Key | None, limits: Limits, context: ssl.SSLContext
) -> Answer | Broken:
    connection = HTTPConnection(endpoint.host, endpoint.port)
    if isinstance(peer, ssl.SSLSocket):
        peer.do_handshake()
        connection = HTTPSConnection(endpoint.host, endpoint.port, context=context)
    connection.sock = peer
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    if key is not None:
        headers["Authorization"] = key.header()
    connection.request("POST", endpoint.path, body, headers)
    with connection.getresponse() as response:
        found = response.read(limits.max_bytes + 1)
        cut = len(found) > limits.max_bytes
        if response.length and not cut:  # `read` of so many bytes is silent about those that are missing
            return Broken("the answer broke off")
        said = response.headers
        type_, encoding = said.get_content_type(), said.get("Content-Encoding", "identity")
        return Answer(response.status, type_, encoding, said.get("Retry-After", ""), found[: limits.max_bytes], cut)


def _over(over: Event, found: Answer | Broken) -> Answer | Broken:
    """What was found, unless the time was over: then an end of the answer may be where it was cut."""
    return Broken("not answered in time") if over.is_set() else found


def _cut(peer: socket.socket, over: Event) -> None:
    over.set()
    with suppress(OSError):
        socket.socket.shutdown(peer, socket.SHUT_RDWR)  # below TLS, whose state is the other thread's
