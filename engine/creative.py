"""Creatives: what ran on which channel, where and when, and what it said.

A file is canonical JSON (RFC 8785), one creative a line, each line ended by a line feed, in ascending order of `id`.
Keys are ASCII and there are no numbers, so the canonical form is the compact one with sorted keys and nothing escaped
that need not be: a line that says the same in other bytes is refused.

Glossary
--------
flight      the days on which a creative ran, `first` to `last`, both included
everywhere  `locations` is empty: it ran in every location of the table

Texts are a client's: no error here repeats one, and of what stands for a name or a date at most MAX_SHOWN characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from engine.creative_errors import CreativeError
from engine.declared import Frozen, Name, Text
from engine.rejection import shown

MAX_LINE = 65_536  # bytes
MAX_CREATIVES = 100_000
MAX_SHOWN: Final = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# a path of plain names, none of which begins with a dot: it cannot leave the folder it is looked up in
_PATH = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
_FIELD = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_SHOWN - 1}}}")  # a field's name that is not declared, and no sentence
_TEXTS: Final = frozenset({"headline", "body"})

_EXPECTED: Mapping[str, str] = {
    "id": "1 to 80 of a-z, 0-9, '_' and '-', the first a letter or digit",
    "channel": "a channel's name",
    "locations": "a list of locations' names, empty for everywhere",
    "first": "a date, YYYY-MM-DD",
    "last": "a date, YYYY-MM-DD",
    "headline": "1 to 500 characters",
    "body": "at most 10000 characters",
    "image": "null, or a path of at most 200 characters inside the folder (A-Z a-z 0-9 . _ - and /)",
    "image_sha256": "null, or 64 lower-case hexadecimal digits",
}


class Creative(Frozen):
    """One creative and its flight. `headline` is one line; `body` may have line feeds, and may be empty."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")]
    channel: Name
    locations: tuple[Text, ...]  # ascending; none: everywhere
    first: date
    last: date  # included
    headline: Annotated[str, Field(min_length=1, max_length=500)]
    body: Annotated[str, Field(max_length=10_000)]
    image: Annotated[str, Field(pattern=_PATH, max_length=200)] | None  # from the folder of the creatives
    image_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None

    @property
    def text(self) -> str:
        """Headline and body, a line feed between them: what is looked at as text."""
        return f"{self.headline}\n{self.body}" if self.body else self.headline


def encode(creatives: Collection[Creative]) -> bytes:
    """The one file that holds them: `parse` gives them again, in order of `id`."""
    return b"".join(_canonical(each) + b"\n" for each in sorted(creatives, key=lambda each: each.id))


def parse(raw: bytes, channels: Collection[str], locations: Collection[str]) -> tuple[Creative, ...]:
    """The creatives of a file, in its order; at least one, on the given channels and in the given locations.

    Raises CreativeError with the line (from 1), the field, what was expected and what was found: for a file that is
    empty, too long or without its last line feed; a line that is not one canonical JSON object of exactly these fields;
    unknown channels and locations, or locations out of order or twice; a flight that ends before it begins; control
    characters; an image without digest or a digest without image; one image under two digests; ids out of order or
    twice.
    """
    if not raw.endswith(b"\n"):
        found = "an empty file" if not raw else f"none after byte {len(raw) - 1}, the last"
        raise CreativeError(f"creatives: expected lines that end in a line feed, found {found}")
    lines = raw[:-1].split(b"\n")
    if len(lines) > MAX_CREATIVES:
        raise CreativeError(f"creatives: expected at most {MAX_CREATIVES} lines, found {len(lines)}")
    creatives: list[Creative] = []
    digests: dict[str, str | None] = {}
    for number, line in enumerate(lines, 1):
        each = _one(line, number)
        faults = [*_faults(each, channels, locations)]
        if creatives and each.id <= creatives[-1].id:
            faults.append(f"id: expected one after {creatives[-1].id}, found {each.id}")
        if each.image is not None and digests.setdefault(each.image, each.image_sha256) != each.image_sha256:
            faults.append(f"image_sha256: expected {digests[each.image]} of {each.image}, found {each.image_sha256}")
        if faults:
            raise CreativeError("; ".join(f"creatives: line {number}, {fault}" for fault in faults))
        creatives.append(each)
    return tuple(creatives)


def _one(line: bytes, number: int) -> Creative:
    where = f"creatives: line {number}"
    if len(line) > MAX_LINE:
        raise CreativeError(f"{where}: expected at most {MAX_LINE} bytes, found {len(line)}")
    told: list[str] = []
    try:
        found = Creative.model_validate_json(line)
    except ValidationError as error:
        told = [_told(fault, len(line)) for fault in error.errors(include_url=False, include_context=False)]
    if told:  # raised out here, so that no chain of errors leads to the text
        raise CreativeError("; ".join(f"{where}, {fault}" for fault in told))
    canonical = _canonical(found)
    if line != canonical:  # duplicate keys, other escapes, other spellings of a date, spaces
        at = next((i for i, (a, b) in enumerate(zip(line, canonical, strict=False)) if a != b), len(canonical))
        raise CreativeError(f"{where}, byte {at}: not canonical JSON: expected its RFC 8785 form, found another")
    return found


def _told(fault: Any, size: int) -> str:
    """One fault of pydantic's, in a line of `size` bytes, in the project's words."""
    place = ".".join(str(part) for part in fault["loc"])
    match fault["type"]:
        case "json_invalid":
            return f"not a creative: expected one JSON object, found {size} bytes of none ({fault['msg']})"
        case "model_type" | "model_attributes_type":
            return f"not a creative: expected one JSON object, found {_kind(fault['input'])}"
        case "missing":
            return f"field {place}: expected {_EXPECTED[place]}, found none"
        case "extra_forbidden":
            named = place if _FIELD.fullmatch(place) else f"with a name of {len(place)} characters"
            return f"field {named}: expected only {', '.join(_EXPECTED)}, found it"
    field = str(fault["loc"][0])
    found = _kind(fault["input"]) if field in _TEXTS else _short(fault["input"])
    return f"field {place}: expected {_EXPECTED[field]}, found {found}"


def _short(value: Any) -> str:
    """`value` where it is no longer than a name; else as `_kind`."""
    plain = value is None or isinstance(value, str | int | float)  # a bool is an int
    return shown(str(value)) if plain and len(str(value)) <= MAX_SHOWN else _kind(value)


def _kind(value: Any) -> str:
    """What `value` is and how long, and nothing that it says."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return f"{len(value)} characters"
        case dict():
            return f"an object of {len(value)} fields"
    return f"a list of {len(value)}" if isinstance(value, list | tuple) else "another kind"


def _faults(each: Creative, channels: Collection[str], locations: Collection[str]) -> Iterator[str]:
    """What a creative's types do not say, field by field."""
    if each.channel not in channels:
        yield f"field channel: expected one of {', '.join(channels)}, found {_short(each.channel)}"
    for location in each.locations:
        if location not in locations:
            yield f"field locations: expected some of {', '.join(locations)}, found {_short(location)}"
    for before, after in pairwise(each.locations):
        if after <= before:
            yield f"field locations: expected ascending names, each once, found {_short(after)} after {_short(before)}"
    if each.last < each.first:
        yield f"field last: expected {each.first} or later, found {each.last}"
    for name, text in (("headline", each.headline), ("body", each.body.replace("\n", " "))):
        if control := _CONTROL.search(text):
            yield f"field {name}: expected no control character, found U+{ord(control[0]):04X}"
    if (each.image is None) != (each.image_sha256 is None):
        lacking, there = ("image_sha256", "image") if each.image_sha256 is None else ("image", "image_sha256")
        yield f"field {lacking}: expected one, as there is an {there}, found null"


def _canonical(each: Creative) -> bytes:
    value = each.model_dump(mode="json")
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
