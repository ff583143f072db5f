"""Recordings: what a model was asked and what it answered, so that the answer is had again when the model is gone.

    request     model, revision, messages and settings: everything that decides an answer, and nothing about who asks
    response    what was answered, to the letter, by which model, and that it was finished
    recording   both, with the digest that the request is found by and the digest of the whole

A file of recordings is one line of canonical JSON a recording, in the order of their requests' digests:

    {"request":{...},"request_sha256":"...","response":{...},"sha256":"..."}

`request_sha256` is the SHA-256 of the request's canonical JSON, `sha256` that of the canonical JSON of the three other
fields; optional fields that are not given are left out. Every byte of a line is under one of the two digests or is one,
so a changed byte is always refused. Headers, keys and addresses are no part of it. Images are named by digest
(`sha256:<64 hex>`), never held. Texts are a client's: no error here repeats one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, field_validator
from pydantic import model_validator as check

from audit import canonical, model
from audit.digest import Sha256, sha256
from audit.errors import DigestMismatch, Inconsistent, Malformed, Unavailable, Usage

MAX_TEXT: Final = 2**18  # characters of a text, at most 6 bytes each in canonical JSON
MAX_REQUEST_BYTES: Final = 2**21
MAX_LINE_BYTES: Final = 2**22  # more than the longest request and the longest answer take together
MAX_FILE_BYTES: Final = 2**26
MAX_TOKENS: Final = 2**17

ModelName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}\z")]
Words: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT)]
ImageName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}\z")]


class _Strict(BaseModel):
    """Immutable, no unknown fields, no type coercion; names as on an OpenAI-compatible wire."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TextPart(_Strict):
    """Words in a message of several parts."""

    type: Literal["text"]
    text: Words


class ImageUrl(_Strict):
    """Which image: the digest of its bytes."""

    url: ImageName


class ImagePart(_Strict):
    """An image in a message, by digest."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part: TypeAlias = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Strict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: Words | Annotated[tuple[Part, ...], Field(min_length=1, max_length=32)]


class Settings(_Strict):
    """How the model answers: its most probable words, at most `max_tokens` tokens of them.

    `seed` is for endpoints that want one all the same; None: not sent.
    """

    temperature: Annotated[int, Field(ge=0, le=0)]
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class Request(_Strict):
    """What is asked of a model. `revision` is which weights the caller means; an endpoint is not told it."""

    model: ModelName
    revision: ModelName
    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=64)]
    settings: Settings

    @classmethod
    def of(cls, *, model: str, revision: str, messages: Iterable[Mapping[str, Any]], settings: Settings) -> Self:
        """The request of `messages` as a wire has them: {"role", "content": words or a list of parts}.

        Usage, naming the field: they are not of that form.
        """
        fields = {"model": model, "revision": revision, "messages": list(messages), "settings": _plain(settings)}
        raw = canonical.encode(fields)
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            fault = _fault(error)
        raise Usage(f"no request to a model: {fault}", f"model {model}", "a request of the declared form")

    @check(mode="after")
    def _short(self) -> Self:
        if len(self.raw) > MAX_REQUEST_BYTES:
            raise ValueError(f"expected at most {MAX_REQUEST_BYTES} bytes of canonical JSON, found {len(self.raw)}")
        return self

    @cached_property
    def raw(self) -> bytes:
        """Its canonical JSON."""
        return model.to_bytes(self)

    @cached_property
    def sha256(self) -> Sha256:
        """What it is recorded under."""
        return sha256(self.raw)

    @property
    def images(self) -> tuple[str, ...]:
        """The images it shows, as `sha256:<64 hex>`, sorted, each once."""
        parts = (part for one in self.messages if not isinstance(one.content, str) for part in one.content)
        return tuple(sorted({part.image_url.url for part in parts if isinstance(part, ImagePart)}))


class Response(_Strict):
    """A finished answer: its text to the letter, and the model that says it gave it."""

    content: Words
    model: ModelName
    finish_reason: Literal["stop"]

    @field_validator("content")
    @classmethod
    def _said(cls, content: str) -> str:
        if not content.strip():
            raise ValueError("expected words, found none")
        return content


class Recording(_Strict):
    """A request, its answer, and the digests that hold them together; `of` makes one."""

    request_sha256: Sha256
    request: Request
    response: Response
    sha256: Sha256

    @classmethod
    def of(cls, request: Request, response: Response) -> Self:
        """The recording of this answer to this request."""
        whole = _whole(request.sha256, request, response)
        return cls(request_sha256=request.sha256, request=request, response=response, sha256=whole)

    @cached_property
    def line(self) -> bytes:
        """Its line of a file, without the line feed."""
        return model.to_bytes(self)

    def require_digests(self, where: str) -> None:
        """Returns only if both digests hold; else DigestMismatch, naming `where`."""
        if self.request_sha256 != self.request.sha256:
            raise DigestMismatch("request of a recording", where, self.request_sha256, self.request.sha256)
        if self.sha256 != (whole := _whole(self.request_sha256, self.request, self.response)):
            raise DigestMismatch("recording", where, self.sha256, whole)


@dataclass(frozen=True)
class Recordings:
    """Recordings in the order of their requests' digests, each request once: what a file holds."""

    entries: tuple[Recording, ...] = ()

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Self:
        """The recordings whose file is `raw`; no bytes at all are no recordings.

        Malformed, naming the line: not canonical JSON of a recording, too long, out of order, or a request twice.
        DigestMismatch, naming the line: a digest does not hold.
        """
        if len(raw) > MAX_FILE_BYTES:
            raise Malformed("recordings too long", where, f"at most {MAX_FILE_BYTES} bytes", f"{len(raw)} bytes")
        *lines, rest = raw.split(b"\n")
        if rest:
            raise Malformed("last recording cut off", f"{where}:{len(lines) + 1}", "a line feed at its end", "none")
        entries: list[Recording] = []
        for number, line in enumerate(lines, 1):
            place = f"{where}:{number}"
            found = _recording(line, place)
            before = entries[-1].request_sha256 if entries else ""
            if found.request_sha256 <= before:
                what = "recordings out of order, or a request twice"
                raise Malformed(what, place, f"a request above {before}", found.request_sha256)
            entries.append(found)
        return cls(tuple(entries))

    @cached_property
    def _by_request(self) -> Mapping[str, Recording]:
        return {entry.request_sha256: entry for entry in self.entries}

    def get(self, request: Request, who: str = "") -> Recording:
        """The recording of `request`. Unavailable, naming the request by digest and `who` asks, if there is none."""
        found = self._by_request.get(request.sha256)
        if found is None:
            asked = f"none among {len(self)} of model {request.model}, revision {request.revision}"
            raise Unavailable("no recording answers this request", who, f"request {request.sha256}", asked)
        return found

    def with_(self, recordings: Iterable[Recording]) -> Self:
        """These and `recordings`. Inconsistent: two answers to one request. DigestMismatch: a digest does not hold.

        Usage: longer than a file of recordings may be.
        """
        every = dict(self._by_request)
        for one in recordings:
            one.require_digests("recording")
            if every.setdefault(one.request_sha256, one) != one:
                known = every[one.request_sha256].sha256
                raise Inconsistent("two answers to one request", f"request {one.request_sha256}", known, one.sha256)
        made = type(self)(tuple(every[digest] for digest in sorted(every)))
        if (size := sum(len(entry.line) + 1 for entry in made)) > MAX_FILE_BYTES:
            raise Usage("too many recordings for one file", "", f"at most {MAX_FILE_BYTES} bytes", f"{size} bytes")
        return made

    @property
    def raw(self) -> bytes:
        """What their file holds: `parse` gives them back."""
        return b"".join(entry.line + b"\n" for entry in self.entries)

    def __contains__(self, request: Request) -> bool:
        return request.sha256 in self._by_request

    def __iter__(self) -> Iterator[Recording]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


_RECORDING = TypeAdapter(Recording)


def _recording(line: bytes, place: str) -> Recording:
    try:
        found = model.from_bytes(_RECORDING, line, place, max_bytes=MAX_LINE_BYTES)
    except Malformed as error:
        fault = error.what  # what it expected and found there are pieces of the text
    else:
        found.require_digests(place)
        return found
    raise Malformed(f"no recording: {fault}", place, "one recording in canonical JSON", f"{len(line)} other bytes")


def _whole(request_sha256: str, request: Request, response: Response) -> Sha256:
    parts = {"request": _plain(request), "request_sha256": request_sha256, "response": _plain(response)}
    return sha256(canonical.record(parts))


def _plain(one: BaseModel) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude_none=True)


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}"
