"""A witness as a service: C2SP tlog-witness, `POST /add-checkpoint`, over plain HTTP for a loopback or a proxy.

200  the cosignature line             403  not signed by the log's key of that size
400  not a request                    404  of a log that is not watched; or another address
409  another size was seen last,      422  the proof does not lead to the checkpoint
     which is the body; or a fork     500  the witness's own state is damaged      503  it cannot be reached
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Timer
from time import monotonic
from typing import Any, Final

from audit.addcheckpoint import MAX_REQUEST_BYTES, SIZE_TYPE, parse_request
from audit.errors import AuditError, BadProof, BadSignature, Malformed, Unavailable
from audit.witness import Conflict, UnknownLog, Witness

PATH: Final = "/add-checkpoint"
REQUEST_SECONDS = 10.0
CONNECTION_SECONDS = 60.0
MAX_CONNECTIONS = 32
_STATUS: Final[tuple[tuple[type[AuditError], int], ...]] = (
    (UnknownLog, 404),
    (Conflict, 409),
    (BadProof, 422),
    (BadSignature, 403),
    (Malformed, 400),
    (Unavailable, 503),
)


class WitnessServer(ThreadingHTTPServer):
    """Serves `witness` at `address`; `now` gives the time of a cosignature, in seconds since the Epoch.

    At most MAX_CONNECTIONS at once, others wait; each has REQUEST_SECONDS for a request and CONNECTION_SECONDS in all.
    """

    daemon_threads = True
    request_queue_size = 2 * MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], witness: Witness, now: Callable[[], int]) -> None:
        self.witness, self.now = witness, now
        self._slots = BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes a slot, then serves in a thread of its own."""
        self._slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves, then gives the slot back; a peer that drips its bytes is cut off."""
        timer = Timer(CONNECTION_SECONDS, _hang_up, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away or was too slow is no error of the witness's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "noptik-witness"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_POST(self) -> None:
        if self.path != PATH:
            self._refuse(404, f"only {PATH} is served\n")
            return
        body = self._body()
        if body is None:
            self._refuse(400, f"a body of at most {MAX_REQUEST_BYTES} bytes, its length declared, is needed\n")
            return
        try:
            line = self.server.witness.add(parse_request(body), self.server.now()).line
        except Conflict as error:
            self._answer(409, f"{error.size}\n", SIZE_TYPE)
        except AuditError as error:
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
            self._answer(status, f"{error}\n" if status < 500 else "the witness cannot cosign now\n")
        else:
            self._answer(200, line)

    def _body(self) -> bytes | None:
        """The request's body; None if its length is not declared, is too large, or does not arrive in time."""
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or "Transfer-Encoding" in self.headers:  # two ways to say where a body ends
            return None
        length = lengths[0]
        if not (length.isascii() and length.isdigit() and len(length) < 8 and int(length) <= MAX_REQUEST_BYTES):
            return None
        parts, missing, deadline = [], int(length), monotonic() + REQUEST_SECONDS
        while missing and (left := deadline - monotonic()) > 0:
            self.connection.settimeout(left)
            part = self.rfile.read1(missing)
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        self.connection.settimeout(REQUEST_SECONDS)
        return None if missing else b"".join(parts)

    def _refuse(self, status: int, text: str) -> None:
        """Answers without having read the body: where the next request begins is not known."""
        self.close_connection = True
        self._answer(status, text)

    def _answer(self, status: int, text: str, type_: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged: what a peer sends belongs in no terminal."""


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def listen(address: str, witness: Witness, now: Callable[[], int]) -> WitnessServer:
    """A server at `address`, as HOST:PORT, that listens but does not serve yet. Unavailable: it cannot listen there."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise Unavailable("no address to listen at", address, "HOST:PORT")
    try:
        return WitnessServer((host or "127.0.0.1", int(port)), witness, now)
    except OSError as error:
        raise Unavailable(f"cannot listen: {error.strerror}", address) from error
