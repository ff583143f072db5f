"""Chat completions as OpenAI-compatible endpoints speak them: a request's bytes, and what an answer's bytes say."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from audit import canonical
from audit.digest import sha256
from audit.errors import DigestMismatch, Malformed, Unavailable, Usage
from audit.recording import ImagePart, Message, Request, Response
from stages.answering import EmptyError, MisshapenError, UnfinishedError, UnusableError

MAX_SAID: Final = 200  # characters of an endpoint's own words that an error repeats
_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
_REASONS: Mapping[str, str] = {
    "length": "it ran out of tokens",
    "content_filter": "it was filtered",
    "tool_calls": "it called a tool",
}
E = TypeVar("E", bound=UnusableError)


class _Loose(BaseModel):
    """What is read of a peer's answer: the fields below as they are, whatever others there are."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Said(_Loose):
    role: Literal["assistant"] = "assistant"
    content: str | None = None
    refusal: str | None = None


class _Choice(_Loose):
    message: _Said
    finish_reason: str | None


class _Completion(_Loose):
    model: str
    choices: tuple[_Choice, ...]


def body(request: Request, images: Mapping[str, bytes], who: str) -> bytes:
    """The bytes that ask `request` of an endpoint, images spelled out: canonical JSON.

    Unavailable: an image is not among `images`. DigestMismatch: it is another. Usage: no image of a kind that is sent.
    """
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message, images, who) for message in request.messages],
        "stream": False,
        **request.settings.model_dump(mode="json", exclude_none=True),
    }
    return canonical.encode(fields)


def read(raw: bytes, who: str, digest: str) -> Response | UnusableError:
    """The answer in the body of an endpoint's answer, or why it is none; `digest`: of the request.

    Returned, not raised: a traceback from here would hold `raw`.
    """
    try:
        canonical.decode(raw, floats=True, where="answer")
        said = _Completion.model_validate_json(raw)
    except Malformed as error:
        return _no(MisshapenError, f"not JSON that every reader reads alike: {error.what}", who, digest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        return _no(MisshapenError, f"not a chat completion: {field}: {first['msg']}", who, digest)
    if len(said.choices) != 1:
        return _no(MisshapenError, f"expected one choice, found {len(said.choices)}", who, digest)
    choice = said.choices[0]
    if choice.message.refusal is not None:
        return _no(UnfinishedError, "the model declined", who, digest)
    if choice.finish_reason != "stop":
        why = _REASONS.get(choice.finish_reason or "", "for another reason")
        return _no(UnfinishedError, f"the model did not finish: {why}", who, digest)
    content = choice.message.content or ""
    if not content.strip():
        return _no(EmptyError, "the model said nothing", who, digest)
    try:
        return Response(content=content, model=said.model, finish_reason="stop")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return _no(MisshapenError, f"not an answer to record: {first['loc'][0]}: {first['msg']}", who, digest)


def complaint(raw: bytes) -> str:
    """What an endpoint says is wrong, if it says so as such endpoints do: its words, uncut; empty: it does not."""
    try:
        value = canonical.decode(raw, floats=True, where="answer")
    except Malformed:
        return ""
    inner = value.get("error", value) if isinstance(value, dict) else ""
    words = inner.get("message") if isinstance(inner, dict) else inner
    return words if isinstance(words, str) else ""


def _no(kind: type[E], what: str, who: str, digest: str) -> E:
    return kind(what, who, f"an answer to request {digest}")


def _message(message: Message, images: Mapping[str, bytes], who: str) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            parts.append({"type": part.type, "image_url": {"url": _data_url(part.image_url.url, images, who)}})
        else:
            parts.append({"type": part.type, "text": part.text})
    return {"role": message.role, "content": parts}


def _data_url(name: str, images: Mapping[str, bytes], who: str) -> str:
    if name not in images:
        raise Unavailable("an image of the request is not here", who, name, f"{len(images)} others")
    raw = images[name]
    if (found := f"sha256:{sha256(raw)}") != name:
        raise DigestMismatch("an image of the request", who, name, found)
    return f"data:{_media_type(raw, name)};base64,{base64.b64encode(raw).decode('ascii')}"


def _media_type(raw: bytes, name: str) -> str:
    for magic, kind in _MAGIC.items():
        if raw.startswith(magic):
            return kind
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    raise Usage("no image that an endpoint is sent", name, "PNG, JPEG, GIF or WebP", raw[:12])
