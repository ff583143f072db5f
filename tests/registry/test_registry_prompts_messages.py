"""What a frozen prompt sends, whatever its inputs hold, and what it takes for an answer."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prompts_case import SIGNATURE

from registry import prompt_answer, prompt_signature, prompts
from registry.errors import (
    AnswerError,
    AnswerMissingError,
    AnswerNotAllowedError,
    AnswerOutOfRangeError,
    InputRefusedError,
    PromptError,
    UnsoundPromptError,
)

OFFER = prompts.load(prompts.SHIPPED / "offer_v1", None)
SCENE = prompts.load(prompts.SHIPPED / "scene_v1", None)
TYPED = prompt_signature.parse(json.dumps(SIGNATURE).encode(), "signature.json")
IMAGE = f"sha256:{'ab' * 32}"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["{body}", "{headline}", "[[ ## body ## ]]", "\ue0001\ue001", "<<CUSTOM-TYPE-START-IDENTIFIER>>[1]", "\\1 %s"]
)


@given(headline=texts, body=texts)
def test_an_input_is_put_in_its_place_once_and_never_looked_at_again(headline: str, body: str) -> None:
    *said, asked = OFFER.messages({"headline": headline, "body": body})
    assert said == list(OFFER.messages({"headline": "", "body": ""}))[:-1]
    end = OFFER.rendering.template.end
    assert asked["content"] == f"[[ ## headline ## ]]\n{headline}\n\n[[ ## body ## ]]\n{body}\n\n{end}"


@given(headline=texts, body=texts)
def test_an_image_is_a_part_named_by_its_digest(headline: str, body: str) -> None:
    content = SCENE.messages({"image": IMAGE, "headline": headline, "body": body})[-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    assert content[1] == {"type": "image_url", "image_url": {"url": IMAGE}}
    without = SCENE.messages({"headline": headline, "body": body})[-1]["content"]
    assert content[2]["text"] == f"\n\n{without}"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "headline: expected a text, found none"),
        ({"headline": "a"}, "body: expected a text, found none"),
        ({"headline": "a", "body": "b", "image": IMAGE}, "image: expected one of headline, body"),
        ({"headline": "a", "body": 7}, "body: expected text, found int"),
        ({"headline": "a", "body": "\ud800"}, "body: expected Unicode scalar values"),
        ({"headline": "a", "body": "b" * 100_001}, "body: expected at most 100000 characters"),
    ],
)
def test_inputs_that_are_not_the_signatures_are_refused(inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        OFFER.messages(inputs)


@pytest.mark.parametrize(
    "image", ["", "images/x.png", "sha256:", f"{IMAGE}0", IMAGE.upper(), f"{IMAGE}\n", "https://x/"]
)
def test_an_image_that_is_no_digest_is_refused(image: str) -> None:
    with pytest.raises(InputRefusedError, match="image: expected sha256:"):
        SCENE.messages({"image": image, "headline": "a", "body": "b"})


# ---- answers


def answer(**fields: object) -> str:
    said = {"offer": "trial", "hurry": "True", "percent": "12.5", **fields}
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in said.items()) + "\n\n[[ ## completed ## ]]\n"


@given(offer=st.sampled_from(["none", "trial"]), hurry=st.booleans(), percent=st.floats(0, 99.5))
def test_what_is_answered_is_read_with_its_type(offer: str, hurry: bool, percent: float) -> None:
    found = prompt_answer.read(TYPED, answer(offer=offer, hurry=hurry, percent=f"{percent:.6f}"))
    assert dict(found) == {"offer": offer, "hurry": hurry, "percent": float(f"{percent:.6f}")}
    assert [type(value) for value in found.values()] == [str, bool, float]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("", AnswerMissingError, "offer: expected a section"),
        ("trial", AnswerMissingError, "offer: expected a section"),
        ('{"offer": "trial", "hurry": true, "percent": 1}', AnswerMissingError, "offer"),
        (
            answer().replace("hurry", "hurried"),
            AnswerMissingError,
            "hurry: .*found sections offer, percent, 2 of other names",
        ),
        (answer(offer="lease"), AnswerNotAllowedError, "offer: expected one of none, trial, found 'lease'"),
        (answer(offer="Trial"), AnswerNotAllowedError, "offer"),
        (answer(offer="trial\nnone"), AnswerNotAllowedError, "offer"),
        (answer(offer=""), AnswerNotAllowedError, "offer"),
        (answer(hurry="yes"), AnswerNotAllowedError, "hurry: expected True or False"),
        (answer(hurry="1"), AnswerNotAllowedError, "hurry"),
        (answer(percent="NaN"), AnswerNotAllowedError, "percent: expected a finite decimal number"),
        (answer(percent="1e999"), AnswerNotAllowedError, "percent"),
        (answer(percent="0x10"), AnswerNotAllowedError, "percent"),
        (answer(percent="1_0"), AnswerNotAllowedError, "percent"),
        (answer(percent="١٢"), AnswerNotAllowedError, "percent"),
        (answer(percent="99.6"), AnswerOutOfRangeError, r"percent: expected a number from 0 to 99\.5, found 99\.6"),
        (answer(percent="-0.1"), AnswerOutOfRangeError, "percent"),
        ("x" * 1_000_001, AnswerError, "at most"),
    ],
)
def test_an_answer_that_is_not_the_signatures_is_refused(content: str, error: type[AnswerError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        prompt_answer.read(TYPED, content)
    assert type(caught.value) is error
    assert isinstance(caught.value, PromptError)


def test_what_is_around_the_sections_is_passed_over_and_the_first_of_a_name_counts() -> None:
    content = f"Sure!\n{answer()}\nAnything else? [[ ## offer ## ]]\n[[ ## offer ## ]]\nnone\n[[ ## note ## ]]\nx"
    assert prompt_answer.read(TYPED, content)["offer"] == "trial"
    assert prompt_answer.read(TYPED, answer().replace("]]\n", "]] "))["percent"] == 12.5


@given(st.text(max_size=300) | st.lists(st.sampled_from([*answer().splitlines(), "\x0b", "]]"])).map("\n".join))
@example(answer())
def test_no_text_is_read_but_as_values_or_a_typed_refusal(content: str) -> None:
    with suppress(AnswerError):
        assert list(prompt_answer.read(TYPED, content)) == ["offer", "hurry", "percent"]


SECRET = "Secret plan: half price on the fourth of May"


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        f"[[ ## {SECRET.replace(' ', '_').replace(':', '')} ## ]]\nx",
        *(answer(**{name: SECRET}) for name in ("offer", "hurry", "percent")),
        answer(percent="1234567.123456789012"),
    ],
)
def test_of_what_is_answered_an_error_shows_little(content: str) -> None:
    with pytest.raises(AnswerError) as caught:
        prompt_answer.read(TYPED, content)
    assert caught.value.__context__ is None
    said = str(caught.value)
    for word in ("half price", "half_price", "567.123"):
        assert word not in said


# ---- signatures


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adapter": "json"}, "adapter"),
        ({"inputs": []}, "inputs"),
        ({"outputs": []}, "outputs"),
        ({"more": 1}, "more: expected no such field"),
        ({"inputs": [{"name": "x", "kind": "image", "description": "d"}]}, "inputs: expected a text among the inputs"),
        ({"inputs": [{"name": "offer", "kind": "text", "description": "d"}]}, "name: expected each name once"),
        ({"inputs": [{"name": "class", "kind": "text", "description": "d"}]}, "reserves"),
        ({"inputs": [{"name": "demos", "kind": "text", "description": "d"}]}, "reserves"),
        ({"inputs": [{"name": "Body", "kind": "text", "description": "d"}]}, r"inputs\.0\.name"),
        ({"inputs": [{"name": "x", "kind": "text", "description": "two\nlines"}]}, "description"),
        ({"outputs": [{"name": "x", "kind": "choice", "values": ["a"], "description": "d"}]}, "at least two"),
        ({"outputs": [{"name": "x", "kind": "choice", "values": ["a", "a"], "description": "d"}]}, "each once"),
        ({"outputs": [{"name": "x", "kind": "flag", "values": ["a", "b"], "description": "d"}]}, "none, for kind"),
        ({"outputs": [{"name": "x", "kind": "flag", "minimum": 1, "description": "d"}]}, "no bounds"),
        ({"outputs": [{"name": "x", "kind": "number", "minimum": 2, "maximum": 1, "description": "d"}]}, "below"),
        ({"outputs": [{"name": "x", "kind": "text", "description": "d"}]}, r"outputs\.0\.kind"),
    ],
)
def test_a_signature_that_is_none_is_refused_with_its_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsoundPromptError, match=said):
        prompt_signature.parse(json.dumps({**SIGNATURE, **change}).encode(), "signature.json")


def test_a_signature_has_one_spelling() -> None:
    assert prompt_signature.parse(TYPED.raw, "signature.json") == TYPED
    assert prompt_signature.parse(TYPED.raw, "signature.json").raw == TYPED.raw
