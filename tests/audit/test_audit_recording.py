"""Laws of recordings: one byte form, both digests hold, a request is found by what it asks, and no text in an error."""

from __future__ import annotations

import hashlib
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import recording
from audit.errors import AuditError, DigestMismatch, Inconsistent, Malformed, Tampered, Unavailable, Usage
from audit.recording import Recording, Recordings, Request, Response, Settings

VECTORS = Path(__file__).parent / "recordings"
RAW = (VECTORS / "vectors.jsonl").read_bytes()
KNOWN = Recordings.parse(RAW, "vectors")
TEXT = "Zwei Wochen gratis"


def asked(content: Any = TEXT, *, model: str = "m", revision: str = "r", **more: Any) -> Request:
    chosen = Settings(**({"temperature": 0, "max_tokens": 8} | more))
    return Request.of(model=model, revision=revision, messages=({"role": "user", "content": content},), settings=chosen)


def said(content: str = "none", model: str = "m") -> Response:
    return Response(content=content, model=model, finish_reason="stop")


def canonical_json(value: Any) -> bytes:
    """By the standard library alone."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def line(value: Any) -> bytes:
    """The line of `value`, under digests that hold."""
    value["request_sha256"] = hashlib.sha256(canonical_json(value["request"])).hexdigest()
    parts = {name: value[name] for name in ("request", "request_sha256", "response") if name in value}
    return canonical_json(value | {"sha256": hashlib.sha256(canonical_json(parts)).hexdigest()}) + b"\n"


def example() -> dict[str, Any]:
    """A good recording, to be spoilt."""
    value: dict[str, Any] = json.loads(Recording.of(asked(), said()).line)
    del value["sha256"]
    return value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
parts = st.one_of(
    texts.map(lambda text: {"type": "text", "text": text}),
    digests.map(lambda name: {"type": "image_url", "image_url": {"url": name}}),
)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    st.one_of(texts, st.lists(parts, min_size=1, max_size=3)),
)
requests = st.builds(
    lambda name, chat, tokens, seed: Request.of(
        model=name,
        revision="r",
        messages=chat,
        settings=Settings(temperature=0, max_tokens=tokens, seed=seed),
    ),
    st.sampled_from(["m", "lab/m:7b"]),
    st.lists(messages, min_size=1, max_size=3),
    st.integers(1, 2**17),
    st.none() | st.integers(0, 2**31 - 1),
)
responses = st.builds(said, texts.filter(lambda text: bool(text.strip())))
recordings = st.lists(
    st.builds(Recording.of, requests, responses), max_size=4, unique_by=lambda one: one.request_sha256
)


def test_committed_recordings_have_the_digests_that_were_stated_for_them() -> None:
    stated = json.loads((VECTORS / "digests.json").read_bytes())
    assert hashlib.sha256(RAW).hexdigest() == stated["file"]
    assert [{"request_sha256": one.request_sha256, "sha256": one.sha256} for one in KNOWN] == stated["recordings"]
    assert KNOWN.raw == RAW
    for one in KNOWN:
        assert Recording.of(one.request, one.response) == one
        assert KNOWN.get(one.request) == one


@given(recordings)
def test_what_is_written_is_read_again_and_every_request_finds_its_answer(made: list[Recording]) -> None:
    kept = Recordings().with_(made)
    again = Recordings.parse(kept.raw, "file")
    assert again == kept
    assert again.raw == kept.raw
    for one in made:
        assert again.get(one.request).response == one.response
        value = json.loads(one.line)
        whole = value.pop("sha256")
        assert one.line == canonical_json(json.loads(one.line))
        assert whole == hashlib.sha256(canonical_json(value)).hexdigest()
        assert one.request_sha256 == hashlib.sha256(canonical_json(value["request"])).hexdigest()


@given(recordings, st.randoms(use_true_random=False))
def test_a_file_does_not_depend_on_the_order_of_recording(made: list[Recording], random: Any) -> None:
    shuffled = random.sample(made, len(made))
    one_by_one = Recordings()
    for each in shuffled:
        one_by_one = one_by_one.with_([each])
    assert one_by_one.raw == Recordings().with_(made).raw
    assert one_by_one.with_(made) == one_by_one


@pytest.mark.parametrize("change", [lambda byte: byte ^ 1, lambda byte: byte ^ 32, lambda byte: byte ^ 128])
def test_every_single_changed_byte_is_refused(change: Any) -> None:
    for at in range(len(RAW)):
        with pytest.raises(Tampered, match=r"vectors:[1-4]: "):
            Recordings.parse(RAW[:at] + bytes([change(RAW[at])]) + RAW[at + 1 :], "vectors")


def test_every_byte_left_out_or_put_in_is_refused() -> None:
    for at in range(len(RAW)):
        with pytest.raises(Tampered):
            Recordings.parse(RAW[:at] + RAW[at + 1 :], "vectors")
        with pytest.raises(Tampered):
            Recordings.parse(RAW[:at] + b"0" + RAW[at:], "vectors")


def test_a_file_cut_anywhere_but_between_lines_is_refused() -> None:
    ends = [at + 1 for at, byte in enumerate(RAW) if byte == 10]
    for at in range(1, len(RAW)):
        if at in ends:
            assert len(Recordings.parse(RAW[:at], "vectors")) == ends.index(at) + 1
        else:
            with pytest.raises(Malformed, match="last recording cut off"):
                Recordings.parse(RAW[:at], "vectors")


def test_a_deleted_line_is_missed_by_who_asks_for_it() -> None:
    lines = RAW.splitlines(keepends=True)
    for at, gone in enumerate(KNOWN):
        rest = Recordings.parse(b"".join(lines[:at] + lines[at + 1 :]), "vectors")
        with pytest.raises(Unavailable) as caught:
            rest.get(gone.request, "offer of tv_001")
        assert gone.request not in rest
        for told in (gone.request_sha256, gone.request.model, gone.request.revision, "offer of tv_001"):
            assert told in str(caught.value)


HOSTILE: dict[str, Any] = {
    "an unknown field": lambda v: v.update(headers={"Authorization": "Bearer x"}),
    "an unknown field of the request": lambda v: v["request"].update(stream=False),
    "an unknown setting": lambda v: v["request"]["settings"].update(top_p=1),
    "a null where a field may be left out": lambda v: v["request"]["settings"].update(seed=None),
    "a warm temperature": lambda v: v["request"]["settings"].update(temperature=1),
    "a temperature that is no number": lambda v: v["request"]["settings"].update(temperature=False),
    "no tokens": lambda v: v["request"]["settings"].update(max_tokens=0),
    "too many tokens": lambda v: v["request"]["settings"].update(max_tokens=2**17 + 1),
    "tokens in words": lambda v: v["request"]["settings"].update(max_tokens="8"),
    "no messages": lambda v: v["request"].update(messages=[]),
    "another role": lambda v: v["request"]["messages"][0].update(role="tool"),
    "a message without content": lambda v: v["request"]["messages"][0].pop("content"),
    "content that is no text": lambda v: v["request"]["messages"][0].update(content=7),
    "content of no parts": lambda v: v["request"]["messages"][0].update(content=[]),
    "a part of another type": lambda v: v["request"]["messages"][0].update(content=[{"type": "audio", "text": "a"}]),
    "an image by address": lambda v: v["request"]["messages"][0].update(
        content=[{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}]
    ),
    "an image in the open": lambda v: v["request"]["messages"][0].update(
        content=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    ),
    "an image's digest with a line feed": lambda v: v["request"]["messages"][0].update(
        content=[{"type": "image_url", "image_url": {"url": f"sha256:{'a' * 64}\n"}}]
    ),
    "a model without a name": lambda v: v["request"].update(model=""),
    "a model with a space in its name": lambda v: v["request"].update(model="a b"),
    "a revision with a line feed": lambda v: v["request"].update(revision="r\n"),
    "an unfinished answer": lambda v: v["response"].update(finish_reason="length"),
    "an answer without a reason": lambda v: v["response"].pop("finish_reason"),
    "an empty answer": lambda v: v["response"].update(content=""),
    "a blank answer": lambda v: v["response"].update(content=" \n\u2003"),
    "no answer": lambda v: v.pop("response"),
    "a text that is too long": lambda v: v["response"].update(content="a" * (2**18 + 1)),
    "a list of answers": lambda v: v.update(response=[v["response"]]),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_a_recording_of_another_form_is_refused_whatever_its_digests(spoil: Any) -> None:
    value = example()
    assert len(Recordings.parse(line(value), "file")) == 1
    spoil(value)
    with pytest.raises(Malformed, match=r"^file:1: no recording: "):
        Recordings.parse(line(value), "file")


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\n",
        b"\xef\xbb\xbf" + RAW,
        RAW + b"\n",
        RAW.replace(b"\n", b"\r\n"),
        RAW.replace(b'{"request"', b'{ "request"', 1),
        RAW.replace(b'"temperature":0', b'"temperature":0.0', 1),
        RAW.replace(b'"temperature":0', b'"temperature":-0', 1),
        RAW.replace(b'"temperature":0', b'"temperature":0,"temperature":0', 1),
        RAW.replace("—".encode(), b"\\u2014", 1),
        RAW.replace("—".encode(), b"\\ud83d", 1),
        b"[" * 100_000 + b"\n",
        RAW.replace(b"\n", b"\n" + b" " * recording.MAX_LINE_BYTES, 1),
    ],
    ids=lambda raw: ascii(raw[:24]),
)
def test_bytes_that_two_readers_might_read_differently_are_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Recordings.parse(raw, "file")


def test_a_file_that_is_too_long_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_FILE_BYTES", len(RAW) - 1)
    with pytest.raises(Malformed, match="recordings too long"):
        Recordings.parse(RAW, "file")
    with pytest.raises(Usage, match="too many recordings"):
        Recordings().with_(KNOWN)


def test_lines_out_of_order_or_twice_are_refused() -> None:
    first, second, third = RAW.splitlines(keepends=True)
    for raw in (second + first + third, first + first, first + third + second):
        with pytest.raises(Malformed, match=r"file:[23]: recordings out of order, or a request twice"):
            Recordings.parse(raw, "file")


def test_two_answers_to_one_request_are_not_held_together() -> None:
    request = asked()
    kept = Recordings().with_([Recording.of(request, said("none"))])
    with pytest.raises(Inconsistent, match="two answers to one request"):
        kept.with_([Recording.of(request, said("trial"))])
    assert kept.get(request).response.content == "none"


def test_a_recording_whose_digests_do_not_hold_is_not_taken() -> None:
    good = Recording.of(asked(), said())
    for spoilt in (
        good.model_copy(update={"response": said("trial")}),
        good.model_copy(update={"request": asked("another")}),
        good.model_copy(update={"sha256": "0" * 64}),
        good.model_copy(update={"request_sha256": "0" * 64}),
    ):
        with pytest.raises(DigestMismatch):
            Recordings().with_([spoilt])


def test_an_answer_is_not_moved_to_another_request() -> None:
    value = example()
    value["request_sha256"] = asked("another").sha256
    parts = {name: value[name] for name in ("request", "request_sha256", "response")}
    moved = canonical_json(value | {"sha256": hashlib.sha256(canonical_json(parts)).hexdigest()}) + b"\n"
    with pytest.raises(DigestMismatch, match=r"^file:1: request of a recording"):
        Recordings.parse(moved, "file")


@pytest.mark.parametrize(
    "other",
    [
        asked(TEXT + " "),
        asked([{"type": "text", "text": TEXT}]),
        asked(model="n"),
        asked(revision="s"),
        asked(max_tokens=9),
        asked(seed=0),
        Request.of(
            model="m",
            revision="r",
            messages=({"role": "system", "content": TEXT},),
            settings=Settings(temperature=0, max_tokens=8),
        ),
    ],
)
def test_everything_that_decides_an_answer_is_part_of_the_request(other: Request) -> None:
    kept = Recordings().with_([Recording.of(asked(), said())])
    assert other.sha256 != asked().sha256
    assert asked() in kept
    with pytest.raises(Unavailable):
        kept.get(other)


@pytest.mark.parametrize(
    "content", [None, 7, b"bytes", "\ud83d", [], [{"type": "text"}], "a" * (recording.MAX_TEXT + 1)], ids=repr
)
def test_what_is_no_message_is_no_request(content: Any) -> None:
    with pytest.raises(Usage):
        asked(content)


def test_a_request_of_many_long_messages_is_refused() -> None:
    long = tuple({"role": "user", "content": "\u0001" * 2**17} for _ in range(4))  # six bytes each when written
    with pytest.raises(Usage, match="bytes of canonical JSON"):
        Request.of(model="m", revision="r", messages=long, settings=Settings(temperature=0, max_tokens=8))


def test_the_longest_texts_fit_in_a_line() -> None:
    longest = Recording.of(asked("\u0001" * recording.MAX_TEXT), said("\u0001" * recording.MAX_TEXT))
    kept = Recordings().with_([longest])
    assert Recordings.parse(kept.raw, "file") == kept
    assert recording.MAX_REQUEST_BYTES + 6 * recording.MAX_TEXT + 1000 < recording.MAX_LINE_BYTES


def test_the_images_of_a_request_are_named_once_and_in_order() -> None:
    urls = [f"sha256:{digit * 64}" for digit in "ba"]
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in [*urls, urls[0]]]
    assert asked([*shown, {"type": "text", "text": TEXT}]).images == tuple(sorted(urls))
    assert asked().images == ()


def test_no_error_repeats_a_clients_text() -> None:
    secret = "Nordlicht-Kampagne 2031"
    good = Recording.of(asked(secret), said(secret))
    bad = [
        good.line,
        good.line.replace(secret.encode(), secret.encode() + b"!") + b"\n",
        good.line.replace(secret[:1].encode(), b"\\u004e") + b"\n",
        good.line.replace(b'"role"', b'"wrong"') + b"\n",
        good.line[:-30] + b"\n",
        good.line.replace(b'"content":"', b'"content":"x","content":"', 1) + b"\n",
    ]
    for raw in bad:
        with pytest.raises(AuditError) as caught:
            Recordings.parse(raw, "file")
        assert secret not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(Unavailable) as missed:
        Recordings().get(good.request, "offer of tv_001")
    assert secret not in str(missed.value)
    with pytest.raises(Usage) as refused:
        asked([{"type": "text", "text": secret, "more": secret}])
    assert secret not in "".join(traceback.format_exception(refused.value))


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda raw: raw + b"\n")))
def test_no_bytes_are_a_crash(raw: bytes) -> None:
    try:
        parsed = Recordings.parse(raw, "file")
    except Malformed:
        return
    assert parsed.raw == raw


@settings(max_examples=300)
@given(st.data())
def test_no_json_of_about_this_form_is_a_crash(data: st.DataObject) -> None:
    anything = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "url", "a"]), inner),
        max_leaves=6,
    )
    value = example()
    place: Any = data.draw(
        st.sampled_from(
            [value["request"], value["request"]["settings"], value["request"]["messages"][0], value["response"]]
        )
    )
    name = data.draw(st.sampled_from([*place, "more"]))
    place[name] = data.draw(anything)
    raw = line(value)
    try:
        parsed = Recordings.parse(raw, "file")
    except Malformed:
        return
    assert parsed.raw == raw
