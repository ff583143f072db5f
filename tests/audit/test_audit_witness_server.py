"""The witness as a service, and the log that asks it: C2SP tlog-witness over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from audit import merkle, witnessserver
from audit.addcheckpoint import MAX_REQUEST_BYTES
from audit.cosignature import VKey, cosignature
from audit.errors import BadSignature, Inconsistent, Malformed, Unavailable, Usage
from audit.note import parse_note, with_lines
from audit.witness import Witness
from audit.witnessclient import cosigned_by
from audit.witnessserver import WitnessServer, listen
from tests.audit.witness_case import EVE, NAME, ORIGIN, TIME, Log, seen, watching

LOG = Log()


@pytest.fixture
def mine(tmp_path: Path) -> Witness:
    return watching(tmp_path / "witness")


@pytest.fixture
def server(mine: Witness) -> Iterator[WitnessServer]:
    with listen("127.0.0.1:0", mine, lambda: TIME) as server, serving(server):
        yield server


@contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)


def post(server: WitnessServer, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("POST", path, body)
    answer = connection.getresponse()
    found = answer.status, answer.headers.get_content_type(), answer.read()
    connection.close()
    return found


def raw(server: WitnessServer, *parts: bytes) -> bytes:
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        for part in parts:
            peer.sendall(part)
        peer.shutdown(socket.SHUT_WR)
        found = b""
        while part := peer.recv(2**16):
            found += part
        return found


def test_a_head_that_extends_what_was_seen_is_cosigned(server: WitnessServer, mine: Witness) -> None:
    for old, size in ((0, 6), (6, 11)):
        status, _, body = post(server, LOG.request(old, size).to_bytes())
        assert status == 200
        found = cosignature(parse_note(with_lines(LOG.head(size), [body])), mine.vkey)
        assert found is not None
        assert (found.time, seen(mine)) == (TIME, size)


def test_every_refusal_has_the_status_of_the_specification(server: WitnessServer, mine: Witness) -> None:
    post(server, LOG.request(0, 6).to_bytes())
    unproven = LOG.request(6, 11).to_bytes().replace(b"\n", b"\n" + b"A" * 43 + b"=\n", 1)
    cases = {
        400: [b"", b"junk", b"old 7\n\n" + LOG.head(6), LOG.request(6, 11).to_bytes()[:-1], b"\xff" * 50],
        403: [Log(EVE).request(6, 11).to_bytes()],
        404: [Log(origin="client.example/other").request(0, 3).to_bytes()],
        409: [LOG.request(0, 11).to_bytes(), LOG.request(5, 11).to_bytes(), LOG.fork(3).request(6, 6).to_bytes()],
        422: [unproven, LOG.fork(3).request(6, 11).to_bytes()],
    }
    for status, bodies in cases.items():
        for body in bodies:
            assert post(server, body)[0] == status, body
    assert seen(mine) == 6


def test_a_conflict_tells_the_size_that_was_seen(server: WitnessServer) -> None:
    post(server, LOG.request(0, 6).to_bytes())
    assert post(server, LOG.request(0, 11).to_bytes()) == (409, "text/x.tlog.size", b"6\n")


def test_a_head_signed_twice_over_is_cosigned_and_other_lines_are_ignored(server: WitnessServer) -> None:
    request = LOG.request(0, 6)
    other = parse_note(Log(EVE).head(6)).signatures[0].line.encode()
    body = request.to_bytes().replace(request.checkpoint, with_lines(request.checkpoint, [other]))
    assert post(server, body)[0] == 200


def test_a_damaged_memory_is_the_witness_s_own_fault(server: WitnessServer, mine: Witness) -> None:
    post(server, LOG.request(0, 6).to_bytes())
    (head,) = mine.folder.glob("logs/*/head")
    head.write_bytes(b"junk")
    status, _, body = post(server, LOG.request(6, 11).to_bytes())
    assert status == 500
    assert str(mine.folder).encode() not in body


def test_no_answer_names_a_place_on_the_witness_s_disk(server: WitnessServer, mine: Witness) -> None:
    for body in (b"", Log(EVE).request(0, 3).to_bytes(), Log(origin="x").request(0, 3).to_bytes()):
        assert str(mine.folder.parent).encode() not in post(server, body)[2]


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n0123456789",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nold 0\r\n0\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1),
        b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoo short",
    ],
    ids=["none", "negative", "underscore", "two", "chunked", "too long", "cut short"],
)
def test_a_body_of_no_clear_length_is_refused_and_ends_the_connection(server: WitnessServer, sent: bytes) -> None:
    answer = raw(server, sent, b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("path", ["/", "/add-checkpoint/", "/add-checkpoint?x", "/ADD-CHECKPOINT"])
def test_other_addresses_are_not_found(server: WitnessServer, path: str) -> None:
    assert post(server, LOG.request(0, 6).to_bytes(), path)[0] == 404


@pytest.mark.parametrize(
    "sent", [b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"A" * 70_000, b"POST\r\n\r\n", b"\x16\x03\x01"]
)
def test_garbage_does_not_stop_the_witness(server: WitnessServer, sent: bytes) -> None:
    raw(server, sent)
    assert post(server, LOG.request(0, 6).to_bytes())[0] == 200


def test_a_connection_serves_several_requests(server: WitnessServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    for old, size in ((0, 3), (3, 3), (3, 9)):
        connection.request("POST", "/add-checkpoint", LOG.request(old, size).to_bytes())
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:1]) == (200, "\u2014".encode()[:1])
    connection.close()


def test_a_peer_that_drips_its_bytes_is_cut_off(server: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnessserver, "CONNECTION_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        peer.sendall(b"POST /add-checkpoint HTTP/1.1\r\n")
        assert peer.recv(10) == b""
    assert post(server, LOG.request(0, 6).to_bytes())[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(server: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnessserver, "REQUEST_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as peer:
        peer.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold 0\n")
        assert b"200" not in peer.recv(100)


def test_asked_by_many_at_once_the_witness_follows_one_history(server: WitnessServer, mine: Witness) -> None:
    sources = (Log(), Log().fork(2))

    def ask(number: int) -> tuple[int, bytes] | None:
        size, source = 3 + number % 20, sources[number % 2]
        lines = _cosigned(server, mine, source, size)
        return (size, source.head(size)) if lines else None

    with ThreadPoolExecutor(12) as pool:
        given = [found for found in pool.map(ask, range(60)) if found]
    heads = {head for _, head in given}
    assert heads
    assert any(all(source.head(size) == head for size, head in given) for source in sources)


def _cosigned(server: WitnessServer, mine: Witness, source: Log, size: int) -> tuple[bytes, ...]:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        return cosigned_by(
            url, mine.vkey, source.head(size), lambda a, b: merkle.consistency_proof(source.leaves, a, b)
        )
    except Inconsistent:
        return ()


def proof(size1: int, size2: int) -> tuple[bytes, ...]:
    return merkle.consistency_proof(LOG.leaves, size1, size2)


def test_a_log_gets_its_cosignature_whatever_the_witness_saw_last(server: WitnessServer, mine: Witness) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    for size in (0, 5, 5, 23):
        (line,) = cosigned_by(url, mine.vkey, LOG.head(size), proof)
        assert cosignature(parse_note(with_lines(LOG.head(size), [line])), mine.vkey) is not None


def test_a_log_learns_that_it_was_rolled_back_or_forked(server: WitnessServer, mine: Witness) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    cosigned_by(url, mine.vkey, LOG.head(9), proof)
    with pytest.raises(Inconsistent, match="larger head"):
        cosigned_by(url, mine.vkey, LOG.head(8), proof)
    for size in (9, 12):
        with pytest.raises(Inconsistent, match="another tree"):
            cosigned_by(url, mine.vkey, LOG.fork(4).head(size), proof)


def test_a_log_takes_no_other_witness_s_word(server: WitnessServer) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(BadSignature):
        cosigned_by(url, VKey.cosigner(NAME, EVE.public), LOG.head(3), proof)


def test_a_refusal_is_no_evidence_against_the_log(server: WitnessServer, mine: Witness) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(Unavailable, match="404"):
        cosigned_by(url, mine.vkey, Log(origin="client.example/other").head(3), proof)
    with pytest.raises(Usage):
        cosigned_by("file:///etc/passwd", mine.vkey, LOG.head(3), proof)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="no answer"):
            cosigned_by(f"http://127.0.0.1:{unused.getsockname()[1]}", mine.vkey, LOG.head(3), proof)


@contextmanager
def answering(status: int, type_: str, body: bytes, location: str | None = None) -> Iterator[str]:
    """A service that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", type_)
            self.send_header("Content-Length", str(len(body)))
            if location is not None:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server, serving(server) as url:
        yield url


def test_what_a_false_witness_answers_is_refused(mine: Witness) -> None:
    size = "text/x.tlog.size"
    for status, type_, body, error in (
        (200, "text/plain", b"", Malformed),
        (200, "text/plain", b"junk\n", Malformed),
        (200, "text/plain", b"A" * 10**6, Malformed),
        (200, "text/plain", parse_note(LOG.head(3)).signatures[0].line.encode(), BadSignature),
        (409, size, b"07\n", Malformed),
        (409, size, b"-1\n", Malformed),
        (409, "text/plain", b"2\n", Malformed),
        (409, size, b"99\n", Inconsistent),
        (409, size, b"2\n", Inconsistent),
        (503, "text/plain", b"later", Unavailable),
    ):
        with answering(status, type_, body) as url, pytest.raises(error):
            cosigned_by(url, mine.vkey, LOG.head(3), proof)


def test_a_redirect_is_not_followed(server: WitnessServer, mine: Witness) -> None:
    real = f"http://127.0.0.1:{server.server_address[1]}/add-checkpoint"
    for status in (301, 302, 307, 308):
        with answering(status, "text/plain", b"", real) as url, pytest.raises(Unavailable, match=str(status)):
            cosigned_by(url, mine.vkey, LOG.head(3), proof)
    assert mine.head(ORIGIN) is None


def test_where_it_cannot_listen_the_witness_says_so(server: WitnessServer, mine: Witness) -> None:
    for address in (
        f"127.0.0.1:{server.server_address[1]}",
        "nowhere",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "256.0.0.1:0",
    ):
        with pytest.raises(Unavailable, match=r"listen"):
            listen(address, mine, lambda: TIME)
