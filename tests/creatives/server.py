"""An OpenAI-compatible service on loopback, over real HTTP: good, or hostile as a script says, request by request.

    with serving(answer, status(429, {"Retry-After": "2"}), answered) as chat:
        ...  # asks chat.base_url: refused once, then answered by `answer(messages)`, as is all that follows

An act is what the service does with one request. `chat.seen` are the requests that came.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias

PATH = "/v1/chat/completions"
Messages: TypeAlias = Sequence[Mapping[str, Any]]


class Seen(NamedTuple):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes

    @property
    def value(self) -> dict[str, Any]:
        """What the body says."""
        value: dict[str, Any] = json.loads(self.body)
        return value


class Chat(ThreadingHTTPServer):
    """Serves one act of `script` a request, and `answered` when it is over."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Messages], str], script: Sequence[Act]) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._script = iter(script)
        self._lock = threading.Lock()
        self.scheme = "http"
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def base_url(self) -> str:
        """What NOPTIK_LM_BASE_URL would be."""
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/v1"

    def next(self, seen: Seen) -> Act:
        """The act for this request."""
        with self._lock:
            self.seen.append(seen)
            return next(self._script, answered)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of the server's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Chat
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.next(seen)(self, seen)

    def do_GET(self) -> None:
        self.server.next(Seen(f"GET {self.path}", {}, b""))
        plain(200, b"{}")(self, Seen("", {}, b""))

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


Act: TypeAlias = Callable[[_Handler, Seen], None]


def completion(content: Any, **fields: Any) -> dict[str, Any]:
    """A whole answer as such services give it; `fields` replace those of its one choice, or of its message."""
    message = {"role": "assistant", "content": content, "refusal": None}
    message |= {name: fields.pop(name) for name in list(fields) if name in message}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"} | fields
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served-1"}
    return {**head, "choices": [choice], "usage": usage}


def answered(handler: _Handler, seen: Seen) -> None:
    """What a good service does: answers what its callable says, or what is wrong with the request."""
    asked = seen.value
    if seen.path != PATH or asked.get("stream") or not asked.get("messages"):
        json_(400, {"error": {"message": "not a request for a chat", "type": "invalid_request_error"}})(handler, seen)
        return
    said = completion(handler.server.answer(asked["messages"]))
    json_(200, {**said, "model": asked["model"]})(handler, seen)


def plain(status: int, body: bytes, headers: Mapping[str, str] | None = None, type_: str = "application/json") -> Act:
    """Answers these bytes, their length declared."""

    def act(handler: _Handler, _: Seen) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": type_, "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def json_(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Act:
    """Answers this value in JSON."""
    return plain(status, json.dumps(value).encode(), headers)


def status(code: int, headers: Mapping[str, str] | None = None, message: str = "not now") -> Act:
    """Refuses, as such services do."""
    return json_(code, {"error": {"message": message, "type": "error", "code": None}}, headers)


def raw(*parts: bytes) -> Act:
    """Answers these bytes, whatever they are, and hangs up."""

    def act(handler: _Handler, _: Seen) -> None:
        for part in parts:
            handler.wfile.write(part)
        handler.close_connection = True

    return act


def cut(whole: bytes, sent: int) -> Act:
    """Declares the length of `whole` and hangs up after `sent` of its bytes."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    return raw(head + whole[:sent])


def reset(handler: _Handler, _: Seen) -> None:
    """Resets the connection without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def silence(handler: _Handler, _: Seen) -> None:
    """Says nothing until the server closes."""
    handler.server.closing.wait()
    handler.close_connection = True


def drip(whole: bytes, every: float) -> Act:
    """One byte of `whole`, over and over, every so many seconds: each in time, the whole never."""

    def act(handler: _Handler, _: Seen) -> None:
        at = 0
        while not handler.server.closing.wait(every):
            handler.wfile.write(whole[at : at + 1])
            at = (at + 1) % len(whole)

    return act


def huge(size: int) -> Act:
    """A good answer with so many characters of content, in chunks, its length not declared."""

    def act(handler: _Handler, _: Seen) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        start, end = json.dumps(completion("MARK")).encode().split(b"MARK")
        for part in (start, *[b"x" * 2**16] * (size // 2**16), end, b""):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    return act


def echo(act: Callable[[str], Act]) -> Act:
    """Does what `act` makes of the request's Authorization."""
    return lambda handler, seen: act(seen.headers.get("authorization", ""))(handler, seen)


@contextmanager
def serving(answer: Callable[[Messages], str], *script: Act, context: ssl.SSLContext | None = None) -> Iterator[Chat]:
    """The service, running until the end of the block; with a TLS `context`, under https."""
    with Chat(answer, script) as chat:
        if context is not None:
            chat.scheme = "https"
            chat.socket = context.wrap_socket(chat.socket, server_side=True)
        thread = threading.Thread(target=chat.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield chat
        finally:
            chat.closing.set()
            chat.shutdown()
            thread.join(10)
