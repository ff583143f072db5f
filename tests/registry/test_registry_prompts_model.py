"""The models that compiling asks: where an endpoint's key goes, and how a question that is not answered ends."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from audit.bearer import Key
from audit.caller import Caller, Patience
from audit.errors import AuditError, KeyRefused, Unavailable, Usage
from audit.exchange import Endpoint, Limits
from registry import cli, nearest, prompt_model, prompts
from registry.errors import RegistryUnavailableError
from registry.prompt_model import BASE_URL, KEY_FILE, Nearest, Served
from tests.creatives import server
from tests.creatives.server import Act, completion, echo, json_, plain, serving, status
from tests.fresh import REPOSITORY

KEY = "nk-5Hq8Wd3Ry6TzB1mKx0Vf"  # of nothing: made up for the tests
ASKED = [{"role": "system", "content": "Say what is on offer."}, {"role": "user", "content": "Half price"}]


def key_file(folder: Path, text: str = KEY, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.touch(mode)
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def served(base_url: str, folder: Path, seconds: float = 20.0) -> Served:
    """A model that is asked under the key, twice at most and without waiting."""
    limits = Limits(connect_seconds=10.0, seconds=seconds, max_bytes=2**20)
    key = Key.read(key_file(folder))
    endpoint = Endpoint.parse(base_url)
    return Served("small-1", "1", Caller(endpoint, key, lambda _: None, limits, Patience(2, 1.0, 60.0)))


def everything(error: BaseException) -> str:
    """All that an error tells, its chain and the locals of its frames included; the frame of the test aside."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return f"{error.args} {error.__cause__!r} {error.__context__!r} {''.join(report.format())}"


def parts(text: str) -> list[str]:
    return [KEY[at : at + 8] for at in range(len(KEY) - 7) if KEY[at : at + 8].lower() in text.lower()]


def test_the_embedded_model_needs_no_endpoint() -> None:
    assert prompt_model.named(nearest.NAME, "1", {}) == Nearest()


def test_the_key_is_read_from_its_file_and_goes_in_one_header(tmp_path: Path) -> None:
    with serving(lambda _: "trial") as chat:
        environ = {BASE_URL: chat.base_url, KEY_FILE: str(key_file(tmp_path)), "NOPTIK_LM_API_KEY": "another-key"}
        model = prompt_model.named("small-1", "2026-11", environ)
        assert model.ask(ASKED, 0.0, 64) == "trial"
        assert prompt_model.named("small-1", "1", {BASE_URL: chat.base_url}).ask(ASKED, 0.5, 64) == "trial"
    first, second = chat.seen
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.value == {"model": "small-1", "messages": ASKED, "temperature": 0.0, "max_tokens": 64}
    assert "authorization" not in second.headers
    assert parts(repr(model)) == []


@pytest.mark.parametrize(
    ("base", "mode", "error"),
    [
        ("http://lm.example/v1", 0o600, Usage),  # read by whoever is on the way
        ("https://lm.example/v1", 0o640, KeyRefused),
        ("https://lm.example/v1", 0o604, KeyRefused),
        ("https://user:word@lm.example/v1", 0o600, Usage),
        ("ftp://lm.example/v1", 0o600, Usage),
    ],
)
def test_a_key_that_others_could_read_is_not_sent(
    base: str, mode: int, error: type[AuditError], tmp_path: Path
) -> None:
    environ = {BASE_URL: base, KEY_FILE: str(key_file(tmp_path, mode=mode))}
    with pytest.raises(error) as caught:
        prompt_model.named("small-1", "1", environ)
    assert parts(everything(caught.value)) == []


def test_a_key_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        prompt_model.named("m", "1", {BASE_URL: "https://lm.example/v1", KEY_FILE: str(tmp_path / "none")})
    with pytest.raises(RegistryUnavailableError, match=BASE_URL):
        prompt_model.named("m", "1", {KEY_FILE: str(key_file(tmp_path))})


def test_the_command_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(BASE_URL, "http://lm.example/v1")
    monkeypatch.setenv(KEY_FILE, str(key_file(tmp_path)))
    labels = REPOSITORY / "data" / "creatives" / "labels"
    files = ["--train", str(labels / "train.jsonl"), "--held-out", str(labels / "held_out.jsonl")]
    how = ["--optimiser", "none", "--seed", "1", "--model", "small-1", "-o", str(tmp_path / "draft")]
    signature = str(prompts.SHIPPED / "offer_v1" / "signature.json")
    assert cli.main(["prompts", "compile", signature, *files, *how]) == 2
    said = capsys.readouterr().err
    assert said.startswith("registry: http://lm.example:80/v1/chat/completions: a key is not sent where it can be read")
    assert said.count("\n") == 1
    assert parts(said) == []


FAILURES: dict[str, tuple[str, int, Act]] = {
    "refused": ("HTTP status 401", 1, echo(lambda key: status(401, message=key))),
    "failing": ("HTTP status 500, 2 times", 2, echo(lambda key: status(500, message=key))),
    "limited": ("HTTP status 429; asks to wait longer than 60 s", 1, status(429, {"Retry-After": "61"})),
    "sent elsewhere": ("HTTP status 302", 1, echo(lambda key: plain(302, b"", {"Location": f"/?{key}"}))),
    "no JSON": ("not JSON", 1, echo(lambda key: plain(200, b'{"choices": [' + key.encode()))),
    "no choice": ("no text at choices", 1, json_(200, {"choices": []})),
    "a list": ("no text at choices", 1, json_(200, [1])),
    "no text": ("no text at choices", 1, json_(200, completion(None))),
    "the key": ("the key of the endpoint in it", 1, echo(lambda key: json_(200, completion(key.upper())))),
    "the key, escaped": (
        "the key of the endpoint in it",
        1,
        plain(
            200,
            b'{"choices": [{"message": {"content": "%b"}}]}' % "".join(f"\\u{ord(c):04x}" for c in KEY).encode(),
        ),
    ),
    "the key beside": ("the key of the endpoint in it", 1, echo(lambda key: json_(200, {**completion("a"), "x": key}))),
    "too much": (f"more than {2**20} bytes", 1, server.huge(2**21)),
    "cut off": ("broke off, 2 times", 2, server.cut(b"{" * 200, 100)),
    "no HTTP": ("not an answer in HTTP", 2, echo(lambda key: server.raw(f"HTTP/9 {key}\r\n\r\n".encode()))),
}


@pytest.mark.parametrize(("why", "asked", "act"), FAILURES.values(), ids=FAILURES)
def test_what_is_no_answer_is_said_without_the_key(why: str, asked: int, act: Act, tmp_path: Path) -> None:
    with serving(lambda _: "trial", *[act] * asked) as chat:
        model = served(chat.base_url, tmp_path)
        with pytest.raises(
            RegistryUnavailableError, match=f"{BASE_URL}: expected an answer of small-1, found"
        ) as caught:
            model.ask(ASKED, 0.0, 64)
    assert why in str(caught.value)
    assert len(chat.seen) == asked
    assert parts(everything(caught.value)) == []


@pytest.mark.parametrize("act", [server.silence, server.drip(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 9999, 0.05)])
def test_a_question_ends_however_slowly_it_is_answered(act: Act, tmp_path: Path) -> None:
    with serving(lambda _: "trial", act, act) as chat:
        model = served(chat.base_url, tmp_path, seconds=0.3)
        with pytest.raises(RegistryUnavailableError, match="not answered in time, 2 times"):
            model.ask(ASKED, 0.0, 64)


def test_a_question_that_holds_the_key_is_not_sent(tmp_path: Path) -> None:
    with serving(lambda _: "trial") as chat, pytest.raises(RegistryUnavailableError) as caught:
        served(chat.base_url, tmp_path).ask([{"role": "user", "content": f"Our key is {KEY}"}], 0.0, 64)
    assert chat.seen == []
    assert parts(str(caught.value)) == []
