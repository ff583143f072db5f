"""The engine that records, before a real server that is good or hostile: what is returned, and how it fails."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.caller import PATIENCE, Caller
from audit.digest import sha256
from audit.errors import DigestMismatch, Unavailable, Usage
from audit.exchange import Endpoint, Limits
from audit.recording import Recording, Recordings
from stages import answer_wire
from stages.answer_record import Record
from stages.answer_replay import Replay
from stages.answering import (
    EmptyError,
    Engine,
    MisshapenError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnfinishedError,
    UnreachableError,
    UnusableError,
)
from tests.creatives import server
from tests.creatives.server import Act, completion, json_, plain, serving, status
from tests.stages.record_case import LIMITS, PNG, PNG_NAME, WHO, engine, request, said

GOOD = json.dumps(completion("none")).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SHORT = LIMITS._replace(seconds=0.3)


def failure(*script: Act, kind: type[NoAnswerError], asked: int, limits: Limits = LIMITS) -> NoAnswerError:
    """What the engine raises before this script; it must ask `asked` times, of three at most."""
    with serving(said, *script) as chat:
        made = engine(chat.base_url, limits=limits)
        with pytest.raises(kind) as caught:
            made.record.answer(request(), {}, WHO)
    assert type(caught.value) is kind
    assert len(chat.seen) == asked
    assert len(made.waits) == asked - 1
    assert WHO in str(caught.value)
    assert request().sha256 in str(caught.value)
    assert "What is on offer?" not in str(caught.value)
    return caught.value


def test_what_is_asked_goes_out_and_what_is_answered_comes_back() -> None:
    with serving(said) as chat:
        made = engine(chat.base_url)
        found = made.record.answer(request(), {}, WHO)
    assert found.content == said([{"content": "What is on offer?"}])
    assert (found.model, found.finish_reason, made.waits) == ("small-1", "stop", [])
    (seen,) = chat.seen
    assert seen.path == server.PATH
    assert seen.value == {
        "model": "small-1",
        "messages": [
            {"role": "system", "content": "Say what is on offer."},
            {"role": "user", "content": "What is on offer?"},
        ],
        "temperature": 0,
        "max_tokens": 64,
        "stream": False,
    }
    assert set(seen.headers) == {
        "host",
        "accept-encoding",
        "content-length",
        "content-type",
        "accept",
        "connection",
    }


def test_a_seed_is_sent_where_the_settings_name_one() -> None:
    seeded = request().model_copy(update={"settings": request().settings.model_copy(update={"seed": 0})})
    with serving(said) as chat:
        engine(chat.base_url).record.answer(seeded, {}, WHO)
    assert chat.seen[0].value["seed"] == 0


def test_an_image_goes_out_whole_and_is_recorded_by_its_digest() -> None:
    asked = request([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PNG_NAME}}])
    with serving(said) as chat:
        found = engine(chat.base_url).record.answer(asked, {PNG_NAME: PNG}, WHO)
    text, image = chat.seen[0].value["messages"][1]["content"]
    assert text == {"type": "text", "text": "Look"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert PNG_NAME.encode() in Recording.of(asked, found).line
    assert b"base64" not in Recording.of(asked, found).line


def test_an_image_that_is_missing_or_another_or_none_is_not_sent() -> None:
    asked = request([{"type": "image_url", "image_url": {"url": PNG_NAME}}])
    text = b"no image at all"
    with serving(said) as chat:
        ask = engine(chat.base_url).record.answer
        with pytest.raises(Unavailable, match="not here"):
            ask(asked, {}, WHO)
        with pytest.raises(DigestMismatch):
            ask(asked, {PNG_NAME: PNG + b"x"}, WHO)
        name = f"sha256:{sha256(text)}"
        with pytest.raises(Usage, match="no image that an endpoint is sent"):
            ask(request([{"type": "image_url", "image_url": {"url": name}}]), {name: text}, WHO)
    assert chat.seen == []


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda text: text.strip())


@settings(max_examples=40, deadline=None)
@given(words)
def test_an_answer_is_returned_and_replayed_to_the_letter(text: str) -> None:
    with serving(lambda _: text) as chat:
        found = engine(chat.base_url).record.answer(request(), {}, WHO)
    assert found.content == text
    kept = Recordings().with_([Recording.of(request(), found)])
    replay: Engine = Replay(Recordings.parse(kept.raw, "file"))
    assert replay.answer(request(), {}, WHO) == found


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_service_that_fails_for_a_while_is_asked_again_after_longer_and_longer(code: int) -> None:
    with serving(said, status(code), status(code)) as chat:
        made = engine(chat.base_url)
        assert made.record.answer(request(), {}, WHO).model == "small-1"
    assert made.waits == [1.0, 2.0]
    assert len({seen.body for seen in chat.seen}) == 1
    error = failure(*[status(code, message="disk full")] * 3, kind=ServerFaultError, asked=3)
    assert f"answered {code}: disk full, 3 times" in str(error)


def test_waits_grow_to_a_bound() -> None:
    with serving(said, *[status(503)] * 9) as chat:
        made = engine(chat.base_url, attempts=9)
        with pytest.raises(ServerFaultError):
            made.record.answer(request(), {}, WHO)
    assert made.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert PATIENCE.attempts <= 9


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("60", 60.0),
        ("0", 1.0),
        ("-5", 1.0),
        ("1e9", 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        ("", 1.0),
    ],
)
def test_a_service_that_wants_time_gets_it(asked: str, waited: float) -> None:
    with serving(said, status(429, {"Retry-After": asked})) as chat:
        made = engine(chat.base_url)
        made.record.answer(request(), {}, WHO)
    assert made.waits == [waited]


@pytest.mark.parametrize("asked", ["61", "86400", "999999"])
def test_a_service_that_wants_too_much_time_is_given_up_at_once(asked: str) -> None:
    error = failure(status(429, {"Retry-After": asked}), kind=RateLimitedError, asked=1)
    assert "asks to wait longer than 60 s" in str(error)


def test_a_service_that_never_has_time_is_given_up() -> None:
    failure(*[status(429)] * 3, kind=RateLimitedError, asked=3)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
def test_a_refusal_is_told_in_the_services_words_and_is_final(code: int) -> None:
    error = failure(status(code, message="no such\nmodel" + "!" * 500), kind=RefusedError, asked=1)
    assert f"answered {code}: no such" in str(error)
    assert "!" * 201 not in error.what


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"error":7}', b'{"error":{"message":{}}}', b"\xff"])
def test_a_refusal_in_other_words_is_a_refusal(body: bytes) -> None:
    assert "answered 404 " in str(failure(plain(404, body, type_="text/html"), kind=RefusedError, asked=1))


def test_nobody_follows_a_redirect() -> None:
    with serving(said) as elsewhere:
        for code in (301, 302, 303, 307, 308):
            away = plain(code, b"", {"Location": f"{elsewhere.base_url}/chat/completions"})
            error = failure(away, kind=RefusedError, asked=1)
            assert "sent elsewhere" in str(error)
    assert elsewhere.seen == []


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(said) as proxy, serving(said) as chat:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        engine(chat.base_url).record.answer(request(), {}, WHO)
    assert (len(chat.seen), proxy.seen) == (1, [])


BROKEN = {
    "closed mid-body": server.cut(GOOD, 40),
    "closed before the body": server.cut(GOOD, 0),
    "closed without a word": server.raw(),
    "reset": server.reset,
    "half a status line": server.raw(b"HTTP/1.1 2"),
    "garbage": server.raw(b"garbage\r\n\r\n"),
    "no such status": server.raw(b"HTTP/1.1 999999 x\r\n\r\n"),
    "an endless header": server.raw(HEAD + b"A: " + b"b" * 70_000 + b"\r\n\r\n"),
    "endless headers": server.raw(HEAD + b"A: b\r\n" * 1000 + b"\r\n"),
    "half a chunk": server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{"),
    "no chunk": server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
}


@pytest.mark.parametrize("act", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_off_is_asked_for_again(act: Act) -> None:
    with serving(said, act, act) as chat:
        made = engine(chat.base_url)
        assert made.record.answer(request(), {}, WHO).model == "small-1"
    assert made.waits == [1.0, 2.0]
    failure(act, act, act, kind=UnreachableError, asked=3)


SLOW = {
    "silence": server.silence,
    "a dripping status line": server.drip(b"H", 0.02),
    "dripping headers": server.drip(HEAD + b"A: b\r\n" * 90, 0.02),
    "a dripping body": server.drip(HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 10**6, 0.0005),
    "an endless welcome": server.drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0.0005),
}


@pytest.mark.parametrize("act", SLOW.values(), ids=SLOW)
def test_an_answer_that_takes_too_long_is_cut_off_however_it_comes(act: Act) -> None:
    error = failure(act, act, act, kind=UnreachableError, asked=3, limits=SHORT)
    assert "not answered in time, 3 times" in str(error)


def test_an_answer_that_is_cut_off_for_time_is_no_shorter_answer() -> None:
    """Whole JSON, its length not declared, and then silence: the end that the cut makes is not the peer's."""

    def act(handler: server._Handler, seen: server.Seen) -> None:
        handler.wfile.write(HEAD + b"\r\n" + GOOD)
        server.silence(handler, seen)

    failure(act, act, act, kind=UnreachableError, asked=3, limits=SHORT)


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made = engine(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(UnreachableError, match="connection failed: Connection refused, 3 times"):
        made.record.answer(request(), {}, WHO)
    assert made.waits == [1.0, 2.0]


CHOICE = completion("none")["choices"][0]
MISSHAPEN = {
    "truncated JSON": plain(200, GOOD[:-30]),
    "truncated JSON of no declared length": server.raw(HEAD + b"\r\n" + GOOD[:-30]),
    "nothing": plain(200, b""),
    "invalid UTF-8": plain(200, GOOD.replace(b"none", b"n\xffne")),
    "UTF-16": plain(200, json.dumps(completion("none")).encode("utf-16")),
    "a lone surrogate": plain(200, GOOD.replace(b"none", b"\\ud83d")),
    "a field twice": plain(200, GOOD.replace(b'"content":', b'"content": "trial", "content":')),
    "NaN": plain(200, GOOD.replace(b'"created": 1', b'"created": NaN')),
    "nested without end": plain(200, b"[" * 500_000),
    "another thing": json_(200, {"ok": True}),
    "a list": json_(200, []),
    "an error under 200": json_(200, {"error": {"message": "no"}}),
    "no choices": json_(200, {**completion("none"), "choices": []}),
    "two choices": json_(200, {**completion("none"), "choices": [CHOICE, CHOICE]}),
    "choices that are none": json_(200, {**completion("none"), "choices": {"0": CHOICE}}),
    "no message": json_(200, {**completion("none"), "choices": [{"finish_reason": "stop"}]}),
    "no reason to end": json_(200, {**completion("none"), "choices": [{"message": CHOICE["message"]}]}),
    "another speaker": json_(200, completion("none", role="user")),
    "content in parts": json_(200, completion([{"type": "text", "text": "none"}])),
    "content that is a number": json_(200, completion(7)),
    "no model": json_(200, {name: part for name, part in completion("none").items() if name != "model"}),
    "a model of two lines": json_(200, {**completion("none"), "model": "a\nb"}),
    "content beyond what is recorded": json_(200, completion("x" * (2**18 + 1))),
    "a wrong content type": plain(200, GOOD, type_="text/html"),
    "an event stream": plain(200, b"data: " + GOOD + b"\n\n", type_="text/event-stream"),
    "compressed": plain(200, GOOD, {"Content-Encoding": "gzip"}),
    "another success": plain(202, GOOD),
    "no content": server.raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a huge body": server.huge(2**21),
    "a huge declared body": server.cut(b" " * 2**21, 2**21),
}


@pytest.mark.parametrize("act", MISSHAPEN.values(), ids=MISSHAPEN)
def test_what_is_no_answer_is_told_once_and_not_returned(act: Act) -> None:
    failure(act, kind=MisshapenError, asked=1)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (json_(200, completion("half an ans", finish_reason="length")), "ran out of tokens"),
        (json_(200, completion("", finish_reason="content_filter")), "filtered"),
        (json_(200, completion(None, finish_reason="tool_calls", tool_calls=[])), "called a tool"),
        (json_(200, completion("none", finish_reason="eos")), "another reason"),
        (json_(200, completion("none", finish_reason=None)), "another reason"),
        (json_(200, completion(None, refusal="I cannot")), "declined"),
    ],
)
def test_an_unfinished_answer_is_none(act: Act, why: str) -> None:
    assert why in str(failure(act, kind=UnfinishedError, asked=1))


@pytest.mark.parametrize("content", [None, "", " \n\t", "\u2003"])
def test_an_empty_answer_is_none(content: str | None) -> None:
    failure(json_(200, completion(content)), kind=EmptyError, asked=1)


@settings(max_examples=300)
@given(st.data())
def test_no_body_is_a_crash_of_the_reader(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD)))
    raw = GOOD[:at] + data.draw(st.binary(max_size=4)) + GOOD[at + data.draw(st.integers(0, 4)) :]
    found = answer_wire.read(raw, WHO, "0" * 64)
    if not isinstance(found, UnusableError):
        assert Recording.of(request(), found).response == found
    answer_wire.complaint(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["choices", "message", "content", "model", "error"]), inner)
        ),
    )
)
def test_no_json_is_a_crash_of_the_reader(value: object) -> None:
    raw = json.dumps(value).encode()
    assert isinstance(answer_wire.read(raw, WHO, "0" * 64), UnusableError)
    assert isinstance(answer_wire.complaint(raw), str)


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A TLS context of a server under a certificate of its own for `host`, and the certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    today = datetime.now(UTC)
    alternative = x509.DNSName(host) if host == "elsewhere.example" else x509.IPAddress(ipaddress.ip_address(host))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, private = folder / "server.pem", folder / "server.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return context, path


def over_tls(base_url: str, trusted: Path | None, waits: list[float], seconds: float = 20.0) -> Record:
    context = ssl.create_default_context(cafile=trusted)
    limits = LIMITS._replace(seconds=seconds)
    patience = PATIENCE._replace(attempts=2)
    return Record(Caller(Endpoint.parse(base_url), None, waits.append, limits, patience, context))


def test_a_trusted_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    context, path = certificate(tmp_path, "127.0.0.1")
    with serving(said, server.cut(GOOD, 40), context=context) as chat:
        found = over_tls(chat.base_url, path, []).answer(request(), {}, WHO)
    assert found.model == "small-1"
    assert len(chat.seen) == 2
    assert chat.seen[1].headers["host"] == chat.base_url.split("/")[2]


@pytest.mark.parametrize(("host", "known"), [("127.0.0.1", False), ("elsewhere.example", True)])
def test_a_certificate_that_is_not_trusted_or_of_another_is_asked_nothing(
    tmp_path: Path, host: str, known: bool
) -> None:
    context, path = certificate(tmp_path, host)
    with serving(said, context=context) as chat, pytest.raises(UnreachableError, match="certificate not accepted"):
        over_tls(chat.base_url, path if known else None, []).answer(request(), {}, WHO)
    assert chat.seen == []


def test_a_handshake_or_answer_over_tls_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    context, path = certificate(tmp_path, "127.0.0.1")
    slow = server.drip(HEAD + b"A: b\r\n" * 90, 0.02)
    with serving(said, slow, slow, context=context) as chat, pytest.raises(UnreachableError, match="in time"):
        over_tls(chat.base_url, path, [], seconds=0.3).answer(request(), {}, WHO)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,  # takes connections and never speaks
        pytest.raises(UnreachableError, match="in time"),
    ):
        over_tls(f"https://127.0.0.1:{listener.getsockname()[1]}", path, [], 0.3).answer(request(), {}, WHO)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models.example/v1",
        "ftp://models.example/v1",
        "file:///etc/passwd",
        "http://",
        "http://user:pass@models.example/v1",
        "https://models.example/v1?key=pass",
        "https://models.example/v1#pass",
        "http://models.example:99999/v1",
        "http://models.example/v1 pass",
        "http://models.example/v1\r\nX: pass",
        "http://[::1/v1",
        "http://mod\u00e8les.example/v1",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Usage) as caught:
        Endpoint.parse(url)
    assert "pass" not in str(caught.value).replace("passwd", "")
    assert "NOPTIK_LM_BASE_URL" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://models.example/v1", "https://models.example:443/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://[::1]:8000", "http://[::1]:8000/chat/completions"),
    ],
)
def test_an_address_is_where_chats_are_answered_below_it(url: str, told: str) -> None:
    assert str(Endpoint.parse(url)) == told


def test_a_long_text_goes_out_whole() -> None:
    with serving(lambda _: "none") as chat:
        assert engine(chat.base_url).record.answer(request("x" * 100_000), {}, WHO).content == "none"
    assert chat.seen[0].value["messages"][1]["content"] == "x" * 100_000
