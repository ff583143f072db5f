"""The endpoint's key is in one header, and then nowhere: not in a recording, an error, its chain, its frames, a log."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.bearer import HIDDEN, SHORTEST, WINDOW, Key
from audit.errors import KeyRefused, Unavailable, Usage
from audit.exchange import Endpoint
from audit.recording import Recordings
from audit.secret import Secret
from stages.answer_record import Record
from stages.answering import (
    IncompleteError,
    LeakError,
    MisshapenError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
    UnreachableError,
)
from stages.record_features import record
from tests.creatives import server
from tests.creatives.server import Act, completion, echo, json_, plain, raw, serving, status
from tests.stages.record_case import SECRET, WHO, engine, key_file, request, said

GOOD = json.dumps(completion("none"))


def escaped(text: str) -> str:
    """`text` in escapes of JSON: another way to write the same."""
    return "".join(f"\\u{ord(one):04x}" for one in text)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and whatever it came from, suppressed or not."""
    stack, seen = [error], set[int]()
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            stack += [each for each in (one.__cause__, one.__context__) if each is not None]


def everything(error: BaseException) -> str:
    """All that could be read off an error: words, arguments, attributes, and the locals of every frame."""
    told = []
    for one in chain(error):
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        told += [repr(one), repr(one.args), repr(vars(one)), *report.format()]
    return "\n".join(told)


def parts(text: str) -> list[str]:
    """What of the key would be too much: eight of its characters in a row, in any case."""
    key = SECRET.lower()
    return [part for i in range(len(key) - SHORTEST + 1) if (part := key[i : i + SHORTEST]) in text.lower()]


ECHOES: dict[str, tuple[type[NoAnswerError], int, Act]] = {
    "in the answer": (LeakError, 1, echo(lambda key: json_(200, completion(f"none {key}")))),
    "in the answer, in capitals": (LeakError, 1, echo(lambda key: json_(200, completion(key.upper())))),
    "in the answer, most of it": (LeakError, 1, echo(lambda key: json_(200, completion(key[:-6])))),
    "in the answer, escaped": (
        LeakError,
        1,
        echo(lambda key: plain(200, GOOD.replace("none", escaped(key)).encode())),
    ),
    "as the model": (LeakError, 1, echo(lambda key: json_(200, {**completion("none"), "model": key}))),
    "as the model, escaped": (
        LeakError,
        1,
        echo(lambda key: plain(200, GOOD.replace("served-1", escaped(key.removeprefix("Bearer "))).encode())),
    ),
    "beside the answer": (LeakError, 1, echo(lambda key: json_(200, {**completion("none"), "debug": key}))),
    "in a reason": (LeakError, 1, echo(lambda key: json_(200, completion("none", finish_reason=key)))),
    "in no JSON": (LeakError, 1, echo(lambda key: plain(200, f"<p>{key}</p>".encode()))),
    "in no JSON, escaped": (MisshapenError, 1, echo(lambda key: plain(200, f'{{"a": "{escaped(key)}"'.encode()))),
    "as a content type": (MisshapenError, 1, echo(lambda key: plain(200, b"{}", type_=key))),
    "in an error": (RefusedError, 1, echo(lambda key: status(401, message=f"Incorrect key: {key}. See the help."))),
    "in an error, escaped": (
        RefusedError,
        1,
        echo(lambda key: plain(400, f'{{"error": {{"message": "{escaped(key)}"}}}}'.encode())),
    ),
    "in an error, half": (RefusedError, 1, echo(lambda key: status(401, message=f"no such key: {key[:16]}***"))),
    "in an error, cut by its end": (RefusedError, 1, echo(lambda key: status(400, message="x " * 92 + key))),
    "in an error, in capitals": (RefusedError, 1, echo(lambda key: status(400, message=key.upper()))),
    "in an error of HTML": (RefusedError, 1, echo(lambda key: plain(403, key.encode(), type_="text/html"))),
    "in a fault": (ServerFaultError, 3, echo(lambda key: status(500, message=key))),
    "in a limit": (RateLimitedError, 3, echo(lambda key: status(429, {"Retry-After": key}, key))),
    "in a redirect": (RefusedError, 1, echo(lambda key: plain(302, b"", {"Location": f"/?{key}"}))),
    "as a status line": (UnreachableError, 3, echo(lambda key: raw(f"HTTP/9 {key}\r\n\r\n".encode()))),
    "as garbage": (UnreachableError, 3, echo(lambda key: raw(f"{key}\r\n\r\n".encode()))),
    "as a chunk's length": (
        UnreachableError,
        3,
        echo(lambda key: raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n".encode())),
    ),
    "before it breaks off": (UnreachableError, 3, echo(lambda key: server.cut(key.encode() * 9, 100))),
}


@pytest.mark.parametrize(("kind", "asked", "act"), ECHOES.values(), ids=ECHOES)
def test_a_key_that_comes_back_is_told_to_nobody(
    kind: type[NoAnswerError],
    asked: int,
    act: Act,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    into = tmp_path / "recordings.jsonl"
    caplog.set_level(0)
    with serving(said, *[act] * asked) as chat:
        made = engine(chat.base_url, tmp_path)
        with pytest.raises(NoAnswerError) as caught:
            record([(request(), WHO)], {}, into, made.record)
    error = caught.value.causes[0] if isinstance(caught.value, IncompleteError) else caught.value
    assert type(error) is kind
    assert [seen.headers["authorization"] for seen in chat.seen] == [f"Bearer {SECRET}"] * asked
    assert parts(everything(caught.value)) == []
    assert parts(everything(error)) == []
    assert parts(caplog.text + "".join(capfd.readouterr())) == []
    assert not into.exists()


def test_the_rest_of_an_error_is_told() -> None:
    key = Key(Secret(SECRET.encode()))
    assert key.hide(f"Incorrect key: {SECRET}. See the help.") == f"Incorrect key: {HIDDEN} See the help."
    assert key.hide("no such model: small-1") == "no such model: small-1"


def test_the_search_finds_a_key_wherever_an_error_may_hold_it() -> None:
    def fail(secret: str) -> None:
        try:
            int(secret)
        except ValueError:
            raise RuntimeError("no") from None

    with pytest.raises(RuntimeError) as caught:
        fail(SECRET)
    assert parts(str(caught.value)) == []
    assert parts(everything(caught.value)) != []


def test_a_recording_holds_no_key_and_no_address(tmp_path: Path) -> None:
    into = tmp_path / "recordings.jsonl"
    with serving(said) as chat:
        assert record([(request(), WHO)], {}, into, engine(chat.base_url, tmp_path).record) == 1
        address = chat.base_url
    (seen,) = chat.seen
    assert seen.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET.encode() not in seen.body
    kept = into.read_bytes()
    assert len(Recordings.parse(kept, "file")) == 1
    for secret in (SECRET, "Bearer", "uthorization", base64.b64encode(SECRET.encode()).decode(), address.split("/")[2]):
        assert secret.encode() not in kept


@pytest.mark.parametrize("text", [SECRET, f"Our key is {SECRET.upper()}!", f"{SECRET[:WINDOW]}..."])
def test_a_creative_that_holds_the_key_is_not_sent(text: str, tmp_path: Path) -> None:
    with serving(said) as chat, pytest.raises(LeakError) as caught:
        engine(chat.base_url, tmp_path).record.answer(request(text), {}, WHO)
    assert chat.seen == []
    assert parts(str(caught.value)) == []


def test_without_a_key_no_header_is_sent() -> None:
    with serving(said) as chat:
        engine(chat.base_url).record.answer(request(), {}, WHO)
    assert "authorization" not in chat.seen[0].headers


@pytest.mark.parametrize("url", ["http://models.example/v1", "http://10.0.0.1:8000", "http://127.evil.example"])
def test_a_key_is_not_sent_where_it_could_be_read_on_the_way(url: str, tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        Record.at(url, key_file(tmp_path), lambda _: None)
    assert parts(everything(caught.value)) == []
    assert Record.at(url, None, lambda _: None).caller.key is None


@pytest.mark.parametrize("url", ["https://models.example/v1", "http://localhost:1", "http://127.8.8.8", "http://[::1]"])
def test_a_key_is_sent_in_private(url: str, tmp_path: Path) -> None:
    made = Record.at(url, key_file(tmp_path), lambda _: None)
    assert made.caller.endpoint == Endpoint.parse(url)
    assert parts(repr(made)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "two words of key",
        "line\nfeed-of-a-key",
        "header\r\nX-Evil: yes",
        "schl\u00fcssel-wort",
        "a" * 5000,
    ],
)
def test_what_is_no_token_is_no_key(text: str, tmp_path: Path) -> None:
    with pytest.raises(KeyRefused) as caught:
        Key.read(key_file(tmp_path, text))
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(KeyRefused, match="open to others"):
        Key.read(path)


def test_a_key_behind_a_link_or_missing_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key_file(tmp_path))
    with pytest.raises(KeyRefused, match="symbolic link"):
        Key.read(tmp_path / "link")
    with pytest.raises(Unavailable):
        Key.read(tmp_path / "none")


tokens = st.text("ABCabc019._~+/=-", min_size=SHORTEST, max_size=60)


@given(tokens, st.text(max_size=20), st.text(max_size=20))
def test_a_key_is_found_and_hidden_among_any_words(token: str, before: str, after: str) -> None:
    key = Key(Secret(token.encode()))
    for text in (before + token + after, before + token.upper() + after):
        assert key.shows_in(text.encode("utf-8", "replace"))
        assert token.lower() not in key.hide(text).replace(HIDDEN, "\0").lower()


@given(st.text("xyz ", max_size=60))
def test_words_without_the_key_are_left_alone(text: str) -> None:
    key = Key(Secret(SECRET.encode()))
    assert not key.shows_in(text.encode())
    assert key.hide(text) == text
